"""A PodClique: its pods and its status. The work is proportional to the clique."""

from datetime import timedelta

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import model, plan, pods, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, keys
from grovekeeper.reconciler.context import Context, Result
from grovekeeper.runtime import clock

_SETTLE_SECONDS = 3.0
"""A clique that is coming up gets its first status when it is there, or after this long: writes are the costly part."""


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Bring the clique's pods in line, and write its status."""
    obj = ctx.stores.cliques.get(key.namespace, key.name)
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return Result()
    owner = ctx.set_of(obj)
    if owner is None or not _owner_lives(ctx, obj):
        return Result()
    w = ctx.workload(owner)
    existing = ctx.stores.pods.by_index("owner", obj["metadata"]["uid"])
    wanted = plan.pods(obj["spec"].get("replicas", 1), existing, obj["metadata"]["labels"][names.LABEL_TEMPLATE_HASH])
    await _delete(ctx, existing, wanted)
    trouble = await _create(ctx, w, obj, wanted)
    return await _write_status(ctx, w, obj, trouble)


def _owner_lives(ctx: Context, obj: raw.Object) -> bool:
    """A clique whose scaling group is gone is about to be collected: it must not grow pods again."""
    group = obj["metadata"]["labels"].get(names.LABEL_SCALINGGROUP)
    if group is None:
        return True
    found = ctx.stores.groups.get(obj["metadata"]["namespace"], group)
    return found is not None and not found["metadata"].get("deletionTimestamp")


async def _delete(ctx: Context, existing: list[raw.Object], wanted: plan.PodsPlan) -> None:
    await children.together(children.delete(ctx, resources.PODS, pod) for pod in wanted.delete)
    patience = ctx.settings.reconcile.stuck_terminating_seconds
    if patience is None:
        return
    now = ctx.clock.now()
    stuck = [
        pod
        for pod in existing
        if plan.terminating(pod)
        and now - clock.parse(pod["metadata"]["deletionTimestamp"]) > timedelta(seconds=patience)
        and _node_is_lost(ctx, pod)
    ]
    await children.together(children.delete(ctx, resources.PODS, pod, grace=0) for pod in stuck)


def _node_is_lost(ctx: Context, pod: raw.Object) -> bool:
    node = ctx.stores.nodes.get(None, pod["spec"].get("nodeName") or "")
    ready = conditions.find(((node or {}).get("status") or {}).get("conditions"), "Ready")
    return node is None or (ready is not None and ready["status"] != "True")


async def _create(ctx: Context, w: model.Workload, obj: raw.Object, wanted: plan.PodsPlan) -> raw.Object | None:
    """Create the missing pods side by side; return a condition that says what went wrong, if anything did."""
    troubles: list[raw.Object] = []
    metadata = obj["metadata"]
    now = ctx.clock.stamp()

    async def one(index: int, previous: tuple[str, ...]) -> None:
        name = pods.name(metadata["name"], metadata["uid"], index, previous)
        try:
            pod = await ctx.client.create(resources.PODS, pods.created(w, obj, index, name))
        except errors.AlreadyExists:
            pod = await ctx.client.get(resources.PODS, name, w.namespace)
        if names.ANNOTATION_INJECTED not in (pod["metadata"].get("annotations") or {}):
            await children.delete(ctx, resources.PODS, pod, grace=0)
            text = "the pod webhook did not answer: check the MutatingWebhookConfiguration and the webhook's pods"
            troubles.append(conditions.condition(status.WEBHOOK_MISSING, True, "NotInjected", text, now))
            return
        pod["metadata"].pop("managedFields", None)
        ctx.stores.pods.observe(pod)

    try:
        await children.together(one(index, previous) for index, previous in wanted.create)
    except (errors.Forbidden, errors.Invalid) as error:
        ctx.events.warning(obj, "PodCreateFailed", str(error), now)
        raise
    return troubles[0] if troubles else None


async def _write_status(ctx: Context, w: model.Workload, obj: raw.Object, trouble: raw.Object | None) -> Result:
    existing = ctx.stores.pods.by_index("owner", obj["metadata"]["uid"])
    now = ctx.clock.stamp()
    fresh = status.clique(w, obj, existing, now)
    if trouble is not None:
        fresh["conditions"] = conditions.merged(fresh["conditions"], [trouble])
    settled = fresh["readyReplicas"] == obj["spec"].get("replicas") == len(existing)
    young = ctx.clock.now() - clock.parse(obj["metadata"]["creationTimestamp"]) < timedelta(seconds=_SETTLE_SECONDS)
    if not settled and trouble is None and young:
        return Result(_SETTLE_SECONDS)
    await children.write_status(ctx, resources.PODCLIQUES, obj, fresh)
    return Result(5.0 if trouble is not None else None)
