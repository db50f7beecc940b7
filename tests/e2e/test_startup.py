"""Grove's startup order scenarios (SO), on both targets: nobody is ready before the parents' minimum is."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from tests.e2e import statuses
from tests.e2e.world import Object, World

IN_ORDER, EXPLICIT = "CliqueStartupTypeInOrder", "CliqueStartupTypeExplicit"


def test_so1_cliques_start_in_the_order_of_the_manifest(world: World) -> None:
    up(world, world.wl1(cliqueStartupType=IN_ORDER))
    before(world.pods("pc-a"), world.pods("pc-b"), 2)
    before(world.pods("pc-b"), world.pods("pc-c"), 2)


@pytest.mark.slow
def test_so2_within_each_group_replica_the_order_holds_for_the_minimum(world: World) -> None:
    up(world, world.wl2(cliqueStartupType=IN_ORDER))
    by_replica(world)


def test_so3_cliques_start_after_those_that_they_name(world: World) -> None:
    obj = world.wl1(cliqueStartupType=EXPLICIT)
    depends(obj, **{"pc-c": "pc-a", "pc-b": "pc-c"})
    up(world, obj)
    before(world.pods("pc-a"), world.pods("pc-c"), 2)
    before(world.pods("pc-c"), world.pods("pc-b"), 6)


@pytest.mark.slow
def test_so4_within_each_group_replica_named_parents_come_first(world: World) -> None:
    obj = world.wl2(cliqueStartupType=EXPLICIT)
    depends(obj, **{"pc-b": "pc-a", "pc-c": "pc-b"})
    up(world, obj)
    by_replica(world)


def test_a_member_that_restarts_later_does_not_wait_for_a_parent_that_is_up(world: World) -> None:
    world.add_nodes(4)
    world.apply(world.set([world.clique("first", 2), world.clique("second", 2)], cliqueStartupType=IN_ORDER))
    world.wait_pods(4, 4)
    pod = world.pods("second")[0]
    world.delete_pod(pod["metadata"]["name"])
    world.wait(lambda: pod["metadata"]["uid"] not in {p["metadata"]["uid"] for p in world.pods()}, "the pod to go")
    world.wait_pods(4, 4)


def depends(obj: Object, **parents: str) -> None:
    for clique in obj["spec"]["template"]["cliques"]:
        if clique["name"] in parents:
            clique["spec"]["startsAfter"] = [parents[clique["name"]]]


def up(world: World, obj: Object) -> None:
    world.add_nodes(10)
    world.apply(obj)
    world.wait_pods(10, 10, 40)


def by_replica(world: World) -> None:
    """The first of pc-a before anybody of the group; in each replica the first pc-b before any pc-c."""
    before(world.pods("pc-a"), [*world.pods("pc-b"), *world.pods("pc-c")], 1)
    for index in range(2):
        before(world.pods(f"sg-x-{index}-pc-b"), world.pods(f"sg-x-{index}-pc-c"), 1)


def before(parents: Sequence[Object], children: Sequence[Object], count: int) -> None:
    """The `count`-th parent became ready no later than the first child (whole seconds, as in Grove's own test)."""
    times = sorted(map(became_ready, parents))
    assert times[count - 1] <= min(map(became_ready, children))


def became_ready(pod: Object) -> datetime:
    return datetime.fromisoformat(statuses.condition(pod, "Ready")["lastTransitionTime"])
