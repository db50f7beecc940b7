"""Releases that are not answered: they may have been carried out, or may still be, and nothing is decided in doubt."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import decisions
from tests.reconciler.placing import Placing, pair

DEMO = "gang:ns/demo-0"


class Unsure(Placing):
    """A set of two pods that have to be in one rack, two racks with room for them, and releases without an answer."""

    def __init__(self) -> None:
        super().__init__(hold="never")
        levels = [{"domain": "rack", "key": "rack"}]
        binding = {"metadata": {"name": "net", "uid": "net"}, "spec": {"levels": levels}}
        self.api._put("clustertopologybindings", binding)
        for number in range(4):
            self.api.node(f"n{number}", rack=f"r{number // 2}")
        self.late: list[Callable[[], Any]] = []
        self.plain = self.api.patch

    async def begin(self) -> None:
        obj = pair()
        obj["spec"]["template"]["topologyConstraint"] = {"topologyName": "net", "pack": {"required": "rack"}}
        await self.apply(obj)
        await self.arrive()

    def lose(self, *fates: str) -> None:
        """Give releases no answer: each next one was carried out (done), is on its way (late), or never was (lost)."""
        left = list(fates)

        async def patch(resource: resources.Resource, *rest: Any, **more: Any) -> raw.Object:
            fate = left.pop(0) if left and resource is resources.PODS and more["type"] == "json" else None
            if fate == "late":
                self.late.append(lambda: self.plain(resource, *rest, **more))
            elif fate != "lost":
                answer = await self.plain(resource, *rest, **more)
            if fate == "cancelled":
                raise asyncio.CancelledError
            if fate is not None:
                raise errors.Unavailable("no answer")
            return answer

        self.api.patch = patch  # type: ignore[method-assign]

    def land_before_the_next(self) -> None:
        """Have what is on its way arrive just before the next release."""

        async def before(resource: resources.Resource, name: str, subresource: str | None) -> None:
            if resource is resources.PODS and subresource is None:
                self.api.before = None
                for request in self.late:
                    with contextlib.suppress(errors.Invalid):
                        await request()

        self.api.before = before

    async def look(self, error: type[BaseException] = errors.Unavailable) -> None:
        with pytest.raises(error):
            await self.run(DEMO)

    def told_of_nodes_only(self) -> None:
        """Hold the news of pods back: the caches hear of nodes alone."""
        held = [change for change in self.api.changes if change[0] == "pods"]
        self.api.changes[:] = [change for change in self.api.changes if change[0] != "pods"]
        self.see()
        self.api.changes[:0] = held

    def close_the_chosen_rack(self) -> None:
        """Cordon every node of the rack that was decided: what is asked anew goes to the other one."""
        taken = {self.owner.taken.room.node_of(pod["metadata"]["uid"]) for pod in self.ours()}
        first = 0 if taken <= {"n0", "n1"} else 2
        for number in (first, first + 1):
            self.api.node(f"n{number}", rack=f"r{number // 2}", unschedulable=True)
        self.told_of_nodes_only()

    def racks(self) -> set[str]:
        nodes = self.api.of("nodes")
        return {nodes["", str(node)]["metadata"]["labels"]["rack"] for node in self.released().values()}


async def unsure(*fates: str) -> Unsure:
    here = Unsure()
    await here.begin()
    here.lose(*fates)
    await here.look(asyncio.CancelledError if "cancelled" in fates else errors.Unavailable)
    here.close_the_chosen_rack()
    return here


@pytest.mark.parametrize("fates", [("done", "lost"), ("lost", "done"), ("done", "done"), ("cancelled", "lost")])
async def test_a_gang_is_not_decided_anew_while_its_release_may_have_been_carried_out(fates: tuple[str, ...]) -> None:
    here = await unsure(*fates)
    for _ in range(4):
        await here.run(DEMO)
        assert len(here.racks()) == 1
    await here.settle()
    assert len(here.racks()) == 1


@pytest.mark.parametrize("fates", [("late", "lost"), ("late", "late")])
async def test_a_release_that_comes_late_tears_no_gang(fates: tuple[str, ...]) -> None:
    here = await unsure(*fates)
    here.land_before_the_next()
    for _ in range(4):
        await here.run(DEMO)
        assert len(here.racks()) == 1
    await here.settle()
    assert len(here.racks()) == 1


async def test_a_release_goes_on_being_sent_until_it_is_answered_and_keeps_its_room() -> None:
    here = await unsure("late", "lost")
    uids = [pod["metadata"]["uid"] for pod in here.ours()]
    room = [here.owner.taken.room.node_of(uid) for uid in uids]
    here.lose("lost", "lost")
    await here.look()
    assert [here.owner.taken.room.node_of(uid) for uid in uids] == room
    here.lose()
    await here.run(DEMO)
    assert sorted(map(str, here.released().values())) == sorted(map(str, room))
    assert here.owner.releases.doubtful == {}
    for request in here.late:
        with pytest.raises(errors.Invalid):
            await request()


async def test_a_release_that_the_api_server_refuses_when_it_is_sent_again_is_decided_anew() -> None:
    here = await unsure("lost", "lost")
    refused: list[str] = []

    async def before(resource: resources.Resource, name: str, subresource: str | None) -> None:
        if resource is resources.PODS and subresource is None and len(refused) < 2:
            refused.append(name)
            raise errors.Invalid("a policy says no")

    here.api.before = before
    await here.look(errors.Invalid)
    assert here.owner.releases.doubtful == {}
    await here.run(DEMO)
    assert len(here.released()) == 2


async def test_what_may_have_been_released_is_written_down_again_where_somebody_deleted_the_podgang() -> None:
    here = await unsure("lost", "lost")
    doubtful = here.owner.releases.in_doubt(here.ours())
    here.api._drop("podgangs", here.gang())
    here.see()
    here.lose("lost", "lost")
    await here.look()
    assert decided(here) == doubtful


async def test_an_owner_that_begins_again_is_in_doubt_only_about_what_still_is_decided() -> None:
    here = await unsure("lost", "lost")
    first, second = here.ours()
    here.owner.releases.doubtful[second["metadata"]["uid"]] = "elsewhere"
    await here.owner.begin()
    assert [*here.owner.releases.doubtful] == [first["metadata"]["uid"]]
    here.owner.on_pod(first, None)
    assert here.owner.releases.doubtful == {}


async def test_what_is_seen_released_is_in_no_doubt() -> None:
    here = await unsure("done", "done")
    assert len(here.owner.releases.doubtful) == 2
    here.see()
    assert here.owner.releases.doubtful == {}


async def test_pods_that_are_taken_back_keep_their_room_until_they_are_known_to_be_deleted() -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair())
    await here.apply(pair("late", count=1))
    await here.arrive()
    await here.run(DEMO)
    assert len(here.released("demo-0")) == 2
    here.see()
    plain = here.api.delete

    async def lost(resource: resources.Resource, *rest: Any, **more: Any) -> None:
        raise errors.Unavailable("no answer")

    here.api.delete = lost  # type: ignore[method-assign]
    here.clock.moment += timedelta(seconds=31)
    with pytest.raises(errors.Unavailable):
        await here.run(DEMO)
    await here.run("gang:ns/late-0")
    assert here.released("late-0") == {}
    here.api.delete = plain  # type: ignore[method-assign]
    await here.run(DEMO)
    await here.run("gang:ns/late-0")
    assert len(here.released("late-0")) == 1


def decided(here: Placing) -> dict[str, str]:
    return decisions.placement(here.gang())
