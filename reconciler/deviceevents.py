"""From events of claims, domains and templates to keys: part of the dispatcher's mapping."""

from collections.abc import Iterable

from grovekeeper.api import names, raw
from grovekeeper.reconciler import caches, keys, ownership

Keyed = Iterable[tuple[str, float]]
"""Keys with the delay, in seconds, after which they are due."""


def on_claim(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A ResourceClaim of ours that somebody deletes is made again; one of an earlier owner makes room."""
    obj = new or old
    if obj is None or (new is not None and (old is None or ownership.terminating(old) == ownership.terminating(new))):
        return ()
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    if names.LABEL_PODCLIQUE in labels:
        return [(keys.clique(metadata["namespace"], labels[names.LABEL_PODCLIQUE]), 0.0)]
    if names.LABEL_SCALINGGROUP in labels:
        return [(keys.group(metadata["namespace"], labels[names.LABEL_SCALINGGROUP]), 0.0)]
    return _devices_of_sets(metadata, _owner_kinds(metadata))


def on_domain(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A ComputeDomain that is being deleted (also before our start) waits for our finalizer; a gone one comes back."""
    obj = new or old
    if obj is None or (new is not None and not ownership.terminating(new)):
        return ()
    return _devices_of_sets(obj["metadata"], _owner_kinds(obj["metadata"]))


def _owner_kinds(metadata: raw.Object) -> list[str]:
    """Return the kind of set that controls the object; either may, where the reference is gone (--cascade=orphan)."""
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    return [owner["kind"]] if owner is not None else list(names.DIALECTS)


def _devices_of_sets(metadata: raw.Object, kinds: Iterable[str]) -> list[tuple[str, float]]:
    part_of = (metadata.get("labels") or {}).get(names.LABEL_PART_OF)
    found = [kind for kind in kinds if kind in names.DIALECTS and part_of]
    return [(keys.devices(kind, metadata["namespace"], str(part_of)), 0.0) for kind in found]


def of_gone_pod(pod: raw.Object) -> list[tuple[str, float]]:
    """Return the keys of the levels whose claims a pod that is gone has named; its clique's is there already."""
    named = [entry.get("resourceClaimName") or "" for entry in pod["spec"].get("resourceClaims") or ()]
    if not named:
        return []
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    found: list[tuple[str, float]] = []
    group = labels.get(names.LABEL_SCALINGGROUP)
    if group is not None and any(name.startswith(f"{group}-") for name in named):
        found.append((keys.group(metadata["namespace"], group), 0.0))
    kinds = [dialect.kind for dialect in names.DIALECTS.values() if dialect.label_replica_index in labels]
    return found + _devices_of_sets(metadata, kinds)


def waiting_for(stores: caches.Stores, template: raw.Object) -> list[str]:
    """Return the keys of everything that may wait for this ResourceClaimTemplate, which is there now."""
    mark = f"{template['metadata']['namespace']}/{template['metadata']['name']}"
    result = []
    for found in [*stores.sets.by_index("template", mark), *stores.clique_sets.by_index("template", mark)]:
        namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
        children = f"{namespace}/{name}"
        result.append(keys.set_key(found["kind"], namespace, name))
        result += [keys.group(namespace, g["metadata"]["name"]) for g in stores.groups.by_index("set", children)]
        result += [keys.clique(namespace, c["metadata"]["name"]) for c in stores.cliques.by_index("set", children)]
    return result
