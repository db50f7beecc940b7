"""The best answer there is, proven by CP-SAT, in the engine's order of costs.

Nodes of one rack with the same GPUs, offered and free, are interchangeable: how many of them hold which mix of pods is
what is decided (a variable for each rack, class of nodes and mix), so that the relaxation is tight.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ortools.sat.python import cp_model

from tests.bench.cases import Case, Cost

_SECONDS = 20
Mix = tuple[int, ...]


class UndecidedError(Exception):
    """The solver ran out of time."""


def best(c: Case) -> Cost | None:
    """Return the cheapest cost; None where the gang cannot fit. Raises UndecidedError."""
    model = cp_model.CpModel()
    racks = sorted({c.rack(index) for index in range(len(c.free))})
    used = {r: model.new_bool_var(f"r{r}") for r in racks}
    blocks = {b: model.new_bool_var(f"b{b}") for b in {r // c.shape.block for r in racks}}
    nodes, whole_nodes = _packed(model, c, used)
    for r in racks:
        model.add_implication(used[r], blocks[r // c.shape.block])
    if c.required == "rack":
        model.add(sum(used.values()) == 1)
    if c.required == "block":
        model.add(sum(blocks.values()) == 1)
    whole_blocks = [blocks[b] for b in c.whole("block")]
    whole_racks = [used[r] for r in c.whole("rack")]
    values: list[int] = []
    for goal in (blocks.values(), used.values(), whole_blocks, whole_racks, nodes, whole_nodes):
        found = _least(model, sum(goal))
        if found is None:
            return None
        values.append(found)
    return Cost(*values)


def _least(model: cp_model.CpModel, goal: Any) -> int | None:
    """Return the least value of a sum, and hold it to that from now on; None where there is no answer at all."""
    if isinstance(goal, int):
        return goal
    model.minimize(goal)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = _SECONDS
    solver.parameters.num_workers = 1
    answer = solver.solve(model)
    if answer == cp_model.INFEASIBLE:
        return None
    if answer != cp_model.OPTIMAL:
        raise UndecidedError
    value = round(solver.objective_value)
    model.add(goal <= value)
    return value


def _packed(model: cp_model.CpModel, c: Case, used: dict[int, Any]) -> tuple[list[Any], list[Any]]:
    """Add what says that all pods are placed; return the counts of nodes used, and of whole ones among them."""
    classes = Counter((c.rack(i), c.capacity[i], free) for i, free in enumerate(c.free) if free)
    placed: list[list[Any]] = [[] for _ in c.parts]
    nodes, whole = [], []
    for (rack, capacity, free), count in classes.items():
        here = []
        for mix in _mixes(c, free):
            number = model.new_int_var(0, count, f"x{rack}.{capacity}.{free}.{mix}")
            model.add(number <= count * used[rack])
            here.append(number)
            for part, pods in enumerate(mix):
                if pods:
                    placed[part].append(number * pods)
        if here:
            model.add(sum(here) <= count)
        nodes += here
        whole += here if capacity == free else []
    for (pods, _gpus), counts in zip(c.parts, placed, strict=True):
        model.add(sum(counts) == pods)
    return nodes, whole


def _mixes(c: Case, free: int) -> Iterator[Mix]:
    """Yield every mix of pods that fits on a node with so many free GPUs."""

    def rest(position: int, left: int) -> Iterator[Mix]:
        if position == len(c.parts):
            yield ()
            return
        pods, gpus = c.parts[position]
        for count in range(min(pods, left // gpus) + 1):
            for mix in rest(position + 1, left - count * gpus):
                yield (count, *mix)

    return (mix for mix in rest(0, free) if any(mix))
