"""Compaction: whole racks become free, gangs stay whole and keep their constraints, and the cost is told."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from grovekeeper.placement import compact, request, snapshot
from tests.placement.test_place import cluster, gang, group, spec


def resident(
    room: snapshot.Snapshot, name: str, *nodes: int, gpus: int = 4, family: str = "", **more: Any
) -> compact.Resident:
    ask = replace(gang(group(name, len(nodes), gpus), **more), name=name)
    where = {pod.name: f"n{index:03}" for pod, index in zip(ask.groups[0].pods, nodes, strict=True)}
    for pod in ask.groups[0].pods:
        room.assume(pod.uid, pod.spec, where[pod.name])
    return compact.Resident(ask, where, family)


def racks(nodes: set[str]) -> set[int]:
    return {int(name[1:]) // 4 for name in nodes}


def test_a_rack_with_one_small_gang_is_freed_into_a_rack_that_is_in_use() -> None:
    room = cluster(12)
    gangs = [resident(room, "a", 0, required="rack"), resident(room, "b", 4, 5, 6, required="rack")]
    found = compact.plan(gangs, room, "rack")
    assert [freed.domain for freed in found.freed] == ["r0"]
    assert found.freed[0].moves == (compact.Move("ns/a", {"a-0": ("n000", "n007")}),)
    assert (found.freed[0].nodes, found.freed[0].pods(), found.whole) == (4, 1, 1)
    assert found.stay == {"r1": "gangs of other domains move there"}


def test_a_gang_is_never_split_to_free_a_rack() -> None:
    room = cluster(12)
    gangs = [resident(room, "a", 0, 1), resident(room, "b", 4, 5, 6), resident(room, "c", 8, 9, 10)]
    found = compact.plan(gangs, room, "rack")
    assert found.freed == ()
    assert found.stay["r0"] == "ns/a finds no other place: it would be split over more domains"


def test_pods_of_others_keep_a_rack_and_those_of_daemon_sets_do_not() -> None:
    room = cluster(12)
    gangs = [resident(room, "a", 0), resident(room, "b", 4, 5)]
    room.upsert_pod({"metadata": {"uid": "plain"}, "spec": {**spec(0), "nodeName": "n001"}})
    owner = [{"kind": "DaemonSet", "controller": True}]
    for index in range(12):
        metadata = {"uid": f"d{index}", "ownerReferences": owner}
        room.upsert_pod({"metadata": metadata, "spec": {**spec(0), "nodeName": f"n{index:03}"}})
    found = compact.plan(gangs, room, "rack")
    assert [freed.domain for freed in found.freed] == ["r1"]
    assert found.stay["r0"] == "1 pods of others are there: they are not moved"
    assert found.whole == 1


def test_gangs_that_look_at_each_other_do_not_move_in_one_plan() -> None:
    room = cluster(16)
    rule = (request.Spread("rack", 1, True),)
    gangs = [
        resident(room, "a", 0, family="s", spread=rule, spread_peers=(("n004",),)),
        resident(room, "b", 4, family="s", spread=rule, spread_peers=(("n000",),)),
        resident(room, "c", 8, 9),
    ]
    found = compact.plan(gangs, room, "rack")
    assert [freed.domain for freed in found.freed] == ["r0"]
    assert racks({after for _before, after in found.freed[0].moves[0].pods.values()}) == {2}
    assert found.stay["r1"] == "ns/b looks at a gang that moves already"


def test_only_so_many_domains_are_freed_as_asked_for() -> None:
    room = cluster(24)
    gangs = [resident(room, f"g{rack}", rack * 4) for rack in range(5)]
    assert len(compact.plan(gangs, room, "rack", most=1).freed) == 1


def test_a_gang_that_reaches_into_a_rack_moves_only_what_is_there() -> None:
    room = cluster(12)
    gangs = [resident(room, "a", 3, 4, 5, 6), resident(room, "b", 8)]
    found = compact.plan(gangs, room, "rack", most=1)
    assert found.freed[0].pods() == 1
    again = cluster(8)
    found = compact.plan([resident(again, "a", 3, 4, 5, 6)], again, "rack")
    assert found.freed[0].moves[0].pods == {"a-0": ("n003", "n007")}


def settled(
    room: snapshot.Snapshot, shapes: list[tuple[int, int, int]]
) -> tuple[list[compact.Resident], dict[int, int]]:
    """Return gangs (rack, pods, GPUs a pod) that are there as far as they fit, and what is left on each node."""
    left = dict.fromkeys(range(32), 4)
    gangs = []
    for number, (rack, pods, gpus) in enumerate(shapes):
        nodes = []
        for index in range(rack * 4, rack * 4 + 4):
            while left[index] >= gpus and len(nodes) < pods:
                left[index] -= gpus
                nodes.append(index)
        if len(nodes) == pods:
            gangs.append(resident(room, f"g{number}", *nodes, gpus=gpus, required="rack"))
        else:
            for index in nodes:
                left[index] += gpus
    return gangs, left


GANGS = st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4), st.sampled_from((1, 2, 4))), max_size=6)


@settings(max_examples=60, deadline=None)
@given(GANGS)
def test_after_the_moves_everything_fits_and_what_was_promised_is_free(shapes: list[tuple[int, int, int]]) -> None:
    room = cluster(32)
    gangs, left = settled(room, shapes)
    before = {rack for rack in range(8) if all(left[i] == 4 for i in range(rack * 4, rack * 4 + 4))}
    found = compact.plan(gangs, room, "rack")
    where = {pod: node for each in gangs for pod, node in each.nodes.items()}
    for freed in found.freed:
        for move in freed.moves:
            for pod, (old, new) in move.pods.items():
                assert where[pod] == old
                where[pod] = new
    sizes = {pod.name: each.ask for each in gangs for g in each.ask.groups for pod in g.pods}
    load: dict[str, int] = {}
    for pod, node in where.items():
        gpus = sizes[pod].groups[0].pods[0].spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
        load[node] = load.get(node, 0) + gpus
    assert all(amount <= 4 for amount in load.values())
    for each in gangs:
        assert len(racks({where[pod] for pod in each.nodes})) == 1
    empty = set(range(8)) - racks(set(where.values()))
    assert {int(freed.domain[1:]) for freed in found.freed} == empty - before
    assert len(found.freed) + found.whole == len(empty)
