"""A gang that is decided about again before the first decision was carried out: only the last one counts."""

from typing import Any

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import decisions
from tests.reconciler.placing import Placing, pair

DEMO = "gang:ns/demo-0"


def in_a_rack(obj: raw.Object) -> raw.Object:
    obj["spec"]["template"]["topologyConstraint"] = {"topologyName": "net", "pack": {"required": "rack"}}
    return obj


async def test_a_pod_that_the_new_decision_leaves_out_is_not_released_by_the_old_one() -> None:
    here = Placing(hold="never")
    levels = [{"domain": "rack", "key": "rack"}]
    here.api._put("clustertopologybindings", {"metadata": {"name": "net", "uid": "net"}, "spec": {"levels": levels}})
    for number, rack in enumerate(["r1", "r1", "r1", "r2"]):
        here.api.node(f"n{number}", rack=rack)
    await here.apply(in_a_rack(pair(count=3, minimum=2)))
    await here.arrive()

    async def refuses(resource: resources.Resource, name: str, subresource: str | None) -> Any:
        if resource is resources.PODS:
            raise errors.Conflict("not written: the Lease may be lost")

    here.api.before = refuses
    await here.run(DEMO)
    here.api.before = None
    first = decisions.placement(here.gang())
    assert set(first.values()) == {"n0", "n1", "n2"}
    last = here.ours()[2]["metadata"]["name"]
    for node in {*first.values()} - {first[last]}:
        here.api.node(node, rack="r1", unschedulable=True)
    here.api.node("n4", rack="r2")
    await here.advance(1)
    assert here.released() == {"demo-0-a-0": "n3", "demo-0-a-1": "n4"}
    assert last not in decisions.placement(here.gang())
    here.api.node("n5", rack="r2")
    await here.advance(1)
    assert here.released()["demo-0-a-2"] == "n5"
