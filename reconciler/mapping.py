"""From events of our own and the cluster's kinds to keys: which event makes which object worth looking at again.

Pure. What also takes a look at the caches is in `dispatcher`; kinds of devices are in `deviceevents`, those of other
schedulers in `handed`.
"""

from collections.abc import Callable, Iterable

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import naming, plan
from grovekeeper.placement import shape
from grovekeeper.reconciler import budgets, decisions, deviceevents, handed, keys

STATUS_DELAY = 0.5
ROOM_DELAY = 0.1
Keyed = Iterable[tuple[str, float]]
"""Keys with the delay, in seconds, after which they are due."""


def on_set(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A set: its spec, its deletion, or the annotation that asks for a look."""
    obj = new or old
    if obj is None:
        return ()
    metadata = obj["metadata"]
    if old is not None and new is not None and _spec_mark(old) == _spec_mark(new) and _surge(old) == _surge(new):
        return ()
    return [(keys.set_key(obj["kind"], metadata["namespace"], metadata["name"]), 0.0)]


def on_clique(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodClique: its pods when its spec changes or it goes, its owner when its status changes or it goes."""
    obj = new or old
    if obj is None:
        return ()
    metadata = obj["metadata"]
    found: list[tuple[str, float]] = []
    if old is None or new is None or _spec_mark(old) != _spec_mark(new):
        found.append((keys.clique(metadata["namespace"], metadata["name"]), 0.0))
        found += gang_keys(metadata)
    if new is None or old is None or old.get("status") != new.get("status") or _going(old) != _going(new):
        found += _owner_keys(obj, deleted=new is None)
    return found


def on_group(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodCliqueScalingGroup: its members and gangs when its spec changes, the set when its status changes."""
    obj = new or old
    if obj is None:
        return ()
    metadata = obj["metadata"]
    if new is None:
        itself = (keys.group(metadata["namespace"], metadata["name"]), 0.0)
        return [itself, *_scaled_gangs(obj, 0), *_owner_keys(obj, deleted=True)]
    found: list[tuple[str, float]] = []
    if old is None or _spec_mark(old) != _spec_mark(new):
        found.append((keys.group(metadata["namespace"], metadata["name"]), 0.0))
        found += _scaled_gangs(old, new["spec"].get("replicas", 1)) if old is not None else ()
    if old is not None and old.get("status") != new.get("status"):
        found += _set_status(obj)
    return found


def on_pod(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A pod: of ours, its clique and gang; of anybody, room where it goes."""
    obj = new or old
    if obj is None or (old is not None and new is not None and _pod_mark(old) == _pod_mark(new)):
        return [(keys.ROOM, ROOM_DELAY)] if _shrunk(old, new) else ()
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    found: list[tuple[str, float]] = []
    if labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY and names.LABEL_PODCLIQUE in labels:
        found.append((keys.clique(metadata["namespace"], labels[names.LABEL_PODCLIQUE]), 0.0))
        found += gang_keys(metadata)
    if new is None or plan.finished(new):
        found += deviceevents.of_gone_pod(obj)
    if (new is None or plan.finished(new)) and (obj["spec"].get("nodeName") or found):
        # A pod of ours without a node may have had room kept for it.
        found.append((keys.ROOM, ROOM_DELAY))
    return found


def on_node(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A node: room, where anything that placement reads has changed."""
    if new is not None and old is not None and _node_mark(old) == _node_mark(new):
        return ()
    return [(keys.ROOM, ROOM_DELAY)]


def on_gang(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodGang that somebody deleted is written again if it is wanted; what its set tells of it wakes the set."""
    if new is None and old is not None:
        return gang_keys({**old["metadata"], "labels": {names.LABEL_PODGANG: old["metadata"]["name"]}})
    if new is None:
        return ()
    told = handed.is_over(new) and (old or {}).get("status") != new.get("status")
    return _set_status(new) if told or decisions.preempted(old) != decisions.preempted(new) else ()


def on_companion(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A Service, autoscaler or RBAC object: put it right when somebody changed or removed it."""
    obj = new or old
    if obj is None or (old is None and new is not None):
        return ()
    if new is not None and old is not None and same_spec(old, new):
        return ()
    return _owner_keys(obj, deleted=True)


def on_budget(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodDisruptionBudget of ours: its PodClique, when somebody changed or removed it."""
    obj = new or old
    if obj is None or not budgets.is_ours(obj) or (new is not None and (old is None or same_spec(old, new))):
        return ()
    clique = obj["metadata"]["labels"].get(names.LABEL_PODCLIQUE)
    return [(keys.clique(obj["metadata"]["namespace"], clique), 0.0)] if clique else []


def same_spec(old: raw.Object, new: raw.Object) -> bool:
    """Return whether nothing that somebody asks for differs between two versions of an object."""
    return _spec_mark(old) == _spec_mark(new) and old.get("spec") == new.get("spec")


def _owner_keys(obj: raw.Object, *, deleted: bool) -> list[tuple[str, float]]:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    found = _set_status(obj)
    group = labels.get(names.LABEL_SCALINGGROUP)
    if group is not None:
        found.append((keys.group(metadata["namespace"], group), 0.0))
    elif deleted:
        found += _parent_keys(metadata)
    return found


def _scaled_gangs(group: raw.Object, kept: int) -> list[tuple[str, float]]:
    """Return the keys of the gangs of a group's replicas beyond `kept`: those are no longer wanted."""
    metadata, spec = group["metadata"], group["spec"]
    minimum = spec.get("minAvailable") or 1
    gone = range(max(kept, minimum), spec.get("replicas", 1))
    return [(keys.gang(metadata["namespace"], naming.scaled_gang(metadata["name"], j, minimum)), 0.0) for j in gone]


def _parent_keys(metadata: raw.Object) -> list[tuple[str, float]]:
    labels = metadata.get("labels") or {}
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    if owner is None or owner["kind"] not in names.DIALECTS:
        return []
    index = labels.get(names.DIALECTS[owner["kind"]].label_replica_index)
    namespace = metadata["namespace"]
    if index is None:
        return [(keys.set_key(owner["kind"], namespace, owner["name"]), 0.0)]
    return [(keys.replica(owner["kind"], namespace, owner["name"], int(index)), 0.0)]


def _set_status(obj: raw.Object) -> list[tuple[str, float]]:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    for dialect in names.DIALECTS.values():
        if dialect.label_replica_index in labels:
            key = keys.set_status(dialect.kind, metadata["namespace"], labels[names.LABEL_PART_OF])
            return [(key, STATUS_DELAY)]
    return []


def gang_keys(metadata: raw.Object) -> list[tuple[str, float]]:
    """Return the key of the gang that an object with this metadata belongs to, if any."""
    gang = (metadata.get("labels") or {}).get(names.LABEL_PODGANG)
    return [(keys.gang(metadata["namespace"], gang), 0.0)] if gang else []


def _spec_mark(obj: raw.Object) -> tuple[object, ...]:
    metadata = obj["metadata"]
    asked = metadata.get("annotations") or {}
    wishes = asked.get(names.ANNOTATION_RECONCILE), asked.get(names.ANNOTATION_BUDGET)
    return metadata.get("generation"), _going(obj), wishes, metadata.get("labels")


def _surge(obj: raw.Object) -> int:
    """Return how many extra replicas an update runs: they come and go with the status."""
    field = names.DIALECTS[obj["kind"]].progress_field
    found: int = ((obj.get("status") or {}).get(field) or {}).get("surgeReplicas", 0)
    return found


def _going(obj: raw.Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def _pod_mark(pod: raw.Object) -> tuple[object, ...]:
    status = pod.get("status") or {}
    ready = conditions.find(status.get("conditions"), "Ready")
    scheduled = conditions.find(status.get("conditions"), "PodScheduled")
    started = tuple(bool(entry.get("started")) for entry in status.get("containerStatuses") or ())
    crashed = tuple("terminated" in (entry.get("lastState") or {}) for entry in status.get("containerStatuses") or ())
    return (
        pod["spec"].get("nodeName"),
        [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()],
        status.get("phase"),
        ready and ready["status"],
        scheduled and (scheduled["status"], scheduled.get("reason")),
        _going(pod),
        started,
        crashed,
    )


def _shrunk(old: raw.Object | None, new: raw.Object | None) -> bool:
    """Return whether a pod that was resized in place takes less of its node than before."""
    if old is None or new is None or not new["spec"].get("nodeName") or shape.sizes(old) == shape.sizes(new):
        return False
    try:
        before, now = shape.held(old), shape.held(new)
    except ValueError:
        return False
    return any(now.get(name, 0) < amount for name, amount in before.items())


def _node_mark(node: raw.Object) -> tuple[object, ...]:
    status = node.get("status") or {}
    labels = node["metadata"].get("labels")
    return labels, node.get("spec"), status.get("allocatable"), shape.ready(node)


MAPPERS: dict[str, Callable[[raw.Object | None, raw.Object | None], Keyed]] = {
    "podgangsets": on_set,
    "podcliquesets": on_set,
    "podcliques": on_clique,
    "podcliquescalinggroups": on_group,
    "podgangs": on_gang,
    "pods": on_pod,
    "nodes": on_node,
    "services": on_companion,
    "serviceaccounts": on_companion,
    "roles": on_companion,
    "rolebindings": on_companion,
    "horizontalpodautoscalers": on_companion,
    "controllerrevisions": on_companion,
    "resourceclaims": deviceevents.on_claim,
    "computedomains": deviceevents.on_domain,
    "poddisruptionbudgets": on_budget,
}
