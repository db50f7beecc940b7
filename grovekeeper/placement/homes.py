"""Pods that go back to the nodes where they were, or that were chosen for them before. Pure.

All of them, where that is still right. In an update some pods may have outgrown their nodes, or have another affinity:
the others go home all the same, and the rest of the gang is searched for around them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from grovekeeper.placement import candidates, parts, request
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.search import Search
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


def everybody(gang: request.GangAsk, root: parts.Unit, search: Search) -> dict[str, str] | None:
    """Return the nodes where every pod is nominated, if all of them are and it is a placement. O(pods x resources).

    Nominations may stem from several decisions, of which each had another domain: what binds the gang is looked at
    again. Only the spread of pods that have their nodes held for them met its rules once, and is not broken by staying.
    """
    wishes = {pod.name: pod.nominated for group in gang.groups for pod in group.pods}
    nodes = {name: node for name, node in wishes.items() if node is not None}
    if not nodes or len(nodes) < len(wishes):
        return None
    before = search.free.copy()
    staying = all(pod.held for group in gang.groups for pod in group.pods)
    if all(_settled(search, part) for part in root.leaves()):
        for unit in root.everyone():
            if unit.family:
                search.siblings.setdefault(unit.family, []).append(_rows(search, unit))
        if _keeps(search, root, search.among, staying=staying):
            return nodes
    search.free, search.chosen, search.siblings = before, {}, {}
    return None


def _settled(search: Search, part: parts.Part) -> bool:
    """Put a part where its pods are nominated; return whether those nodes take it."""
    rows = [row for pod in part.pods if (row := search.snapshot.row_of(pod.nominated or "")) is not None]
    if len(rows) < len(part.pods) or (part.bonds and not search.agrees(part, rows)):
        return False
    for row in rows:
        if not part.allowed[row] or (search.free[row] < part.vector)[part.vector > 0].any():
            return False
        search.free[row] -= part.vector
    search.chosen[part.position] = [(row, 1) for row in rows]
    return True


def _keeps(search: Search, unit: parts.Unit, rows: Ints, *, staying: bool) -> bool:
    """Return whether a unit that is chosen is in one domain of its required level, and (but for what is `staying`)
    spread as it has to be. `rows` are those of the domains that bind what it is part of: the skew is counted there.
    """
    there = _rows(search, unit)
    if not there:
        return True
    key = unit.constraint.required
    if key is not None:
        ids, _names = search.snapshot.domains(key)
        if ids[there[0]] < 0 or (ids[there] != ids[there[0]]).any():
            return False
        rows = rows[ids[rows] == ids[there[0]]]
    if not staying and not candidates.is_spread(search, unit, there, rows):
        return False
    return all(_keeps(search, each, rows, staying=staying) for each in unit.units)


def _rows(search: Search, unit: parts.Unit) -> list[int]:
    return [*search.rows_chosen(part.position for part in unit.leaves()), *search.rows_of(unit)]


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
    if not home or not any(group.pods for group in groups) or _torn(replace(gang, fixed=fixed), snapshot):
        return None
    return Parting(home, replace(gang, groups=tuple(groups), fixed=fixed), taken)


def _torn(gang: request.GangAsk, snapshot: Snapshot) -> bool:
    """Return whether pods that have a node are in several domains of a level that they have to share."""
    scopes = [({group.name for group in gang.groups}, gang.constraint)]
    scopes += [({*sub.groups}, sub.constraint) for sub in gang.subgangs]
    scopes += [({group.name}, group.constraint) for group in gang.groups]
    for mine, constraint in scopes:
        if constraint.required is None:
            continue
        ids = snapshot.domains(constraint.required)[0]
        rows = [snapshot.row_of(node) for name, node in gang.fixed.values() if name in mine]
        if len({int(ids[row]) for row in rows if row is not None}) > 1:
            return True
    return False


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
