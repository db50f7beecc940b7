"""What a pod asks of a node: its request vector and its eligibility rules, from the raw pod spec.

Requests follow kube-scheduler's formula: the larger of (containers + sidecars) and each init container with the
sidecars started before it, plus overhead; pod-level resources replace the sum for the resources that they name.
A host port is a resource of which every node has one: `hostPort/8080/TCP`. Ports on different host addresses would not
be in each other's way; counting them as if they were refuses a node too many, never one too few.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from grovekeeper.api import quantity, raw

Requests = dict[str, int]
_CONTAINERS = "containers", "initContainers"
_STATUSES = "containerStatuses", "initContainerStatuses"
_PENDING = "PodResizePending"
_EFFECTS = ("NoSchedule", "NoExecute")
_UNSCHEDULABLE: raw.Object = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


_OUT_OF_SERVICE = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Taints that Kubernetes takes away when a node is well again, or uncordoned."""
HOST_PORT = "hostPort/"
HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class Shape:
    """A pod's needs. `one_per_node`: its required anti-affinity repels pods like itself on one host."""

    requests: Requests
    spec: raw.Object
    one_per_node: bool


def requests(spec: raw.Object) -> Requests:
    """Return what the pod asks for, by resource, in integers (cpu in milli). Raises ValueError for a bad quantity."""
    total: Requests = {}
    for container in spec.get("containers") or ():
        _add(total, _of(container))
    sidecars: Requests = {}
    peak: Requests = {}
    for container in spec.get("initContainers") or ():
        mine = _of(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, mine)
            mine = {}
        _raise(peak, {name: sidecars.get(name, 0) + mine.get(name, 0) for name in {*sidecars, *mine}})
    _add(total, sidecars)
    _raise(total, peak)
    pod_level = (spec.get("resources") or {}).get("requests") or {}
    total.update({name: quantity.amount(name, text) for name, text in pod_level.items()})
    _add(total, {name: quantity.amount(name, text) for name, text in (spec.get("overhead") or {}).items()})
    total.update(dict.fromkeys(_host_ports(spec), 1))
    below = next((name for name, amount in total.items() if amount < 0), None)
    if below is not None:
        raise ValueError(f"{below}: {total[below]} is below zero: ask for nothing or for something")
    return {name: amount for name, amount in total.items() if amount}


def sizes(pod: raw.Object) -> list[object]:
    """Return what `held` reads that can change while a pod is on its node: a heartbeat costs no arithmetic."""
    spec, status = pod["spec"], pod.get("status") or {}
    asked = [each.get("resources") for field in _CONTAINERS for each in spec.get(field) or ()]
    has = [
        (each.get("name"), each.get("allocatedResources"), each.get("resources"))
        for field in _STATUSES
        for each in status.get(field) or ()
    ]
    refused = [each.get("reason") for each in status.get("conditions") or () if each.get("type") == _PENDING]
    return [asked, spec.get("resources"), has, refused]


def held(pod: raw.Object) -> Requests:
    """Return what a pod on a node takes there: while it is resized in place, the larger of what it asks for and has.

    Source: PodRequests of k8s.io/component-helpers, as kube-scheduler calls it. Raises ValueError for a bad quantity.
    """
    spec, status = pod["spec"], pod.get("status") or {}
    fields = tuple(zip(_CONTAINERS, _STATUSES, strict=True))
    told = {field: {entry.get("name"): entry for entry in status.get(key) or ()} for field, key in fields}
    if not any(told.values()):
        return requests(spec)
    refused = any(
        (entry.get("type"), entry.get("reason")) == (_PENDING, "Infeasible") for entry in status.get("conditions") or ()
    )
    now: raw.Object = {
        field: [_resized(each, told[field].get(each.get("name")) or {}, refused) for each in spec.get(field) or ()]
        for field, _key in fields
    }
    return requests({**spec, **now})


