"""What counts as room, on both targets: host ports, gangs beyond the cluster, quantities that are no numbers."""

from typing import Any

import pytest

from grovekeeper.embedded.administrator import RefusedError
from tests.e2e import topology
from tests.e2e.world import Object, World


@pytest.mark.slow
def test_gangs_that_ask_for_one_host_port_share_no_node_and_one_that_cannot_says_so(world: World) -> None:
    """Each node has room for two of these pods, and one port 8080."""
    world.add_nodes(4)
    for name in ("one", "two", "late"):
        world.apply(listening(world, name))
        pods = {"one": 2, "two": 4, "late": 6}[name]
        world.wait_pods(pods, min(pods, 4))
    used = {name: {node for node in nodes_of(world, name) if node} for name in ("one", "two")}
    assert all(len(nodes) == 2 for nodes in used.values())
    assert not used["one"] & used["two"]
    text = "2 short of hostPort/8080/TCP"
    world.wait(lambda: text in world.gang_condition("late-0", "Scheduled"), "the missing port to be said")
    plain = world.set([topology.small(world.clique("pc", 4))])
    plain["metadata"]["name"] = "plain"
    world.apply(plain)
    world.wait_pods(10, 8)
    world.request("DELETE", world.path("podgangsets", "one"))
    world.wait_pods(8, 8)
    assert set(nodes_of(world, "late")) == used["one"]


def listening(world: World, name: str) -> Object:
    """Return a set of two pods on port 8080 of their nodes."""
    clique = topology.small(world.clique("pc", 2))
    clique["spec"]["podSpec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8080}]
    obj = world.set([clique])
    obj["metadata"]["name"] = name
    return obj


def nodes_of(world: World, name: str) -> list[Any]:
    return [p["spec"].get("nodeName") for p in world.pods() if p["metadata"]["name"].startswith(f"{name}-")]


def test_a_gang_larger_than_the_cluster_says_so_at_once_and_holds_nobody_back(world: World) -> None:
    world.add_nodes(7)
    big = world.set([world.clique("pc", 9)])
    big["metadata"]["name"] = "big"
    world.apply(big)
    text = "room for at most 7 of 9 big-0-pc pods: the gang can never fit"
    world.wait(lambda: text in world.gang_condition("big-0", "Scheduled"), "the largest count that fits", 10)
    world.apply(world.set([world.clique("pc", 7)]))
    world.wait_pods(16, 7)
    assert not any(nodes_of(world, "big"))


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["NaN", "-1"])
def test_a_quantity_that_is_no_number_disturbs_nobody(world: World, quantity: str) -> None:
    """The real API server refuses most of them, on nodes and in sets; where one comes through, the others go on."""
    world.add_nodes(2)
    offered = {"cpu": "8", "memory": quantity, "pods": "20"}
    odd = f"{world.namespace}-odd"
    metadata = {"name": odd, "labels": {"pool": world.namespace}}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"allocatable": offered}}
    try:
        world.post("/api/v1/nodes", body)
        world.nodes.append(odd)
    except RefusedError as error:
        assert error.code in (400, 422)  # noqa: PT017 - refused or not, both are well
    clique = world.clique("pc", 1)
    clique["spec"]["podSpec"]["containers"][0]["resources"] = {"requests": {"memory": quantity}}
    bad = world.set([clique])
    bad["metadata"]["name"] = "bad"
    try:
        world.apply(bad)
    except RefusedError as error:
        assert error.code in (400, 403, 422)  # noqa: PT017 - as above
    world.apply(world.set([world.clique("pc", 2)]))
    world.wait(lambda: len([node for node in nodes_of(world, "w") if node]) == 2, "the other set to run")
    assert odd not in nodes_of(world, "w")
