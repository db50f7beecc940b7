"""Volcano: PodGroup scheduling.volcano.sh/v1beta1 with one sub-group policy a clique (Volcano 1.14 or newer)."""

from grovekeeper.api import names, queues, raw
from grovekeeper.expand import model
from grovekeeper.expand.backends import backend

GROUP_VERSION = "scheduling.volcano.sh/v1beta1"


def group(w: model.Workload, podgang: raw.Object, _topology: str | None) -> raw.Object:
    """Return the PodGroup of a PodGang. Cliques scaled to zero have no policy: there is nothing to hold together."""
    spec = podgang["spec"]
    result: raw.Object = {"minMember": backend.minimum(podgang), "queue": queues.volcano(w.raw)}
    if spec.get("priorityClassName"):
        result["priorityClassName"] = spec["priorityClassName"]
    policies = [_policy(each) for each in spec["podgroups"] if each["minReplicas"] > 0]
    if policies:
        result["subGroupPolicy"] = policies
    return backend.podgroup(GROUP_VERSION, podgang, result)


def _policy(each: raw.Object) -> raw.Object:
    return {
        "name": each["name"],
        "labelSelector": {"matchLabels": {names.LABEL_PODCLIQUE: each["name"]}},
        "matchLabelKeys": [names.LABEL_PODCLIQUE],
        "subGroupSize": each["minReplicas"],
        "minSubGroups": 1,
    }


def _marks(pod: backend.Pod) -> backend.Marks:
    annotations = dict.fromkeys(names.ANNOTATIONS_VOLCANO_GROUP, pod.gang)
    return backend.Marks({}, annotations, {"schedulerName": names.SCHEDULER_VOLCANO})


def _why_not(found: raw.Object) -> str | None:
    for entry in reversed(list((found.get("status") or {}).get("conditions") or ())):
        if entry.get("type") == "Unschedulable" and entry.get("status") == "True":
            return backend.one_line(entry.get("message")) or entry.get("reason")
        if entry.get("type") == "Scheduled" and entry.get("status") == "True":
            return None
    return None


VOLCANO = backend.Backend(
    name=names.SCHEDULER_VOLCANO,
    api_version=GROUP_VERSION,
    marks=_marks,
    group=group,
    owned=("minMember", "queue", "priorityClassName", "subGroupPolicy"),
    kept=(),
    kept_labels=(),
    needed="subGroupPolicy",
    why_not=_why_not,
    joins=lambda _pod: True,
    next_step="install Volcano 1.14 or newer, or choose another schedulerName",
)
