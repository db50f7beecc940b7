"""A PodCliqueScalingGroup: its replicas' PodCliques and its status."""

from collections.abc import Iterable, Mapping, Sequence

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, groups, model, naming, sharing, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import (
    breaches,
    children,
    claims,
    deletion,
    devices,
    keys,
    ownership,
    replicas,
    revisions,
    statuses,
)
from grovekeeper.reconciler.context import Context, Result


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Bring the members in line with the group's replicas, and write its status."""
    obj = ctx.stores.groups.get(key.namespace, key.name)
    await deletion.of_group(ctx, key, obj)
    owner = ownership.set_of(ctx, obj) if obj is not None else None
    if obj is None or owner is None or ownership.terminating(obj):
        return Result()
    w = ctx.workload(owner)
    index = int(obj["metadata"]["labels"][w.dialect.label_replica_index])
    template = next((g for g in w.groups if naming.group(w.name, index, g.name) == key.name), None)
    if template is None or index >= w.total:
        return Result()
    wanted = groups.effective_replicas(obj["spec"].get("replicas", 1), template.min_available)
    await _remove_surplus(ctx, w, obj, wanted)
    ready, noted = await _claim(ctx, w, template, obj, wanted)
    await _add_missing(ctx, revisions.of_replica(ctx, w, index), template, obj, ready)
    fresh = fresh_status(w, template, obj, _members(ctx, obj), ctx.clock.stamp())
    settled = fresh["availableReplicas"] == wanted == fresh["replicas"]
    pause = await statuses.write(ctx, resources.SCALINGGROUPS, obj, fresh, settled=settled)
    return Result(min((each for each in (pause, noted) if each is not None), default=None))


def fresh_status(
    w: model.Workload,
    template: model.GroupTemplate,
    obj: raw.Object,
    members: Mapping[int, Sequence[raw.Object]],
    now: str,
) -> raw.Object:
    """Return the group's status; a gang termination counts as over once the group's minimum is well again. Pure."""
    states = {j: status.group_replica(w, len(template.clique_names), entries) for j, entries in members.items()}
    fresh = status.group(w, obj, states, now)
    breach = conditions.find(fresh["conditions"], status.BREACHED)
    if breach is not None and breach["status"] == "False":
        fresh["conditions"] = conditions.merged(fresh["conditions"], [], drop=[breaches.IN_PROGRESS])
    return fresh


def surplus(members: Iterable[int], wanted: int) -> list[int]:
    """Return the replica indexes that have to go, highest first: by index, holes do not matter (trap 35)."""
    return sorted((index for index in members if index >= wanted), reverse=True)


def _members(ctx: Context, obj: raw.Object) -> dict[int, list[raw.Object]]:
    """Return the group's PodCliques by group replica index."""
    result: dict[int, list[raw.Object]] = {}
    for clique in ctx.stores.cliques.by_index("owner", obj["metadata"]["uid"]):
        result.setdefault(int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]), []).append(clique)
    return result


async def _claim(
    ctx: Context, w: model.Workload, template: model.GroupTemplate, obj: raw.Object, wanted: int
) -> tuple[list[int], float | None]:
    """Make the group's claims; return the replicas that have all of theirs, and when to look again for the others."""
    if not template.sharing:
        return list(range(wanted)), None
    fqn = obj["metadata"]["name"]
    needed = sharing.of_group(template, fqn, range(wanted))
    outcome, noted = await devices.of_child(ctx, w, obj, needed)
    await claims.prune(ctx, obj, needed)
    return [j for j in range(wanted) if not outcome.blocks(j)], noted.requeue_after


async def _add_missing(
    ctx: Context, w: model.Workload, template: model.GroupTemplate, obj: raw.Object, wanted: Sequence[int]
) -> None:
    """Create members that are missing, and pass a changed replica count on to those that exist.

    Anything else of a changed template reaches members replica by replica, through an update.
    """
    index = int(obj["metadata"]["labels"][w.dialect.label_replica_index])
    jobs = []
    for j in wanted:
        for name in template.clique_names:
            clique = w.clique(name)
            live = ctx.stores.cliques.get(w.namespace, naming.member(obj["metadata"]["name"], j, name))
            if live is None or not _is_member(live, obj):
                desired = cliques.member(w, index, template, j, clique, obj)
                jobs.append(children.ensure(ctx, resources.PODCLIQUES, desired))
            elif replicas.is_edited(live, clique.replicas):
                jobs.append(_resize(ctx, live, clique.replicas))
    await children.together(jobs)


def _is_member(clique: raw.Object, group: raw.Object) -> bool:
    reference = ownership.controller(clique)
    return reference is not None and bool(reference.get("uid") == group["metadata"]["uid"])


async def _resize(ctx: Context, live: raw.Object, count: int) -> raw.Object:
    metadata = live["metadata"]
    body = {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "annotations": {names.ANNOTATION_TEMPLATE_REPLICAS: str(count)},
        },
        "spec": {"replicas": count},
    }
    stored = await ctx.client.patch(resources.PODCLIQUES, metadata["name"], metadata["namespace"], body, type="merge")
    return children.observe(ctx, resources.PODCLIQUES, stored)


async def _remove_surplus(ctx: Context, w: model.Workload, obj: raw.Object, wanted: int) -> None:
    """Remove replicas beyond the count, with the gangs that they formed."""
    members = _members(ctx, obj)
    doomed = surplus(members, wanted)
    victims = [clique for j in doomed for clique in members[j] if not ownership.terminating(clique)]
    await children.together(children.delete(ctx, resources.PODCLIQUES, clique) for clique in victims)
    minimum = obj["spec"].get("minAvailable") or 1
    gone = {naming.scaled_gang(obj["metadata"]["name"], j, minimum) for j in doomed if j >= minimum}
    gangs = [gang for name in gone if (gang := ctx.stores.gangs.get(w.namespace, name)) is not None]
    await children.together(children.delete(ctx, resources.PODGANGS, gang) for gang in gangs)
