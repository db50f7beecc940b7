"""kube-scheduler's own gangs: PodGroup scheduling.k8s.io/v1beta1 (feature gate GenericWorkload, Kubernetes 1.37).

A PodGroup has one number for all its pods, and one gated pod holds the whole group back. So only the pods below each
clique's minAvailable join it: the number is then exact, and pods above the minimum never hold anybody up.
"""

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import model
from grovekeeper.expand.backends import backend

GROUP_VERSION = "scheduling.k8s.io/v1beta1"


def group(w: model.Workload, podgang: raw.Object, _topology: str | None) -> raw.Object:
    """Return the PodGroup of a PodGang. It is preempted whole, and has its pods' priority class."""
    result: raw.Object = {
        "schedulingPolicy": {"gang": {"minCount": backend.minimum(podgang)}},
        "disruptionMode": {"all": {}},
    }
    priority = w.priority_class or next((c.pod_spec.get("priorityClassName") for c in w.cliques), None)
    if priority:
        result["priorityClassName"] = priority
    return backend.podgroup(GROUP_VERSION, podgang, result)


def _marks(pod: backend.Pod) -> backend.Marks:
    spec: raw.Object = {"schedulerName": names.SCHEDULER_STOCK}
    if pod.index < pod.minimum:
        spec["schedulingGroup"] = {"podGroupName": pod.gang}
    return backend.Marks({}, {}, spec)


def joins(pod: raw.Object) -> bool:
    """Return whether a pod is a member of its gang's PodGroup."""
    return bool(pod["spec"].get("schedulingGroup"))


def _why_not(found: raw.Object) -> str | None:
    entry = conditions.find((found.get("status") or {}).get("conditions"), "PodGroupInitiallyScheduled")
    if entry is None or entry["status"] == "True":
        return None
    return backend.one_line(entry.get("message")) or entry.get("reason")


UPSTREAM = backend.Backend(
    name=names.SCHEDULER_UPSTREAM,
    api_version=GROUP_VERSION,
    marks=_marks,
    group=group,
    owned=("schedulingPolicy",),
    kept=(),
    kept_labels=(),
    needed="",
    why_not=_why_not,
    joins=joins,
    next_step="turn the feature gate GenericWorkload on in kube-apiserver (with runtime-config "
    "scheduling.k8s.io/v1beta1) and kube-scheduler, or choose another schedulerName",
)
