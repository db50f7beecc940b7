"""Creating, changing and deleting children so that the cache knows at once."""

import asyncio
from collections.abc import Awaitable, Iterable

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors
from grovekeeper.kube.resources import Resource
from grovekeeper.reconciler.context import Context

_PARALLEL = 32


async def ensure(ctx: Context, resource: Resource, desired: raw.Object) -> raw.Object | None:
    """Create the object if it is missing, apply it if it differs, and return what is stored.

    Returns None where an object of this name belongs to somebody else: an event on the owner says so, nothing of
    theirs is touched.
    """
    metadata = desired["metadata"]
    store = ctx.stores.of(resource)
    live = store.get(metadata["namespace"], metadata["name"])
    if live is None:
        try:
            live = await ctx.client.create(resource, desired)
            _observe(ctx, resource, live)
            return live
        except errors.AlreadyExists:
            live = await ctx.client.get(resource, metadata["name"], metadata["namespace"])
    if not _is_ours(live, desired):
        owner = metadata["ownerReferences"][0]
        about = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "metadata": {"name": owner["name"], "namespace": metadata["namespace"], "uid": owner["uid"]},
        }
        text = f"{resource.kind} {metadata['name']} exists and belongs to another owner: rename the set or remove it"
        ctx.events.warning(about, "NameCollision", text, ctx.clock.stamp())
        return None
    if live["metadata"].get("deletionTimestamp"):
        return live
    if plan.differs(_comparable(desired), live):
        live = await ctx.client.apply(resource, desired, manager=names.FIELD_MANAGER)
        _observe(ctx, resource, live)
    return live


async def delete(ctx: Context, resource: Resource, obj: raw.Object, *, grace: int | None = None) -> None:
    """Delete exactly this object (by uid); one that is gone or replaced already is fine."""
    metadata = obj["metadata"]
    try:
        await ctx.client.delete(
            resource,
            metadata["name"],
            metadata.get("namespace"),
            uid=metadata["uid"],
            grace=grace,
            propagation="Background",
        )
    except errors.Conflict:
        return


async def together(jobs: Iterable[Awaitable[object]]) -> None:
    """Run jobs side by side, at most 32 at a time; the first error is raised after all have ended."""
    limit = asyncio.Semaphore(_PARALLEL)

    async def one(job: Awaitable[object]) -> object:
        async with limit:
            return await job

    results = await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def write_status(ctx: Context, resource: Resource, live: raw.Object, status: raw.Object) -> None:
    """Write a status if it differs, as a merge patch of the status subresource."""
    old = live.get("status") or {}
    if old == status:
        return
    change = {key: value for key, value in status.items() if old.get(key) != value}
    change.update({key: None for key in old if key not in status})
    metadata = live["metadata"]
    body = {"metadata": {"uid": metadata["uid"]}, "status": change}
    try:
        stored = await ctx.client.patch(
            resource, metadata["name"], metadata["namespace"], body, type="merge", subresource="status"
        )
    except (errors.NotFound, errors.Conflict, errors.Invalid):
        return
    _observe(ctx, resource, stored)


def _observe(ctx: Context, resource: Resource, obj: raw.Object) -> None:
    obj["metadata"].pop("managedFields", None)
    ctx.stores.of(resource).observe(obj)


def _is_ours(live: raw.Object, desired: raw.Object) -> bool:
    wanted = desired["metadata"]["ownerReferences"][0]["uid"]
    return any(ref["uid"] == wanted for ref in live["metadata"].get("ownerReferences") or ())


def _comparable(desired: raw.Object) -> raw.Object:
    metadata = desired["metadata"]
    kept = {key: metadata[key] for key in ("labels", "annotations") if key in metadata}
    return {
        **{key: value for key, value in desired.items() if key not in ("metadata", "apiVersion", "kind")},
        "metadata": kept,
    }
