"""Who goes home when not everybody can."""

from dataclasses import replace
from typing import Any

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
