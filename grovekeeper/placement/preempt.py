"""Which gangs to evict so that one of higher priority fits: whole gangs, the fewest, the lowest and youngest first.

Search: a single victim that suffices, in order of value; else the shortest prefix of that order that suffices, from
which every member that is not needed is then spared, the most valuable first. Cost: O(log victims + victims of the
prefix) placements, at most `TRIES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grovekeeper.placement import place, request
from grovekeeper.placement.snapshot import Snapshot

TRIES = 96
_SINGLES = 32


@dataclass(frozen=True, slots=True)
class Victim:
    """A gang that could be evicted, with what would have to go with it."""

    name: str
    """namespace/name."""
    priority: int
    created: str
    """RFC 3339: the younger goes first."""
    uids: frozenset[str]
    """Pods that have a node, or are about to: of the gang and of the scaled gangs that stand on it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evict, and where the gang goes then."""

    victims: tuple[Victim, ...]
    placement: request.Placement


def plan(ask: request.GangAsk, snapshot: Snapshot, gangs: Sequence[Victim]) -> Plan | None:
    """Return the gangs to evict for this ask, or None: no eviction of lower gangs would make it fit."""
    if not ask.preempts:
        return None
    lower = [victim for victim in gangs if victim.priority < ask.priority and victim.uids]
    # Lowest priority first, then youngest; a base gang comes after its scaled gangs, which are parts of it.
    lower.sort(key=lambda victim: victim.name)
    lower.sort(key=lambda victim: victim.created, reverse=True)
    lower.sort(key=lambda victim: (victim.priority, len(victim.uids)))
    trial = _Trial(ask, snapshot)
    if not lower or trial.fits(lower) is None:
        return None
    for victim in lower[:_SINGLES]:
        found = trial.fits([victim])
        if found is not None:
            return Plan((victim,), found)
    return trial.spared(lower[: trial.shortest(lower)])


class _Trial:
    def __init__(self, ask: request.GangAsk, snapshot: Snapshot) -> None:
        self._ask = ask
        self._snapshot = snapshot
        self.left = TRIES

    def fits(self, victims: Sequence[Victim]) -> request.Placement | None:
        self.left -= 1
        with self._snapshot.without(uid for victim in victims for uid in victim.uids):
            answer = place.place(self._ask, self._snapshot)
        return answer if isinstance(answer, request.Placement) else None

    def shortest(self, victims: Sequence[Victim]) -> int:
        """Return the length of the shortest prefix that suffices; the whole is known to suffice."""
        low, high = 1, len(victims)
        while low < high:
            middle = (low + high) // 2
            if self.fits(victims[:middle]) is None:
                low = middle + 1
            else:
                high = middle
        return high

    def spared(self, victims: Sequence[Victim]) -> Plan | None:
        chosen = list(victims)
        for victim in reversed(victims):
            fewer = [other for other in chosen if other is not victim]
            if self.left <= 1:
                break
            if fewer and self.fits(fewer) is not None:
                chosen = fewer
        found = self.fits(chosen)
        return Plan(tuple(chosen), found) if found is not None else None
