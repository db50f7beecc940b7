"""Grove's gang termination scenarios (GT), on both targets. The delay is 45 s of a clock that the tests move."""

import pytest

from tests.e2e import statuses
from tests.e2e.world import Object, World, group, uids

pytestmark = pytest.mark.slow
DELAY = 60
"""Seconds for which the clock is moved: more than the delay, of which a slow machine takes a part by itself."""
PCSG = "podcliquescalinggroups"


def test_gt1_a_gang_below_its_minimum_is_replaced_whole_after_the_delay(world: World) -> None:
    first = start(world, world.wl1())
    node = world.kill(world.pods("pc-a")[0])
    world.wait_pods(10, 9)
    passes(world, "podcliques", "w-0-pc-a")
    replaced(world, first)
    world.cordon(node, False)
    world.wait_pods(10, 10)


def test_gt2_a_member_of_a_group_whose_whole_minimum_is_needed_takes_the_replica_with_it(world: World) -> None:
    first = start(world, world.wl1())
    node = world.kill(world.pods("sg-x-0-pc-c")[0])
    world.wait_pods(10, 9)
    passes(world, PCSG, "w-0-sg-x")
    replaced(world, first)
    world.cordon(node, False)
    world.wait_pods(10, 10)


def test_gt3_a_loss_above_the_minimum_terminates_nothing_and_one_below_it_everything(world: World) -> None:
    first = start(world, world.wl2())
    one, two = world.pods("pc-a")
    nodes = [world.kill(one)]
    world.wait_pods(10, 9)
    told(world, "w-0-pc-a", 1)
    world.advance(DELAY)
    survivors = first - uids([one])
    world.stays(lambda: survivors <= uids(world.pods()) and len(running(world)) >= 9, "the survivors run on", 3)
    nodes.append(world.kill(two))
    world.wait_pods(10, 8)
    passes(world, "podcliques", "w-0-pc-a")
    replaced(world, first)
    for node in nodes:
        world.cordon(node, False)
    world.wait_pods(10, 10)


def test_gt4_group_replicas_go_one_by_one_until_the_groups_minimum_is_lost(world: World) -> None:
    first = start(world, world.wl2())
    base = uids(world.pods("pc-a"))
    other = uids(world.pods("sg-x-1-pc-b")) | uids(world.pods("sg-x-1-pc-c"))
    lost = world.pods("sg-x-0-pc-c")
    nodes = [world.kill(lost[0])]
    world.wait_pods(10, 9)
    told(world, "w-0-sg-x-0-pc-c", 2)
    world.advance(DELAY)
    world.stays(lambda: first - uids(lost[:1]) <= uids(world.pods()), "all others stay", 2)
    nodes += [world.kill(pod) for pod in lost[1:]]
    passes(world, "podcliques", "w-0-sg-x-0-pc-c")
    replaced(world, first - base - other)
    world.stays(lambda: base | other <= uids(world.pods()), "pc-a and replica 1 stay")
    nodes.append(world.kill(world.pods("sg-x-1-pc-c")[0]))
    # Its successor may come up on the node that replica 0 left.
    here = "w-0-sg-x-1-pc-c"
    world.wait(lambda: scheduled(world, here) == len(running(world, here)), "the loss in replica 1 to be in the status")
    world.advance(DELAY)
    world.stays(lambda: base <= uids(world.pods()) and len(running(world)) >= 5, "pc-a and replica 1 run on", 2)

    def none_left() -> bool:
        doomed = running(world, here)
        nodes.extend(world.kill(pod) for pod in doomed)
        return not doomed and scheduled(world, here) == 0

    world.wait(none_left, "no pc-c of replica 1 to run")
    passes(world, PCSG, "w-0-sg-x")
    replaced(world, first | base | other)
    for node in nodes:
        world.cordon(node, False)
    world.wait_pods(10, 10)


