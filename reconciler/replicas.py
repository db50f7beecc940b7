"""One replica of a set: its Service, standalone PodCliques, scaling groups and autoscalers."""

from grovekeeper.api import names, raw
from grovekeeper.expand import cliques, companions, groups, model, naming
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, devices, faults, keys, ownership, recreations, revisions
from grovekeeper.reconciler.context import Context, Result

_AGAIN_SECONDS = 30.0
"""A replica whose claims are not there is woken when they are; this is the net."""


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Bring one replica's children in line."""
    obj = ctx.find_set(key.owner_kind, key.namespace, key.name)
    if obj is None or ownership.terminating(obj):
        return Result()
    w = ctx.workload(obj)
    index = key.index
    if index >= w.total:
        await ctx.enqueue(keys.set_key(key.owner_kind, key.namespace, key.name))
        return Result()
    if not await devices.of_replica(ctx, w, obj, index):
        return Result(_AGAIN_SECONDS)
    where = f"replica {index}"
    await _confirm_gang(ctx, w, index)
    desired = wanted(ctx, revisions.of_replica(ctx, w, index), index)
    try:
        await children.together(children.ensure_of(ctx, obj, resource, child) for resource, child in desired)
    except (children.Collision, errors.Forbidden, errors.Invalid) as error:
        return await faults.put(ctx, obj, where, error)
    await faults.clear(ctx, obj, where)
    await _forget_given_up(ctx, w, index)
    await _remove_autoscalers(ctx, w, index, {d["metadata"]["name"] for r, d in desired if r is resources.HPAS})
    return Result()


def wanted(ctx: Context, w: model.Workload, index: int) -> list[tuple[resources.Resource, raw.Object]]:
    """Return the children that this replica should have, with the replica counts that living ones keep."""
    result: list[tuple[resources.Resource, raw.Object]] = [(resources.SERVICES, companions.service(w, index))]
    gang = ctx.stores.gangs.get(w.namespace, naming.replica(w.name, index))
    for template in w.standalone():
        fqn = naming.clique(w.name, index, template.name)
        live = ctx.stores.cliques.get(w.namespace, fqn)
        known = live or recreations.before(gang, fqn)
        replicas = kept_replicas(known, template.replicas, autoscaled=bool(template.scale))
        result.append((resources.PODCLIQUES, children.keeping(cliques.standalone(w, index, template, replicas), live)))
    for group in w.groups:
        live = ctx.stores.groups.get(w.namespace, naming.group(w.name, index, group.name))
        replicas = kept_replicas(live, group.replicas, autoscaled=bool(group.scale))
        result.append((resources.SCALINGGROUPS, children.keeping(groups.group(w, index, group, replicas), live)))
    result += [(resources.HPAS, hpa) for hpa in companions.autoscalers(w, index)]
    return result


def kept_replicas(live: raw.Object | None, template: int, *, autoscaled: bool) -> int:
    """Return the replicas that a child should have.

    A living child keeps its own count (an autoscaler's, or a person's by /scale) until the template's value changes:
    then an edit in Git reaches it, unless an autoscaler owns it (Grove never passes an edit on: trap 20).
    """
    if live is None:
        return template
    current: int = live["spec"].get("replicas", template)
    return template if is_edited(live, template) and not autoscaled else current


def is_edited(live: raw.Object, template: int) -> bool:
    """Return whether the template's replicas changed since they were last passed on to this child."""
    passed_on = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_TEMPLATE_REPLICAS)
    return passed_on is not None and passed_on != str(template)


async def _confirm_gang(ctx: Context, w: model.Workload, index: int) -> None:
    """Have what the PodGang says of PodCliques that are to be made again: another worker may have noted it just now."""
    gang = ctx.stores.gangs.get(w.namespace, naming.replica(w.name, index))
    fqns = [naming.clique(w.name, index, template.name) for template in w.standalone()]
    if gang is not None and any(ctx.stores.cliques.get(w.namespace, fqn) is None for fqn in fqns):
        await children.reread(ctx, resources.PODGANGS, gang)


async def _forget_given_up(ctx: Context, w: model.Workload, index: int) -> None:
    """Take the note of scaled PodCliques off the PodGang once they are back: from then on they tell it themselves."""
    gang = ctx.stores.gangs.get(w.namespace, naming.replica(w.name, index))
    cliques_now = ctx.stores.cliques.by_index("replica", f"{w.namespace}/{w.name}/{index}")
    if gang is not None and recreations.are_back(gang, {each["metadata"]["name"]: each for each in cliques_now}):
        await children.annotate(ctx, resources.PODGANGS, gang, {names.ANNOTATION_GIVEN_UP: None})


async def _remove_autoscalers(ctx: Context, w: model.Workload, index: int, wanted: set[str]) -> None:
    live = ctx.stores.hpas.by_index("replica", f"{w.namespace}/{w.name}/{index}")
    surplus = [hpa for hpa in live if hpa["metadata"]["name"] not in wanted]
    await children.together(children.delete(ctx, resources.HPAS, hpa) for hpa in surplus)
