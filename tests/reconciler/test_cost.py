"""What a change of one pod costs, and what rest costs, counted with the size of the set varied."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources, store
from grovekeeper.reconciler import caches
from tests.reconciler import world


class Counted(store.Store):
    """A cache that counts the objects that readers are given."""

    read = 0

    def get(self, namespace: str | None, name: str) -> Any:
        found = super().get(namespace, name)
        self.read += found is not None
        return found

    def by_index(self, index: str, value: str) -> Any:
        found = super().by_index(index, value)
        self.read += len(found)
        return found

    def all(self) -> Any:
        found = super().all()
        self.read += len(found)
        return found


async def at_rest(replicas: int) -> world.World:
    here = world.World()
    for plural, field in caches.FIELDS.items():
        setattr(here.ctx.stores, field, Counted(caches.INDEXES.get(plural)))
    await here.apply(world.podset(replicas=replicas))
    await here.settle()
    await here.start()
    await here.advance(120)
    return here


def stores(here: world.World) -> dict[str, Counted]:
    return {plural: getattr(here.ctx.stores, field) for plural, field in caches.FIELDS.items()}


def start_counting(here: world.World) -> None:
    here.api.calls.clear()
    here.runs.clear()
    for each in stores(here).values():
        each.read = 0


async def one_pod_changes(replicas: int) -> tuple[Counter[str], Counter[str], int]:
    """Let one pod of a set of so many replicas lose and regain its readiness; return calls, keys and pods read."""
    here = await at_rest(replicas)
    pod = here.pods("demo-0-front")[0]
    start_counting(here)
    for ready in (False, True):
        await here.mark(pod, ready=ready)
        here.api.calls.subtract({"patch pods": 1, "patch pods/status": 1})  # this test as the kubelet
        await here.advance(30)
    return +here.api.calls, here.runs, stores(here)["pods"].read


async def test_a_change_of_one_pod_costs_what_its_clique_costs_however_large_the_set_is() -> None:
    small, large = await one_pod_changes(2), await one_pod_changes(40)
    assert small == large
    calls, keys, pods = large
    assert set(calls) <= {"patch podcliques/status", "patch podcliquesets/status"}
    assert keys["clique"] <= 6
    assert set(keys) <= {"clique", "setstatus"}
    assert pods <= 2 * 3 * keys["clique"], "the two pods of the clique, a few times a look"


@pytest.mark.parametrize("replicas", [1, 20])
async def test_a_set_at_rest_writes_nothing_however_large_it_is(replicas: int) -> None:
    here = await at_rest(replicas)
    start_counting(here)
    await here.advance(500)
    assert not here.runs, "nothing wakes up by itself"
    for name in here.names(resources.PODCLIQUES):
        here.work.put(f"clique:ns/{name}", 0)
    for name in here.names(resources.SCALINGGROUPS):
        here.work.put(f"group:ns/{name}", 0)
    here.work.put("set:PodCliqueSet:ns/demo", 0)
    await here.settle()
    assert here.runs["clique"] == 5 * replicas
    assert [call for call in here.api.calls if not call.startswith("get")] == []


async def test_what_waits_is_woken_by_its_event_and_not_by_the_clock() -> None:
    """Pods that wait for a place: hours pass without a look; the place comes and one look is enough."""
    here = world.World()
    await here.apply(world.podset())
    await here.advance(120)
    here.runs.clear()
    await here.advance(3 * 3600)
    assert sum(here.runs.values()) <= 2, "the token of the init gates may be looked after"
    await here.start("demo-0-front")
    await here.settle()
    assert here.runs["clique"] == 1


async def test_the_status_of_a_set_does_not_grow_with_its_replicas() -> None:
    sizes = []
    for replicas in (2, 40):
        here = await at_rest(replicas)
        sizes.append(len(str(here.get(resources.PODCLIQUESETS, "demo")["status"])))
    assert sizes[1] - sizes[0] < 20, "some digits"


class Authorising(world.Api):
    """Refuses, as an API server does, a RoleBinding whose Role its authoriser has not heard of yet.

    Each call takes a moment, and the authoriser hears of a Role while the call after its creation goes on.
    """

    heard: frozenset[tuple[str, str]] = frozenset()

    async def create(self, resource: resources.Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        there = frozenset(self.of("roles"))
        await asyncio.sleep(0)
        metadata = obj["metadata"]
        if resource is resources.ROLE_BINDINGS and (metadata["namespace"], obj["roleRef"]["name"]) not in self.heard:
            self.calls["create rolebindings"] += 1
            raise errors.NotFound(f'roles.rbac.authorization.k8s.io "{obj["roleRef"]["name"]}" not found')
        stored = await super().create(resource, obj, dry_run=dry_run)
        self.heard |= there
        return stored


async def test_the_shared_objects_of_a_set_are_made_at_one_go() -> None:
    here = world.World()
    here.api = Authorising(here.clock)
    here.ctx.client = here.api  # type: ignore[assignment]
    await here.apply(world.podset())
    here.see()
    await here.run("set:PodCliqueSet:ns/demo")
    made = ("serviceaccounts", "roles", "rolebindings", "secrets", "controllerrevisions")
    assert {plural: here.api.calls[f"create {plural}"] for plural in made} == dict.fromkeys(made, 1)
