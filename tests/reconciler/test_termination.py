import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, groups, model, parse, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import termination
from grovekeeper.runtime import clock
from tests.reconciler import world

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
LATER = CREATED + timedelta(hours=1)
DELAY = timedelta(seconds=10)
NEVER = termination.Past()


def workload(**template: raw.Json) -> model.Workload:
    clique = {"spec": {"replicas": 2, "minAvailable": 1, "podSpec": {"containers": [{"name": "c", "image": "i"}]}}}
    return parse.workload(
        {
            "apiVersion": names.API_VERSION,
            "kind": names.PODCLIQUESET,
            "metadata": {"name": "demo", "namespace": "ns", "uid": "set"},
            "spec": {
                "replicas": 1,
                "template": {
                    "terminationDelay": "10s",
                    "cliques": [{"name": name, **clique} for name in ("front", "lead", "work")],
                    "podCliqueScalingGroups": [
                        {"name": "pool", "cliqueNames": ["lead", "work"], "replicas": 3, "minAvailable": 1}
                    ],
                    **template,
                },
            },
        }
    )


def clique(breach: datetime | None = None, *, scheduled: str = "lost", name: str = "demo-0-front") -> raw.Object:
    """A PodClique: healthy, or in breach since `breach`; scheduled is "never", "lost" or "still"."""
    stamp = clock.rfc3339(breach or LATER)
    never = clock.rfc3339(CREATED)
    return {
        "metadata": {"name": name, "creationTimestamp": never, "uid": name},
        "status": {
            "conditions": [
                {
                    "type": status.SCHEDULED,
                    "status": "True" if breach is None or scheduled == "still" else "False",
                    "lastTransitionTime": never if scheduled == "never" else stamp,
                },
                {
                    "type": status.BREACHED,
                    "status": "True" if breach else "False",
                    "lastTransitionTime": never if scheduled == "never" else stamp,
                },
            ]
        },
    }


def pool(breach: datetime | None, **extra: str) -> raw.Object:
    found = [
        {
            "type": status.BREACHED,
            "status": "True" if breach else "False",
            "lastTransitionTime": clock.rfc3339(breach or LATER),
        },
        *({"type": type_, "status": value} for type_, value in extra.items()),
    ]
    return {
        "metadata": {"name": "demo-0-pool", "creationTimestamp": clock.rfc3339(CREATED), "uid": "pool"},
        "status": {"conditions": found},
    }


def replica(
    front: raw.Object, group: raw.Object, now: datetime, w: model.Workload, past: termination.Past = NEVER
) -> termination.Verdict:
    return termination.of_replica(w, 0, [front], [group], past, now)


@pytest.mark.parametrize(
    ("front", "group", "after", "want_due", "want_wake"),
    [
        pytest.param(clique(), pool(None), 99, (), None, id="all healthy"),
        pytest.param(clique(LATER), pool(None), 9, (), 10, id="breach not over"),
        pytest.param(clique(LATER), pool(None), 10, (0,), None, id="breach over"),
        pytest.param(clique(LATER, scheduled="still"), pool(None), 10, (0,), None, id="crashing but scheduled"),
        pytest.param(clique(CREATED, scheduled="never"), pool(None), 9999, (), None, id="never scheduled"),
        pytest.param(clique(), pool(LATER), 10, (0,), None, id="group over"),
        pytest.param(clique(), pool(CREATED), 9999, (), None, id="group never healthy"),
        pytest.param(
            clique(), pool(LATER, GangTerminationInProgress="True"), 9999, (), None, id="group terminated already"
        ),
        pytest.param(clique(LATER + DELAY), pool(LATER), 5, (), 10, id="the earliest breach decides"),
    ],
)
def test_a_set_replica_goes_when_a_breach_has_lasted_for_the_delay(
    front: raw.Object, group: raw.Object, after: int, want_due: tuple[int, ...], want_wake: int | None
) -> None:
    verdict = replica(front, group, LATER + timedelta(seconds=after), workload())
    assert verdict.due == want_due
    assert verdict.wake == (None if want_wake is None else LATER + timedelta(seconds=want_wake))


def test_a_replica_with_a_missing_clique_is_left_alone() -> None:
    verdict = termination.of_replica(workload(), 0, [], [pool(LATER)], termination.Past(), LATER + DELAY)
    assert verdict == termination.Verdict()


