"""Room that is kept for one that has waited long: a big gang is not starved, small ones are not blocked in vain."""

import heapq
from dataclasses import dataclass, field, replace

import pytest

from grovekeeper.placement import place, request, reserve
from tests.placement.test_place import cluster, gang, group

PATIENCE, RUNS = 10, 6


@dataclass
class Stream:
    """Small gangs of one node come, three a tick, and run for six ticks; a big one waits for a whole rack of four.

    Sixteen are there at first, whose ends are spread over the ticks. The cluster has four racks of four nodes.
    """

    patience: float
    big: request.GangAsk
    ends: list[tuple[int, str]] = field(default_factory=list)
    line: list[request.GangAsk] = field(default_factory=list)
    small_placed: dict[int, int] = field(default_factory=dict)
    big_placed: int | None = None

    def run(self, ticks: int) -> None:
        room = cluster(16)
        for tick in range(ticks):
            while self.ends and self.ends[0][0] <= tick:
                room.forget(heapq.heappop(self.ends)[1])
            names = [f"s{tick}-{number}" for number in range(3 if tick else 16)]
            self.line += [replace(gang(group(name, 1, 4)), name=name) for name in names]
            closed: frozenset[str] = frozenset()
            if tick and self.big_placed is None:
                found = place.place(self.big, room)
                if isinstance(found, request.Placement):
                    self.big_placed = tick
                    for pod, where in found.nodes.items():
                        room.assume(pod, self.big.groups[0].pods[0].spec, where)
                elif tick >= self.patience and not found.never:
                    closed = reserve.nodes(self.big, room)
            self.small_placed[tick] = 0
            for ask in list(self.line):
                found = place.place(replace(ask, closed=closed), room)
                if isinstance(found, request.Placement):
                    self.line.remove(ask)
                    self.small_placed[tick] += 1
                    ((pod, where),) = found.nodes.items()
                    room.assume(pod, ask.groups[0].pods[0].spec, where)
                    first = int(ask.name.rpartition("-")[2]) % RUNS + 1
                    heapq.heappush(self.ends, (tick + (RUNS if tick else first), pod))


def big(pods: int) -> request.GangAsk:
    return replace(gang(group("big", pods, 4), required="rack"), name="big")


@pytest.mark.slow
def test_without_a_reservation_the_stream_would_starve_the_big_gang() -> None:
    stream = Stream(float("inf"), big(4))
    stream.run(80)
    assert stream.big_placed is None


@pytest.mark.slow
def test_a_big_gang_is_placed_once_its_domain_has_emptied_and_small_ones_go_on_elsewhere() -> None:
    stream = Stream(PATIENCE, big(4))
    stream.run(80)
    assert stream.big_placed is not None
    assert PATIENCE < stream.big_placed <= PATIENCE + RUNS + 1, "one rack, once, for as long as what is in it runs"
    waiting = [stream.small_placed[tick] for tick in range(PATIENCE, stream.big_placed)]
    assert sum(waiting) >= len(waiting), "the other three racks are filled on"


def test_one_that_can_never_fit_blocks_nobody() -> None:
    alone, blocked = Stream(float("inf"), big(4)), Stream(PATIENCE, big(5))
    alone.run(40)
    blocked.run(40)
    assert blocked.big_placed is None
    assert blocked.small_placed == alone.small_placed
    assert reserve.nodes(big(5), cluster(16)) == frozenset()


def test_the_kept_domain_is_the_one_that_is_nearest_to_holding_the_gang() -> None:
    room = cluster(16)
    for index in (0, 1, 2, 5, 8, 9, 12, 13, 14, 15):
        room.assume(f"busy-{index}", group("x", 1, 4).pods[0].spec, f"n{index:03}")
    assert reserve.nodes(big(4), room) == {"n004", "n005", "n006", "n007"}
