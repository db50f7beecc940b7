"""Preemption that something comes in between: a refusal, a restart, a gang that goes: no half gangs."""

import copy
from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import decisions, gang
from tests.reconciler import placing, world

HIGH = "gang:ns/high-0"


class Api(placing.Api):
    """Evicts with a grace period, as an API server does; `allowed` evictions at most, and then 429."""

    allowed: int | None = None
    while_asking: Any = None
    breaks_after: int | None = None

    async def evict(self, name: str, namespace: str, *, uid: str | None = None, dry_run: bool = False) -> None:
        self.calls[f"evict{' (dry run)' if dry_run else ''}"] += 1
        if dry_run:
            if self.while_asking is not None:
                meanwhile, self.while_asking = self.while_asking, None
                await meanwhile()
            return
        if self.breaks_after is not None:
            self.breaks_after -= 1
            if self.breaks_after < 0:
                raise errors.Unavailable("the process died")
        if self.allowed is not None:
            self.allowed -= 1
            if self.allowed < 0:
                raise errors.Throttled("PodDisruptionBudget theirs needs 1 healthy pod")
        target = {"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}
        await self.patch(resources.PODS, name, namespace, target, type="merge", subresource="status")
        await self.delete(resources.PODS, name, namespace, uid=uid)


def ranked(name: str, count: int, priority: int, **more: Any) -> raw.Object:
    obj = placing.pair(name, count, **more)
    obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["priority"] = priority
    return obj


def nodes(count: int) -> placing.Placing:
    here = placing.Placing(*[1] * count)
    api = Api(here.clock)
    api.objects, api.changes = here.api.objects, here.api.changes
    here.api = here.ctx.client = api  # type: ignore[assignment]
    return here


async def full(*low: int, high: raw.Object | None = None) -> placing.Placing:
    """Gangs `low0`, `low1`, ... of so many pods run, each pod on a node of its own; `high` is about to be tried."""
    here = nodes(sum(low))
    for number, count in enumerate(low):
        await here.apply(placing.pair(f"low{number}", count, terminationDelay="4h"))
        await here.settle()
        await here.bind()
        await here.advance(1)
    assert len(here.released()) == sum(low)
    await here.apply(high or ranked("high", 1, 10))
    await here.arrive()
    return here


def on_nodes(here: placing.Placing, name: str) -> int:
    return sum(1 for pod in here.ours(name) if pod["spec"].get("nodeName") and plan.alive(pod))


async def ended(here: placing.Placing) -> None:
    """Let pods that are being deleted go."""
    await here.finish()
    here.see()


async def restarted(here: placing.Placing) -> None:
    """Another process owns placement from now on; its caches have seen everything."""
    here.see()
    here.owner = gang.Owner(here.ctx)
    for plural, take in (("nodes", here.owner.taken.on_node), ("pods", here.owner.on_pod)):
        for obj in list(here.api.of(plural).values()):
            take(None, copy.deepcopy(obj))
    for key in await here.owner.begin():
        here.work.put(key, 0)


async def test_nobody_is_evicted_for_a_gang_that_has_gone_meanwhile() -> None:
    here = await full(1)

    async def goes() -> None:
        for pod in here.ours("high-0"):
            await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
        here.see()

    here.api.while_asking = goes  # type: ignore[attr-defined]
    await here.run(HIGH)
    assert here.api.while_asking is None  # type: ignore[attr-defined]
    assert here.api.calls["evict"] == 0
    assert on_nodes(here, "low0-0") == 1
    assert not here.owner.taken.claims.given_up


async def test_no_second_gang_is_evicted_by_an_owner_that_begins_while_victims_end() -> None:
    here = await full(1, 1, 1)
    await here.run(HIGH)
    assert here.api.calls["evict"] == 1
    await restarted(here)
    await here.settle()
    await here.advance(20)
    assert here.api.calls["evict"] == 1, "the room is on its way"
    await here.finish()
    await here.advance(1)
    assert len(here.released("high-0")) == 1
    assert sum(on_nodes(here, f"low{i}-0") for i in range(3)) == 2


async def beside_one_that_ends() -> placing.Placing:
    """Two gangs on all nodes, of which one has been deleted, and `high`, for which nobody is evicted."""
    here = await full(1, 1)
    await here.api.delete(resources.PODCLIQUESETS, "low0", "ns")
    for pod in here.ours("low0-0"):
        await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns")
    here.see()
    await here.run(HIGH)
    assert here.api.calls["evict"] == 0
    return here


async def test_what_ends_anyway_is_waited_for_and_nobody_is_evicted() -> None:
    here = await beside_one_that_ends()
    assert "1 pods have to end" in here.owner.turns.waiting[HIGH]
    await here.finish()
    await here.advance(1)
    assert len(here.released("high-0")) == 1
    assert on_nodes(here, "low1-0") == 1


async def test_what_never_ends_is_not_waited_for_long() -> None:
    here = await beside_one_that_ends()
    await here.advance(240)
    assert on_nodes(here, "low1-0") == 0


async def test_room_that_an_ending_pod_leaves_to_its_successor_is_nobody_elses() -> None:
    here = await full(1, 1)
    pod = here.ours("low0-0")[0]
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns")
    here.see()
    await here.run(HIGH)
    assert here.api.calls["evict"] >= 1, "its successor comes back there"


@pytest.mark.parametrize("again", ["the budget allows it", "another owner"])
async def test_a_gang_of_which_a_part_could_not_be_evicted_is_evicted_whole_in_the_end(again: str) -> None:
    here = await full(2)
    if again == "another owner":
        here.api.breaks_after = 1  # type: ignore[attr-defined]
        with pytest.raises(errors.Unavailable):
            await here.run(HIGH)
        here.api.breaks_after = None  # type: ignore[attr-defined]
    else:
        here.api.allowed = 1  # type: ignore[attr-defined]
        await here.run(HIGH)
    here.see()
    assert on_nodes(here, "low0-0") == 1
    await here.finish()
    if again == "another owner":
        await restarted(here)
    here.work.put(HIGH, 0)
    await here.advance(5)
    assert len(here.released("high-0")) == 1, "it has the room that was made"
    await here.bind()
    here.api.allowed = None  # type: ignore[attr-defined]
    await here.advance(120)
    await here.finish()
    await here.advance(1)
    assert on_nodes(here, "low0-0") == 0, "half a gang is none"


async def test_a_gang_that_was_spared_at_last_is_not_taken_for_one_that_gave_way() -> None:
    here = await full(2)
    here.api.allowed = 0  # type: ignore[attr-defined]
    await here.run(HIGH)
    assert on_nodes(here, "low0-0") == 2
    here.see()
    await here.api.delete(resources.PODCLIQUESETS, "high", "ns")
    await here.run("gang:ns/low0-0")
    assert decisions.preempted(here.gang("low0-0")) == ""


async def test_a_pod_that_was_marked_and_spared_is_not_taken_for_one_that_others_want_off_its_node() -> None:
    here = await full(2)
    clique = here.ours("low0-0")[0]["metadata"]["labels"][names.LABEL_PODCLIQUE]
    ours = {"name": clique, "namespace": "ns", "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}}
    here.api._put("poddisruptionbudgets", {"metadata": ours, "spec": {}})
    here.see()

    async def lost(*rest: Any, **more: Any) -> None:
        raise errors.Unavailable("no answer")

    here.api.delete, plain = lost, here.api.delete  # type: ignore[method-assign, assignment]
    with pytest.raises(errors.Unavailable):
        await here.run(HIGH)
    here.api.delete = plain  # type: ignore[method-assign]
    here.see()
    assert any(plan.disrupted(pod) for pod in here.ours("low0-0"))
    await here.api.delete(resources.PODCLIQUESETS, "high", "ns")
    for _ in range(2):
        await here.run("gang:ns/low0-0")
    assert not any(plan.disrupted(pod) for pod in here.ours("low0-0"))
    assert decisions.preempted(here.gang("low0-0")) == ""


@pytest.mark.parametrize("policy", ["Never", "PreemptLowerPriority", None])
async def test_the_preemption_policy_of_a_gangs_pods_is_honoured(policy: str | None) -> None:
    obj = ranked("high", 1, 10)
    if policy is not None:
        obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["preemptionPolicy"] = policy
    here = await full(1, high=obj)
    await here.run(HIGH)
    assert here.api.calls["evict"] == (0 if policy == "Never" else 1)


async def test_a_scaled_gang_that_was_spared_falls_with_its_base_gang() -> None:
    here = nodes(3)
    obj = world.podset(name="low", terminationDelay="4h")
    template = obj["spec"]["template"]
    template["cliques"] = template["cliques"][:2]
    for clique in template["cliques"]:
        clique["spec"]["replicas"] = clique["spec"]["minAvailable"] = 1
        clique["spec"]["podSpec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    template["podCliqueScalingGroups"][0] |= {"cliqueNames": ["lead"], "replicas": 2}
    await here.apply(obj)
    await here.settle()
    await here.bind()
    await here.settle()
    await here.bind()
    assert (on_nodes(here, "low-0"), on_nodes(here, "low-0-pool-0")) == (2, 1)
    await here.apply(ranked("higher", 2, 20))
    await here.arrive()
    here.api.allowed = 2  # type: ignore[attr-defined]
    await here.run("gang:ns/higher-0")
    await ended(here)
    assert (on_nodes(here, "low-0"), on_nodes(here, "low-0-pool-0")) == (0, 1)
    here.work.put("gang:ns/higher-0", 0)
    await here.advance(5)
    await here.bind()
    assert on_nodes(here, "higher-0") == 2
    here.api.allowed = None  # type: ignore[attr-defined]
    await here.advance(120)
    await ended(here)
    assert on_nodes(here, "low-0-pool-0") == 0
