"""Rules of pods that the API server keeps: defaults, what a gated pod may still change, quality of service."""

import math
from collections.abc import Sequence

from grovekeeper.api import raw
from grovekeeper.embedded import selectors

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def defaulted(pod: raw.Object, priority_class: raw.Object) -> raw.Object:
    """Return a new pod with the defaults that clients rely on, and what its PriorityClass (or none: {}) says."""
    spec = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "serviceAccountName": "default",
        "enableServiceLinks": True,
        "preemptionPolicy": priority_class.get("preemptionPolicy") or "PreemptLowerPriority",
        "priority": priority_class.get("value", 0),
        **pod["spec"],
    }
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [{"imagePullPolicy": "IfNotPresent", "resources": {}, **c} for c in spec[field]]
    status: raw.Object = {"phase": "Pending", "qosClass": "Burstable"}
    if spec.get("schedulingGates"):
        text = "Scheduling is blocked due to non-empty scheduling gates"
        status["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": text}
        ]
    return {**pod, "spec": spec, "status": status}


def creation_fault(pod: raw.Object) -> tuple[str, str] | None:
    """Return (field, message) of what a new pod may not be."""
    spec = pod["spec"]
    if spec.get("nodeName") and spec.get("schedulingGates"):
        return "spec.nodeName", "cannot be set until all schedulingGates have been cleared"
    if not spec.get("containers"):
        return "spec.containers", "Required value"
    gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
    if len(gates) != len(set(gates)):
        return "spec.schedulingGates", "Duplicate value"
    return None


def update_fault(new: raw.Object, old: raw.Object) -> tuple[str, str] | None:
    """Return (field, message) of a change that a pod may not make."""
    mine, theirs = new["spec"], old["spec"]
    before = [gate["name"] for gate in theirs.get("schedulingGates") or ()]
    after = [gate["name"] for gate in mine.get("schedulingGates") or ()]
    if any(gate not in before for gate in after):
        return "spec.schedulingGates", "only deletion is allowed, but found new scheduling gate"
    free = {"schedulingGates", "tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds"}
    if before:
        free |= {"affinity", "nodeSelector"}
        fault = _affinity_fault(mine, theirs)
        if fault:
            return fault
    for field in {*mine, *theirs} - free:
        if mine.get(field) != theirs.get(field) and field not in ("containers", "initContainers"):
            return "spec", f"Forbidden: pod updates may not change fields other than a few; {field} changed"
    return None


def _affinity_fault(mine: raw.Object, theirs: raw.Object) -> tuple[str, str] | None:
    old = (((theirs.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms")
    new = (((mine.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms")
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    if not old:
        return None
    if len(new or ()) != len(old):
        return path, "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
    for one, other in zip(new or (), old, strict=True):
        for field in ("matchExpressions", "matchFields"):
            kept = other.get(field) or []
            if (one.get(field) or [])[: len(kept)] != kept:
                return path, "only additions are allowed"
    return None


def binding_fault(pod: raw.Object) -> str | None:
    """Return why a pod cannot be bound, or None."""
    if pod["metadata"].get("deletionTimestamp"):
        return f"pod {pod['metadata']['name']} is being deleted, cannot be assigned to a host"
    if pod["spec"].get("nodeName"):
        return f'pod {pod["metadata"]["name"]} is already assigned to node "{pod["spec"]["nodeName"]}"'
    if pod["spec"].get("schedulingGates"):
        return f"pod {pod['metadata']['name']} has non-empty .spec.schedulingGates"
    return None


def bound(pod: raw.Object, node: str, now: str) -> raw.Object:
    """Return the pod with its node."""
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
    status = {key: value for key, value in (pod.get("status") or {}).items() if key != "nominatedNodeName"}
    return {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": {**status, "conditions": [condition]}}


def covering(pod: raw.Object, budgets: Sequence[raw.Object]) -> list[raw.Object]:
    """Return the PodDisruptionBudgets that select the pod."""
    labels = pod["metadata"].get("labels") or {}
    return [each for each in budgets if selectors.matches_labels(each["spec"].get("selector") or {}, labels)]


def evicted(pod: raw.Object, now: str) -> raw.Object:
    """Return the pod as the eviction API marks it before it deletes it."""
    text = "Eviction API: evicting"
    mark = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": text}
    status = pod.get("status") or {}
    kept = [entry for entry in status.get("conditions") or () if entry["type"] != "DisruptionTarget"]
    return {**pod, "status": {**status, "conditions": [*kept, {**mark, "lastTransitionTime": now}]}}


def protected(pod: raw.Object, budgets: Sequence[raw.Object], pods: Sequence[raw.Object]) -> bool:
    """Return whether some PodDisruptionBudget forbids the eviction. Percentages are of the pods that there are."""
    if not pod["spec"].get("nodeName"):
        return False
    for budget in covering(pod, budgets):
        selector = budget["spec"].get("selector") or {}
        mine = [each for each in pods if selectors.matches_labels(selector, each["metadata"].get("labels") or {})]
        if not _healthy(pod) and budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            continue
        healthy = sum(1 for other in mine if _healthy(other))
        if healthy - int(_healthy(pod)) < _needed(budget["spec"], len(mine)):
            return True
    return False


def _healthy(pod: raw.Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _needed(spec: raw.Object, count: int) -> int:
    if spec.get("maxUnavailable") is not None:
        return count - _number(spec["maxUnavailable"], count)
    return _number(spec.get("minAvailable", 1), count)


def _number(value: int | str, count: int) -> int:
    return value if isinstance(value, int) else math.ceil(int(value.removesuffix("%")) * count / 100)
