"""The room that is kept for a gang that has waited long: nodes that gangs behind it may not take.

The domain of the required level that could hold the gang when empty and has the most room for it now; without a
required level, the eligible nodes with the most room until they could hold it when empty. O(groups x nodes).
"""

import numpy as np

from grovekeeper.placement import pack, request
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.snapshot import Ints, Snapshot


def nodes(gang: request.GangAsk, snapshot: Snapshot) -> frozenset[str]:
    """Return the names of the nodes to keep; empty where the gang could not be held even by empty nodes."""
    free, totals = snapshot.free(), snapshot.totals()
    now = np.ones(len(free))
    empty = np.ones(len(now))
    for group in gang.groups:
        need = min(group.minimum, len(group.pods))
        if not need:
            continue
        shape = shapes.shape(group.pods[0].spec, group.pods[0].labels)
        vector = snapshot.vector(shape.requests)
        if vector is None:
            return frozenset()
        mask = np.zeros(len(now), dtype=np.bool_)
        mask[np.flatnonzero(snapshot.eligible(shape.spec))] = True
        # A node's share of the group: how many of its pods it holds, of those that are needed.
        for target, room in ((now, free), (empty, totals)):
            share = np.where(mask, pack.capacities(room, vector, shape.one_per_node), 0) / need
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
