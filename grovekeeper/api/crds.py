"""Custom resource definitions from the models: structural, pruning, with defaults, bounds and CEL rules.

`python -m grovekeeper.api.crds DIR` writes one file a kind.
"""

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from grovekeeper.api import names, openapi, podclique, podgang, podgangset, raw, scalinggroup, topology

Column = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a CRD says besides its schema."""

    model: type[BaseModel]
    group: str
    kind: str
    plural: str
    short: str
    columns: tuple[Column, ...]
    selector: str | None = None
    """Path of the scale subresource's selector; None for kinds without scale."""
    scope: str = "Namespaced"
    initial_status: bool = True


_AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0)
_BREACHED: Column = ("MinBreached", "string", '.status.conditions[?(@.type=="MinAvailableBreached")].status', 1)
_READY: Column = ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0)
_REASON: Column = ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1)


def _set_columns(progress: str) -> tuple[Column, ...]:
    counts = (
        ("PCLQs-Updated", "updatedPodCliquesCount"),
        ("PCLQs-Total", "totalPodCliquesCount"),
        ("PCSGs-Updated", "updatedPodCliqueScalingGroupsCount"),
        ("PCSGs-Total", "totalPodCliqueScalingGroupsCount"),
    )
    return (
        ("Replicas", "integer", ".spec.replicas", 0),
        ("Available", "integer", ".status.availableReplicas", 0),
        ("Updated", "integer", ".status.updatedReplicas", 0),
        _READY,
        *((name, "integer", f".status.{progress}.{field}", 1) for name, field in counts),
        _REASON,
        _AGE,
    )


KINDS = (
    *(
        Kind(
            podgangset.PodGangSet,
            names.GROUP,
            dialect.kind,
            dialect.plural,
            dialect.short,
            _set_columns(dialect.progress_field),
            ".status.hpaPodSelector",
        )
        for dialect in names.DIALECTS.values()
    ),
    Kind(
        podclique.PodClique,
        names.GROUP,
        names.PODCLIQUE,
        "podcliques",
        "pclq",
        (
            ("MinAvail", "integer", ".spec.minAvailable", 0),
            ("Replicas", "integer", ".spec.replicas", 0),
            ("Ready", "integer", ".status.readyReplicas", 0),
            ("Scheduled", "integer", ".status.scheduledReplicas", 0),
            ("Updated", "integer", ".status.updatedReplicas", 0),
            ("Gated", "integer", ".status.scheduleGatedReplicas", 1),
            _BREACHED,
            _AGE,
        ),
        ".status.hpaPodSelector",
    ),
    Kind(
        scalinggroup.PodCliqueScalingGroup,
        names.GROUP,
        names.SCALINGGROUP,
        "podcliquescalinggroups",
        "pcsg",
        (
            ("MinAvail", "integer", ".spec.minAvailable", 0),
            ("Replicas", "integer", ".spec.replicas", 0),
            ("Available", "integer", ".status.availableReplicas", 0),
            ("Scheduled", "integer", ".status.scheduledReplicas", 0),
            ("Updated", "integer", ".status.updatedReplicas", 0),
            _BREACHED,
            _AGE,
        ),
        ".status.selector",
    ),
    Kind(
        podgang.PodGang,
        names.SCHEDULER_GROUP,
        names.PODGANG,
        "podgangs",
        "pg",
        (
            ("Phase", "string", ".status.phase", 0),
            ("Scheduled", "string", '.status.conditions[?(@.type=="Scheduled")].status', 0),
            ("Reason", "string", '.status.conditions[?(@.type=="Scheduled")].message', 1),
            _AGE,
        ),
        initial_status=False,
    ),
    Kind(
        topology.ClusterTopologyBinding,
        names.GROUP,
        names.TOPOLOGY_BINDING,
        "clustertopologybindings",
        "ct",
        (("Domains", "string", ".spec.levels[*].domain", 0), _AGE),
        scope="Cluster",
        initial_status=False,
    ),
)


def definition(kind: Kind) -> raw.Object:
    """Return the CustomResourceDefinition of one kind."""
    version: raw.Object = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path, **({"priority": priority} if priority else {})}
            for name, type_, path, priority in kind.columns
        ],
    }
    if kind.selector:
        version["subresources"]["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": kind.selector,
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{kind.group}",
            # Larger than the annotation in which client-side apply keeps its copy.
            "annotations": {"argocd.argoproj.io/sync-options": "ServerSideApply=true"},
        },
        "spec": {
            "group": kind.group,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["grove"],
            },
            "versions": [version],
        },
    }


@cache
def schema(kind: Kind) -> raw.Object:
    """Return the structural schema of one kind; shared, not to be changed."""
    source = kind.model.model_json_schema(by_alias=True)
    result = _structural(source, source.get("$defs", {}))
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    result["properties"] = {**properties, **result["properties"]}
    if kind.initial_status:
        # kstatus takes a fresh object for done unless its observedGeneration differs.
        result["properties"]["status"]["default"] = {"observedGeneration": -1}
    return result


_DROPPED = ("title", "$defs", "x-definition")


def _structural(source: raw.Object, known: dict[str, raw.Object]) -> raw.Object:
    """Return pydantic's schema without references, titles and null alternatives."""
    if "x-definition" in source:
        return {**openapi.structural(source["x-definition"]), **_extras(source)}
    if "$ref" in source:
        return {**_structural(known[source["$ref"].rpartition("/")[2]], known), **_extras(source)}
    if "anyOf" in source:
        options = [option for option in source["anyOf"] if option.get("type") != "null"]
        return {**_structural(options[0], known), **_extras(source)}
    result: raw.Object = {}
    for key, value in source.items():
        if key == "properties":
            result[key] = {name: _structural(entry, known) for name, entry in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = _structural(value, known)
        elif key == "additionalProperties" or key in _DROPPED or (key == "default" and value is None):
            continue
        elif key == "const":
            result["enum"] = [value]
        else:
            result[key] = value
    return result


def _extras(source: raw.Object) -> raw.Object:
    skipped: tuple[str, ...] = ("$ref", "anyOf", "default") if source.get("default") is None else ("$ref", "anyOf")
    return {key: value for key, value in source.items() if key not in skipped and key not in _DROPPED}


def main(folder: str) -> None:
    """Write every CRD to the folder as JSON, which is YAML."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        text = json.dumps(definition(kind), indent=1, sort_keys=True)
        (target / f"{kind.plural}.{kind.group}.yaml").write_text(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