def test_disabled_gang_termination_never_acts() -> None:
    w = workload(gangTermination="Disabled")
    later = LATER + timedelta(days=1)
    assert replica(clique(LATER), pool(LATER), later, w) == termination.Verdict()
    assert termination.of_group(w, w.groups[0], 3, {}, {}, later) == termination.Verdict()


def test_a_groups_own_delay_overrides_the_sets() -> None:
    entry = {"name": "pool", "cliqueNames": ["lead", "work"], "replicas": 3, "terminationDelay": "1m0s"}
    w = workload(podCliqueScalingGroups=[entry])
    assert replica(clique(), pool(LATER), LATER + DELAY, w).wake == LATER + timedelta(minutes=1)
    assert replica(clique(), pool(LATER), LATER + timedelta(minutes=1), w).due == (0,)


def members(*breaches: datetime | None, scheduled: str = "lost") -> dict[int, list[raw.Object]]:
    return {
        index: [clique(None), clique(breach, scheduled=scheduled) if breach else clique()]
        for index, breach in enumerate(breaches)
    }


@pytest.mark.parametrize(
    ("found", "want_due", "want_wake"),
    [
        pytest.param(members(None, None, None), (), None, id="all healthy"),
        pytest.param(members(None, LATER, None), (1,), None, id="one replica goes"),
        pytest.param(members(LATER, LATER, None), (0, 1), None, id="two replicas go"),
        pytest.param(members(LATER, LATER, LATER), (), None, id="minimum lost: the set replica decides"),
        pytest.param(members(None, LATER + timedelta(seconds=5), None), (), 15, id="breach not over"),
        pytest.param(members(None, CREATED, None, scheduled="never"), (), None, id="never scheduled"),
        pytest.param(members(None, LATER), (1,), None, id="a replica that does not exist is no breach"),
    ],
)
def test_a_group_gives_up_replicas_while_its_minimum_holds(
    found: dict[int, list[raw.Object]], want_due: tuple[int, ...], want_wake: int | None
) -> None:
    w = workload()
    verdict = termination.of_group(w, w.groups[0], 3, found, {}, LATER + DELAY)
    assert verdict.due == want_due
    assert verdict.wake == (None if want_wake is None else LATER + timedelta(seconds=want_wake))


def test_the_same_gang_is_recreated_ever_less_often() -> None:
    w = workload()
    obj: raw.Object = {"metadata": {"annotations": {}}}
    now = LATER
    pauses = []
    for _ in range(4):
        text = termination.annotation(obj, ["0"], now)
        obj = {"metadata": {"annotations": {names.ANNOTATION_TERMINATIONS: text}}}
        past = termination.read(obj, "0")
        verdict = replica(clique(now), pool(None), now + DELAY, w, past)
        assert verdict.due == ()
        assert verdict.wake is not None
        pauses.append((verdict.wake - now).total_seconds())
        now = verdict.wake
        assert replica(clique(now - DELAY), pool(None), now, w, past).due == (0,)
    assert pauses == [30, 60, 120, 240]


def test_a_gang_that_held_for_hours_counts_from_one_again() -> None:
    obj: raw.Object = {"metadata": {"annotations": {names.ANNOTATION_TERMINATIONS: '{"0":[9,"2026-01-01T00:00:00Z"]}'}}}
    text = termination.annotation(obj, ["0"], CREATED + timedelta(days=1))
    assert text == '{"0":[1,"2026-01-02T00:00:00Z"]}'


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"0":1}', '{"0":["x","y"]}', '{"0":[1,2]}'])
def test_an_annotation_that_somebody_broke_counts_as_none(text: str) -> None:
    obj: raw.Object = {"metadata": {"annotations": {names.ANNOTATION_TERMINATIONS: text}}}
    assert termination.read(obj, "0") == termination.Past()
    assert termination.annotation(obj, ["1"], LATER).startswith("{")


def fresh_status(obj: raw.Object, pods: list[raw.Object], now: datetime) -> raw.Object:
    return status.clique(workload(), obj, pods, clock.rfc3339(now))


