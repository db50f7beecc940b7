"""What a pod asks of a node: its request vector and its eligibility rules, from the raw pod spec.

Requests follow kube-scheduler's formula: the larger of (containers + sidecars) and each init container with the
sidecars started before it, plus overhead; pod-level resources replace the sum for the resources that they name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grovekeeper.api import quantity, raw

Requests = dict[str, int]
_EFFECTS = ("NoSchedule", "NoExecute")
_UNSCHEDULABLE: raw.Object = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A pod's needs. `one_per_node` is set by host ports and by anti-affinity to pods like itself on one host."""

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
    return {name: amount for name, amount in total.items() if amount}


def shape(spec: raw.Object, labels: Mapping[str, str]) -> Shape:
    """Return the shape of a pod."""
    return Shape(requests(spec), spec, bool(_host_ports(spec)) or _avoids_itself(spec, labels))


def same(one: raw.Object, other: raw.Object) -> bool:
    """Return whether two specs ask for the same. Fields that differ between pods of a clique do not matter."""
    fields = ("containers", "initContainers", "nodeSelector", "affinity", "tolerations", "overhead", "resources")
    return one is other or all(one.get(field) == other.get(field) for field in fields)


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


def _host_ports(spec: raw.Object) -> list[int]:
    return [
        port["hostPort"]
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def _avoids_itself(spec: raw.Object, labels: Mapping[str, str]) -> bool:
    anti = ((spec.get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return any(
        term.get("topologyKey") == "kubernetes.io/hostname" and _selects(term.get("labelSelector"), labels)
        for term in anti or ()
    )


def _selects(selector: raw.Object | None, labels: Mapping[str, str]) -> bool:
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
