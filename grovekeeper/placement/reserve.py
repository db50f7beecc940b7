"""The room that is kept for a gang that has waited long: nodes that gangs behind it may not take.

The domain of the required level that could hold the gang when empty and has the most room for it now; without a
required level, the eligible nodes with the most room until they could hold it when empty. O(groups x nodes).
"""

import numpy as np

from grovekeeper.placement import pack, parts, request
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.snapshot import Snapshot


def nodes(gang: request.GangAsk, snapshot: Snapshot) -> frozenset[str]:
    """Return the names of the nodes to keep; empty where the gang could not be held even by empty nodes."""
    root = parts.tree(gang, snapshot)
    if isinstance(root, request.Reasons):
        return frozenset()
    free, totals = snapshot.free(), snapshot.totals()
    now = np.ones(len(free))
    empty = np.ones(len(now))
    for part in root.leaves():
        if not part.need:
            continue
        # A node's share of the part: how many of its pods it holds, of those that are needed.
        for target, room, open_ in ((now, free, part.allowed), (empty, totals, part.eligible)):
            capacity = pack.capacities(room, part.vector, part.shape.one_per_node)
            share = np.where(open_, capacity, 0) / part.need
            np.minimum(target, share, out=target)
    key = gang.constraint.required
    rows = _domain(now, empty, snapshot.domains(key)[0]) if key else _roomiest(now, empty)
    names = snapshot.node_names()
    return frozenset(str(names[row]) for row in rows)


def _domain(now: "np.typing.NDArray[np.float64]", empty: "np.typing.NDArray[np.float64]", ids: Ints) -> Ints:
    known = ids >= 0
    count = int(ids.max(initial=-1)) + 1
    could = np.bincount(ids[known], weights=empty[: len(ids)][known], minlength=count) >= 1
    room = np.bincount(ids[known], weights=now[: len(ids)][known], minlength=count)
    if not could.any():
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(ids == int(np.where(could, room, -1.0).argmax())).astype(np.int64)


def _roomiest(now: "np.typing.NDArray[np.float64]", empty: "np.typing.NDArray[np.float64]") -> Ints:
    order = np.lexsort((-empty, -now))
    order = order[empty[order] > 0]
    held = np.cumsum(empty[order])
    if not len(held) or held[-1] < 1:
        return np.zeros(0, dtype=np.int64)
    return order[: int(np.searchsorted(held, 1.0)) + 1].astype(np.int64)