def test_gt5_a_group_replica_is_replaced_alone_in_a_set_with_an_explicit_order(world: World) -> None:
    cliques = [world.clique("pc-a", 2, 1), world.clique("pc-b", 1), world.clique("pc-c", 3)]
    cliques[1]["spec"]["startsAfter"] = ["pc-c"]
    cliques[2]["spec"]["startsAfter"] = ["pc-a"]
    first = start(world, world.set(cliques, [group(2, 1)], cliqueStartupType="CliqueStartupTypeExplicit"))
    doomed = uids(world.pods("sg-x-0-pc-b")) | uids(world.pods("sg-x-0-pc-c"))
    nodes = [world.kill(pod) for pod in world.pods("sg-x-0-pc-c")]
    passes(world, "podcliques", "w-0-sg-x-0-pc-c")
    world.wait(lambda: not doomed & uids(world.pods()), "replica 0 of the group to be replaced", 40)
    assert first - doomed <= uids(world.pods())
    for node in nodes:
        world.cordon(node, False)
    world.wait_pods(10, 10, 40)
    assert first - doomed <= uids(world.pods())


def test_gt6_a_loss_in_a_scaled_gang_leaves_the_base_gang_alone(world: World) -> None:
    start(world, world.wl2())
    base = uids(world.pods("pc-a"))
    scaled = [p for p in world.pods("pc-c") if "grove.io/base-podgang" in p["metadata"]["labels"]]
    node = world.kill(scaled[0])
    world.wait_pods(10, 9)
    told(world, scaled[0]["metadata"]["labels"]["grove.io/podclique"], 2)
    world.advance(DELAY)
    world.stays(lambda: base <= uids(world.pods()) and len(running(world)) >= 9, "the base gang stays", 3)
    world.cordon(node, False)
    world.wait_pods(10, 10)


def test_a_clique_that_was_scaled_is_as_large_again_after_a_gang_termination(world: World) -> None:
    first = start(world, world.wl1(), nodes=12)
    world.scale("podcliques", "w-0-pc-a", 4)
    world.wait_pods(12, 12, 40)
    nodes = [world.kill(pod) for pod in world.pods("pc-a")[:3]]
    passes(world, "podcliques", "w-0-pc-a")
    world.wait(lambda: not first & uids(world.pods()) and len(world.pods()) == 12, "others in their place", 40)
    for node in nodes:
        world.cordon(node, False)
    world.wait_pods(12, 12, 40)
    assert len(world.pods("pc-a")) == 4


def start(world: World, obj: Object, nodes: int = 10) -> set[str]:
    """Bring the set up on so many nodes; only what was seen healthy is ever terminated. Return the pods' UIDs."""
    world.add_nodes(nodes)
    obj["spec"]["template"]["terminationDelay"] = "45s"
    world.apply(obj)
    world.wait_pods(10, 10, 40)
    world.wait(lambda: all(met(each) for each in children(world)), "everything to have met its minimum")
    return uids(world.pods())


def children(world: World) -> list[Object]:
    """Return the PodCliques and scaling groups."""
    return [each for plural in ("podcliques", PCSG) for each in world.request("GET", world.path(plural))["items"]]


def met(obj: Object) -> bool:
    """Return whether the status says that the minimum has been met once, and is."""
    return statuses.is_true(obj, "MinAvailableMet") and statuses.verdict(obj, "MinAvailableBreached")[0] == "False"


def scheduled(world: World, clique: str) -> int:
    """Return how many pods of a PodClique have a node by its status."""
    return int(statuses.of(world.request("GET", world.path("podcliques", clique))).get("scheduledReplicas", 0))


def told(world: World, clique: str, left: int) -> None:
    """Wait until the status knows of a loss above the minimum: it is no breach."""
    world.wait(lambda: scheduled(world, clique) == left, f"{left} pods of {clique} in its status")
    found = world.request("GET", world.path("podcliques", clique))
    assert statuses.verdict(found, "MinAvailableBreached")[0] == "False"


def passes(world: World, plural: str, name: str) -> None:
    """Wait until the status knows of a breach, then let the delay pass."""
    path = world.path(plural, name)
    world.wait(lambda: statuses.is_true(world.request("GET", path), "MinAvailableBreached"), f"{name} to be in breach")
    world.advance(DELAY)


def replaced(world: World, gone: set[str]) -> None:
    """Wait until none of these pods is left and there are ten again."""
    world.wait(lambda: not gone & uids(world.pods()) and len(world.pods()) == 10, "others in their place", 40)


def running(world: World, clique: str = "") -> list[Object]:
    return [pod for pod in world.pods(clique) if pod["spec"].get("nodeName")]
