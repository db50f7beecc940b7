"""Pods that go back to the nodes that are held for them, while others of their gang cannot. Pure.

In an update some pods may have outgrown their nodes, or have another affinity: the others go home all the same, and the
rest of the gang is searched for around them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from grovekeeper.placement import request
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Parting:
    """A gang, some of whose pods go home."""

    home: Mapping[str, str]
    """Pod name to node."""
    rest: request.GangAsk
    """The ask for the others: those at home are fixed."""
    taken: Ints
    """What those at home take, nodes by resources."""


def parting(gang: request.GangAsk, snapshot: Snapshot) -> Parting | None:
    """Return who can go home and what is left to ask; None where nobody can, or everybody. O(pods x resources).

    Gangs whose pods look at each other (affinity) are asked about as a whole.
    """
    if not any(pod.held for group in gang.groups for pod in group.pods):
        return None
    free = snapshot.free()
    taken = np.zeros_like(free)
    home: dict[str, str] = {}
    fixed = dict(gang.fixed)
    groups = []
    for group in gang.groups:
        left = []
        for pod in group.pods:
            if _looks_at_others(pod.spec):
                return None
            row, vector = _spot(pod, snapshot)
            if row is None or vector is None or (free[row] - taken[row] < vector)[vector > 0].any():
                left.append(pod)
                continue
            taken[row] += vector
            home[pod.name] = str(pod.nominated)
            fixed[pod.name] = (group.name, str(pod.nominated))
        groups.append(replace(group, pods=tuple(left)))
    if not home or not any(group.pods for group in groups):
        return None
    return Parting(home, replace(gang, groups=tuple(groups), fixed=fixed), taken)


def _spot(pod: request.PodAsk, snapshot: Snapshot) -> tuple[int | None, Ints | None]:
    row = snapshot.row_of(pod.nominated) if pod.held and pod.nominated is not None else None
    if row is None or not snapshot.eligible(pod.spec)[row]:
        return None, None
    try:
        return row, snapshot.vector(shapes.requests(pod.spec))
    except ValueError:
        return None, None


def _looks_at_others(spec: Mapping[str, object]) -> bool:
    affinity = spec.get("affinity") or {}
    return isinstance(affinity, Mapping) and bool(affinity.get("podAffinity") or affinity.get("podAntiAffinity"))
