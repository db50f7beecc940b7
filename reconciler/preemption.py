"""Preemption carried out: whole gangs of lower priority make room, through the eviction API.

What ends anyway is waited for before anybody is evicted, also by an owner that begins while victims end.
The pods of the victims are recreated by their cliques, gated, and wait for their turn like everybody else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import starmap

from grovekeeper.api import raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors
from grovekeeper.placement import place, preempt, request
from grovekeeper.reconciler import budgets, children, creation, gangstatus, keys, occupancy, victims, view
from grovekeeper.reconciler.context import Context

PATIENCE_SECONDS = 120.0
"""For how long, beyond their grace period, the room is kept for the preemptor while victims end; then everything is
decided anew."""
_SETTLE_SECONDS = 1.0
"""After an eviction that failed, until its victims are looked at: the watch tells who went."""
_GRACE_SECONDS = 30
"""The grace period of a pod that names none."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """Room that is being made: whose pods have to go, and until when it is kept."""

    uids: frozenset[str]
    until: float
    """Monotonic seconds."""


@dataclass(slots=True)
class Preemption:
    """Which gangs have room made for them at the moment."""

    ctx: Context
    taken: occupancy.Occupancy
    _clearing: dict[str, Clearing] = field(default_factory=dict)
    """Key of a gang that preempts, to what it waits for."""

    def begin(self) -> None:
        """Begin an ownership: whose room was being made under an earlier one is decided about anew."""
        self._clearing.clear()

    def goes_on(self, key: str) -> str | None:
        """Return what the gang waits for while victims of its preemption end; None when it is to be placed."""
        clearing = self._clearing.get(key)
        if clearing is None:
            return None
        left = [uid for uid in clearing.uids if self.taken.room.node_of(uid) is not None]
        if left and self.ctx.clock.monotonic() < clearing.until:
            return f"room is being made: {len(left)} pods have to end"
        del self._clearing[key]
        return None

    def may_evict(self, found: view.Found, ask: request.GangAsk) -> bool:
        """Return whether the gang lacks its minimum, may preempt, and anybody of lower priority has a node."""
        lowest = self.taken.lowest_priority()
        lower = lowest is not None and lowest < ask.priority
        return lower and ask.preempts and not gangstatus.scheduled(found.gang, found.pods)

    def plan(self, found: view.Found, ask: request.GangAsk) -> preempt.Plan | None:
        """Return which gangs of lower priority to evict so that the gang fits then; None where that does not help.

        Nobody where it fits once those pods have ended that are ending.
        """
        if not self.may_evict(found, ask):
            return None
        room, ending = self.taken.room, self.taken.ending(PATIENCE_SECONDS)
        with room.without(ending):
            # Where nothing ends, this has been asked already.
            answer = place.place(ask, room) if ending else None
            if isinstance(answer, request.Placement):
                return preempt.Plan((), answer)
            return preempt.plan(ask, room, victims.candidates(self.ctx))

    async def carry_out(self, key: str, found: view.Found, chosen: preempt.Plan, gated: Sequence[raw.Object]) -> str:
        """Evict gangs of lower priority, and keep their room for this one; return what goes on.

        The room is charged before the first await. Raises kube.errors.KubeError, and nothing is kept then.
        """
        room, claims = self.taken.room, self.taken.claims
        places = {*chosen.placement.nodes.values()}
        ending = self.taken.ending(PATIENCE_SECONDS)
        ending = {uid: pod for uid, pod in ending.items() if room.node_of(uid) in places}
        by_name = {pod["metadata"]["name"]: pod for pod in gated}
        for name, node in chosen.placement.nodes.items():
            room.assume(by_name[name]["metadata"]["uid"], by_name[name]["spec"], node)
        uids = frozenset(uid for victim in chosen.victims for uid in victim.uids)
        doomed = victims.pods_of(self.ctx, chosen.victims)
        until = self.ctx.clock.monotonic() + PATIENCE_SECONDS + _grace([*doomed, *ending.values()])
        self._clearing[key] = Clearing(uids | ending.keys(), until)
        claims.given_up |= uids
        listed = ", ".join(victim.name for victim in chosen.victims)
        if chosen.victims:
            text = f"{found.gang.name}: {listed} of lower priority make room"
            self.ctx.events.warning(found.w.raw, "GangPreempting", text, self.ctx.clock.stamp())
        done = False
        try:
            problem = await _protected(self.ctx, doomed)
            if problem is None:
                await children.together(
                    creation.nominate(self.ctx, by_name[name], node) for name, node in chosen.placement.nodes.items()
                )
                if not self.taken.are_there(gated):
                    raise errors.Conflict("a member went while room was to be made for the gang: looking again")
                problem = await victims.evict(
                    self.ctx, chosen.victims, doomed, f"{found.w.namespace}/{found.gang.name}"
                )
            done = problem is None
        finally:
            if not done:
                claims.given_up -= uids
                self._clearing.pop(key, None)
                self.taken.take_back(gated)
                # Whom this has reached in part is looked at again, and so is who is marked and was spared.
                await self.ctx.enqueue(*starmap(keys.gang, victims.gangs_of(chosen.victims)), delay=_SETTLE_SECONDS)
        if problem is None and not chosen.victims:
            return f"room is being made: {len(ending)} pods have to end"
        return problem or f"room is being made: {listed} of lower priority have to end"

    def forget(self, key: str) -> None:
        """Forget a gang that is gone."""
        self._clearing.pop(key, None)


def _grace(pods: Iterable[raw.Object]) -> float:
    """Return the longest grace period of these pods, in seconds."""
    given = (pod["spec"].get("terminationGracePeriodSeconds") for pod in pods)
    return max((_GRACE_SECONDS if seconds is None else seconds for seconds in given), default=0)


async def _protected(ctx: Context, doomed: Sequence[raw.Object]) -> str | None:
    """Return which PodDisruptionBudget spares all of these pods: one that forbids one of them, or all of them together.

    Of somebody else's: our own keep gangs from being torn in half, and these go whole.
    """
    try:
        await children.together(
            victims.asked(ctx, pod, dry_run=True)
            for pod in doomed
            if not plan.terminating(pod) and not budgets.protects(ctx, pod)
        )
    except errors.Throttled as error:
        return f"gangs of lower priority are protected: {error}"
    # One that allows each of them may not allow all: a part would go, and the rest stay for ever.
    refusal = budgets.refusal(ctx, doomed)
    return f"gangs of lower priority are protected: {refusal}" if refusal is not None else None
