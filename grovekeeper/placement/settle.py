"""Placing a unit: its parts, then the units inside it, each in the best of its domains in which all of it fits.

Greedy first: where a later one fails, another order is tried, then the next domain. A `thorough` search then goes back
over the choices of earlier ones as well. Bounded by the search's tries. Cost: O(tries x levels x nodes of the domain).
"""

from collections.abc import Iterator, Sequence

from grovekeeper.placement import candidates, pack, parts, spreading
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.search import TRIES, Search, Spots

_WORK = 400_000
"""Nodes times parts times tries of a thorough search: what does not fit is to cost no more in a large cluster."""
_FEWEST_TRIES = 16
_END = object()


def settle(search: Search, unit: parts.Unit, rows: Ints) -> bool:
    """Place everything inside a unit whose rows are chosen; change nothing where that fails."""
    saved = search.saved()
    for _ in _ways(search, unit, rows):
        return True
    search.restore(saved)
    return False


def thorough(search: Search, unit: parts.Unit) -> bool:
    """Make a search that has failed a thorough one; return False where there is nothing to go back over."""
    leaves = [part for part in unit.leaves() if part.need]
    if len(leaves) < 2:
        return False
    search.thorough = True
    bound = any(part.bonds for part in leaves)
    fair = max(_FEWEST_TRIES, _WORK // max(1, len(search.among) * len(leaves)))
    search.tries = TRIES if bound else min(TRIES, fair)
    return True


def _ways(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[None]:
    """Yield with everything inside the unit placed, each time in another way; the last one is not taken back."""
    for _ in candidates.unions(search, unit, rows):
        for order in _orders(unit.units):
            yield from _sequence(search, unit, [*unit.parts, *order], rows)
            if search.tries <= 0:
                return


def _sequence(search: Search, unit: parts.Unit, items: Sequence[parts.Part | parts.Unit], rows: Ints) -> Iterator[None]:
    """Yield with all items placed, one after the other. Without recursion: a gang may have hundreds of units."""
    if not items:
        yield
        return
    stack = [_attempts(search, unit, items[0], rows)]
    while stack:
        if next(stack[-1], _END) is _END:
            stack.pop()
            if search.tries <= 0:
                return
        elif len(stack) == len(items):
            yield
        else:
            stack.append(_attempts(search, unit, items[len(stack)], rows))


def _attempts(search: Search, unit: parts.Unit, item: parts.Part | parts.Unit, rows: Ints) -> Iterator[None]:
    """Yield with a part or a unit placed; a greedy search does so once. Everything is taken back in the end."""
    saved = search.saved()
    if isinstance(item, parts.Part):
        if _place_part(search, unit, item, rows):
            yield
        search.restore(saved)
        return
    for option in _options(search, item, rows):
        for _ in _ways(search, item, option):
            if item.family:
                used = search.rows_chosen(part.position for part in item.leaves())
                search.siblings.setdefault(item.family, []).append(used + search.rows_of(item))
            yield
            if not search.thorough:
                search.restore(saved)
                return
        search.restore(saved)
        if search.tries <= 0:
            return


def _options(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[Ints]:
    """Yield sets of rows for a unit: those that it wants, best first, then those that may suit others better."""
    for among in candidates.spread(search, unit, rows) if unit.spread else (rows,):
        for found in candidates.candidates(search, unit, among):
            search.tries -= search.thorough
            yield found
        for found in candidates.candidates(search, unit, among) if search.thorough else ():
            for other in candidates.others(search, unit, found):
                search.tries -= 1
                yield other


def _place_part(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints) -> bool:
    if not part.need:
        return True
    found = _even(search, unit, part, rows, part.need) if unit.pods_spread else search.fill(part, rows, part.need)
    if found is None or sum(pods for _row, pods in found) < part.need:
        return False
    search.chosen[part.position] = found
    return True


def extras(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints) -> Spots:
    """Choose nodes for as many pods above the minimum as fit."""
    wanted = len(part.pods) - part.need
    if wanted <= 0:
        return []
    if unit.pods_spread:
        found = _even(search, unit, part, rows, wanted)
    else:
        found = search.fill(part, rows, min(wanted, int(search.capacity(part, rows)[rows].sum()))) or []
    search.chosen[part.position] = search.chosen.get(part.position, []) + found
    return found


def _even(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints, count: int) -> Spots:
    """Choose nodes for up to `count` pods that are spread over domains, and charge them."""
    search.tries -= 1
    mine = [each.position for each in unit.parts]
    there = [row for position in mine for row, pods in search.chosen.get(position, ()) for _ in range(pods)]
    capacity = search.capacity(part, rows)
    open_ = rows[part.allowed[rows]]
    result: Spots = []
    shares = spreading.shares(search.snapshot, unit.pods_spread, there + search.rows_of(unit), open_, capacity, count)
    for cell, share in shares:
        found = (
            pack.fill(
                capacity, cell, share, search.ids, used=search.taken(), whole=search.whole, nodes_from=search.nodes_from
            )
            or []
        )
        search.charge(part, found)
        result += found
    return result


def _orders(units: Sequence[parts.Unit]) -> Iterator[Sequence[parts.Unit]]:
    """Yield the units in the usual order, then with each later one first: a cheap answer to a greedy dead end."""
    yield units
    for position in range(1, min(len(units), 6)):
        yield [units[position], *units[:position], *units[position + 1 :]]
