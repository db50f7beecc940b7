"""Pods that look at each other: whatever the order in which kube-scheduler binds the pins, it refuses none for good."""

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from grovekeeper.placement import place, preempt, request
from tests.placement import affine, binder
from tests.placement.test_parts import affine as looks
from tests.placement.test_parts import pod, resident
from tests.placement.test_place import cluster, gang, node, spec

SEEDS = 300
TINY = range(300, 600)
SHARE = 0.99
"""Of the gangs that fit by looking at all answers; 0.997 in 3,000 cases."""


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_kube_scheduler_binds_every_pin_in_every_order(first: int) -> None:
    for seed in range(first, first + 100):
        case = affine.case(seed, nodes=9, pods=9)
        found = place.place(case.gang, case.room())
        if isinstance(found, request.Placement):
            fault = faults(case, dict(found.nodes), seed)
            assert not fault, f"case {seed}: {fault}"


def faults(case: affine.Case, nodes: dict[str, str], seed: int) -> str:
    """Return what is wrong with an answer: nothing where kube-scheduler would bind all of it."""
    pods = case.pinned(nodes)
    for group in case.gang.groups:
        here = sum(name == group.name for name, _node in case.gang.fixed.values())
        if sum(pod.name in nodes for pod in group.pods) + here < group.minimum:
            return f"{group.name} is short of its minimum"
    if not case.packed(nodes):
        return f"a required level is broken: {nodes}"
    for turn in range(5):
        cluster = case.cluster()
        firsts = {pod.name for pod in pods if pod.means_itself() and not binder.known(pod, cluster.bound)}
        never, refusals = binder.bind(cluster, pods, random.Random(seed * 5 + turn))
        if never:
            return f"never bound: {never} of {nodes}: {refusals}"
        waited = [text for text in refusals if text.split(":")[0] in firsts]
        if waited:
            return f"refused although it could be the first: {waited} of {nodes}"
    return ""


def test_a_gang_that_fits_is_found() -> None:
    there_is = found = 0
    for seed in TINY:
        case = affine.case(seed, nodes=5, pods=4)
        answer = place.place(case.gang, case.room())
        if isinstance(answer, request.Placement):
            assert not faults(case, dict(answer.nodes), seed), f"case {seed}"
        elif not fits(case):
            continue
        there_is += 1
        found += isinstance(answer, request.Placement)
    assert there_is > len(TINY) / 3
    assert found / there_is >= SHARE, f"found {found} of {there_is}"


def fits(case: affine.Case) -> bool:
    """Return whether there is an answer for the minimum, by looking at all: nodes^pods."""
    pods = []
    for group in case.gang.groups:
        here = sum(name == group.name for name, _node in case.gang.fixed.values())
        pods += [pod.name for pod in group.pods[: max(0, group.minimum - here)]]
    ways = (dict(zip(pods, nodes, strict=True)) for nodes in itertools.product(case.nodes, repeat=len(pods)))
    return any(case.packed(way) and binder.safe(case.cluster(), case.pinned(way)) for way in ways)


SIZES = (("s", 1, 3), ("t", 2, 2), ("u", 2, 2))
"""Clique, pods, GPUs."""


def clique(name: str, count: int, body: dict[str, Any], minimum: int | None = None, **labels: str) -> request.GroupAsk:
    pods = tuple(pod(f"{name}-{i}", body, app=name, index=str(i), **labels) for i in range(count))
    return request.GroupAsk(name, pods, count if minimum is None else minimum)


