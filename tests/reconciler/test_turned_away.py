"""Pods that a kubelet refuses to run: another scheduler had bound a pod to the same room at the same time."""

import pytest

from grovekeeper.api import raw
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from grovekeeper.reconciler import decisions
from tests.reconciler.placing import Placing, pair

DEMO = "gang:ns/demo-0"
OUT_OF_CPU = "OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000"


async def bound(*cpus: int) -> Placing:
    """A gang of two pods, both bound."""
    here = Placing(*cpus, hold="never")
    await here.apply(pair(terminationDelay="4h"))
    await here.settle()
    await here.bind(ready=False)
    await here.settle()
    return here


async def refused(here: Placing, reason: str, message: str) -> raw.Object:
    """Let the kubelet of the gang's second pod refuse it; return the pod."""
    pod = here.ours("demo-0")[1]
    status = {"status": {"phase": "Failed", "reason": reason, "message": message}}
    await here.api.patch(resources.PODS, pod["metadata"]["name"], "ns", status, type="merge", subresource="status")
    return pod


async def ended(here: Placing) -> None:
    for pod in here.ours():
        if not plan.alive(pod):
            await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.settle()


async def test_a_gang_that_two_schedulers_gave_the_same_room_is_taken_back_at_once_and_goes_elsewhere() -> None:
    here = await bound(1, 1)
    before = here.clock.moment
    taken = here.ours("demo-0")[1]["spec"]["nodeName"]
    here.api.foreign("rival", node=taken)
    await refused(here, *OUT_OF_CPU)
    await here.settle()
    await ended(here)
    assert here.clock.moment == before
    assert here.released("demo-0") == {}, "a part is no gang"
    assert any("kubelets refused to run its pods (n1: OutOfcpu)" in text for _, _, text in here.events.said)
    here.api.node("n8")
    await here.settle()
    assert set(here.released("demo-0").values()) == {"n0", "n1", "n8"} - {taken}


async def test_of_a_gang_that_ran_only_the_pod_that_was_refused_is_replaced() -> None:
    here = await bound(1, 1)
    await here.bind()
    for pod in here.ours():
        await here.mark(pod, ready=True)
    here.see()
    await here.rest()
    stays, goes = here.ours("demo-0")
    here.api.foreign("rival", node=goes["spec"]["nodeName"])
    await refused(here, *OUT_OF_CPU)
    await here.settle()
    await ended(here)
    await here.advance(300)
    assert stays["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in here.ours() if plan.alive(pod)}


async def test_a_node_whose_kubelet_says_no_for_a_reason_of_its_own_is_kept_off_for_a_while() -> None:
    here = await bound(1, 1)
    pod = await refused(here, "TopologyAffinityError", "Pod was rejected: Resources cannot be allocated with Topology")
    await here.settle()
    await ended(here)
    assert here.owner.releases.avoided(DEMO) == [pod["spec"]["nodeName"]]
    assert here.released("demo-0") == {}
    assert here.owner.turns.waiting[DEMO].endswith("1 nodes have refused its pods lately")
    assert "never" not in here.owner.turns.waiting[DEMO]
    await here.advance(400)
    assert len(here.released("demo-0")) == 2


@pytest.mark.parametrize(
    ("status", "want"),
    [
        ({"phase": "Failed", "reason": "OutOfpods"}, "OutOfpods"),
        ({"phase": "Failed", "reason": "NodeAffinity", "message": "Pod was rejected: Predicate"}, "NodeAffinity"),
        ({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}, ""),
        ({"phase": "Failed"}, ""),
        ({"phase": "Running", "reason": "OutOfcpu"}, ""),
    ],
)
def test_what_a_kubelet_turned_away_is_told_from_what_failed(status: raw.Object, want: str) -> None:
    assert decisions.turned_away({"status": status}) == want
