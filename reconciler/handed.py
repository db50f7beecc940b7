"""From events of other schedulers' kinds to keys: what was handed over, and what waits to be. Reads caches only."""

from collections.abc import Callable, Iterable, Iterator

from grovekeeper.api import names, queues, raw
from grovekeeper.expand.backends import kai, known
from grovekeeper.reconciler import keys
from grovekeeper.reconciler.context import Context

Keyed = Iterable[tuple[str, float]]
_DELAY = 0.05


def is_over(podgang: raw.Object) -> bool:
    """Return whether another scheduler places this PodGang."""
    found = (podgang["metadata"].get("labels") or {}).get(names.LABEL_SCHEDULER, names.SCHEDULER_STOCK)
    return bool(found != names.SCHEDULER_STOCK)


def on_group(_ctx: Context, old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodGroup of one of our gangs: somebody changed or removed it, or its scheduler says something new."""
    obj = new or old
    if obj is None or (old is None and new is not None):
        return ()
    metadata = obj["metadata"]
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    if owner is None or owner["kind"] != names.PODGANG:
        return ()
    if old is not None and new is not None and _mark(old) == _mark(new):
        return ()
    return [(keys.gang(metadata["namespace"], owner["name"]), 0.0)]


def _mark(obj: raw.Object) -> tuple[object, ...]:
    found = next((each for each in known.BACKENDS.values() if each.api_version == obj["apiVersion"]), None)
    return obj.get("spec"), obj["metadata"].get("labels"), found.why_not(obj) if found is not None else None


def on_queue(ctx: Context, old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A queue that came, went, opened or closed: the sets that name it."""
    obj = new or old
    if obj is None or (old is not None and new is not None and _state(old) == _state(new)):
        return ()
    name = obj["metadata"]["name"]
    return [(_status_key(found), _DELAY) for found in _sets(ctx) if name in (queues.kai(found), queues.volcano(found))]


def _state(queue: raw.Object) -> object:
    return (queue.get("status") or {}).get("state")


def on_topology(ctx: Context, old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A topology object: the bindings that it stands for."""
    obj = new or old
    if obj is None or (old is not None and new is not None and old.get("spec") == new.get("spec")):
        return ()
    name = obj["metadata"]["name"]
    found = [each for each in ctx.stores.topologies.all() if name in (each["metadata"]["name"], kai.reference(each))]
    return [(keys.binding(each["metadata"]["name"]), 0.0) for each in found]


MAPPERS: dict[str, Callable[[Context, raw.Object | None, raw.Object | None], Keyed]] = {
    "podgroups": on_group,
    "queues": on_queue,
    "topologies": on_topology,
}


def waiting(ctx: Context) -> list[str]:
    """Return the keys of everything that a kind may have been missing for: handed-over gangs, their sets, bindings."""
    found = [keys.binding(each["metadata"]["name"]) for each in ctx.stores.topologies.all()]
    for obj in _sets(ctx):
        found.append(_status_key(obj))
        w = ctx.workload(obj)
        for clique in ctx.stores.cliques.by_index("set", f"{w.namespace}/{w.name}"):
            gang = (clique["metadata"].get("labels") or {}).get(names.LABEL_PODGANG)
            if gang is not None:
                found.append(keys.gang(w.namespace, gang))
    return list(dict.fromkeys(found))


def _sets(ctx: Context) -> Iterator[raw.Object]:
    """Yield the sets whose gangs other schedulers place."""
    for obj in (*ctx.stores.sets.all(), *ctx.stores.clique_sets.all()):
        if ctx.workload(obj).scheduler != names.SCHEDULER_STOCK:
            yield obj


def _status_key(obj: raw.Object) -> str:
    return keys.set_status(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
