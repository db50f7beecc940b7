"""Filling without sorting: the same answers as the plain way, on domains of any shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grovekeeper.placement import pack

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(-1, 9), st.sampled_from([0, 1, 2, 3, 8, 5000])), min_size=1, max_size=40
)


def plain(rows: list[tuple[int, int, int]], count: int, left: int) -> list[float]:
    """Return how many inner domains each outer one needs, the largest first."""
    result = []
    for domain in range(count):
        inner: dict[int, int] = {}
        for outer, number, room in rows:
            if outer == domain:
                inner[number] = inner.get(number, 0) + room
        sums = np.cumsum(sorted(inner.values(), reverse=True))
        result.append(next((place + 1.0 for place, total in enumerate(sums) if total >= left), np.inf))
    return result


@given(ROWS, st.sampled_from([0, 1, 2, 5, 17, 4000]), st.booleans())
def test_the_fewest_inner_domains_are_counted(rows: list[tuple[int, int, int]], left: int, nested: bool) -> None:
    if nested:
        rows = [(max(number, 0) % 5, number, room) for _outer, number, room in rows]
    outer, inner, room = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    assert pack.parts_needed(room, outer, inner, 6, left).tolist() == plain(rows, 6, left)


def test_many_rooms_of_different_sizes_are_sorted_and_not_counted() -> None:
    rows = [(number % 3, number, 40 * number) for number in range(300)]
    outer, inner, room = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    for left in (1, 900, 50_000, 10**9):
        assert pack.parts_needed(room, outer, inner, 4, left).tolist() == plain(rows, 4, left)


def test_without_rows_nothing_holds_anything() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert pack.parts_needed(none, none, none, 2, 1).tolist() == [np.inf, np.inf]
    assert [each.tolist() for each in pack.numbered(none)] == [[], []]


@given(st.lists(st.integers(-1, 12), max_size=30), st.lists(st.integers(-1, 20), max_size=6))
def test_numbers_are_found_and_numbered_as_numpy_does(ids: list[int], numbers: list[int]) -> None:
    found = np.array(ids, dtype=np.int64)
    assert pack.among(found, numbers).tolist() == np.isin(found, numbers).tolist()
    distinct, inverse = np.unique(found, return_inverse=True)
    assert [each.tolist() for each in pack.numbered(found)] == [distinct.tolist(), inverse.tolist()]


@pytest.mark.parametrize("used", [None, [], [2]])
def test_nodes_in_use_come_first(used: list[int] | None) -> None:
    capacity, rows = np.array([3, 1, 3], dtype=np.int64), np.arange(3)
    taken = np.array(used, dtype=np.int64) if used is not None else None
    assert pack.fill(capacity, rows, 3, [], used=taken) == [(2 if used else 0, 3)]
