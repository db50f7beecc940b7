"""Pods that go back to the nodes where they were, or that were chosen for them before. Pure.

All of them, where that is still right. In an update some pods may have outgrown their nodes, or have another affinity:
the others go home all the same, and the rest of the gang is searched for around them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from grovekeeper.placement import affinity, candidates, parts, request
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints, Mask
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
    before, saved = search.free.copy(), search.saved()
    staying = all(pod.held for group in gang.groups for pod in group.pods)
    if all(_settled(search, part) for part in root.leaves()):
        for unit in root.everyone():
            search.join(unit)
        if _keeps(search, root, staying=staying):
            return nodes
    search.restore(saved)
    search.free = before
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


def _keeps(search: Search, unit: parts.Unit, *, staying: bool) -> bool:
    """Return whether a unit that is chosen is in one domain of its required level, and (but for what is `staying`)
    spread as it has to be.
    """
    there = np.array([*search.rows_chosen(part.position for part in unit.leaves()), *search.rows_of(unit)])
    if not len(there):
        return True
    key = unit.constraint.required
    if key is not None:
        ids, _names = search.snapshot.domains(key)
        if ids[there[0]] < 0 or (ids[there] != ids[there[0]]).any():
            return False
    if not staying and not candidates.is_spread(search, unit, there):
        return False
    return all(_keeps(search, each, staying=staying) for each in unit.units)


def parting(gang: request.GangAsk, snapshot: Snapshot) -> Parting | None:
    """Return who can go home and what is left to ask; None where nobody can, or everybody. O(pods x resources).

    Gangs whose pods look at each other (affinity) are asked about as a whole.
    """
    if not any(pod.held for group in gang.groups for pod in group.pods):
        return None
    vectors = {pod.name: _vector(pod, snapshot) for group in gang.groups for pod in group.pods if pod.held}
    repelled = _Repelled(gang, snapshot)
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
            row, vector = _home(pod, snapshot), vectors.get(pod.name)
            if row is None or vector is None or pod.nominated in gang.avoid or repelled.on(row, pod):
                left.append(pod)
                continue
            # A host port that only a later pod asks for is a column that the vectors before it lack.
            asked = np.flatnonzero(vector)
            if (free[row, asked] - taken[row, asked] < vector[asked]).any():
                left.append(pod)
                continue
            taken[row, asked] += vector[asked]
            home[pod.name] = str(pod.nominated)
            fixed[pod.name] = (group.name, str(pod.nominated))
        groups.append(replace(group, pods=tuple(left)))
    if not home or not any(group.pods for group in groups) or _torn(replace(gang, fixed=fixed), snapshot):
        return None
    return Parting(home, replace(gang, groups=tuple(groups), fixed=fixed), taken)


class _Repelled:
    """Whom pods of others that are on nodes by now keep away from where."""

    def __init__(self, gang: request.GangAsk, snapshot: Snapshot) -> None:
        self._gang, self._snapshot = gang, snapshot
        self._views = affinity.views(snapshot, gang.namespace, ())
        self._masks: dict[tuple[bool, ...], Mask | None] = {}

    def on(self, row: int, pod: request.PodAsk) -> bool:
        """Return whether some pod on a node keeps this one away from a row. O(pods that repel) for each kind of pod."""
        kind = self._views.of(pod.labels)
        if kind not in self._masks:
            me = affinity.Peer(self._gang.namespace, pod.labels)
            self._masks[kind] = affinity.allowed(self._snapshot, pod.spec, me, self._gang.priority)
        mask = self._masks[kind]
        return mask is not None and not mask[row]


def _torn(gang: request.GangAsk, snapshot: Snapshot) -> bool:
    """Return whether pods that have a node are in several domains, or none, of a level that they have to share."""
    scopes = [({group.name for group in gang.groups}, gang.constraint)]
    scopes += [({*sub.groups}, sub.constraint) for sub in gang.subgangs]
    scopes += [({group.name}, group.constraint) for group in gang.groups]
    for mine, constraint in scopes:
        if constraint.required is None:
            continue
        ids = snapshot.domains(constraint.required)[0]
        rows = [snapshot.row_of(node) for name, node in gang.fixed.values() if name in mine]
        domains = {int(ids[row]) for row in rows if row is not None}
        if len(domains) > 1 or -1 in domains:
            return True
    return False


def _home(pod: request.PodAsk, snapshot: Snapshot) -> int | None:
    row = snapshot.row_of(pod.nominated) if pod.held and pod.nominated is not None else None
    return row if row is not None and snapshot.eligible(pod.spec)[row] else None


def _vector(pod: request.PodAsk, snapshot: Snapshot) -> Ints | None:
    try:
        return snapshot.vector(shapes.requests(pod.spec))
    except ValueError:
        return None


def _looks_at_others(spec: Mapping[str, object]) -> bool:
    terms = spec.get("affinity") or {}
    return isinstance(terms, Mapping) and bool(terms.get("podAffinity") or terms.get("podAntiAffinity"))
