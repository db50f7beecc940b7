"""defrag --dry-run as a user calls it, with files in the place of a cluster."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from grovekeeper.cli.main import main
from grovekeeper.placement import levels
from grovekeeper.reconciler import pins
from tests.cli.test_place import node


def pod(gang: str, index: int, where: int) -> dict[str, Any]:
    labels = {"grove.io/podgang": gang, "grove.io/podclique": f"{gang}-w", "grove.io/podclique-pod-index": str(index)}
    name = f"{gang}-w-{index}"
    pin = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [f"n{where:02}"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pin]}}
    container = {"name": "c", "resources": {"requests": {"nvidia.com/gpu": "8"}}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels},
        "spec": {
            "nodeName": f"n{where:02}",
            "containers": [container],
            "affinity": {"nodeAffinity": required},
        },
        "status": {"phase": "Running"},
    }


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """28 nodes in four racks; gang s-0 on two nodes of r0, s-1 on two nodes of r1, both bound to a rack."""
    container = {"name": "c", "image": "i:1", "resources": {"requests": {"nvidia.com/gpu": 8}}}
    spec = {"roleName": "w", "replicas": 2, "minAvailable": 2, "podSpec": {"containers": [container]}}
    template = {
        "cliques": [{"name": "w", "spec": spec}],
        "topologyConstraint": {"topologyName": "t", "pack": {"required": "rack"}},
    }
    body = {"apiVersion": "grove.io/v1alpha1", "kind": "PodGangSet", "metadata": {"name": "s"}}
    contents: dict[str, Any] = {
        "set.yaml": {**body, "spec": {"replicas": 2, "template": template}},
        "binding.yaml": levels.binding("t", {"block": "kubernetes.io/block", "rack": "kubernetes.io/rack"}),
        "nodes.json": {"items": [node(index) for index in range(28)]},
        "pods.json": {"items": [pod("s-0", 0, 1), pod("s-0", 1, 2), pod("s-1", 0, 8), pod("s-1", 1, 9)]},
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    return {name.partition(".")[0]: tmp_path / name for name in contents}


def run(files: dict[str, Path], *arguments: str) -> Result:
    given = [str(files["set"]), str(files["binding"]), "--nodes", str(files["nodes"]), "--pods", str(files["pods"])]
    return CliRunner().invoke(main, ["defrag", *given, *arguments])


def test_it_names_the_rack_that_becomes_free_and_what_restarts(files: dict[str, Path]) -> None:
    found = run(files, "--dry-run", "-o", "json")
    assert found.exit_code == 0, found.output
    answer = json.loads(found.stdout)
    (freed,) = answer["freed"]
    assert (freed["domain"], freed["nodes"], freed["podsRestarted"], answer["free"]) == ("r0", 7, 2, 2)
    (gang,) = freed["gangs"]
    assert gang["gang"] == "default/s-0"
    assert {int(each["to"][1:]) // 7 for each in gang["pods"]} == {1}
    text = run(files, "--dry-run").output
    assert "1 domains of rack can become free, 2 are: 1 gangs move, 2 pods restart" in text
    assert "s-0-w-0: n01 -> " in text
    assert "rack r1 stays: gangs of other domains move there" in text


def test_there_is_nothing_to_gain_where_all_is_in_one_rack(files: dict[str, Path]) -> None:
    files["pods"].write_text(json.dumps({"items": [pod("s-0", 0, 1), pod("s-0", 1, 2)]}))
    found = run(files, "--dry-run")
    assert found.exit_code == 1, found.output
    assert "0 domains of rack can become free" in found.output


def test_pods_of_sets_that_are_not_given_stay(files: dict[str, Path]) -> None:
    files["pods"].write_text(json.dumps({"items": [pod("s-0", 0, 1), pod("s-0", 1, 2), pod("other-0", 0, 8)]}))
    found = run(files, "--dry-run", "-o", "json")
    answer = json.loads(found.stdout)
    assert answer["stay"] == {"r1": "1 pods of others are there: they are not moved"}
    assert [freed["domain"] for freed in answer["freed"]] == ["r0"]


def test_a_binding_whose_labels_no_node_has_does_not_decide_what_a_level_means(files: dict[str, Path]) -> None:
    add_binding(files, "a-first", {"block": "example.com/block", "rack": "example.com/rack"})
    for arguments in ((), ("--level", "rack"), ("--level", "kubernetes.io/rack")):
        found = run(files, "--dry-run", "-o", "json", *arguments)
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["level"] == "kubernetes.io/rack"


def test_a_level_that_means_two_labels_of_the_nodes_is_asked_back(files: dict[str, Path]) -> None:
    add_binding(files, "other", {"rack": "kubernetes.io/block"})
    found = run(files, "--dry-run", "--level", "rack")
    assert found.exit_code == 2
    assert "name the label: kubernetes.io/block or kubernetes.io/rack" in found.output
    assert run(files, "--dry-run", "--level", "kubernetes.io/rack").exit_code == 0


def add_binding(files: dict[str, Path], name: str, known: dict[str, str]) -> None:
    listed = [json.loads(files["binding"].read_text()), levels.binding(name, known)]
    files["binding"].write_text("\n---\n".join(json.dumps(each) for each in reversed(listed)))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "nothing is moved by this command: ask with --dry-run"),
        (("--dry-run", "--level", "cage"), "--level cage: no node has the label cage; the levels are block, rack"),
    ],
)
def test_what_it_cannot_do_is_said_in_a_sentence(files: dict[str, Path], arguments: tuple[str, ...], text: str) -> None:
    found = run(files, *arguments)
    assert found.exit_code == 2
    assert text in found.output


def test_a_pin_of_ours_comes_off_and_what_the_user_asked_for_stays() -> None:
    asked = {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}
    pinned = pod("s-0", 0, 1)["spec"]
    required = pinned["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert pins.unpinned(pinned)["affinity"] == {"nodeAffinity": {}}
    required["nodeSelectorTerms"][0] |= asked
    kept = pins.unpinned(pinned)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert kept == {"nodeSelectorTerms": [asked]}


@pytest.mark.parametrize("lonely", ["s-0", "s-0-g-0"])
@pytest.mark.parametrize("tied", [True, False])
def test_neither_a_scaled_gang_nor_its_base_gang_leaves_the_domain_that_they_share(
    files: dict[str, Path], tied: bool, lonely: str
) -> None:
    # One of the two gangs is alone in rack r0, the other in a full r1 of the same block; there is room in r2 only.
    obj = json.loads(files["set"].read_text())
    group = {"name": "g", "cliqueNames": ["w"], "replicas": 2, "minAvailable": 1}
    obj["spec"]["replicas"] = 1
    obj["spec"]["template"]["podCliqueScalingGroups"] = [{**group, **({"baseDomain": "block"} if tied else {})}]
    obj["spec"]["template"]["topologyConstraint"] = {"topologyName": "t", "pack": {"preferred": "block"}}
    files["set"].write_text(json.dumps(obj))
    pods = [pod("s-0", index, index + (0 if lonely == "s-0" else 7)) for index in range(2)]
    pods += [pod("s-0-g-0", index, index + (7 if lonely == "s-0" else 0)) for index in range(2)]
    for each in pods:
        labels = each["metadata"]["labels"]
        labels["grove.io/podclique"] = "s-0-g-0-w" if labels["grove.io/podgang"] == "s-0" else "s-0-g-1-w"
    others = [pod(f"o{index}", 0, index) for index in range(9, 16)]
    files["pods"].write_text(json.dumps({"items": [*pods, *others]}))
    answer = json.loads(run(files, "--dry-run", "-o", "json").stdout)
    assert [each["domain"] for each in answer["freed"]] == ([] if tied else ["r0"])
    if tied:
        assert answer["stay"]["r0"].startswith(f"default/{lonely} finds no other place: ")
        assert "waited longer" not in answer["stay"]["r0"]
    else:
        assert answer["freed"][0]["podsRestarted"] == 2
        assert answer["freed"][0]["gangs"][0]["gang"] == f"default/{lonely}"


def test_gangs_that_another_scheduler_places_stay(files: dict[str, Path]) -> None:
    obj = json.loads(files["set"].read_text())
    obj["metadata"]["labels"] = {"kai.scheduler/queue": "team"}
    obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["schedulerName"] = "kai-scheduler"
    files["set"].write_text(json.dumps(obj))
    answer = json.loads(run(files, "--dry-run", "-o", "json").stdout)
    assert answer["freed"] == []
    assert "pods of others" in answer["stay"]["r0"]


def test_a_pod_that_names_a_gang_and_no_clique_is_somebody_elses(files: dict[str, Path]) -> None:
    odd = pod("s-0", 7, 3)
    del odd["metadata"]["labels"]["grove.io/podclique"]
    files["pods"].write_text(json.dumps({"items": [*json.loads(files["pods"].read_text())["items"], odd]}))
    assert "1 pods of others" in json.loads(run(files, "--dry-run", "-o", "json").stdout)["stay"]["r0"]
