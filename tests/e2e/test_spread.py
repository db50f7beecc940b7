"""Spread over domains on both targets: of set replicas, of scaling-group replicas, of a clique's pods."""

from typing import Any

import pytest

from tests.e2e import topology
from tests.e2e.world import World


def test_set_replicas_are_spread_over_racks(world: World) -> None:
    """replicaSpreadConstraints, with maxSkew 1 over the racks that any node is open in."""
    world.add_nodes(21, cordoned=7)
    obj = world.set([world.clique("worker", 2)], replicas=3)
    rule = {"topologyKey": topology.KEY["rack"], "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    obj["spec"]["replicaSpreadConstraints"] = [rule]
    world.apply(obj)
    world.wait_pods(6, 6)
    counts = [topology.domains(world.pods(f"w-{index}-worker"), 7) for index in range(3)]
    assert counts == [1, 1, 1]
    racks = [int(world.pods(f"w-{index}-worker")[0]["spec"]["nodeName"][-2:]) // 7 for index in range(3)]
    assert sorted(map(racks.count, set(racks))) == [1, 2], "two racks are open: one of them has two"
    world.uncordon(7)
    world.scale("podgangsets", "w", 4)
    world.wait_pods(8, 8)
    assert int(world.pods("w-3-worker")[0]["spec"]["nodeName"][-2:]) // 7 == 2


@pytest.mark.slow
def test_group_replicas_are_spread_over_racks(world: World) -> None:
    name = topology.bind(world)
    world.add_nodes(21)
    group = {"name": "workers", "cliqueNames": ["worker"], "replicas": 3, "minAvailable": 2}
    group["topologyConstraint"] = {"topologyName": name, "spread": [{"domain": "rack", "maxSkew": 1}]}
    world.apply(world.set([world.clique("worker", 2)], [group]))
    world.wait_pods(6, 6)
    racks = {int(world.pods(f"workers-{j}-worker")[0]["spec"]["nodeName"][-2:]) // 7 for j in range(3)}
    assert racks == {0, 1, 2}


def test_the_pods_of_a_clique_are_spread_over_racks(world: World) -> None:
    name = topology.bind(world)
    world.add_nodes(21)
    clique = world.clique("worker", 6)
    clique["topologyConstraint"] = {"topologyName": name, "spread": [{"domain": "rack", "maxSkew": 1}]}
    world.apply(world.set([clique]))
    world.wait_pods(6, 6)
    racks = [int(pod["spec"]["nodeName"][-2:]) // 7 for pod in world.pods()]
    assert sorted(map(racks.count, range(3))) == [2, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["set", "group", "clique"])
def test_a_required_spread_waits_where_one_rack_is_full_and_a_preferred_one_does_not(world: World, level: str) -> None:
    """Eight nodes: seven in one rack, one in the other; the third of four siblings would break maxSkew 1."""
    topology.bind(world)
    world.add_nodes(8)
    world.apply(spreading(world, level, "DoNotSchedule"))
    # A clique is whole or not at all; of the others each goes where it may, and the last would be a third in one rack.
    # The last is the one whose pods came last, which need not be the one with the highest index.
    running, gangs = {
        "set": (3, ["w-0", "w-1", "w-2", "w-3"]),
        "group": (3, ["w-0-workers-0", "w-0-workers-1", "w-0-workers-2"]),
        "clique": (0, ["w-0"]),
    }[level]
    world.wait_pods(4, running)

    def waiting() -> list[str]:
        text = "not spread over rack with maxSkew 1"
        return [gang for gang in gangs if text in world.gang_condition(gang, "Scheduled")]

    world.wait(lambda: len(waiting()) == 1, "one gang to say what it waits for")
    world.stays(lambda: len([p for p in world.pods() if p["spec"].get("nodeName")]) == running, "the spread")
    # The constraint cannot be changed: another set takes the place of this one.
    world.request("DELETE", world.path("podgangsets", "w"))
    world.wait(lambda: not world.pods(), "the pods to go")
    preferring = spreading(world, level, "ScheduleAnyway")
    preferring["metadata"]["name"] = "p"
    world.apply(preferring)
    world.wait_pods(4, 4)
    assert sorted(map(racks(world).count, (0, 1))) == [1, 3]


def spreading(world: World, level: str, rule: str) -> Any:
    """Return a set of four pods that are siblings at the level."""
    spread = [{"domain": "rack", "maxSkew": 1, "whenUnsatisfiable": rule}]
    constraint: Any = {"topologyConstraint": {"topologyName": f"{world.namespace}-topology", "spread": spread}}
    if level == "set":
        return world.set([world.clique("worker", 1)], replicas=4, **constraint)
    if level == "clique":
        return world.set([world.clique("worker", 4, **constraint)])
    group = {"name": "workers", "cliqueNames": ["worker"], "replicas": 4, "minAvailable": 1, **constraint}
    return world.set([world.clique("worker", 1)], [group])


def racks(world: World) -> list[int]:
    """Return the rack of each pod."""
    return [int(pod["spec"]["nodeName"][-2:]) // 7 for pod in world.pods()]
