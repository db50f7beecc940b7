"""Whom to evict: whole gangs, the fewest, the lowest and youngest first, and only if the asker then fits."""

from dataclasses import replace

import pytest

from grovekeeper.placement import preempt, request
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
