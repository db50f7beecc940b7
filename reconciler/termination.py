"""Gang termination: gives up the PodCliques of gangs that have lost too many members for too long.

What is due is decided in `breaches`, and noted as `recreations` has it before it is done.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import groups, model, naming, plan, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import breaches, children, progress, recreations
from grovekeeper.reconciler.context import Context

_TRIES = 5


async def reconcile(ctx: Context, w: model.Workload) -> float | None:
    """Carry out what is due in all replicas of a set; return the seconds until the next delay ends."""
    if w.termination_delay is None:
        return None
    now = ctx.clock.now()
    wakes: list[datetime] = []
    for index in _in_breach(ctx, w):
        wakes += await _one_replica(ctx, w, index, now)
    # A moment later than exactly: the stamps of conditions have whole seconds.
    return max((min(wakes) - now).total_seconds(), 0.0) + 0.05 if wakes else None


def _in_breach(ctx: Context, w: model.Workload) -> list[int]:
    mark = f"{w.namespace}/{w.name}"
    children_of = [*ctx.stores.cliques.by_index("set", mark), *ctx.stores.groups.by_index("set", mark)]
    label = w.dialect.label_replica_index
    found = {
        int(entry["metadata"]["labels"].get(label, -1))
        for entry in children_of
        if conditions.is_true(entry, status.BREACHED)
    }
    busy = progress.updating(w)  # what an update takes down is not lost
    return sorted(index for index in found if 0 <= index < w.total and index not in busy)


async def _one_replica(ctx: Context, w: model.Workload, index: int, now: datetime) -> list[datetime]:
    mark = f"{w.namespace}/{w.name}/{index}"
    cliques = ctx.stores.cliques.by_index("replica", mark)
    scaling_groups = ctx.stores.groups.by_index("replica", mark)
    gang = ctx.stores.gangs.get(w.namespace, naming.replica(w.name, index))
    standalone = [entry for entry in cliques if names.LABEL_SCALINGGROUP not in entry["metadata"]["labels"]]
    verdict = breaches.of_replica(
        w, index, standalone, scaling_groups, recreations.read(gang, recreations.REPLICA), now
    )
    if verdict.due:
        if not verdict.noted:
            scaled = {names.ANNOTATION_GIVEN_UP: recreations.given_up(standalone)}
            await _note(ctx, resources.PODGANGS, gang, [recreations.REPLICA], now, scaled)
        await _give_up(ctx, cliques)
        await _flag(ctx, scaling_groups)
        text = f"replica {index} is recreated: {verdict.why}"
        ctx.events.warning(w.raw, f"{w.dialect.kind}ReplicaDeleteSuccessful", text, ctx.clock.stamp())
        return []
    wakes = [verdict.wake] if verdict.wake else []
    for group in scaling_groups:
        wakes += await _one_group(ctx, w, index, group, now)
    return wakes


async def _one_group(ctx: Context, w: model.Workload, index: int, group: raw.Object, now: datetime) -> list[datetime]:
    template = breaches.template_of(w, index, group)
    if template is None:
        return []
    members: dict[int, list[raw.Object]] = {}
    for clique in ctx.stores.cliques.by_index("owner", group["metadata"]["uid"]):
        members.setdefault(int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]), []).append(clique)
    replicas = groups.effective_replicas(group["spec"].get("replicas", 1), template.min_available)
    past = {j: recreations.read(group, str(j)) for j in members}
    verdict = breaches.of_group(w, template, replicas, members, past, now)
    if verdict.due:
        fresh = [str(j) for j in verdict.due if j not in verdict.noted]
        if fresh:
            await _note(ctx, resources.SCALINGGROUPS, group, fresh, now)
        await _give_up(ctx, [clique for j in verdict.due for clique in members[j]])
        listed = ", ".join(map(str, verdict.due))
        text = f"replicas {listed} of {group['metadata']['name']} are recreated: {verdict.why}"
        ctx.events.warning(w.raw, "PodCliqueScalingGroupReplicaDeleteSuccessful", text, ctx.clock.stamp())
    return [verdict.wake] if verdict.wake else []


async def _note(
    ctx: Context,
    resource: resources.Resource,
    obj: raw.Object | None,
    keys: Iterable[str],
    now: datetime,
    more: Mapping[str, str | None] = MappingProxyType({}),
) -> None:
    """Count the termination first: should the deletion be cut short, it goes on without being counted again.

    Raises kube.errors.Conflict (try again) where the object has changed or is another one: no count is lost.
    """
    if obj is None:
        return
    note = {names.ANNOTATION_TERMINATIONS: recreations.annotation(obj, keys, now), **more}
    body = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "annotations": note}}
    await children.merge(ctx, resource, obj, body)


async def _give_up(ctx: Context, cliques: Iterable[raw.Object]) -> None:
    doomed = [clique for clique in cliques if not plan.terminating(clique)]
    await children.together(children.delete(ctx, resources.PODCLIQUES, clique) for clique in doomed)


async def _flag(ctx: Context, scaling_groups: Iterable[raw.Object]) -> None:
    """Mark the groups, so that their breach does not count again before they were well once more."""
    text = "the set replica was recreated; the minimum has not been available since"
    flag = conditions.condition(breaches.IN_PROGRESS, True, "GangTerminationActive", text, ctx.clock.stamp())
    for group in scaling_groups:
        await _flag_one(ctx, group, flag)


async def _flag_one(ctx: Context, group: raw.Object, flag: raw.Object) -> None:
    """Add the condition to the group as it is now: its own reconciler writes at the same time, as its PodCliques go."""
    for left in range(_TRIES - 1, -1, -1):
        live = await children.reread(ctx, resources.SCALINGGROUPS, group)
        if live is None:
            return
        listed = conditions.merged((live.get("status") or {}).get("conditions"), [flag])
        body = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "status": {"conditions": listed}}
        try:
            await children.merge(ctx, resources.SCALINGGROUPS, live, body, subresource="status")
        except errors.Conflict:
            if not left:
                raise
        else:
            return
