"""Creating, changing and deleting children so that the cache knows at once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping

from grovekeeper.api import names, patch, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.kube.resources import Resource
from grovekeeper.reconciler import ownership
from grovekeeper.reconciler.context import Context

_PARALLEL = 32
_REPLACED = (resources.PODCLIQUES, resources.SCALINGGROUPS)
"""Kinds that are written whole. Their spec is ours alone, so that a field that left the template leaves them too
(server-side apply would keep what the creating request owns). Their replica count is kept from the living one, and
only as long as that one's generation has not changed: a /scale may come in between."""
_DECIDED = (resources.PODGANGS, *_REPLACED)
"""Kinds that carry a decision, made once, or a count of somebody else's: what the cache has not seen is never written
over."""
_SHARED = (*resources.SETS.values(), resources.SCALINGGROUPS)
"""Kinds whose status has other writers (gang termination), or an update's progress, which a request that lands late
must not put back: it is written only over the one that was read."""
_FIXED = (resources.RESOURCE_CLAIMS,)
"""Kinds whose spec is made once, from what may have changed since: only what marks one that exists is put right."""
_CONTROL = ("grove.io/", "grovekeeper.io/")


class Collision(Exception):
    """An object of a child's name belongs to somebody else. Nothing of theirs is touched; the text says what to do."""


async def ensure(ctx: Context, resource: Resource, desired: raw.Object) -> raw.Object:
    """Create the object if it is missing, change it if it differs, and return what is stored.

    Raises Collision where the name is taken, and kube.errors.Conflict (try again) while an object of an earlier owner
    of the same name is still being collected, or where the cache is behind or ahead of what was decided on.
    """
    metadata = desired["metadata"]
    live = ctx.stores.of(resource).get(metadata["namespace"], metadata["name"])
    if live is None:
        if (resource in _FIXED and "spec" not in desired) or (resource in _REPLACED and _spec_of(desired)):
            raise errors.Conflict(f"{resource.kind} {metadata['name']} went while it was looked at: looking again")
        try:
            return await _create(ctx, resource, desired)
        except errors.AlreadyExists as error:
            live = await ctx.client.get(resource, metadata["name"], metadata["namespace"])
            observe(ctx, resource, live)
            if resource in _DECIDED:
                raise errors.Conflict(f"{resource.kind} {metadata['name']} is there already: looking again") from error
    check_owner(resource, live, desired)
    if resource in _FIXED:
        return await _marked(ctx, resource, live, desired)
    if ownership.terminating(live) or not plan.differs(comparable(desired), live):
        return live
    if resource in _REPLACED:
        _check_kept(resource, live, desired)
        operations = replaced(live, desired)
        stored = await ctx.client.patch(resource, metadata["name"], metadata["namespace"], operations, type="json")
    else:
        held = {"resourceVersion": live["metadata"]["resourceVersion"]} if resource in _DECIDED else {}
        wanted = {**desired, "metadata": {**metadata, **held}}
        stored = await ctx.client.apply(resource, wanted, manager=names.FIELD_MANAGER)
    return observe(ctx, resource, stored)


async def ensure_of(ctx: Context, owner: raw.Object, resource: Resource, desired: raw.Object) -> raw.Object:
    """Bring a child of a set, group or clique in line as `ensure` does, unless its owner has changed since it was read.

    Raises kube.errors.Conflict (try again) then: an update may have passed on newer children.
    """
    ownership.check_current(ctx, owner)
    return await ensure(ctx, resource, desired)


async def _marked(ctx: Context, resource: Resource, live: raw.Object, desired: raw.Object) -> raw.Object:
    """Put labels and annotations right, of exactly this object: an apply would make one that is gone anew, in part."""
    marks = comparable(desired)["metadata"]
    if ownership.terminating(live) or not plan.differs({"metadata": marks}, live):
        return live
    stored = await merge(ctx, resource, live, {"metadata": {**marks, "uid": live["metadata"]["uid"]}})
    if stored is None:
        raise errors.Conflict(f"{resource.kind} {live['metadata']['name']} went while it was looked at: looking again")
    return stored


async def _create(ctx: Context, resource: Resource, desired: raw.Object) -> raw.Object:
    live = await ctx.client.create(resource, desired)
    observe(ctx, resource, live)
    if ownership.owner(ctx, live) is None:
        # The owner went while the request was on its way.
        await delete(ctx, resource, live)
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
    except (errors.Conflict, errors.NotFound):
        return


async def delete_unchanged(ctx: Context, resource: Resource, obj: raw.Object) -> None:
    """Delete this object as the cache knows it; raise kube.errors.Conflict (try again) where it has changed since.

    One that is gone is fine.
    """
    metadata = obj["metadata"]
    with contextlib.suppress(errors.NotFound):
        await ctx.client.delete(
            resource,
            metadata["name"],
            metadata.get("namespace"),
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
            propagation="Background",
        )


async def reread(ctx: Context, resource: Resource, obj: raw.Object) -> raw.Object | None:
    """Return exactly this object as the server has it now; None where it is gone. The cache knows it then, too."""
    metadata = obj["metadata"]
    try:
        observe(ctx, resource, await ctx.client.get(resource, metadata["name"], metadata.get("namespace")))
    except errors.NotFound:
        return None
    # From the cache, which may have heard more by the time of the answer.
    return ownership.known(ctx, resource, obj)


