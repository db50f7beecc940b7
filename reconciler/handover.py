"""Handing a gang over to another scheduler: PodGang, then its PodGroup, then our gates. Nothing is pinned.

See docs/decisions/0013-hand-over.md. Room, preemption and repair are the other scheduler's.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from grovekeeper.api import conditions, raw
from grovekeeper.expand import gangs, plan
from grovekeeper.expand.backends import backend, kai, known
from grovekeeper.kube import errors, resources
from grovekeeper.kube.resources import Resource
from grovekeeper.reconciler import asks, backends, children, gangstatus, kinds, ownership, pins, view
from grovekeeper.reconciler.context import Context

_LOG = logging.getLogger(__name__)
_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a look at one gang."""

    why_not: str | None = None
    """What the gang waits for, in the other scheduler's words or ours."""
    conditions: tuple[raw.Object, ...] = ()
    """For the PodGang."""
    again: float | None = None


async def step(ctx: Context, found: view.Found, *, base_is_placed: bool) -> Answer:
    """Bring PodGang and PodGroup in line, and release what may go. O(pods of the gang)."""
    living = {fqn: [pod for pod in pods if plan.alive(pod)] for fqn, pods in found.pods.items()}
    missing = gangs.missing(found.gang, {fqn: len(pods) for fqn, pods in living.items()})
    live = ctx.stores.gangs.get(found.w.namespace, found.gang.name)
    everybody = [pod for pods in living.values() for pod in pods]
    runs = any(pod["spec"].get("nodeName") for pod in everybody)
    if live is None and (not everybody or (missing and not runs)):
        return Answer()
    live = await _ensure_podgang(ctx, found, living)
    chosen = known.of(found.w)
    problem = backends.blocking(ctx, found.w)
    again = None
    group: raw.Object | None = None
    if problem is None and chosen is not None:
        group, problem = await _ensure_group(ctx, found, chosen, live)
        again = _AGAIN_SECONDS if problem is not None else None
    if problem is not None:
        ctx.events.warning(found.w.raw, backends.TYPE, f"{found.gang.name}: {problem[1]}", ctx.clock.stamp())
    elif chosen is not None and not missing and base_is_placed:
        await _release(ctx, found, chosen, living)
    said = problem[1] if problem else _waits_for(found, chosen, group)
    entry = backends.handed_over(problem, found.w.scheduler, ctx.clock.stamp())
    return Answer(said, (entry,), again)


async def _ensure_podgang(ctx: Context, found: view.Found, living: view.Pods) -> raw.Object:
    w = found.w
    levels = _levels(ctx, found)
    references = {fqn: [pod["metadata"]["name"] for pod in pods] for fqn, pods in living.items()}
    chosen = known.of(w)
    annotations = known.gang_annotations(chosen, w, levels) if chosen else gangs.topology_annotation(w, levels)
    return await children.ensure(ctx, resources.PODGANGS, gangs.podgang(w, found.gang, references, levels, annotations))


def _binding(ctx: Context, found: view.Found) -> raw.Object | None:
    name = gangs.topology_name(found.w)
    return ctx.stores.topologies.get(None, name) if name else None


def _levels(ctx: Context, found: view.Found) -> dict[str, str]:
    return asks.levels_of(_binding(ctx, found))


async def _ensure_group(
    ctx: Context, found: view.Found, chosen: backend.Backend, podgang: raw.Object
) -> tuple[raw.Object | None, backends.Trouble | None]:
    """Return the PodGroup as it is stored, and what is wrong with it."""
    binding = _binding(ctx, found)
    topology = (kai.reference(binding) or binding["metadata"]["name"]) if binding is not None else None
    desired = known.group(chosen, found.w, podgang, topology)
    resource = kinds.GROUPS[chosen.name]
    try:
        live = await _written(ctx, chosen, resource, desired)
    except (children.Collision, errors.Forbidden, errors.Invalid, errors.BadRequest) as error:
        return None, backends.refused(str(error))
    except errors.NotFound as error:
        # The kind went a moment ago; its watch will say so, and say when it is back.
        return None, ("KindNotServed", f"{error}: {chosen.next_step}")
    if known.is_pruned(chosen, live, desired):
        text = f"PodGroup of {chosen.api_version} has no {chosen.needed} here: {chosen.next_step}"
        return live, ("CapabilityUnavailable", text)
    return live, None


