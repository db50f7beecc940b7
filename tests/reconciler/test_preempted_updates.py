"""A gang in the middle of an update makes room for one of higher priority: it goes whole, keeps nothing, and its update
goes on once it is placed again."""

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from grovekeeper.reconciler import decisions
from tests.reconciler import placing, world
from tests.reconciler.rollout import changed, ended, the_set

STRATEGIES = [names.UPDATE_ROLLING_RECREATE, names.UPDATE_COHERENT]


class Api(placing.Api):
    """Evicts as an API server does: the pod says why, and has its grace period where it runs."""

    async def evict(self, name: str, namespace: str, *, uid: str | None = None, dry_run: bool = False) -> None:
        if dry_run:
            return
        why = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        known = self.of("pods")[namespace, name]
        listed = [*((known.get("status") or {}).get("conditions") or ()), why]
        body = {"status": {"conditions": listed}}
        await self.patch(resources.PODS, name, namespace, body, type="merge", subresource="status")
        await self.delete(resources.PODS, name, namespace)


def low(strategy: str, **more: raw.Json) -> raw.Object:
    obj = placing.pair()
    obj["spec"]["updateStrategy"] = {"type": strategy, **more}
    return obj


async def preempted(strategy: str, *, budgets: bool, **more: raw.Json) -> placing.Placing:
    """Two nodes of a CPU: `demo` has both and is being updated when `high`, which wants both, arrives."""
    here = placing.Placing(1, 1, disruption_budgets=budgets)
    api = Api(here.clock)
    api.objects, api.changes = here.api.objects, here.api.changes
    here.api = here.ctx.client = api  # type: ignore[assignment]
    await here.apply(low(strategy, **more))
    await here.settle()
    await here.bind()
    await here.advance(90)
    assert len(here.names(resources.PDBS)) == budgets
    await here.apply(changed(low(strategy, **more), "a"))
    await here.advance(1)
    ending = [pod for pod in here.ours("demo-0") if plan.terminating(pod)]
    assert len(ending) == (1 if strategy == names.UPDATE_ROLLING_RECREATE else 2), "the update is under way"
    high = placing.pair("high")
    high["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["priority"] = 10
    await here.apply(high)
    await here.advance(1)
    return here


def held(here: placing.Placing) -> list[str | None]:
    """Nodes that the set's pods have by nomination or by a claim of the owner."""
    nominated = [(pod.get("status") or {}).get("nominatedNodeName") for pod in here.ours("demo-0")]
    claimed = [claim.node for claim in here.owner.taken.claims._claims.values() if claim.gang == "ns/demo-0"]
    return [node for node in [*nominated, *claimed] if node]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("budgets", [False, True])
async def test_it_goes_whole_and_keeps_nothing(strategy: str, budgets: bool) -> None:
    here = await preempted(strategy, budgets=budgets)
    running = [pod for pod in here.ours("demo-0") if pod["spec"].get("nodeName")]
    assert all(plan.terminating(pod) for pod in running), "the victim goes whole"
    assert held(here) == []
    await here.finish()
    await here.settle()
    assert held(here) == []
    assert sorted(here.released("high-0").values()) == ["n0", "n1"], here.gang("high-0")["status"]
    assert here.released("demo-0") == {}
    assert len(here.ours("demo-0")) == 2, "it waits for its turn like everybody else"


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_its_update_goes_on_once_it_is_placed_again(strategy: str) -> None:
    here = await preempted(strategy, budgets=False)
    await here.finish()
    await here.settle()
    await here.bind()
    await here.advance(60)
    assert not ended(here)
    for name in ("n8", "n9"):
        here.api.node(name)
    for _ in range(10):
        await here.settle()
        await here.bind()
        await here.advance(2)
        await here.finish()
    assert ended(here), the_set(here)["status"]
    found = here.ours("demo-0")
    assert {pod["spec"]["nodeName"] for pod in found} == {"n8", "n9"}
    assert {pod["spec"]["containers"][0]["image"] for pod in found} == {"model:2"}
    assert len(found) == 2


def progressing(here: placing.Placing) -> tuple[str, str]:
    found = world.condition(the_set(here), "Progressing")
    assert found is not None
    return found["status"], found["reason"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("budgets", [False, True])
async def test_the_deadline_of_its_update_stands_still_until_it_has_room_again(strategy: str, budgets: bool) -> None:
    here = await preempted(strategy, budgets=budgets, progressDeadlineSeconds=30)
    await here.finish()
    await here.settle()
    await here.bind()
    await here.advance(600)
    assert progressing(here) == ("Unknown", "GangPreempted")
    assert world.condition(the_set(here), "Stalled") is None
    assert "ProgressDeadlineExceeded" not in {reason for _, reason, _ in here.events.said}
    told = world.condition(here.gang("demo-0"), "DisruptionTarget")
    assert told is not None
    assert told["message"] == "made room for ns/high-0"
    here.api.node("n8")
    here.api.node("n9")
    await here.advance(20)
    assert len(here.released("demo-0")) == 2
    assert progressing(here) == ("True", "UpdateInProgress"), "it has room, and the whole time"
    await here.bind(ready=False)
    await here.advance(3)
    assert world.condition(here.gang("demo-0"), "DisruptionTarget") is None
    await here.advance(60)
    assert progressing(here) == ("False", "ProgressDeadlineExceeded"), "what it does with its room is its own"


async def test_a_gang_that_the_scheduler_preempts_is_told_from_one_that_is_drained() -> None:
    here = placing.Placing(1, 1)
    await here.apply(placing.pair())
    await here.settle()
    await here.bind()
    await here.advance(90)
    first, second = here.ours("demo-0")
    for pod, reason in ((first, "EvictionByEvictionAPI"), (second, "PreemptionByScheduler")):
        why = {"type": "DisruptionTarget", "status": "True", "reason": reason}
        body = {"status": {"conditions": [*pod["status"]["conditions"], why]}}
        await here.api.patch(resources.PODS, pod["metadata"]["name"], "ns", body, type="merge", subresource="status")
        await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns")
        await here.advance(1)
        told = decisions.preempted(here.gang("demo-0"))
        assert bool(told) == (reason == "PreemptionByScheduler")
        assert (world.condition(here.gang("demo-0"), "DisruptionTarget") is not None) == bool(told)
    await here.finish()
    await here.settle()
    await here.bind()
    await here.advance(10)
    assert decisions.preempted(here.gang("demo-0")) == "", "it has its nodes"
    assert world.condition(here.gang("demo-0"), "DisruptionTarget") is None
