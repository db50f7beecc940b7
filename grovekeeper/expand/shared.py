"""Objects that a set has once: the identity with which its startup gates watch pods."""

from grovekeeper.api import raw
from grovekeeper.expand import labels, model


def token_secret_name(w: model.Workload) -> str:
    """Return the name of the Secret with the startup gate's token."""
    return f"{w.name}{w.dialect.token_secret_suffix}"


def objects(w: model.Workload) -> list[raw.Object]:
    """Return ServiceAccount, Role, RoleBinding and token Secret, in the order in which they are created."""
    role = f"{w.dialect.role_prefix}{w.name}"
    rbac = "rbac.authorization.k8s.io"
    secret = token_secret_name(w)
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _metadata(w, w.name, "pod-service-account"),
            "automountServiceAccountToken": True,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": _metadata(w, role, "pod-role"),
            "rules": [{"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": _metadata(w, role, "pod-role-binding"),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": w.name, "namespace": w.namespace}],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": labels.metadata(
                secret,
                w.namespace,
                labels.managed(w, secret, "pod-sa-token-secret"),
                w.raw,
                {"kubernetes.io/service-account.name": w.name},
            ),
            "type": "kubernetes.io/service-account-token",
        },
    ]


def _metadata(w: model.Workload, name: str, component: str) -> raw.Object:
    return labels.metadata(name, w.namespace, labels.managed(w, name, component), w.raw)
