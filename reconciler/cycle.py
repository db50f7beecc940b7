"""The scheduling cycle of one gang: what was decided stands, or the engine is asked, and the answer is persisted.

A decision is persisted on the PodGang before anything else happens, and driven forward from there after a crash;
it is never solved again half-way. See docs/decisions/0005-hold-pin-ungate.md.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter

from grovekeeper.api import raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors
from grovekeeper.placement import place, preempt, request, shape
from grovekeeper.reconciler import (
    asks,
    children,
    creation,
    decisions,
    keys,
    occupancy,
    podgangs,
    preemption,
    refusals,
    release,
    reservations,
    turns,
    view,
)
from grovekeeper.runtime import metrics


class Cycle:
    """What placing gangs remembers between two looks at the same one."""

    def __init__(
        self,
        cached: view.View,
        taken: occupancy.Occupancy,
        order: turns.Turns,
        writer: podgangs.Writer,
        releases: release.Releases,
    ) -> None:
        self._ctx = taken.ctx
        self._cached = cached
        self._taken = taken
        self._turns = order
        self._writer = writer
        self._releases = releases
        self._preemption = preemption.Preemption(taken.ctx, taken)
        self._refusals = refusals.Refusals()
        self._homeless: dict[str, float] = {}
        """UID of a successor that could not be placed, to the monotonic time since which."""

    def begin(self) -> None:
        """Begin an ownership with no room that is being made: what was kept for it is not charged any more."""
        self._preemption.begin()

    def forget(self, key: str) -> None:
        """Forget a gang that is gone."""
        self._preemption.forget(key)
        self._refusals.forget(key)

    def gone(self, uid: str) -> None:
        """Forget a pod that is gone."""
        self._homeless.pop(uid, None)

    async def place(self, found: view.Found, gated: Sequence[raw.Object], *, minimum_only: bool) -> str | None:
        """Decide about the gated pods of a complete gang and carry it out; return why not, or None."""
        w, gang = found.w, found.gang
        live = self._ctx.stores.gangs.get(w.namespace, gang.name)
        decided = decisions.placement(live)
        key = keys.gang(w.namespace, gang.name)
        avoid = self._releases.avoided(key)
        if doubtful := self._releases.in_doubt(gated):
            await self._make_sure(found, gated, doubtful, decided)
        if (ends := self._preemption.goes_on(key)) is not None:
            return ends
        if not decisions.preempted(live) and self._stands(gated, decided, avoid):
            await self._releases.carry_out(gated, decided)
            return None
        homes = self._taken.claims.of_pods(gated)
        self._let_go(gated)
        levels = self._writer.levels(w)
        closed = self._turns.closed(key, found) - {*homes.values()}
        around = self._cached.around(found, decisions.reserved(live), avoid, closed, homes, minimum_only=minimum_only)
        ask = asks.ask(w, gang, found.pods, levels, around)
        doubt = self._refusals.question(key, ask, self._token(found, ask), self._ctx.clock.monotonic())
        if doubt.answer is not None:
            return doubt.answer
        victims: preempt.Plan | None = None
        # Nothing may be awaited in here: what is lent to this gang is not free for others.
        with self._taken.room.without([m for p in gated for m in (p["metadata"]["uid"], reservations.mark_of(p))]):
            begin = perf_counter()
            answer = place.place(ask, self._taken.room)
            metrics.PLACE_SECONDS.observe(perf_counter() - begin)
            if isinstance(answer, request.Reasons):
                answer = asks.told(answer, around)
                self._turns.keep(key, found, ask, never=answer.never)
                victims = self._preemption.plan(found, ask)
        if isinstance(answer, request.Reasons):
            if victims is None:
                self._refusals.note(doubt, answer.summary)
            # Room that is made is charged before anything is awaited: nobody else may have been promised it.
            why = await self._give_way(key, found, answer, victims, gated)
            if live is None:
                await self._writer.persist(found, levels, {})
            return why
        self._turns.placed(key)
        self._refusals.note(doubt, decisions.left_out(answer) if not answer.nodes else None)
        if answer.nodes:
            await self._decide(found, levels, answer, gated, homes)
        return decisions.left_out(answer)

    async def _make_sure(
        self, found: view.Found, gated: Sequence[raw.Object], doubtful: Mapping[str, str], decided: Mapping[str, str]
    ) -> None:
        """Carry out what may or may not have been carried out; raises kube.errors.KubeError in any case."""
        if any(decided.get(name) != node for name, node in doubtful.items()):
            # Somebody has deleted the PodGang meanwhile: an owner after this one reads there what may have been done.
            await self._writer.persist(found, self._writer.levels(found.w), doubtful)
        await self._releases.make_sure(gated, doubtful)

    def _stands(self, gated: Sequence[raw.Object], decided: Mapping[str, str], avoid: Sequence[str]) -> bool:
        """Return whether all these pods have been decided about, and their nodes still take them and have the room.

        A successor may have the name of a pod that is gone: its room may be gone, and its template another one.
        """
        for pod in gated:
            name = decided.get(pod["metadata"]["name"])
            node = self._ctx.stores.nodes.get(None, name) if name is not None and name not in avoid else None
            if node is None or shape.refusal(pod["spec"], node) is not None:
                return False
        for pod in gated:
            self._taken.room.assume(pod["metadata"]["uid"], pod["spec"], decided[pod["metadata"]["name"]])
        return self._taken.has_room(gated, decided)

    def _let_go(self, gated: Sequence[raw.Object]) -> None:
        """What was decided for pods before no longer counts, and must not be in their own way."""
        for pod in gated:
            self._taken.room.release(pod["metadata"]["uid"])
            if plan.home(pod) is not None:
                self._taken.room.upsert_pod(pod, firm=True)

    def _token(self, found: view.Found, ask: request.GangAsk) -> refusals.Token:
        """Return what stands for the room that the gang could have, by eviction where it may evict."""
        room = self._taken.room
        landed = self._taken.landed if self._preemption.may_evict(found, ask) else 0
        return room.openings, landed, room.stirs(refusals.watched(ask))

    async def _decide(
        self,
        found: view.Found,
        levels: Mapping[str, str],
        answer: request.Placement,
        gated: Sequence[raw.Object],
        homes: Mapping[str, str],
    ) -> None:
        """Persist a decision and carry it out; room that was held for the pods (`homes`) is theirs from now on."""
        chosen = [pod for pod in gated if pod["metadata"]["name"] in answer.nodes]
        for pod in chosen:
            self._taken.room.assume(pod["metadata"]["uid"], pod["spec"], answer.nodes[pod["metadata"]["name"]])
        outgrown = self._outgrown(gated, chosen, answer.nodes, homes)
        try:
            await self._writer.persist(found, levels, answer.nodes, answer.score)
        except BaseException as error:  # also where the PodGang's name is somebody else's: nothing is decided
            if isinstance(error, errors.Unavailable) and error.is_in_doubt:
                raise  # it may have been written: nobody else gets the room before the next look
            self._taken.take_back([*chosen, *outgrown])
            raise
        for pod in chosen:
            self._taken.claims.release(reservations.mark_of(pod))
            self._homeless.pop(pod["metadata"]["uid"], None)
        await children.together(creation.nominate(self._ctx, pod, None) for pod in outgrown)
        await self._releases.carry_out(chosen, answer.nodes)
        metrics.GANGS_PLACED.inc()
        text = decisions.placed(found.gang.name, answer, levels)
        self._ctx.events.normal(found.w.raw, "GangPlaced", text, self._ctx.clock.stamp())

    def _outgrown(
        self,
        gated: Sequence[raw.Object],
        chosen: Sequence[raw.Object],
        nodes: Mapping[str, str],
        homes: Mapping[str, str],
    ) -> list[raw.Object]:
        """Return the pods that fit nowhere, not where they were either, and whose homes go to others of their gang.

        What they were charged with there is taken back: it would be in the way of the others for as long as it is held.
        """
        if len(chosen) == len(gated):
            return []
        with self._taken.room.without(map(reservations.mark_of, chosen)):
            crowded = {nodes[p["metadata"]["name"]] for p in chosen if not self._taken.has_room([p], nodes)}
        found = [p for p in gated if p["metadata"]["name"] not in nodes and homes.get(p["metadata"]["name"]) in crowded]
        for pod in found:
            self._taken.claims.release(reservations.mark_of(pod))
            self._taken.room.release(pod["metadata"]["uid"])
        return found

    async def _give_way(
        self,
        key: str,
        found: view.Found,
        answer: request.Reasons,
        victims: preempt.Plan | None,
        gated: Sequence[raw.Object],
    ) -> str:
        """Say why a gang is not placed, make room for it where that is possible, and let go what it held for long."""
        text = f"{found.gang.name}: {answer.summary}"
        self._ctx.events.warning(found.w.raw, "GangUnschedulable", text, self._ctx.clock.stamp())
        if victims is not None:
            return await self._preemption.carry_out(key, found, victims, gated)
        now = self._ctx.clock.monotonic()
        for pod in gated:
            since = self._homeless.setdefault(pod["metadata"]["uid"], now)
            nominated = (pod.get("status") or {}).get("nominatedNodeName")
            waits = self._ctx.settings.reconcile.reservation_seconds if plan.home(pod) is not None else 0.0
            # But for the node that a successor may go back to, a nomination is left from when there was room.
            if nominated and now - since >= waits:
                await creation.nominate(self._ctx, pod, None)
                await self._ctx.enqueue(keys.ROOM)
        return answer.summary
