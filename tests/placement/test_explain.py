"""Why a gang waits, in words: the level, the best domain, what is short, what is excluded and why."""

from typing import Any

import pytest

from grovekeeper.placement import place, request, snapshot
from tests.placement.test_parts import affine, pod, resident
from tests.placement.test_place import cluster, gang, group, node, spec

TAINT = [{"key": "gpu", "value": "broken", "effect": "NoExecute"}]


def why(found: request.Placement | request.Reasons) -> str:
    assert isinstance(found, request.Reasons), found
    return found.summary


def test_the_best_rack_is_named_with_what_is_short_and_racks_that_a_taint_excludes() -> None:
    room = snapshot.Snapshot()
    for index in range(32):
        room.upsert_node(node(index, taints=TAINT if index >= 8 else []))
    for index in (0, 1, 2, 4):  # r0 has one node free, r1 three
        room.assume(f"busy-{index}", spec(4), f"n{index:03}")
    found = place.place(gang(group("prefill", 4, 4), required="rack"), room)
    assert why(found) == (
        "rack: best r1 has room for 3 of 4 prefill pods: 1 short of nvidia.com/gpu; "
        "6 racks excluded by taint gpu=broken:NoExecute"
    )


def test_a_rack_that_is_closed_in_part_counts_as_nodes() -> None:
    room = snapshot.Snapshot()
    for index in range(8):
        room.upsert_node(node(index, taints=TAINT if index in {1, 4, 5, 6, 7} else []))
    text = why(place.place(gang(group("w", 4, 4), required="rack"), room))
    assert "1 rack excluded by taint gpu=broken:NoExecute, 1 nodes excluded by taint gpu=broken:NoExecute" in text


def test_every_level_that_binds_is_judged_by_itself() -> None:
    rack = request.Constraint("rack")
    ask = gang(
        group("a", 3, 4),
        group("b", 5, 4, constraint=rack),
        required="block",
        subgangs=(request.SubgangAsk("s", ("a",), rack),),
    )
    found = place.place(ask, cluster(16))
    assert isinstance(found, request.Reasons)
    assert [line.level for line in found.shortfalls] == ["rack"]
    assert "rack: best r0 has room for 4 of 5 b pods" in found.summary


def test_replacements_are_told_about_the_domain_that_they_are_bound_to() -> None:
    room = cluster(8)
    for index in range(4, 8):
        room.assume(f"busy-{index}", spec(4), f"n{index:03}")
    ask = gang(group("w", 1, 4, minimum=2), required="rack", fixed={"w-9": ("w", "n005")})
    assert why(place.place(ask, room)).startswith("rack: r1, where the gang is, has room for 0 of 1 w pods")


def largest(pods: int, room: snapshot.Snapshot, required: str | None) -> bool:
    return isinstance(place.place(gang(group("w", pods, 3), required=required), room), request.Placement)


@pytest.mark.parametrize(("required", "most"), [("rack", 4), ("block", 8), (None, 16)])
def test_a_gang_larger_than_the_cluster_hears_the_largest_count_that_fits(required: str | None, most: int) -> None:
    room = cluster(16)
    found = place.place(gang(group("w", 100, 3), required=required), room)
    assert isinstance(found, request.Reasons)
    assert found.never
    assert f"room for at most {most} of 100 w pods: the gang can never fit" in found.summary
    assert largest(most, room, required)
    assert not largest(most + 1, room, required)


def test_parts_that_only_together_are_too_large_for_any_empty_rack_never_fit() -> None:
    ask = gang(group("a", 3, 4), group("b", 2, 4), required="rack")
    found = place.place(ask, cluster(8))
    assert isinstance(found, request.Reasons)
    assert found.never
    assert "empty, r0 has at most 16 of 20 nvidia.com/gpu: the gang can never fit" in found.summary


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "1e999999999", "4 Gi", ""])
def test_a_quantity_that_is_none_is_named_and_disturbs_nobody_else(quantity: str) -> None:
    room = cluster(4)
    body: dict[str, Any] = {"containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": quantity}}}]}
    found = place.place(gang(request.GroupAsk("w", (request.PodAsk("w-0", "w-0", body),), 1)), room)
    text = why(found)
    assert quantity in text
    assert "is not a quantity" in text
    room.upsert_pod({"metadata": {"uid": "bad"}, "spec": {**body, "nodeName": "n000"}})
    broken = node(1)
    broken["status"]["allocatable"]["nvidia.com/gpu"] = quantity
    room.upsert_node(broken)
    assert isinstance(place.place(gang(group("w", 3, 4)), room), request.Placement)


def test_a_request_below_zero_is_refused() -> None:
    body = {"containers": [{"name": "c", "resources": {"requests": {"cpu": "-1"}}}]}
    found = place.place(gang(request.GroupAsk("w", (request.PodAsk("w-0", "w-0", body),), 1)), cluster(1))
    assert why(found) == "w: cpu: -1000 is below zero: ask for nothing or for something"


