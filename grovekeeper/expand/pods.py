"""Both halves of a pod: what the reconciler creates, and what the webhook makes of it.

Identity travels on the pod: the reconciler writes labels, the gate and one intent annotation; `injection` turns the
intent into gang labels, init gate, environment, hostname and subdomain, from nothing but the pod itself. Offline
expansion calls the same function.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grovekeeper.api import names, patch, raw
from grovekeeper.expand import gangs, labels, model, naming, nvlink, revision, shared, sharing
from grovekeeper.expand.backends import backend, known

INJECTION_VERSION = "1"
_MAX_ANNOTATIONS = 262_144


@dataclass(frozen=True, slots=True)
class Settings:
    """What the webhook must know besides the pod."""

    init_image: str
    """Image of the startup gate, with tag: the same image as everything else."""


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
    spec["schedulingGates"] = [{"name": names.GATE}, *_foreign_gates(spec)]
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


def injection(pod: raw.Object, settings: Settings) -> list[raw.PatchOp]:
    """Return what the webhook adds to a pod, as RFC 6902 operations valid for exactly this object.

    A pod without an intent, or injected already, gets nothing. Applying the operations and asking again gives none,
    also when another webhook has added containers or labels in between. Raises ValueError for an intent that is not
    ours to understand, and where the annotations have no room for our mark.
    """
    metadata = pod["metadata"]
    annotations = metadata.get("annotations") or {}
    text = annotations.get(names.ANNOTATION_INTENT)
    if text is None:
        return []
    wanted = _decoded(text)
    spec = pod["spec"]
    operations = patch.merge_map("/metadata/labels", metadata.get("labels"), wanted["labels"])
    _check_room(annotations)
    operations += patch.merge_map("/metadata/annotations", annotations, {names.ANNOTATION_INJECTED: INJECTION_VERSION})
    operations += _gate(spec)
    operations += _identity(spec, wanted)
    env = [{"name": key, "value": value} for key, value in wanted["env"]]
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or ()):
            if container.get("name") != names.INIT_GATE_CONTAINER:
                operations += _environment(f"/spec/{field}/{position}", container, env)
    if wanted.get("waits"):
        operations += _init_gate(spec, wanted, settings)
    return operations


def _decoded(text: str) -> raw.Object:
    try:
        wanted = json.loads(text)
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict) or not _is_intent(wanted):
        why = f"annotation {names.ANNOTATION_INTENT} is not an intent of Grovekeeper's; remove it from the pod"
        raise ValueError(why)
    return wanted


def _is_intent(wanted: raw.Object) -> bool:
    """Return whether the annotation has the shape that `intent` gives it: anybody can write one on a pod."""
    texts = [wanted.get("hostname"), wanted.get("subdomain"), wanted.get("secret", "")]
    marks, waits = wanted.get("labels"), wanted.get("waits", [])
    return (
        all(isinstance(text, str) for text in texts)
        and _are_pairs(wanted.get("env"), str)
        and isinstance(marks, dict)
        and all(isinstance(value, str) for value in marks.values())
        and _are_pairs(waits, int)
        and (not waits or bool(wanted.get("secret")))
    )


def _are_pairs(value: raw.Json, second: type) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], second)
        for pair in value
    )


def _check_room(annotations: raw.Object) -> None:
    """Raise ValueError where our mark would put the annotations over what Kubernetes allows."""
    mark = {**annotations, names.ANNOTATION_INJECTED: INJECTION_VERSION}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in mark.items())
    if size > _MAX_ANNOTATIONS:
        raise ValueError(
            f"annotations would have {size} bytes with Grovekeeper's own; {_MAX_ANNOTATIONS} are allowed: "
            "make those of the clique, or of whatever else annotates the pod, smaller"
        )


def _gate(spec: raw.Object) -> list[raw.PatchOp]:
    gates = spec.get("schedulingGates")
    if spec.get("nodeName") or any(gate.get("name") == names.GATE for gate in gates or ()):
        return []
    if not gates:
        return [patch.add("/spec/schedulingGates", [{"name": names.GATE}])]
    return [patch.add("/spec/schedulingGates/0", {"name": names.GATE})]


def _identity(spec: raw.Object, wanted: raw.Object) -> list[raw.PatchOp]:
    return [
        patch.add(f"/spec/{field}", wanted[field])
        for field in ("hostname", "subdomain")
        if spec.get(field) != wanted[field]
    ]


def _environment(path: str, container: raw.Object, env: list[raw.Object]) -> list[raw.PatchOp]:
    """Prepend, so that $(GROVE_...) works in the user's variables; a user's variable of the same name gives way."""
    current = container.get("env")
    if not current:
        return [patch.add(f"{path}/env", env)]
    if current[: len(env)] == env:
        return []
    ours = {entry["name"] for entry in env}
    return [patch.add(f"{path}/env", [*env, *(entry for entry in current if entry.get("name") not in ours)])]


def _init_gate(spec: raw.Object, wanted: raw.Object, settings: Settings) -> list[raw.PatchOp]:
    init = spec.get("initContainers")
    if any(container.get("name") == names.INIT_GATE_CONTAINER for container in init or ()):
        return []
    container = {
        "name": names.INIT_GATE_CONTAINER,
        "image": settings.init_image,
        "command": ["grovekeeper-initgate"],
        "args": [f"--podcliques={fqn}:{minimum}" for fqn, minimum in wanted["waits"]],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "64Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": names.INIT_GATE_TOKEN_VOLUME, "mountPath": names.INIT_GATE_TOKEN_PATH, "readOnly": True},
            {"name": names.INIT_GATE_INFO_VOLUME, "mountPath": names.INIT_GATE_INFO_PATH, "readOnly": True},
        ],
    }
    operations = [
        patch.add("/spec/initContainers/-", container) if init else patch.add("/spec/initContainers", [container])
    ]
    return operations + _volumes(spec, wanted["secret"])


def _volumes(spec: raw.Object, secret: str) -> list[raw.PatchOp]:
    info = [("namespace", "metadata.namespace"), ("podgangname", f"metadata.labels['{names.LABEL_PODGANG}']")]
    volumes = [
        {"name": names.INIT_GATE_TOKEN_VOLUME, "secret": {"secretName": secret, "defaultMode": 0o444}},
        {
            "name": names.INIT_GATE_INFO_VOLUME,
            "downwardAPI": {
                "items": [{"path": path, "fieldRef": {"fieldPath": field}} for path, field in info],
                "defaultMode": 0o444,
            },
        },
    ]
    current = spec.get("volumes")
    if not current:
        return [patch.add("/spec/volumes", volumes)]
    known = {volume.get("name") for volume in current}
    return [patch.add("/spec/volumes/-", volume) for volume in volumes if volume["name"] not in known]


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


def _foreign_gates(spec: raw.Object) -> list[raw.Object]:
    return [gate for gate in spec.get("schedulingGates") or () if gate.get("name") != names.GATE]
