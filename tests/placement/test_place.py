"""Placement: all or nothing, levels, reasons, and a snapshot that is kept and not rebuilt."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grovekeeper.placement import place, request, shape, snapshot

LEVELS = ("block", "rack", "kubernetes.io/hostname")


def node(index: int, gpus: int = 4, **spec: Any) -> dict[str, Any]:
    name = f"n{index:03}"
    labels = {"block": f"b{index // 8}", "rack": f"r{index // 4}", "kubernetes.io/hostname": name}
    offered = {"cpu": "16", "nvidia.com/gpu": str(gpus), "pods": "10"}
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": offered, "conditions": ready},
    }


def spec(gpus: int, **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}], **more}


def group(name: str, count: int, gpus: int, minimum: int | None = None, constraint: Any = None) -> request.GroupAsk:
    body = spec(gpus)
    asks = tuple(request.PodAsk(f"{name}-{i}", f"{name}-{i}", body) for i in range(count))
    return request.GroupAsk(name, asks, count if minimum is None else minimum, constraint or request.Constraint())


def cluster(count: int, **more: Any) -> snapshot.Snapshot:
    result = snapshot.Snapshot()
    for index in range(count):
        result.upsert_node(node(index, **more))
    return result


def gang(
    *groups: request.GroupAsk, required: str | None = None, preferred: str | None = None, **more: Any
) -> request.GangAsk:
    return request.GangAsk("ns", "g", groups, request.Constraint(required, preferred), levels=LEVELS, **more)


def test_a_gang_is_packed_into_the_tightest_rack_that_holds_it() -> None:
    room = cluster(12)
    room.assume("other", spec(4), "n000")
    found = place.place(gang(group("w", 3, 4), required="rack"), room)
    assert isinstance(found, request.Placement)
    assert found.domains["rack"] == ("r0",)
    assert set(found.nodes.values()) == {"n001", "n002", "n003"}


def test_a_gang_short_of_one_node_takes_none_and_says_what_is_missing() -> None:
    found = place.place(gang(group("w", 5, 4), required="rack"), cluster(12))
    assert isinstance(found, request.Reasons)
    first, second = found.summary.split("; ")
    assert first == "rack: best r0 has room for 4 of 5 w pods: 1 short of nvidia.com/gpu"
    assert second == "empty, r0 has room for at most 4 of 5 w pods: the gang can never fit"
    assert found.never


def test_a_preferred_level_is_tried_first_and_given_up_where_it_must() -> None:
    narrow = place.place(gang(group("w", 4, 4), required="block", preferred="rack"), cluster(16))
    wide = place.place(gang(group("w", 6, 4), required="block", preferred="rack"), cluster(16))
    assert isinstance(narrow, request.Placement)
    assert isinstance(wide, request.Placement)
    assert (len(narrow.domains["rack"]), len(wide.domains["rack"]), len(wide.domains["block"])) == (1, 2, 1)
    assert (narrow.score, wide.score) == (1.0, 0.5)


def test_parts_keep_their_own_levels_inside_the_gangs() -> None:
    rack = request.Constraint("rack")
    asks = [group("a", 3, 4), group("b", 3, 4), group("router", 2, 0)]
    subs = (request.SubgangAsk("s0", ("a",), rack), request.SubgangAsk("s1", ("b",), rack))
    found = place.place(gang(*asks, required="block", subgangs=subs), cluster(16))
    assert isinstance(found, request.Placement)
    for name in ("a", "b"):
        assert len({int(found.nodes[f"{name}-{i}"][1:]) // 4 for i in range(3)}) == 1
    assert len({int(n[1:]) // 8 for n in found.nodes.values()}) == 1


def test_pods_above_the_minimum_are_best_effort_and_stay_in_the_domain() -> None:
    found = place.place(gang(group("w", 6, 4, minimum=3), required="rack"), cluster(8))
    assert isinstance(found, request.Placement)
    assert (len(found.nodes), len(found.left_out)) == (4, 2)


def test_survivors_force_the_domain_of_a_replacement() -> None:
    found = place.place(gang(group("w", 1, 4, minimum=2), required="rack", fixed={"w-9": ("w", "n005")}), cluster(12))
    assert isinstance(found, request.Placement)
    assert found.domains["rack"] == ("r1",)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"unschedulable": True}, "taint node.kubernetes.io/unschedulable:NoSchedule"),
        ({"taints": [{"key": "gpu", "value": "broken", "effect": "NoExecute"}]}, "taint gpu=broken:NoExecute"),
    ],
)
def test_excluded_nodes_are_counted_with_the_reason(more: dict[str, Any], why: str) -> None:
    found = place.place(gang(group("w", 1, 4)), cluster(3, **more))
    assert isinstance(found, request.Reasons)
    assert f"3 nodes excluded by {why}" in found.summary


def test_a_level_that_no_node_has_and_a_resource_that_nobody_offers_are_said_at_once() -> None:
    level = place.place(gang(group("w", 1, 1), required="nowhere"), cluster(2))
    tpus = request.GroupAsk(
        "w", (request.PodAsk("p", "p", {"containers": [{"resources": {"limits": {"tpu": 1}}}]}),), 1
    )
    resource = place.place(gang(tpus), cluster(2))
    assert isinstance(level, request.Reasons)
    assert isinstance(resource, request.Reasons)
    assert (level.never, resource.never) == (True, True)
    assert "no node has the label nowhere" in level.summary
    assert "no node has any tpu" in resource.summary


def test_requests_follow_the_schedulers_formula() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    body = {
        "containers": [container("1"), container("500m")],
        "initContainers": [container("3"), container("250m", restartPolicy="Always"), container("2")],
        "overhead": {"cpu": "100m"},
    }
    assert shape.requests(body) == {"cpu": 3100}


STEPS = st.lists(st.tuples(st.sampled_from("abdn"), st.integers(0, 9), st.integers(0, 3)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_a_snapshot_that_was_kept_equals_one_that_is_rebuilt(steps: list[tuple[str, int, int]]) -> None:
    kept = cluster(4)
    truth: dict[str, dict[str, Any]] = {}
    for kind, number, where in steps:
        uid = f"p{number}"
        if kind == "a":
            kept.assume(uid, spec(1), f"n{where:03}")
            truth[uid] = {"metadata": {"uid": uid}, "spec": {**spec(1), "nodeName": f"n{where:03}"}}
        elif kind == "b" and uid in truth:
            kept.upsert_pod(truth[uid])
        elif kind == "d":
            kept.remove_pod(uid)
            truth.pop(uid, None)
        elif kind == "n":
            kept.upsert_node(node(where, gpus=number + 1))
            kept.upsert_node(node(where))
    fresh = cluster(4)
    for each in truth.values():
        fresh.upsert_pod(each)
    rows = [kept.row_of(f"n{i:03}") for i in range(4)]
    assert np.array_equal(kept.free()[rows], fresh.free()[[fresh.row_of(f"n{i:03}") for i in range(4)]])


SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(SIZES, st.sampled_from([None, "block", "rack"]), st.lists(st.integers(0, 15), max_size=10))
def test_no_placement_overcommits_a_node_or_breaks_its_level(
    sizes: list[tuple[int, int]], required: str | None, busy: list[int]
) -> None:
    room = cluster(16)
    for number, where in enumerate(busy):
        room.assume(f"busy{number}", spec(1), f"n{where:03}")
    groups = [group(f"g{i}", count, gpus) for i, (count, gpus) in enumerate(sizes)]
    found = place.place(gang(*groups, required=required), room)
    if isinstance(found, request.Reasons):
        return
    used = dict.fromkeys((f"n{i:03}" for i in range(16)), 0)
    for where in busy:
        used[f"n{where:03}"] += 1
    for i, (count, gpus) in enumerate(sizes):
        for pod in range(count):
            used[found.nodes[f"g{i}-{pod}"]] += gpus
    assert max(used.values()) <= max(4, max((busy.count(i) for i in range(16)), default=0))
    size = {"block": 8, "rack": 4}.get(required or "", 16)
    assert len({int(n[1:]) // size for n in found.nodes.values()}) == 1


def spread_gang(peers: tuple[tuple[str, ...], ...], *, skew: int = 1, required: bool = True) -> request.GangAsk:
    rule = request.Spread("rack", skew, required)
    return gang(group("w", 2, 4), spread=(rule,), spread_peers=peers)


def test_a_sibling_goes_to_the_emptiest_domain_within_the_skew() -> None:
    room = cluster(12)
    found = place.place(spread_gang((("n000",), ("n004", "n005"))), room)
    assert isinstance(found, request.Placement)
    assert found.domains["rack"] == ("r2",)
    again = place.place(spread_gang((("n000",), ("n004",), ("n008",))), room)
    assert isinstance(again, request.Placement)
    assert len(again.domains["rack"]) == 1


def test_a_required_spread_refuses_what_would_be_too_uneven_and_a_preference_does_not() -> None:
    room = cluster(12)
    for index in range(4, 12):  # only r0 has room
        room.assume(f"other{index}", spec(4), f"n{index:03}")
    peers = (("n000",),)
    assert isinstance(place.place(spread_gang(peers), room), request.Reasons)
    assert isinstance(place.place(spread_gang(peers, skew=2), room), request.Placement)
    assert isinstance(place.place(spread_gang(peers, required=False), room), request.Placement)


def test_group_replicas_of_one_gang_are_spread_against_each_other() -> None:
    rule = (request.Spread("rack", 1, True),)
    subgangs = tuple(
        request.SubgangAsk(f"g-{i}", (f"w{i}",), request.Constraint(), "g", rule, (("n000",),)) for i in range(2)
    )
    ask = gang(group("w0", 2, 4), group("w1", 2, 4), subgangs=subgangs)
    found = place.place(ask, cluster(12))
    assert isinstance(found, request.Placement)
    racks = {name: int(node[1:]) // 4 for name, node in found.nodes.items()}
    assert {racks["w0-0"], racks["w1-0"]} == {1, 2}
    assert racks["w0-0"] == racks["w0-1"]


def test_pods_of_a_clique_without_a_minimum_stay_in_one_domain_of_its_required_level() -> None:
    found = place.place(gang(group("w", 6, 4, 0, request.Constraint("rack"))), cluster(8))
    assert isinstance(found, request.Placement)
    assert len(found.domains["rack"]) == 1
    assert (len(found.nodes), len(found.left_out)) == (4, 2)
