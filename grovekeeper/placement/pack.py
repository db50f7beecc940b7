"""Filling: how many pods of one shape go to which nodes, in as few domains as possible, leaving whole ones whole.

At each level a set of domains is chosen, then the next level is chosen among all of them together. The set: if one
domain holds all, the one that needs fewest domains of the next level, is not whole, and has least room to spare; else
the largest ones (fewest by the exchange argument for one shape), with the last chosen as if it were the only one.
Cost: O(nodes) a level with numpy, O(nodes log nodes) where the inner domains' room differs much.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from grovekeeper.placement.nodes import Ints, Mask

Floats = npt.NDArray[np.float64]


def capacities(free: Ints, vector: Ints, one_per_node: bool) -> Ints:
    """Return how many pods of a shape fit on each row."""
    asked = vector > 0
    room = np.maximum(free[:, asked], 0) // vector[asked]
    result: Ints = room.min(axis=1) if room.size else np.zeros(len(free), dtype=np.int64)
    return np.minimum(result, 1) if one_per_node else result


def one_each(capacity: Ints, ids: Ints) -> Ints:
    """Return capacities with one pod a domain, on its roomiest row; rows in no domain are left as they are."""
    result = np.where(ids < 0, capacity, 0)
    order = np.lexsort((-capacity, ids))
    first = order[np.unique(ids[order], return_index=True)[1]]
    first = first[ids[first] >= 0]
    result[first] = np.minimum(capacity[first], 1)
    return result


def among(ids: Ints, numbers: Sequence[int] | Ints) -> Mask:
    """Return which ids are among some numbers of domains; -1 is a number like any other. O(ids + the largest)."""
    table = np.zeros(int(ids.max(initial=-1)) + 2, dtype=np.bool_)
    wanted = np.asarray(numbers, dtype=np.int64)
    table[wanted[wanted < len(table) - 1]] = True
    found: Mask = table[ids]
    return found


def numbered(ids: Ints) -> tuple[Ints, Ints]:
    """Return the ids that occur, in order, and for each id its place among them. O(ids + the largest): no sorting."""
    numbers = np.flatnonzero(np.bincount(ids + 1)) - 1
    place = np.zeros(int(numbers[-1]) + 2 if len(numbers) else 1, dtype=np.int64)
    place[numbers + 1] = np.arange(len(numbers))
    return numbers, place[ids + 1]


def fill(
    capacity: Ints,
    rows: Ints,
    count: int,
    levels: Sequence[Ints],
    *,
    used: Ints | None = None,
    whole: Sequence[Mask] = (),
    nodes_from: int | None = None,
) -> list[tuple[int, int]] | None:
    """Return (row, pods) so that `count` pods are placed on `rows`, or None where they do not fit.

    `levels` are the domain numbers per row of the levels inside, broadest first. `used` is the rows that the gang has
    taken already: another pod in their domains costs no further domain. `whole` marks for each level, and for nodes,
    the rows in a domain with nothing on it. From level `nodes_from` on domains are single nodes: choosing among them
    is choosing nodes.
    """
    if count == 0:
        return []
    rows = rows[capacity[rows] > 0]
    if int(capacity[rows].sum()) < count:
        return None
    whole = whole or [np.zeros(len(capacity), dtype=np.bool_)] * (len(levels) + 1)
    for number, ids in enumerate(levels[:nodes_from]):
        below = levels[number + 1] if number + 1 < len(levels) else None
        rows = _narrowed(capacity, rows, count, ids, below, used, whole[number])
    return _on_nodes(capacity, rows, count, used, whole[-1])


def _narrowed(
    capacity: Ints, rows: Ints, count: int, ids: Ints, below: Ints | None, used: Ints | None, whole: Mask
) -> Ints:
    """Return the rows of as few domains as hold `count` pods. Domains in use come first: they cost nothing."""
    numbers, inverse = numbered(ids[rows])
    room = capacity[rows]
    totals = np.bincount(inverse, weights=room, minlength=len(numbers)).astype(np.int64)
    kept = among(numbers, ids[used] if used is not None else [])
    left = count - int(totals[kept].sum())
    if left <= 0:
        return rows[kept[inverse]]
    untouched = np.bincount(inverse, weights=whole[rows], minlength=len(numbers)) > 0

    def needed(pods: int) -> Floats:
        if below is None:
            return np.zeros(len(numbers))
        return parts_needed(room, inverse, below[rows], len(numbers), pods)

    chosen = kept | _fewest(totals, ~kept, left, needed, untouched.astype(np.float64))
    return rows[chosen[inverse]]


def _fewest(totals: Ints, open_: Mask, left: int, needed: Callable[[int], Floats], untouched: Floats) -> Mask:
    """Return as few of the open domains as hold `left` pods: the largest, and the best of those that hold the rest."""
    order = np.lexsort((untouched, -np.where(open_, totals, -1)))
    order = order[: int(open_.sum())]
    sums = np.cumsum(totals[order])
    whole = int(np.searchsorted(sums, left, side="left"))
    chosen = np.zeros(len(totals), dtype=np.bool_)
    chosen[order[:whole]] = True
    rest = left - (int(sums[whole - 1]) if whole else 0)
    if rest > 0:
        last = order[whole:]
        last = last[totals[last] >= rest]
        parts = needed(rest)[last]
        chosen[last[np.lexsort((last, totals[last], untouched[last], parts))[0]]] = True
    return chosen


def parts_needed(room: Ints, outer: Ints, inner: Ints, count: int, left: int) -> Floats:
    """Return for each domain how many domains of the next level `left` pods need there (infinite: too few).

    Largest first is exact for one shape. O(nodes), with a sort where their room differs much.
    """
    owner, totals = _by_pair(room, outer, inner)
    # More than is asked for is as good as what is asked for.
    totals = np.minimum(totals, left)
    width = int(totals.max(initial=0)) + 1
    if count * width <= max(len(totals), 1000):
        return _counted(np.bincount(owner * width + totals, minlength=count * width).reshape(count, width), left)
    # One key sorts by domain, then the largest first.
    key = np.sort(owner * width + width - 1 - totals)
    owner = key // width
    totals = width - 1 - key % width
    starts = np.flatnonzero(np.append(True, np.diff(owner) > 0)) if len(owner) else np.zeros(0, dtype=np.int64)
    sums = np.cumsum(totals)
    first = np.repeat(starts, np.diff(np.append(starts, len(owner))))
    inside = sums - (sums[first] - totals[first])
    position = np.where(inside >= left, np.arange(len(owner)) - first + 1.0, np.inf)
    result = np.full(count, np.inf)
    if len(starts):
        result[owner[starts]] = np.minimum.reduceat(position, starts)
    return result


def _counted(table: Ints, left: int) -> Floats:
    """Return what `parts_needed` does, from how many inner domains of each room (0 first) a domain has: no sorting."""
    if left <= 0 or table.shape[1] < 2:
        return np.where(table.sum(axis=1) > 0, 1.0 if left <= 0 else np.inf, np.inf)
    size = np.arange(table.shape[1] - 1, 0, -1)
    many = table[:, :0:-1]
    sums = np.cumsum(many * size, axis=1)
    enough = sums >= left
    rows, at = np.arange(len(table)), enough.argmax(axis=1)
    before = np.cumsum(many, axis=1)[rows, at] - many[rows, at]
    rest = left - (sums[rows, at] - many[rows, at] * size[at])
    return np.where(enough[:, -1], before + -(-rest // size[at]), np.inf)


def _by_pair(room: Ints, outer: Ints, inner: Ints) -> tuple[Ints, Ints]:
    """Return for each pair of domains that occurs the outer one, and the room in it."""
    owners = np.full(int(inner.max(initial=0)) + 2, -1, dtype=np.int64)
    owners[inner + 1] = outer
    if (owners[inner + 1] == outer).all():
        # Each inner domain lies in one outer one, as it should: it is the pair.
        there = np.flatnonzero(owners >= 0)
        totals = np.bincount(inner + 1, weights=room, minlength=len(owners))[there]
        return owners[there], totals.astype(np.int64)
    pairs, index = np.unique(outer * len(owners) + inner + 1, return_inverse=True)
    return pairs // len(owners), np.bincount(index, weights=room, minlength=len(pairs)).astype(np.int64)


def _on_nodes(capacity: Ints, rows: Ints, count: int, used: Ints | None, whole: Mask) -> list[tuple[int, int]]:
    """Take the roomiest nodes and the tightest that holds the rest: fewest nodes; of equal ones those in use first."""
    room = capacity[rows]
    unused = np.ones(len(capacity), dtype=np.bool_)
    if used is not None:
        unused[used] = False
    fresh = unused[rows]
    # What is in use costs nothing: it comes first where it holds everything, the roomiest of it.
    order = np.lexsort((whole[rows], -room, fresh))
    rows, room = rows[order], room[order]
    before = np.cumsum(room)
    full = int(np.searchsorted(before, count, side="left"))
    result = [(int(row), int(n)) for row, n in zip(rows[:full], room[:full], strict=True)]
    left = count - (int(before[full - 1]) if full else 0)
    if left > 0:
        rows, room, fresh = rows[full:], room[full:], fresh[order][full:]
        enough = room >= left
        last = np.lexsort((whole[rows], room, fresh & enough, ~enough))[0]
        result.append((int(rows[last]), left))
    return result
