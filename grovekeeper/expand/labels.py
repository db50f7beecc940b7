"""Labels, owner references and metadata that every generated object shares."""

from collections.abc import Mapping

from grovekeeper.api import names, raw
from grovekeeper.expand import model


def managed(w: model.Workload, name: str, component: str) -> dict[str, str]:
    """Return the labels that every object of a set carries. `component` lacks the dialect's prefix."""
    return {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_PART_OF: w.name,
        names.LABEL_NAME: name.replace(":", "-"),
        names.LABEL_COMPONENT: component,
    }


def selector(labels: Mapping[str, str]) -> str:
    """Return labels in the form that scale subresources publish: sorted `key=value`, joined by commas."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def owner(obj: raw.Object) -> raw.Object:
    """Return a controlling owner reference to the object."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"].get("uid", ""),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    owner_of: raw.Object | None,
    annotations: Mapping[str, str] | None = None,
) -> raw.Object:
    """Return metadata with sorted labels; owner reference and annotations only where given."""
    result: raw.Object = {"name": name, "namespace": namespace, "labels": dict(sorted(labels.items()))}
    if annotations:
        result["annotations"] = dict(sorted(annotations.items()))
    if owner_of is not None:
        result["ownerReferences"] = [owner(owner_of)]
    return result


def passed_on(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the entries that a child may carry: none of the GitOps tools' tracking metadata."""
    return {key: value for key, value in mapping.items() if not key.startswith(names.COPIED_NEVER)}
