"""A new placement owner whose caches lag behind what the last owner wrote."""

import copy
from dataclasses import replace

import pytest

from grovekeeper.kube import resources, store
from grovekeeper.reconciler import caches, gang
from tests.reconciler.placing import Placing, pair
from tests.reconciler.test_gang import decided


class Died(BaseException):
    """The owner's process was killed."""


def successor(here: Placing, stores: caches.Stores) -> gang.Owner:
    """An owner in a process with these caches."""
    owner = gang.Owner(replace(here.ctx, stores=stores))
    for node in stores.nodes.all():
        owner.taken.on_node(None, node)
    for pod in stores.pods.all():
        owner.on_pod(None, pod)
    return owner


def as_seen(here: Placing) -> caches.Stores:
    """What the watches have shown up to now, in stores that see nothing any more."""
    made = {}
    for plural, field in caches.FIELDS.items():
        made[field] = store.Store(caches.INDEXES.get(plural))
        made[field].replace(copy.deepcopy(getattr(here.ctx.stores, field).all()), 0)
    return caches.Stores(**made)


async def cut_off(here: Placing, releases: int) -> caches.Stores:
    """Have the owner place demo-0 and die after so many releases; return caches from before it began."""
    await here.settle()
    before = as_seen(here)
    here.api.node("n0")
    here.api.node("n1")
    here.see()
    for node in here.ctx.stores.nodes.all():
        before.nodes.observe(copy.deepcopy(node))
    left = releases

    async def dies(resource: resources.Resource, name: str, subresource: str | None) -> None:
        nonlocal left
        if resource is resources.PODS:
            left -= 1
            if left < 0:
                raise Died

    here.api.before = dies
    with pytest.raises(Died):
        await here.run("gang:ns/demo-0")
    here.api.before = None
    return before


@pytest.mark.parametrize("releases", [0, 1])
async def test_room_that_the_last_owner_gave_is_not_given_again_by_one_whose_caches_lag(releases: int) -> None:
    here = Placing(hold="never")
    await here.apply(pair())
    await here.apply(pair("late"))
    lagging = await cut_off(here, releases)
    wanted = decided(here)
    here.owner = successor(here, lagging)
    assert "gang:ns/demo-0" in await here.owner.begin()
    await here.run("gang:ns/late-0")
    assert here.released("late-0") == {}
    await here.run("gang:ns/demo-0")
    assert decided(here) == wanted
    assert sorted(filter(None, here.released("demo-0").values())) == sorted(wanted.values())


async def test_a_gang_is_not_placed_a_second_time_by_an_owner_whose_caches_lag() -> None:
    here = Placing(hold="never")
    await here.apply(pair())
    lagging = await cut_off(here, 1)
    wanted, released = decided(here), here.released("demo-0")
    # Somebody has taken the room of the pod that was not released, and there is other room for both.
    left = next(name for host, name in wanted.items() if name not in released.values())
    here.api.foreign("rival", left)
    here.api.node("n2")
    here.api.node("n3")
    here.owner = successor(here, lagging)
    for node in here.api.of("nodes").values():
        lagging.nodes.observe(copy.deepcopy(node))
        here.owner.taken.on_node(None, node)
    here.owner.on_pod(None, here.api.of("pods")["else", "rival"])
    await here.owner.begin()
    for _ in range(2):
        await here.run("gang:ns/demo-0")
    pins = {pod["metadata"]["name"]: here.released()[pod["spec"]["hostname"]] for pod in here.ours("demo-0")}
    assert decided(here) == pins
    assert released.items() <= here.released("demo-0").items()


async def test_a_pod_that_an_unseen_write_has_released_keeps_its_room() -> None:
    here = Placing(hold="never")
    await here.apply(pair())
    await here.apply(pair("late", count=1))
    lagging = await cut_off(here, 1)
    lagging.gangs.observe(copy.deepcopy(here.gang()))
    here.owner = successor(here, lagging)
    # As if the release had reached the API server after the first look.
    here.owner.taken.recover()
    await here.run("gang:ns/demo-0")
    await here.run("gang:ns/late-0")
    assert here.released("late-0") == {}
    assert len(here.released("demo-0")) == 2


@pytest.mark.parametrize("known", [False, True])
async def test_a_decision_that_the_cache_lacks_is_never_written_over(known: bool) -> None:
    here = Placing(hold="never")
    await here.apply(pair())
    lagging = await cut_off(here, 0)
    wanted = decided(here)
    if not known:
        lagging.gangs.replace((), 10**9)
    here.owner = successor(here, lagging)
    # As if the decision had reached the API server after the first look.
    here.owner.taken.recover()
    for name in wanted.values():
        lagging.nodes.observe_deleted(here.api.of("nodes")["", name])
        here.owner.taken.on_node(here.api.of("nodes")["", name], None)
    for name in ("n2", "n3"):
        here.api.node(name)
        lagging.nodes.observe(copy.deepcopy(here.api.of("nodes")["", name]))
        here.owner.taken.on_node(None, here.api.of("nodes")["", name])
    await here.run("gang:ns/demo-0")
    assert decided(here) == wanted
    assert here.released() == {}
    assert "gang:ns/demo-0" in here.work.due
