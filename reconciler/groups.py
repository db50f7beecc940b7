"""A PodCliqueScalingGroup: its replicas' PodCliques and its status."""

from grovekeeper.api import names, raw
from grovekeeper.expand import groups, model, naming, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import children, keys
from grovekeeper.reconciler.context import Context, Result


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Bring the members in line with the group's replicas, and write its status."""
    obj = ctx.stores.groups.get(key.namespace, key.name)
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return Result()
    owner = ctx.set_of(obj)
    if owner is None:
        return Result()
    w = ctx.workload(owner)
    index = int(obj["metadata"]["labels"][w.dialect.label_replica_index])
    template = next((g for g in w.groups if naming.group(w.name, index, g.name) == key.name), None)
    if template is None or index >= w.replicas:
        return Result()
    replicas = groups.effective_replicas(obj["spec"].get("replicas", 1), template.min_available)
    by_index = _members(ctx, key)
    await _remove_surplus(ctx, w, obj, by_index, replicas)
    missing = [
        desired
        for j in range(replicas)
        for desired in groups.members(w, index, template, obj, j)
        if _needs(by_index.get(j, ()), desired)
    ]
    await children.together(children.ensure(ctx, resources.PODCLIQUES, desired) for desired in missing)
    states = {
        j: status.group_replica(w, len(template.clique_names), entries) for j, entries in _members(ctx, key).items()
    }
    fresh = status.group(w, obj, states, ctx.clock.stamp())
    await children.write_status(ctx, resources.SCALINGGROUPS, obj, fresh)
    return Result()


def _members(ctx: Context, key: keys.Key) -> dict[int, list[raw.Object]]:
    result: dict[int, list[raw.Object]] = {}
    for clique in ctx.stores.cliques.by_index("group", f"{key.namespace}/{key.name}"):
        result.setdefault(int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]), []).append(clique)
    return result


def _needs(existing: list[raw.Object] | tuple[()], desired: raw.Object) -> bool:
    """Members are created once; a changed template reaches them replica by replica, through an update."""
    return all(clique["metadata"]["name"] != desired["metadata"]["name"] for clique in existing)


async def _remove_surplus(
    ctx: Context, w: model.Workload, obj: raw.Object, by_index: dict[int, list[raw.Object]], replicas: int
) -> None:
    """Remove replicas beyond the count by their index, highest first, with the gangs that they formed."""
    doomed = sorted((j for j in by_index if j >= replicas), reverse=True)
    victims = [c for j in doomed for c in by_index[j] if not c["metadata"].get("deletionTimestamp")]
    await children.together(children.delete(ctx, resources.PODCLIQUES, clique) for clique in victims)
    minimum = obj["spec"].get("minAvailable") or 1
    gone = {naming.scaled_gang(obj["metadata"]["name"], j, minimum) for j in doomed if j >= minimum}
    gangs = [g for name in gone if (g := ctx.stores.gangs.get(w.namespace, name)) is not None]
    await children.together(children.delete(ctx, resources.PODGANGS, gang) for gang in gangs)
