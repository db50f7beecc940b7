"""What must be registered with an API server, as the chart renders it (tests/chart holds the two together).

The chart is for clusters; this is for the demo and the fast tests, where there is no Helm.
"""

import json

from grovekeeper.api import names, raw

NAMESPACE = "grovekeeper-system"
_USER = f"system:serviceaccount:{NAMESPACE}:grovekeeper"


def objects() -> list[raw.Object]:
    """Return service account, settings and webhook configurations."""
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "grovekeeper", "namespace": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "grovekeeper", "namespace": NAMESPACE},
            # JSON is YAML.
            "data": {"settings.yaml": json.dumps({"namespace": NAMESPACE, "init_image": "grovekeeper:0.1.0"})},
        },
        mutating(),
        validating(),
    ]


def mutating() -> raw.Object:
    """Return the MutatingWebhookConfiguration."""
    pods = _hook("mutate-pod", "/webhooks/mutate-pod", [_rule("", "v1", ["CREATE"], ["pods"])])
    pods["objectSelector"] = {
        "matchLabels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
        "matchExpressions": [{"key": names.LABEL_PODCLIQUE, "operator": "Exists"}],
    }
    pods["reinvocationPolicy"] = "IfNeeded"
    hooks = [_of_set("default", dialect) for dialect in names.DIALECTS.values()]
    return _configuration("MutatingWebhookConfiguration", [*hooks, pods])


def validating() -> raw.Object:
    """Return the ValidatingWebhookConfiguration."""
    writes = ["CREATE", "UPDATE"]
    topology = _rule(names.GROUP, names.VERSION, writes, ["clustertopologybindings"], "Cluster")
    scaled = _rule(names.GROUP, names.VERSION, ["UPDATE"], ["podcliques/scale", "podcliquescalinggroups/scale"])
    scale = _hook("validate-scale", "/webhooks/validate-scale", [scaled])
    scale["matchPolicy"] = "Exact"
    changes, every = ["UPDATE", "DELETE"], ["CREATE", "UPDATE", "DELETE"]
    authorizer = _hook(
        "authorizer",
        "/webhooks/authorizer-webhook",
        [
            _rule("", "v1", changes, ["secrets", "serviceaccounts", "services"]),
            _rule("", "v1", ["UPDATE"], ["pods"]),
            _rule("rbac.authorization.k8s.io", "v1", changes, ["roles", "rolebindings"]),
            {**_rule("autoscaling", "v1", changes, ["horizontalpodautoscalers"]), "apiVersions": ["v1", "v2"]},
            _rule(names.GROUP, names.VERSION, every, ["podcliques", "podcliquescalinggroups"]),
            _rule(names.SCHEDULER_GROUP, names.VERSION, every, ["podgangs"]),
        ],
    )
    authorizer["objectSelector"] = {"matchLabels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}}
    authorizer["matchConditions"] = [
        {"name": "not-ourselves", "expression": f'request.userInfo.username != "{_USER}"'},
        {
            "name": "not-the-cluster",
            "expression": '!(has(request.userInfo.groups) && "system:nodes" in request.userInfo.groups) && '
            '!request.userInfo.username.startsWith("system:kube-") && '
            '!request.userInfo.username.startsWith("system:serviceaccount:kube-system:")',
        },
    ]
    hooks = [_of_set("validate", dialect) for dialect in names.DIALECTS.values()]
    bindings = _hook("validate-clustertopology", "/webhooks/validate-clustertopology", [topology])
    return _configuration("ValidatingWebhookConfiguration", [*hooks, bindings, scale, authorizer])


def _of_set(verb: str, dialect: names.Dialect) -> raw.Object:
    kind = dialect.kind.lower()
    rule = _rule(names.GROUP, names.VERSION, ["CREATE", "UPDATE"], [dialect.plural])
    return _hook(f"{verb}-{kind}", f"/webhooks/{verb}-{kind}", [rule])


def _hook(name: str, path: str, rules: list[raw.Object]) -> raw.Object:
    return {
        "name": f"{name}.grovekeeper.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": 5,
        "clientConfig": {"service": {"name": "grovekeeper-webhook", "namespace": NAMESPACE, "path": path, "port": 443}},
        "rules": rules,
    }


def _rule(group: str, version: str, operations: list[str], kinds: list[str], scope: str = "Namespaced") -> raw.Object:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": operations,
        "resources": kinds,
        "scope": scope,
    }


def _configuration(kind: str, hooks: list[raw.Object]) -> raw.Object:
    metadata = {"name": "grovekeeper"}
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": metadata, "webhooks": hooks}
