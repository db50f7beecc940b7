"""What a set shares among its pods: its own ResourceClaims and its ComputeDomains, before its replicas come."""

from collections.abc import Sequence

from grovekeeper.api import raw
from grovekeeper.expand import model, sharing
from grovekeeper.kube import errors
from grovekeeper.reconciler import children, claims, deletion, domains, faults, keys, ownership
from grovekeeper.reconciler.context import Context, Result

_WHERE = "claims and domains"


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Look after a set's claims and domains alone: a pod that used one is gone, or somebody has deleted one."""
    obj = ctx.find_set(key.owner_kind, key.namespace, key.name)
    await deletion.of_set(ctx, key, obj)
    if obj is None or ownership.terminating(obj):
        return Result()
    w = ctx.workload(obj)
    outcome, result = await ensure(ctx, w, obj)
    await ctx.enqueue(*_have_waited(ctx, w, outcome))
    return result


async def ensure(ctx: Context, w: model.Workload, obj: raw.Object) -> tuple[claims.Outcome, Result]:
    """Bring them in line; return which set replicas have to wait, and what was noted on the set about it."""
    wanted = sharing.of_set(w, range(w.total))
    try:
        outcome = await claims.ensure(ctx, w, obj, wanted)
        problem = await domains.ensure(ctx, w)
    except (children.Collision, errors.Forbidden, errors.Invalid) as error:
        return claims.Outcome(everything=True), await faults.put(ctx, obj, _WHERE, error)
    if w.sharing:
        await claims.prune(ctx, obj, wanted)
    if problem is not None:
        return claims.Outcome(everything=True), await faults.put(ctx, obj, _WHERE, problem)
    return outcome, await note(ctx, obj, _WHERE, outcome.problem)


async def of_replica(ctx: Context, w: model.Workload, obj: raw.Object, index: int) -> bool:
    """Make the claims that a set replica's pods name of their set; return whether all of them are there, and the set's.

    What is lacking is noted by the set's own look.
    """
    try:
        outcome = await claims.ensure(ctx, w, obj, sharing.of_set(w, [index]))
    except (children.Collision, errors.Forbidden, errors.Invalid):
        return False
    return not outcome.blocks(index) and not domains.is_in_the_way(ctx, w, index)


def _have_waited(ctx: Context, w: model.Workload, outcome: claims.Outcome) -> list[str]:
    """Return the keys of replicas of which nothing is there yet and that have all they share. O(replicas)."""
    marks = {index: f"{w.namespace}/{w.name}/{index}" for index in range(w.total) if not outcome.blocks(index)}
    children_of = (ctx.stores.cliques, ctx.stores.groups)
    return [
        keys.replica(w.dialect.kind, w.namespace, w.name, index)
        for index, mark in marks.items()
        if not any(store.by_index("replica", mark) for store in children_of)
    ]


async def of_child(
    ctx: Context, w: model.Workload, owner: raw.Object, wanted: Sequence[sharing.Wanted]
) -> tuple[claims.Outcome, Result]:
    """Make the claims of a scaling group or a clique as `ensure` does a set's; what is lacking is noted on the set."""
    where = f"{owner['kind']} {owner['metadata']['name']}"
    try:
        outcome = await claims.ensure(ctx, w, owner, wanted)
    except (children.Collision, errors.Forbidden, errors.Invalid) as error:
        return claims.Outcome(everything=True), await faults.put(ctx, w.raw, where, error)
    return outcome, await note(ctx, w.raw, where, outcome.problem)


async def note(ctx: Context, obj: raw.Object, where: str, problem: faults.Missing | None) -> Result:
    """Note on the set what a part of it waits for, or that it waits for nothing any more."""
    if problem is not None:
        return await faults.put(ctx, obj, where, problem)
    await faults.clear(ctx, obj, where)
    return Result()
