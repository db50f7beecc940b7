"""A set: what it has once, which replicas it should have, and its status."""

import contextlib
from collections.abc import Sequence

from grovekeeper.api import conditions, raw
from grovekeeper.expand import budgets, model, plan, shared, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import (
    backends,
    children,
    deletion,
    devices,
    faults,
    keys,
    levels,
    ownership,
    revisions,
    statuses,
    termination,
    updates,
)
from grovekeeper.reconciler.context import Context, Result

_TOKEN_SECONDS = 600.0
_MOST_TOKENS = 5000
_OF_REPLICAS = (
    resources.HPAS,
    resources.SCALINGGROUPS,
    resources.PODCLIQUES,
    resources.PODGANGS,
    resources.SERVICES,
)
_MOST_GANGS = 20
"""Gangs listed in a set's status: only those that are not well, so that the status does not grow with the set."""


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Bring the shared objects and the number of replicas in line; each replica is a key of its own."""
    obj = ctx.find_set(key.owner_kind, key.namespace, key.name)
    await deletion.of_set(ctx, key, obj)
    if obj is None or ownership.terminating(obj):
        return Result()
    w = ctx.workload(obj)
    try:
        await _share(ctx, w)
    except (children.Collision, errors.Forbidden, errors.Invalid) as error:
        return await faults.put(ctx, obj, "", error)
    await faults.clear(ctx, obj, "")
    await _remove_surplus(ctx, w)
    outcome, result = await devices.ensure(ctx, w, obj)
    ready = [index for index in range(w.total) if not outcome.blocks(index)]
    wanted = [keys.replica(key.owner_kind, key.namespace, key.name, index) for index in ready]
    mark = f"{key.namespace}/{key.name}"
    # A look that somebody asked for (`grove.io/reconcile-trigger`) goes through all levels.
    scaled = [keys.group(key.namespace, found["metadata"]["name"]) for found in ctx.stores.groups.by_index("set", mark)]
    await ctx.enqueue(*_off_budget(ctx, w))
    await ctx.enqueue(*wanted, *scaled, keys.set_status(key.owner_kind, key.namespace, key.name))
    return result


def _off_budget(ctx: Context, w: model.Workload) -> list[str]:
    """Return the keys of PodCliques that have a budget and are to have none, or the other way round."""
    wanted = budgets.wanted(w, default=ctx.settings.reconcile.disruption_budgets)
    cliques = ctx.stores.cliques.by_index("set", f"{w.namespace}/{w.name}")
    names = [clique["metadata"]["name"] for clique in cliques]
    return [
        keys.clique(w.namespace, name)
        for name in names
        if (ctx.stores.budgets.get(w.namespace, name) is not None) != wanted
    ]


async def _share(ctx: Context, w: model.Workload) -> None:
    """Bring in line what the set has once, its history included.

    A token Secret without its ServiceAccount is deleted. A RoleBinding whose Role the API server's own cache lacks is
    refused (to tell whether we may grant it), and that cache learns of a Role a moment after its creation: so one is
    first, the other last, and whatever else is to be written in between.
    """
    account, role, binding, token = shared.objects(w)
    await children.together(
        children.ensure(ctx, resource, desired)
        for resource, desired in ((resources.SERVICE_ACCOUNTS, account), (resources.ROLES, role))
    )
    await children.together((_ensure_token(ctx, w, token), revisions.record(ctx, w)))
    await children.ensure(ctx, resources.ROLE_BINDINGS, binding)


async def _ensure_token(ctx: Context, w: model.Workload, desired: raw.Object) -> None:
    """Create the token Secret, and every ten minutes again while the set is not ready: somebody may have deleted it.

    We may create Secrets and neither read nor list them: one that is there already is taken to be the right one.
    """
    now = ctx.clock.now().timestamp()
    known = ctx.tokens.get(w.uid)
    if known is not None and (now - known < _TOKEN_SECONDS or conditions.is_true(w.raw, "Ready")):
        return
    with contextlib.suppress(errors.AlreadyExists):
        await ctx.client.create(resources.SECRETS, desired)
    if len(ctx.tokens) > _MOST_TOKENS:
        ctx.tokens.clear()
    ctx.tokens[w.uid] = now


async def _remove_surplus(ctx: Context, w: model.Workload) -> None:
    """Delete everything that belongs to replicas beyond spec.replicas, highest index first (traps 34, 35)."""
    doomed: list[tuple[int, resources.Resource, raw.Object]] = []
    for resource in _OF_REPLICAS:
        for child in ctx.stores.of(resource).by_index("set", f"{w.namespace}/{w.name}"):
            index = replica_of(w, child)
            # A scaling group's members go with their group.
            if index is not None and index >= w.total and _is_child(w, child) and not ownership.terminating(child):
                doomed.append((index, resource, child))
    doomed.sort(key=lambda entry: -entry[0])
    await children.together(children.delete(ctx, resource, child) for _, resource, child in doomed)


def replica_of(w: model.Workload, child: raw.Object) -> int | None:
    """Return the set replica that a child belongs to, from its label; None for what the set has once."""
    text = (child["metadata"].get("labels") or {}).get(w.dialect.label_replica_index, "")
    return int(text) if text.isdigit() else None


def _is_child(w: model.Workload, child: raw.Object) -> bool:
    reference = ownership.controller(child)
    return reference is not None and bool(reference.get("uid") == w.uid)


async def reconcile_status(ctx: Context, key: keys.Key) -> Result:
    """Write the set's status from its children, and see to gang termination. O(children of the set), in memory."""
    obj = ctx.find_set(key.owner_kind, key.namespace, key.name)
    if obj is None or ownership.terminating(obj):
        return Result()
    w = ctx.workload(obj)
    now = ctx.clock.stamp()
    totals = count(w, _by_replica(ctx, w, resources.PODCLIQUES), _by_replica(ctx, w, resources.SCALINGGROUPS))
    done = totals.available >= w.replicas
    unavailable = backends.trouble(ctx, w)
    stuck = faults.of(obj) + ([unavailable] if unavailable else [])
    problems = stuck or ([] if done else faults.of_children(ctx, w))
    extra = [levels.condition(ctx.stores.topologies, w, now), *backends.condition(w, unavailable, now)]
    fresh = status.whole_set(w, totals, problems, extra, now)
    if stuck:
        fresh["conditions"] = faults.stalled(obj, fresh["conditions"], *stuck[0], now)
    unwell = [] if done else _unwell(ctx.stores.gangs.by_index("set", f"{w.namespace}/{w.name}"))
    if unwell:
        fresh["podGangStatuses"] = unwell
    left = await updates.step(ctx, w, fresh)
    begun = w.dialect.progress_field in fresh and w.dialect.progress_field not in (obj.get("status") or {})
    settled = bool(stuck) or begun or (done and totals.updated >= w.replicas)
    wait = await statuses.write(ctx, resources.SETS[key.owner_kind], obj, fresh, settled=settled, by_age=True)
    pauses = [pause for pause in (wait, left, await termination.reconcile(ctx, w)) if pause is not None]
    return Result(min(pauses, default=None))


