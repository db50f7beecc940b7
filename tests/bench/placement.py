"""Placement: quality against an exact solver, speed as curves.

`python -m tests.bench.placement [--cases 300]`. Quality: seeded clusters of three shapes at 0 to 95 % load; a gang of
one to three parts with pods of one size each, with or without a required level; CP-SAT proves whether it fits and in
how few domains; Kueue's and kube-scheduler's algorithms (peers.py) answer the same questions. An independent checker,
which shares nothing with any of them, judges every placement. Bars are in limits.toml.
"""

import argparse
import random
import statistics
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from grovekeeper.placement import place, request, snapshot
from tests.bench import peers

LIMITS = tomllib.loads((Path(__file__).parent / "limits.toml").read_text())["placement"]
LEVELS = ("block", "rack", "kubernetes.io/hostname")
GPU = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of cluster: nodes a rack, racks a block, GPUs a node (drawn from)."""

    name: str
    rack: int
    block: int
    gpus: tuple[int, ...]


SHAPES = (
    Shape("two-level, 8 GPUs", 16, 1, (8,)),
    Shape("NVL72", 18, 4, (4,)),
    Shape("three-level, mixed", 12, 4, (2, 4, 8)),
)


@dataclass(slots=True)
class Case:
    """One question: free GPUs per node, and a gang of one to three parts of equal pods."""

    shape: Shape
    capacity: list[int]
    free: list[int]
    parts: list[tuple[int, int]]
    """Pods and GPUs a pod."""
    required: str | None

    def rack(self, node: int) -> int:
        """Return a node's rack."""
        return node // self.shape.rack

    def block(self, node: int) -> int:
        """Return a node's block."""
        return self.rack(node) // self.shape.block


