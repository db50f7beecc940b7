import itertools
from datetime import timedelta
from typing import Any

import pytest

from grovekeeper.api import conditions, names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import breaches, keys, recreations
from tests.reconciler import world


async def up(**template: raw.Json) -> world.World:
    here = world.World()
    await here.apply(world.podset(**template))
    await here.settle()
    await here.start()
    await here.advance(5)
    gang = {"metadata": {"name": "demo-0", "namespace": "ns", "labels": {names.LABEL_PART_OF: "demo"}}}
    await here.api.create(resources.PODGANGS, {"kind": names.PODGANG, **gang})
    here.see()
    return here


async def kill(here: world.World, clique_name: str, count: int) -> None:
    """Remove pods for good: the replacements find no node."""
    for pod in [pod for pod in here.pods(clique_name) if pod["spec"].get("nodeName")][:count]:
        await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.settle()


def uids(here: world.World, clique_name: str = "") -> set[str]:
    return {pod["metadata"]["uid"] for pod in here.pods(clique_name) if "deletionTimestamp" not in pod["metadata"]}


async def recovered(here: world.World) -> bool:
    await here.finish()
    await here.settle()
    await here.start()
    await here.advance(5)
    return len(here.pods()) == 8 and conditions.is_true(here.get(resources.PODCLIQUESETS, "demo"), "Ready")


async def test_a_set_replica_below_its_minimum_is_recreated_whole_after_the_delay() -> None:
    here = await up()
    before = uids(here)
    await kill(here, "demo-0-front", 2)
    left = uids(here) & before
    await here.advance(9)
    assert left <= uids(here), "not before the delay is over"
    await here.advance(2)
    assert not left & uids(here)
    assert here.names(resources.SERVICES) == ["demo-0"]
    assert await recovered(here)
    assert [reason for _, reason, _ in here.events.said].count("PodCliqueSetReplicaDeleteSuccessful") == 1


async def test_losing_less_than_the_minimum_recreates_nothing() -> None:
    here = await up()
    await kill(here, "demo-0-front", 1)
    survivors = uids(here)
    await here.advance(60)
    assert uids(here) == survivors


async def test_a_replica_of_a_group_is_recreated_alone() -> None:
    here = await up()
    others = uids(here) - uids(here, "demo-0-pool-1-work") - uids(here, "demo-0-pool-1-lead")
    lead = uids(here, "demo-0-pool-1-lead")
    await kill(here, "demo-0-pool-1-work", 2)
    await here.advance(12)
    assert others <= uids(here)
    assert not lead & uids(here)
    assert await recovered(here)


async def test_losing_every_replica_of_a_group_recreates_the_set_replica() -> None:
    here = await up()
    front = uids(here, "demo-0-front")
    await kill(here, "demo-0-pool-0-work", 2)
    await kill(here, "demo-0-pool-1-work", 2)
    await here.advance(12)
    assert not front & uids(here)
    flag = world.condition(here.get(resources.SCALINGGROUPS, "demo-0-pool"), breaches.IN_PROGRESS)
    assert flag is not None
    assert await recovered(here)
    assert world.condition(here.get(resources.SCALINGGROUPS, "demo-0-pool"), breaches.IN_PROGRESS) is None


@pytest.mark.parametrize("writer", ["termination", "group"])
async def test_the_mark_of_a_termination_is_not_lost_to_the_groups_own_status(writer: str) -> None:
    """Both write into one list of conditions, and the group's PodCliques go at the same time."""
    here = await up()
    plain = here.api.patch
    met: list[str] = []
    flag = {"type": breaches.IN_PROGRESS, "status": "True", "reason": "r", "message": "", "lastTransitionTime": "t"}

    async def meets(resource: resources.Resource, name: str, *rest: Any, **more: Any) -> raw.Object:
        if resource is resources.SCALINGGROUPS and more.get("subresource") == "status" and not met:
            listed = rest[1]["status"].get("conditions") or ()
            if listed and any(each["type"] == breaches.IN_PROGRESS for each in listed) == (writer == "termination"):
                met.append(name)
                live = here.get(resources.SCALINGGROUPS, name)
                told = live["status"]["conditions"]
                added = {"conditions": [*told, flag]} if writer == "group" else {"replicas": 0}
                here.api._put("podcliquescalinggroups", {**live, "status": {**live["status"], **added}})
        return await plain(resource, name, *rest, **more)

    here.api.patch = meets  # type: ignore[method-assign]
    await kill(here, "demo-0-pool-0-work", 2)
    await kill(here, "demo-0-pool-1-work", 2)
    await here.advance(12 if writer == "termination" else 2)
    assert met
    assert world.condition(here.get(resources.SCALINGGROUPS, "demo-0-pool"), breaches.IN_PROGRESS) is not None


