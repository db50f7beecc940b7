"""The chart and the built-in registration say the same."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from grovekeeper.embedded import registration
from tests.controlplane import binaries

CHART = Path(__file__).parents[2] / "charts" / "grovekeeper"


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    helm = binaries.find("helm")
    if helm is None:
        pytest.skip("helm is not built yet: python -m tests.controlplane.binaries")
    command = [str(helm), "template", "grovekeeper", str(CHART), "--namespace", registration.NAMESPACE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [obj for obj in YAML(typ="safe").load_all(done.stdout) if obj]


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
