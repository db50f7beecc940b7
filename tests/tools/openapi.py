"""Cut the published OpenAPI document of Kubernetes down to what the house needs.

`python -m tests.tools.openapi SWAGGER.JSON OUT.JSON`: the document is api/openapi-spec/swagger.json of the Go module
k8s.io/kubernetes in the version that tests/controlplane/binaries.py names. Descriptions go, list semantics stay.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOTS = (
    "core.v1.Pod",
    "core.v1.Node",
    "core.v1.Namespace",
    "core.v1.Service",
    "core.v1.ServiceAccount",
    "core.v1.Secret",
    "core.v1.ConfigMap",
    "core.v1.Event",
    "core.v1.PersistentVolumeClaim",
    "core.v1.Endpoints",
    "core.v1.Binding",
    "coordination.v1.Lease",
    "rbac.v1.Role",
    "rbac.v1.RoleBinding",
    "rbac.v1.ClusterRole",
    "rbac.v1.ClusterRoleBinding",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "autoscaling.v1.Scale",
    "policy.v1.PodDisruptionBudget",
    "policy.v1.Eviction",
    "scheduling.v1.PriorityClass",
    "apps.v1.Deployment",
    "apps.v1.ReplicaSet",
    "apps.v1.ControllerRevision",
    "resource.v1.ResourceClaim",
    "resource.v1.ResourceClaimTemplate",
    "resource.v1.DeviceClass",
    "resource.v1.ResourceSlice",
    "admissionregistration.v1.MutatingWebhookConfiguration",
    "admissionregistration.v1.ValidatingWebhookConfiguration",
    "storage.v1.StorageClass",
)
KEPT = (
    "$ref",
    "type",
    "format",
    "enum",
    "default",
    "required",
    "additionalProperties",
    "items",
    "properties",
    "pattern",
)
OTHER_ROOTS = ("io.k8s.apimachinery.pkg.apis.meta.v1.Condition",)
CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"


def reduced(node: Any) -> Any:
    """Return the schema without descriptions and other words for people."""
    if isinstance(node, list):
        return [reduced(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    result = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {name: reduced(entry) for name, entry in value.items()}
        elif key in KEPT or key.startswith("x-kubernetes"):
            result[key] = value if key in ("default", "x-kubernetes-group-version-kind") else reduced(value)
    return result


def references(node: Any) -> set[str]:
    """Return the names of definitions that a schema refers to."""
    if isinstance(node, dict):
        own = {node["$ref"].rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def main(source: str, target: str) -> None:
    """Write the definitions reachable from ROOTS, sorted."""
    definitions = json.loads(Path(source).read_text())["definitions"]
    waiting = {f"io.k8s.api.{root}" for root in ROOTS} | {CRD} | set(OTHER_ROOTS)
    kept: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        kept[name] = reduced(definitions[name])
        waiting |= references(kept[name]) - kept.keys()
    Path(target).write_text(json.dumps(dict(sorted(kept.items())), separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
