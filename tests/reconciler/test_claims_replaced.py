"""Claims of single pods while pods are replaced: the claim of an index stays, whoever has the index, and serves one pod
at a time."""

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from tests.reconciler import rollout, world
from tests.reconciler.test_claims import CLAIMS, ONE, running, shared

STRATEGIES = [names.UPDATE_ROLLING_RECREATE, names.UPDATE_COHERENT]


def named(pod: raw.Object) -> list[str]:
    return [entry["resourceClaimName"] for entry in pod["spec"].get("resourceClaims") or ()]


def of_one_pod(here: world.World) -> set[str]:
    """Claims of which each belongs to one pod index."""
    found = here.api.of("resourceclaims").values()
    return {claim["metadata"]["name"] for claim in found if names.LABEL_POD_INDEX in claim["metadata"]["labels"]}


def uids(here: world.World) -> dict[str, str]:
    return {name: here.get(CLAIMS, name)["metadata"]["uid"] for name in here.names(CLAIMS)}


async def come_back(here: world.World) -> None:
    """Let what is terminating go, and its successors start."""
    await here.finish()
    await here.settle()
    await here.start()
    await here.advance(5)


def check(here: world.World) -> None:
    """No pod without its claims, and no claim of one pod that two could use: a successor waits behind its gate."""
    there = set(here.names(CLAIMS))
    free: list[str] = []
    for pod in here.pods():
        assert set(named(pod)) <= there, f"{pod['metadata']['name']} lacks a claim"
        if not pod["spec"].get("schedulingGates"):
            free += named(pod)
    double = {name for name in of_one_pod(here) if free.count(name) > 1}
    assert not double, f"two pods may use {double}"


def with_strategy(strategy: str, **more: raw.Json) -> raw.Object:
    obj = shared(**more)
    obj["spec"]["updateStrategy"] = {"type": strategy}
    return obj


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_update_keeps_every_claim_and_gives_it_to_one_pod_at_a_time(strategy: str) -> None:
    here = await running(with_strategy(strategy))
    before, pods = uids(here), {pod["metadata"]["uid"] for pod in here.pods()}
    await here.apply(rollout.changed(with_strategy(strategy), "front", "lead", "work"))
    await rollout.roll(here, lambda: check(here))
    assert uids(here) == before
    assert not pods & {pod["metadata"]["uid"] for pod in here.pods()}


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_scale_in_and_out_in_the_middle_of_an_update_leaves_no_claim_and_lacks_none(strategy: str) -> None:
    here = await running(with_strategy(strategy))
    await here.apply(rollout.changed(with_strategy(strategy), "front"))
    await here.advance(1)
    assert any(plan.terminating(pod) for pod in here.pods("demo-0-front"))
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 1}})
    await here.advance(1)
    check(here)
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 3}})
    await rollout.roll(here, lambda: check(here))
    assert here.names(CLAIMS) == sorted([*ONE, "demo-0-front-2-own"])
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 1}})
    await here.settle()
    await here.finish()
    await here.advance(5)
    (left,) = here.pods("demo-0-front")
    assert {name for name in of_one_pod(here) if "front" in name} <= set(named(left))


async def test_pods_that_are_deleted_evicted_or_failed_leave_their_claim_to_the_next_of_their_index() -> None:
    here = await running(shared())
    before = uids(here)
    first, second = here.pods("demo-0-front")
    await here.api.delete(resources.PODS, first["metadata"]["name"], "ns")
    await here.mark(second, phase="Failed")
    await here.settle()
    check(here)
    await come_back(here)
    check(here)
    assert uids(here) == before
    assert [named(pod)[-1] for pod in here.pods("demo-0-front")] == ["demo-0-front-0-own", "demo-0-front-1-own"]


async def test_on_delete_keeps_the_claim_of_the_pod_that_somebody_deletes() -> None:
    here = await running(with_strategy(names.UPDATE_ON_DELETE))
    before = uids(here)
    await here.apply(rollout.changed(with_strategy(names.UPDATE_ON_DELETE), "front"))
    await here.advance(2)
    pod = here.pods("demo-0-front")[0]
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns")
    await here.settle()
    check(here)
    await come_back(here)
    assert uids(here) == before
    assert rollout.images(here, 0, "front") == {"model:1", "model:2"}


async def test_a_claim_that_is_deleted_while_a_successor_waits_is_there_again_for_it() -> None:
    here = await running(shared())
    await here.apply(rollout.changed(shared(), "front"))
    await here.advance(1)
    (heir,) = [pod for pod in here.pods("demo-0-front") if plan.predecessor(pod)]
    gone = f"demo-0-front-{plan.pod_index(heir)}-own"
    await here.api.delete(CLAIMS, gone, "ns")
    await here.settle()
    await rollout.roll(here, lambda: check(here))
    assert here.names(CLAIMS) == ONE
