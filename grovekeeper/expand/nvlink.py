"""Multi-node NVLink: which cliques share a ComputeDomain of NVIDIA's DRA driver, and how their pods claim it.

Source: Grove's GREP-417. One domain per set replica and group; the driver makes a ResourceClaimTemplate of its name.
"""

from grovekeeper.api import names, nvlink, quantity, raw
from grovekeeper.expand import labels, model, naming, sharing

API_VERSION = "resource.nvidia.com/v1beta1"
KIND = "ComputeDomain"


def group_of(w: model.Workload, clique: model.CliqueTemplate, pod_spec: raw.Object | None = None) -> str | None:
    """Return the NVLink group of a clique: clique over scaling group over set; None without one or without GPUs.

    `pod_spec` is given where a PodClique runs another one than its template has now.
    """
    if not uses_gpu(clique.pod_spec if pod_spec is None else pod_spec):
        return None
    group = w.group_of(clique.name)
    levels = [dict(clique.annotations), dict(group.annotations) if group else {}, w.raw["metadata"].get("annotations")]
    found = next((word for level in levels if (word := nvlink.asked(level)) is not None), nvlink.OPT_OUT)
    return None if found == nvlink.OPT_OUT else found


def groups(w: model.Workload) -> list[str]:
    """Return the set's NVLink groups, each once, in the order of the cliques."""
    return list(dict.fromkeys(found for clique in w.cliques if (found := group_of(w, clique)) is not None))


def uses_gpu(pod_spec: raw.Object) -> bool:
    """Return whether any container or init container asks for GPUs as a plain resource."""
    return any(_has_gpu(entry) for field in ("initContainers", "containers") for entry in pod_spec.get(field) or ())


def domain(w: model.Workload, index: int, group: str) -> raw.Object:
    """Return the ComputeDomain of a set replica's group: elastic (numNodes 0), with our finalizer."""
    name = naming.compute_domain(w.name, index, group)
    marks = {
        **labels.managed(w, name, f"{w.dialect.component_prefix}-computedomain"),
        w.dialect.label_replica_index: str(index),
        names.LABEL_MNNVL_GROUP: group,
    }
    metadata = labels.metadata(name, w.namespace, marks, w.raw)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {**metadata, "finalizers": [names.FINALIZER_COMPUTEDOMAIN]},
        "spec": {"numNodes": 0, "channel": {"resourceClaimTemplate": {"name": name}}},
    }


def injected(spec: raw.Object, template: str) -> raw.Object:
    """Return a pod's spec with a claim of this ResourceClaimTemplate for the pod and its GPU containers only."""
    known = spec.get("resourceClaims") or []
    if any(entry.get("name") == names.MNNVL_CLAIM for entry in known):
        return spec
    entry = {"name": names.MNNVL_CLAIM, "resourceClaimTemplateName": template}
    result = {**spec, "resourceClaims": [*known, entry]}
    for field in ("initContainers", "containers"):
        if spec.get(field):
            result[field] = [
                sharing.with_claims(each, [names.MNNVL_CLAIM]) if _has_gpu(each) else each for each in spec[field]
            ]
    return result


def inherited(w: model.Workload, annotations: dict[str, str]) -> dict[str, str]:
    """Return a scaling group's annotations, with the set's group where it has none of its own (as Grove copies it)."""
    word = nvlink.asked(w.raw["metadata"].get("annotations"))
    if word is None or names.ANNOTATION_MNNVL_GROUP in annotations:
        return annotations
    return {**annotations, names.ANNOTATION_MNNVL_GROUP: word}


def _has_gpu(container: raw.Object) -> bool:
    resources = container.get("resources") or {}
    amounts = [(resources.get(part) or {}).get(names.GPU) for part in ("limits", "requests")]
    return any(amount is not None and quantity.exact(str(amount)) != 0 for amount in amounts)
