"""The placement task: one owner places gangs against one snapshot and carries decisions out.

`cycle` decides, `release` carries out and takes back, `turns` says whose turn it is, `podgangs` writes;
here is the order of these steps, and what an owner begins with.
"""

import logging
from dataclasses import replace

from grovekeeper.api import names, raw
from grovekeeper.expand import gangs, plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import (
    children,
    cycle,
    decisions,
    faults,
    gangstatus,
    handover,
    keys,
    occupancy,
    podgangs,
    recovery,
    release,
    turns,
    victims,
    view,
)
from grovekeeper.reconciler.context import Context, Result
from grovekeeper.runtime import metrics

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 60.0
_BUSY_SECONDS = 0.1
_TURN_SECONDS = 0.5
_PAUSE = 4.0
"""Between two rounds of all that wait lies so many times what the first of them took: the rest goes on in between."""


class Owner:
    """The placement owner's memory; all of it can be rebuilt from the caches."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.taken = occupancy.Occupancy(ctx)
        self.cached = view.View(ctx, self.taken.room.node_of)
        self.turns = turns.Turns(ctx, self.cached, self.taken.room)
        self.releases = release.Releases(ctx, self.taken)
        self.writer = podgangs.Writer(ctx)
        self._cycle = cycle.Cycle(self.cached, self.taken, self.turns, self.writer, self.releases)
        self._next_round = 0.0
        """Monotonic seconds from which all that wait may be tried again."""
        self._busy: set[str] = set()
        """Keys of gangs that are being attended to: the key `room` and a gang's own may come at the same time."""

    def on_pod(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Take in a change of a pod."""
        self.taken.on_pod(old, new)
        self.releases.on_pod(old, new)
        if new is None and old is not None:
            self.releases.gone(old["metadata"]["uid"])
            self._cycle.gone(old["metadata"]["uid"])

    async def begin(self) -> set[str]:
        """Begin an ownership with the room that any owner has given away; raise kube.errors.KubeError.

        Returns the keys of all gangs: each is to be looked at, to drive forward what the last owner left behind.
        """
        await recovery.catch_up(self.ctx, self.taken)
        self.taken.recover()
        self.turns.begin()
        self.releases.begin()
        self._cycle.begin()
        marks = ((c["metadata"]["namespace"], c["metadata"].get("labels") or {}) for c in self.ctx.stores.cliques.all())
        return {keys.gang(space, found[names.LABEL_PODGANG]) for space, found in marks if names.LABEL_PODGANG in found}

    async def reconcile(self, key: keys.Key) -> Result:
        """Look at one gang, or (key `room`) at all that wait."""
        if self.taken.claims.expire():
            await self.ctx.enqueue(keys.ROOM)
        if key.kind == keys.ROOM:
            begin = self.ctx.clock.monotonic()
            if begin < self._next_round:
                return Result(self._next_round - begin)
            await self._try_waiting()
            end = self.ctx.clock.monotonic()
            self._next_round = end + _PAUSE * (end - begin)
            return Result()
        found = self.cached.find(key)
        if found is None:
            self._forget(str(key))
            surplus = self.cached.unwanted(key)
            if surplus is not None:
                await children.delete(self.ctx, resources.PODGANGS, surplus)
            return Result()
        return await self._attend(found)

    def _forget(self, key: str) -> None:
        self.turns.forget(key)
        self.releases.forget(key)
        self._cycle.forget(key)

    async def _try_waiting(self) -> None:
        """Try all that wait, in their order; one that fails does not stop the others and comes again by itself."""
        for key in self.turns.in_order():
            each = self.cached.find(keys.parse(key))  # the ones before took their time
            try:
                again = (await self._attend(each, in_round=True)).requeue_after if each is not None else None
            except errors.KubeError as error:
                _LOG.warning("%s", error, extra={"key": key})
                again = 1.0
            except Exception:
                _LOG.exception("a look at a gang that waits failed by a fault of ours", extra={"key": key})
                again = _RETRY_SECONDS
            if again is not None:
                await self.ctx.enqueue(key, delay=again)

    async def _attend(self, found: view.Found, *, in_round: bool = False) -> Result:
        key = keys.gang(found.w.namespace, found.gang.name)
        if key in self._busy:
            return Result(_BUSY_SECONDS)
        self._busy.add(key)
        where = f"{names.PODGANG} {found.gang.name}"
        try:
            self.writer.check_name(found)
            result = await self._step(key, found, in_round=in_round)
            await faults.clear(self.ctx, found.w.raw, where)
            return result
        except children.Collision as error:
            return await faults.put(self.ctx, found.w.raw, where, error)
        finally:
            self._busy.discard(key)

    async def _hand_over(self, key: str, found: view.Found) -> Result:
        """Leave the gang to the scheduler that its set names."""
        self.turns.note(key, None)
        based = self.cached.base_is_placed(found)
        answer = await handover.step(self.ctx, found, base_is_placed=based)
        later = await self.writer.write_status(found, answer.why_not, answer.conditions, base_is_placed=based)
        await self._wake_scaled(found)
        return Result(min((wait for wait in (later, answer.again) if wait is not None), default=None))

    async def _step(self, key: str, found: view.Found, *, in_round: bool) -> Result:
        if found.w.scheduler != names.SCHEDULER_STOCK:
            return await self._hand_over(key, found)
        open_ = replace(found, pods={fqn: list(filter(plan.placeable, pods)) for fqn, pods in found.pods.items()})
        gated = [pod for pods in open_.pods.values() for pod in pods if plan.gated(pod)]
        missing = gangs.missing(found.gang, {fqn: len(pods) for fqn, pods in open_.pods.items()})
        why_not, soon = None, None
        known, openings = key in self.turns.waiting, self.taken.room.openings
        based = not gated or self.cached.base_is_placed(found)
        if gated and not missing and based:
            first = self.turns.minimum_first(key, open_, in_round=in_round)
            why_not = await self._cycle.place(open_, gated, minimum_only=first is not None)
            # That took its time: what has been bound meanwhile is not taken back below.
            found = replace(found, pods=self.cached.pods(found.w.namespace, found.gang.name))
            if first is not None and why_not is None:
                why_not, soon = first, _TURN_SECONDS
                if not in_round and self.turns.comes_too_early(key):
                    await self.ctx.enqueue(keys.ROOM)
        self.turns.note(key, why_not, None if gangstatus.scheduled(found.gang, found.pods) else openings)
        if why_not is not None and not known and self.taken.room.openings != openings:
            # The round that this room set off knew nothing of this gang: it did not wait yet.
            await self.ctx.enqueue(keys.ROOM)
        metrics.GANGS_WAITING.set(len(self.turns.waiting))
        self.releases.note_whole(key, found)
        again = await self.releases.unwind(key, found)
        settled = await self._settle(found, stuck=why_not is not None)
        held = gangstatus.held_up(found.gang, found.pods) if missing else None
        if held is not None:
            await self.writer.announce(found, held)
        later = await self.writer.write_status(found, why_not or held, base_is_placed=based)
        await self._wake_scaled(found)
        ends = self.taken.claims.next_end(f"{found.w.namespace}/{found.gang.name}")
        waits = [
            seconds
            for seconds in (again, later, soon, settled, ends, _RETRY_SECONDS if why_not else None)
            if seconds is not None
        ]
        return Result(min(waits) if waits else None)

    async def _settle(self, found: view.Found, *, stuck: bool) -> float | None:
        """Bring to its end what a preemption has begun with the gang; a scaled gang falls with its base gang."""
        namespace, base = found.w.namespace, found.gang.base
        live = self.ctx.stores.gangs.get(namespace, found.gang.name)
        if not decisions.gave_way(live) and not victims.marked(found):
            return None
        based = base is None or self.cached.base_is_placed(found)
        stuck = stuck or (not based and keys.gang(namespace, str(base)) in self.turns.waiting)
        whole = based and gangstatus.scheduled(found.gang, found.pods)
        return await victims.settle(self.ctx, found, self.taken.claims.given_up, whole=whole, stuck=stuck)

    async def _wake_scaled(self, found: view.Found) -> None:
        """Scaled gangs that wait for this base gang are looked at when it has been placed."""
        if found.gang.base is None and gangstatus.scheduled(found.gang, found.pods):
            ready = self.cached.scaled_and_gated(found)
            await self.ctx.enqueue(*(key for key in ready if key not in self.turns.waiting))