def racks(found: request.Placement | request.Reasons, *names: str) -> list[int]:
    """Return the racks that pods of these cliques are in."""
    assert isinstance(found, request.Placement), found
    return sorted({int(node[1:]) // 4 for pod, node in found.nodes.items() if pod.split("-")[0] in names})


def meaning(kind: str, key: str, *apps: str, **more: Any) -> dict[str, Any]:
    """Return a spec with a term that selects these cliques."""
    body = looks(kind, key)
    (term,) = body["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"]
    term["labelSelector"] = {"matchExpressions": [{"key": "app", "operator": "In", "values": list(apps)}]}
    term.update(more)
    return body


def busy(room: Any, used: dict[int, int]) -> Any:
    """Return a room in which so many GPUs of each node are taken."""
    for index, gpus in used.items():
        room.assume(f"busy-{index}", spec(gpus), f"n{index:03}")
    return room


def test_all_that_a_pod_means_beside_itself_shares_its_domain_since_the_first_that_is_bound_fixes_it() -> None:
    mates = clique("a", 2, meaning("podAffinity", "rack", "a", "b"))
    found = place.place(gang(mates, clique("b", 12, spec(1)), clique("c", 9, spec(1))), cluster(8))
    assert len(racks(found, "a", "b")) == 1


def test_a_pod_follows_whichever_of_its_peers_has_room_beside_it() -> None:
    room = busy(cluster(8), dict.fromkeys(range(4), 3))
    guest = clique("g", 4, meaning("podAffinity", "kubernetes.io/hostname", "a", "b"))
    found = place.place(gang(clique("a", 1, spec(1)), clique("b", 1, spec(1)), guest), room)
    assert racks(found, "g") == [1]


def test_a_peer_meets_all_terms_at_once_or_is_none() -> None:
    body = meaning("podAffinity", "rack", "cache")
    terms = body["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms.append({"topologyKey": "block", "labelSelector": {"matchLabels": {"tier": "fast"}}})
    room = cluster(16)
    room.upsert_pod(resident("slow", "n000", spec(1), app="cache"))
    room.upsert_pod(resident("other", "n001", spec(1), app="web", tier="fast"))
    ask = gang(clique("w", 1, body))
    assert isinstance(place.place(ask, room), request.Reasons)
    room.upsert_pod(resident("fast", "n012", spec(1), app="cache", tier="fast"))
    assert racks(place.place(ask, room), "w") == [3]


def test_a_pod_that_is_only_nominated_is_no_peer() -> None:
    room = cluster(8)
    promised = resident("w-9", "n005", spec(1), app="w")
    del promised["spec"]["nodeName"]
    promised["status"] = {"nominatedNodeName": "n005"}
    room.upsert_pod(promised)
    for index in range(4, 8):
        room.assume(f"busy-{index}", spec(4), f"n{index:03}")
    assert racks(place.place(gang(clique("w", 2, meaning("podAffinity", "rack", "w"))), room), "w") == [0]
    assert isinstance(place.place(gang(clique("g", 2, meaning("podAffinity", "rack", "w"))), room), request.Reasons)


@pytest.mark.parametrize(
    ("selector", "want"),
    [
        ({"matchLabels": {"kubernetes.io/metadata.name": "far"}}, [2]),
        ({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["far"]}]}, [1]),
        ({}, [1, 2]),
        ({"matchLabels": {"kubernetes.io/metadata.name": "far", "team": "unknown here"}}, [2]),
        ({"matchLabels": {"team": "unknown here"}}, [1, 2]),
    ],
)
def test_a_namespace_selector_is_exact_over_names_and_else_taken_as_met(selector: Any, want: list[int]) -> None:
    room = cluster(12)
    room.upsert_pod(resident("near", "n004", spec(1), app="cache"))
    room.upsert_pod(resident("far", "n008", spec(1), namespace="far", app="cache"))
    for kind, others in (("podAffinity", want), ("podAntiAffinity", sorted({0, 1, 2} - set(want)))):
        body = meaning(kind, "rack", "cache", namespaceSelector=selector)
        places = {racks(place.place(gang(clique("w", 1, body)), busy(room, {})), "w")[0]}
        assert places <= set(others), kind


def test_anti_affinity_that_is_about_another_namespace_keeps_no_siblings_apart() -> None:
    for more in (
        {"namespaces": ["far"]},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "far"}}},
    ):
        body = meaning("podAntiAffinity", "kubernetes.io/hostname", "w", **more)
        assert isinstance(place.place(gang(clique("w", 4, body)), cluster(1)), request.Placement)
    body = meaning("podAntiAffinity", "kubernetes.io/hostname", "w", namespaces=["far", "ns"])
    found = place.place(gang(clique("w", 4, body)), cluster(4))
    assert isinstance(found, request.Placement)
    assert len(set(found.nodes.values())) == 4


def test_victims_that_repel_single_pods_of_a_clique_are_evicted_for_it() -> None:
    # With the victim there the clique has two shapes, without it one, and others come first in the search.
    room = cluster(2)
    shy = meaning("podAntiAffinity", "rack", "w")
    shy["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"][
        "matchLabels"
    ] = {"index": "1"}
    room.upsert_pod(resident("shy", "n000", shy, app="v"))
    follower = clique("f", 1, meaning("podAffinity", "rack", "w"))
    asker = replace(gang(follower, clique("w", 3, spec(1)), clique("z", 1, spec(2))), priority=10)
    assert isinstance(place.place(asker, room), request.Reasons)
    plan = preempt.plan(asker, room, [preempt.Victim("ns/v", 0, "2026-01-01", frozenset({"shy"}))])
    assert plan is not None
    assert len(plan.placement.nodes) == 5


