"""A PodClique: its pods and its status. The work is proportional to the clique."""

from collections.abc import Sequence

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, groups, model, plan, pods, sharing, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import (
    budgets,
    children,
    claims,
    creation,
    decisions,
    deletion,
    devices,
    faults,
    keys,
    ownership,
    statuses,
    succession,
)
from grovekeeper.reconciler.context import Context, Result
from grovekeeper.runtime import clock


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Bring the clique's pods in line, and write its status."""
    obj = ctx.stores.cliques.get(key.namespace, key.name)
    await deletion.of_clique(ctx, key, obj)
    stuck = await _free_stuck(ctx, key)
    owner = ownership.set_of(ctx, obj) if obj is not None else None
    if obj is None or owner is None or ownership.terminating(obj):
        return Result(stuck)
    w = ctx.workload(owner)
    existing = ctx.stores.pods.by_index("owner", obj["metadata"]["uid"])
    count = groups.effective_replicas(obj["spec"].get("replicas", 1), obj["spec"].get("minAvailable") or 0)
    existing = await creation.without_strays(ctx, await _without_lost(ctx, existing))
    await succession.drive(ctx, w, obj, existing)
    wanted = plan.pods(count, existing, obj["metadata"]["labels"].get(names.LABEL_TEMPLATE_HASH, ""))
    await children.together(children.delete(ctx, resources.PODS, pod) for pod in wanted.delete)
    missing, noted = await _claim(ctx, w, obj, existing, wanted)
    waits = [stuck, noted]
    refusal: raw.Object | None = None
    try:
        await creation.of(ctx, w, obj, missing)
    except creation.Refused as refused:
        refusal = refused.condition
        ctx.events.warning(obj, "PodCreateFailed", refusal["message"], ctx.clock.stamp())
        waits.append(creation.patience(obj, refusal["type"], ctx.clock.now()))
    counting = plan.members(list(filter(plan.injected, ctx.stores.pods.by_index("owner", obj["metadata"]["uid"]))))
    waits.append(await _write_status(ctx, w, obj, counting, refusal))
    waits.append(await budgets.keep(ctx, w, obj, counting))
    return Result(min((wait for wait in waits if wait is not None), default=None))


async def _claim(
    ctx: Context, w: model.Workload, obj: raw.Object, existing: Sequence[raw.Object], wanted: plan.PodsPlan
) -> tuple[Sequence[plan.Birth], float | None]:
    """Make the clique's claims; return which pods may be created, and when to look again for the others.

    A claim of its own belongs to every pod index in use, also above the replica count (Grove goes by the count).
    """
    template = w.clique(pods.template_of(w, obj["metadata"])[0])
    if not template.sharing:
        return wanted.create, None
    leaving = {pod["metadata"]["uid"] for pod in wanted.delete}
    staying = {plan.pod_index(pod) for pod in existing if pod["metadata"]["uid"] not in leaving and plan.alive(pod)}
    indexes = sorted({*staying, *(birth.index for birth in wanted.create)})
    needed = sharing.of_clique(template, obj["metadata"]["name"], indexes)
    outcome, noted = await devices.of_child(ctx, w, obj, needed)
    await claims.prune(ctx, obj, needed)
    return [birth for birth in wanted.create if not outcome.blocks(birth.index)], noted.requeue_after


async def _without_lost(ctx: Context, existing: list[raw.Object]) -> list[raw.Object]:
    """Force-delete pods whose node object is gone: nobody else ends them, or only after a minute. Return the others."""
    bound = {pod["spec"]["nodeName"] for pod in existing if pod["spec"].get("nodeName")}
    gone = set()
    for name in bound:
        if ctx.stores.nodes.get(None, name) is None and await _is_gone(ctx, name):
            gone.add(name)
    if not gone:
        return existing
    lost = [pod for pod in existing if pod["spec"].get("nodeName") in gone]
    await children.together(children.delete(ctx, resources.PODS, pod, grace=0) for pod in lost)
    return [pod for pod in existing if pod["spec"].get("nodeName") not in gone]


async def _is_gone(ctx: Context, node: str) -> bool:
    """Ask the server: a pod may be bound to a new node before our cache has heard of it."""
    try:
        await ctx.client.get(resources.NODES, node, None)
    except errors.NotFound:
        return True
    return False