def count(
    w: model.Workload, cliques: dict[int, list[raw.Object]], groups: dict[int, list[raw.Object]]
) -> status.Totals:
    """Return the set's totals from its standalone PodCliques and scaling groups by replica.

    `existing` is what is there, surplus replicas included until they are gone; Grove repeats spec.replicas. Extra
    replicas of an update count like others, as in a Deployment.
    """
    existing = available = updated = 0
    for index in cliques.keys() | groups.keys():
        state = status.set_replica(w, cliques.get(index, ()), groups.get(index, ()))
        existing += state.exists
        available += state.available and index < w.total
        updated += state.updated and index < w.total
    return status.Totals(existing, available, updated)


def _by_replica(ctx: Context, w: model.Workload, resource: resources.Resource) -> dict[int, list[raw.Object]]:
    result: dict[int, list[raw.Object]] = {}
    for child in ctx.stores.of(resource).by_index("owner", w.uid):
        index = replica_of(w, child)
        if index is not None and not plan.terminating(child):
            result.setdefault(index, []).append(child)
    return result


def _unwell(gangs: Sequence[raw.Object]) -> list[raw.Object]:
    found = [gang for gang in gangs if (gang.get("status") or {}).get("phase") != "Running"]
    found.sort(key=lambda gang: str(gang["metadata"]["name"]))
    return [_gang_status(gang) for gang in found[:_MOST_GANGS]]


def _gang_status(gang: raw.Object) -> raw.Object:
    state = gang.get("status") or {}
    phase = state.get("phase") or "Pending"
    return {"name": gang["metadata"]["name"], "phase": phase, "conditions": state.get("conditions") or []}
