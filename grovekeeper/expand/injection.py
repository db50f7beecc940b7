"""What the pod webhook makes of a pod: gang labels, init gate, environment, hostname and subdomain.

Identity travels on the pod: all of this comes from the intent annotation that `pods` has written, and from nothing
else. Offline expansion calls the same function.
"""

import json
from dataclasses import dataclass

from grovekeeper.api import names, patch, raw
from grovekeeper.api.validate import syntax

VERSION = "1"
"""What the mark of the injection says."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the webhook must know besides the pod."""

    init_image: str
    """Image of the startup gate, with tag: the same image as everything else."""


def operations(pod: raw.Object, settings: Settings) -> list[raw.PatchOp]:
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
    result = patch.merge_map("/metadata/labels", metadata.get("labels"), wanted["labels"])
    _check_room(annotations)
    result += patch.merge_map("/metadata/annotations", annotations, {names.ANNOTATION_INJECTED: VERSION})
    result += _gate(spec)
    result += _identity(spec, wanted)
    env = [{"name": key, "value": value} for key, value in wanted["env"]]
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or ()):
            if container.get("name") != names.INIT_GATE_CONTAINER:
                result += _environment(f"/spec/{field}/{position}", container, env)
    if wanted.get("waits"):
        result += _init_gate(spec, wanted, settings)
    return result


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
    """Return whether the annotation has the shape that `pods.intent` gives it: anybody can write one on a pod."""
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
    mark = {**annotations, names.ANNOTATION_INJECTED: VERSION}
    size = syntax.annotation_bytes(mark)
    if size > syntax.MOST_ANNOTATIONS:
        raise ValueError(
            f"annotations would have {size} bytes with Grovekeeper's own; {syntax.MOST_ANNOTATIONS} are allowed: "
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
