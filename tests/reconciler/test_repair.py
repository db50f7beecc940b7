"""A gang that has lost a node: inside its domain first; whole elsewhere where that has no room, after its delay."""

import pytest

from grovekeeper.api import raw
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from tests.reconciler.placing import Placing, pair

DEMO = "gang:ns/demo-0"


async def in_a_rack(*racks: str, pack: str = "required") -> Placing:
    """A gang of two pods, bound to one rack, runs in r1; a node for each rack that is named."""
    here = Placing(hold="never")
    levels = [{"domain": "rack", "key": "rack"}]
    here.api._put("clustertopologybindings", {"metadata": {"name": "net", "uid": "net"}, "spec": {"levels": levels}})
    for number, rack in enumerate(racks):
        here.api.node(f"n{number}", 1, rack, unschedulable=rack != "r1")
    await here.apply(pair(topologyConstraint={"topologyName": "net", "pack": {pack: "rack"}}, terminationDelay="1h"))
    await here.settle()
    await here.bind()
    here.see()
    await here.rest()
    assert racks_of(here) == {"r1"}
    for number, rack in enumerate(racks):
        here.api.node(f"n{number}", 1, rack)
    await here.settle()
    return here


def racks_of(here: Placing) -> set[str]:
    nodes = here.api.of("nodes")
    return {nodes["", str(node)]["metadata"]["labels"]["rack"] for node in here.released("demo-0").values()}


async def drained(here: Placing) -> raw.Object:
    """Cordon a node of the gang and evict its pod, as `kubectl drain` does; return the pod."""
    pod = here.ours("demo-0")[1]
    node = here.api.of("nodes")["", pod["spec"]["nodeName"]]
    here.api.node(node["metadata"]["name"], 1, node["metadata"]["labels"]["rack"], unschedulable=True)
    target = {"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}
    await here.api.patch(resources.PODS, pod["metadata"]["name"], "ns", target, type="merge", subresource="status")
    await here.settle()
    assert len(here.released("demo-0")) == 2, "a cordon by itself moves nobody"
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.settle()
    return pod


@pytest.mark.parametrize("pack", ["required", "preferred"])
async def test_the_replacement_of_a_drained_pod_goes_into_the_rack_of_its_gang(pack: str) -> None:
    here = await in_a_rack("r1", "r1", "r1", "r2", "r2", pack=pack)
    gone = await drained(here)
    assert len(here.released("demo-0")) == 2
    assert racks_of(here) == {"r1"}
    assert gone["spec"]["nodeName"] not in here.released("demo-0").values()


async def test_where_only_a_wish_binds_the_replacement_leaves_a_full_rack() -> None:
    here = await in_a_rack("r1", "r1", "r2", "r2", pack="preferred")
    await drained(here)
    assert racks_of(here) == {"r1", "r2"}


async def test_a_gang_whose_rack_is_full_says_so_and_moves_whole_after_its_termination_delay() -> None:
    here = await in_a_rack("r1", "r1", "r2", "r2")
    await drained(here)
    why = here.owner.turns.waiting[DEMO]
    assert "rack: r1, where the gang is, has room for 0 of 1 demo-0-a pods" in why
    assert "1 nodes excluded by taint node.kubernetes.io/unschedulable:NoSchedule" in why
    await here.advance(1800)
    assert sum(1 for pod in here.ours() if pod["spec"].get("nodeName")) == 1, "what runs goes on"
    await here.advance(1900)
    for pod in here.ours():
        if not plan.alive(pod):
            await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.advance(120)
    assert len(here.released("demo-0")) == 2
    assert racks_of(here) == {"r2"}
