"""What an owner that is gone has left behind.

Kubernetes' garbage collector removes it as well, through owner references, but at its own pace: it deletes some twenty
objects a second. We know what is left and delete it at once; whoever comes second finds nothing.
"""

from collections.abc import Iterable, Sequence

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, keys, ownership
from grovekeeper.reconciler.context import SET_RESOURCES, Context

_OF_SETS = (
    resources.HPAS,
    resources.SCALINGGROUPS,
    resources.PODCLIQUES,
    resources.PODGANGS,
    resources.SERVICES,
)


async def of_set(ctx: Context, key: keys.Key) -> None:
    """Delete the children of a set that is gone, then have the groups and cliques among them looked after."""
    mark = f"{key.namespace}/{key.name}"
    left = [(resource, child) for resource in _OF_SETS for child in ctx.stores.of(resource).by_index("set", mark)]
    await _sweep(ctx, SET_RESOURCES[key.owner_kind], key, left)
    groups = [child for resource, child in left if resource is resources.SCALINGGROUPS]
    cliques = [child for resource, child in left if resource is resources.PODCLIQUES]
    await ctx.enqueue(
        *(keys.group(key.namespace, group["metadata"]["name"]) for group in groups),
        *(keys.clique(key.namespace, clique["metadata"]["name"]) for clique in cliques),
    )


async def of_group(ctx: Context, key: keys.Key) -> None:
    """Delete the PodCliques of a scaling group that is gone."""
    left = ctx.stores.cliques.by_index("group", f"{key.namespace}/{key.name}")
    await _sweep(ctx, resources.SCALINGGROUPS, key, [(resources.PODCLIQUES, clique) for clique in left])
    await ctx.enqueue(*(keys.clique(key.namespace, clique["metadata"]["name"]) for clique in left))


async def of_clique(ctx: Context, key: keys.Key) -> None:
    """Delete the pods of a PodClique that is gone."""
    left = ctx.stores.pods.by_index("clique", f"{key.namespace}/{key.name}")
    managed = [pod for pod in left if pod["metadata"]["labels"].get(names.LABEL_MANAGED_BY) == names.MANAGED_BY]
    await _sweep(ctx, resources.PODCLIQUES, key, [(resources.PODS, pod) for pod in managed])


def orphans(children_of: Iterable[raw.Object], owner_kind: str, living_uid: str | None) -> list[raw.Object]:
    """Return the objects whose controller is of this kind and is not the living one.

    An object without a controller was left behind on purpose (`--cascade=orphan`) and is none of ours.
    """
    return [
        child
        for child in children_of
        if (reference := ownership.controller(child)) is not None
        and reference["kind"] == owner_kind
        and reference.get("uid") != living_uid
        and not ownership.terminating(child)
    ]


async def _sweep(
    ctx: Context,
    owner: resources.Resource,
    key: keys.Key,
    left: Sequence[tuple[resources.Resource, raw.Object]],
) -> None:
    """Delete what is orphaned, after the server itself has said that the owner is gone: caches may be behind."""
    if not left:
        return
    try:
        live = await ctx.client.get(owner, key.name, key.namespace)
        uid = live["metadata"].get("uid")
    except errors.NotFound:
        uid = None
    doomed = {id(child) for child in orphans((child for _, child in left), owner.kind, uid)}
    await children.together(children.delete(ctx, resource, child) for resource, child in left if id(child) in doomed)
