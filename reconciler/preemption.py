"""Preemption carried out: whole gangs of lower priority make room, through the eviction API.

The pods of the victims are recreated by their cliques, gated, and wait for their turn like everybody else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.placement import preempt, request
from grovekeeper.reconciler import budgets, children, creation, gangstatus, occupancy, view
from grovekeeper.reconciler.context import Context

PATIENCE_SECONDS = 120.0
"""For how long, beyond their grace period, the room is kept for the preemptor while victims end; then everything is
decided anew."""
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
            return f"room is being made: {len(left)} pods of gangs of lower priority have to end"
        del self._clearing[key]
        return None

    def may_evict(self, found: view.Found, ask: request.GangAsk) -> bool:
        """Return whether the gang lacks its minimum, may preempt, and anybody of lower priority has a node."""
        lowest = self.taken.lowest_priority()
        lower = lowest is not None and lowest < ask.priority
        return lower and ask.preempts and not gangstatus.scheduled(found.gang, found.pods)

    def plan(self, found: view.Found, ask: request.GangAsk) -> preempt.Plan | None:
        """Return which gangs of lower priority to evict so that the gang fits then; None where that does not help."""
        return preempt.plan(ask, self.taken.room, candidates(self.ctx)) if self.may_evict(found, ask) else None

    async def carry_out(self, key: str, found: view.Found, chosen: preempt.Plan, gated: Sequence[raw.Object]) -> str:
        """Evict gangs of lower priority, and keep their room for this one; return what goes on.

        The room is charged before the first await. Raises kube.errors.KubeError, and nothing is kept then.
        """
        room, claims = self.taken.room, self.taken.claims
        by_name = {pod["metadata"]["name"]: pod for pod in gated}
        for name, node in chosen.placement.nodes.items():
            room.assume(by_name[name]["metadata"]["uid"], by_name[name]["spec"], node)
        uids = frozenset(uid for victim in chosen.victims for uid in victim.uids)
        doomed = _pods_of(self.ctx, chosen.victims)
        self._clearing[key] = Clearing(uids, self.ctx.clock.monotonic() + PATIENCE_SECONDS + _grace(doomed))
        claims.given_up |= uids
        listed = ", ".join(victim.name for victim in chosen.victims)
        text = f"{found.gang.name}: {listed} of lower priority make room"
        self.ctx.events.warning(found.w.raw, "GangPreempting", text, self.ctx.clock.stamp())
        done = False
        try:
            problem = await _protected(self.ctx, doomed)
            if problem is None:
                await children.together(
                    creation.nominate(self.ctx, by_name[name], node) for name, node in chosen.placement.nodes.items()
                )
                problem = await _evict(self.ctx, chosen.victims, doomed, f"{found.w.namespace}/{found.gang.name}")
            done = problem is None
        finally:
            if not done:
                claims.given_up -= uids
                self._clearing.pop(key, None)
                self.taken.take_back(gated)
        return problem or f"room is being made: {listed} of lower priority have to end"

    def forget(self, key: str) -> None:
        """Forget a gang that is gone."""
        self._clearing.pop(key, None)


def candidates(ctx: Context) -> list[preempt.Victim]:
    """Return every gang that holds nodes. A base gang takes its scaled gangs along. O(pods of all gangs)."""
    by_gang: dict[tuple[str, str], list[raw.Object]] = {}
    on_base: dict[tuple[str, str], list[raw.Object]] = {}
    scaled: dict[tuple[str, str], list[str]] = {}
    for live in ctx.stores.gangs.all():
        metadata = live["metadata"]
        if (metadata.get("labels") or {}).get(names.LABEL_SCHEDULER, names.SCHEDULER_STOCK) != names.SCHEDULER_STOCK:
            continue  # another scheduler placed it, and would place it again
        namespace = metadata["namespace"]
        pods = _holders(ctx.stores.pods.by_index("gang", f"{namespace}/{metadata['name']}"))
        by_gang[namespace, metadata["name"]] = pods
        base = (metadata.get("labels") or {}).get(names.LABEL_BASE_PODGANG)
        if base:
            on_base.setdefault((namespace, base), []).extend(pods)
            scaled.setdefault((namespace, base), []).append(metadata["name"])
    result = []
    for (namespace, name), pods in by_gang.items():
        if pods:
            everyone = [*pods, *on_base.get((namespace, name), ())]
            result.append(
                preempt.Victim(
                    f"{namespace}/{name}",
                    max(pod["spec"].get("priority") or 0 for pod in everyone),
                    min(str(pod["metadata"].get("creationTimestamp", "")) for pod in pods),
                    frozenset(pod["metadata"]["uid"] for pod in everyone),
                    (name, *scaled.get((namespace, name), ())),
                )
            )
    return result


def _pods_of(ctx: Context, victims: Iterable[preempt.Victim]) -> list[raw.Object]:
    """Return the pods that are to go with these gangs. O(pods of the victims)."""
    chosen = list(victims)
    marks = {f"{victim.name.partition('/')[0]}/{gang}" for victim in chosen for gang in victim.gangs}
    doomed = {uid for victim in chosen for uid in victim.uids}
    members = (pod for mark in sorted(marks) for pod in ctx.stores.pods.by_index("gang", mark))
    return [pod for pod in members if pod["metadata"]["uid"] in doomed]


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
            _asked(ctx, pod, dry_run=True)
            for pod in doomed
            if not plan.terminating(pod) and not budgets.protects(ctx, pod)
        )
    except errors.Throttled as error:
        return f"gangs of lower priority are protected: {error}"
    # One that allows each of them may not allow all: a part would go, and the rest stay for ever.
    refusal = budgets.refusal(ctx, doomed)
    return f"gangs of lower priority are protected: {refusal}" if refusal is not None else None


async def _evict(ctx: Context, victims: Iterable[preempt.Victim], doomed: Sequence[raw.Object], why: str) -> str | None:
    """Evict the victims' pods; return why not all of them, if so. O(pods of the victims)."""
    for victim in victims:
        namespace, _, name = victim.name.partition("/")
        live = ctx.stores.gangs.get(namespace, name)
        if live is not None:
            ctx.events.warning(live, "GangPreempted", f"evicted for {why}", ctx.clock.stamp())
        for gang in victim.gangs:
            await _forget_places(ctx, namespace, gang, why)
    # What ends for a successor is marked before that successor goes: else another one would be given its node.
    ending = [pod for pod in doomed if plan.terminating(pod) and not plan.disrupted(pod)]
    await children.together(
        children.annotate(ctx, resources.PODS, pod, {names.ANNOTATION_PREEMPTED: why}) for pod in ending
    )
    try:
        await children.together(_one(ctx, pod, why) for pod in doomed)
    except errors.Throttled as error:
        # Somebody else's disruption came in between: what is left follows when the budget allows it.
        return f"gangs of lower priority are going, one pod after the other: {error}"
    return None