async def test_a_termination_is_counted_on_exactly_the_gang_that_was_read() -> None:
    here = await up()
    await kill(here, "demo-0-front", 2)
    live = here.get(resources.PODGANGS, "demo-0")
    before = uids(here)
    here.api._put("podgangs", {**live, "metadata": {**live["metadata"], "uid": "another"}})
    here.api.changes.clear()  # the cache has not heard of it
    await here.advance(11)
    noted = here.get(resources.PODGANGS, "demo-0")["metadata"].get("annotations") or {}
    assert names.ANNOTATION_TERMINATIONS not in noted
    assert before <= uids(here), "nothing is given up on old knowledge"


async def test_a_gang_that_was_never_scheduled_is_never_terminated() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.advance(3600)
    assert here.api.calls["delete podcliques"] == 0


async def test_a_recreated_gang_that_finds_no_room_is_not_recreated_again() -> None:
    here = await up()
    await kill(here, "demo-0-front", 2)
    await here.advance(12)
    deleted = here.api.calls["delete podcliques"]
    assert deleted == 5
    await here.advance(3600)
    assert here.api.calls["delete podcliques"] == deleted


async def test_a_gang_that_breaks_again_and_again_waits_longer_each_time() -> None:
    here = await up()
    moments = []
    for _ in range(3):
        await kill(here, "demo-0-front", 2)
        before = here.api.calls["delete podcliques"]
        while here.api.calls["delete podcliques"] == before:
            await here.advance(1)
        moments.append(here.clock.moment)
        assert await recovered(here)
    pauses = [(b - a).total_seconds() for a, b in itertools.pairwise(moments)]
    assert 29 <= pauses[0] <= 33
    assert 59 <= pauses[1] <= 63


async def test_a_breach_in_the_first_second_of_a_gangs_life_counts() -> None:
    """Transition times have whole seconds: that the minimum was met is recorded by itself."""
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    await here.start()
    await here.settle()
    assert here.clock.moment == world.START
    lead = uids(here, "demo-0-pool-0-lead")
    await kill(here, "demo-0-front", 2)
    await here.advance(13)
    assert not lead & uids(here)


async def test_a_breach_in_the_first_second_of_a_group_counts() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    await here.start()
    await here.settle()
    front = uids(here, "demo-0-front")
    await kill(here, "demo-0-pool-0-work", 2)
    await kill(here, "demo-0-pool-1-work", 2)
    await here.advance(13)
    assert not front & uids(here)


async def test_a_group_may_have_a_delay_of_its_own() -> None:
    pool = {
        "name": "pool",
        "cliqueNames": ["lead", "work"],
        "replicas": 2,
        "minAvailable": 1,
        "terminationDelay": "60s",
    }
    here = await up(podCliqueScalingGroups=[pool])
    lead = uids(here, "demo-0-pool-1-lead")
    await kill(here, "demo-0-pool-1-work", 2)
    await here.advance(50)
    assert lead <= uids(here)
    await here.advance(12)
    assert not lead & uids(here)


async def test_gang_termination_can_be_switched_off() -> None:
    here = await up(gangTermination="Disabled")
    before = uids(here)
    await kill(here, "demo-0-front", 2)
    left = uids(here) & before
    await here.advance(24 * 3600)
    assert left <= uids(here)
    assert here.api.calls["delete podcliques"] == 0


async def test_the_clock_goes_on_while_nobody_looks() -> None:
    here = await up()
    await kill(here, "demo-0-front", 2)
    await here.advance(2)
    here.work.due.clear()  # every process is gone, and the queue is lost
    here.clock.moment += timedelta(seconds=9)
    await here.run(f"setstatus:{names.PODCLIQUESET}:ns/demo")
    assert here.api.calls["delete podcliques"] == 5


async def test_nothing_polls_while_a_delay_runs() -> None:
    here = await up(terminationDelay="4h0m0s")
    await kill(here, "demo-0-front", 2)
    await here.advance(10)
    runs = here.runs.total()
    await here.advance(3 * 3600)
    assert here.runs.total() == runs
    await here.advance(3600)
    assert here.api.calls["delete podcliques"] == 5


