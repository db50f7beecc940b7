"""Pods as the reconciler creates them: labels, the gate, and one annotation with what the webhook needs (the intent).

What the webhook makes of them is in `injection`.
"""

import json
from collections.abc import Sequence

from grovekeeper.api import names, raw
from grovekeeper.expand import gangs, labels, model, naming, nvlink, plan, revision, shared, sharing
from grovekeeper.expand.backends import backend, known


def name(clique_fqn: str, clique_uid: str, index: int, previous: Sequence[str] = ()) -> str:
    """Return `<clique fqn>-xxxxx`, the same for every worker: a second worker meets AlreadyExists, not a second pod.

    `previous` is the UIDs of the pods that held this index and are still listed.
    """
    return f"{clique_fqn}-{revision.short('/'.join([clique_uid, str(index), *sorted(previous)]), 5)}"


def created(
    w: model.Workload,
    clique: raw.Object,
    index: int,
    pod_name: str,
    succeeds: str | None = None,
    *,
    domain: str | None = None,
) -> raw.Object:
    """Return the pod as the reconciler posts it, for one PodClique object of the set.

    The gate is there from the start: a pod that slips past the webhook is stuck, not loose. `succeeds` is the UID of
    the pod whose place it takes; `domain` is the ComputeDomain that the clique's pods join (`domain_of`).
    """
    metadata = clique["metadata"]
    fqn: str = metadata["name"]
    template_name, group_index = template_of(w, metadata)
    marks = {
        **(metadata.get("labels") or {}),
        names.LABEL_PODCLIQUE: fqn,
        names.LABEL_POD_INDEX: str(index),
        **gangs.representative_labels(w, template_name, group_index, index),
    }
    marks[names.LABEL_NAME] = fqn
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(names.ANNOTATION_TEMPLATE_REPLICAS, None)
    annotations[names.ANNOTATION_INTENT] = json.dumps(
        intent(w, clique, template_name, group_index, index), sort_keys=True, separators=(",", ":")
    )
    if succeeds is not None:
        annotations[names.ANNOTATION_SUCCEEDS] = succeeds
    spec = _prepared(w, clique, index, marks, annotations)
    pod_metadata = labels.metadata(pod_name, w.namespace, marks, clique, annotations)
    pod_metadata["generateName"] = f"{fqn}-"
    if domain is not None:
        spec = nvlink.injected(spec, domain)
    spec = sharing.injected(spec, sharing.of_pod(w, clique, template_name, group_index, index))
    spec["schedulingGates"] = [{"name": gate} for gate in (names.GATE, *plan.foreign_gates(spec))]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": pod_metadata, "spec": spec}


def domain_of(w: model.Workload, clique: raw.Object) -> str | None:
    """Return the name of the ComputeDomain that a PodClique's pods ask for, or None."""
    template_name, _ = template_of(w, clique["metadata"])
    group = nvlink.group_of(w, w.clique(template_name), clique["spec"]["podSpec"])
    index = int(clique["metadata"]["labels"][w.dialect.label_replica_index])
    return None if group is None else naming.compute_domain(w.name, index, group)


def _prepared(
    w: model.Workload, clique: raw.Object, index: int, marks: dict[str, str], annotations: dict[str, str]
) -> raw.Object:
    """Return the pod's spec as its scheduler needs it, and add that scheduler's labels and annotations."""
    spec = dict(clique["spec"]["podSpec"])
    found = known.of(w)
    if found is None:
        if spec.get("schedulerName") == names.SCHEDULER_OWN:
            spec["schedulerName"] = names.SCHEDULER_STOCK
        return spec
    pod = backend.Pod(marks[names.LABEL_PODCLIQUE], marks[names.LABEL_PODGANG], index, clique["spec"]["minAvailable"])
    wanted = found.marks(pod)
    marks.update(wanted.labels)
    annotations.update(wanted.annotations)
    spec.update(wanted.spec)
    return spec


def template_of(w: model.Workload, clique_metadata: raw.Object) -> tuple[str, int | None]:
    """Return the template's name and the group replica index (None for a standalone clique), exactly by name."""
    marks = clique_metadata["labels"]
    index = int(marks[w.dialect.label_replica_index])
    group_fqn = marks.get(names.LABEL_SCALINGGROUP)
    if group_fqn is None:
        return clique_metadata["name"].removeprefix(f"{naming.replica(w.name, index)}-"), None
    group_index = int(marks[names.LABEL_SCALINGGROUP_INDEX])
    return clique_metadata["name"].removeprefix(f"{group_fqn}-{group_index}-"), group_index


def intent(
    w: model.Workload, clique: raw.Object, template_name: str, group_index: int | None, index: int
) -> raw.Object:
    """Return what the webhook needs: environment in Grove's order, hostname, subdomain, and what the gate waits for."""
    metadata = clique["metadata"]
    fqn: str = metadata["name"]
    marks = metadata["labels"]
    replica_index = int(marks[w.dialect.label_replica_index])
    env: list[list[str]] = [
        [w.dialect.env_name, w.name],
        [w.dialect.env_index, str(replica_index)],
        ["GROVE_PCLQ_NAME", fqn],
        ["GROVE_HEADLESS_SERVICE", naming.service_address(w.name, replica_index, w.namespace)],
        ["GROVE_PCLQ_POD_INDEX", str(index)],
    ]
    group = w.group_of(template_name)
    if group is not None and group_index is not None:
        total = sum(w.clique(member).replicas for member in group.clique_names)
        env += [
            ["GROVE_PCSG_NAME", naming.group(w.name, replica_index, group.name)],
            ["GROVE_PCSG_TEMPLATE_NUM_PODS", str(total)],
            ["GROVE_PCSG_INDEX", str(group_index)],
        ]
    result: raw.Object = {
        "env": env,
        "hostname": naming.hostname(fqn, index),
        "subdomain": naming.replica(w.name, replica_index),
        "labels": {key: marks[key] for key in (names.LABEL_PODGANG, names.LABEL_BASE_PODGANG) if key in marks},
    }
    waits = _waits(w, clique["spec"].get("startsAfter") or ())
    if waits:
        result["waits"] = waits
        result["secret"] = shared.token_secret_name(w)
    return result


def _waits(w: model.Workload, parents: Sequence[str]) -> list[list[raw.Json]]:
    return [[fqn, _minimum(w, fqn)] for fqn in sorted(parents)]


def _minimum(w: model.Workload, fqn: str) -> int:
    """Return minAvailable of the template behind a parent's FQN: exactly, by taking the name apart from the left."""
    rest = fqn.removeprefix(f"{w.name}-").partition("-")[2]
    for clique in w.standalone():
        if rest == clique.name:
            return clique.min_available
    for group in w.groups:
        if rest.startswith(f"{group.name}-"):
            number, _, member = rest.removeprefix(f"{group.name}-").partition("-")
            if number.isdigit() and member in group.clique_names:
                return w.clique(member).min_available
    return 1
