"""Scaled gangs and the domain of their base gang: preferred always, required where the group says so."""

from typing import Any

import jsonpatch

from grovekeeper.api import defaults, raw
from grovekeeper.api.validate import podgangset, verdict
from tests.reconciler import world
from tests.reconciler.placing import Placing


def tied(**group: Any) -> raw.Object:
    """A base gang of two pods, and a group whose second replica (two pods) is a scaled gang; a node a pod."""
    obj = world.podset()
    template = obj["spec"]["template"]
    template["topologyConstraint"] = {"topologyName": "net", "pack": {"preferred": "rack"}}
    template["cliques"] = template["cliques"][:2]
    for clique in template["cliques"]:
        clique["spec"]["replicas"] = clique["spec"]["minAvailable"] = 1
        clique["spec"]["podSpec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    template["podCliqueScalingGroups"] = [
        {"name": "pool", "cliqueNames": ["lead"], "replicas": 1, "minAvailable": 1, **group}
    ]
    return obj


async def room(*racks: str) -> Placing:
    here = Placing()
    levels = [{"domain": "rack", "key": "rack"}]
    here.api._put("clustertopologybindings", {"metadata": {"name": "net", "uid": "net"}, "spec": {"levels": levels}})
    for number, rack in enumerate(racks):
        here.api.node(f"n{number}", 1, rack)
    return here


async def scaled_out(here: Placing, obj: raw.Object) -> Placing:
    """Bring the base gang up, then the group to two replicas."""
    await here.apply(obj)
    await here.settle()
    await here.bind()
    await here.settle()
    obj["spec"]["template"]["podCliqueScalingGroups"][0]["replicas"] = 2
    await here.apply(obj)
    await here.settle()
    return here


def rack_of(here: Placing, gang: str) -> set[str]:
    nodes = here.api.of("nodes")
    return {nodes["", str(node)]["metadata"]["labels"]["rack"] for node in here.released(gang).values()}


async def test_a_scaled_gang_goes_near_its_base_gang_where_there_is_room() -> None:
    here = await scaled_out(await room("r1", "r1", "r1", "r2"), tied())
    assert rack_of(here, "demo-0-pool-0") == rack_of(here, "demo-0") == {"r1"}


async def test_a_scaled_gang_goes_elsewhere_where_its_base_gangs_domain_is_full_and_nothing_is_asked() -> None:
    here = await scaled_out(await room("r1", "r1", "r2"), tied())
    assert rack_of(here, "demo-0") == {"r1"}
    assert rack_of(here, "demo-0-pool-0") == {"r2"}


async def test_a_base_gang_goes_where_its_scaled_gangs_will_have_room() -> None:
    here = await room("r1", "r1", "r2", "r2", "r2")
    await here.apply(tied(replicas=2))
    await here.settle()
    await here.bind()
    await here.settle()
    assert rack_of(here, "demo-0") == rack_of(here, "demo-0-pool-0") == {"r2"}
    alone = await room("r1", "r1", "r2", "r2", "r2")
    await alone.apply(tied())
    await alone.settle()
    assert rack_of(alone, "demo-0") == {"r1"}, "the tightest that holds it"


async def test_a_scaled_gang_that_must_share_its_base_gangs_domain_waits_for_room_there_and_says_so() -> None:
    here = await scaled_out(await room("r1", "r1", "r2"), tied(baseDomain="rack"))
    assert rack_of(here, "demo-0") == {"r1"}
    assert here.released("demo-0-pool-0") == {}
    assert here.owner.turns.waiting["gang:ns/demo-0-pool-0"].startswith("bound to its base gang's rack r1: ")
    here.api.node("late", 1, "r1")
    await here.settle()
    assert rack_of(here, "demo-0-pool-0") == {"r1"}


def verdict_on(obj: raw.Object, topologies: dict[str, tuple[str, ...]]) -> list[str]:
    filled = jsonpatch.apply_patch(obj, defaults.default(obj))
    found = podgangset.validate(filled, None, verdict.Context(topologies=topologies))
    return [f"{fault.path}: {fault.text()}" for fault in found.errors]


def test_a_domain_that_the_topology_lacks_is_refused() -> None:
    faults = verdict_on(tied(baseDomain="block"), {"net": ("rack",)})
    assert [fault for fault in faults if "podCliqueScalingGroups[0].baseDomain" in fault and "rack" in fault]


def test_a_tie_without_a_topology_is_refused() -> None:
    obj = tied(baseDomain="rack")
    del obj["spec"]["template"]["topologyConstraint"]
    faults = verdict_on(obj, {})
    assert [fault for fault in faults if "topologyName" in fault and "baseDomain" in fault]
