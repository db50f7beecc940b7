"""Base gangs go where their scaled gangs will have room, too."""

from dataclasses import replace
from typing import Any

import pytest

from grovekeeper.placement import place, request, snapshot
from tests.placement.test_place import cluster, gang, group, node, spec

RACK = request.Constraint("rack")


def follow(count: int, pods: int = 1, required: str | None = None) -> tuple[request.Followers, ...]:
    return (request.Followers(count, (("w", pods),), required),)


def busy(room: snapshot.Snapshot, *indexes: int) -> None:
    for index in indexes:
        room.assume(f"busy{index}", spec(4), f"n{index:03}")


def domains(found: request.Placement | request.Reasons, level: str) -> tuple[str, ...]:
    assert isinstance(found, request.Placement), found
    return found.domains[level]


def blocks(room: snapshot.Snapshot, ask: request.GangAsk) -> list[tuple[str, ...]]:
    """Return where the gang goes alone, and where with its followers in mind."""
    return [domains(place.place(each, room), "block") for each in (replace(ask, followers=()), ask)]


def test_a_base_gang_leaves_a_block_that_is_too_small_for_its_scaled_gangs() -> None:
    room = cluster(16)
    busy(room, 0, 1, 2)
    ask = gang(group("w", 3, 4), required="block", followers=follow(3))
    assert blocks(room, ask) == [("b0",), ("b1",)]
    assert blocks(room, replace(ask, followers=follow(2))) == [("b0",), ("b0",)], "five free nodes: room for all"


def test_without_room_for_all_anywhere_it_goes_where_it_would_go_alone() -> None:
    room = cluster(16)
    busy(room, 0, 1, 2)
    assert blocks(room, gang(group("w", 3, 4), required="block", followers=follow(9))) == [("b0",), ("b0",)]


def test_followers_refuse_nothing_and_change_no_domain_that_is_given() -> None:
    room = cluster(8)
    ask = gang(group("w", 8, 4), required="block", followers=follow(40))
    assert domains(place.place(ask, room), "block") == ("b0",)
    room = cluster(16)
    room.assume("w-9", spec(4), "n000")
    lost = gang(group("w", 2, 4, minimum=3), fixed={"w-9": ("w", "n000")}, required="block", followers=follow(8))
    assert domains(place.place(lost, room), "block") == ("b0",)


def test_followers_that_need_a_rack_each_do_not_fit_into_what_is_left_of_two() -> None:
    room = cluster(16)
    busy(room, 0, 4)
    pair = (request.SubgangAsk("w", ("w",), RACK),)
    ask = gang(group("w", 2, 4), required="block", subgangs=pair, followers=follow(2, 2))
    assert blocks(room, ask) == [("b0",), ("b0",)], "six free nodes for six pods"
    in_racks = replace(ask, followers=follow(2, 2, "rack"))
    assert blocks(room, in_racks) == [("b0",), ("b1",)], "three free nodes in each rack hold one pair each"


def test_without_a_constraint_the_rack_is_in_a_block_with_room_for_all() -> None:
    room = cluster(16)
    busy(room, 0, 4, 5, 6)
    ask = gang(group("w", 3, 4), followers=follow(3))
    assert blocks(room, ask) == [("b0",), ("b1",)]


@pytest.mark.parametrize("small", [1, 2])
def test_pods_of_several_shapes_are_counted_by_what_each_could_use(small: int) -> None:
    room = snapshot.Snapshot()
    for index in range(16):
        room.upsert_node(node(index, gpus=4 if index % 2 else small))
    # Of the eight nodes of a block four take a pod with four GPUs, whatever is free on the others.
    ask = gang(group("w", 2, 4), group("r", 2, small), required="block", followers=follow(2))
    assert blocks(room, ask) == [("b0",), ("b0",)]
    busy(room, 1)
    assert blocks(room, ask) == [("b0",), ("b1",)]
    assert blocks(room, replace(ask, followers=follow(1))) == [("b0",), ("b0",)]


def test_a_wish_of_the_gang_itself_comes_first() -> None:
    room = cluster(16)
    busy(room, 0, *range(9, 12), 13, 14)
    ask = gang(group("w", 3, 4), preferred="rack", followers=follow(4))
    alone: Any = place.place(replace(ask, followers=()), room)
    together: Any = place.place(ask, room)
    assert (len(alone.domains["rack"]), len(together.domains["rack"])) == (1, 1)


def test_two_set_replicas_of_ten_in_blocks_of_fourteen_as_in_groves_tas16() -> None:
    room = snapshot.Snapshot()
    for index in range(28):
        each = node(index, gpus=1)
        each["metadata"]["labels"] |= {"rack": f"r{index // 7}", "block": f"b{index // 14}"}
        room.upsert_node(each)
    names = ("decoder", "prefill")
    homes: dict[int, set[str]] = {}
    for index in range(2):
        groups = [group(f"{index}-{name}-0", 2, 1) for name in names]
        subs = tuple(request.SubgangAsk(each.name, (each.name,), RACK) for each in groups)
        late = tuple(request.Followers(1, ((each.name, 2),), "rack") for each in groups)
        base = gang(*groups, group(f"{index}-router", 2, 1), required="block", subgangs=subs, followers=late)
        homes[index] = put(room, base)
    for index in range(2):
        for name in names:
            scaled = gang(group(f"{index}-{name}-1", 2, 1), required="rack", near=tuple(sorted(homes[index])))
            homes[index] |= put(room, scaled)
    found = [{int(name[1:]) // 14 for name in homes[index]} for index in range(2)]
    assert sorted(map(sorted, found)) == [[0], [1]]


def put(room: snapshot.Snapshot, ask: request.GangAsk) -> set[str]:
    answer = place.place(ask, room)
    assert isinstance(answer, request.Placement), answer
    for name, where in answer.nodes.items():
        room.assume(name, spec(1), where)
    return set(answer.nodes.values())
