"""Grove's gang scheduling scenarios (GS), on both targets: one pod a node, so that counting nodes is counting pods."""

import pytest

from tests.e2e.world import World

SG = "w-0-sg-x"
PCSG = "podcliquescalinggroups"


def test_gs1_a_gang_that_lacks_one_node_runs_nothing_until_it_is_there(world: World) -> None:
    world.add_nodes(10, cordoned=1)
    world.apply(world.wl1())
    world.wait_pods(10, 0)
    world.stays(lambda: not any(p["spec"].get("nodeName") for p in world.pods()), "no pod has a node")
    world.uncordon(1)
    world.wait_pods(10, 10)


@pytest.mark.slow
def test_gs2_a_scaled_gang_waits_for_its_own_room(world: World) -> None:
    world.add_nodes(14, cordoned=5)
    world.apply(world.wl1())
    world.wait_pods(10, 0)
    world.uncordon(1)
    world.wait_pods(10, 10)
    world.scale(PCSG, SG, 3)
    world.wait_pods(14, 10)
    world.uncordon(4)
    world.wait_pods(14, 14)


@pytest.mark.slow
def test_gs3_a_second_set_replica_waits_for_its_own_room(world: World) -> None:
    world.add_nodes(20, cordoned=11)
    world.apply(world.wl1())
    world.wait_pods(10, 0)
    world.uncordon(1)
    world.wait_pods(10, 10)
    world.scale("podgangsets", "w", 2)
    world.wait_pods(20, 10)
    world.uncordon(10)
    world.wait_pods(20, 20)


def test_gs5_the_minimum_runs_first_and_the_rest_follows(world: World) -> None:
    world.add_nodes(10, cordoned=8)
    world.apply(world.wl2())
    world.wait_pods(10, 0)
    world.uncordon(1)
    world.wait_pods(10, 3)
    assert sorted(p["metadata"]["labels"]["grove.io/podclique"] for p in world.pods() if p["spec"].get("nodeName")) == [
        "w-0-pc-a",
        "w-0-sg-x-0-pc-b",
        "w-0-sg-x-0-pc-c",
    ]
    world.uncordon(7)
    world.wait_pods(10, 10)


@pytest.mark.slow
def test_gs8_scaled_gangs_get_their_minimum_before_anything_above_it(world: World) -> None:
    world.add_nodes(14, cordoned=12)
    world.apply(world.wl2())
    world.wait_pods(10, 0)
    world.scale(PCSG, SG, 3)
    world.wait_pods(14, 0)
    world.uncordon(1)
    world.wait_pods(14, 3)
    world.uncordon(11)
    world.wait_pods(14, 14)


@pytest.mark.slow
def test_gs10_base_gangs_of_all_replicas_go_before_scaled_gangs(world: World) -> None:
    world.add_nodes(20, cordoned=18)
    world.apply(world.wl2(replicas=2))
    world.wait_pods(20, 0)
    world.uncordon(4)
    world.wait_pods(20, 6)
    world.uncordon(14)
    world.wait_pods(20, 20)


def test_two_sets_that_compete_for_room_never_share_it_half_and_half(world: World) -> None:
    world.add_nodes(6)
    first, second = (world.set([world.clique("pc", 4)]) for _ in range(2))
    second["metadata"]["name"] = "x"
    world.apply(first)
    world.apply(second)
    world.wait_pods(8, 4)
    world.stays(lambda: len([p for p in world.pods() if p["spec"].get("nodeName")]) == 4, "one gang alone runs")