async def _one(ctx: Context, pod: raw.Object, why: str) -> None:
    if plan.terminating(pod):
        return
    if budgets.protects(ctx, pod):
        await _delete(ctx, pod, why)
        return
    await _asked(ctx, pod)


async def _asked(ctx: Context, pod: raw.Object, *, dry_run: bool = False) -> None:
    """Ask the eviction API for exactly this pod; one that is gone is fine."""
    metadata = pod["metadata"]
    try:
        await ctx.client.evict(metadata["name"], metadata["namespace"], uid=metadata["uid"], dry_run=dry_run)
    except errors.NotFound:
        return


async def _delete(ctx: Context, pod: raw.Object, why: str) -> None:
    """Delete a pod that only a budget of ours protects, marked so that it leaves no claim to its node."""
    stored = await children.annotate(ctx, resources.PODS, pod, {names.ANNOTATION_PREEMPTED: why})
    if stored is not None:
        await children.delete(ctx, resources.PODS, stored)


async def _forget_places(ctx: Context, namespace: str, gang: str, why: str) -> None:
    """Note on the PodGang that it has no claim to its nodes any more, for owners that come after this one, and why."""
    live = ctx.stores.gangs.get(namespace, gang)
    if live is not None:
        note = {names.ANNOTATION_RESERVED: None, names.ANNOTATION_PREEMPTED: why}
        await children.annotate(ctx, resources.PODGANGS, live, note)


def _holders(pods: Sequence[raw.Object]) -> list[raw.Object]:
    """Return a gang's pods that have room which would be free without them: on a node, or held as a successor's.

    A pod that is ending counts with the successor that is to have its node: only without both is the room free.
    """
    living = [pod for pod in pods if plan.alive(pod) and plan.home(pod) is not None]
    held = {pod["metadata"]["uid"] for pod in living}
    return living + [b for heir, b in plan.heirs(pods) if plan.terminating(b) and heir["metadata"]["uid"] in held]
