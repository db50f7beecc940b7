from datetime import UTC, datetime, timedelta

import pytest

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, groups, model, parse, status
from grovekeeper.reconciler import breaches, recreations
from grovekeeper.runtime import clock

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
LATER = CREATED + timedelta(hours=1)
DELAY = timedelta(seconds=10)
NEVER = recreations.Past()


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
    front: raw.Object, group: raw.Object, now: datetime, w: model.Workload, past: recreations.Past = NEVER
) -> breaches.Verdict:
    return breaches.of_replica(w, 0, [front], [group], past, now)


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
    verdict = breaches.of_replica(workload(), 0, [], [pool(LATER)], recreations.Past(), LATER + DELAY)
    assert verdict == breaches.Verdict()


def test_disabled_gang_termination_never_acts() -> None:
    w = workload(gangTermination="Disabled")
    later = LATER + timedelta(days=1)
    assert replica(clique(LATER), pool(LATER), later, w) == breaches.Verdict()
    assert breaches.of_group(w, w.groups[0], 3, {}, {}, later) == breaches.Verdict()


def test_a_groups_own_delay_overrides_the_sets() -> None:
    entry = {"name": "pool", "cliqueNames": ["lead", "work"], "replicas": 3, "terminationDelay": "1m0s"}
    w = workload(podCliqueScalingGroups=[entry])
    assert replica(clique(), pool(LATER), LATER + DELAY, w).wake == LATER + timedelta(minutes=1)
    assert replica(clique(), pool(LATER), LATER + timedelta(minutes=1), w).due == (0,)


def members(*since: datetime | None, scheduled: str = "lost") -> dict[int, list[raw.Object]]:
    return {
        index: [clique(None), clique(breach, scheduled=scheduled) if breach else clique()]
        for index, breach in enumerate(since)
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
    verdict = breaches.of_group(w, w.groups[0], 3, found, {}, LATER + DELAY)
    assert verdict.due == want_due
    assert verdict.wake == (None if want_wake is None else LATER + timedelta(seconds=want_wake))


def test_the_same_gang_is_recreated_ever_less_often() -> None:
    w = workload()
    obj: raw.Object = {"metadata": {"annotations": {}}}
    now = LATER
    pauses = []
    for _ in range(4):
        text = recreations.annotation(obj, ["0"], now)
        obj = {"metadata": {"annotations": {names.ANNOTATION_TERMINATIONS: text}}}
        past = recreations.read(obj, "0")
        verdict = replica(clique(now), pool(None), now + DELAY, w, past)
        assert verdict.due == ()
        assert verdict.wake is not None
        pauses.append((verdict.wake - now).total_seconds())
        now = verdict.wake
        assert replica(clique(now - DELAY), pool(None), now, w, past).due == (0,)
    assert pauses == [30, 60, 120, 240]


def test_a_gang_that_held_for_hours_counts_from_one_again() -> None:
    obj: raw.Object = {"metadata": {"annotations": {names.ANNOTATION_TERMINATIONS: '{"0":[9,"2026-01-01T00:00:00Z"]}'}}}
    text = recreations.annotation(obj, ["0"], CREATED + timedelta(days=1))
    assert text == '{"0":[1,"2026-01-02T00:00:00Z"]}'


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"0":1}', '{"0":["x","y"]}', '{"0":[1,2]}'])
def test_an_annotation_that_somebody_broke_counts_as_none(text: str) -> None:
    obj: raw.Object = {"metadata": {"annotations": {names.ANNOTATION_TERMINATIONS: text}}}
    assert recreations.read(obj, "0") == recreations.Past()
    assert recreations.annotation(obj, ["1"], LATER).startswith("{")


def fresh_status(obj: raw.Object, pods: list[raw.Object], now: datetime) -> raw.Object:
    return status.clique(workload(), obj, pods, clock.rfc3339(now))


def test_the_status_remembers_whether_a_clique_was_ever_scheduled() -> None:
    w = workload()
    obj = cliques.standalone(w, 0, w.cliques[0])
    obj["metadata"].update(uid="u", creationTimestamp=clock.rfc3339(CREATED))
    pod: raw.Object = {"metadata": {"labels": {}}, "spec": {"nodeName": "n"}}

    obj["status"] = fresh_status(obj, [], LATER)
    assert not breaches.ever_scheduled(obj)
    obj["status"] = fresh_status(obj, [pod], LATER + DELAY)
    assert breaches.ever_scheduled(obj)
    obj["status"] = fresh_status(obj, [], LATER + 2 * DELAY)
    assert breaches.ever_scheduled(obj)
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
    assert not breaches.ever_scheduled(obj)
    assert replica(obj, pool(None), LATER + timedelta(days=1), w) == breaches.Verdict()


def test_a_group_that_was_never_whole_is_not_in_a_breach_that_counts() -> None:
    w = workload()
    obj = groups.group(w, 0, w.groups[0])
    obj["metadata"].update(uid="g", creationTimestamp=clock.rfc3339(CREATED))
    obj["status"] = status.group(w, obj, {}, clock.rfc3339(LATER))
    assert replica(clique(), obj, LATER + timedelta(days=1), w) == breaches.Verdict()
    whole = {0: status.GroupReplica(complete=True, scheduled=True, available=True, updated=True, breached=False)}
    obj["status"] = status.group(w, obj, whole, clock.rfc3339(LATER))
    obj["status"] = status.group(w, obj, {}, clock.rfc3339(LATER + DELAY))
    assert replica(clique(), obj, LATER + 2 * DELAY, w).due == (0,)


def test_how_often_a_gang_was_given_up_is_read_from_where_it_is_noted() -> None:
    noted = {names.ANNOTATION_TERMINATIONS: '{"replica":[3,"2026-01-01T00:00:00Z"],"2":[5,"2026-01-01T00:00:00Z"]}'}
    group = {"metadata": {"annotations": noted}, "spec": {"minAvailable": 1}}
    assert recreations.count("demo-0", {"metadata": {"annotations": noted}}, None) == 3
    assert recreations.count("demo-0-pool-1", {"metadata": {}}, group) == 5
    assert recreations.count("demo-0-pool-0", {"metadata": {}}, group) == 0
