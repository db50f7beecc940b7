"""PodClique objects, standalone and members of a scaling group."""

from grovekeeper.api import names, raw
from grovekeeper.expand import labels, model, naming, startup


def standalone(
    w: model.Workload, index: int, template: model.CliqueTemplate, replicas: int | None = None
) -> raw.Object:
    """Return the PodClique `<set>-<i>-<clique>`; `replicas` overrides the template's (a live, scaled value)."""
    fqn = naming.clique(w.name, index, template.name)
    marks = {
        **labels.managed(w, fqn, f"{w.dialect.component_prefix}-podclique"),
        w.dialect.label_replica_index: str(index),
        names.LABEL_PODGANG: naming.replica(w.name, index),
        names.LABEL_TEMPLATE_HASH: template.template_hash,
    }
    parents = startup.parents(w, index, template, None, 0)
    return _object(w, template, fqn, marks, w.raw, parents, template.replicas if replicas is None else replicas)


def member(
    w: model.Workload,
    index: int,
    group: model.GroupTemplate,
    group_index: int,
    template: model.CliqueTemplate,
    owner: raw.Object,
    replicas: int | None = None,
) -> raw.Object:
    """Return the PodClique `<set>-<i>-<group>-<j>-<clique>`, owned by the scaling group object `owner`."""
    group_fqn = naming.group(w.name, index, group.name)
    fqn = naming.member(group_fqn, group_index, template.name)
    marks = {
        **labels.managed(w, fqn, "pcsg-podclique"),
        w.dialect.label_replica_index: str(index),
        names.LABEL_SCALINGGROUP: group_fqn,
        names.LABEL_SCALINGGROUP_INDEX: str(group_index),
        names.LABEL_TEMPLATE_HASH: template.template_hash,
        names.LABEL_PODGANG: naming.replica(w.name, index),
    }
    if group_index >= group.min_available:
        marks[names.LABEL_PODGANG] = naming.scaled_gang(group_fqn, group_index, group.min_available)
        marks[names.LABEL_BASE_PODGANG] = naming.replica(w.name, index)
    parents = startup.parents(w, index, template, group, group_index)
    return _object(w, template, fqn, marks, owner, parents, template.replicas if replicas is None else replicas)


def template_of(w: model.Workload, clique: raw.Object) -> model.CliqueTemplate | None:
    """Return the template of a PodClique object of the set, by exact name; None where the set has none for it."""
    marks = clique["metadata"].get("labels") or {}
    group = marks.get(names.LABEL_SCALINGGROUP)
    prefix = naming.member(group, marks[names.LABEL_SCALINGGROUP_INDEX], "") if group else ""
    prefix = prefix or naming.clique(w.name, marks.get(w.dialect.label_replica_index, ""), "")
    name = clique["metadata"]["name"].removeprefix(prefix)
    return next((template for template in w.cliques if template.name == name), None)


def is_old(w: model.Workload, clique: raw.Object) -> bool:
    """Return whether a PodClique object has another template than the set's newest."""
    template = template_of(w, clique)
    return template is None or hash_of(clique) != template.template_hash


def hash_of(obj: raw.Object) -> str | None:
    """Return the template hash that a PodClique or a pod carries."""
    found: str | None = (obj["metadata"].get("labels") or {}).get(names.LABEL_TEMPLATE_HASH)
    return found


def mark_of(obj: raw.Object) -> tuple[str | None, str | None]:
    """Return what must be equal in a PodClique and its pods: the template, and the coherent update that moved them."""
    return hash_of(obj), (obj["metadata"].get("annotations") or {}).get(names.ANNOTATION_MOVED)


def _object(
    w: model.Workload,
    template: model.CliqueTemplate,
    fqn: str,
    marks: dict[str, str],
    owner: raw.Object,
    parents: dict[str, int],
    replicas: int,
) -> raw.Object:
    pod_spec = template.pod_spec
    if w.priority_class and not pod_spec.get("priorityClassName"):
        # Grove writes the set's priority class on the PodGang only; the pods would run without it (trap 10).
        pod_spec = {**pod_spec, "priorityClassName": w.priority_class}
    spec: raw.Object = {
        "roleName": template.role,
        "podSpec": pod_spec,
        "replicas": replicas,
        "minAvailable": template.min_available,
    }
    if parents:
        spec["startsAfter"] = sorted(parents)
    annotations = labels.passed_on(dict(template.annotations))
    annotations.pop(names.ANNOTATION_TOPOLOGY, None)
    annotations[names.ANNOTATION_TEMPLATE_REPLICAS] = str(template.replicas)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.PODCLIQUE,
        "metadata": labels.metadata(
            fqn, w.namespace, {**labels.passed_on(dict(template.labels)), **marks}, owner, annotations
        ),
        "spec": spec,
    }
