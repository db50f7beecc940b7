"""Which requests our webhooks can be called for: nobody outside our kinds and labels ever depends on us."""

from typing import Any

import pytest

from grovekeeper.api import names, rules
from grovekeeper.embedded import registration
from grovekeeper.embedded.selectors import matches_labels

OURS = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_PODCLIQUE: "demo-0-a"}
OWN_POD = {"app.kubernetes.io/name": "grovekeeper", "app.kubernetes.io/managed-by": "Helm"}
PERSON = {"username": "somebody", "groups": ["system:authenticated"]}
HOOKS = [*registration.mutating()["webhooks"], *registration.validating()["webhooks"]]


def called(group: str, resource: str, labels: dict[str, str], user: dict[str, Any] = PERSON) -> set[str]:
    """Return the webhooks that the API server would call for any operation on an object."""
    found = set()
    for hook in HOOKS:
        matching = [r for r in hook["rules"] if group in r["apiGroups"] and resource in r["resources"]]
        if not matching or not matches_labels(hook.get("objectSelector") or {}, labels):
            continue
        context = {"request": {"userInfo": user}, "object": {}, "oldObject": None}
        if all(rules.evaluate(entry["expression"], context) for entry in hook.get("matchConditions") or ()):
            found.add(hook["name"].removesuffix(".grovekeeper.io"))
    return found


@pytest.mark.parametrize(
    ("group", "resource", "labels"),
    [
        pytest.param("", "pods", OWN_POD, id="our own pods"),
        pytest.param("", "pods", {"k8s-app": "kube-dns"}, id="pods of kube-system"),
        pytest.param("", "pods", {}, id="pods without labels"),
        pytest.param("", "secrets", {}, id="secrets of others"),
        pytest.param("", "nodes", OURS, id="nodes"),
        pytest.param("", "namespaces", OURS, id="namespaces"),
        pytest.param("", "events", OURS, id="events"),
        pytest.param("coordination.k8s.io", "leases", OURS, id="leases"),
        pytest.param("certificates.k8s.io", "certificatesigningrequests", OURS, id="signing requests"),
        pytest.param("admissionregistration.k8s.io", "mutatingwebhookconfigurations", OURS, id="webhooks"),
        pytest.param("apps", "deployments", OURS, id="deployments"),
        pytest.param("", "pods/binding", OURS, id="binding"),
        pytest.param("", "pods/eviction", OURS, id="eviction"),
        pytest.param("", "pods/ephemeralcontainers", OURS, id="kubectl debug"),
        pytest.param("", "pods/resize", OURS, id="resize"),
        pytest.param("", "pods/exec", OURS, id="exec"),
        pytest.param("", "pods/status", OURS, id="status of pods"),
    ],
)
def test_nothing_of_others_waits_for_us(group: str, resource: str, labels: dict[str, str]) -> None:
    assert called(group, resource, labels) == set()


def test_our_kinds_and_pods_do() -> None:
    assert called("", "pods", OURS) == {"mutate-pod", "authorizer"}
    assert called("", "services", OURS) == {"authorizer"}
    assert called(names.GROUP, "podgangsets", {}) == {"default-podgangset", "validate-podgangset"}
    assert called(names.GROUP, "podcliques/scale", {}) == {"validate-scale"}
    assert called(names.GROUP, "podgangsets/status", {}) == set()


@pytest.mark.parametrize(
    "user",
    [
        {"username": f"system:serviceaccount:{registration.NAMESPACE}:grovekeeper", "groups": []},
        {"username": "system:node:n1", "groups": ["system:nodes"]},
        {"username": "system:kube-controller-manager", "groups": []},
        {"username": "system:serviceaccount:kube-system:generic-garbage-collector", "groups": []},
        {"username": "system:serviceaccount:kube-system:namespace-controller", "groups": []},
    ],
    ids=lambda user: str(user["username"]),
)
def test_the_clusters_own_hands_never_wait_for_protection(user: dict[str, Any]) -> None:
    assert called(names.GROUP, "podcliques", OURS, user) == set()


def test_conditions_hold_for_a_user_without_groups() -> None:
    """An expression that fails refuses the request without asking us."""
    assert called(names.GROUP, "podcliques", OURS, {"username": "somebody"}) == {"authorizer"}


def test_every_hook_is_fit_for_dry_runs_and_short() -> None:
    for hook in HOOKS:
        assert (hook["sideEffects"], hook["admissionReviewVersions"]) == ("None", ["v1"])
        assert hook["timeoutSeconds"] <= 5
        assert "caBundle" not in hook["clientConfig"]
