"""Grove's gang scheduling scenarios (GS), on both targets: one pod a node, so that counting nodes is counting pods."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from grovekeeper.api import names
from tests.e2e import statuses
from tests.e2e.world import Object, World

SG = "w-0-sg-x"
SG_1 = "w-1-sg-x"
PCSG = "podcliquescalinggroups"


def test_gs1_a_gang_that_lacks_one_node_runs_nothing_until_it_is_there(world: World) -> None:
    world.add_nodes(10, cordoned=1)
    world.apply(world.wl1())
    settled(world, 10, 0)
    world.uncordon(1)
    settled(world, 10, 10)


@pytest.mark.slow
def test_gs2_a_scaled_gang_waits_for_its_own_room(world: World) -> None:
    world.add_nodes(14, cordoned=5)
    world.apply(world.wl1())
    settled(world, 10, 0)
    world.uncordon(1)
    settled(world, 10, 10)
    world.scale(PCSG, SG, 3)
    settled(world, 14, 10)
    world.uncordon(4)
    settled(world, 14, 14)


@pytest.mark.slow
def test_gs3_a_second_set_replica_waits_for_its_own_room(world: World) -> None:
    world.add_nodes(20, cordoned=11)
    world.apply(world.wl1())
    settled(world, 10, 0)
    world.uncordon(1)
    settled(world, 10, 10)
    world.scale("podgangsets", "w", 2)
    settled(world, 20, 10)
    world.uncordon(10)
    settled(world, 20, 20)


def test_gs5_the_minimum_runs_first_and_the_rest_follows(world: World) -> None:
    world.add_nodes(10, cordoned=8)
    world.apply(world.wl2())
    settled(world, 10, 0)
    world.uncordon(1)
    settled(world, 10, 3)
    assert cliques(world) == {"w-0-pc-a": 1, **minimum(SG, 0)}
    world.uncordon(7)
    settled(world, 10, 10)


@pytest.mark.slow
def test_gs8_scaled_gangs_get_their_minimum_before_anything_above_it(world: World) -> None:
    world.add_nodes(14, cordoned=12)
    world.apply(world.wl2())
    settled(world, 10, 0)
    world.scale(PCSG, SG, 3)
    settled(world, 14, 0)
    world.uncordon(1)
    settled(world, 14, 3)
    assert cliques(world) == {"w-0-pc-a": 1, **minimum(SG, 0)}
    world.uncordon(4)
    settled(world, 14, 7)
    assert cliques(world) == {"w-0-pc-a": 1, **minimum(SG, 0, 1, 2)}
    world.uncordon(7)
    settled(world, 14, 14)


@pytest.mark.slow
def test_gs10_base_gangs_of_all_replicas_go_before_scaled_gangs(world: World) -> None:
    world.add_nodes(20, cordoned=18)
    world.apply(world.wl2(replicas=2))
    settled(world, 20, 0)
    world.uncordon(4)
    settled(world, 20, 6)
    bases = {"w-0-pc-a": 1, "w-1-pc-a": 1, **minimum(SG, 0), **minimum(SG_1, 0)}
    assert cliques(world) == bases
    world.uncordon(4)
    settled(world, 20, 10)
    assert cliques(world) == {**bases, **minimum(SG, 1), **minimum(SG_1, 1)}
    world.uncordon(10)
    settled(world, 20, 20)


def test_two_sets_that_compete_for_room_never_share_it_half_and_half(world: World) -> None:
    world.add_nodes(6)
    first, second = (world.set([world.clique("pc", 4)]) for _ in range(2))
    second["metadata"]["name"] = "x"
    world.apply(first)
    world.apply(second)
    settled(world, 8, 4)
    assert list(cliques(world).values()) == [4], "one gang alone runs"


@pytest.mark.slow
def test_gs4_sets_and_groups_scale_out_in_turn(world: World) -> None:
    world.add_nodes(28, cordoned=19)
    world.apply(world.wl1())
    settled(world, 10, 0)
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
    settled(world, 10, 0)
    play(
        world,
        (1, None, 10, 3),
        (7, None, 10, 10),
        (0, lambda: world.scale(PCSG, SG, 3), 14, 10),
        (2, None, 14, 12),
    )
    assert minimum(SG, 2).items() <= cliques(world).items()
    play(world, (2, None, 14, 14))


@pytest.mark.slow
def test_gs7_the_scaled_gang_comes_before_pods_above_the_minimum_of_the_base(world: World) -> None:
    world.add_nodes(14, cordoned=12)
    world.apply(world.wl2())
    settled(world, 10, 0)
    play(world, (1, None, 10, 3), (2, None, 10, 5))
    assert cliques(world) == {"w-0-pc-a": 1, **minimum(SG, 0, 1)}
    play(
        world,
        (5, None, 10, 10),
        (0, lambda: world.scale(PCSG, SG, 3), 14, 10),
        (2, None, 14, 12),
    )
    assert minimum(SG, 2).items() <= cliques(world).items()
    play(world, (2, None, 14, 14))


@pytest.mark.slow
def test_gs9_a_second_replica_gets_its_minimum_then_the_rest(world: World) -> None:
    world.add_nodes(20, cordoned=18)
    world.apply(world.wl2())
    settled(world, 10, 0)
    play(
        world,
        (1, None, 10, 3),
        (7, None, 10, 10),
        (0, lambda: world.scale("podgangsets", "w", 2), 20, 10),
        (3, None, 20, 13),
    )
    assert {"w-1-pc-a": 1, **minimum(SG_1, 0)}.items() <= cliques(world).items()
    play(world, (7, None, 20, 20))


@pytest.mark.slow
def test_gs11_sets_and_groups_scale_out_in_turn_above_their_minimum(world: World) -> None:
    world.add_nodes(28, cordoned=26)
    world.apply(world.wl2())
    settled(world, 10, 0)
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
    settled(world, 10, 0)
    play(
        world,
        (0, lambda: world.scale("podgangsets", "w", 2), 20, 0),
        (0, lambda: world.scale(PCSG, SG, 3), 24, 0),
        (0, lambda: world.scale(PCSG, SG_1, 3), 28, 0),
        (4, None, 28, 6),
    )
    bases = {"w-0-pc-a": 1, "w-1-pc-a": 1, **minimum(SG, 0), **minimum(SG_1, 0)}
    assert cliques(world) == bases
    play(world, (8, None, 28, 14))
    assert cliques(world) == {**bases, **minimum(SG, 1, 2), **minimum(SG_1, 1, 2)}
    play(world, (14, None, 28, 28))


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


def cliques(world: World) -> dict[str, int]:
    """Return how many pods of each PodClique have a node, of those that have any."""
    return dict(Counter(pod["metadata"]["labels"]["grove.io/podclique"] for pod in running(world)))


def minimum(group: str, *replicas: int) -> dict[str, int]:
    """Return what runs of some replicas of a group when it is the minimum, and nothing above it."""
    return {f"{group}-{index}-{clique}": 1 for index in replicas for clique in ("pc-b", "pc-c")}


def settled(world: World, pods: int, ready: int) -> None:
    """Wait for this many pods, of which exactly `ready` run, on a node each; the others wait, and it is said why."""
    world.wait_pods(pods, ready)
    nodes = [pod["spec"]["nodeName"] for pod in running(world)]
    assert len(set(nodes)) == len(nodes) == ready, "each pod has a node of its own"
    if pods > ready:
        world.wait(lambda: not unexplained(world), "the reason of every pod that waits")
        world.stays(lambda: len(running(world)) == ready, f"exactly {ready} pods run", 0.4)


def unexplained(world: World) -> list[str]:
    """Return the pods without a node of which nothing says what they wait for.

    Such a pod has our gate. Its PodGang says that there is no room for it, or it is above the minimum of one that has
    its nodes, or the base gang of its own waits as well.
    """
    gangs = world.request("GET", world.path("podgangs", group="/apis/scheduler.grove.io/v1alpha1"))["items"]
    found = {gang["metadata"]["name"]: statuses.condition(gang, "Scheduled") for gang in gangs}

    def explained(pod: Object) -> bool:
        labels = pod["metadata"]["labels"]
        own, base = (found.get(labels.get(f"grove.io/{kind}"), {}) for kind in ("podgang", "base-podgang"))
        held = statuses.verdict(pod, "PodScheduled")[1] == "SchedulingGated" and pod["status"]["phase"] == "Pending"
        gated = {"name": names.GATE} in pod["spec"].get("schedulingGates", ())
        room = own.get("reason") == "Unschedulable" and "the cluster" in own["message"]
        above = own.get("status") == "True" and "above the minimum" in own["message"]
        return held and gated and (room or above or base.get("status") == "False")

    return [pod["metadata"]["name"] for pod in world.pods() if not pod["spec"].get("nodeName") and not explained(pod)]


def play(world: World, *steps: tuple[int, Callable[[], object] | None, int, int]) -> None:
    """Play steps: (nodes to uncordon, something to do, pods then, pods running then)."""
    for number, (nodes, action, pods, ready) in enumerate(steps):
        if nodes:
            world.uncordon(nodes)
        if action is not None:
            action()
        try:
            settled(world, pods, ready)
        except AssertionError as error:
            raise AssertionError(f"step {number}: {error}") from error
