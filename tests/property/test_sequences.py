"""Random sequences of everything that can happen to a set, with the promises checked at each step and at the end."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grovekeeper.api import names
from tests.property import ends, moves


@pytest.mark.parametrize("kind", [names.PODCLIQUESET, names.PODGANGSET])
@pytest.mark.parametrize("strategy", [names.UPDATE_ROLLING_RECREATE, names.UPDATE_COHERENT])
@pytest.mark.timeout(900)
@given(seed=st.integers(0, 2**16), shape=moves.SHAPES, sequence=st.lists(moves.MOVES, max_size=12))
def test_whatever_happens_gangs_stay_whole_and_the_set_gets_what_git_says(
    kind: str, strategy: str, seed: int, shape: dict[str, Any], sequence: list[moves.Move]
) -> None:
    asyncio.run(_play(seed, {**shape, "kind": kind, "strategy": strategy}, sequence))


@pytest.mark.timeout(900)
@given(
    kind=st.sampled_from([names.PODCLIQUESET, names.PODGANGSET]),
    seed=st.integers(0, 2**16),
    shape=moves.CROWDED,
    sequence=st.lists(moves.JOSTLING, max_size=12),
)
def test_gangs_stay_in_their_domains_where_others_take_room_and_give_it_back(
    kind: str, seed: int, shape: dict[str, Any], sequence: list[moves.Move]
) -> None:
    asyncio.run(_play(seed, {**shape, "kind": kind, "strategy": names.UPDATE_ROLLING_RECREATE}, sequence))


async def _play(seed: int, shape: dict[str, Any], sequence: list[moves.Move]) -> None:
    here = moves.Sequence(seed, shape)
    await here.begin()
    for move in sequence:
        await here.play(move)
        assert ends.torn(here) == [], move
    await here.calm()
    assert ends.faults(here) == []
    before = here.fleet.writes()
    here.fleet.watcher.dispatch.resync()
    await here.fleet.settle()
    assert here.fleet.writes() == before, "a look at everything at rest writes nothing"