def changed(resource: Resource, before: raw.Object, now: raw.Object, refusal: errors.KubeError) -> errors.KubeError:
    """Return what to raise where a write was refused: Conflict (try again) where the object has changed since."""
    if before["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]:
        return refusal
    return errors.Conflict(f"{resource.kind} {now['metadata']['name']} has changed since it was read: looking again")


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
    """Write a status now if it differs, as a merge patch of the status subresource.

    Raises kube.errors.Conflict (try again) where the status is shared and the cache is behind.
    """
    old = live.get("status") or {}
    change = patch.merge(old, status)
    if not change:
        return
    # With the uid, the status of a namesake that came after is never touched.
    guard = {"uid": live["metadata"]["uid"]}
    if resource in _SHARED:
        guard["resourceVersion"] = live["metadata"]["resourceVersion"]
    with contextlib.suppress(*(() if resource in _SHARED else (errors.Conflict,))):
        await merge(ctx, resource, live, {"metadata": guard, "status": change}, subresource="status")


async def merge(
    ctx: Context, resource: Resource, obj: raw.Object, body: raw.Object, *, subresource: str | None = None
) -> raw.Object | None:
    """Write a merge patch and return what is stored; None where the object is gone, or the body's uid is another's."""
    metadata = obj["metadata"]
    try:
        stored = await ctx.client.patch(
            resource, metadata["name"], metadata.get("namespace"), body, type="merge", subresource=subresource
        )
    except errors.NotFound:
        return None
    except errors.Invalid as error:
        if error.is_of_another:
            return None
        raise
    return observe(ctx, resource, stored)


async def annotate(
    ctx: Context, resource: Resource, obj: raw.Object, values: Mapping[str, str | None]
) -> raw.Object | None:
    """Write annotations (None removes one) and return what is stored; None where the object is gone or another one."""
    return await merge(ctx, resource, obj, {"metadata": {"uid": obj["metadata"]["uid"], "annotations": {**values}}})


def observe(ctx: Context, resource: Resource, obj: raw.Object) -> raw.Object:
    """Put the server's answer in the cache, and return it."""
    obj["metadata"].pop("managedFields", None)
    ctx.stores.of(resource).observe(obj)
    return obj


def comparable(desired: raw.Object) -> raw.Object:
    """Return the part of a desired object that is compared with the living one."""
    metadata = desired["metadata"]
    kept = {key: metadata[key] for key in ("labels", "annotations") if key in metadata}
    return {
        **{key: value for key, value in desired.items() if key not in ("metadata", "apiVersion", "kind")},
        "metadata": kept,
    }


def replaced(live: raw.Object, desired: raw.Object) -> list[raw.PatchOp]:
    """Return what gives the living object the desired spec, labels and annotations; control annotations stay."""
    old = live["metadata"].get("annotations") or {}
    kept = {key: value for key, value in old.items() if key.startswith(_CONTROL)}
    return [
        patch.replace("/metadata/resourceVersion", live["metadata"]["resourceVersion"]),
        patch.add("/metadata/labels", desired["metadata"]["labels"]),
        patch.add("/metadata/annotations", {**kept, **(desired["metadata"].get("annotations") or {})}),
        patch.replace("/spec", desired["spec"]),
    ]


def keeping(desired: raw.Object, live: raw.Object | None) -> raw.Object:
    """Return the desired PodClique or scaling group, whose count was kept from this living one, bound to its spec.

    It is written over exactly this generation, and made where there was none: the cache may hear of a /scale after the
    count was looked at and before the object is written.
    """
    return desired if live is None else {**desired, "metadata": {**desired["metadata"], **_spec_of(live)}}


def _check_kept(resource: Resource, live: raw.Object, desired: raw.Object) -> None:
    if _spec_of(desired) != _spec_of(live):
        raise errors.Conflict(f"{resource.kind} {live['metadata']['name']} has changed since: looking again")


def _spec_of(obj: raw.Object) -> raw.Object:
    return {key: obj["metadata"][key] for key in ("uid", "generation") if key in obj["metadata"]}


def check_owner(resource: Resource, live: raw.Object, desired: raw.Object) -> None:
    """Raise Collision where a living object is not ours to change, and Conflict while an earlier owner's goes."""
    wanted = desired["metadata"]["ownerReferences"][0]
    found = ownership.controller(live)
    name = live["metadata"]["name"]
    if found is not None and found.get("uid") == wanted["uid"]:
        return
    if found is not None and (found["kind"], found["name"]) == (wanted["kind"], wanted["name"]):
        raise errors.Conflict(f"{resource.kind} {name} of a deleted {found['kind']} of the same name is still there")
    if ownership.terminating(live):
        raise errors.Conflict(f"{resource.kind} {name} of another owner is still being deleted")
    holder = f"{found['kind']} {found['name']}" if found is not None else "nobody of ours"
    raise Collision(
        f"{resource.kind} {name} exists and belongs to {holder}: remove it, or give {wanted['kind']} "
        f"{wanted['name']} another name"
    )
