"""Grove's gang scheduling scenarios (GS), on both targets: one pod a node, so that counting nodes is counting pods."""

import time
from collections.abc import Callable

import pytest

from tests.e2e.world import Object, World

SG = "w-0-sg-x"
SG_1 = "w-1-sg-x"
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


@pytest.mark.slow
def test_gs4_sets_and_groups_scale_out_in_turn(world: World) -> None:
    world.add_nodes(28, cordoned=19)
    world.apply(world.wl1())
    world.wait_pods(10, 0)
    play(
        world,
        (1, None, 10, 10),
        (0, lambda: world.scale(PCSG, SG, 3), 14, 10),
        (4, None, 14, 14),
        (0, lambda: world.scale("podgangsets", "w", 2), 24, 14),
        (10, None, 24, 24),
        (0, lambda: world.scale(PCSG, SG_1, 3), 28, 24),
        (4, None, 28, 28),
    )


@pytest.mark.slow
def test_gs6_a_scaled_gang_gets_its_minimum_then_the_rest(world: World) -> None:
    world.add_nodes(14, cordoned=12)
    world.apply(world.wl2())
    world.wait_pods(10, 0)
    play(
        world,
        (1, None, 10, 3),
        (7, None, 10, 10),
        (0, lambda: world.scale(PCSG, SG, 3), 14, 10),
        (2, None, 14, 12),
        (2, None, 14, 14),
    )


@pytest.mark.slow
def test_gs7_the_scaled_gang_comes_before_pods_above_the_minimum_of_the_base(world: World) -> None:
    world.add_nodes(14, cordoned=12)
    world.apply(world.wl2())
    world.wait_pods(10, 0)
    play(world, (1, None, 10, 3), (2, None, 10, 5))
    assert [p for p in world.pods("sg-x-1-pc-b") if p["spec"].get("nodeName")], "the minimum of sg-x-1 has its nodes"
    play(
        world,
        (5, None, 10, 10),
        (0, lambda: world.scale(PCSG, SG, 3), 14, 10),
        (2, None, 14, 12),
        (2, None, 14, 14),
    )


@pytest.mark.slow
def test_gs9_a_second_replica_gets_its_minimum_then_the_rest(world: World) -> None:
    world.add_nodes(20, cordoned=18)
    world.apply(world.wl2())
    world.wait_pods(10, 0)
    play(
        world,
        (1, None, 10, 3),
        (7, None, 10, 10),
        (0, lambda: world.scale("podgangsets", "w", 2), 20, 10),
        (3, None, 20, 13),
        (7, None, 20, 20),
    )


@pytest.mark.slow
def test_gs11_sets_and_groups_scale_out_in_turn_above_their_minimum(world: World) -> None:
    world.add_nodes(28, cordoned=26)
    world.apply(world.wl2())
    world.wait_pods(10, 0)
    play(
        world,
        (1, None, 10, 3),
        (7, None, 10, 10),
        (0, lambda: world.scale(PCSG, SG, 3), 14, 10),
        (2, None, 14, 12),
        (2, None, 14, 14),
        (0, lambda: world.scale("podgangsets", "w", 2), 24, 14),
        (3, None, 24, 17),
        (7, None, 24, 24),
        (0, lambda: world.scale(PCSG, SG_1, 3), 28, 24),
        (2, None, 28, 26),
        (2, None, 28, 28),
    )


@pytest.mark.slow
def test_gs12_everything_is_scaled_out_before_there_is_room(world: World) -> None:
    world.add_nodes(28, cordoned=26)
    world.apply(world.wl2())
    world.wait_pods(10, 0)
    play(
        world,
        (0, lambda: world.scale("podgangsets", "w", 2), 20, 0),
        (0, lambda: world.scale(PCSG, SG, 3), 24, 0),
        (0, lambda: world.scale(PCSG, SG_1, 3), 28, 0),
        (4, None, 28, 6),
        (8, None, 28, 14),
        (14, None, 28, 28),
    )


@pytest.mark.slow
def test_a_gang_of_higher_priority_evicts_one_whole_gang_and_the_youngest(world: World) -> None:
    for name, value in (("low", 10), ("high", 1000)):
        body = {"metadata": {"name": f"{world.namespace}-{name}"}, "value": value}
        kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        world.post("/apis/scheduling.k8s.io/v1/priorityclasses", {**kind, **body})
    world.add_nodes(6)
    for name in ("older", "younger"):
        obj = world.set([world.clique("pc", 3)], priorityClassName=f"{world.namespace}-low")
        obj["metadata"]["name"] = name
        world.apply(obj)
        world.wait(lambda n=name: len([p for p in running(world) if n in p["metadata"]["name"]]) == 3, f"{name} to run")
        time.sleep(1.1)  # creation times have whole seconds
    kept = {p["metadata"]["uid"] for p in running(world) if "older" in p["metadata"]["name"]}
    urgent = world.set([world.clique("pc", 2)], priorityClassName=f"{world.namespace}-high")
    urgent["metadata"]["name"] = "urgent"
    world.apply(urgent)
    world.wait(lambda: len([p for p in running(world) if "urgent" in p["metadata"]["name"]]) == 2, "urgent to run", 60)
    assert kept <= {p["metadata"]["uid"] for p in running(world)}, "the older gang stays"
    assert not [p for p in running(world) if "younger" in p["metadata"]["name"]], "the younger gang went as a whole"


def running(world: World) -> list[Object]:
    return [pod for pod in world.pods() if pod["spec"].get("nodeName")]


def play(world: World, *steps: tuple[int, Callable[[], object] | None, int, int]) -> None:
    """Play steps: (nodes to uncordon, something to do, pods then, pods running then)."""
    for number, (nodes, action, pods, running) in enumerate(steps):
        if nodes:
            world.uncordon(nodes)
        if action is not None:
            action()
        try:
            world.wait_pods(pods, running)
        except AssertionError as error:
            raise AssertionError(f"step {number}: {error}") from error
