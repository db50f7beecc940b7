"""Compaction: which gangs to move so that whole domains of a level become free, and what that costs.

Domains are tried in the order of what it costs to free them. All gangs in one find another place, outside of it and of
every domain that is whole, with all their pods and constraints; or the domain stays as it is. A gang moves as little as
it can: first only its pods in that domain, else all of them. It never ends in more domains of the level than before.
Cost: O(domains x gangs in them) searches.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grovekeeper.placement import place, request
from grovekeeper.placement.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Resident:
    """A gang that is on nodes."""

    ask: request.GangAsk
    """The gang as if no pod had a node yet; only its pods that are on nodes."""
    nodes: Mapping[str, str]
    """Pod name to node."""
    family: str = ""
    """Gangs of one family look at each other (spread, a base gang's domain): one of them moves in a plan at most."""

    @property
    def name(self) -> str:
        """Return namespace/name."""
        return f"{self.ask.namespace}/{self.ask.name}"


@dataclass(frozen=True, slots=True)
class Move:
    """A gang that moves: the pods that restart, each with its node before and after."""

    gang: str
    pods: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Freed:
    """A domain that becomes free."""

    domain: str
    nodes: int
    moves: tuple[Move, ...]

    def pods(self) -> int:
        """Return how many pods restart."""
        return sum(len(move.pods) for move in self.moves)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to move, domain by domain, and why the other domains stay as they are."""

    level: str
    freed: tuple[Freed, ...]
    stay: Mapping[str, str]
    whole: int
    """Domains that are free already."""


def plan(residents: Sequence[Resident], snapshot: Snapshot, level: str, *, most: int | None = None) -> Plan:
    """Return the moves that free domains of a level, `most` of them at most. Leaves the snapshot as after the moves."""
    ids, names = snapshot.domains(level)
    rows = snapshot.rows()
    whole = snapshot.whole()
    free = {n for n in range(len(names)) if whole[rows[ids[rows] == n]].all()}
    desk = _Desk(residents, snapshot, level)
    stay: dict[str, str] = {}
    freed: list[Freed] = []
    closed = {name for name in range(len(names)) if name in free}
    for domain in sorted(set(range(len(names))) - free, key=lambda number: (*desk.cost(number), names[number])):
        if most is not None and len(freed) >= most:
            break
        why = desk.obstacle(domain)
        moves = None if why else desk.emptied(domain, closed | {domain})
        if moves is None:
            stay[names[domain]] = why or desk.failure
            continue
        closed.add(domain)
        freed.append(Freed(names[domain], int((ids[rows] == domain).sum()), tuple(moves)))
    return Plan(level, tuple(freed), stay, len(free))


class _Desk:
    """Where the gangs are while a plan is made."""

    def __init__(self, residents: Sequence[Resident], snapshot: Snapshot, level: str) -> None:
        self._snapshot = snapshot
        self._level = level
        self._ids = snapshot.domains(level)[0]
        self._nodes = {resident.name: dict(resident.nodes) for resident in residents}
        self._gangs: dict[int, list[Resident]] = {}
        self._pods: dict[int, int] = {}
        self._moved: set[str] = set()
        self._received: set[int] = set()
        self.failure = ""
        for resident in residents:
            for domain in self._domains(resident.nodes.values()):
                self._gangs.setdefault(domain, []).append(resident)
        ours = {pod.uid for resident in residents for group in resident.ask.groups for pod in group.pods}
        self._others: dict[int, int] = {}
        for row, uid in snapshot.tenants():
            domain = int(self._ids[row])
            count = self._pods if uid in ours else self._others
            count[domain] = count.get(domain, 0) + 1

    def cost(self, domain: int) -> tuple[int, int]:
        """Return how many pods, and gangs, would have to go."""
        return self._pods.get(domain, 0), len(self._gangs.get(domain, ()))

    def obstacle(self, domain: int) -> str:
        """Return why a domain cannot be freed whatever room there is elsewhere; nothing where it may."""
        others = self._others.get(domain, 0)
        if others:
            return f"{others} pods of others are there: they are not moved"
        if domain in self._received:
            return "gangs of other domains move there"
        for resident in self._gangs.get(domain, ()):
            if resident.family and resident.family in self._moved:
                return f"{resident.name} looks at a gang that moves already"
        return ""

    def emptied(self, domain: int, closed: set[int]) -> list[Move] | None:
        """Return the moves that empty a domain, and make them; None (and the reason in `failure`) where one fails."""
        moves: list[Move] = []
        families: list[str] = []
        for resident in sorted(self._gangs.get(domain, ()), key=lambda each: -len(each.nodes)):
            move = None
            if resident.family in families:
                self.failure = f"{resident.name} looks at another gang that would have to move"
            else:
                move = self._moved_out(resident, domain, closed)
            if move is None:
                for done in reversed(moves):
                    self._put(done.gang, {pod: before for pod, (before, _after) in done.pods.items()})
                return None
            moves.append(move)
            families += [resident.family] if resident.family else []
        self._moved.update(families)
        for move in moves:
            self._received |= self._domains(after for _before, after in move.pods.values())
        return moves

    def _moved_out(self, resident: Resident, domain: int, closed: set[int]) -> Move | None:
        here = self._nodes[resident.name]
        inside = {pod for pod, node in here.items() if self._domains([node]) == {domain}}
        before = len(self._domains(here.values()))
        for going in (inside, set(here)) if len(inside) < len(here) else (inside,):
            self._lift(resident, going)
            answer = place.place(self._ask(resident, going, closed), self._snapshot)
            found = dict(answer.nodes) if isinstance(answer, request.Placement) else {}
            after = {**here, **found}
            if found and len(self._domains(after.values())) <= before:
                changed = {pod: (here[pod], node) for pod, node in found.items() if here[pod] != node}
                self._put(resident.name, found, resident)
                return Move(resident.name, changed)
            self._put(resident.name, {pod: here[pod] for pod in going}, resident)
            why = _why(answer) if isinstance(answer, request.Reasons) else "it would be split over more domains"
            self.failure = f"{resident.name} finds no other place: {why}"
        return None

    def _ask(self, resident: Resident, going: set[str], closed: set[int]) -> request.GangAsk:
        """Return the ask for the pods that go; the others are fixed, and every pod counts as the minimum."""
        here = self._nodes[resident.name]
        groups = []
        fixed: dict[str, tuple[str, str]] = {}
        for group in resident.ask.groups:
            pods = tuple(pod for pod in group.pods if pod.name in going)
            groups.append(replace(group, pods=pods, minimum=len(group.pods)))
            fixed |= {pod.name: (group.name, here[pod.name]) for pod in group.pods if pod.name not in going}
        names = self._snapshot.node_names()
        rows = np.flatnonzero(np.isin(self._ids[: len(names)], sorted(closed)))
        shut = frozenset(str(names[int(row)]) for row in rows) | resident.ask.closed
        return replace(resident.ask, groups=tuple(groups), fixed=fixed, closed=shut)

    def _lift(self, resident: Resident, going: set[str]) -> None:
        for group in resident.ask.groups:
            for pod in group.pods:
                if pod.name in going:
                    self._snapshot.release(pod.uid)

    def _put(self, gang: str, nodes: Mapping[str, str], resident: Resident | None = None) -> None:
        found = resident or next(each for listed in self._gangs.values() for each in listed if each.name == gang)
        for group in found.ask.groups:
            for pod in group.pods:
                if pod.name in nodes:
                    self._snapshot.assume(pod.uid, pod.spec, nodes[pod.name])
        self._nodes[gang].update(nodes)

    def _domains(self, nodes: Iterable[str]) -> set[int]:
        rows = (self._snapshot.row_of(node) for node in nodes)
        return {int(self._ids[row]) for row in rows if row is not None and self._ids[row] >= 0}


def _why(answer: request.Reasons) -> str:
    """Return what is missing, without the nodes that are closed because they are to become free."""
    return "; ".join(each.text for each in answer.shortfalls) or answer.summary
