"""Replacement of a failed or cordoned node's pods: inside the same domain first, the others stay where they are."""

from dataclasses import replace

import pytest

from grovekeeper.placement import place, request, snapshot
from tests.placement.test_place import cluster, gang, group, node, spec


def broken(count: int, *names: int) -> snapshot.Snapshot:
    """Return a cluster of which some nodes are cordoned."""
    room = cluster(count)
    for index in names:
        room.upsert_node(node(index, unschedulable=True))
    return room


def survivors(room: snapshot.Snapshot, clique: str, *indexes: int) -> dict[str, tuple[str, str]]:
    """Charge the pods of a clique that run on, each on a whole node."""
    for index in indexes:
        room.assume(f"{clique}@{index}", spec(4), f"n{index:03}")
    return {f"{clique}@{index}": (clique, f"n{index:03}") for index in indexes}


def nodes(found: request.Placement | request.Reasons) -> set[int]:
    assert isinstance(found, request.Placement), found
    return {int(name[1:]) for name in found.nodes.values()}


def back_to(ask: request.GangAsk, name: str) -> request.GangAsk:
    """Return the ask with its pods nominated to a node, as a reservation does."""
    groups = tuple(replace(g, pods=tuple(replace(pod, nominated=name) for pod in g.pods)) for g in ask.groups)
    return replace(ask, groups=groups)


@pytest.mark.parametrize("required", [None, "block", "rack"])
def test_a_replacement_stays_in_the_rack_of_its_gang_whatever_is_required(required: str | None) -> None:
    room = broken(16, 5)
    fixed = survivors(room, "w", 4, 6)
    ask = back_to(gang(group("w", 1, 4, minimum=3), required=required, fixed=fixed), "n005")
    assert nodes(place.place(ask, room)) == {7}


def test_a_gang_over_two_racks_opens_no_third_one_for_a_replacement() -> None:
    room = broken(24, 2)
    fixed = survivors(room, "w", 0, 1, 12, 13, 14)
    assert nodes(place.place(gang(group("w", 1, 4, minimum=6), fixed=fixed), room)) <= {3, 15}


def test_a_replacement_leaves_the_rack_only_where_nothing_requires_it() -> None:
    room = broken(16, 5)
    fixed = survivors(room, "w", 4, 6, 7)
    ask = gang(group("w", 1, 4, minimum=4), fixed=fixed)
    assert nodes(place.place(ask, room)) <= {0, 1, 2, 3}, "the rack is full: the next one in its block"
    bound = place.place(replace(ask, constraint=request.Constraint("rack")), room)
    assert isinstance(bound, request.Reasons)
    assert "r1, where the gang is, has room for 0 of 1 w pods" in bound.summary
    assert not bound.never


def test_every_part_is_repaired_in_its_own_domain() -> None:
    room = broken(32, 1, 9)
    fixed = survivors(room, "a", 0) | survivors(room, "b", 8, 10)
    rack = request.Constraint("rack")
    subs = (request.SubgangAsk("s0", ("a",), rack), request.SubgangAsk("s1", ("b",), rack))
    ask = gang(group("a", 1, 4, minimum=2), group("b", 1, 4, minimum=3), subgangs=subs, fixed=fixed)
    found = place.place(ask, room)
    assert isinstance(found, request.Placement)
    assert int(found.nodes["a-0"][1:]) // 4 == 0
    assert int(found.nodes["b-0"][1:]) // 4 == 2
    own = gang(group("a", 1, 4, minimum=2, constraint=rack), group("b", 1, 4, minimum=3, constraint=rack), fixed=fixed)
    again = place.place(own, room)
    assert isinstance(again, request.Placement)
    assert again.nodes.keys() == found.nodes.keys()
    assert int(again.nodes["b-0"][1:]) // 4 == 2


def test_several_nodes_that_fail_at_once_are_replaced_together_or_not_at_all() -> None:
    room = broken(16, 4, 5)
    fixed = survivors(room, "w", 6)
    two = gang(group("w", 2, 2, minimum=3), required="rack", fixed=fixed)
    assert nodes(place.place(two, room)) == {7}
    three = gang(group("w", 3, 2, minimum=4), required="rack", fixed=fixed)
    assert isinstance(place.place(three, room), request.Reasons)


def test_a_clique_that_lost_all_its_pods_comes_back_to_the_domain_of_its_gang() -> None:
    room = broken(16, 4)
    fixed = survivors(room, "w", 5, 6)
    ask = gang(group("w", 0, 4, minimum=2), group("router", 1, 1), required="rack", fixed=fixed)
    assert nodes(place.place(ask, room)) == {7}
