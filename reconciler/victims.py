"""Whom a preemption takes, and taking it: every pod of a gang, and of the scaled gangs that stand on it.

What an interrupted preemption left of a gang (a budget that changed in between, an owner that died) goes, too, where
the gang finds no room to be whole again.
"""

from collections.abc import Container, Iterable, Iterator, Sequence

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.placement import preempt
from grovekeeper.reconciler import budgets, children, decisions, view
from grovekeeper.reconciler.context import Context

_AGAIN_SECONDS = 5.0
"""Between two tries to evict what a budget of somebody else's protects."""


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


def gangs_of(victims: Iterable[preempt.Victim]) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of each gang that goes: a base gang's scaled gangs fall with it."""
    for victim in victims:
        namespace = victim.name.partition("/")[0]
        yield from ((namespace, gang) for gang in victim.gangs)


def pods_of(ctx: Context, victims: Iterable[preempt.Victim]) -> list[raw.Object]:
    """Return the pods that are to go with these gangs. O(pods of the victims)."""
    chosen = list(victims)
    marks = {f"{namespace}/{gang}" for namespace, gang in gangs_of(chosen)}
    doomed = {uid for victim in chosen for uid in victim.uids}
    members = (pod for mark in sorted(marks) for pod in ctx.stores.pods.by_index("gang", mark))
    return [pod for pod in members if pod["metadata"]["uid"] in doomed]


async def evict(ctx: Context, victims: Iterable[preempt.Victim], doomed: Sequence[raw.Object], why: str) -> str | None:
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


async def settle(ctx: Context, found: view.Found, moving: Container[str], *, whole: bool, stuck: bool) -> float | None:
    """Bring to its end what a preemption has begun with a gang; return when to look again, in seconds.

    `moving` has the UIDs of pods that are being evicted at the moment. A gang that is `whole` made room for nobody in
    the end, and its pods are not wanted off their nodes; one that is not, and is `stuck`, goes with all that it has
    left.
    """
    live = ctx.stores.gangs.get(found.w.namespace, found.gang.name)
    why, spared = decisions.gave_way(live), marked(found)
    pods = [pod for each in found.pods.values() for pod in each]
    if live is None or not (why or spared) or any(pod["metadata"]["uid"] in moving for pod in pods):
        return None
    if whole:
        await children.together(
            children.annotate(ctx, resources.PODS, pod, {names.ANNOTATION_PREEMPTED: None}) for pod in spared
        )
        if why:
            await children.annotate(ctx, resources.PODGANGS, live, {names.ANNOTATION_PREEMPTED: ""})
        return None
    left = [pod for pod in pods if plan.alive(pod) and pod["spec"].get("nodeName")] if stuck and why else []
    try:
        await children.together(_one(ctx, pod, why) for pod in left)
    except errors.Throttled:
        return _AGAIN_SECONDS
    return None


def marked(found: view.Found) -> list[raw.Object]:
    """Return the living pods of a gang that are marked as ones that make room: nothing has deleted them since."""
    pods = (pod for each in found.pods.values() for pod in each)
    return [p for p in pods if plan.alive(p) and names.ANNOTATION_PREEMPTED in (p["metadata"].get("annotations") or {})]


async def _one(ctx: Context, pod: raw.Object, why: str) -> None:
    if plan.terminating(pod):
        return
    if budgets.protects(ctx, pod):
        await _delete(ctx, pod, why)
        return
    await asked(ctx, pod)


async def asked(ctx: Context, pod: raw.Object, *, dry_run: bool = False) -> None:
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
