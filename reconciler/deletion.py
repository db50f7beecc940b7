"""What an owner that is gone has left behind.

Kubernetes' garbage collector removes it as well, through owner references, but at its own pace: it deletes some twenty
objects a second. We know what is left and delete it at once; whoever comes second finds nothing.
"""

from collections.abc import Sequence

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, claims, domains, keys, ownership
from grovekeeper.reconciler.context import Context

_OF_SETS = (
    resources.HPAS,
    resources.SCALINGGROUPS,
    resources.PODCLIQUES,
    resources.PODGANGS,
    resources.SERVICES,
    resources.CONTROLLER_REVISIONS,
)


async def of_set(ctx: Context, key: keys.Key, living: raw.Object | None) -> None:
    """Delete the children of a set that is gone, then have the groups and cliques among them looked after.

    `living` is the set that has the name now: another one, or None.
    """
    mark = f"{key.namespace}/{key.name}"
    left = [(resource, child) for resource in _OF_SETS for child in ctx.stores.of(resource).by_index("set", mark)]
    left += _unused_claims(ctx, "set", mark)
    await _sweep(ctx, resources.SETS[key.owner_kind], key, left, living)
    await _release_domains(ctx, key, living)


async def of_group(ctx: Context, key: keys.Key, living: raw.Object | None) -> None:
    """Delete the PodCliques and claims of a scaling group that is gone."""
    mark = f"{key.namespace}/{key.name}"
    left = [(resources.PODCLIQUES, clique) for clique in ctx.stores.cliques.by_index("group", mark)]
    await _sweep(ctx, resources.SCALINGGROUPS, key, left + _unused_claims(ctx, "group", mark), living)


async def of_clique(ctx: Context, key: keys.Key, living: raw.Object | None) -> None:
    """Delete the pods, the claims and the budget of a PodClique that is gone."""
    doomed = [(resources.PODS, pod) for pod in pods_named_for(ctx, key)]
    budget = ctx.stores.budgets.get(key.namespace, key.name)
    if budget is not None:
        doomed.append((resources.PDBS, budget))
    left = _unused_claims(ctx, "clique", f"{key.namespace}/{key.name}")
    await _sweep(ctx, resources.PODCLIQUES, key, doomed + left, living)


def pods_named_for(ctx: Context, key: keys.Key) -> list[raw.Object]:
    """Return our pods that carry the PodClique's name: its own, and those of earlier cliques of that name."""
    found = ctx.stores.pods.by_index("clique", f"{key.namespace}/{key.name}")
    return [pod for pod in found if pod["metadata"]["labels"].get(names.LABEL_MANAGED_BY) == names.MANAGED_BY]


def is_orphan(child: raw.Object, owner_kind: str, living_uid: str | None) -> bool:
    """Return whether the object's controller is of this kind and is not the living one.

    An object without a controller was left behind on purpose (`--cascade=orphan`) and is none of ours.
    """
    reference = ownership.controller(child)
    return (
        reference is not None
        and reference["kind"] == owner_kind
        and reference.get("uid") != living_uid
        and not ownership.terminating(child)
    )


def _unused_claims(ctx: Context, index: str, mark: str) -> list[tuple[resources.Resource, raw.Object]]:
    found = ctx.stores.claims.by_index(index, mark)
    return [(resources.RESOURCE_CLAIMS, claim) for claim in found if not claims.is_used(ctx, claim)]


async def _release_domains(ctx: Context, key: keys.Key, living: raw.Object | None) -> None:
    """Take our finalizer off the ComputeDomains of a set that is gone, and delete them."""
    found = ctx.stores.domains.by_index("set", f"{key.namespace}/{key.name}")
    cached = living["metadata"]["uid"] if living is not None else None
    if not any(domains.is_orphan(domain, key.owner_kind, cached) for domain in found):
        return
    uid = await _living_uid(ctx, resources.SETS[key.owner_kind], key)
    orphans = [domain for domain in found if domains.is_orphan(domain, key.owner_kind, uid)]
    await children.together(domains.let_go(ctx, domain) for domain in orphans)


async def _living_uid(ctx: Context, owner: resources.Resource, key: keys.Key) -> str | None:
    """Ask the server who has the owner's name now: caches may be behind, and only it can say that an owner is gone."""
    try:
        uid: str = (await ctx.client.get(owner, key.name, key.namespace))["metadata"]["uid"]
    except errors.NotFound:
        return None
    return uid


async def _sweep(
    ctx: Context,
    owner: resources.Resource,
    key: keys.Key,
    left: Sequence[tuple[resources.Resource, raw.Object]],
    living: raw.Object | None,
) -> None:
    cached = living["metadata"]["uid"] if living is not None else None
    if not any(is_orphan(child, owner.kind, cached) for _, child in left):
        return
    uid = await _living_uid(ctx, owner, key)
    doomed = [(resource, child) for resource, child in left if is_orphan(child, owner.kind, uid)]
    # As the cache knows them: with --cascade=orphan the owner reference may be gone already, unseen by the cache.
    await children.together(children.delete_unchanged(ctx, resource, child) for resource, child in doomed)
