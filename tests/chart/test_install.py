"""helm installs, upgrades and removes the chart on a real API server."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.embedded.installation import wait_for
from tests import patience
from tests.chart import helm as chart
from tests.chart import matrix
from tests.controlplane import binaries
from tests.controlplane.plane import ControlPlane, Options

CHART = Path(__file__).parents[2] / "charts" / "grovekeeper"
SPACE = "grovekeeper-system"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{SPACE}/deployments"
BUDGETS = f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

pytestmark = [pytest.mark.real, pytest.mark.timeout(180 * patience.factor())]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(Options(scheduler=False, kubelets=False)) as found:
        yield found


def helm(plane: ControlPlane, *arguments: str) -> str:
    command = [str(binaries.ensure("helm")), f"--kubeconfig={plane.kubeconfig}", f"--namespace={SPACE}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def there(plane: ControlPlane, path: str) -> list[str]:
    return sorted(entry["metadata"]["name"] for entry in plane.request("GET", path)["items"])  # type: ignore[attr-defined]


@contextmanager
def release(plane: ControlPlane, name: str, *options: str) -> Iterator[None]:
    """A release of the chart; nothing in its namespace is left of it."""
    helm(plane, "install", name, str(CHART), "--create-namespace", *options)
    try:
        yield
    finally:
        helm(plane, "uninstall", name)
        wait_for(lambda: not there(plane, DEPLOYMENTS) and not there(plane, BUDGETS), "the release to go")


def test_the_chart_is_installed_upgraded_and_removed(plane: ControlPlane) -> None:
    with release(plane, "grovekeeper"):
        parts = [f"grovekeeper-{part}" for part in ("dispatcher", "redis", "webhook", "worker")]
        assert there(plane, DEPLOYMENTS) == parts
        kinds = ours(plane)
        assert {"podgangsets.grove.io", "podcliquesets.grove.io", "podgangs.scheduler.grove.io"} <= {*kinds}
        helm(plane, "upgrade", "grovekeeper", str(CHART), "--set", "redis.url=redis://redis.example.com:6379/0")
        assert there(plane, DEPLOYMENTS) == [name for name in parts if name != "grovekeeper-redis"]
    # Sets outlive the release: helm leaves CRDs alone.
    assert ours(plane) == kinds


def test_the_api_server_finds_no_fault_in_what_any_two_values_render(plane: ControlPlane) -> None:
    rendered = [obj for values in matrix.combinations() for obj in chart.template(*values)]
    # Certificates and PodMonitors are other people's kinds, which this API server does not have.
    distinct = {
        json.dumps(obj, sort_keys=True): obj for obj in rendered if obj["kind"] not in ("Certificate", "PodMonitor")
    }
    assert len(rendered) > len(distinct) > 50
    kubectl = [str(binaries.ensure("kubectl")), f"--kubeconfig={plane.kubeconfig}"]
    subprocess.run([*kubectl, "create", "namespace", SPACE], capture_output=True, check=False)
    judged = [*kubectl, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]
    text = yaml.safe_dump_all(distinct.values())
    done = subprocess.run(judged, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(done.stdout.splitlines()) == len(distinct)


def ours(plane: ControlPlane) -> list[str]:
    return [name for name in there(plane, CRDS) if name.endswith("grove.io")]


def test_the_service_account_may_do_its_work_and_no_more(plane: ControlPlane) -> None:
    with release(plane, "again", "--set", "redis.url=redis://r:6379"):
        review_rights(plane)


def review_rights(plane: ControlPlane) -> None:
    user = f"system:serviceaccount:{SPACE}:grovekeeper"
    allowed = [("create", "", "pods"), ("patch", "grove.io", "podcliques/status"), ("create", "", "pods/eviction")]
    refused = [
        ("get", "", "secrets"),
        ("delete", "", "nodes"),
        ("create", "", "pods/exec"),
        ("patch", "apps", "deployments"),
    ]
    for (verb, group, resource), want in [*((each, True) for each in allowed), *((each, False) for each in refused)]:
        name, _, subresource = resource.partition("/")
        attributes = {
            "verb": verb,
            "group": group,
            "resource": name,
            "subresource": subresource,
            "namespace": "default",
        }
        review = {"spec": {"user": user, "resourceAttributes": attributes}}
        try:
            found = plane.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        except RefusedError as error:
            raise AssertionError(error.answer) from error
        assert found["status"].get("allowed", False) is want, (verb, resource)  # type: ignore[attr-defined]
