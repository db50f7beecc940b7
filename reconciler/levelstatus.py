"""The condition LevelsUsable of ClusterTopologyBindings: written by the placement owner, who knows the nodes."""

import logging

from grovekeeper.api import conditions
from grovekeeper.kube import errors, resources
from grovekeeper.placement import levels
from grovekeeper.reconciler import asks, children
from grovekeeper.reconciler.context import Context

_LOG = logging.getLogger(__name__)
TYPE = "LevelsUsable"


class Levels:
    """What was judged last. Judged anew only when nodes or bindings have changed; nothing else depends on it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._mark: tuple[object, ...] = ()
        self._judged: dict[str, levels.Judgement] = {}

    async def write(self, epoch: int) -> None:
        """Write the condition of each binding where it differs. `epoch` changes when what is read of nodes does."""
        bindings = {obj["metadata"]["name"]: obj for obj in self._ctx.stores.topologies.all()}
        if not bindings:
            return
        mark = (epoch, *sorted((name, obj["metadata"].get("generation", 0)) for name, obj in bindings.items()))
        if mark != self._mark:
            known = {name: asks.levels_of(obj) for name, obj in bindings.items()}
            self._judged = levels.judged(known, self._ctx.stores.nodes.all())
            self._mark = mark
        for name, found in self._judged.items():
            live = bindings[name]
            old = live.get("status") or {}
            fresh = conditions.condition(TYPE, found.usable, found.reason, found.text, self._ctx.clock.stamp())
            status = {**old, "conditions": conditions.merged(old.get("conditions"), [fresh])}
            status["observedGeneration"] = live["metadata"].get("generation", 0)
            try:
                await children.write_status(self._ctx, resources.TOPOLOGY_BINDINGS, live, status)
            except errors.KubeError as error:
                # A verdict that cannot be written must keep no gang waiting: the next look at the room tries again.
                _LOG.warning("the status of ClusterTopologyBinding %s was not written: %s", name, error)
