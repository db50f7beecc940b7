"""Who owns whom, by UID: a set deleted and made again under the same name is another owner."""

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler.context import Context

_RESOURCES = {**resources.SETS, names.SCALINGGROUP: resources.SCALINGGROUPS, names.PODCLIQUE: resources.PODCLIQUES}


def controller(obj: raw.Object) -> raw.Object | None:
    """Return the controlling owner reference, or None."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def living(ctx: Context, obj: raw.Object) -> bool:
    """Return whether exactly this object is still in the cache and not being deleted."""
    found = known(ctx, _RESOURCES[obj["kind"]], obj)
    return found is not None and not terminating(found)


def known(ctx: Context, resource: resources.Resource, obj: raw.Object) -> raw.Object | None:
    """Return exactly this object as the cache has it now; None where it is gone, also where a namesake has come."""
    found = ctx.stores.of(resource).get(obj["metadata"].get("namespace"), obj["metadata"]["name"])
    return found if found is not None and _is(found, obj["metadata"].get("uid")) else None


def owner(ctx: Context, obj: raw.Object) -> raw.Object | None:
    """Return the living object that controls this one, or None: then nothing may be created for it any more."""
    reference = controller(obj)
    if reference is None or reference["kind"] not in _RESOURCES:
        return None
    store = ctx.stores.of(_RESOURCES[reference["kind"]])
    found = store.get(obj["metadata"].get("namespace"), reference["name"])
    return found if found is not None and _is(found, reference.get("uid")) and not terminating(found) else None


def set_of(ctx: Context, obj: raw.Object) -> raw.Object | None:
    """Return the living set at the top of a child's chain of owners; None where any link is gone or going."""
    found = owner(ctx, obj)
    while found is not None and found["kind"] not in resources.SETS:
        found = owner(ctx, found)
    return found


def terminating(obj: raw.Object) -> bool:
    """Return whether the object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def check_current(ctx: Context, obj: raw.Object) -> None:
    """Raise kube.errors.Conflict (try again) where the cache knows of a newer spec of a set, group or clique.

    For writes that are decided on before and done after something else was waited for.
    """
    found = ctx.stores.of(_RESOURCES[obj["kind"]]).get(obj["metadata"].get("namespace"), obj["metadata"]["name"])
    if found is None or not _is(found, obj["metadata"].get("uid")) or _asked(found) != _asked(obj):
        raise errors.Conflict(f"{obj['kind']} {obj['metadata']['name']} has changed since: looking again")


async def check_confirmed(ctx: Context, obj: raw.Object) -> None:
    """Do as `check_current` does, by what the API server says: before something is taken away that the cache has heard
    of, while it may not have heard yet that it is wanted again. The cache knows the answer then, too.
    """
    metadata = obj["metadata"]
    resource = _RESOURCES[obj["kind"]]
    try:
        live = await ctx.client.get(resource, metadata["name"], metadata.get("namespace"))
    except errors.NotFound:
        raise errors.Conflict(f"{obj['kind']} {metadata['name']} is gone: looking again") from None
    live["metadata"].pop("managedFields", None)
    ctx.stores.of(resource).observe(live)
    check_current(ctx, obj)


def _asked(obj: raw.Object) -> tuple[object, ...]:
    """Return what stands for all that children are made from: the spec, and the extra replicas of an update."""
    dialect = names.DIALECTS.get(obj["kind"])
    progress = ((obj.get("status") or {}).get(dialect.progress_field) or {}) if dialect is not None else {}
    return obj["metadata"].get("generation"), terminating(obj), progress.get("surgeReplicas", 0)


def _is(obj: raw.Object, uid: str | None) -> bool:
    return bool(obj["metadata"].get("uid") == uid)
