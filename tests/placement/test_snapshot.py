"""The snapshot counts what is there: also in questions of "what if", of pods that grow, of nodes that are "empty"."""

from dataclasses import replace
from typing import Any

import pytest

from grovekeeper.placement import place, preempt, request, reserve, snapshot
from tests.placement.test_place import cluster, gang, group, node, spec

ON_HOST = "kubernetes.io/hostname"


def pod(name: str, where: str, gpus: int = 4, labels: Any = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "uid": name, "labels": labels or {"app": name}}
    return {"metadata": metadata, "spec": {**spec(gpus, **more), "nodeName": where}}


def term(kind: str, app: str, key: str = "rack") -> dict[str, Any]:
    found = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [found]}}}


def ask(body: dict[str, Any], count: int = 1) -> request.GangAsk:
    pods = tuple(request.PodAsk(f"w-{i}", f"w-{i}", body, {"app": "w"}) for i in range(count))
    return replace(gang(request.GroupAsk("w", pods, count)), priority=10)


def test_nobody_is_evicted_for_a_gang_that_has_to_be_near_the_victim() -> None:
    room = cluster(4)
    for index in range(4):
        room.upsert_pod(pod(f"low-{index}", f"n00{index}", labels={"app": "low"}))
    victims = [preempt.Victim(f"ns/low-{i}", 0, "2026-01-01", frozenset({f"low-{i}"})) for i in range(4)]
    alone = [preempt.Victim("ns/low", 0, "2026-01-01", frozenset(f"low-{i}" for i in range(4)))]
    near = ask(spec(4, **term("podAffinity", "low")))
    assert preempt.plan(near, room, alone) is None, "its peers would have gone"
    room.upsert_pod(pod("stays", "n001", 0, labels={"app": "low"}))
    found = preempt.plan(near, room, victims)
    assert found is not None
    assert len(found.victims) == 1, "one that stays is there to be near to"


def test_a_victim_that_repels_the_gang_repels_nobody_once_it_has_gone() -> None:
    room = cluster(4)
    for index in range(4):
        room.upsert_pod(pod(f"low-{index}", f"n00{index}", 1, labels={"app": "low"}))
    victims = [preempt.Victim("ns/low", 0, "2026-01-01", frozenset(f"low-{i}" for i in range(4)))]
    found = preempt.plan(ask(spec(1, **term("podAntiAffinity", "low"))), room, victims)
    assert found is not None
    room = cluster(4)
    room.upsert_pod(pod("low", "n000", 1, **term("podAntiAffinity", "w")))
    one = [preempt.Victim("ns/low", 0, "2026-01-01", frozenset({"low"}))]
    assert preempt.plan(ask(spec(1)), room, one) is not None
    assert isinstance(place.place(ask(spec(1)), room), request.Reasons), "nothing was really taken away"


def test_a_pod_that_grows_or_shrinks_in_place_is_charged_what_it_has_now() -> None:
    room = cluster(1)
    room.upsert_pod(pod("theirs", "n000", 1))
    assert isinstance(place.place(gang(group("w", 1, 2)), room), request.Placement)
    room.upsert_pod(pod("theirs", "n000", 3))
    assert isinstance(place.place(gang(group("w", 1, 2)), room), request.Reasons)
    openings = room.openings
    assert room.upsert_pod(pod("theirs", "n000", 2)), "there may be room now"
    assert room.openings > openings
    assert isinstance(place.place(gang(group("w", 1, 2)), room), request.Placement)
    assert not room.upsert_pod(pod("theirs", "n000", 2))


