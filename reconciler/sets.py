"""A set: what it has once, which replicas it should have, and its status."""

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import gangs, model, shared, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import children, keys, termination
from grovekeeper.reconciler.context import SET_RESOURCES, Context, Result

_SHARED = (resources.SERVICE_ACCOUNTS, resources.ROLES, resources.ROLE_BINDINGS, resources.SECRETS)
_MOST_PROBLEMS = 20


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Bring the shared objects and the number of replicas in line; each replica is a key of its own."""
    obj = ctx.find_set(key.owner_kind, key.namespace, key.name)
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return Result()
    w = ctx.workload(obj)
    await children.together(
        children.ensure(ctx, resource, desired) for resource, desired in zip(_SHARED, shared.objects(w), strict=True)
    )
    await _remove_surplus(ctx, w)
    wanted = [keys.replica(key.owner_kind, key.namespace, key.name, index) for index in range(w.replicas)]
    await ctx.enqueue(*wanted, keys.set_status(key.owner_kind, key.namespace, key.name))
    return Result()


async def _remove_surplus(ctx: Context, w: model.Workload) -> None:
    """Delete everything that belongs to replicas beyond spec.replicas, highest index first (traps 34, 35)."""
    mark = f"{w.namespace}/{w.name}"
    doomed: list[tuple[int, resources.Resource, raw.Object]] = []
    for resource in (
        resources.PODCLIQUES,
        resources.SCALINGGROUPS,
        resources.PODGANGS,
        resources.SERVICES,
        resources.HPAS,
    ):
        for child in ctx.stores.of(resource).by_index("set", mark):
            text = (child["metadata"].get("labels") or {}).get(w.dialect.label_replica_index)
            if text is None or int(text) < w.replicas or child["metadata"].get("deletionTimestamp"):
                continue
            if resource is resources.PODCLIQUES and names.LABEL_SCALINGGROUP in child["metadata"]["labels"]:
                continue  # goes with its scaling group
            doomed.append((int(text), resource, child))
    doomed.sort(key=lambda entry: -entry[0])
    await children.together(children.delete(ctx, resource, child) for _, resource, child in doomed)


async def reconcile_status(ctx: Context, key: keys.Key) -> Result:
    """Write the set's status from its children. O(children of the set), coalesced by the dispatcher."""
    obj = ctx.find_set(key.owner_kind, key.namespace, key.name)
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return Result()
    w = ctx.workload(obj)
    now = ctx.clock.stamp()
    cliques = _by_replica(ctx, w, resources.PODCLIQUES)
    groups = _by_replica(ctx, w, resources.SCALINGGROUPS)
    states = [
        status.set_replica(
            w,
            [c for c in cliques.get(index, ()) if names.LABEL_SCALINGGROUP not in c["metadata"]["labels"]],
            groups.get(index, ()),
        )
        for index in range(w.replicas)
    ]
    totals = status.Totals(
        existing=sum(1 for state in states if state.exists),
        available=sum(1 for state in states if state.available),
        updated=sum(1 for state in states if state.updated),
    )
    problems = _problems(ctx, w) if totals.available < w.replicas else []
    fresh = status.whole_set(w, totals, problems, _topology_conditions(ctx, w, now), now)
    waiting = ctx.stores.gangs.by_index("set", f"{w.namespace}/{w.name}") if totals.available < w.replicas else []
    unwell = [_gang_status(gang) for gang in waiting if (gang.get("status") or {}).get("phase") != "Running"]
    if unwell:
        fresh["podGangStatuses"] = unwell[:_MOST_PROBLEMS]
    await children.write_status(ctx, SET_RESOURCES[key.owner_kind], obj, fresh)
    return Result(await termination.reconcile(ctx, w))


def _by_replica(ctx: Context, w: model.Workload, resource: resources.Resource) -> dict[int, list[raw.Object]]:
    result: dict[int, list[raw.Object]] = {}
    for child in ctx.stores.of(resource).by_index("set", f"{w.namespace}/{w.name}"):
        index = child["metadata"]["labels"].get(w.dialect.label_replica_index)
        if index is not None:
            result.setdefault(int(index), []).append(child)
    return result


def _problems(ctx: Context, w: model.Workload) -> list[tuple[str, str]]:
    """Return (reason, message) of what keeps the set from coming up, the most telling first."""
    found: list[tuple[str, str]] = []
    mark = f"{w.namespace}/{w.name}"
    for clique in ctx.stores.cliques.by_index("set", mark):
        missing = conditions.find((clique.get("status") or {}).get("conditions"), status.WEBHOOK_MISSING)
        if missing is not None:
            found.append((status.WEBHOOK_MISSING, missing["message"]))
    for gang in ctx.stores.gangs.by_index("set", mark):
        scheduled = conditions.find((gang.get("status") or {}).get("conditions"), "Scheduled")
        if scheduled is not None and scheduled["status"] == "False":
            found.append((scheduled["reason"], f"gang {gang['metadata']['name']}: {scheduled['message']}"))
    return found[:_MOST_PROBLEMS]


def _gang_status(gang: raw.Object) -> raw.Object:
    state = gang.get("status") or {}
    phase = state.get("phase") or "Pending"
    return {"name": gang["metadata"]["name"], "phase": phase, "conditions": state.get("conditions") or []}


def _topology_conditions(ctx: Context, w: model.Workload, now: str) -> list[raw.Object]:
    name = gangs.topology_name(w)
    if name is None:
        return [_levels(False, "AllClusterTopologyLevelsAvailable", "no topology constraint", now)]
    binding = ctx.stores.topologies.get(None, name)
    if binding is None:
        text = f"ClusterTopologyBinding {name} does not exist: constraints are not applied until it does"
        return [_levels(None, "ClusterTopologyNotFound", text, now)]
    known = {level["domain"] for level in binding["spec"]["levels"]}
    packs = [w.pack, *(g.pack for g in w.groups), *(c.pack for c in w.cliques)]
    asked = {domain for pack in packs if pack for domain in (pack.required, pack.preferred) if domain}
    gone = sorted(asked - known)
    if gone:
        return [_levels(True, "ClusterTopologyLevelsUnavailable", f"{name} lacks {', '.join(gone)}", now)]
    return [_levels(False, "AllClusterTopologyLevelsAvailable", f"all levels are in {name}", now)]


def _levels(unavailable: bool | None, reason: str, message: str, now: str) -> raw.Object:
    return conditions.condition("TopologyLevelsUnavailable", unavailable, reason, message, now)
