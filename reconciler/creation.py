"""Creating the pods of a PodClique, so that two workers never make two of one."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import model, plan, pods, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, domains, faults, ownership
from grovekeeper.reconciler.context import Context
from grovekeeper.runtime import clock

_BATCH = 32
"""Pods that are created side by side. After a batch with a refusal no other is tried."""
_LONGEST_WAIT = 60.0
_QUOTA = "exceeded quota"


class Refused(Exception):
    """The API server does not take the clique's pods; the condition says what to do."""

    def __init__(self, condition: raw.Object) -> None:
        super().__init__(condition["message"])
        self.condition = condition

    @property
    def for_quota(self) -> bool:
        """Whether a ResourceQuota has no room for one pod more: it has when another one is gone."""
        return _QUOTA in self.condition["message"]


async def of(ctx: Context, w: model.Workload, obj: raw.Object, missing: Sequence[plan.Birth]) -> None:
    """Create the missing pods of a PodClique side by side; raise Refused where the API server does not take them."""
    if missing and conditions.is_true(obj, status.WEBHOOK_MISSING):
        # Ask before creating again what would have to be deleted again: a dry run passes the webhooks, too.
        _check_injected(await _attempt(ctx, _desired(ctx, w, obj, missing[0]), dry_run=True), ctx.clock.stamp())
    for start in range(0, len(missing), _BATCH):
        await children.together(one(ctx, w, obj, birth) for birth in missing[start : start + _BATCH])


async def without_strays(ctx: Context, existing: Sequence[raw.Object]) -> list[raw.Object]:
    """Delete the pods that were created without the pod webhook and not deleted at once; return the others.

    They lack what makes a member (hostname, environment, startup gate): kept, they would be placed without it.
    """
    strays = [pod for pod in existing if not plan.injected(pod)]
    await children.together(children.delete(ctx, resources.PODS, pod, grace=0) for pod in strays)
    return [pod for pod in existing if plan.injected(pod)]


async def one(ctx: Context, w: model.Workload, obj: raw.Object, birth: plan.Birth) -> raw.Object:
    """Create one pod and return it; nominate it to the node of the pod that it succeeds. Raises Refused."""
    wanted = _desired(ctx, w, obj, birth)
    try:
        pod = await _attempt(ctx, wanted)
    except errors.AlreadyExists:
        pod = await _known(ctx, obj, wanted)
    try:
        _check_injected(pod, ctx.clock.stamp())
    except Refused:
        await children.delete(ctx, resources.PODS, pod, grace=0)
        raise
    children.observe(ctx, resources.PODS, pod)
    if not ownership.living(ctx, obj):
        # The clique went while the request was on its way.
        await children.delete(ctx, resources.PODS, pod, grace=0)
        return pod
    return pod if birth.succeeds is None else await hold(ctx, w, pod, plan.home(birth.succeeds))


async def hold(ctx: Context, w: model.Workload, pod: raw.Object, node: str | None) -> raw.Object:
    """Hold a node for a successor unless the settings want no holds; return the pod as it is now.

    Nothing is held for a gang that another scheduler places: the room is not ours to give, and where pods above its
    minimum go to the stock scheduler, their hold would keep out the minimum for which they wait.
    """
    if node is None or ctx.settings.reconcile.hold == "never" or w.scheduler != names.SCHEDULER_STOCK:
        return pod
    return await nominate(ctx, pod, node)


async def nominate(ctx: Context, pod: raw.Object, node: str | None) -> raw.Object:
    """Hold a node for a pod against the stock scheduler (None: let it go); return the pod as it is now."""
    if (pod.get("status") or {}).get("nominatedNodeName") == node:
        return pod
    body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"nominatedNodeName": node}}
    try:
        return await children.merge(ctx, resources.PODS, pod, body, subresource="status") or pod
    except errors.Conflict:
        return pod


def patience(obj: raw.Object, type_: str, now: datetime) -> float:
    """Return how long to wait after a refusal: as long as it has been going on, from 1 s to a minute."""
    known = conditions.find((obj.get("status") or {}).get("conditions"), type_)
    if known is None:
        return 1.0
    going_on = now - clock.parse(known["lastTransitionTime"])
    return min(max(going_on / timedelta(seconds=1), 1.0), _LONGEST_WAIT)


def _desired(ctx: Context, w: model.Workload, obj: raw.Object, birth: plan.Birth) -> raw.Object:
    metadata = obj["metadata"]
    name = pods.name(metadata["name"], metadata["uid"], birth.index, birth.previous)
    before = birth.succeeds["metadata"]["uid"] if birth.succeeds is not None else None
    domain = domains.of_clique(ctx, w, pods.domain_of(w, obj))
    return pods.created(w, obj, birth.index, name, before, domain=domain)


async def _attempt(ctx: Context, wanted: raw.Object, *, dry_run: bool = False) -> raw.Object:
    try:
        return await ctx.client.create(resources.PODS, wanted, dry_run=dry_run)
    except (errors.Forbidden, errors.Invalid, errors.BadRequest) as error:
        condition = conditions.condition(faults.REPLICA_FAILURE, True, "FailedCreate", str(error), ctx.clock.stamp())
        raise Refused(condition) from error


async def _known(ctx: Context, obj: raw.Object, wanted: raw.Object) -> raw.Object:
    """Return the pod that has the name already: another worker created it, and the cache has not seen it yet."""
    name = wanted["metadata"]["name"]
    try:
        pod = await ctx.client.get(resources.PODS, name, wanted["metadata"]["namespace"])
    except errors.NotFound as error:
        raise errors.Conflict(f"pod {name} existed and is gone again") from error
    owner = ownership.controller(pod)
    if owner is None or owner.get("uid") != obj["metadata"]["uid"]:
        text = f"pod {name} exists and does not belong to PodClique {obj['metadata']['name']}: delete the pod"
        raise Refused(conditions.condition(faults.REPLICA_FAILURE, True, "NameCollision", text, ctx.clock.stamp()))
    return pod


def _check_injected(pod: raw.Object, now: str) -> None:
    if plan.injected(pod):
        return
    text = (
        "pods are not changed by the pod webhook, so they are not kept: check that the MutatingWebhookConfiguration of "
        "Grovekeeper exists, selects this namespace, and that the webhook's pods are ready"
    )
    raise Refused(conditions.condition(status.WEBHOOK_MISSING, True, "NotInjected", text, now))
