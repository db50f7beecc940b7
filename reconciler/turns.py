"""Whose turn it is: which gangs wait, in which order, and the room that is kept for those that have waited long.

See docs/placement.md, "Turns".
"""

from dataclasses import dataclass, field, replace

from grovekeeper.api import conditions
from grovekeeper.expand import gangs, plan
from grovekeeper.placement import request, reserve, snapshot
from grovekeeper.reconciler import decisions, gangstatus, keys, view
from grovekeeper.reconciler.context import Context
from grovekeeper.runtime import clock

_AFTER_THE_MINIMUM = "pods above the minimum come after the minimum of gangs that wait"


@dataclass(frozen=True, slots=True)
class Kept:
    """Room that is kept for a gang that waits."""

    since: float
    """Seconds of the injected clock."""
    order: decisions.Order
    nodes: frozenset[str] = frozenset()
    fewest: int | None = None
    """Of pods on the nodes that were kept, in this window; None: nothing was kept in it."""
    moved: float = 0.0
    """When the last of them had gone; or when the nodes were opened again (`rests`), since none did."""
    rests: bool = False


@dataclass(slots=True)
class Turns:
    """The gangs that wait, by key, and what is kept for them."""

    ctx: Context
    cached: view.View
    room: snapshot.Snapshot
    waiting: dict[str, str] = field(default_factory=dict)
    """Key of a gang that does not fit, to the reason."""
    _tried: dict[str, int] = field(default_factory=dict)
    """Key of a gang that waits for its minimum, to how often room had appeared when it was last tried."""
    _kept: dict[str, Kept] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin an ownership: nobody has been tried yet."""
        self.waiting.clear()
        self._tried.clear()

    def note(self, key: str, why_not: str | None, tried: int | None = None) -> None:
        """Take in why a gang waits (None: it does not); `tried`: the room's openings when its minimum was tried."""
        self._tried.pop(key, None)
        if why_not is None:
            self.waiting.pop(key, None)
            return
        self.waiting[key] = why_not
        if tried is not None:
            self._tried[key] = tried

    def in_order(self) -> list[str]:
        """Return the keys of all that wait and still exist, in the order in which they are to be tried."""
        order = {}
        for text in self.waiting:
            one = self.cached.find(keys.parse(text))
            if one is None:
                self._tried.pop(text, None)
            else:
                whole = gangstatus.scheduled(one.gang, one.pods)
                order[text] = decisions.order(one.pods, one.gang.base, one.gang.name, has_minimum=whole)
        return sorted(order, key=order.__getitem__)

    def minimum_first(self, key: str, found: view.Found, *, in_round: bool) -> str | None:
        """Return why pods above the minimum wait for their turn, or None: the minimum of others comes first.

        In a round, all that lack theirs have been tried before. A gang that is looked at by itself may be the first to
        see a room that has just appeared. O(gangs that wait).
        """
        # A successor takes over room that its gang has: it is not above the minimum beside its predecessor.
        counts = {fqn: sum(map(plan.alive, plan.members(pods))) for fqn, pods in found.pods.items()}
        if not any(counts.get(m.fqn, 0) > m.minimum for m in found.gang.members):
            return None
        if not gangstatus.scheduled(found.gang, found.pods) and any(text != key for text in self.waiting):
            return _AFTER_THE_MINIMUM
        if not in_round and self.comes_too_early(key):
            return _AFTER_THE_MINIMUM
        if found.gang.base is None:
            for gang in gangs.of_replica(found.w, found.gang.index, self.cached.live(found.w, found.gang.index))[1:]:
                pods = self.cached.pods(found.w.namespace, gang.name)
                counts = {fqn: sum(map(plan.placeable, each)) for fqn, each in pods.items()}
                tried = keys.gang(found.w.namespace, gang.name) in self.waiting
                if not tried and not gangs.missing(gang, counts) and not gangstatus.scheduled(gang, pods):
                    return f"pods above the minimum come after the minimum of {gang.name}"
        return None

    def comes_too_early(self, key: str) -> bool:
        """Return whether room has appeared for which another gang's minimum has not been tried. O(gangs that wait)."""
        return any(text != key and seen < self.room.openings for text, seen in self._tried.items())

    def closed(self, key: str, found: view.Found) -> frozenset[str]:
        """Return the nodes that are kept for the first of the gangs that have waited long, if this one is behind it.

        O(gangs that have waited long).
        """
        others = {text: kept for text, kept in self._kept.items() if kept.nodes and text in self.waiting}
        if not others or gangstatus.scheduled(found.gang, found.pods):
            return frozenset()
        first = min(others, key=lambda text: others[text].order)
        mine = decisions.order(found.pods, found.gang.base, found.gang.name, has_minimum=False)
        return others[first].nodes if first != key and others[first].order < mine else frozenset()

    def keep(self, key: str, found: view.Found, ask: request.GangAsk, *, never: bool) -> None:
        """Keep a domain for a gang that has waited long; one that can never fit keeps nothing from anybody."""
        now = self.ctx.clock.now().timestamp()
        order = decisions.order(found.pods, found.gang.base, found.gang.name, has_minimum=False)
        known = self._kept.get(key) or Kept(self._since(found, now), order)
        due = not never and now - known.since >= self.ctx.settings.reconcile.reserve_after_seconds
        wanted = not gangstatus.scheduled(found.gang, found.pods)
        nodes = reserve.nodes(ask, self.room) if due and wanted else frozenset()
        self._kept[key] = self._windowed(replace(known, order=order, nodes=nodes), now)

    def _windowed(self, kept: Kept, now: float) -> Kept:
        """Return what is kept while pods go from the nodes; nothing for a window after one in which none went."""
        if not kept.nodes:
            return kept
        over = now - kept.moved >= self.ctx.settings.reconcile.reserve_window_seconds
        pods = self.room.tenants_on(kept.nodes)
        if kept.rests and not over:
            return replace(kept, nodes=frozenset())
        if kept.rests or kept.fewest is None or pods < kept.fewest:
            return replace(kept, fewest=pods, moved=now, rests=False)
        return replace(kept, nodes=frozenset(), fewest=None, moved=now, rests=True) if over else kept

    def _since(self, found: view.Found, now: float) -> float:
        """Return since when a gang waits: an owner before this one may have said so on the PodGang."""
        live = self.ctx.stores.gangs.get(found.w.namespace, found.gang.name) or {}
        told = conditions.find((live.get("status") or {}).get("conditions"), gangstatus.SCHEDULED)
        if told is None or told["status"] != "False" or told.get("reason") != "Unschedulable":
            return now
        made = [pod["metadata"]["creationTimestamp"] for pods in found.pods.values() for pod in pods]
        return min(now, max(clock.parse(text).timestamp() for text in (told["lastTransitionTime"], *made)))

    def placed(self, key: str) -> None:
        """Keep nothing for a gang any more."""
        self._kept.pop(key, None)

    def forget(self, key: str) -> None:
        """Forget a gang that is gone."""
        self.waiting.pop(key, None)
        self._tried.pop(key, None)
        self._kept.pop(key, None)
