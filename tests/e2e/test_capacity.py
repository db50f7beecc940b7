"""What people ask a cluster about its room, on both targets: nothing is written for an answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from grovekeeper.cli.main import main
from tests.e2e import topology
from tests.e2e.world import Object, World


@pytest.mark.slow
def test_defrag_names_the_gang_whose_move_frees_a_rack_and_moves_nothing(world: World) -> None:
    topology.bind(world)
    world.add_nodes(14, cordoned=14)
    for name, first in (("one", 0), ("other", 7)):
        open_nodes = world.nodes[first : first + 2]
        for node in open_nodes:
            world.cordon(node, False)
        obj = world.set([world.clique("pc", 2)], **topology.top(world, "rack"))
        obj["metadata"]["name"] = name
        world.apply(obj)
        world.wait(lambda n=name: len(bound(world, n)) == 2, f"{name} to run")  # type: ignore[misc]
        for node in open_nodes:
            world.cordon(node)
    for node in world.nodes:
        world.cordon(node, False)
    before = {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in world.pods()}
    answer = asked(world, "defrag", "--dry-run", "--level", "rack", "-o", "json")
    (freed,) = answer["freed"]
    assert freed["podsRestarted"] == 2
    (moved,) = freed["gangs"]
    assert moved["gang"] in {f"{world.namespace}/one-0", f"{world.namespace}/other-0"}
    target = {world.nodes.index(pod["to"]) // 7 for pod in moved["pods"]}
    assert len(target) == 1
    assert target != {world.nodes.index(pod["from"]) // 7 for pod in moved["pods"]}
    assert {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in world.pods()} == before


@pytest.mark.slow
def test_place_asks_the_cluster_for_its_room_without_the_sets_own_pods(world: World, tmp_path: Path) -> None:
    world.add_nodes(4)
    obj = world.set([world.clique("pc", 3)])
    world.apply(obj)
    world.wait_pods(3, 3)
    file = tmp_path / "set.json"
    file.write_text(json.dumps(obj))
    (gang,) = asked(world, "place", "-o", "json", str(file))["gangs"]
    assert gang["fits"]
    assert set(gang["nodes"].values()) <= set(world.nodes)
    other = {**obj, "metadata": {**obj["metadata"], "name": "other"}}
    file.write_text(json.dumps(other))
    done = CliRunner().invoke(main, ["place", "-o", "json", str(file), "--kubeconfig", str(world.cluster.kubeconfig)])
    assert done.exit_code == 1, done.output
    assert "room for 1 of 3" in json.loads(done.stdout)["gangs"][0]["reason"]
    assert len(world.pods()) == 3


def bound(world: World, name: str) -> list[Object]:
    return [p for p in world.pods() if p["metadata"]["name"].startswith(f"{name}-") and p["spec"].get("nodeName")]


def asked(world: World, *arguments: str) -> Any:
    done = CliRunner().invoke(main, [*arguments, "--kubeconfig", str(world.cluster.kubeconfig)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
