"""Whether the levels of a binding mean something on the nodes that there are."""

from typing import Any

import pytest

from grovekeeper.placement import levels, place, request
from tests.placement.test_place import cluster, gang, group, node

GOOD = {"block": "block", "rack": "rack", "host": "kubernetes.io/hostname"}


def nodes(count: int = 16, **more: str) -> list[dict[str, Any]]:
    result = [node(index) for index in range(count)]
    for index, each in enumerate(result):
        each["metadata"]["labels"] |= {key: value.format(cage=index % 4) for key, value in more.items()}
    return result


def judged(bindings: dict[str, dict[str, str]], listed: list[dict[str, Any]]) -> dict[str, levels.Judgement]:
    return {name: levels.judgement(name, bindings, listed) for name in bindings}


def test_good_levels_are_usable_and_nodes_that_lack_a_label_are_counted() -> None:
    listed = nodes()
    assert levels.judgement("t", {"t": GOOD}, listed) == levels.Judgement(
        True, "LevelsUsable", "all 16 nodes have a place in every level"
    )
    for each in listed[:5]:
        del each["metadata"]["labels"]["rack"]
    found = levels.judgement("t", {"t": GOOD}, listed)
    assert (found.usable, found.text) == (True, "5 of 16 nodes are in no rack")


@pytest.mark.parametrize(
    ("given", "reason", "text"),
    [
        ({"block": "block", "cage": "x/cage"}, "LabelMissing", "no node has the label of cage (x/cage)"),
        ({"rack": "rack", "block": "block"}, "LevelsOutOfOrder", "rack comes before block and is the narrower"),
        ({"block": "block", "cage": "cage"}, "LevelsCutAcross", "cage c0 is in block b0 and in block b1"),
    ],
)
def test_what_is_wrong_with_one_binding_is_said_in_a_sentence(given: dict[str, str], reason: str, text: str) -> None:
    found = judged({"t": given, "good": GOOD}, nodes(cage="c{cage}"))
    wanted = "ContradictsBinding" if reason == "LevelsOutOfOrder" else reason
    assert (found["t"].usable, found["t"].reason) == (False, wanted)
    alone = levels.judgement("t", {"t": given}, nodes(cage="c{cage}"))
    assert alone.reason == reason
    assert text in alone.text


def test_two_bindings_that_contradict_each_other_both_say_so_and_a_third_does_not() -> None:
    swapped = {"rack": "rack", "block": "block"}
    found = judged({"a": GOOD, "b": swapped, "c": {"rack": "rack"}}, nodes())
    assert found["a"].text == "b has rack before block, which is the other way round here: " + (
        "keep one order, or one of the bindings"
    )
    assert [found[name].reason for name in "abc"] == ["ContradictsBinding", "ContradictsBinding", "LevelsUsable"]


def test_bindings_for_two_kinds_of_nodes_do_not_contradict_each_other() -> None:
    listed = nodes()
    for each in listed[8:]:
        marks = each["metadata"]["labels"]
        marks["clique"] = marks.pop("rack")
    found = judged({"h100": GOOD, "gb200": {"block": "block", "rack": "clique"}}, listed)
    assert all(each.usable for each in found.values())
    assert found["h100"].text == "8 of 16 nodes are in no rack"


def test_gangs_are_placed_with_levels_in_the_wrong_order_all_the_same() -> None:
    ask = request.GangAsk(
        "ns", "g", (group("w", 3, 4),), request.Constraint("rack"), levels=("rack", "block", "kubernetes.io/hostname")
    )
    found = place.place(ask, cluster(16))
    assert isinstance(found, request.Placement)
    assert len(found.domains["rack"]) == 1


def test_a_node_that_lacks_the_label_holds_what_does_not_ask_for_the_level() -> None:
    room = cluster(4)
    bare = node(4)
    del bare["metadata"]["labels"]["rack"], bare["metadata"]["labels"]["block"]
    room.upsert_node(bare)
    for index in range(4):
        room.assume(f"busy-{index}", {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 4}}}]}, f"n00{index}")
    assert isinstance(place.place(gang(group("w", 1, 4), required="rack"), room), request.Reasons)
    found = place.place(gang(group("w", 1, 4), preferred="rack"), room)
    assert isinstance(found, request.Placement)
    assert set(found.nodes.values()) == {"n004"}
