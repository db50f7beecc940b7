import itertools
from datetime import timedelta
from typing import Any

import pytest

from grovekeeper.api import conditions, names, raw
from grovekeeper.kube import resources
from grovekeeper.reconciler import breaches
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
