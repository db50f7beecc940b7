"""Whom to evict: whole gangs, the fewest, the lowest and youngest first, and only if the asker then fits."""

import random
from dataclasses import replace
from itertools import combinations

import pytest

from grovekeeper.placement import place, preempt, request
from tests.placement.test_place import cluster, gang, group, spec


def victim(name: str, priority: int, created: str, *nodes: str, room: object = None) -> preempt.Victim:
    uids = [f"{name}-{node}" for node in nodes]
    for uid, node in zip(uids, nodes, strict=True):
        room.assume(uid, spec(4), node)  # type: ignore[attr-defined]
    return preempt.Victim(f"ns/{name}", priority, created, frozenset(uids))


def ask(count: int, priority: int = 10, **more: object) -> request.GangAsk:
    return replace(gang(group("w", count, 4)), priority=priority, **more)


def test_one_gang_that_suffices_is_taken_and_the_youngest_of_the_lowest() -> None:
    room = cluster(6)
    gangs = [
        victim("old", 0, "2026-01-01", "n000", "n001", room=room),
        victim("young", 0, "2026-01-02", "n002", "n003", room=room),
        victim("middle", 5, "2026-01-03", "n004", "n005", room=room),
    ]
    found = preempt.plan(ask(2), room, gangs)
    assert found is not None
    assert [each.name for each in found.victims] == ["ns/young"]
    assert set(found.placement.nodes.values()) == {"n002", "n003"}
    assert preempt.plan(ask(1), room, gangs) is not None
    assert room.free()[:6, room.resource_names().index("nvidia.com/gpu")].sum() == 0, "nothing was really freed"


def test_no_more_gangs_go_than_are_needed() -> None:
    room = cluster(6)
    gangs = [victim(f"v{i}", 0, f"2026-01-0{i + 1}", f"n00{i}", room=room) for i in range(6)]
    found = preempt.plan(ask(3), room, gangs)
    assert found is not None
    assert len(found.victims) == 3


@pytest.mark.parametrize(
    ("asker", "why"),
    [
        (ask(2, priority=0), "equal priority"),
        (ask(2, preempts=False), "preemptionPolicy Never"),
        (ask(7), "does not fit even then"),
    ],
)
def test_nobody_is_evicted_in_vain(asker: request.GangAsk, why: str) -> None:
    room = cluster(6)
    gangs = [victim("a", 0, "2026-01-01", "n000", "n001", "n002", "n003", "n004", "n005", room=room)]
    assert preempt.plan(asker, room, gangs) is None, why


def value(gangs: list[preempt.Victim], chosen: tuple[preempt.Victim, ...]) -> tuple[object, ...]:
    order = sorted(gangs, key=lambda each: each.name)
    order.sort(key=lambda each: each.created, reverse=True)
    order.sort(key=lambda each: each.priority)
    ranks = sorted((order.index(each) for each in chosen), reverse=True)
    return len(chosen), sorted((each.priority for each in chosen), reverse=True), ranks


@pytest.mark.parametrize("seed", range(60))
def test_the_victims_are_those_that_looking_at_every_set_would_choose(seed: int) -> None:
    chance = random.Random(seed)
    room = cluster(12)
    left = {f"n{i:03}": 4 for i in range(12)}
    gangs = []
    for number in range(7):
        uids = set()
        for pod in range(chance.randrange(1, 5)):
            gpus = chance.choice((1, 2, 4))
            fitting = [name for name, free in left.items() if free >= gpus]
            if fitting:
                name = chance.choice(fitting)
                left[name] -= gpus
                room.assume(f"v{number}-{pod}", spec(gpus), name)
                uids.add(f"v{number}-{pod}")
        created = f"2026-01-{chance.randrange(1, 9):02}"
        gangs.append(preempt.Victim(f"ns/v{number}", chance.choice((0, 0, 5)), created, frozenset(uids)))
    for name, free in left.items():
        room.assume(f"foreign-{name}", spec(free), name)
    required = chance.choice(("rack", "block", None))
    asker = replace(gang(group("w", chance.randrange(1, 4), chance.choice((2, 4))), required=required), priority=10)
    # Dearer sets than one that suffices need no look: the first that suffices, from the cheapest on, is the best.
    every = [chosen for size in range(1, len(gangs) + 1) for chosen in combinations(gangs, size)]
    best = None
    for chosen in sorted(every, key=lambda chosen: value(gangs, chosen)):
        with room.without(uid for each in chosen for uid in each.uids):
            if isinstance(place.place(asker, room), request.Placement):
                best = value(gangs, chosen)
                break
    found = preempt.plan(asker, room, gangs)
    assert (value(gangs, found.victims) if found else None) == best


def test_one_rack_is_cleared_in_a_large_full_cluster_and_no_gang_elsewhere() -> None:
    room = cluster(800)
    gangs = []
    for rack in range(200):
        count = 1 if rack == 137 else 4  # one rack is held by one gang, all others by four
        for number in range(count):
            nodes = [f"n{rack * 4 + i:03}" for i in range(number * (4 // count), (number + 1) * (4 // count))]
            gangs.append(victim(f"r{rack:03}-{number}", 0, f"2026-01-01T00:{rack % 60:02}", *nodes, room=room))
    asker = replace(gang(group("w", 4, 4), required="rack"), priority=10)
    found = preempt.plan(asker, room, gangs)
    assert found is not None
    assert [each.name for each in found.victims] == ["ns/r137-0"]
    again = preempt.plan(asker, room, [each for each in gangs if "r137" not in each.name])
    assert again is not None
    assert len(again.victims) == 4
    assert len({each.name[:7] for each in again.victims}) == 1


def test_where_sets_are_too_many_to_look_at_a_good_one_is_made() -> None:
    room = cluster(60)
    gangs = [victim(f"v{i:02}", 0, f"2026-01-01T00:{i:02}", f"n{i:03}", room=room) for i in range(60)]
    found = preempt.plan(replace(gang(group("w", 20, 4)), priority=10), room, gangs)
    assert found is not None
    assert {each.name for each in found.victims} == {f"ns/v{i:02}" for i in range(40, 60)}, "the twenty youngest"