def _resized(container: raw.Object, status: raw.Object, refused: bool) -> raw.Object:
    """Return a container that asks for what its status says where that is more, or where its resize was refused."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    has = [status.get("allocatedResources") or {}, (status.get("resources") or {}).get("requests") or {}]
    if not any(has) or all(asked == each for each in has if each):
        return container
    most: raw.Object = {}
    for each in (*(() if refused else (asked,)), *has):
        for name, text in each.items():
            if name not in most or quantity.amount(name, text) > quantity.amount(name, most[name]):
                most[name] = text
    return {**container, "resources": {"requests": most}}


def shape(spec: raw.Object, labels: Mapping[str, str]) -> Shape:
    """Return the shape of a pod."""
    return Shape(requests(spec), spec, _avoids_itself(spec, labels))


def scarcest(names: Iterable[str]) -> str | None:
    """Return the resource by which nodes differ most, by its name: an extended one before cpu; None where none is."""
    found = [name for name in names if not name.startswith(HOST_PORT)]
    return min(found, key=lambda name: "/" not in name, default=None)


def likeness(spec: raw.Object) -> list[object]:
    """Return what decides a pod's shape: pods whose likenesses are equal can take each other's place.

    Names, images and environment differ between the pods of a clique and do not matter.
    """
    parts: list[object] = [
        (entry.get("resources"), entry.get("ports"), entry.get("restartPolicy"))
        for field in ("containers", "initContainers")
        for entry in spec.get(field) or ()
    ]
    fields = ("nodeSelector", "affinity", "tolerations", "overhead", "resources", "hostNetwork")
    return [*parts, *(spec.get(field) for field in fields)]


def eligibility(spec: raw.Object) -> str:
    """Return a key of everything in a spec that `refusal` reads."""
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return json.dumps([spec.get("nodeSelector"), affinity, spec.get("tolerations")], sort_keys=True)


def refusal(spec: raw.Object, node: raw.Object) -> str | None:
    """Return why a node cannot take the pod whatever room it has ("taint gpu=true:NoSchedule"), or None."""
    if not ready(node):
        return "not ready"
    taint = _untolerated(spec.get("tolerations") or (), node)
    if taint:
        return f"taint {taint}"
    labels = node["metadata"].get("labels") or {}
    selector = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return "nodeSelector"
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity and not any(_term(term, labels, node["metadata"]["name"]) for term in affinity["nodeSelectorTerms"]):
        return "node affinity"
    return None


def in_service(node: raw.Object) -> raw.Object:
    """Return a node as it would be if it were ready, uncordoned and under no pressure; one that is deleted stays so."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    taints = [taint for taint in spec.get("taints") or () if not taint["key"].startswith(_OUT_OF_SERVICE)]
    return {
        **node,
        "spec": {**spec, "unschedulable": False, "taints": taints},
        "status": {**status, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def ready(node: raw.Object) -> bool:
    """Return whether the node's Ready condition is True (kube-scheduler relies on taints, which come later)."""
    if node["metadata"].get("deletionTimestamp"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def allocatable(node: raw.Object) -> Requests:
    """Return what a node offers, `pods` included."""
    status = node.get("status") or {}
    offered = status.get("allocatable") or status.get("capacity") or {}
    return {name: quantity.amount(name, text) for name, text in offered.items()}


def _of(container: raw.Object) -> Requests:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity.amount(name, text) for name, text in asked.items()}


def _add(total: Requests, more: Requests) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _raise(total: Requests, floor: Requests) -> None:
    for name, amount in floor.items():
        total[name] = max(total.get(name, 0), amount)


def _host_ports(spec: raw.Object) -> Iterator[str]:
    """Yield the ports that the pod takes on its node; on the host's network every port is one."""
    sidecars = [entry for entry in spec.get("initContainers") or () if entry.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else None)
            if number:
                yield f"{HOST_PORT}{number}/{port.get('protocol') or 'TCP'}"


def _avoids_itself(spec: raw.Object, labels: Mapping[str, str]) -> bool:
    anti = ((spec.get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return any(
        term.get("topologyKey") == HOSTNAME
        and not (term.get("namespaces") or term.get("namespaceSelector") is not None)  # else `bonds` keeps them apart
        and selects(term.get("labelSelector"), labels)
        for term in anti or ()
    )


def selects(selector: raw.Object | None, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches; none selects nothing, an empty one everything."""
    if selector is None:
        return False
    matched = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return matched and all(_expression(entry, labels) for entry in selector.get("matchExpressions") or ())


def _untolerated(tolerations: Sequence[raw.Object], node: raw.Object) -> str | None:
    spec = node.get("spec") or {}
    taints = list(spec.get("taints") or ())
    if spec.get("unschedulable"):
        taints.append(_UNSCHEDULABLE)
    for taint in taints:
        if taint.get("effect") in _EFFECTS and not any(_tolerates(entry, taint) for entry in tolerations):
            value = f"={taint['value']}" if taint.get("value") else ""
            return f"{taint['key']}{value}:{taint['effect']}"
    return None


def _tolerates(toleration: raw.Object, taint: raw.Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if not toleration.get("key"):
        return bool(toleration.get("operator") == "Exists")
    if toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def _term(term: raw.Object, labels: Mapping[str, str], name: str) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_expression(entry, labels) for entry in expressions) and all(
        _expression(entry, {"metadata.name": name}) for entry in fields
    )


def _expression(entry: raw.Object, labels: Mapping[str, str]) -> bool:
    found = labels.get(entry["key"])
    operator: str = entry["operator"]
    values: list[str] = entry.get("values") or []
    if operator == "In":
        return found in values
    if operator == "NotIn":
        return found not in values
    if operator == "Exists":
        return found is not None
    if operator == "DoesNotExist":
        return found is None
    try:
        number, bound = int(found or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound
