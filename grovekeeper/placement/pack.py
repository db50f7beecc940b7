"""Filling: how many pods of one shape go to which nodes, in as few domains as possible, leaving whole ones whole.

At each level: if one domain holds all that is left, the one with the least room to spare is taken; else the largest
domain is filled and the rest goes on. For one shape this uses the fewest domains of that level (exchange argument).
Cost: O(nodes) per level with numpy.
"""

from collections.abc import Sequence

import numpy as np

from grovekeeper.placement.snapshot import Ints


def capacities(free: Ints, vector: Ints, one_per_node: bool) -> Ints:
    """Return how many pods of a shape fit on each row."""
    asked = vector > 0
    room = np.maximum(free[:, asked], 0) // vector[asked]
    result: Ints = room.min(axis=1) if room.size else np.zeros(len(free), dtype=np.int64)
    return np.minimum(result, 1) if one_per_node else result


def fill(
    capacity: Ints, rows: Ints, count: int, levels: Sequence[Ints], used: Ints | None = None
) -> list[tuple[int, int]] | None:
    """Return (row, pods) so that `count` pods are placed on `rows`, or None where they do not fit.

    `levels` are the domain numbers per row of the levels inside, broadest first. `used` is the rows that the gang has
    taken already: another pod in their domains costs no further domain.
    """
    if count == 0:
        return []
    room = capacity[rows]
    rows = rows[room > 0]
    if int(capacity[rows].sum()) < count:
        return None
    if not levels:
        return _on_nodes(capacity, rows, count)
    ids = levels[0][rows]
    numbers, inverse = np.unique(ids, return_inverse=True)
    totals = np.bincount(inverse, weights=capacity[rows], minlength=len(numbers)).astype(np.int64)
    result: list[tuple[int, int]] = []
    left = count
    open_ = np.ones(len(numbers), dtype=np.bool_)
    free_of_charge = np.isin(numbers, levels[0][used]) if used is not None and len(used) else None
    while left > 0:
        parts = parts_needed(capacity[rows], inverse, levels[1][rows], len(numbers), left) if len(levels) > 1 else None
        chosen = _choose(totals, open_, left, parts, free_of_charge)
        open_[chosen] = False
        part = min(left, int(totals[chosen]))
        inner = fill(capacity, rows[inverse == chosen], part, levels[1:], used)
        if inner is None:
            return None
        result += inner
        left -= part
    return result


def _choose(
    totals: Ints,
    open_: "np.typing.NDArray[np.bool_]",
    left: int,
    parts: "np.typing.NDArray[np.float64] | None",
    free_of_charge: "np.typing.NDArray[np.bool_] | None",
) -> int:
    if free_of_charge is not None and (open_ & free_of_charge & (totals > 0)).any():
        open_ = open_ & free_of_charge
    sufficient = open_ & (totals >= left)
    if sufficient.any():
        # Fewest domains of the next level first, then the least room to spare.
        order = totals if parts is None else parts * (int(totals.max()) + 1) + totals
        return int(np.where(sufficient, order, np.inf).argmin())
    return int(np.where(open_, totals, -1).argmax())


def parts_needed(room: Ints, outer: Ints, inner: Ints, count: int, left: int) -> "np.typing.NDArray[np.float64]":
    """Return for each domain how many domains of the next level `left` pods need there (infinite: too few).

    Largest first is exact for one shape. O(nodes log nodes).
    """
    pairs, index = np.unique(outer * (int(inner.max(initial=0)) + 2) + inner + 1, return_inverse=True)
    totals = np.bincount(index, weights=room, minlength=len(pairs))
    owner = pairs // (int(inner.max(initial=0)) + 2)
    order = np.lexsort((-totals, owner))
    result = np.full(count, np.inf)
    owners, ordered = owner[order], totals[order]
    ends = np.append(np.flatnonzero(np.diff(owners)) + 1, len(owners))
    begin = 0
    for end in ends:
        sums = np.cumsum(ordered[begin:end])
        needed = int(np.searchsorted(sums, left))
        if needed < len(sums):
            result[owners[begin]] = needed + 1
        begin = int(end)
    return result


def _on_nodes(capacity: Ints, rows: Ints, count: int) -> list[tuple[int, int]]:
    """Take the tightest node that holds the rest, else the roomiest: fewest nodes, least left over on the last."""
    room = capacity[rows]
    order = np.argsort(-room, kind="stable")
    rows, room = rows[order], room[order]
    before = np.cumsum(room)
    whole = int(np.searchsorted(before, count, side="left"))
    result = [(int(row), int(n)) for row, n in zip(rows[:whole], room[:whole], strict=True)]
    left = count - (int(before[whole - 1]) if whole else 0)
    if left > 0:
        # Sorted from roomy to tight: the last of those that suffice is the tightest.
        last = int(np.searchsorted(-room, -left, side="right")) - 1
        result.append((int(rows[max(last, whole)]), left))
    return result