def test_the_status_remembers_whether_a_clique_was_ever_scheduled() -> None:
    w = workload()
    obj = cliques.standalone(w, 0, w.cliques[0])
    obj["metadata"].update(uid="u", creationTimestamp=clock.rfc3339(CREATED))
    pod: raw.Object = {"metadata": {"labels": {}}, "spec": {"nodeName": "n"}}

    obj["status"] = fresh_status(obj, [], LATER)
    assert not termination.ever_scheduled(obj)
    obj["status"] = fresh_status(obj, [pod], LATER + DELAY)
    assert termination.ever_scheduled(obj)
    obj["status"] = fresh_status(obj, [], LATER + 2 * DELAY)
    assert termination.ever_scheduled(obj)
    breach = conditions.find(obj["status"]["conditions"], status.BREACHED)
    assert breach is not None
    assert breach["lastTransitionTime"] == clock.rfc3339(LATER + 2 * DELAY)


def test_a_clique_woken_from_zero_counts_as_never_scheduled() -> None:
    w = workload()
    obj = cliques.standalone(w, 0, w.cliques[0], replicas=0)
    obj["metadata"].update(uid="u", creationTimestamp=clock.rfc3339(CREATED))
    obj["status"] = fresh_status(obj, [], LATER)
    assert conditions.is_true(obj, status.SCHEDULED)
    obj["spec"]["replicas"] = 2
    obj["status"] = fresh_status(obj, [], LATER + DELAY)
    assert not termination.ever_scheduled(obj)
    assert replica(obj, pool(None), LATER + timedelta(days=1), w) == termination.Verdict()


def test_a_group_that_was_never_whole_is_not_in_a_breach_that_counts() -> None:
    w = workload()
    obj = groups.group(w, 0, w.groups[0])
    obj["metadata"].update(uid="g", creationTimestamp=clock.rfc3339(CREATED))
    obj["status"] = status.group(w, obj, {}, clock.rfc3339(LATER))
    assert replica(clique(), obj, LATER + timedelta(days=1), w) == termination.Verdict()
    whole = {0: status.GroupReplica(complete=True, scheduled=True, available=True, updated=True, breached=False)}
    obj["status"] = status.group(w, obj, whole, clock.rfc3339(LATER))
    obj["status"] = status.group(w, obj, {}, clock.rfc3339(LATER + DELAY))
    assert replica(clique(), obj, LATER + 2 * DELAY, w).due == (0,)


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
    flag = world.condition(here.get(resources.SCALINGGROUPS, "demo-0-pool"), termination.IN_PROGRESS)
    assert flag is not None
    assert await recovered(here)
    assert world.condition(here.get(resources.SCALINGGROUPS, "demo-0-pool"), termination.IN_PROGRESS) is None


@pytest.mark.parametrize("writer", ["termination", "group"])
async def test_the_mark_of_a_termination_is_not_lost_to_the_groups_own_status(writer: str) -> None:
    """Both write into one list of conditions, and the group's PodCliques go at the same time."""
    here = await up()
    plain = here.api.patch
    met: list[str] = []
    flag = {"type": termination.IN_PROGRESS, "status": "True", "reason": "r", "message": "", "lastTransitionTime": "t"}

    async def meets(resource: resources.Resource, name: str, *rest: Any, **more: Any) -> raw.Object:
        if resource is resources.SCALINGGROUPS and more.get("subresource") == "status" and not met:
            listed = rest[1]["status"].get("conditions") or ()
            if listed and any(each["type"] == termination.IN_PROGRESS for each in listed) == (writer == "termination"):
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
    assert world.condition(here.get(resources.SCALINGGROUPS, "demo-0-pool"), termination.IN_PROGRESS) is not None


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


def test_how_often_a_gang_was_given_up_is_read_from_where_it_is_noted() -> None:
    noted = {names.ANNOTATION_TERMINATIONS: '{"replica":[3,"2026-01-01T00:00:00Z"],"2":[5,"2026-01-01T00:00:00Z"]}'}
    group = {"metadata": {"annotations": noted}, "spec": {"minAvailable": 1}}
    assert termination.recreations("demo-0", {"metadata": {"annotations": noted}}, None) == 3
    assert termination.recreations("demo-0-pool-1", {"metadata": {}}, group) == 5
    assert termination.recreations("demo-0-pool-0", {"metadata": {}}, group) == 0


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
