"""Who goes home when not everybody can."""

from dataclasses import replace
from typing import Any

import pytest

from grovekeeper.placement import place, request
from tests.placement.test_place import LEVELS, cluster, group


def held(ask: request.GroupAsk, *nodes: str | None) -> request.GroupAsk:
    pods = (replace(p, nominated=n, held=n is not None) for p, n in zip(ask.pods, nodes, strict=True))
    return replace(ask, pods=tuple(pods))


def asked(*groups: request.GroupAsk, **more: Any) -> request.GangAsk:
    return request.GangAsk("ns", "g", groups, levels=LEVELS, **more)


def test_all_go_home() -> None:
    found = place.place(asked(held(group("a", 2, 4), "n005", "n009")), cluster(16))
    assert isinstance(found, request.Placement)
    assert found.nodes == {"a-0": "n005", "a-1": "n009"}


def test_who_has_outgrown_its_node_does_not_keep_the_others_from_going_home() -> None:
    room = cluster(8)
    other = {"metadata": {"name": "o", "namespace": "x", "uid": "o"}, "spec": {**group("o", 1, 2).pods[0].spec}}
    room.upsert_pod({**other, "spec": {**other["spec"], "nodeName": "n001"}})
    ask = asked(
        held(group("a", 2, 4), "n000", "n001"), constraint=request.Constraint("rack")
    )  # n001 has no room for four
    found = place.place(ask, room)
    assert isinstance(found, request.Placement)
    assert found.nodes["a-0"] == "n000"
    assert found.nodes["a-1"] in ("n002", "n003"), "in the rack of the other one"


def test_where_going_home_in_part_breaks_the_constraint_the_gang_moves() -> None:
    room = cluster(8)
    for index in (1, 2, 3):
        spec = {**group("o", 1, 4).pods[0].spec, "nodeName": f"n00{index}"}
        room.upsert_pod({"metadata": {"name": f"o{index}", "namespace": "x", "uid": f"o{index}"}, "spec": spec})
    ask = asked(held(group("a", 2, 4), "n000", "n001"), constraint=request.Constraint("rack"))
    found = place.place(ask, room)
    assert isinstance(found, request.Placement)
    assert set(found.nodes.values()) <= {"n004", "n005", "n006", "n007"}


def wished(ask: request.GroupAsk, *nodes: str) -> request.GroupAsk:
    """Nominate pods to nodes that nobody holds for them."""
    pods = (replace(p, nominated=n) for p, n in zip(ask.pods, nodes, strict=True))
    return replace(ask, pods=tuple(pods))


def racks(found: request.Placement | request.Reasons, *names: str) -> list[int]:
    assert isinstance(found, request.Placement), found
    return sorted(int(found.nodes[name][1:]) // 4 for name in names)


RACK = request.Constraint("rack")


@pytest.mark.parametrize("how", [wished, held])
def test_nominations_of_several_decisions_do_not_tear_a_gang(how: Any) -> None:
    torn = how(group("a", 3, 2), "n000", "n001", "n004")
    by_gang = place.place(asked(torn, constraint=RACK), cluster(16))
    by_clique = place.place(asked(replace(torn, constraint=RACK), group("b", 1, 1)), cluster(16))
    subs = (request.SubgangAsk("s", ("a", "b"), RACK),)
    by_group = place.place(asked(torn, how(group("b", 1, 1), "n000"), subgangs=subs), cluster(16))
    for found in (by_gang, by_clique, by_group):
        assert len(set(racks(found, "a-0", "a-1", "a-2"))) == 1


@pytest.mark.parametrize("how", [wished, held])
def test_pods_above_the_minimum_follow_their_gang_and_not_an_older_nomination(how: Any) -> None:
    fixed = {"a-8": ("a", "n000"), "a-9": ("a", "n001")}
    late = how(group("a", 2, 4, minimum=2), "n004", "n005")
    assert racks(place.place(asked(late, constraint=RACK, fixed=fixed), cluster(16)), "a-0", "a-1") == [0, 0]
    one = replace(late, pods=(late.pods[0], replace(late.pods[1], nominated=None, held=False)))
    assert racks(place.place(asked(one, constraint=RACK, fixed=fixed), cluster(16)), "a-0", "a-1") == [0, 0]


def test_nominations_that_break_a_spread_are_wishes_and_homes_are_kept() -> None:
    rule = (request.Spread("rack", 1, True),)
    pods = group("a", 3, 1)
    crowded = replace(wished(pods, "n000", "n001", "n002"), spread=rule)
    assert racks(place.place(asked(crowded), cluster(12)), "a-0", "a-1", "a-2") == [0, 1, 2]
    even = replace(wished(pods, "n003", "n004", "n008"), spread=rule)
    assert racks(place.place(asked(even), cluster(12)), "a-0", "a-1", "a-2") == [0, 1, 2]
    assert place.place(asked(even), cluster(12)).nodes["a-0"] == "n003"  # type: ignore[union-attr]
    at_home = replace(held(pods, "n000", "n001", "n002"), spread=rule)
    assert racks(place.place(asked(at_home), cluster(12)), "a-0", "a-1", "a-2") == [0, 0, 0]


def test_nominations_that_put_siblings_into_one_domain_are_wishes() -> None:
    rule = (request.Spread("rack", 1, True),)
    subs = tuple(request.SubgangAsk(name, (name,), RACK, "family", rule) for name in ("a", "b"))
    together = [wished(group("a", 1, 1), "n000"), wished(group("b", 1, 1), "n001")]
    assert len(set(racks(place.place(asked(*together, subgangs=subs), cluster(8)), "a-0", "b-0"))) == 2
    apart = [wished(group("a", 1, 1), "n001"), wished(group("b", 1, 1), "n005")]
    found = place.place(asked(*apart, subgangs=subs), cluster(8))
    assert isinstance(found, request.Placement)
    assert found.nodes == {"a-0": "n001", "b-0": "n005"}
    elsewhere = asked(wished(group("a", 1, 1), "n001"), spread=rule, spread_peers=(("n000",),), constraint=RACK)
    assert racks(place.place(elsewhere, cluster(8)), "a-0") == [1]