async def _free_stuck(ctx: Context, key: keys.Key) -> float | None:
    """Force-delete pods that a lost node cannot let go of, where the settings say so; return when to look again.

    Also those of a clique that is gone: a gang that has been replaced still holds the lost node's room.
    """
    patience = ctx.settings.reconcile.stuck_terminating_seconds
    if patience is None:
        return None
    now = ctx.clock.now()
    held = [pod for pod in deletion.pods_named_for(ctx, key) if plan.terminating(pod) and _is_node_lost(ctx, pod)]
    # deletionTimestamp is when the grace period ends.
    left = {
        pod["metadata"]["name"]: patience - (now - clock.parse(pod["metadata"]["deletionTimestamp"])).total_seconds()
        for pod in held
    }
    stuck = [pod for pod in held if left[pod["metadata"]["name"]] <= 0]
    await children.together(children.delete(ctx, resources.PODS, pod, grace=0) for pod in stuck)
    return min((seconds for seconds in left.values() if seconds > 0), default=None)


def _is_node_lost(ctx: Context, pod: raw.Object) -> bool:
    name = pod["spec"].get("nodeName")
    if not name:
        return False
    node = ctx.stores.nodes.get(None, name)
    return node is None or _is_silent(node)


def _is_silent(node: raw.Object) -> bool:
    ready = conditions.find((node.get("status") or {}).get("conditions"), "Ready")
    return ready is not None and ready["status"] != "True"


async def _write_status(
    ctx: Context, w: model.Workload, obj: raw.Object, existing: Sequence[raw.Object], refusal: raw.Object | None
) -> float | None:
    count = groups.effective_replicas(obj["spec"].get("replicas", 1), obj["spec"].get("minAvailable") or 0)
    # A minimum that was met while the first status waited has been met all the same.
    met = statuses.unwritten(ctx, obj["metadata"]["uid"], status.MET) or _was_met(ctx, w, obj, existing)
    # A node that the cache lacks is a new one here (`_without_lost`), and its coming wakes nobody.
    bound = {pod["spec"]["nodeName"] for pod in existing if pod["spec"].get("nodeName")}
    lost = {name for name in bound if (node := ctx.stores.nodes.get(None, name)) is not None and _is_silent(node)}
    fresh = status.clique(w, obj, existing, ctx.clock.stamp(), met=met, lost=lost)
    fresh["conditions"] = conditions.merged(
        conditions.merged(fresh["conditions"], [], drop=[faults.REPLICA_FAILURE, status.WEBHOOK_MISSING]),
        [_since(obj, refusal)] if refusal is not None else [],
    )
    if count > 0 and fresh["scheduledReplicas"] == 0 and _has_lost(obj, existing):
        text = f"all {obj['status']['scheduledReplicas']} scheduled pods are gone"
        ctx.events.warning(obj, "AllScheduledReplicasLost", text, ctx.clock.stamp())
    settled = refusal is not None or fresh["readyReplicas"] == count == len(existing)
    waiting = fresh["scheduleGatedReplicas"] == count == len(existing)
    coming = ctx.coming.count(ctx.clock.now().timestamp()) if refusal is None else 0
    return await statuses.write(ctx, resources.PODCLIQUES, obj, fresh, settled=settled, waiting=waiting, coming=coming)


def _has_lost(obj: raw.Object, existing: Sequence[raw.Object]) -> bool:
    """Return whether a clique that has no scheduled pod had some, and no update of ours is what took them."""
    told = obj.get("status") or {}
    current = told.get("observedGeneration") == obj["metadata"].get("generation") and told.get("updatedReplicas", 0) > 0
    # The hash changes when all pods have the new template: until then those that go are of the old one.
    moving = told.get("currentPodTemplateHash") != cliques.hash_of(obj) and not current
    leaving = any(plan.terminating(pod) and cliques.mark_of(pod) != cliques.mark_of(obj) for pod in existing)
    return told.get("scheduledReplicas", 0) > 0 and not moving and not leaving


def _was_met(ctx: Context, w: model.Workload, obj: raw.Object, existing: Sequence[raw.Object]) -> bool:
    """Return whether the clique has met its minimum before its first status, unseen by this process."""
    metadata, minimum = obj["metadata"], obj["spec"].get("minAvailable") or 0
    gang = metadata["labels"].get(names.LABEL_PODGANG)
    told = (obj.get("status") or {}).get("observedGeneration", -1) >= 0
    if told or obj["spec"].get("replicas") == 0 or sum(map(plan.scheduled, filter(plan.alive, existing))) >= minimum:
        return False
    ours = w.scheduler == names.SCHEDULER_STOCK
    decided = decisions.placement(ctx.stores.gangs.get(metadata["namespace"], gang or "")) if ours else None
    if ours and not decided:
        return False
    everybody = ctx.stores.pods.by_index("gang", f"{metadata['namespace']}/{gang}")
    return decisions.was_met(obj, minimum, existing, everybody, decided)


def _since(obj: raw.Object, condition: raw.Object) -> raw.Object:
    """Return the condition with the transition time that it had before."""
    known = conditions.find((obj.get("status") or {}).get("conditions"), condition["type"])
    return {**condition, "lastTransitionTime": known["lastTransitionTime"]} if known is not None else condition
