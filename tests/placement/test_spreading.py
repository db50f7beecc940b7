"""Spread of a clique's pods over domains."""

from grovekeeper.placement import place, request
from tests.placement.test_place import cluster, gang, group, spec


def spread(count: int, *rules: request.Spread, minimum: int | None = None) -> request.GroupAsk:
    plain = group("w", count, 1, minimum)
    return request.GroupAsk("w", plain.pods, plain.minimum, plain.constraint, rules)


def racks(found: request.Placement | request.Reasons) -> dict[int, int]:
    assert isinstance(found, request.Placement), found
    counts: dict[int, int] = {}
    for name in found.nodes.values():
        rack = int(name[1:]) // 4
        counts[rack] = counts.get(rack, 0) + 1
    return counts


RACK = request.Spread("rack", 1, True)


def test_pods_of_a_clique_are_spread_evenly_over_the_domains() -> None:
    assert sorted(racks(place.place(gang(spread(7, RACK)), cluster(12))).values()) == [2, 2, 3]


def test_the_domains_are_those_of_the_level_that_binds_the_gang() -> None:
    found = place.place(gang(spread(6, RACK), required="block"), cluster(32))
    assert sorted(racks(found).values()) == [3, 3]


def test_a_full_domain_stops_a_required_spread_and_not_a_preference() -> None:
    room = cluster(12)
    for index in range(4):
        room.assume(f"busy-{index}", spec(4), f"n00{index}")
    assert isinstance(place.place(gang(spread(3, RACK)), room), request.Reasons)
    assert sorted(racks(place.place(gang(spread(2, RACK)), room)).values()) == [1, 1]
    assert sorted(racks(place.place(gang(spread(3, request.Spread("rack", 1, False))), room)).values()) == [1, 2]
    assert sorted(racks(place.place(gang(spread(4, request.Spread("rack", 2, True))), room)).values()) == [2, 2]


def test_pods_above_the_minimum_and_replacements_keep_the_skew() -> None:
    room = cluster(12)
    for index in range(4):
        room.assume(f"busy-{index}", spec(4), f"n00{index}")
    found = place.place(gang(spread(6, RACK, minimum=2)), room)
    assert isinstance(found, request.Placement)
    assert sorted(racks(found).values()) == [1, 1]
    assert len(found.left_out) == 4
    kept = {"w-8": ("w", "n000"), "w-9": ("w", "n004")}
    again = place.place(gang(spread(1, RACK, minimum=3), fixed=kept), cluster(12))
    assert racks(again) == {2: 1}


def test_two_rules_are_kept_at_the_same_time() -> None:
    found = place.place(gang(spread(6, request.Spread("block", 1, True), RACK)), cluster(20))
    counts = racks(found)
    blocks: dict[int, int] = {}
    for rack, count in counts.items():
        blocks[rack // 2] = blocks.get(rack // 2, 0) + count
    assert sorted(blocks.values()) == [2, 2, 2]
    assert max(counts.values()) - min(counts.get(rack, 0) for rack in range(5)) <= 1


def test_who_waits_for_a_spread_hears_of_it() -> None:
    room = cluster(12)
    for index in range(4):
        room.assume(f"busy-{index}", spec(4), f"n00{index}")
    found = place.place(gang(spread(3, RACK)), room)
    assert isinstance(found, request.Reasons)
    assert found.summary == "cluster: the cluster could hold each part alone, but not spread over rack with maxSkew 1"
