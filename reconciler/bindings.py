"""A ClusterTopologyBinding: whether its levels mean anything, and the topology objects of other schedulers.

Those are made by us, or compared with. The whole status is written here, by whoever has the binding's key.

KAI's levels cannot be changed, so that a change deletes the Topology and makes it again. One that we did not make is
never touched. Source of reasons and status: Grove.
"""

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand.backends import kai
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, keys, levelstatus, ownership
from grovekeeper.reconciler.context import Context, Result

DRIFT = "SchedulerTopologyDrift"
_AGAIN_SECONDS = 30.0


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Say in the status whether the levels are usable, and bring KAI's Topology in line where it is ours to make."""
    binding = ctx.stores.topologies.get(None, key.name)
    if binding is None or ownership.terminating(binding):
        return Result()
    old = binding.get("status") or {}
    usable = levelstatus.condition(ctx.stores.topologies, ctx.stores.nodes, key.name, ctx.clock.stamp())
    if names.SCHEDULER_KAI not in ctx.settings.schedulers.profiles and not _bound(binding):
        kept = conditions.merged(old.get("conditions"), [usable], drop=[DRIFT])
        await _write(ctx, binding, {"observedGeneration": _generation(binding), "conditions": kept})
        return Result()
    try:
        entry, problem = await _compared(ctx, binding)
    except errors.KubeError:
        # Trouble with the other scheduler's kind keeps nobody from what our own nodes say.
        await _write(ctx, binding, {**old, "conditions": conditions.merged(old.get("conditions"), [usable])})
        raise
    fresh = _condition(entry, problem, ctx.clock.stamp())
    before = conditions.find(old.get("conditions"), DRIFT)
    status = {
        "observedGeneration": _generation(binding),
        "conditions": conditions.merged(old.get("conditions"), [usable, fresh]),
        "schedulerTopologyStatuses": [entry],
    }
    if before is None or before["status"] != fresh["status"]:
        _tell(ctx, binding, fresh)
    await _write(ctx, binding, status)
    return Result(None if problem is None or problem == _NOT_FOUND else _AGAIN_SECONDS)


_NOT_FOUND = "TopologyNotFound"


async def _compared(ctx: Context, binding: raw.Object) -> tuple[raw.Object, str | None]:
    """Return the entry of the status, and a reason where the comparison itself was not possible or not allowed."""
    reference = kai.reference(binding)
    name = reference or binding["metadata"]["name"]
    if names.SCHEDULER_KAI not in ctx.settings.schedulers.profiles:
        text = f"{names.SCHEDULER_KAI} is not enabled: add it to schedulers.profiles of the chart"
        return _entry(name, None, text), _NOT_FOUND
    if ctx.foreign.of(resources.KAI_TOPOLOGIES) is None:
        text = f"Topology of {kai.TOPOLOGY_VERSION} is not served: install KAI-Scheduler"
        return _entry(name, None, text), _NOT_FOUND
    if reference is None:
        try:
            await _ensure(ctx, binding)
        except (children.Collision, errors.Forbidden, errors.Invalid, errors.BadRequest) as error:
            return _entry(name, None, str(error)), "Drift"
    return _entry(name, _differs(ctx, binding, name), "", _seen(ctx, name)), None


def _entry(name: str, differs: str | None, problem: str, seen: int | None = None) -> raw.Object:
    text = problem or differs
    entry: raw.Object = {"schedulerName": names.SCHEDULER_KAI, "topologyReference": name, "inSync": not text}
    if seen is not None:
        entry["schedulerBackendTopologyObservedGeneration"] = seen
    return {**entry, "message": text[:1024]} if text else entry


def _differs(ctx: Context, binding: raw.Object, name: str) -> str | None:
    found = ctx.foreign.get(resources.KAI_TOPOLOGIES, None, name)
    if found is None:
        return f"Topology {name} does not exist: create it, or remove the binding's schedulerTopologyBindings entry"
    wanted, there = kai.level_keys(kai.topology(binding)), kai.level_keys(found)
    if wanted == there:
        return None
    return f"Topology {name} has the levels {', '.join(there)}; the binding has {', '.join(wanted)}: make them equal"


def _seen(ctx: Context, name: str) -> int | None:
    found = ctx.foreign.get(resources.KAI_TOPOLOGIES, None, name)
    return found["metadata"].get("generation") if found is not None else None


async def _ensure(ctx: Context, binding: raw.Object) -> None:
    """Create the Topology, or make it anew where the levels differ. Raises Collision where it is somebody else's."""
    desired = kai.topology(binding)
    name = desired["metadata"]["name"]
    live = ctx.foreign.get(resources.KAI_TOPOLOGIES, None, name)
    if live is not None:
        children.check_owner(resources.KAI_TOPOLOGIES, live, desired)
        if kai.level_keys(live) == kai.level_keys(desired):
            return
        metadata = live["metadata"]
        await ctx.client.delete(resources.KAI_TOPOLOGIES, name, None, uid=metadata["uid"], propagation="Background")
    try:
        stored = await ctx.client.create(resources.KAI_TOPOLOGIES, desired)
    except errors.AlreadyExists:
        # Still going, or the cache is behind: judge what is there.
        stored = await ctx.client.get(resources.KAI_TOPOLOGIES, name)
        children.check_owner(resources.KAI_TOPOLOGIES, stored, desired)
        if ownership.terminating(stored):
            raise errors.Conflict(f"Topology {name} is still being deleted") from None
    stored["metadata"].pop("managedFields", None)
    cache = ctx.foreign.of(resources.KAI_TOPOLOGIES)
    if cache is not None:
        cache.store.observe(stored)


def _condition(entry: raw.Object, problem: str | None, now: str) -> raw.Object:
    name = entry["topologyReference"]
    if problem == _NOT_FOUND:
        return conditions.condition(DRIFT, None, _NOT_FOUND, entry["message"], now)
    if entry["inSync"]:
        return conditions.condition(DRIFT, False, "InSync", f"Topology {name} has the same levels", now)
    return conditions.condition(DRIFT, True, "Drift", entry["message"], now)


def _tell(ctx: Context, binding: raw.Object, fresh: raw.Object) -> None:
    if fresh["status"] == "False":
        ctx.events.normal(binding, "TopologyInSync", fresh["message"], ctx.clock.stamp())
    else:
        ctx.events.warning(binding, "TopologyDriftDetected", fresh["message"], ctx.clock.stamp())


async def _write(ctx: Context, binding: raw.Object, status: raw.Object) -> None:
    await children.write_status(ctx, resources.TOPOLOGY_BINDINGS, binding, status)


def _generation(binding: raw.Object) -> int:
    return int(binding["metadata"].get("generation", 0))


def _bound(binding: raw.Object) -> bool:
    return kai.reference(binding) is not None