def test_pods_of_one_clique_are_told_apart_where_a_term_does() -> None:
    body = looks("podAffinity", "kubernetes.io/hostname", app="w", index="0")
    found = place.place(gang(clique("w", 5, spec(2)), clique("g", 1, body)), cluster(8))
    assert isinstance(found, request.Placement)
    assert found.nodes["g-0"] == found.nodes["w-0"]


def test_cliques_that_wait_for_each_other_are_told_so() -> None:
    one, two = (clique(name, 1, meaning("podAffinity", "rack", other)) for name, other in ("ab", "ba"))
    found = place.place(gang(one, two, clique("c", 1, spec(1))), cluster(8))
    assert isinstance(found, request.Reasons)
    assert found.summary.startswith(
        "a and b: required affinity asks for pods of this gang that wait for others in turn"
    )
    assert not found.never, "a pod of others may be the first"
    room = cluster(8)
    room.upsert_pod(resident("old", "n006", spec(1), app="b"))
    assert racks(place.place(gang(one, two), room), "a", "b") == [1]


def test_what_only_pods_above_the_minimum_ask_for_keeps_nobody_back() -> None:
    room = busy(cluster(8), dict.fromkeys((0, 1, 2, 3, 4, 5, 6, 7), 3))
    extra = clique("x", 1, meaning("podAffinity", "rack", "x", "w"), minimum=0)
    found = place.place(gang(extra, clique("w", 6, spec(1))), room)
    assert racks(found, "w") == [0, 1]
    assert racks(found, "x") == [], "its peers are in two racks, and any of them may be bound first"


def test_pods_go_home_only_where_they_still_may_be_near_each_other() -> None:
    mates = clique("a", 2, meaning("podAffinity", "rack", "a"))
    for homes, stays in ((("n001", "n002"), True), (("n001", "n005"), False)):
        pods = tuple(replace(each, nominated=home) for each, home in zip(mates.pods, homes, strict=True))
        found = place.place(gang(replace(mates, pods=pods)), cluster(8))
        assert len(racks(found, "a")) == 1
        assert isinstance(found, request.Placement)
        assert (tuple(found.nodes.values()) == homes) == stays


def test_the_search_goes_back_over_the_choices_of_earlier_cliques() -> None:
    # a fills a node as it likes best; only where it takes two of them is there room for g beside it.
    room = busy(cluster(3), {0: 0, 1: 2, 2: 4})
    guest = clique("g", 1, {**spec(2), "affinity": meaning("podAffinity", "kubernetes.io/hostname", "a")["affinity"]})
    found = place.place(gang(clique("a", 2, spec(2)), guest), room)
    assert isinstance(found, request.Placement)
    assert found.nodes["g-0"] in {found.nodes["a-0"], found.nodes["a-1"]}


def test_units_go_back_for_those_after_them_without_any_affinity() -> None:
    # Free are 4 GPUs of one node in r0, 4 and 3 in r1: the pod of 3 has to go where it leaves the nodes of 4 to others.
    room = busy(cluster(8), {0: 3, 1: 4, 2: 3, 4: 0, 5: 4, 6: 3, 7: 1})
    rack = request.Constraint("rack")
    asks = [replace(clique(name, pods, spec(gpus)), constraint=rack) for name, pods, gpus in SIZES]
    found = place.place(gang(*asks), room)
    assert isinstance(found, request.Placement)
    assert found.nodes["s-0"] == "n007"


def test_a_cluster_without_nodes_or_without_the_resource_is_named_so() -> None:
    for room in (cluster(0), cluster(2, gpus=0)):
        for required in (None, "rack"):
            found = place.place(gang(clique("a", 2, spec(1)), required=required), room)
            assert isinstance(found, request.Reasons)
            assert (found.summary, found.never) == ("a: no node has any nvidia.com/gpu", True)
    gone = cluster(1)
    gone.remove_node("n000")
    for body, text in ((spec(1), "a: no node has any nvidia.com/gpu"), ({"containers": [{}]}, "a: there is no node")):
        found = place.place(gang(clique("a", 1, body)), gone)
        assert isinstance(found, request.Reasons)
        assert found.summary == text
    full = node(0)
    full["status"]["allocatable"]["pods"] = "0"
    gone.upsert_node(full)
    found = place.place(gang(clique("a", 1, spec(1))), gone)
    assert isinstance(found, request.Reasons)
    assert found.summary == "a: no node has any pods"
