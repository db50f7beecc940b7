"""KAI: PodGroup scheduling.run.ai/v2alpha2 with a tree of subgroups, and Topology kai.scheduler/v1alpha1.

Source of the translation: Grove's back end. A clique scaled to zero has no subgroup (KAI wants at least one pod), and
where a binding names a Topology kept by somebody else, that one is named (Grove names the binding).
"""

from grovekeeper.api import names, queues, raw
from grovekeeper.expand import labels, model
from grovekeeper.expand.backends import backend

GROUP_VERSION = "scheduling.run.ai/v2alpha2"
TOPOLOGY_VERSION = "kai.scheduler/v1alpha1"


def group(w: model.Workload, podgang: raw.Object, topology: str | None) -> raw.Object:
    """Return the PodGroup of a PodGang; `topology` names the Topology that its level keys belong to."""
    spec = podgang["spec"]
    result: raw.Object = {"minMember": backend.minimum(podgang)}
    queue = queues.kai(w.raw)
    if queue:
        result["queue"] = queue
    if spec.get("priorityClassName"):
        result["priorityClassName"] = spec["priorityClassName"]
    subgroups = _subgroups(spec, topology)
    if subgroups:
        result["subGroups"] = subgroups
    constraint = _constraint(spec.get("topologyConstraint"), topology)
    if constraint:
        result["topologyConstraint"] = constraint
    found = backend.podgroup(GROUP_VERSION, podgang, result)
    if queue:
        found["metadata"]["labels"][names.KAI_QUEUE] = queue
    return found


def _subgroups(spec: raw.Object, topology: str | None) -> list[raw.Object]:
    """Return parents first: one a group config, then one a clique, each with its parent and constraint."""
    filled = [each for each in spec["podgroups"] if each["minReplicas"] > 0]
    present = {each["name"] for each in filled}
    parents: list[raw.Object] = []
    parent_of: dict[str, str] = {}
    for config in spec.get("topologyConstraintGroupConfigs") or ():
        children = [name for name in config["podGroupNames"] if name in present]
        if not children:
            continue
        parent_of.update(dict.fromkeys(children, config["name"]))
        entry: raw.Object = {"name": config["name"], "minSubGroup": len(children)}
        parents.append(_constrained(entry, config.get("topologyConstraint"), topology))
    leaves = []
    for each in filled:
        leaf: raw.Object = {"name": each["name"], "minMember": each["minReplicas"]}
        if each["name"] in parent_of:
            leaf["parent"] = parent_of[each["name"]]
        leaves.append(_constrained(leaf, each.get("topologyConstraint"), topology))
    return [*parents, *leaves]


def _constrained(entry: raw.Object, constraint: raw.Object | None, topology: str | None) -> raw.Object:
    found = _constraint(constraint, topology)
    return {**entry, "topologyConstraint": found} if found else entry


def _constraint(constraint: raw.Object | None, topology: str | None) -> raw.Object | None:
    pack = (constraint or {}).get("packConstraint") or {}
    if not pack or topology is None:
        return None
    words = (("required", "requiredTopologyLevel"), ("preferred", "preferredTopologyLevel"))
    return {"topology": topology, **{theirs: pack[ours] for ours, theirs in words if pack.get(ours)}}


def topology(binding: raw.Object) -> raw.Object:
    """Return the Topology that stands for a ClusterTopologyBinding, owned by it."""
    return {
        "apiVersion": TOPOLOGY_VERSION,
        "kind": "Topology",
        "metadata": {"name": binding["metadata"]["name"], "ownerReferences": [labels.owner(binding)]},
        "spec": {"levels": [{"nodeLabel": level["key"]} for level in binding["spec"].get("levels") or ()]},
    }


def reference(binding: raw.Object) -> str | None:
    """Return the name of the Topology that somebody else keeps for this binding; None where we keep it."""
    for entry in binding["spec"].get("schedulerTopologyBindings") or ():
        if entry["schedulerName"] == names.SCHEDULER_KAI:
            return str(entry["topologyReference"])
    return None


def topology_name(binding: raw.Object | None) -> str | None:
    """Return the name of the Topology that stands for a binding; None without one."""
    if binding is None:
        return None
    return reference(binding) or str(binding["metadata"]["name"])


def level_keys(found: raw.Object) -> list[str]:
    """Return a Topology's node labels, broadest first."""
    return [level["nodeLabel"] for level in (found.get("spec") or {}).get("levels") or ()]


def _marks(pod: backend.Pod) -> backend.Marks:
    return backend.Marks(
        {names.LABEL_KAI_SUBGROUP: pod.clique},
        {names.ANNOTATION_KAI_SKIP: "true", names.ANNOTATION_KAI_GROUP: pod.gang},
        {"schedulerName": names.SCHEDULER_KAI},
    )


def _why_not(found: raw.Object) -> str | None:
    listed = (found.get("status") or {}).get("schedulingConditions") or ()
    for entry in reversed(list(listed)):
        reasons = [backend.one_line(reason.get("message")) for reason in entry.get("reasons") or ()]
        text = "; ".join(filter(None, reasons)) or backend.one_line(entry.get("message"))
        if entry.get("status") == "True" and text:
            return text
    return None


KAI = backend.Backend(
    name=names.SCHEDULER_KAI,
    api_version=GROUP_VERSION,
    marks=_marks,
    group=group,
    owned=("minMember", "queue", "priorityClassName", "subGroups", "topologyConstraint"),
    kept=("queue",),
    kept_labels=(names.KAI_QUEUE, names.LABEL_KAI_NODE_POOL),
    needed="",
    why_not=_why_not,
    joins=lambda _pod: True,
    gang_annotations=((names.ANNOTATION_KAI_SKIP, "true"),),
    next_step="install KAI-Scheduler, or choose another schedulerName",
)
