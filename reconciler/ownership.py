"""Who owns whom, by UID: a set deleted and made again under the same name is another owner."""

from grovekeeper.api import names, raw
from grovekeeper.kube import resources
from grovekeeper.reconciler.context import SET_RESOURCES, Context

_RESOURCES = {**SET_RESOURCES, names.SCALINGGROUP: resources.SCALINGGROUPS, names.PODCLIQUE: resources.PODCLIQUES}


def controller(obj: raw.Object) -> raw.Object | None:
    """Return the controlling owner reference, or None."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def living(ctx: Context, obj: raw.Object) -> bool:
    """Return whether exactly this object is still in the cache and not being deleted."""
    resource = _RESOURCES[obj["kind"]]
    found = ctx.stores.of(resource).get(obj["metadata"].get("namespace"), obj["metadata"]["name"])
    return found is not None and _is(found, obj["metadata"].get("uid")) and not terminating(found)


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
    while found is not None and found["kind"] not in SET_RESOURCES:
        found = owner(ctx, found)
    return found


def terminating(obj: raw.Object) -> bool:
    """Return whether the object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def _is(obj: raw.Object, uid: str | None) -> bool:
    return bool(obj["metadata"].get("uid") == uid)
