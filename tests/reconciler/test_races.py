"""What comes in while the placement owner waits for an answer: nothing is torn, lost, or kept for nobody."""

import contextlib
import copy
import json

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import creation, gang, preemption
from tests.reconciler.placing import Placing, pair

DEMO, LATE = "gang:ns/demo-0", "gang:ns/late-0"


def failing_once(here: Placing, error: errors.KubeError, nth: int = 2) -> None:
    """Have the nth release of a pod fail."""
    releases = 0

    async def fails(resource: resources.Resource, name: str, subresource: str | None) -> None:
        nonlocal releases
        if resource is resources.PODS and subresource is None:
            releases += 1
            if releases == nth:
                raise error

    here.api.before = fails


async def half_released(*cpus: int) -> Placing:
    """The gang `demo` of two pods, of which one is released and bound, and one is not."""
    here = Placing(*cpus, hold="never")
    await here.apply(pair())
    await here.arrive()
    failing_once(here, errors.Unavailable("no", {"code": 500, "message": "failed calling webhook"}))
    with pytest.raises(errors.Unavailable):
        await here.run(DEMO)
    here.api.before = None
    assert len(here.released("demo-0")) == 1
    return here


async def test_a_pod_that_changed_while_its_gang_was_released_keeps_its_room_and_is_looked_at_again() -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair())
    await here.apply(pair("late", count=1))
    await here.arrive()
    here.meddle_once()
    await here.run(DEMO)
    assert len(here.released("demo-0")) == 1
    assert DEMO in here.work.due, "an annotation of somebody else's wakes nobody"
    await here.run(LATE)
    assert here.released("late-0") == {}
    await here.run(DEMO)
    assert len(here.released("demo-0")) == 2


@pytest.mark.parametrize("error", [errors.Invalid("spec: no"), errors.Conflict("not written: the Lease may be lost")])
async def test_a_release_that_is_refused_keeps_its_room_and_is_tried_again(error: errors.KubeError) -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair())
    await here.apply(pair("late", count=1))
    await here.arrive()
    failing_once(here, error)
    with contextlib.suppress(errors.Invalid):  # the worker tries again after a pause
        await here.run(DEMO)
        assert DEMO in here.work.due
    await here.run(LATE)
    assert here.released("late-0") == {}
    await here.run(DEMO)
    assert len(here.released("demo-0")) == 2


async def test_a_pod_that_is_bound_while_the_rest_is_released_is_not_taken_back() -> None:
    here = await half_released(1, 1)
    here.owner.releases.sent = {uid: since - 60 for uid, since in here.owner.releases.sent.items()}

    async def binds(resource: resources.Resource, name: str, subresource: str | None) -> None:
        here.api.before = None
        await here.bind()
        here.see()

    before = {pod["metadata"]["uid"] for pod in here.ours("demo-0")}
    here.api.before = binds
    await here.run(DEMO)
    assert here.api.before is None
    assert {pod["metadata"]["uid"] for pod in here.ours("demo-0") if plan.alive(pod)} == before
    assert len(here.released("demo-0")) == 2


async def test_a_part_of_a_gang_that_was_never_whole_is_taken_back_when_the_rest_finds_no_room() -> None:
    here = await half_released(1, 1)
    await here.bind()
    (kept,) = here.released("demo-0").values()
    here.api.foreign("rival", node="n1" if kept == "n0" else "n0")
    await here.advance(25)
    assert set(here.released("demo-0").values()) == {kept}, "there may be room in a moment"
    await here.advance(10)
    for pod in here.ours("demo-0"):
        if not plan.alive(pod):
            await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.apply(pair("late", count=1))
    await here.settle()
    assert here.released("demo-0") == {}
    assert here.released("late-0") == {"late-0-a-0": kept}
    assert "GangUnbound" in {reason for _, reason, _ in here.events.said}
    here.api.node("n8")
    here.api.node("n9")
    await here.settle()
    assert len(here.released("demo-0")) == 2


