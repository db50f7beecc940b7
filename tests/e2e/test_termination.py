"""Grove's gang termination scenarios (GT), on both targets. The delay is 10 s of a clock that the tests move."""

import time

import pytest

from tests.e2e.world import Object, World, group, uids

pytestmark = pytest.mark.slow
DELAY = 60


def test_gt1_a_gang_below_its_minimum_is_replaced_whole_after_the_delay(world: World) -> None:
    first = start(world, world.wl1())
    node = world.kill(world.pods("pc-a")[0])
    world.wait_pods(10, 9)
    passes(world, "w-0-pc-a")
    world.wait(lambda: not first & uids(world.pods()), "every pod of the gang to be replaced", 40)
    world.cordon(node, False)
    world.wait_pods(10, 10)


def test_gt2_a_member_of_a_group_whose_whole_minimum_is_needed_takes_the_replica_with_it(world: World) -> None:
    first = start(world, world.wl1())
    node = world.kill(world.pods("sg-x-0-pc-c")[0])
    world.wait_pods(10, 9)
    passes(world, "w-0-sg-x-0-pc-c")
    world.wait(lambda: not first & uids(world.pods()), "every pod of the gang to be replaced", 40)
    world.cordon(node, False)
    world.wait_pods(10, 10)


def test_gt3_a_loss_above_the_minimum_terminates_nothing_and_one_below_it_everything(world: World) -> None:
    first = start(world, world.wl2())
    one, two = world.pods("pc-a")
    nodes = [world.kill(one)]
    world.wait_pods(10, 9)
    world.advance(DELAY)
    survivors = first - uids([one])
    world.stays(lambda: survivors <= uids(world.pods()), "the survivors stay", 3)
    nodes.append(world.kill(two))
    world.wait_pods(10, 8)
    passes(world, "w-0-pc-a")
    world.wait(lambda: not first & uids(world.pods()), "every pod to be replaced", 40)
    for node in nodes:
        world.cordon(node, False)
    world.wait_pods(10, 10)


def test_gt4_group_replicas_go_one_by_one_until_the_groups_minimum_is_lost(world: World) -> None:
    first = start(world, world.wl2())
    kept = uids(world.pods("pc-a"))
    other = uids(world.pods("sg-x-1-pc-b")) | uids(world.pods("sg-x-1-pc-c"))
    lost = world.pods("sg-x-0-pc-c")
    nodes = [world.kill(lost[0])]
    world.wait_pods(10, 9)
    world.advance(DELAY)
    world.stays(lambda: first - uids(lost[:1]) <= uids(world.pods()), "all others stay", 2)
    nodes += [world.kill(pod) for pod in lost[1:]]
    first_b = uids(world.pods("sg-x-0-pc-b"))
    passes(world, "w-0-sg-x-0-pc-c")
    world.wait(lambda: not first_b & uids(world.pods()), "replica 0 of the group to be replaced", 40)
    world.stays(lambda: kept | other <= uids(world.pods()), "pc-a and replica 1 stay")
    nodes += [world.kill(pod) for pod in world.pods("sg-x-1-pc-c") if pod["spec"].get("nodeName")]
    world.wait(lambda: not any(p["spec"].get("nodeName") for p in world.pods("pc-c")), "no pc-c to run")
    passes(world, "w-0-sg-x-1-pc-c")
    world.wait(lambda: not (first | kept | other) & uids(world.pods()), "every pod to be replaced", 40)
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
    passes(world, "w-0-sg-x-0-pc-c")
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
    world.advance(DELAY)
    world.stays(lambda: base <= uids(world.pods()) and len(running(world)) >= 9, "the base gang stays", 3)
    world.cordon(node, False)
    world.wait_pods(10, 10)


def start(world: World, obj: Object) -> set[str]:
    """Bring the set up on ten nodes; only what was seen healthy is ever terminated. Return the pods' UIDs."""
    world.add_nodes(10)
    world.apply(obj)
    world.wait_pods(10, 10, 40)
    world.wait(lambda: world.get_set("w")["status"].get("availableReplicas") == 1, "the set to be available")
    time.sleep(1.1)  # times in status have whole seconds: a breach in a PodClique's first one counts as never whole
    return uids(world.pods())


def passes(world: World, clique: str) -> None:
    """Wait until the breach has been noticed, then let the delay pass."""

    def breached() -> bool:
        found = (world.request("GET", world.path("podcliques", clique)).get("status") or {}).get("conditions", ())
        return any(c["type"] == "MinAvailableBreached" and c["status"] == "True" for c in found)

    world.wait(breached, f"{clique} to be in breach")
    world.advance(DELAY)


def running(world: World) -> list[Object]:
    return [pod for pod in world.pods() if pod["spec"].get("nodeName")]
