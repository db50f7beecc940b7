"""Rules of pods that the API server keeps: defaults, what a gated pod may still change, quality of service."""

from grovekeeper.api import names, raw

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def defaulted(pod: raw.Object, priority: int) -> raw.Object:
    """Return a new pod with the defaults that clients rely on."""
    spec = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "serviceAccountName": "default",
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": priority,
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


def gate_name() -> str:
    """Return the name of the init container that the kubelet really runs."""
    return names.INIT_GATE_CONTAINER
