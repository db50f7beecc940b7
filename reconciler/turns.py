"""Whose turn it is: the room that is kept for gangs that have waited long. See docs/placement.md, "Turns"."""

from collections.abc import Container
from dataclasses import dataclass, field

from grovekeeper.placement import request, reserve, snapshot
from grovekeeper.reconciler import decisions, gangstatus, view
from grovekeeper.reconciler.context import Context


@dataclass(frozen=True, slots=True)
class Kept:
    """Room that is kept for a gang that waits."""

    since: float
    """Seconds of the injected clock."""
    order: tuple[bool, int, bool, str, str]
    nodes: frozenset[str]


@dataclass(slots=True)
class Turns:
    """Since when gangs wait, by key, and what is kept for them."""

    ctx: Context
    room: snapshot.Snapshot
    _kept: dict[str, Kept] = field(default_factory=dict)

    def closed(self, key: str, found: view.Found, waiting: Container[str]) -> frozenset[str]:
        """Return the nodes that are kept for the first of the gangs that have waited long, if this one is behind it.

        O(gangs that have waited long).
        """
        others = {text: kept for text, kept in self._kept.items() if kept.nodes and text in waiting}
        if not others or gangstatus.scheduled(found.gang, found.pods):
            return frozenset()
        first = min(others, key=lambda text: others[text].order)
        mine = decisions.order(found.pods, found.gang.base, found.gang.name, has_minimum=False)
        return others[first].nodes if first != key and others[first].order < mine else frozenset()

    def keep(self, key: str, found: view.Found, ask: request.GangAsk, *, never: bool) -> None:
        """Keep a domain for a gang that has waited long; one that can never fit keeps nothing from anybody."""
        now = self.ctx.clock.now().timestamp()
        since = self._kept[key].since if key in self._kept else now
        order = decisions.order(found.pods, found.gang.base, found.gang.name, has_minimum=False)
        due = not never and now - since >= self.ctx.settings.reconcile.reserve_after_seconds
        wanted = not gangstatus.scheduled(found.gang, found.pods)
        self._kept[key] = Kept(since, order, reserve.nodes(ask, self.room) if due and wanted else frozenset())

    def forget(self, key: str) -> None:
        """Keep nothing for a gang any more: it has been placed, or is gone."""
        self._kept.pop(key, None)
