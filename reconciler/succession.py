"""Replacing pods without giving up their room: the successor is created and nominated before the old pod is deleted.

The successor is the decision, persisted: whoever finds one whose predecessor still runs carries it on. See
docs/decisions/0014-reservations.md.
"""

from collections.abc import Sequence

from grovekeeper.api import raw
from grovekeeper.expand import cliques, model, plan
from grovekeeper.kube import errors, resources
from grovekeeper.placement import shape
from grovekeeper.reconciler import children, creation
from grovekeeper.reconciler.context import Context


async def replace(ctx: Context, w: model.Workload, doomed: Sequence[raw.Object]) -> None:
    """Delete pods of the set, each with a successor that holds its node. None is deleted before all have one.

    Raises creation.Refused where the API server takes no successor: then all of the old pods stay.
    """
    await children.together(_prepare(ctx, w, pod) for pod in doomed)
    await children.together(children.delete(ctx, resources.PODS, pod) for pod in doomed)


async def drive(ctx: Context, w: model.Workload, clique: raw.Object, existing: Sequence[raw.Object]) -> None:
    """Carry on what was cut short: a successor that is still right gets its node, and its predecessor goes."""
    for heir, before in plan.heirs(existing):
        if not plan.alive(heir):
            continue
        if not _fits(heir, before, clique):
            # Caches may be behind, and deleting a right one would give up its room.
            live = await _now(ctx, clique)
            if live is not None and not _fits(heir, before, live):
                await children.delete(ctx, resources.PODS, heir)
            continue
        if plan.disrupted(before):
            await creation.nominate(ctx, heir, None)  # somebody wants that room
        else:
            await creation.hold(ctx, w, heir, plan.home(before))
        if plan.alive(before):
            await children.delete(ctx, resources.PODS, before)


def holds(ctx: Context, pod: raw.Object) -> bool:
    """Return whether a pod has a node to pass on that takes pods."""
    name = plan.home(pod)
    node = ctx.stores.nodes.get(None, name) if name is not None else None
    return node is not None and shape.refusal(pod["spec"], node) is None


async def _prepare(ctx: Context, w: model.Workload, pod: raw.Object) -> None:
    metadata = pod["metadata"]
    owner = next(ref["uid"] for ref in metadata["ownerReferences"] if ref.get("controller"))
    siblings = ctx.stores.pods.by_index("owner", owner)
    name = next(ref["name"] for ref in metadata["ownerReferences"] if ref.get("controller"))
    clique = ctx.stores.cliques.get(metadata["namespace"], name)
    if clique is None or not holds(ctx, pod) or plan.pod_index(pod) < 0:
        return
    known = next((h for h, before in plan.heirs(siblings) if before["metadata"]["uid"] == metadata["uid"]), None)
    if known is not None and cliques.mark_of(known) == cliques.mark_of(clique):
        await creation.hold(ctx, w, known, plan.home(pod))
        return
    index = plan.pod_index(pod)
    previous = tuple(each["metadata"]["uid"] for each in siblings if plan.pod_index(each) == index)
    try:
        await creation.one(ctx, w, clique, plan.Birth(index, previous, pod))
    except creation.Refused as refused:
        if not refused.for_quota:
            raise


def _fits(heir: raw.Object, before: raw.Object, clique: raw.Object) -> bool:
    """Return whether a successor is of the PodClique's template, and its predecessor of another (or going anyway)."""
    mine = cliques.mark_of(clique)
    return cliques.mark_of(heir) == mine and (plan.terminating(before) or cliques.mark_of(before) != mine)


async def _now(ctx: Context, clique: raw.Object) -> raw.Object | None:
    metadata = clique["metadata"]
    try:
        return await ctx.client.get(resources.PODCLIQUES, metadata["name"], metadata["namespace"])
    except errors.NotFound:
        return None
