"""What holds for everything that the chart renders, whatever the values: rights of pods, who finds whom, the notes."""

import functools
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from grovekeeper.embedded.selectors import matches_labels
from tests.chart import helm, matrix
from tests.chart.test_chart import pods_of
from tests.controlplane import binaries
from tests.tools import commands

pytestmark = pytest.mark.real
"""helm and kubectl come with the control plane's binaries."""

OBJECT = '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}'
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module", params=matrix.combinations(), ids=lambda values: " ".join(values)[:60] or "defaults")
def rendered(request: pytest.FixtureRequest) -> Objects:
    return _rendered(request.param)


@functools.cache
def _rendered(values: tuple[str, ...]) -> Objects:
    return helm.template(*values)


def of(objects: Objects, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((obj["metadata"]["name"], obj["spec"]) for obj in objects if obj["kind"] == kind)


def containers(pod: dict[str, Any]) -> Objects:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def ports(pod: dict[str, Any]) -> set[str | int]:
    return {
        port[key] for container in containers(pod) for port in container["ports"] for key in ("name", "containerPort")
    }


def test_every_pod_keeps_to_the_restricted_standard(rendered: Objects) -> None:
    """What Pod Security asks of a namespace labelled pod-security.kubernetes.io/enforce: restricted, and a bit more."""
    for name, pod in pods_of(rendered).items():
        spec = pod["spec"]
        context = spec["securityContext"]
        assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"}), name
        assert context["runAsUser"] > 0
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
        for container in containers(pod):
            own = container["securityContext"]
            assert own == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert not [port for port in container["ports"] if "hostPort" in port]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
        kinds = {next(iter(volume.keys() - {"name"})) for volume in spec.get("volumes", ())}
        assert kinds <= {"configMap", "emptyDir", "secret"}
        # Only those who ask the API server get its token.
        assert (spec.get("serviceAccountName"), spec.get("automountServiceAccountToken", True)) == (
            (None, False) if name == "grovekeeper-redis" else ("grovekeeper", True)
        )


def test_what_pods_mount_and_probe_is_there(rendered: Objects) -> None:
    maps = {obj["metadata"]["name"] for obj in rendered if obj["kind"] == "ConfigMap"}
    for name, pod in pods_of(rendered).items():
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", ())}
        assert volumes.keys() == mounted, name
        assert {v["configMap"]["name"] for v in volumes.values() if "configMap" in v} <= maps
        for container in containers(pod):
            for probe in ("livenessProbe", "readinessProbe"):
                for how in container.get(probe, {}).values():
                    assert not isinstance(how, dict) or how["port"] in ports(pod), (name, probe)


def test_selectors_find_the_pods_of_exactly_one_deployment(rendered: Objects) -> None:
    pods = pods_of(rendered)

    def found(labels: dict[str, Any]) -> list[str]:
        return [name for name, pod in pods.items() if matches_labels(labels, pod["metadata"]["labels"])]

    for name, spec in of(rendered, "Deployment"):
        assert found(spec["selector"]) == [name]
        for spread in pods[name]["spec"].get("topologySpreadConstraints", ()):
            assert found(spread["labelSelector"]) == [name]
    for name, spec in of(rendered, "Service"):
        assert found({"matchLabels": spec["selector"]}) == [name]
        assert {port["targetPort"] for port in spec["ports"]} <= ports(pods[name])
    ours = [name for name in pods if name != "grovekeeper-redis"]
    budgets = dict(of(rendered, "PodDisruptionBudget"))
    assert sorted(budgets) == sorted(ours)
    for name, spec in budgets.items():
        # One at a time also with one replica: a drain is never held up.
        assert (found(spec["selector"]), spec["maxUnavailable"]) == ([name], 1)
        assert spec.keys() == {"selector", "maxUnavailable"}


def test_redis_without_a_password_is_reached_by_our_components_alone(rendered: Objects) -> None:
    pods = pods_of(rendered)
    policies = dict(of(rendered, "NetworkPolicy"))
    assert policies.keys() == pods.keys() & {"grovekeeper-redis"}
    for name, spec in policies.items():
        assert spec["podSelector"]["matchLabels"] == pods[name]["metadata"]["labels"]
        assert spec["policyTypes"] == ["Ingress"]
        (rule,) = spec["ingress"]
        assert {port["port"] for port in rule["ports"]} <= ports(pods[name])
        (peer,) = rule["from"]
        assert peer.keys() == {"podSelector"}  # of this namespace
        reached = {n for n, pod in pods.items() if matches_labels(peer["podSelector"], pod["metadata"]["labels"])}
        assert reached == pods.keys() - {"grovekeeper-redis"}


def test_the_command_line_takes_the_arguments_that_pods_start_with(rendered: Objects) -> None:
    for name, pod in pods_of(rendered).items():
        if name != "grovekeeper-redis":
            (container,) = containers(pod)
            assert "command" not in container  # the image's entry point is grovekeeper
            assert commands.fault(shlex.join(["grovekeeper", *container["args"]])) is None


def test_the_notes_name_the_next_steps() -> None:
    def notes(*arguments: str) -> str:
        return helm.run("install", "g", str(helm.CHART), "--dry-run=client", "--namespace", "gk", *arguments).stdout

    assert "kubectl -n gk rollout status deployment" in notes()
    assert "work waits while it is away" in notes()
    assert "one that is highly available" not in notes("--set", "redis.url=redis://r:6379")
    assert "tls.crt and tls.key" in notes("--set", "webhook.certMode=files")
    assert "gangs cannot get new pods" in notes("--set", "webhook.replicas=1")


def test_the_commands_of_the_notes_can_be_typed() -> None:
    """kubectl reads its arguments before it looks for a cluster, which is not there."""
    shown = helm.run("install", "g", str(helm.CHART), "--dry-run=client", "--namespace", "gk").stdout
    template = (helm.CHART / "templates" / "NOTES.txt").read_text()
    typed = re.findall(r"((?:kubectl|grovekeeper) [^#\n]+)", shown.partition("NOTES:")[2])
    typed += re.findall(r"^  (helm .*)$", template, re.MULTILINE)  # shown after an upgrade only
    assert len(typed) == 6
    for line in typed:
        for text in line.partition(" > ")[0].split("|"):
            command = text.replace("CHART", str(helm.CHART)).strip()
            program, *arguments = shlex.split(command)
            if program == "kubectl":
                asked = [str(binaries.ensure("kubectl")), "--server=http://127.0.0.1:1", *arguments]
                done = subprocess.run(asked, input=OBJECT, capture_output=True, text=True, check=False)
                assert re.search(r"connection refused|topology.yaml\" does not exist", done.stderr), done.stderr
            elif program == "helm":
                assert '"kind": "CustomResourceDefinition"' in helm.run(*arguments).stdout
            else:
                assert commands.fault(command) is None, command
