"""Every answer of the engine before an auditor, whatever is asked for at the same time; and what the auditor found."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from grovekeeper.placement import place, request
from tests.placement import auditor, mixture
from tests.placement.test_homes import held, racks
from tests.placement.test_place import cluster, gang, group, node, spec

TINY = range(200)
SHARE = 0.99
"""Of the gangs that fit by looking at all answers; all in 8,000 cases, but for gangs that were torn before."""
RACK, BLOCK = request.Constraint("rack"), request.Constraint("block")
EVENLY = (request.Spread("rack", 1, True),)


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_every_answer_is_valid_and_changes_nothing(first: int) -> None:
    for seed in range(first, first + 100):
        case = mixture.case(seed)
        nodes = audited(case, seed)
        for turn in range(2 if nodes else 0):
            audited(mixture.later(case, nodes, seed * 2 + turn), seed)


def audited(case: mixture.Case, seed: int) -> dict[str, str]:
    """Ask the engine, let the auditor look at the answer, and return it."""
    room = case.room()
    before = room.free()
    answer = place.place(case.gang, room)
    assert np.array_equal(before, room.free()[:, : before.shape[1]]), f"case {seed}"
    if isinstance(answer, request.Reasons):
        return {}
    nodes = dict(answer.nodes)
    assert not case.faults(nodes), f"case {seed}: {case.faults(nodes)}"
    everybody = [pod.name for each in case.gang.groups for pod in each.pods]
    assert answer.left_out == tuple(name for name in everybody if name not in nodes), f"case {seed}"
    used = {*nodes.values(), *(where for _group, where in case.gang.fixed.values())}
    for key in case.gang.levels:
        labels = {case.nodes[name]["metadata"]["labels"].get(key) for name in used} - {None}
        assert sorted(answer.domains.get(key, ())) == sorted(labels), f"case {seed}"
    return nodes


def test_a_gang_that_fits_is_found_whatever_is_asked_for() -> None:
    there_is = found = 0
    for seed in TINY:
        case = mixture.case(seed, nodes=5, pods=4)
        answer = place.place(case.gang, case.room())
        if isinstance(answer, request.Placement):
            found += 1
        elif answer.never:
            assert not fits(at_best(case)), f"case {seed}: {answer.summary}"
            continue
        elif not fits(case):
            continue
        there_is += 1
    assert there_is > len(TINY) // 4
    assert found >= SHARE * there_is, f"{found} of {there_is}"


def at_best(case: mixture.Case) -> mixture.Case:
    """Return the case without pods on its nodes, all of which are ready and uncordoned."""
    well = {"conditions": [{"type": "Ready", "status": "True"}]}
    nodes = {
        name: {**each, "spec": {**each["spec"], "unschedulable": False}, "status": {**each["status"], **well}}
        for name, each in case.nodes.items()
    }
    return replace(case, nodes=nodes, pods=[])


def fits(case: mixture.Case) -> bool:
    """Look at all ways to place the minimum; up to four pods."""
    pods = [pod for each in case.gang.groups for pod in each.pods[: each.minimum]]
    if len(pods) > 4:
        return False
    open_ = [[n for n, there in case.nodes.items() if auditor.why_not(p.spec, there) is None] for p in pods]
    return any(
        not case.faults(dict(zip([pod.name for pod in pods], way, strict=True))) for way in itertools.product(*open_)
    )


def ask(*groups: request.GroupAsk, **more: Any) -> request.GangAsk:
    return replace(gang(*groups), **more)


def shaped(name: str, specs: Sequence[Any], minimum: int, **more: Any) -> request.GroupAsk:
    pods = tuple(request.PodAsk(f"{name}-{i}", f"{name}-{i}", body, {"app": name}) for i, body in enumerate(specs))
    return request.GroupAsk(name, pods, minimum, **more)


def found(answer: request.Placement | request.Reasons) -> request.Placement:
    assert isinstance(answer, request.Placement), answer
    return answer


def test_pods_above_the_minimum_are_placed_beside_a_clique_whose_wish_is_broken() -> None:
    apart = replace(group("w", 1, 1, minimum=2), constraint=request.Constraint(None, "rack"))
    there = {"w-8": ("w", "n000"), "w-9": ("w", "n004")}
    assert len(found(place.place(ask(apart, group("x", 1, 1, 0), fixed=there), cluster(8))).nodes) == 2


def test_a_pod_goes_home_with_a_host_port_that_nobody_had_before() -> None:
    port = spec(1)
    port["containers"][0]["ports"] = [{"hostPort": 8080}]
    new = replace(shaped("a", [port], 1), name="a")
    back = ask(held(group("b", 1, 1), "n003"), held(new, "n002"), group("c", 1, 1))
    assert found(place.place(back, cluster(4))).nodes["a-0"] == "n002"


def test_a_replacement_stays_in_the_domain_over_which_its_replica_is_spread() -> None:
    room = cluster(12)
    for index in range(4):
        room.assume(f"o{index}", spec(4), f"n00{index}")
    lost = ask(group("w", 1, 4, minimum=2), fixed={"w-9": ("w", "n000")}, spread=EVENLY)
    assert isinstance(place.place(lost, room), request.Reasons), "the rack is full"
    room.forget("o2")
    assert found(place.place(lost, room)).nodes == {"w-0": "n002"}


def test_a_group_replica_keeps_away_from_one_that_runs_whole() -> None:
    subs = tuple(request.SubgangAsk(name, (name,), RACK, "family", EVENLY) for name in ("a", "b"))
    one = ask(group("a", 0, 1, minimum=1), group("b", 1, 1), subgangs=subs, fixed={"a-9": ("a", "n001")})
    assert racks(place.place(one, cluster(8)), "b-0") == [1]


def test_the_skew_of_group_replicas_is_counted_in_the_domain_that_binds_the_gang() -> None:
    subs = tuple(request.SubgangAsk(name, (name,), RACK, "family", EVENLY) for name in "abcd")
    four = ask(*(group(name, 1, 1) for name in "abcd"), subgangs=subs, constraint=BLOCK)
    answer = found(place.place(four, cluster(16)))
    assert len(answer.domains["block"]) == 1
    assert racks(answer, "a-0", "b-0", "c-0", "d-0") in ([0, 0, 1, 1], [2, 2, 3, 3])


@pytest.mark.parametrize("closed", [False, True])
def test_a_wish_or_a_kept_node_does_not_narrow_what_the_skew_is_counted_over(closed: bool) -> None:
    wish = request.Constraint(None, "block")
    spread = replace(group("w", 4, 1), spread=EVENLY)
    kept = frozenset({f"n{i:03}" for i in range(12, 16)}) if closed else frozenset()
    answer = place.place(ask(spread, constraint=wish, closed=kept), cluster(16))
    if closed:
        assert isinstance(answer, request.Reasons), "r3 would have none, and r0 two"
    else:
        assert racks(answer, "w-0", "w-1", "w-2", "w-3") == [0, 1, 2, 3]


def test_a_gang_is_spread_whose_cliques_have_no_node_in_common() -> None:
    room = cluster(0)
    for index in range(8):
        each = node(index)
        each["metadata"]["labels"]["pool"] = "xy"[index % 2]
        room.upsert_node(each)
    pools = (shaped(pool, [spec(1, nodeSelector={"pool": pool})], 1) for pool in "xy")
    assert racks(place.place(ask(*pools, spread=EVENLY, spread_peers=(("n001",),)), room), "x-0", "y-0") == [1, 1]


def test_nodes_without_the_label_are_the_last_ones_of_a_preferred_spread() -> None:
    room = cluster(4)
    for index in (4, 5):
        each = node(index)
        del each["metadata"]["labels"]["rack"]
        room.upsert_node(each)
    wish = replace(group("w", 5, 4), spread=(request.Spread("rack", 1, False),))
    assert len(set(found(place.place(ask(wish), room)).nodes.values())) == 5
    assert isinstance(place.place(ask(replace(wish, spread=EVENLY)), room), request.Reasons)


def test_a_wish_for_a_rack_that_lies_in_two_blocks_leaves_a_replacement_in_its_block() -> None:
    room = cluster(4)
    for index in (2, 3):
        each = node(index)
        each["metadata"]["labels"]["block"] = "a0"
        room.upsert_node(each)
    near = request.Constraint("block", "rack")
    lost = ask(group("w", 1, 4, minimum=2), constraint=near, fixed={"w-9": ("w", "n000")})
    for index in (0, 1):
        room.assume(f"o{index}", spec(4), f"n00{index}")
    assert isinstance(place.place(lost, room), request.Reasons), "its block is full"
    room.forget("o1")
    assert found(place.place(lost, room)).nodes["w-0"] == "n001"


def test_a_clique_without_a_minimum_that_fits_nowhere_holds_nobody_back() -> None:
    nowhere = request.SubgangAsk("s", ("x",), RACK, "family", EVENLY)
    selector = spec(1, nodeSelector={"pool": "none"})
    answer = place.place(ask(group("w", 1, 1), shaped("x", [selector], 0), subgangs=(nowhere,)), cluster(8))
    assert found(answer).left_out == ("x-0",)


def test_pods_of_two_templates_are_tried_in_either_order() -> None:
    room = cluster(0)
    for index, pods in enumerate(("2", "9")):
        each = node(index, gpus=4 if index == 0 else 0)
        each["status"]["allocatable"]["pods"] = pods
        room.upsert_node(each)
    small = {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}
    mixed = shaped("w", [small, small, spec(1)], 3)
    assert found(place.place(ask(mixed), room)).nodes["w-2"] == "n000"


def test_nobody_goes_home_to_a_pod_that_keeps_away_from_it() -> None:
    room = cluster(4)
    room.upsert_pod(repelling("o", "n001", nominated=False))
    back = shaped("a", [spec(1)], 1)
    answer = found(place.place(ask(held(back, "n001"), group("b", 1, 1)), room))
    assert answer.nodes["a-0"] != "n001"


def test_nobody_goes_home_to_a_node_that_has_lost_its_label() -> None:
    room = cluster(8)
    bare = node(1)
    del bare["metadata"]["labels"]["rack"]
    room.upsert_node(bare)
    answer = found(place.place(ask(held(group("a", 1, 1, constraint=RACK), "n001"), group("b", 1, 1)), room))
    assert "n001" not in answer.nodes.values()


def test_a_nominated_pod_of_lower_priority_keeps_nobody_away() -> None:
    room = cluster(1)
    room.upsert_pod(repelling("o", "n000", nominated=True))
    back = shaped("a", [spec(1)], 1)
    assert isinstance(place.place(ask(back), room), request.Reasons)
    assert found(place.place(ask(back, priority=1), room)).nodes == {"a-0": "n000"}


def repelling(name: str, where: str, *, nominated: bool) -> Any:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}
    away = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    body = spec(0, affinity=away, **({} if nominated else {"nodeName": where}))
    status = {"nominatedNodeName": where} if nominated else {}
    return {"metadata": {"name": name, "uid": name, "namespace": "ns"}, "spec": body, "status": status}


def test_the_answer_tells_all_domains_that_the_gang_has_then() -> None:
    lost = ask(group("w", 1, 4, minimum=2), fixed={"w-9": ("w", "n000")}, constraint=request.Constraint(None, "rack"))
    room = cluster(8)
    for index in range(4):
        room.assume(f"o{index}", spec(4), f"n00{index}")
    answer = found(place.place(lost, room))
    assert (answer.domains["rack"], answer.score) == (("r0", "r1"), 0.5)
    home = found(place.place(ask(held(group("a", 2, 4), "n005", "n009")), cluster(16)))
    assert home.domains["rack"] == ("r1", "r2")