async def _written(ctx: Context, chosen: backend.Backend, resource: Resource, desired: raw.Object) -> raw.Object:
    metadata = desired["metadata"]
    live = ctx.foreign.get(resource, metadata["namespace"], metadata["name"])
    if live is None:
        try:
            return _observed(ctx, resource, await ctx.client.create(resource, desired))
        except errors.AlreadyExists:
            stored = await ctx.client.get(resource, metadata["name"], metadata["namespace"])
            live = _observed(ctx, resource, stored)
    children.check_owner(resource, live, desired)
    operations = known.operations(chosen, live, desired)
    if ownership.terminating(live) or not operations:
        return live
    stored = await ctx.client.patch(resource, metadata["name"], metadata["namespace"], operations, type="json")
    return _observed(ctx, resource, stored)


def _observed(ctx: Context, resource: Resource, obj: raw.Object) -> raw.Object:
    obj["metadata"].pop("managedFields", None)
    cache = ctx.foreign.of(resource)
    if cache is not None:
        cache.store.observe(obj)
    return obj


async def _release(ctx: Context, found: view.Found, chosen: backend.Backend, living: view.Pods) -> None:
    """Remove our gate from the group's members, and from others once the minimum has its nodes."""
    everybody = gangstatus.scheduled(found.gang, found.pods)
    ready = [pod for pods in living.values() for pod in pods if plan.gated(pod) and (everybody or chosen.joins(pod))]
    await children.together(_ungate(ctx, pod) for pod in ready)


async def _ungate(ctx: Context, pod: raw.Object) -> None:
    metadata = pod["metadata"]
    fresh = ctx.stores.pods.get(metadata["namespace"], metadata["name"]) or pod
    if not plan.gated(fresh) or plan.terminating(fresh):
        return
    try:
        stored = await ctx.client.patch(
            resources.PODS, metadata["name"], metadata["namespace"], pins.ungating(fresh), type="json"
        )
    except (errors.NotFound, errors.Conflict, errors.Invalid) as error:
        _LOG.info("pod %s/%s was not released: %s", metadata["namespace"], metadata["name"], error)
        live = await children.reread(ctx, resources.PODS, fresh)
        if live is not None and plan.alive(live) and plan.gated(live):
            # What changed (a gate of somebody else's went) may wake nobody.
            raise children.changed(resources.PODS, fresh, live, error) from error
        return
    children.observe(ctx, resources.PODS, stored)


def _waits_for(found: view.Found, chosen: backend.Backend | None, group: raw.Object | None) -> str | None:
    """Return why a gang whose pods are released has no nodes: what its scheduler says of the group, else of a pod."""
    if gangstatus.scheduled(found.gang, found.pods):
        return None
    said = chosen.why_not(group) if chosen is not None and group is not None else None
    return said or next(filter(None, map(_unschedulable, _open(found))), None)


def _open(found: view.Found) -> Sequence[raw.Object]:
    pods = [pod for each in found.pods.values() for pod in each]
    return [pod for pod in pods if plan.alive(pod) and not pod["spec"].get("nodeName") and not plan.gated(pod)]


def _unschedulable(pod: raw.Object) -> str | None:
    entry = conditions.find((pod.get("status") or {}).get("conditions"), "PodScheduled")
    if entry is None or entry.get("reason") != "Unschedulable":
        return None
    return f"{pod['metadata']['name']}: {backend.one_line(entry.get('message'))}"
