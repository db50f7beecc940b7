"""The condition LevelsUsable: written with the rest of a binding's status, where the judgement changes."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from grovekeeper.api import conditions, names, raw
from grovekeeper.kube import errors, informer, resources
from grovekeeper.reconciler import bindings, caches, dispatcher, keys
from grovekeeper.runtime import settings
from tests.reconciler.placing import Placing
from tests.reconciler.test_handover import Handing

PATCH = "patch clustertopologybindings/status"
KEY = keys.binding("net")


async def look(here: Placing) -> None:
    here.see()
    await here.run(KEY)
    here.see()


def bound(here: Placing, key: str) -> None:
    levels = [{"domain": "rack", "key": key}]
    kind = {"apiVersion": names.API_VERSION, "kind": names.TOPOLOGY_BINDING}
    metadata = {"name": "net", "uid": "net", "generation": 1}
    here.api._put("clustertopologybindings", {**kind, "metadata": metadata, "spec": {"levels": levels}})


def verdict(here: Placing, type_: str = "LevelsUsable") -> raw.Object:
    status = here.api.of("clustertopologybindings")["", "net"].get("status") or {}
    return conditions.find(status.get("conditions"), type_) or {}


async def test_a_binding_is_judged_once_and_again_when_nodes_change() -> None:
    here = Placing(1, 1)
    bound(here, "cage")
    await look(here)
    assert (verdict(here)["status"], verdict(here)["reason"]) == ("False", "LabelMissing")
    writes = here.api.calls[PATCH]
    for _ in range(5):
        await look(here)
    assert here.api.calls[PATCH] == writes, "a cluster at rest costs no writes"
    metadata = {"name": "n9", "labels": {"cage": "c1"}}
    here.api._put("nodes", {"metadata": metadata, "spec": {}, "status": {"allocatable": {"cpu": "1", "pods": "9"}}})
    await look(here)
    assert (verdict(here)["status"], verdict(here)["message"]) == ("True", "2 of 3 nodes are in no rack")


async def test_a_look_from_an_old_cache_undoes_neither_of_the_two_conditions() -> None:
    here = Placing(1)
    here.ctx.settings.schedulers = settings.Schedulers(profiles=[names.SCHEDULER_KAI])
    bound(here, "rack")
    here.see()
    fresh = here.ctx.stores.topologies.all()
    await look(here)
    here.ctx.stores.topologies.replace((), 10**9)
    here.ctx.stores.topologies.replace(fresh, 10**9)
    await here.run(KEY)
    assert verdict(here)["status"] == "True"
    assert verdict(here, bindings.DRIFT)["status"] == "Unknown"


async def test_the_placement_task_writes_no_binding() -> None:
    here = Placing(1)
    bound(here, "rack")
    here.work.put(keys.ROOM, 0)
    await here.settle()
    assert here.api.calls[PATCH] == 0


async def test_bindings_are_looked_at_when_labels_of_nodes_or_another_binding_change() -> None:
    here = Placing(1)
    bound(here, "rack")
    here.see()
    handlers: dict[str, list[informer.Handler]] = {plural: [] for plural in caches.WATCHED}
    feeds: list[Any] = [
        SimpleNamespace(resource=caches.WATCHED[plural][0], add_handler=found.append)
        for plural, found in handlers.items()
    ]
    dispatch = dispatcher.Dispatcher(here.ctx, None, lambda name: None, feeds)  # type: ignore[arg-type]

    async def due(plural: str, old: raw.Object | None, new: raw.Object | None) -> bool:
        here.work.due.clear()
        for handler in handlers[plural]:
            handler(old, new)
        await dispatch.flush()
        return KEY in here.work.due

    node = here.ctx.stores.nodes.all()[0]
    moved = {**node, "metadata": {**node["metadata"], "labels": {"rack": "r9"}}}
    fuller = {**node, "status": {**node["status"], "allocatable": {"cpu": "9"}}}
    assert await due("nodes", None, node)
    assert await due("nodes", node, moved)
    assert await due("nodes", node, None)
    assert not await due("nodes", node, fuller)
    other: raw.Object = {"metadata": {"name": "other", "resourceVersion": "7"}, "spec": {"levels": []}}
    assert await due("clustertopologybindings", None, other)
    assert not await due("clustertopologybindings", other, {**other, "status": {"conditions": []}})


@pytest.mark.parametrize("error", [errors.Unavailable("KAI is away"), errors.Conflict("it is being deleted")])
async def test_trouble_with_kais_topology_does_not_hold_up_what_is_said_of_the_levels(error: errors.KubeError) -> None:
    here = Handing()
    here.api.node("n0")
    bound(here, "cage")
    here.see()
    plain = here.api.create

    async def away(resource: resources.Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        if resource is resources.KAI_TOPOLOGIES:
            raise error
        return await plain(resource, obj, dry_run=dry_run)

    here.api.create = away  # type: ignore[method-assign]
    with contextlib.suppress(errors.Unavailable):  # the worker tries again after a pause
        await here.run(KEY)
        assert KEY in here.work.due
    assert verdict(here)["reason"] == "LabelMissing"
    told = here.api.of("clustertopologybindings")["", "net"]["status"]
    assert "observedGeneration" not in told, "it has not been seen to in full"