def case(seed: int) -> Case:
    """Return the case of a seed."""
    chance = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    nodes = chance.randrange(50, 301)
    capacity = [chance.choice(shape.gpus) for _ in range(nodes)]
    load = chance.uniform(0, 0.95)
    free = [c - sum(chance.random() < load for _ in range(c)) for c in capacity]
    sizes = [g for g in (1, 2, 4, 8) if g <= max(shape.gpus)]
    count = chance.choice((1, 1, 2, 3))
    # The order of the parts is the manifest's, not by size: engines must cope.
    parts = [(chance.randrange(2, 65 // count), gpus) for gpus in chance.sample(sizes, min(count, len(sizes)))]
    return Case(shape, capacity, free, parts, chance.choice(["rack", "block", None]))


def engine(c: Case) -> peers.Found | None:
    """Ask the engine; return node and GPUs of every pod, or None."""
    room = snapshot.Snapshot()
    for index, gpus in enumerate(c.capacity):
        room.upsert_node(node(index, gpus, c.shape))
        if gpus > c.free[index]:
            room.assume(f"busy-{index}", spec(gpus - c.free[index]), name(index))
    groups = []
    for number, (pods, gpus) in enumerate(c.parts):
        body = spec(gpus)
        asks = tuple(request.PodAsk(f"{number}-{i}", f"{number}-{i}", body) for i in range(pods))
        groups.append(request.GroupAsk(str(number), asks, pods))
    ask = request.GangAsk("ns", "g", tuple(groups), request.Constraint(c.required), levels=LEVELS)
    found = place.place(ask, room)
    if isinstance(found, request.Reasons):
        return None
    return [(int(where[1:]), c.parts[int(pod.partition("-")[0])][1]) for pod, where in found.nodes.items()]


def judge(c: Case) -> int | None:
    """Return blocks plus racks of the best answer, proven by CP-SAT; None where the gang cannot fit, -1: not decided.

    Best is fewest blocks, then fewest racks: domains are counted from the top. Nodes of one rack that have the same
    room are interchangeable, but for pods of several sizes each node is packed by itself.
    """
    model = cp_model.CpModel()
    racks = sorted({c.rack(index) for index in range(len(c.free))})
    used = {r: model.new_bool_var(f"u{r}") for r in racks}
    blocks = {b: model.new_bool_var(f"b{b}") for b in {r // c.shape.block for r in racks}}
    for r in racks:
        model.add_implication(used[r], blocks[r // c.shape.block])
    for (pods, _gpus), placed in zip(c.parts, _packed(model, c, used), strict=True):
        model.add(sum(placed) == pods)
    groups = {"rack": 1, "block": c.shape.block}.get(c.required or "")
    if groups:
        chosen = {g: model.new_bool_var(f"g{g}") for g in {r // groups for r in racks}}
        model.add_exactly_one(chosen.values())
        for r in racks:
            model.add_implication(used[r], chosen[r // groups])
    model.minimize(1000 * sum(blocks.values()) + sum(used.values()))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = 10
    solver.parameters.num_workers = 1
    answer = solver.solve(model)
    if answer == cp_model.INFEASIBLE:
        return None
    if answer != cp_model.OPTIMAL:
        return -1
    return round(solver.objective_value) // 1000 + round(solver.objective_value) % 1000


def _packed(model: cp_model.CpModel, c: Case, used: dict[int, Any]) -> list[list[Any]]:
    """Return for each part its pods on every node, bound by the node's room and its rack's use."""
    placed: list[list[Any]] = [[] for _ in c.parts]
    for index, free in enumerate(c.free):
        here = []
        for number, (pods, gpus) in enumerate(c.parts):
            most = min(pods, free // gpus)
            if most:
                count = model.new_int_var(0, most, f"x{index}.{number}")
                model.add(count <= most * used[c.rack(index)])
                placed[number].append(count)
                here.append(count * gpus)
        if len(here) > 1:
            model.add(sum(here) <= free)
    return placed


def check(c: Case, found: peers.Found) -> int:
    """Check a placement on its own terms and return blocks plus racks used; raises AssertionError."""
    load: dict[int, int] = {}
    for where, gpus in found:
        load[where] = load.get(where, 0) + gpus
    assert sorted(gpus for _node, gpus in found) == sorted(gpus for pods, gpus in c.parts for _ in range(pods))
    assert all(amount <= c.free[index] for index, amount in load.items())
    racks = {c.rack(index) for index in load}
    blocks = {c.block(index) for index in load}
    assert c.required != "rack" or len(racks) == 1
    assert c.required != "block" or len(blocks) == 1
    return len(blocks) + len(racks)


def quality(cases: int) -> dict[str, float]:
    """Return the share of feasible cases found, and the mean of domains used over the fewest possible."""
    chance = random.Random(0)
    answers: dict[str, Callable[[Case], peers.Found | None]] = {
        "grovekeeper": engine,
        "Kueue TAS": lambda c: peers.kueue(c.free, c.parts, c.required, c.rack, c.block),
        "kube-scheduler greedy": lambda c: peers.greedy(
            c.free, c.capacity, c.parts, c.required, c.rack, c.block, chance
        ),
    }
    found_by = dict.fromkeys(answers, 0)
    ratios: dict[str, list[float]] = {each: [] for each in answers}
    feasible = undecided = mixed = 0
    for seed in range(cases):
        c = case(seed)
        best = judge(c)
        undecided += best == -1
        feasible += best is not None and best > 0
        mixed += best is not None and best > 0 and len(c.parts) > 1
        for who, answer in answers.items():
            found = answer(c)
            if found is None or best == -1:
                continue
            assert best is not None, f"case {seed}: {who} found what the solver calls impossible"
            found_by[who] += 1
            ratios[who].append(check(c, found) / best)
    print(f"quality: {cases} cases, {feasible} feasible ({mixed} with pods of several sizes), {undecided} undecided")
    for who in answers:
        cost = statistics.mean(ratios[who])
        print(f"quality: {who} finds {found_by[who]} of {feasible}, no invalid placement, cost {cost:.3f} of the best")
    return {
        "found_share": found_by["grovekeeper"] / feasible,
        "cost_ratio": statistics.mean(ratios["grovekeeper"]),
    }


def speed() -> dict[str, float]:
    """Return medians on 5,000 nodes, and print the curves with the slope of their logarithms (1 is linear)."""
    by_nodes = {nodes: _median(nodes, 64) for nodes in (100, 300, 1000, 3000, 10_000)}
    by_pods = {pods: _median(5000, pods) for pods in (2, 16, 64, 256, 1000, 2000)}
    for what, curve in (("nodes, 64 pods", by_nodes), ("pods on 5000 nodes", by_pods)):
        for size, took in curve.items():
            print(f"speed: {size} {what}: {took:.2f} ms")
        print(f"speed: slope over {what}: {_slope(curve):.2f}")
    return {"pods_64_ms": by_pods[64], "pods_1000_ms": by_pods[1000]}


def _slope(curve: dict[int, float]) -> float:
    """Return the least-squares slope of log time over log size."""
    fitted = np.polyfit(np.log(list(curve)), np.log(list(curve.values())), 1)
    return float(fitted[0])


def _median(nodes: int, pods: int) -> float:
    shape = SHAPES[1]
    room = snapshot.Snapshot()
    for index in range(nodes):
        room.upsert_node(node(index, 4, shape))
    times = []
    for _ in range(9):
        ask = gang(pods, 4 if pods * 4 <= nodes * 4 else 1, None, preferred="rack")
        begin = time.perf_counter()
        place.place(ask, room)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def replay(workloads: int = 15_000) -> float:
    """Replay arrivals and completions on 640 nodes in 10 racks; return placements per second over Kueue's 37."""
    chance = random.Random(0)
    room = snapshot.Snapshot()
    for index in range(640):
        room.upsert_node(node(index, 1, Shape("replay", 64, 10, (1,))))
    running: list[list[str]] = []
    body, spent, placed = spec(1), 0.0, 0
    for number in range(workloads):
        pods = chance.choices((2, 4, 8), (70, 20, 10))[0]
        ask = gang(pods, 1, "rack", tag=f"w{number}", body=body)
        begin = time.perf_counter()
        found = place.place(ask, room)
        if isinstance(found, request.Placement):
            for pod, where in found.nodes.items():
                room.assume(pod, body, where)
            placed += 1
            running.append(list(found.nodes))
        while running and (isinstance(found, request.Reasons) or len(running) > 190):
            for pod in running.pop(chance.randrange(len(running))):
                room.forget(pod)
            break
        spent += time.perf_counter() - begin
    print(f"replay: {placed} of {workloads} arrivals placed at once, {placed / spent:.0f} a second")
    return placed / spent / 37


def node(index: int, gpus: int, shape: Shape) -> dict[str, Any]:
    """Return a Node object."""
    rack = index // shape.rack
    labels = {"kubernetes.io/hostname": name(index), "rack": f"r{rack:04}", "block": f"b{rack // shape.block:04}"}
    status = {"allocatable": {GPU: str(gpus), "pods": "110"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name(index), "labels": labels}, "spec": {}, "status": status}


def name(index: int) -> str:
    """Return a node's name."""
    return f"n{index:05}"


def spec(gpus: int) -> dict[str, Any]:
    """Return a PodSpec that asks for GPUs."""
    return {"containers": [{"name": "c", "resources": {"limits": {GPU: gpus}}}]}


def gang(
    pods: int, gpus: int, required: str | None, *, preferred: str | None = None, tag: str = "p", body: Any = None
) -> request.GangAsk:
    """Return a gang of equal pods."""
    body = body or spec(gpus)
    asks = tuple(request.PodAsk(f"{tag}-{i}", f"{tag}-{i}", body) for i in range(pods))
    constraint = request.Constraint(required, preferred)
    return request.GangAsk("ns", tag, (request.GroupAsk("w", asks, pods),), constraint, levels=LEVELS)


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=300)
    measured = {**quality(parser.parse_args().cases), **speed(), "replay_ratio": replay()}
    good = True
    for key, value in measured.items():
        bar = LIMITS[key]
        fine = value >= bar if key in ("found_share", "replay_ratio") else value <= bar
        good &= fine
        print(f"placement.{key} {value:.3f} {bar} {'ok' if fine else 'short'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