def test_a_quantity_beyond_all_measure_is_large_and_no_error() -> None:
    room = cluster(2)
    huge = node(2)
    huge["status"]["allocatable"]["nvidia.com/gpu"] = "9e30"
    room.upsert_node(huge)
    below = node(3)
    below["status"]["allocatable"] |= {"cpu": "-9e18", "nvidia.com/gpu": "-1"}
    room.upsert_node(below)
    assert isinstance(place.place(gang(group("w", 50, 4, minimum=1)), room), request.Placement)
    assert isinstance(place.place(gang(group("w", 2, 10**30)), room), request.Reasons)


def test_nodes_that_are_kept_for_others_do_not_make_a_gang_one_that_can_never_fit() -> None:
    ask = gang(group("w", 4, 4), required="rack", closed=frozenset({"n000"}))
    found = place.place(ask, cluster(4))
    assert why(found) == (
        "rack: best r0 has room for 3 of 4 w pods: 1 short of nvidia.com/gpu; "
        "1 nodes are kept for a gang that has waited longer"
    )
    assert isinstance(found, request.Reasons)
    assert not found.never, "or it would keep no room for itself when its turn comes"


def test_pods_that_repel_the_gang_are_named_and_do_not_make_it_one_that_can_never_fit() -> None:
    room = cluster(8)
    for uid, where in (("shy", "n000"), ("timid", "n004")):
        room.upsert_pod(resident(uid, where, affine("podAntiAffinity", "rack", app="w")))
    found = place.place(gang(request.GroupAsk("w", (pod("w-0", spec(1), app="w"),), 1), required="rack"), room)
    assert why(found) == (
        "rack: best r0 has room for 0 of 1 w pods: no node there may take them; "
        "2 racks excluded by required affinity or anti-affinity with pods that are there"
    )
    assert isinstance(found, request.Reasons)
    assert not found.never, "the pods may leave"


def test_a_gang_whose_pods_keep_apart_is_told_so() -> None:
    pods = tuple(pod(f"w-{i}", affine("podAntiAffinity", "rack", app="w"), app="w") for i in range(3))
    assert why(place.place(gang(request.GroupAsk("w", pods, 3)), cluster(8))) == (
        "cluster: the cluster could hold each part alone, but not with their required affinity or anti-affinity"
    )


OUT = [
    {"unschedulable": True},
    {"taints": [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]},
    {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
]


def short_of_nodes(count: int, required: str | None, **out: Any) -> request.Reasons:
    """Ask for so many whole nodes of four in a rack, one of which is out."""
    room = cluster(4)
    room.upsert_node(node(3, **out))
    found = place.place(gang(group("w", count, 4), required=required), room)
    assert isinstance(found, request.Reasons)
    return found


@pytest.mark.parametrize("required", ["rack", None])
@pytest.mark.parametrize("out", OUT)
def test_a_gang_that_needs_a_node_that_may_come_back_is_not_told_that_it_can_never_fit(
    out: dict[str, Any], required: str | None
) -> None:
    found = short_of_nodes(4, required, **out)
    where = "empty, r0" if required else "the empty cluster"
    assert f"{where} has room for at most 3 of 4 w pods until nodes that are cordoned or not ready are back" in why(
        found
    )
    assert "never" not in why(found)
    assert not found.never


@pytest.mark.parametrize("out", OUT)
def test_a_gang_that_is_too_large_with_all_nodes_in_service_hears_what_fits_then(out: dict[str, Any]) -> None:
    found = short_of_nodes(5, "rack", **out)
    assert "empty, r0 has room for at most 4 of 5 w pods, with all nodes in service: the gang can never fit" in why(
        found
    )
    assert found.never


def test_a_node_that_has_refused_the_gang_lately_is_told_and_is_not_gone_for_good() -> None:
    found = place.place(gang(group("w", 4, 4), avoid=frozenset({"n003"})), cluster(4))
    assert isinstance(found, request.Reasons)
    assert why(found) == (
        "cluster: the cluster has room for 3 of 4 w pods: 1 short of nvidia.com/gpu; "
        "the empty cluster has room for at most 3 of 4 w pods until nodes that are cordoned, not ready, or have "
        "refused its pods lately are back; 1 nodes have refused its pods lately"
    )
    assert not found.never


def test_what_somebody_has_set_on_a_node_does_not_pass() -> None:
    found = short_of_nodes(4, "rack", taints=TAINT)
    assert "empty, r0 has room for at most 3 of 4 w pods: the gang can never fit" in why(found)
    assert found.never


def test_nodes_that_are_not_ready_may_come_back_and_those_that_are_deleted_do_not() -> None:
    tired, leaving = node(3), node(3)
    tired["status"]["conditions"][0]["status"] = "Unknown"
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    never = []
    for third in (tired, leaving):
        room = cluster(4)
        room.upsert_node(third)
        found = place.place(gang(group("w", 4, 4)), room)
        assert isinstance(found, request.Reasons)
        never.append(found.never)
    assert never == [False, True]


def test_where_the_rest_of_a_gang_is_it_may_never_fit_although_it_could_elsewhere() -> None:
    room = cluster(8)
    for index in (4, 5, 6):
        room.remove_node(f"n00{index}")
    room.assume("w-9", spec(4), "n007")
    lost = gang(group("w", 3, 4, minimum=4), required="rack", fixed={"w-9": ("w", "n007")})
    assert "at most 1 of 3 w pods: the gang can never fit there, where its other pods are" in why(
        place.place(lost, room)
    )
