"""The placement task: one owner places gangs against one snapshot and carries decisions out.

A decision is persisted on the PodGang before anything else happens, and driven forward from there after a crash;
it is never solved again half-way. See docs/decisions/0005-hold-pin-ungate.md.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import gangs, model, plan
from grovekeeper.kube import errors, resources
from grovekeeper.placement import place, preempt, request, shape, snapshot
from grovekeeper.reconciler import (
    asks,
    children,
    creation,
    decisions,
    gangstatus,
    handover,
    keys,
    levelstatus,
    pins,
    preemption,
    refusals,
    reservations,
    statuses,
    termination,
    turns,
    view,
)
from grovekeeper.reconciler.context import Context, Result
from grovekeeper.runtime import clock, metrics

_LOG = logging.getLogger(__name__)
_HOLD_FROM = 9
"""Gangs of at least this many pods are held by nomination even where nobody competes: patching them takes a while."""
_SETTLE_SECONDS = 30.0
_REST_SECONDS = 3.0
_RETRY_SECONDS = 60.0
_REFUSED_SECONDS = 300.0
"""For how long a gang keeps away from a node that the scheduler refused to it after we had chosen it."""
_BUSY_SECONDS = 0.1
_TURN_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_PAUSE = 4.0
"""Between two rounds of all that wait lies so many times what the first of them took: the rest goes on in between."""


@dataclass(slots=True)
class Owner:
    """The placement owner's memory; all of it can be rebuilt from the caches."""

    ctx: Context
    cached: view.View = field(init=False)
    _turns: turns.Turns = field(init=False)
    room: snapshot.Snapshot = field(default_factory=snapshot.Snapshot)
    waiting: dict[str, str] = field(default_factory=dict)
    """Key of a gang that does not fit, to the reason."""
    sent: dict[str, float] = field(default_factory=dict)
    """UID of a pod whose gate we removed, to the monotonic time of it."""
    refused: dict[str, dict[str, float]] = field(default_factory=dict)
    """Key of a gang, to the nodes that it keeps away from, to the monotonic time until which it does."""
    _clearing: dict[str, preemption.Clearing] = field(default_factory=dict)
    """Key of a gang that preempts, to what it waits for."""
    _refusals: refusals.Refusals = field(default_factory=refusals.Refusals)
    _next_round: float = 0.0
    """Monotonic seconds from which all that wait may be tried again."""
    _contended: int = 0
    _priorities: Counter[int] = field(default_factory=Counter)
    """Number of our pods on nodes by priority: tells at once that there is nobody to preempt."""
    _landed: int = 0
    """How often a pod of ours has got a node: gangs of higher priority could evict it from then on."""
    _whole: set[str] = field(default_factory=set)
    """Keys of gangs that were seen whole; their status says so only after a while."""
    _busy: set[str] = field(default_factory=set)
    """Keys of gangs that are being attended to: the key `room` and a gang's own may come at the same time."""
    _phases: dict[str, tuple[str, float]] = field(default_factory=dict)
    """UID of a PodGang without a status yet, to its phase and the monotonic time since which it is in it."""

    claims: reservations.Reservations = field(init=False)
    _judge: levelstatus.Levels = field(init=False)
    _homeless: dict[str, float] = field(default_factory=dict)
    """UID of a successor that could not be placed, to the monotonic time since which."""

    def __post_init__(self) -> None:
        self.claims = reservations.Reservations(self.ctx, self.room)
        self.cached = view.View(self.ctx, self.room.node_of)
        self._judge = levelstatus.Levels(self.ctx)
        self._turns = turns.Turns(self.ctx, self.room)

    def on_node(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Keep the snapshot's nodes."""
        if new is not None:
            self.room.upsert_node(new)
        elif old is not None:
            self.room.remove_node(old["metadata"]["name"])

    def on_pod(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Keep the snapshot's pods, and count pods of others that look for a node."""
        self._contended += decisions.competes(new) - decisions.competes(old)
        for pod, step in ((old, -1), (new, 1)):
            priority = decisions.held_priority(pod)
            if priority is not None:
                self._priorities[priority] += step
                self._landed += step > 0
        ended = new is not None and plan.finished(new) and plan.terminating(new)
        gone = new if ended else old if new is None else None
        if gone is not None:
            self.claims.vanished(gone)
        if new is not None:
            self.room.upsert_pod(new, firm=decisions.succeeds(new))
            self.claims.appeared(new)
        elif old is not None:
            self.room.remove_pod(old["metadata"]["uid"])
            self.sent.pop(old["metadata"]["uid"], None)
            self._homeless.pop(old["metadata"]["uid"], None)

    def recover(self) -> set[str]:
        """Begin an ownership: what any owner has decided and nobody has bound yet takes room before anything else.

        Returns the keys of all gangs: each is to be looked at, to drive forward what the last owner left behind.
        """
        self.claims.clear()
        self.room.forget_all()
        self.waiting.clear()
        for live in self.ctx.stores.gangs.all():
            metadata = live["metadata"]
            decided = decisions.placement(live)
            for pod in self.ctx.stores.pods.by_index("gang", f"{metadata['namespace']}/{metadata['name']}"):
                node = decided.get(pod["metadata"]["name"])
                if node is not None and plan.alive(pod) and not pod["spec"].get("nodeName"):
                    self.room.assume(pod["metadata"]["uid"], pod["spec"], node)
            self._rebuild_claims(live)
        marks = ((c["metadata"]["namespace"], c["metadata"].get("labels") or {}) for c in self.ctx.stores.cliques.all())
        return {keys.gang(space, found[names.LABEL_PODGANG]) for space, found in marks if names.LABEL_PODGANG in found}

    def _rebuild_claims(self, live: raw.Object) -> None:
        """Keep room for those pods of a gang that had a node, and of which nothing is there now. O(its pods)."""
        reserved = decisions.reserved(live)
        if not reserved:
            return
        mark = f"{live['metadata']['namespace']}/{live['metadata']['name']}"
        there = {pod["spec"].get("hostname") for pod in self.ctx.stores.pods.by_index("gang", mark)}
        for clique in self.ctx.stores.cliques.by_index("gang", mark):
            for host, left in decisions.places(clique):
                if host in reserved and host not in there:
                    self.claims.rebuild(mark, left, reserved[host], clique["spec"]["podSpec"])

    async def reconcile(self, key: keys.Key) -> Result:
        """Look at one gang, or (key `room`) at all that wait."""
        if self.claims.expire():
            await self.ctx.enqueue(keys.ROOM)
        if key.kind == keys.ROOM:
            begin = self.ctx.clock.monotonic()
            if begin < self._next_round:
                return Result(self._next_round - begin)
            await self._try_waiting()
            await self._judge.write(self.room.epoch())
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
        self.waiting.pop(key, None)
        self.refused.pop(key, None)
        self._clearing.pop(key, None)
        self._turns.forget(key)
        self._whole.discard(key)
        self._refusals.forget(key)

    async def _try_waiting(self) -> None:
        """Try all that wait, in their order; one that fails does not stop the others and comes again by itself."""
        found = {text: each for text in self.waiting if (each := self.cached.find(keys.parse(text))) is not None}
        order = {
            text: decisions.order(
                one.pods, one.gang.base, one.gang.name, has_minimum=gangstatus.scheduled(one.gang, one.pods)
            )
            for text, one in found.items()
        }
        for key in sorted(found, key=order.__getitem__):
            each = self.cached.find(keys.parse(key))  # the ones before took their time
            try:
                again = (await self._attend(each)).requeue_after if each is not None else None
            except errors.KubeError as error:
                _LOG.warning("%s", error, extra={"key": key})
                again = 1.0
            if again is not None:
                await self.ctx.enqueue(key, delay=again)

    async def _attend(self, found: view.Found) -> Result:
        key = keys.gang(found.w.namespace, found.gang.name)
        if key in self._busy:
            return Result(_BUSY_SECONDS)
        self._busy.add(key)
        try:
            return await self._step(key, found)
        finally:
            self._busy.discard(key)

    async def _hand_over(self, key: str, found: view.Found) -> Result:
        """Leave the gang to the scheduler that its set names."""
        self.waiting.pop(key, None)
        answer = await handover.step(self.ctx, found, base_is_placed=self.cached.base_is_placed(found))
        later = await self._write_status(found, answer.why_not, answer.conditions)
        await self._wake_scaled(found)
        return Result(min((wait for wait in (later, answer.again) if wait is not None), default=None))

    async def _step(self, key: str, found: view.Found) -> Result:
        if found.w.scheduler != names.SCHEDULER_STOCK:
            return await self._hand_over(key, found)
        living = {fqn: [pod for pod in pods if plan.alive(pod)] for fqn, pods in found.pods.items()}
        gated = [pod for pods in living.values() for pod in pods if plan.gated(pod)]
        missing = gangs.missing(found.gang, {fqn: len(pods) for fqn, pods in living.items()})
        why_not, soon = None, None
        if gated and not missing and self.cached.base_is_placed(found):
            first = self._comes_first(key, found)
            why_not = await self._place(found, gated, minimum_only=first is not None)
            if first is not None and why_not is None:
                why_not, soon = first, _TURN_SECONDS
        if why_not is None:
            self.waiting.pop(key, None)
        else:
            self.waiting[key] = why_not
        metrics.GANGS_WAITING.set(len(self.waiting))
        self._note_whole(key, found)
        again = await self._unwind(key, found)
        later = await self._write_status(found, why_not)
        await self._wake_scaled(found)
        ends = self.claims.next_end(f"{found.w.namespace}/{found.gang.name}")
        waits = [
            seconds
            for seconds in (again, later, soon, ends, _RETRY_SECONDS if why_not else None)
            if seconds is not None
        ]
        return Result(min(waits) if waits else None)

    async def _wake_scaled(self, found: view.Found) -> None:
        """Scaled gangs that wait for this base gang are looked at when it has been placed."""
        if found.gang.base is None and gangstatus.scheduled(found.gang, found.pods):
            ready = self.cached.scaled_and_gated(found)
            await self.ctx.enqueue(*(key for key in ready if key not in self.waiting))

    def _comes_first(self, key: str, found: view.Found) -> str | None:
        """Return why pods above the minimum wait for their turn, or None: the minimum of others comes first."""
        if not any(sum(map(plan.alive, found.pods.get(m.fqn, ()))) > m.minimum for m in found.gang.members):
            return None
        if not gangstatus.scheduled(found.gang, found.pods) and any(text != key for text in self.waiting):
            return "pods above the minimum come after the minimum of gangs that wait"
        if found.gang.base is None:
            for gang in gangs.of_replica(found.w, found.gang.index, self.cached.live(found.w, found.gang.index))[1:]:
                pods = self.cached.pods(found.w.namespace, gang.name)
                counts = {fqn: sum(map(plan.alive, each)) for fqn, each in pods.items()}
                tried = keys.gang(found.w.namespace, gang.name) in self.waiting
                if not tried and not gangs.missing(gang, counts) and not gangstatus.scheduled(gang, pods):
                    return f"pods above the minimum come after the minimum of {gang.name}"
        return None

    async def _place(self, found: view.Found, gated: Sequence[raw.Object], *, minimum_only: bool) -> str | None:
        """Decide and carry out; return why not, or None."""
        w, gang = found.w, found.gang
        live = self.ctx.stores.gangs.get(w.namespace, gang.name)
        decided = decisions.placement(live)
        key = keys.gang(w.namespace, gang.name)
        avoid = self._avoided(key)
        if self._stands(gated, decided, avoid):
            await self._carry_out(gated, decided)
            return None
        if (ends := self._still_clearing(key)) is not None:
            return ends
        homes = self.claims.of_pods(gated)
        self._let_go(gated)
        levels = self._levels(w)
        closed = self._turns.closed(key, found, self.waiting) - {*homes.values()}
        around = self.cached.around(found, decisions.reserved(live), avoid, closed, homes, minimum_only=minimum_only)
        ask = asks.ask(w, gang, found.pods, levels, around)
        doubt = self._refusals.question(key, ask, self._token(found, ask), self.ctx.clock.monotonic())
        if doubt.answer is not None:
            return doubt.answer
        victims: preempt.Plan | None = None
        # Nothing may be awaited in here: what is lent to this gang is not free for others.
        with self.room.without([m for p in gated for m in (p["metadata"]["uid"], reservations.mark_of(p))]):
            begin = perf_counter()
            answer = place.place(ask, self.room)
            metrics.PLACE_SECONDS.observe(perf_counter() - begin)
            if isinstance(answer, request.Reasons):
                answer = asks.told(answer, around)
                self._turns.keep(key, found, ask, never=answer.never)
                victims = self._victims(found, ask)
        if isinstance(answer, request.Reasons):
            if live is None:
                await self._write_gang(found, levels, {})
            if victims is None:
                self._refusals.note(doubt, answer.summary)
            return await self._give_way(key, found, answer, victims, gated)
        self._turns.forget(key)
        self._refusals.note(doubt, decisions.left_out(answer) if not answer.nodes else None)
        if answer.nodes:
            await self._decide(found, levels, answer, gated)
        return decisions.left_out(answer)

    def _let_go(self, gated: Sequence[raw.Object]) -> None:
        """What was decided for pods before no longer counts, and must not be in their own way."""
        for pod in gated:
            self.room.release(pod["metadata"]["uid"])
            if plan.home(pod) is not None:
                self.room.upsert_pod(pod, firm=True)

    def _token(self, found: view.Found, ask: request.GangAsk) -> refusals.Token:
        """Return what stands for the room that the gang could have, by eviction where it may evict."""
        return self.room.openings, self._landed if self._may_evict(found, ask) else 0

    def _may_evict(self, found: view.Found, ask: request.GangAsk) -> bool:
        lowest = min((priority for priority, count in self._priorities.items() if count > 0), default=ask.priority)
        return lowest < ask.priority and ask.preempts and not gangstatus.scheduled(found.gang, found.pods)

    async def _decide(
        self, found: view.Found, levels: Mapping[str, str], answer: request.Placement, gated: Sequence[raw.Object]
    ) -> None:
        """Persist a decision and carry it out; room that was held for the pods is theirs from now on."""
        chosen = [pod for pod in gated if pod["metadata"]["name"] in answer.nodes]
        for pod in chosen:
            self.room.assume(pod["metadata"]["uid"], pod["spec"], answer.nodes[pod["metadata"]["name"]])
        try:
            await self._write_gang(found, levels, answer.nodes, answer.score)
        except errors.KubeError:
            for pod in chosen:
                self.room.forget(pod["metadata"]["uid"])
                self.room.upsert_pod(pod, firm=decisions.succeeds(pod))
            raise
        for pod in chosen:
            self.claims.release(reservations.mark_of(pod))
            self._homeless.pop(pod["metadata"]["uid"], None)
        await self._carry_out(chosen, answer.nodes)
        metrics.GANGS_PLACED.inc()

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
        self.ctx.events.warning(found.w.raw, "GangUnschedulable", text, self.ctx.clock.stamp())
        if victims is not None:
            return await self._preempt(key, found, victims, gated)
        now = self.ctx.clock.monotonic()
        for pod in gated:
            since = self._homeless.setdefault(pod["metadata"]["uid"], now)
            if plan.home(pod) is not None and now - since >= self.ctx.settings.reconcile.reservation_seconds:
                await creation.nominate(self.ctx, pod, None)
                await self.ctx.enqueue(keys.ROOM)
        return answer.summary

    def _still_clearing(self, key: str) -> str | None:
        """Return what the gang waits for while victims of its preemption end; None when it is to be placed."""
        clearing = self._clearing.get(key)
        if clearing is None:
            return None
        left = [uid for uid in clearing.uids if self.room.node_of(uid) is not None]
        if left and self.ctx.clock.monotonic() < clearing.until:
            return f"room is being made: {len(left)} pods of gangs of lower priority have to end"
        del self._clearing[key]
        return None

    def _victims(self, found: view.Found, ask: request.GangAsk) -> preempt.Plan | None:
        """Return which gangs of lower priority to evict so that the gang fits then; None where that does not help."""
        return preempt.plan(ask, self.room, preemption.candidates(self.ctx)) if self._may_evict(found, ask) else None

    async def _preempt(self, key: str, found: view.Found, chosen: preempt.Plan, gated: Sequence[raw.Object]) -> str:
        """Evict gangs of lower priority, and keep their room for this one; return what goes on."""
        by_name = {pod["metadata"]["name"]: pod for pod in gated}
        for name, node in chosen.placement.nodes.items():
            self.room.assume(by_name[name]["metadata"]["uid"], by_name[name]["spec"], node)
        uids = frozenset(uid for victim in chosen.victims for uid in victim.uids)
        self._clearing[key] = preemption.Clearing(uids, self.ctx.clock.monotonic() + preemption.PATIENCE_SECONDS)
        await children.together(
            creation.nominate(self.ctx, by_name[name], node) for name, node in chosen.placement.nodes.items()
        )
        names_ = ", ".join(victim.name for victim in chosen.victims)
        text = f"{found.gang.name}: {names_} of lower priority make room"
        self.ctx.events.warning(found.w.raw, "GangPreempting", text, self.ctx.clock.stamp())
        self.claims.given_up |= uids
        problem = await preemption.evict(self.ctx, chosen.victims, f"{found.w.namespace}/{found.gang.name}")
        if problem is not None:
            self.claims.given_up -= uids
            self._clearing.pop(key)
            for pod in gated:
                self.room.forget(pod["metadata"]["uid"])
            return problem
        return f"room is being made: {names_} of lower priority have to end"

    def _avoided(self, key: str) -> list[str]:
        now = self.ctx.clock.monotonic()
        kept = {node: until for node, until in self.refused.get(key, {}).items() if until > now}
        if not kept:
            self.refused.pop(key, None)
        return sorted(kept)

    def _stands(self, gated: Sequence[raw.Object], decided: Mapping[str, str], avoid: Sequence[str]) -> bool:
        """Return whether all these pods have been decided about, and their nodes still take them and have the room.

        A successor may have the name of a pod that is gone: its room may be gone, and its template another one.
        """
        for pod in gated:
            name = decided.get(pod["metadata"]["name"])
            node = self.ctx.stores.nodes.get(None, name) if name is not None and name not in avoid else None
            if node is None or shape.refusal(pod["spec"], node) is not None:
                return False
        for pod in gated:
            self.room.assume(pod["metadata"]["uid"], pod["spec"], decided[pod["metadata"]["name"]])
        return self._has_room(gated, decided)

    def _has_room(self, pods: Sequence[raw.Object], nodes: Mapping[str, str]) -> bool:
        return all(self.room.holds(pod["spec"], nodes[pod["metadata"]["name"]]) for pod in pods)

    async def _write_gang(
        self, found: view.Found, levels: Mapping[str, str], nodes: Mapping[str, str], score: float | None = None
    ) -> None:
        """Persist the decision with the PodGang in one write; decisions of pods that live on are kept."""
        w, gang = found.w, found.gang
        references = {fqn: [p["metadata"]["name"] for p in pods if plan.alive(p)] for fqn, pods in found.pods.items()}
        alive = {name for listed in references.values() for name in listed}
        live = self.ctx.stores.gangs.get(w.namespace, gang.name)
        decided = {name: node for name, node in {**decisions.placement(live), **nodes}.items() if name in alive}
        annotations = {
            names.ANNOTATION_PLACEMENT: json.dumps(decided, sort_keys=True, separators=(",", ":")),
        }
        hosts = {p["metadata"]["name"]: p["spec"].get("hostname") or "" for pods in found.pods.values() for p in pods}
        known = {**decisions.reserved(live), **{hosts[name]: node for name, node in decided.items()}}
        cliques = [self.ctx.stores.cliques.get(w.namespace, member.fqn) for member in gang.members]
        wanted = {host for clique in cliques if clique is not None for host, _left in decisions.places(clique)}
        reserved = {host: node for host, node in known.items() if host in wanted}
        annotations[names.ANNOTATION_RESERVED] = json.dumps(reserved, sort_keys=True, separators=(",", ":"))
        if score is not None:
            annotations[names.ANNOTATION_SCORE] = str(score)
        await children.ensure(self.ctx, resources.PODGANGS, gangs.podgang(w, gang, references, levels, annotations))

    async def _carry_out(self, pods: Sequence[raw.Object], nodes: Mapping[str, str]) -> None:
        """Hold where somebody could take the room, then pin and ungate every pod with one patch."""
        policy = self.ctx.settings.reconcile.hold
        if policy == "always" or (policy == "contended" and (len(pods) >= _HOLD_FROM or self._contended > 0)):
            await children.together(creation.nominate(self.ctx, pod, nodes[pod["metadata"]["name"]]) for pod in pods)
            if not self._has_room(pods, nodes):
                raise errors.Conflict("somebody took the room while it was being held: placing again")
        if not all(map(self._is_there, pods)):
            raise errors.Conflict("a member went while the gang was being placed: looking again")
        await children.together(self._release(pod, nodes[pod["metadata"]["name"]]) for pod in pods)

    def _is_there(self, pod: raw.Object) -> bool:
        """Return whether a pod still is what was decided about: writing the decision took its time."""
        metadata = pod["metadata"]
        fresh = self.ctx.stores.pods.get(metadata["namespace"], metadata["name"])
        return fresh is not None and fresh["metadata"]["uid"] == metadata["uid"] and plan.alive(fresh)

    async def _release(self, pod: raw.Object, node: str) -> None:
        metadata = pod["metadata"]
        fresh = self.ctx.stores.pods.get(metadata["namespace"], metadata["name"]) or pod
        if not plan.gated(fresh) or plan.terminating(fresh):
            return
        self.room.assume(metadata["uid"], fresh["spec"], node)
        try:
            stored = await self.ctx.client.patch(
                resources.PODS, metadata["name"], metadata["namespace"], pins.operations(fresh, node), type="json"
            )
        except (errors.NotFound, errors.Conflict, errors.Invalid) as error:
            # The pod was deleted or changed since it was read; the next event brings the gang back here.
            _LOG.info("pod %s/%s was not released: %s", metadata["namespace"], metadata["name"], error)
            self.room.forget(metadata["uid"])
            return
        stored["metadata"].pop("managedFields", None)
        self.sent[metadata["uid"]] = self.ctx.clock.monotonic()
        self.ctx.stores.pods.observe(stored)

    def _note_whole(self, key: str, found: view.Found) -> None:
        if gangstatus.scheduled(found.gang, found.pods):
            self._whole.add(key)
        elif not any(pod["spec"].get("nodeName") for pods in found.pods.values() for pod in pods if plan.alive(pod)):
            self._whole.discard(key)

    async def _unwind(self, key: str, found: view.Found) -> float | None:
        """Take back pods that were released and not bound in time; return seconds until the next time runs out."""
        patience = self.ctx.settings.reconcile.bind_timeout_seconds
        loose = decisions.loose(found.pods)
        if not loose:
            return None
        now = self.ctx.clock.monotonic()
        left = min(patience - (now - self.sent.setdefault(pod["metadata"]["uid"], now)) for pod in loose)
        raced = decisions.raced(loose, self.room.holds)
        refused = decisions.refused_nodes(loose)
        if left > 0 and not raced:
            # Who took the room of a pod that was refused may be seen only a moment after the refusal.
            return min(left + 0.1, _LOOK_SECONDS) if refused else left + 0.1
        live = self.ctx.stores.gangs.get(found.w.namespace, found.gang.name) or {}
        was_whole = key in self._whole or gangstatus.was_whole(live.get("status") or {})
        doomed = decisions.doomed(found.pods, was_whole=was_whole)
        # A node that is full is seen to be full; the others say no for a reason that the snapshot does not know.
        avoid = dict.fromkeys(refused - decisions.refused_nodes(raced), now + _REFUSED_SECONDS)
        if avoid:
            self.refused.setdefault(key, {}).update(avoid)
        why = f"{len(raced)} pods lost their room to others" if raced else f"{len(loose)} pods were not bound"
        text = f"{found.gang.name}: {why}, after {patience - left:.0f} s; {len(doomed)} are replaced"
        self.ctx.events.warning(found.w.raw, "GangUnbound", text, self.ctx.clock.stamp())
        for pod in doomed:
            self.room.forget(pod["metadata"]["uid"])
            self.claims.given_up.add(pod["metadata"]["uid"])
        await children.together(children.delete(self.ctx, resources.PODS, pod) for pod in doomed)
        return None

    async def _write_status(
        self, found: view.Found, why_not: str | None, extra: Sequence[raw.Object] = ()
    ) -> float | None:
        """Write the PodGang's status; while all goes well the first write waits for the gang to be ready."""
        live = self.ctx.stores.gangs.get(found.w.namespace, found.gang.name) or await self._restored(found)
        if live is None:
            return None
        fresh = gangstatus.status(live.get("status") or {}, found.gang, found.pods, why_not, self.ctx.clock.stamp())
        fresh["conditions"] = conditions.merged(fresh["conditions"], extra)
        score = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_SCORE)
        if score is not None:
            fresh["placementScore"] = float(score)
        count = termination.recreations(
            found.gang.name, live, self.ctx.stores.groups.get(found.w.namespace, found.gang.group or "")
        )
        if count:
            fresh["recreations"] = count
        later = self._later(live, fresh, why_not)
        if later > 0:
            return later
        if fresh["phase"] == "Running" and (live.get("status") or {}).get("phase") != "Running":
            await self._refresh_references(found, live)
        await children.write_status(self.ctx, resources.PODGANGS, live, fresh)
        return None

    def _later(self, live: raw.Object, fresh: raw.Object, why_not: str | None) -> float:
        """Return for how many seconds to put the status off: while all goes well it is written once, when at rest."""
        old = live.get("status") or {}
        if why_not is not None or old == fresh or "conditions" in old:
            self._phases.pop(live["metadata"]["uid"], None)
            return 0.0
        now = self.ctx.clock.monotonic()
        phase, since = self._phases.setdefault(live["metadata"]["uid"], (fresh["phase"], now))
        if phase != fresh["phase"]:
            since = now
            self._phases[live["metadata"]["uid"]] = (fresh["phase"], now)
        age = (self.ctx.clock.now() - clock.parse(live["metadata"]["creationTimestamp"])).total_seconds()
        pause = _REST_SECONDS - (now - since) if fresh["phase"] == "Running" else _SETTLE_SECONDS - age
        way = statuses.give_way(old, age, self.ctx.coming.count(self.ctx.clock.now().timestamp()))
        return max(0.0, pause, way)

    async def _restored(self, found: view.Found) -> raw.Object | None:
        """Write the PodGang of a gang that runs without one again, from where its pods are: somebody deleted it."""
        nodes = {p["metadata"]["name"]: decisions.place_of(p) for pods in found.pods.values() for p in pods}
        there = {name: node for name, node in nodes.items() if node is not None}
        if not there:
            return None
        await self._write_gang(found, self._levels(found.w), there)
        return self.ctx.stores.gangs.get(found.w.namespace, found.gang.name)

    def _levels(self, w: model.Workload) -> dict[str, str]:
        topology = gangs.topology_name(w)
        return asks.levels_of(self.ctx.stores.topologies.get(None, topology) if topology else None)

    async def _refresh_references(self, found: view.Found, live: raw.Object) -> None:
        listed = {ref["name"] for group in live["spec"]["podgroups"] for ref in group["podReferences"]}
        alive = {p["metadata"]["name"] for pods in found.pods.values() for p in pods if plan.alive(p)}
        if listed != alive:
            await self._write_gang(found, self._levels(found.w), {})