async def test_the_running_part_of_a_gang_that_was_whole_stays_when_the_rest_finds_no_room() -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair())
    await here.settle()
    await here.bind()
    await here.settle()
    stays, goes = here.ours("demo-0")
    target = {"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}
    await here.api.patch(resources.PODS, goes["metadata"]["name"], "ns", target, type="merge", subresource="status")
    here.see()
    await here.api.delete(resources.PODS, goes["metadata"]["name"], "ns", grace=0)
    here.api.foreign("rival", node=goes["spec"]["nodeName"])
    await here.advance(300)
    assert stays["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in here.ours("demo-0")}
    assert len(here.released("demo-0")) == 1


def elses_podgang(here: Placing, name: str = "demo-0") -> None:
    """A PodGang of this name that is none of ours."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x", "controller": True}
    metadata = {"name": name, "namespace": "ns", "uid": "theirs", "labels": {}, "ownerReferences": [owner]}
    here.api._put("podgangs", {"kind": names.PODGANG, "metadata": metadata, "spec": {"podgroups": []}})


async def test_a_gang_whose_podgang_belongs_to_somebody_else_keeps_no_room_and_holds_nobody_up() -> None:
    here = Placing(hold="never")
    await here.apply(pair())
    await here.apply(pair("late"))
    await here.settle()
    assert {DEMO, LATE} <= here.owner.turns.waiting.keys()
    here.api._drop("podgangs", here.gang())
    elses_podgang(here)
    here.see()
    here.api.node("n0")
    here.api.node("n1")
    here.see()
    await here.run("room")
    assert here.released("demo-0") == {}
    assert len(here.released("late-0")) == 2
    await here.advance(1)
    noted = here.get(resources.PODCLIQUESETS, "demo")["status"]["lastErrors"]
    assert [entry["code"] for entry in noted] == ["ERR_NAME_COLLISION"]
    assert "PodGang demo-0 exists and belongs to ConfigMap x" in noted[0]["description"]
    here.api._drop("podgangs", here.gang())
    here.api.node("n2")
    here.api.node("n3")
    await here.advance(61)
    assert len(here.released("demo-0")) == 2
    assert "lastErrors" not in here.get(resources.PODCLIQUESETS, "demo")["status"]


async def test_a_look_that_fails_by_a_fault_of_ours_does_not_keep_the_others_that_wait_from_the_room() -> None:
    here = Placing()
    await here.apply(pair("broken"))
    await here.apply(pair("late"))
    await here.settle()
    plain = here.api.apply

    async def faulty(resource: resources.Resource, obj: raw.Object, *, manager: str) -> raw.Object:
        if obj["metadata"]["name"] == "broken-0":
            raise ValueError("a fault")
        return await plain(resource, obj, manager=manager)

    here.api.apply = faulty  # type: ignore[method-assign]
    for index in range(4):
        here.api.node(f"n{index}")
    here.see()
    await here.run("room")
    assert len(here.released("late-0")) == 2


async def test_a_successor_that_goes_while_its_decision_is_written_leaves_no_charge() -> None:
    here = Placing(1, 1)
    await here.apply(pair())
    await here.arrive()
    heir = here.inherit("demo-0", "n0")
    plain = here.api.create

    async def lost(resource: resources.Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        if resource is resources.PODGANGS:
            await here.api.delete(resources.PODS, heir["metadata"]["name"], "ns", grace=0)
            here.see()
            raise errors.Unavailable("no answer")
        return await plain(resource, obj, dry_run=dry_run)

    here.api.create = lost  # type: ignore[method-assign]
    with pytest.raises(errors.Unavailable):
        await here.run(DEMO)
    assert here.owner.taken.room.node_of(heir["metadata"]["uid"]) is None


async def test_a_hold_for_a_pod_that_is_gone_touches_no_namesake() -> None:
    here = Placing(1)
    await here.apply(pair(count=1))
    await here.arrive()
    gone = copy.deepcopy(here.ours()[0])
    here.api._put("pods", {**gone, "metadata": {**gone["metadata"], "uid": "namesake"}})
    assert await creation.nominate(here.ctx, gone, "n0") == gone
    assert here.ours()[0]["metadata"]["uid"] == "namesake"
    assert "nominatedNodeName" not in here.ours()[0].get("status", {})


async def test_who_holds_a_node_is_counted_right_whatever_a_writer_has_stored_before_the_event() -> None:
    here = Placing(1)
    await here.apply(pair(count=1))
    await here.settle()
    await here.bind()
    pod = here.ours()[0]
    # The watch tells of a version that the cache had from an answer to a write.
    owner = gang.Owner(here.ctx)
    owner.on_pod(pod, pod)
    assert owner.taken.lowest_priority() == 0
    landed = owner.taken.landed
    owner.on_pod(pod, pod)
    assert owner.taken.landed == landed, "it has landed once"
    owner.on_pod(pod, None)
    owner.on_pod(pod, None)
    assert owner.taken.lowest_priority() is None


async def test_a_new_owner_charges_a_released_pod_where_it_is_pinned_and_not_where_it_was_decided_to_go() -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair(count=1))
    await here.settle()
    (pinned,) = here.released().values()
    other = "n1" if pinned == "n0" else "n0"
    live = here.gang()
    notes = {names.ANNOTATION_PLACEMENT: json.dumps({here.ours()[0]["metadata"]["name"]: other})}
    here.api._put("podgangs", {**live, "metadata": {**live["metadata"], "annotations": notes}})
    here.see()
    await here.owner.begin()
    assert here.owner.taken.room.node_of(here.ours()[0]["metadata"]["uid"]) == pinned


async def test_an_ownership_begins_without_what_an_earlier_one_of_the_process_has_kept() -> None:
    here = await half_released(1, 1)
    here.owner.releases._whole.add(DEMO)
    here.owner._cycle._preemption._clearing[DEMO] = preemption.Clearing(frozenset({"x"}), here.clock.monotonic() + 99)
    await here.owner.begin()
    assert here.owner.releases._whole == set()
    assert here.owner._cycle._preemption._clearing == {}


@pytest.mark.parametrize("arrives", [True, False])
async def test_room_whose_decision_may_have_been_written_is_nobody_elses_before_the_next_look(arrives: bool) -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair())
    await here.apply(pair("late", count=1))
    await here.arrive()
    plain = here.api.create

    async def unanswered(resource: resources.Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        if resource is resources.PODGANGS and obj["metadata"]["name"] == "demo-0":
            if arrives:
                await plain(resource, obj, dry_run=dry_run)
            raise errors.Unavailable("no answer")
        return await plain(resource, obj, dry_run=dry_run)

    here.api.create = unanswered  # type: ignore[method-assign]
    with pytest.raises(errors.Unavailable):
        await here.run(DEMO)
    await here.run(LATE)
    assert here.released() == {}
    here.api.create = plain  # type: ignore[method-assign]
    here.see()
    await here.run(DEMO)
    assert len(here.released("demo-0")) == 2


async def test_room_whose_decision_the_api_server_did_not_take_is_free_at_once() -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair())
    await here.apply(pair("late", count=1))
    await here.arrive()
    said = {"code": 500, "message": "failed calling webhook"}

    def refuses(plural: str, obj: raw.Object) -> Exception | None:
        return errors.Unavailable("no", said) if plural == "podgangs" and obj["metadata"]["name"] == "demo-0" else None

    here.api.refuse = refuses
    with pytest.raises(errors.Unavailable):
        await here.run(DEMO)
    await here.run(LATE)
    assert len(here.released("late-0")) == 1


async def test_a_successor_that_no_longer_fits_gives_its_home_up_to_the_rest_of_its_gang() -> None:
    here = Placing(1, hold="always")
    await here.apply(pair(minimum=1))
    await here.arrive()
    heir = copy.deepcopy(here.ours("demo-0")[1])
    heir["metadata"].setdefault("annotations", {})[names.ANNOTATION_SUCCEEDS] = "gone"
    heir["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    heir["status"] = {"nominatedNodeName": "n0"}
    here.api._put("pods", heir)
    await here.settle()
    await here.advance(1)
    assert here.released("demo-0") == {"demo-0-a-0": "n0"}
    assert here.runs["gang"] < 20
    assert "nominatedNodeName" not in here.ours("demo-0")[1]["status"]
