"""Rules of one clique template."""

from grovekeeper.api import names, raw
from grovekeeper.api.validate import syntax, verdict


def check(found: verdict.Verdict, path: str, clique: raw.Object, *, in_group: bool) -> None:
    """Add the faults of spec.template.cliques[i]."""
    name = clique.get("name")
    if not name:
        found.fault(f"{path}.name", "Required", "give the clique a name")
    elif not syntax.is_label(name):
        found.fault(f"{path}.name", "Invalid", "must be a DNS-1123 label: it becomes part of the pods' hostnames", name)
    syntax.check_labels(found, f"{path}.labels", clique.get("labels"))
    syntax.check_annotations(found, f"{path}.annotations", clique.get("annotations"))
    spec = clique.get("spec") or {}
    replicas = spec.get("replicas", 1)
    _counts(found, path, spec, replicas)
    scale = spec.get("autoScalingConfig")
    if scale is not None:
        if in_group:
            text = "a member of a scaling group is scaled with its group: move it to the group's scaleConfig"
            found.fault(f"{path}.spec.autoScalingConfig", "Forbidden", text)
        check_scale(found, f"{path}.spec.autoScalingConfig", scale, replicas, spec.get("minAvailable", replicas))
    _pod_spec(found, f"{path}.spec.podSpec", spec.get("podSpec") or {})


def _counts(found: verdict.Verdict, path: str, spec: raw.Object, replicas: int) -> None:
    if replicas <= 0:
        text = "must be above 0; to run none, scale the PodClique (or the set) to 0 instead"
        found.fault(f"{path}.spec.replicas", "Invalid", text, replicas)
    minimum = spec.get("minAvailable")
    if minimum is not None and minimum <= 0:
        found.fault(f"{path}.spec.minAvailable", "Invalid", "must be above 0", minimum)
    elif minimum is not None and minimum > replicas > 0:
        text = f"must not be above replicas ({replicas}): lower it or raise replicas"
        found.fault(f"{path}.spec.minAvailable", "Invalid", text, minimum)


def check_scale(found: verdict.Verdict, path: str, scale: raw.Object, replicas: int, minimum: int) -> None:
    """Add the faults of an autoscaling configuration, of a clique or a group."""
    low = scale.get("minReplicas")
    low = replicas if low is None else low
    high = scale.get("maxReplicas", 0)
    if low < minimum:
        found.fault(f"{path}.minReplicas", "Invalid", f"must not be below minAvailable ({minimum})", low)
    if high < low:
        found.fault(f"{path}.maxReplicas", "Invalid", f"must not be below minReplicas ({low})", high)
    elif high < replicas:
        found.fault(f"{path}.maxReplicas", "Invalid", f"must not be below replicas ({replicas})", high)


def _pod_spec(found: verdict.Verdict, path: str, spec: raw.Object) -> None:
    if not spec.get("containers"):
        found.fault(f"{path}.containers", "Required", "a pod needs at least one container")
    if spec.get("nodeName"):
        text = "pods are placed by Grovekeeper: use nodeSelector or affinity to narrow the nodes down"
        found.fault(f"{path}.nodeName", "Forbidden", text, spec["nodeName"])
    if spec.get("topologySpreadConstraints"):
        text = "a pinned pod would not honour them: use topologyConstraint of the set, group or clique"
        found.fault(f"{path}.topologySpreadConstraints", "Forbidden", text)
    if spec.get("ephemeralContainers"):
        text = "pods cannot be created with them: use kubectl debug on a pod that runs"
        found.fault(f"{path}.ephemeralContainers", "Forbidden", text)
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            found.warnings.append(
                f"{path}.{field} has no effect: Grovekeeper gives every pod its own, for the Services"
            )
    for field in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(field) or ()):
            place = f"{path}.{field}[{position}]"
            if container.get("name") == names.INIT_GATE_CONTAINER:
                found.fault(f"{place}.name", "Forbidden", "this name is the startup gate's: rename the container")
            _environment(found, f"{place}.env", container.get("env") or ())


def _environment(found: verdict.Verdict, path: str, env: raw.Json) -> None:
    seen: set[str] = set()
    for position, entry in enumerate(env):
        name = entry.get("name") or ""
        if not syntax.is_env_name(name):
            found.fault(f"{path}[{position}].name", "Invalid", "must be printable and without '='", name)
        if name in seen:
            found.fault(f"{path}[{position}].name", "Duplicate", "is set before in the same container", name)
        seen.add(name)