@pytest.mark.parametrize(
    ("status", "free"),
    [
        ({"containerStatuses": [{"name": "c", "allocatedResources": {"nvidia.com/gpu": "3"}}]}, 1),
        ({"containerStatuses": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": "4"}}}]}, 0),
        ({"containerStatuses": [{"name": "c", "allocatedResources": {"nvidia.com/gpu": "1"}}]}, 2),
        ({"containerStatuses": [{"name": "c", "resources": None}, {"name": "other"}]}, 2),
        (
            {
                "containerStatuses": [{"name": "c", "allocatedResources": {"nvidia.com/gpu": "1"}}],
                "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
            },
            3,
        ),
    ],
)
def test_a_pod_that_has_not_shrunk_yet_keeps_what_it_has(status: dict[str, Any], free: int) -> None:
    room = cluster(1)
    room.upsert_pod({**pod("theirs", "n000", 2), "status": status})
    assert room.free()[0, room.resource_names().index("nvidia.com/gpu")] == free


def of_daemon_set(where: str, cpu: str = "1") -> dict[str, Any]:
    owner = {"kind": "DaemonSet", "name": "agent", "uid": "agent", "controller": True}
    metadata = {"name": f"agent-{where}", "uid": f"agent-{where}", "namespace": "sys", "ownerReferences": [owner]}
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]
    return {"metadata": metadata, "spec": {"containers": containers, "nodeName": where}}


def whole_nodes(count: int, cpu: str) -> request.GangAsk:
    body = {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}
    pods = tuple(request.PodAsk(f"w-{i}", f"w-{i}", body) for i in range(count))
    return gang(request.GroupAsk("w", pods, count), required="rack")


def with_agents() -> snapshot.Snapshot:
    room = cluster(4)
    for index in range(4):
        room.upsert_pod(of_daemon_set(f"n00{index}"))
    return room


def test_what_fits_no_node_beside_the_pods_that_every_node_has_can_never_fit_and_keeps_nothing() -> None:
    room = with_agents()
    answer = place.place(whole_nodes(2, "16"), room)
    assert isinstance(answer, request.Reasons)
    assert answer.never, answer.summary
    assert reserve.nodes(whole_nodes(2, "16"), room) == frozenset()
    assert isinstance(place.place(whole_nodes(2, "15"), room), request.Placement)


def test_pods_that_every_node_has_are_followed_when_they_go_and_when_the_node_changes() -> None:
    room = with_agents()
    room.upsert_node(node(0, gpus=8))
    room.upsert_pod({**of_daemon_set("n001"), "status": {"phase": "Failed"}})
    room.remove_pod("agent-n002")
    room.remove_node("n003")
    room.upsert_node(node(3))
    cpu, rows = room.resource_names().index("cpu"), [room.row_of(f"n00{index}") for index in range(4)]
    assert room.totals()[rows, cpu].tolist() == [15000, 16000, 16000, 15000]
    assert room.free()[rows, cpu].tolist() == [15000, 16000, 16000, 15000]


def nominated(where: str | None, priority: int = 5) -> dict[str, Any]:
    """A pod of somebody else's for which kube-scheduler clears a node."""
    body = {**spec(4), "priority": priority}
    status = {"nominatedNodeName": where} if where else {}
    return {"metadata": {"name": "rival", "uid": "rival"}, "spec": body, "status": status}


@pytest.mark.parametrize(("priority", "fits"), [(4, False), (5, False), (6, True)])
def test_a_nominated_pod_of_somebody_elses_holds_its_room_but_against_higher_priority(
    priority: int, fits: bool
) -> None:
    room = cluster(1)
    room.upsert_pod(nominated("n000"))
    found = place.place(replace(ask(spec(4)), priority=priority), room)
    assert isinstance(found, request.Placement) == fits


def test_a_nomination_that_moves_ends_or_comes_true_elsewhere_gives_its_room_back() -> None:
    room = cluster(2)
    gpus = room.resource_names().index("nvidia.com/gpu")

    def free() -> list[int]:
        return [int(amount) for amount in room.free()[:2, gpus]]

    room.upsert_pod(nominated("n000"))
    assert free() == [0, 4]
    assert room.upsert_pod(nominated("n001")), "there may be room now"
    assert free() == [4, 0]
    bound = nominated("n001")
    bound["spec"]["nodeName"] = "n000"
    room.upsert_pod(bound)
    assert free() == [0, 4]
    room.remove_pod("rival")
    room.upsert_pod(nominated("n001"))
    assert room.upsert_pod(nominated(None))
    assert free() == [4, 4]


def test_it_is_counted_where_something_changes_among_pods_at_which_others_look() -> None:
    room = cluster(2)
    seen = [room.stirs(["ns"])]

    def stirred(namespace: str = "ns") -> bool:
        before, now = seen[-1], room.stirs([namespace])
        seen.append(now)
        return now != before

    waiting = pod("p", "n000")
    del waiting["spec"]["nodeName"]
    room.assume("p", spec(1), "n000")
    assert not stirred(), "nobody has seen it"
    room.upsert_pod(waiting)
    assert stirred(), "it is a peer from now on"
    room.upsert_pod(waiting)
    assert not stirred()
    room.upsert_pod(pod("p", "n000"))
    assert stirred(), "it is bound"
    room.upsert_pod(pod("p", "n000", labels={"app": "q"}))
    assert stirred()
    loose = pod("q", "n001")
    del loose["spec"]["nodeName"]
    room.upsert_pod(loose)
    room.upsert_pod({**loose, "metadata": {**loose["metadata"], "labels": {"app": "r"}}})
    assert not stirred(), "it is on no node"
    room.upsert_pod({**loose, "status": {"nominatedNodeName": "n001"}}, firm=True)
    assert stirred()
    room.upsert_pod(pod("q", "n001"))
    assert stirred(), "nominated pods are no peers for affinity, and bound ones are"
    room.remove_pod("q")
    assert stirred()
    room.upsert_pod({**pod("p", "n000", labels={"app": "q"}), "status": {"phase": "Failed"}})
    assert stirred()
    room.upsert_pod({**(other := pod("o", "n000")), "metadata": {**other["metadata"], "namespace": "else"}})
    assert not stirred()
    assert room.stirs(None) == room.stirs(["ns", "else"]) == seen[-1] + 1
