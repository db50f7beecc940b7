"""Gangs of lower priority make room: what is promised to the gang that comes is promised to nobody else."""

from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from tests.reconciler import placing


class Api(placing.Api):
    """Evicts at once, unless told what to raise, and can run something while an object is being created."""

    while_creating: Any = None
    after_evicting: Any = None
    refusal: errors.KubeError | None = None

    async def create(self, resource: resources.Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        if self.while_creating is not None and resource is resources.PODGANGS:
            meanwhile, self.while_creating = self.while_creating, None
            await meanwhile()
        return await super().create(resource, obj, dry_run=dry_run)

    async def evict(self, name: str, namespace: str, *, uid: str | None = None, dry_run: bool = False) -> None:
        if self.refusal is not None:
            raise self.refusal
        if not dry_run:
            await self.delete(resources.PODS, name, namespace, uid=uid, grace=0)
            if self.after_evicting is not None:
                await self.after_evicting()


async def occupied(pods: int = 1, grace: int | None = None) -> placing.Placing:
    """One node of two CPUs, of which a gang of low priority has one; gangs `high` and `rival` want two and one.

    With two pods it has both.
    """
    world = placing.Placing(2)
    api = Api(world.clock)
    api.objects, api.changes = world.api.objects, world.api.changes
    world.api = world.ctx.client = api  # type: ignore[assignment]
    low = placing.pair("low", pods)
    if grace is not None:
        low["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["terminationGracePeriodSeconds"] = grace
    await world.apply(low)
    await world.settle()
    await world.bind()
    await world.settle()
    assert world.released("low-0") == {f"low-0-a-{index}": "n0" for index in range(pods)}
    for name, cpu in (("high", "2"), ("rival", "1")):
        obj = placing.pair(name, 1, cpu=cpu)
        if name == "high":
            obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["priority"] = 10
        await world.apply(obj)
    for key in [key for key in world.work.due if not key.startswith("gang:")]:
        await world.run(key)
    return world


async def test_room_that_is_made_is_not_given_away_while_the_podgang_is_written() -> None:
    world = await occupied()
    await world.arrive()

    async def meanwhile() -> None:
        await world.run("gang:ns/rival-0")

    world.api.while_creating = meanwhile  # type: ignore[attr-defined]
    await world.run("gang:ns/high-0")
    assert world.api.while_creating is None, "the rival has had its chance"  # type: ignore[attr-defined]
    assert world.released("rival-0") == {}
    await world.settle()
    assert world.released("high-0") == {"high-0-a-0": "n0"}
    assert world.released("rival-0") == {}


async def test_an_eviction_that_fails_leaves_nothing_kept() -> None:
    world = await occupied()
    await world.arrive()
    world.api.refusal = errors.Unavailable("down")  # type: ignore[attr-defined]
    with pytest.raises(errors.Unavailable):
        await world.run("gang:ns/high-0")
    assert not world.owner.taken.claims.given_up
    await world.run("gang:ns/rival-0")
    assert world.released("rival-0") == {"rival-0-a-0": "n0"}
    world.api.refusal = None  # type: ignore[attr-defined]
    await world.bind()
    world.work.put("gang:ns/high-0", 0)  # as the worker does after an error
    await world.settle()
    assert world.released("high-0") == {"high-0-a-0": "n0"}


async def test_room_that_appears_before_the_gang_waits_for_it_is_not_missed() -> None:
    world = await occupied()
    await world.arrive()

    async def meanwhile() -> None:
        world.see()
        await world.run("room")

    world.api.after_evicting = meanwhile  # type: ignore[attr-defined]
    await world.run("gang:ns/high-0")
    begin = world.clock.moment
    await world.settle()
    assert world.clock.moment == begin
    assert world.released("high-0") == {"high-0-a-0": "n0"}


async def test_a_namesake_of_a_victim_is_not_evicted() -> None:
    world = await occupied()
    await world.arrive()
    victim = world.ours("low-0")[0]
    world.api._put("pods", {**victim, "metadata": {**victim["metadata"], "uid": "namesake"}})
    world.api.changes.clear()  # the cache has not heard of it
    await world.run("gang:ns/high-0")
    assert [pod["metadata"]["uid"] for pod in world.ours("low-0")] == ["namesake"]
    assert "gang:ns/high-0" in world.work.due
    assert not world.owner.taken.claims.given_up


def budget(world: placing.Placing, allowed: int, selector: raw.Object) -> None:
    """A PodDisruptionBudget of somebody else's, as the disruption controller keeps it."""
    metadata = {"name": "theirs", "namespace": "ns", "uid": "theirs"}
    spec = {"selector": {"matchLabels": selector}, "maxUnavailable": allowed}
    world.api._put(
        "poddisruptionbudgets", {"metadata": metadata, "spec": spec, "status": {"disruptionsAllowed": allowed}}
    )


@pytest.mark.parametrize(("allowed", "goes"), [(1, False), (2, True)])
async def test_a_budget_that_allows_each_pod_of_a_gang_and_not_all_spares_the_gang(allowed: int, goes: bool) -> None:
    world = await occupied(pods=2)
    budget(world, allowed, {names.LABEL_PODGANG: "low-0"})
    await world.arrive()
    before = {pod["metadata"]["uid"] for pod in world.ours("low-0")}
    await world.run("gang:ns/high-0")
    left = {pod["metadata"]["uid"] for pod in world.ours("low-0")}
    assert left == (set() if goes else before)
    why = world.owner.turns.waiting["gang:ns/high-0"]
    assert ("ns/theirs allows 1 disruptions, and 2 of its pods would go" in why) != goes
    nominated = [(pod.get("status") or {}).get("nominatedNodeName") for pod in world.ours("high-0")]
    assert nominated == ["n0" if goes else None], "what is not made room for is not held"


async def test_victims_that_end_slowly_are_waited_for_as_long_as_they_may_take() -> None:
    world = await occupied(grace=600)
    await world.arrive()
    ends = world.api.evict

    async def slow(name: str, namespace: str, **more: Any) -> None:
        if not more.get("dry_run"):
            await world.api.delete(resources.PODS, name, namespace)  # with its grace period

    world.api.evict = slow  # type: ignore[method-assign]
    await world.run("gang:ns/high-0")
    await world.advance(700)
    assert "room is being made" in world.owner.turns.waiting["gang:ns/high-0"]
    world.api.evict = ends  # type: ignore[method-assign]
    await world.advance(60)
    assert "room is being made" not in world.owner.turns.waiting["gang:ns/high-0"], "decided anew"


async def test_a_successor_whose_gang_fails_to_make_room_keeps_its_home() -> None:
    world = await occupied()
    await world.arrive()
    heir = world.inherit("high-0", "n0")
    world.api.refusal = errors.Unavailable("down")  # type: ignore[attr-defined]
    with pytest.raises(errors.Unavailable):
        await world.run("gang:ns/high-0")
    assert world.owner.taken.room.node_of(heir["metadata"]["uid"]) == "n0"


async def test_a_nomination_from_when_there_was_room_is_let_go() -> None:
    world = await occupied()
    await world.arrive()
    name = world.ours("rival-0")[0]["metadata"]["name"]
    world.api.foreign("big", node="n0", cpu="2")
    held = {"status": {"nominatedNodeName": "n0"}}
    await world.api.patch(resources.PODS, name, "ns", held, type="merge", subresource="status")
    world.see()
    await world.run("gang:ns/rival-0")
    assert "nominatedNodeName" not in world.ours("rival-0")[0]["status"]
