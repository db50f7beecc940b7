"""The condition LevelsUsable: written where the judgement changes, and by nobody at rest."""

from typing import Any

from grovekeeper.api import conditions, raw
from grovekeeper.kube import errors
from grovekeeper.reconciler import keys
from tests.reconciler.placing import Placing

PATCH = "patch clustertopologybindings/status"


def bound(here: Placing, key: str) -> None:
    levels = [{"domain": "rack", "key": key}]
    metadata = {"name": "net", "uid": "net", "generation": 1}
    here.api._put("clustertopologybindings", {"metadata": metadata, "spec": {"levels": levels}})


def verdict(here: Placing) -> raw.Object:
    status = here.api.of("clustertopologybindings")["", "net"].get("status") or {}
    return conditions.find(status.get("conditions"), "LevelsUsable") or {}


async def test_a_binding_is_judged_once_and_again_when_nodes_change() -> None:
    here = Placing(1, 1)
    bound(here, "cage")
    await here.settle()
    assert (verdict(here)["status"], verdict(here)["reason"]) == ("False", "LabelMissing")
    writes = here.api.calls[PATCH]
    for _ in range(5):
        here.work.put(keys.ROOM, 0)
        await here.settle()
    assert here.api.calls[PATCH] == writes, "a cluster at rest costs no writes"
    metadata = {"name": "n9", "labels": {"cage": "c1"}}
    here.api._put("nodes", {"metadata": metadata, "spec": {}, "status": {"allocatable": {"cpu": "1", "pods": "9"}}})
    await here.settle()
    assert (verdict(here)["status"], verdict(here)["message"]) == ("True", "2 of 3 nodes are in no rack")


async def test_a_verdict_that_cannot_be_written_keeps_no_gang_waiting() -> None:
    here = Placing(1)
    bound(here, "rack")

    async def refuse(resource: Any, _name: str, _subresource: str | None) -> None:
        if resource.plural == "clustertopologybindings":
            raise errors.Forbidden("clustertopologybindings/status is forbidden")

    here.api.before = refuse
    await here.settle()
    assert verdict(here) == {}
    here.api.before = None
    here.work.put(keys.ROOM, 0)
    await here.settle()
    assert verdict(here)["status"] == "True"
