"""The chart and the built-in registration say the same."""

from typing import Any

import pytest
import yaml

from grovekeeper.embedded import registration
from grovekeeper.runtime.settings import Webhook
from grovekeeper.webhooks.server import BODY_SECONDS
from tests.chart import helm

pytestmark = pytest.mark.real
"""helm comes with the control plane's binaries."""


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    return helm.template()


@pytest.mark.parametrize("ours", [registration.mutating(), registration.validating()], ids=lambda obj: str(obj["kind"]))
def test_webhook_configurations_are_the_same(rendered: list[dict[str, Any]], ours: dict[str, Any]) -> None:
    theirs = next(obj for obj in rendered if obj["kind"] == ours["kind"])
    assert theirs["webhooks"] == ours["webhooks"]


def test_the_chart_brings_everything_a_cluster_needs(rendered: list[dict[str, Any]]) -> None:
    kinds = {obj["kind"] for obj in rendered}
    assert kinds >= {
        "Deployment",
        "Service",
        "ConfigMap",
        "ServiceAccount",
        "ClusterRole",
        "Role",
        "PodDisruptionBudget",
    }
    names = {obj["metadata"]["name"] for obj in rendered if obj["kind"] == "Deployment"}
    assert names == {f"grovekeeper-{part}" for part in ("webhook", "dispatcher", "worker", "redis")}


def test_nobody_is_given_everything(rendered: list[dict[str, Any]]) -> None:
    rules = [rule for obj in rendered if obj["kind"] in ("ClusterRole", "Role") for rule in obj["rules"]]
    assert not [rule for rule in rules if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]]


def test_in_cert_managers_mode_everything_names_one_certificate() -> None:
    found = helm.template("webhook.certMode=files", "webhook.certManager.issuerRef.name=ca")
    certificate = next(obj for obj in found if obj["kind"] == "Certificate")
    where = f"{registration.NAMESPACE}/{certificate['metadata']['name']}"
    for obj in found:
        if obj["kind"].endswith("WebhookConfiguration"):
            assert obj["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": where}
            assert not [hook for hook in obj["webhooks"] if "caBundle" in hook["clientConfig"]]
    assert f"grovekeeper-webhook.{registration.NAMESPACE}.svc" in certificate["spec"]["dnsNames"]
    webhook = next(
        obj for obj in found if obj["metadata"]["name"] == "grovekeeper-webhook" and obj["kind"] == "Deployment"
    )
    spec = webhook["spec"]["template"]["spec"]
    volume = next(entry for entry in spec["volumes"] if "secret" in entry)
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    mount = next(entry for entry in spec["containers"][0]["volumeMounts"] if entry["name"] == volume["name"])
    assert "subPath" not in mount  # the kubelet would never renew it
    settings = yaml.safe_load(next(o for o in found if o["kind"] == "ConfigMap")["data"]["settings.yaml"])
    assert (settings["webhook"]["cert_mode"], settings["webhook"]["cert_dir"]) == ("files", mount["mountPath"])


def test_a_pod_may_end_only_after_it_has_drained(rendered: list[dict[str, Any]]) -> None:
    defaults = Webhook()
    for obj in rendered:
        if obj["metadata"]["name"] == "grovekeeper-webhook" and obj["kind"] == "Deployment":
            grace = obj["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace > defaults.shutdown_delay + BODY_SECONDS + 5


@pytest.mark.parametrize("on", [True, False])
def test_domains_may_be_made_only_where_the_feature_is_on_and_let_go_everywhere(on: bool) -> None:
    objects = helm.template(f"autoMnnvl={str(on).lower()}")
    role = next(obj for obj in objects if obj["kind"] == "ClusterRole")
    verbs = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}
    assert {"list", "watch", "patch", "delete"} <= {*verbs["computedomains"]}
    assert ("create" in verbs["computedomains"]) is on
    assert verbs["resourceclaimtemplates"] == ["get", "list", "watch"]
    config = next(obj for obj in objects if obj["kind"] == "ConfigMap" and "settings.yaml" in obj["data"])
    assert f"auto_mnnvl: {str(on).lower()}" in config["data"]["settings.yaml"]


def rules_of(*profiles: str) -> set[tuple[str, str]]:
    """Return (group, resource) of every rule that the ClusterRole has with these back ends enabled."""
    everything = helm.template(f"schedulers.profiles={{{','.join(profiles)}}}")
    found = [obj for obj in everything if obj["kind"] == "ClusterRole"]
    return {(g, r) for obj in found for rule in obj["rules"] for g in rule["apiGroups"] for r in rule["resources"]}


@pytest.mark.parametrize(
    ("profile", "want"),
    [
        (
            "kai-scheduler",
            {
                ("scheduling.run.ai", "podgroups"),
                ("scheduling.run.ai", "queues"),
                ("kai.scheduler", "topologies"),
                ("grove.io", "clustertopologybindings/finalizers"),
                ("scheduler.grove.io", "podgangs/finalizers"),
            },
        ),
        (
            "volcano",
            {
                ("scheduling.volcano.sh", "podgroups"),
                ("scheduling.volcano.sh", "queues"),
                ("scheduler.grove.io", "podgangs/finalizers"),
            },
        ),
        ("podgroup", {("scheduling.k8s.io", "podgroups"), ("scheduler.grove.io", "podgangs/finalizers")}),
    ],
)
def test_a_back_end_brings_its_own_rights_and_no_others(profile: str, want: set[tuple[str, str]]) -> None:
    assert rules_of("default-scheduler", profile) - rules_of("default-scheduler") == want
