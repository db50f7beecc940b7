"""place, topology and explain as a user calls them: what-if questions without a cluster."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from grovekeeper.cli import capacity, explain, picture
from grovekeeper.cli.main import main
from grovekeeper.placement import levels

EXAMPLES = Path(__file__).parents[2] / "gitops-examples" / "plain"


def node(index: int, gpus: int = 8, **labels: str) -> dict[str, Any]:
    known = {"kubernetes.io/hostname": f"n{index:02}", "kubernetes.io/zone": "z", **labels}
    known |= {"kubernetes.io/block": f"b{index // 14}", "kubernetes.io/rack": f"r{index // 7}"}
    offered = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
    return {"kind": "Node", "metadata": {"name": f"n{index:02}", "labels": known}, "status": {"allocatable": offered}}


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps({"kind": "List", "items": [node(index) for index in range(28)]}))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_a_whole_folder_is_placed_and_each_gang_is_in_one_rack(nodes: Path) -> None:
    found = run("place", EXAMPLES, "--nodes", nodes, "-o", "json")
    assert found.exit_code == 0, found.output
    answer = json.loads(found.stdout)
    assert answer["fits"]
    chat = next(gang for gang in answer["gangs"] if gang["gang"] == "chat-0")
    assert len(chat["domains"]["kubernetes.io/rack"]) == 1
    assert set(chat["nodes"].values()) <= {f"n{index:02}" for index in range(28)}


def test_what_does_not_fit_is_1_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "few.json"
    path.write_text(json.dumps([node(0), node(1, gpus=0)]))
    found = run("place", EXAMPLES, "--nodes", path)
    assert found.exit_code == 1, found.output
    assert "does not fit" in found.output
    assert "short of" in " ".join(found.output.split())


def test_pods_that_are_there_take_their_room(tmp_path: Path, nodes: Path) -> None:
    container = {"name": "c", "resources": {"requests": {"nvidia.com/gpu": "8"}}}
    pods = [
        {
            "kind": "Pod",
            "metadata": {"name": f"p{i}", "namespace": "x", "uid": f"p{i}"},
            "spec": {"nodeName": f"n{i:02}", "containers": [container]},
            "status": {"phase": "Running"},
        }
        for i in range(28)
    ]
    path = tmp_path / "pods.json"
    path.write_text(json.dumps({"items": pods}))
    found = run("place", EXAMPLES, "--nodes", nodes, "--pods", path, "-o", "json")
    assert found.exit_code == 1
    reasons = [gang["reason"] for gang in json.loads(found.stdout)["gangs"] if not gang["fits"]]
    assert any("nvidia.com/gpu" in text for text in reasons)


def test_pods_of_the_asked_sets_that_run_already_are_not_counted_twice(tmp_path: Path, nodes: Path) -> None:
    pods = [running(f"chat-{i}", i, "chat") for i in range(27)]
    path = tmp_path / "pods.json"
    path.write_text(json.dumps({"items": pods}))
    found = run("place", EXAMPLES / "multi-node-disaggregated", "--nodes", nodes, "--pods", path, "-o", "json")
    assert found.exit_code == 0, found.output
    assert "27 pods of these sets are there already" in found.stderr
    path.write_text(json.dumps({"items": [running(f"other-{i}", i, "other") for i in range(27)]}))
    found = run("place", EXAMPLES / "multi-node-disaggregated", "--nodes", nodes, "--pods", path, "-o", "json")
    assert found.exit_code == 1, found.output
    assert "already" not in found.stderr


def running(name: str, index: int, part_of: str) -> dict[str, Any]:
    """A pod of ours that fills a node."""
    labels = {"app.kubernetes.io/managed-by": "grove-operator", "app.kubernetes.io/part-of": part_of}
    container = {"name": "c", "resources": {"requests": {"nvidia.com/gpu": "8"}}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": f"n{index:02}", "containers": [container]},
        "status": {"phase": "Running"},
    }


def test_the_picture_names_every_gang_and_node(tmp_path: Path, nodes: Path) -> None:
    path = tmp_path / "cluster.svg"
    assert run("place", EXAMPLES, "--nodes", nodes, "--picture", path).exit_code == 0
    texts = [element.text or "" for element in ET.fromstring(path.read_text()).iter()]
    assert any(text == "chat-0" for text in texts)
    assert sum("n07" in text for text in texts) == 1
    assert any(text == "rack r3" for text in texts)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"items": [{"kind": "Pod", "metadata": {}}]}'])
def test_nodes_that_cannot_be_read_are_2_with_the_next_step(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "nodes.json"
    if text is not None:
        path.write_text(text)
    found = run("place", EXAMPLES, "--nodes", path)
    assert found.exit_code == 2
    assert "kubectl get nodes -o json" in found.output


@pytest.mark.parametrize(
    ("kind", "items", "want"),
    [
        pytest.param("nodes", 5, "there is no Node in it", id="items of another shape"),
        pytest.param("nodes", [{"metadata": {}}], "a Node needs metadata.name", id="no name"),
        pytest.param("nodes", [{"metadata": "x"}], "a Node needs metadata.name", id="metadata of another shape"),
        pytest.param("nodes", [{"metadata": {"name": "n"}, "status": "x"}], "must be mappings", id="status"),
        pytest.param(
            "nodes",
            [{"metadata": {"name": "n"}, "status": {"allocatable": [1]}}],
            "Node n: status.allocatable: Invalid value: [1]: must be of type object, found a list",
            id="allocatable",
        ),
        pytest.param(
            "nodes",
            [{"metadata": {"name": "n", "labels": {"rack": 7}}}],
            "Node n: metadata.labels: rack: 7 must be text: put the value in quotes",
            id="a label that YAML reads as a number",
        ),
        pytest.param("nodes", [{"metadata": {"name": "n", "labels": ["x"]}}], "metadata.labels must be", id="labels"),
        pytest.param(
            "nodes",
            [{"metadata": {"name": "n"}, "spec": {"taints": "x"}}],
            'Node n: spec.taints: Invalid value: "x"',
            id="taints",
        ),
        pytest.param(
            "nodes",
            [{"metadata": {"name": "n"}, "spec": {"taints": [{"effect": "NoSchedule"}]}}],
            "Node n: spec.taints[0].key: Required value",
            id="a taint without a key",
        ),
        pytest.param(
            "pods",
            [{"metadata": {"name": "p"}, "spec": {"nodeName": "n0", "containers": 5}}],
            "Pod p: spec.containers: Invalid value: 5",
            id="containers",
        ),
    ],
)
def test_nodes_and_pods_of_odd_shapes_are_named(tmp_path: Path, nodes: Path, kind: str, items: Any, want: str) -> None:
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps({"items": items}))
    given = {"nodes": nodes} | {kind: odd}
    found = run("place", "gitops-examples", *(part for each in given.items() for part in (f"--{each[0]}", each[1])))
    assert (found.exit_code, want in found.stderr) == (2, True), found.output
    assert f"write it with `kubectl get {kind} -o json`" in found.stderr


def test_pods_written_by_hand_need_no_uid_and_a_picture_that_cannot_be_written_is_2(
    tmp_path: Path, nodes: Path
) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n0", "containers": [{"name": "c"}]}}
    (tmp_path / "pods.json").write_text(json.dumps({"items": [pod]}))
    asked = ("place", "gitops-examples", "--nodes", nodes)
    assert run(*asked, "--pods", tmp_path / "pods.json").exit_code in (0, 1)
    found = run(*asked, "--picture", tmp_path / "no" / "x.svg")
    assert (found.exit_code, "cannot be written (No such file or directory)" in found.stderr) == (2, True)


def test_levels_are_found_by_well_known_labels_and_must_nest() -> None:
    cluster = [node(index) for index in range(28)]
    assert list(levels.detected(cluster)) == ["zone", "block", "rack", "host"]
    for index, each in enumerate(cluster):
        each["metadata"]["labels"]["kubernetes.io/rack"] = f"r{index % 3}"  # cuts across blocks
    assert list(levels.detected(cluster)) == ["zone", "block", "host"]
    assert levels.detected([{"metadata": {"name": "bare"}}]) == {}


def test_topology_prints_a_binding_that_check_accepts(tmp_path: Path, nodes: Path) -> None:
    found = run("topology", "--nodes", nodes, "--name", "dc")
    assert found.exit_code == 0
    path = tmp_path / "binding.yaml"
    path.write_text(found.stdout)
    assert run("check", path).exit_code == 0


def test_explain_says_what_a_gang_and_its_pods_wait_for() -> None:
    scheduled = {
        "type": "Scheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "rack: short; 3 nodes out",
    }
    gang = {"metadata": {"name": "s-0"}, "status": {"phase": "Pending", "conditions": [scheduled]}}
    spec = {"schedulingGates": [{"name": "grove.io/podgang-pending-creation"}, {"name": "other.example.com/gate"}]}
    pod = {"metadata": {"name": "s-0-a-x", "labels": {"grove.io/podgang": "s-0"}}, "spec": spec, "status": {}}
    console = Console(width=200, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(explain.drawn({"kind": "PodGangSet", "metadata": {"name": "s"}}, [gang], [pod]))
    text = captured.get()
    assert "gang s-0: Pending" in text
    assert "rack: short" in text
    assert "gates of others: other.example.com/gate" in text


def test_explain_says_of_a_gated_pod_above_the_minimum_that_it_waits_for_room() -> None:
    scheduled = {"type": "Scheduled", "status": "True", "reason": "Placed", "message": "1 of 1 pods have a node"}
    gang = {"metadata": {"name": "s-0"}, "status": {"phase": "Running", "conditions": [scheduled]}}
    spec = {"schedulingGates": [{"name": "grove.io/podgang-pending-creation"}]}
    pod = {"metadata": {"name": "s-0-a-x", "labels": {"grove.io/podgang": "s-0"}}, "spec": spec, "status": {}}
    console = Console(width=200)
    with console.capture() as captured:
        console.print(explain.drawn({"kind": "PodGangSet", "metadata": {"name": "s"}}, [gang], [pod]))
    assert "pod s-0-a-x: gated, above the minimum: waits for room" in captured.get()


@pytest.mark.parametrize(
    ("labels", "want"),
    [
        ({"grove.io/base-podgang": "s-0"}, "1 pods exist and wait until the base gang s-0 has its nodes"),
        ({}, "1 pods exist: its minimum is not complete yet (see the PodCliques' conditions)"),
    ],
)
def test_explain_says_what_a_gang_without_a_podgang_waits_for(labels: dict[str, str], want: str) -> None:
    marks = {"grove.io/podgang": "s-0-g-0", **labels}
    pod = {"metadata": {"name": "s-0-g-1-a-x", "labels": marks}, "spec": {}, "status": {}}
    console = Console(width=200)
    with console.capture() as captured:
        console.print(explain.drawn({"kind": "PodGangSet", "metadata": {"name": "s"}}, [], [pod]))
    assert f"gang s-0-g-0: {want}" in captured.get()


def test_the_picture_shows_domains_in_domains_and_how_full_a_node_is(tmp_path: Path) -> None:
    listed = [node(index) for index in range(28)]
    listed[3]["spec"] = {"unschedulable": True}
    for each in listed:
        each["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    pod = {
        "metadata": {"name": "p", "uid": "p", "labels": {"grove.io/podgang": "half"}},
        "spec": {"nodeName": "n01", "containers": [{"resources": {"requests": {"nvidia.com/gpu": "4"}}}]},
    }
    owner = [{"kind": "DaemonSet"}]
    daemon = {"metadata": {"name": "d", "uid": "d", "ownerReferences": owner}, "spec": {"nodeName": "n02"}}
    room = capacity.Capacity(listed, [pod, daemon], {})
    placed = picture.Placed("whole", [("n27", {"nvidia.com/gpu": 8})])
    root = ET.fromstring(picture.svg(room, [placed]))
    texts = [element.text or "" for element in root.iter()]
    assert [text for text in texts if text.startswith("block ")] == ["block b0", "block b1"]
    assert sum(text.startswith("rack r") for text in texts) == 4
    assert "28 nodes, 26 without a gang, 2 gangs" in texts
    assert {"n01: half 50%", "n02: free", "n03 (not ready, or cordoned): free", "n27: whole 100%"} <= set(texts)
    assert {"12 of 14 free", "13 of 14 free"} <= set(texts)


def spread_set(**at: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i:1", "resources": {"requests": {"nvidia.com/gpu": 8}}}
    clique = {
        "name": "w",
        "spec": {"roleName": "w", "replicas": 2, "minAvailable": 2, "podSpec": {"containers": [container]}},
    }
    clique |= at.pop("clique", {})
    spec = {"replicas": at.pop("replicas", 1), "template": {"cliques": [clique], **at.pop("template", {})}, **at}
    return {"apiVersion": "grove.io/v1alpha1", "kind": "PodGangSet", "metadata": {"name": "s"}, "spec": spec}


def spread_rule() -> dict[str, Any]:
    return {"topologyName": "t", "spread": [{"domain": "rack", "maxSkew": 1}]}


@pytest.mark.parametrize(
    ("at", "want"),
    [
        ({"replicas": 4, "template": {"topologyConstraint": spread_rule()}}, [2, 2, 2, 2]),
        ({"clique": {"topologyConstraint": spread_rule()}}, [1, 1]),
        (
            {
                "template": {
                    "podCliqueScalingGroups": [
                        {
                            "name": "g",
                            "cliqueNames": ["w"],
                            "replicas": 4,
                            "minAvailable": 2,
                            "topologyConstraint": spread_rule(),
                        }
                    ]
                }
            },
            [2, 2, 2, 2],
        ),
    ],
    ids=["set replicas", "pods of a clique", "group replicas, scaled ones included"],
)
def test_what_if_keeps_spread(tmp_path: Path, nodes: Path, at: dict[str, Any], want: list[int]) -> None:
    manifest, binding = tmp_path / "set.json", tmp_path / "binding.yaml"
    manifest.with_suffix(".yaml").write_text(json.dumps(spread_set(**at)))
    binding.write_text(json.dumps(levels.binding("t", {"block": "kubernetes.io/block", "rack": "kubernetes.io/rack"})))
    found = run("place", manifest.with_suffix(".yaml"), binding, "--nodes", nodes, "-o", "json")
    assert found.exit_code == 0, found.output
    used = [int(name[1:]) // 7 for gang in json.loads(found.stdout)["gangs"] for name in gang["nodes"].values()]
    assert sorted(used.count(rack) for rack in set(used)) == want


@pytest.mark.parametrize(("base_domain", "fits"), [(None, True), ("rack", False), ("block", True)])
def test_what_if_keeps_a_scaled_gang_in_the_domain_of_its_base_gang(
    tmp_path: Path, nodes: Path, base_domain: str | None, fits: bool
) -> None:
    manifest, binding = tmp_path / "set.yaml", tmp_path / "binding.yaml"
    group: dict[str, Any] = {"name": "g", "cliqueNames": ["w"], "replicas": 2, "minAvailable": 1}
    group |= {"topologyConstraint": {"topologyName": "t", "pack": {"required": "rack"}}}
    group |= {"baseDomain": base_domain} if base_domain else {}
    wish = {"topologyName": "t", "pack": {"preferred": "block"}}
    obj = spread_set(template={"podCliqueScalingGroups": [group], "topologyConstraint": wish})
    obj["spec"]["template"]["cliques"][0]["spec"] |= {"replicas": 4, "minAvailable": 4}
    manifest.write_text(json.dumps(obj))
    binding.write_text(json.dumps(levels.binding("t", {"block": "kubernetes.io/block", "rack": "kubernetes.io/rack"})))
    found = run("place", manifest, binding, "--nodes", nodes, "-o", "json")
    assert found.exit_code == (0 if fits else 1), found.output
    scaled = json.loads(found.stdout)["gangs"][1]
    assert scaled["fits"] == fits
    assert fits or scaled["reason"].startswith("bound to its base gang's kubernetes.io/rack r")


def test_nodes_whose_labels_are_left_empty_have_none_and_files_without_sets_are_noted(tmp_path: Path) -> None:
    bare, other = tmp_path / "nodes.json", tmp_path / "other.yaml"
    bare.write_text(json.dumps([{**node(0), "metadata": {"name": "n0", "labels": None}}]))
    other.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    found = run("place", other, "--nodes", bare, "-o", "json")
    assert (found.exit_code, json.loads(found.stdout)["gangs"]) == (0, [])
    assert f"note: there is no PodGangSet or PodCliqueSet in {other}" in " ".join(found.stderr.split())
