import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from grovekeeper.api import names, raw
from grovekeeper.cli import rollback
from grovekeeper.cli.main import main
from grovekeeper.embedded.cluster import EmbeddedCluster
from grovekeeper.expand import history, parse
from tests import crds

SET = "/apis/grove.io/v1alpha1/namespaces/default/podgangsets"
HISTORY = "/apis/apps/v1/namespaces/default/controllerrevisions"


def podset(image: str = "i:1") -> raw.Object:
    clique = {
        "name": "a",
        "spec": {
            "roleName": "a",
            "replicas": 1,
            "minAvailable": 1,
            "podSpec": {"containers": [{"name": "c", "image": image}]},
        },
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PodGangSet",
        "metadata": {"name": "demo", "namespace": "default"},
        "spec": {"template": {"cliques": [clique]}},
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as running:
        crds.install(running)
        yield running


@pytest.fixture
def demo(cluster: EmbeddedCluster) -> Iterator[Any]:
    """A set that runs its second revision."""
    stored = cluster.request("POST", SET, podset("i:2"))
    for number, image in ((1, "i:1"), (2, "i:2")):
        template = copy.deepcopy(stored["spec"]["template"])
        template["cliques"][0]["spec"]["podSpec"]["containers"][0]["image"] = image
        w = parse.workload({**stored, "spec": {**stored["spec"], "template": template}})
        cluster.request("POST", HISTORY, history.controller_revision(w, number))
    yield cluster
    cluster.request("DELETE", f"{SET}/demo")
    for entry in cluster.request("GET", HISTORY)["items"]:
        cluster.request("DELETE", f"{HISTORY}/{entry['metadata']['name']}")


def run(cluster: Any, *arguments: str) -> Result:
    kubeconfig = str(Path(cluster.kubeconfig))
    return CliRunner().invoke(main, ["rollback", "demo", "--kubeconfig", kubeconfig, *arguments])


def image(cluster: Any) -> str:
    found: str = cluster.request("GET", f"{SET}/demo")["spec"]["template"]["cliques"][0]["spec"]["podSpec"][
        "containers"
    ][0]["image"]
    return found


def test_going_back_and_what_it_says(demo: Any) -> None:
    dry = run(demo, "--dry-run")
    assert dry.exit_code == 0
    assert "spec.template.cliques.0.spec.podSpec.containers.0.image: i:2 -> i:1" in dry.output
    assert image(demo) == "i:2"
    assert run(demo).exit_code == 0
    assert image(demo) == "i:1"
    again = run(demo, "--to-revision", "1")
    assert "nothing to do" in again.output
    missing = run(demo, "--to-revision", "7")
    assert missing.exit_code == 1
    assert "no revision 7 (known: 1, 2)" in missing.output


def test_the_history_is_listed_newest_first(demo: Any) -> None:
    lines = run(demo, "--list").output.splitlines()
    assert lines[1].startswith("2 ")
    assert lines[1].endswith("i:2 (current)")
    assert lines[2].endswith("i:1")


def test_what_git_owns_is_refused_and_forced(demo: Any) -> None:
    mark = {"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}}
    demo.request("PATCH", f"{SET}/demo", mark, "application/merge-patch+json")
    refused = run(demo)
    assert refused.exit_code == 1
    assert "managed by Flux" in refused.output
    assert "revert the commit in Git" in refused.output
    assert image(demo) == "i:2"
    assert run(demo, "--force").exit_code == 0
    assert image(demo) == "i:1"


def test_a_set_that_is_not_there(cluster: EmbeddedCluster) -> None:
    result = run(cluster)
    assert result.exit_code == 2
    assert "check the name and -n" in result.output


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "Argo CD"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "x"}}, "Flux"),
        ({"labels": {"app.kubernetes.io/instance": "x"}}, None),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "argocd-controller"}]}, "Argo CD"),
    ],
)
def test_who_manages_a_set(metadata: raw.Object, tool: str | None) -> None:
    assert rollback.managed_by({"metadata": metadata}) == tool


def test_without_an_earlier_revision_there_is_nothing_to_go_back_to() -> None:
    with pytest.raises(rollback.Refused, match="no earlier revision of demo"):
        rollback.chosen(rollback.History(podset(), []), None)