async def test_a_clique_that_was_scaled_comes_back_as_large_as_it_was_and_a_later_edit_in_git_reaches_it() -> None:
    here = await up()
    await here.api.patch(resources.PODCLIQUES, "demo-0-front", "ns", {"spec": {"replicas": 4}}, type="merge")
    await here.settle()
    await here.start()
    old = here.get(resources.PODCLIQUES, "demo-0-front")["metadata"]["uid"]
    await kill(here, "demo-0-front", 4)
    await here.advance(11)
    await here.finish()
    await here.settle()
    front = here.get(resources.PODCLIQUES, "demo-0-front")
    assert front["metadata"]["uid"] != old
    assert front["spec"]["replicas"] == 4
    assert len(here.pods("demo-0-front")) == 4
    assert names.ANNOTATION_GIVEN_UP not in here.get(resources.PODGANGS, "demo-0")["metadata"]["annotations"]
    obj = world.podset()
    obj["spec"]["template"]["cliques"][0]["spec"]["replicas"] = 3
    await here.apply(obj)
    await here.advance(1)
    assert here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["replicas"] == 3


async def test_the_note_of_scaled_cliques_is_read_where_the_cache_has_not_heard_of_it() -> None:
    here = await up()
    obj, front = here.get(resources.PODCLIQUESETS, "demo"), here.get(resources.PODCLIQUES, "demo-0-front")
    await here.api.delete(resources.PODCLIQUES, "demo-0-front", "ns")
    here.see()
    front["spec"]["replicas"] = 5
    note = {"metadata": {"annotations": {names.ANNOTATION_GIVEN_UP: recreations.given_up([front])}}}
    await here.api.patch(resources.PODGANGS, "demo-0", "ns", note, type="merge")
    await here.run(keys.replica(obj["kind"], "ns", "demo", 0))
    assert here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["replicas"] == 5


def test_the_note_of_scaled_cliques_counts_until_each_of_them_is_back() -> None:
    def clique(name: str, uid: str, replicas: int, passed_on: str | None) -> raw.Object:
        annotations = {names.ANNOTATION_TEMPLATE_REPLICAS: passed_on} if passed_on else {}
        return {"metadata": {"name": name, "uid": uid, "annotations": annotations}, "spec": {"replicas": replicas}}

    gone = [clique("a", "1", 5, "2"), clique("b", "2", 2, "2"), clique("c", "3", 0, "1"), clique("d", "4", 9, None)]
    gang = {"metadata": {"annotations": {names.ANNOTATION_GIVEN_UP: recreations.given_up(gone)}}}
    assert recreations.before(gang, "a") == gone[0]
    assert recreations.before(gang, "c") == gone[2]
    assert recreations.before(gang, "b") is None, "as in the set"
    assert recreations.before(gang, "d") is None, "nothing is known of what was passed on"
    assert not recreations.are_back(gang, {each["metadata"]["name"]: each for each in gone}), "they are still to go"
    back = {name: clique(name, "new", 1, "1") for name in "ac"}
    assert recreations.are_back(gang, back)
    assert not recreations.are_back(gang, {"a": back["a"]})
    assert recreations.given_up(gone[1:2]) is None
    broken = {"metadata": {"annotations": {names.ANNOTATION_GIVEN_UP: '{"a": 3}'}}}
    assert recreations.before(broken, "a") is None


@pytest.mark.parametrize("cut", ["the answer to the note", "the deletion"])
@pytest.mark.parametrize("level", ["replica", "group"])
async def test_a_termination_that_was_cut_short_goes_on_at_once_and_is_counted_once(cut: str, level: str) -> None:
    here = await up()
    clique = "demo-0-front" if level == "replica" else "demo-0-pool-1-work"
    before = here.get(resources.PODCLIQUES, clique)["metadata"]["uid"]
    patch, delete = here.api.patch, here.api.delete

    async def note(resource: resources.Resource, *rest: Any, **more: Any) -> raw.Object:
        answer = await patch(resource, *rest, **more)
        if resource in (resources.PODGANGS, resources.SCALINGGROUPS) and names.ANNOTATION_TERMINATIONS in str(rest):
            raise errors.Unavailable("no answer")
        return answer

    async def lost(resource: resources.Resource, *rest: Any, **more: Any) -> None:
        if resource is resources.PODCLIQUES:
            raise errors.Unavailable("no answer")
        await delete(resource, *rest, **more)

    await kill(here, clique, 2)
    if cut == "the deletion":
        here.api.delete = lost  # type: ignore[method-assign]
    else:
        here.api.patch = note  # type: ignore[method-assign]
    with pytest.raises(errors.Unavailable):
        await here.advance(12)
    here.api.patch, here.api.delete = patch, delete  # type: ignore[method-assign]
    here.work.put("setstatus:PodCliqueSet:ns/demo", 0)
    await here.advance(1)
    assert here.get(resources.PODCLIQUES, clique)["metadata"]["uid"] != before
    where = (
        here.get(resources.PODGANGS, "demo-0")
        if level == "replica"
        else here.get(resources.SCALINGGROUPS, "demo-0-pool")
    )
    assert recreations.read(where, recreations.REPLICA if level == "replica" else "1").count == 1
