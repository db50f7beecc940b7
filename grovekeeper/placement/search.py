"""One search: domains for a unit, best first; inside one, its units and parts; back where a later one fails.

Bounded by `TRIES` fillings. Cost: O(tries x levels x nodes of the domain).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from grovekeeper.placement import pack, parts, request, spreading
from grovekeeper.placement.nodes import Ints, Mask
from grovekeeper.placement.snapshot import Snapshot

TRIES = 256
Spots = list[tuple[int, int]]
"""Row and pods there."""


class Search:
    """The state of one search: free room, what is chosen, how many tries are left."""

    def __init__(self, snapshot: Snapshot, gang: request.GangAsk, among: Ints) -> None:
        self.snapshot = snapshot
        self.among = among
        """The rows to which it is confined."""
        self.free = snapshot.free()
        for node, requests in snapshot.higher_nominations(gang.priority):
            row, vector = snapshot.row_of(node), snapshot.vector(requests)
            if row is not None and vector is not None:
                self.free[row] += vector
        self.levels = [key for key in gang.levels if len(snapshot.domains(key)[1])]
        self.ids = [snapshot.domains(key)[0] for key in self.levels]
        self.wide = [level for level in range(len(self.ids)) if self._holds_several(level)]
        """Levels whose domains have more than one node on average: where one is a node, it is a host, not a level."""
        self.nodes_from = next((level for level in range(len(self.ids)) if self._are_nodes(level)), None)
        self.whole = _whole(snapshot, self.ids)
        """By level, and by row in the end: which rows are in a domain with nothing on it."""
        self.chosen: dict[int, Spots] = {}
        """By position of the part."""
        self.log: list[tuple[int, int, parts.Part]] = []
        """Row, pods, part: what has been charged to `free`, to be taken back where a search fails."""
        self.tries = TRIES
        self.siblings: dict[str, list[list[int]]] = {}
        """Rows of the units that this search has placed, by family."""
        self.near = [row for name in gang.near if (row := snapshot.row_of(name)) is not None]
        self.fixed: dict[str, list[int]] = {}
        """Rows of pods that have a node, by clique."""
        for group, name in gang.fixed.values():
            row = snapshot.row_of(name)
            if row is not None:
                self.fixed.setdefault(group, []).append(row)

    def rows_of(self, unit: parts.Unit) -> list[int]:
        """Return the rows of a unit's pods that have a node already."""
        return [row for group in unit.groups for row in self.fixed.get(group, ())]

    def taken(self) -> Ints:
        """Return the rows that the gang uses: chosen, or of pods that have a node."""
        chosen = [row for spots in self.chosen.values() for row, _pods in spots]
        kept = [row for rows in self.fixed.values() for row in rows]
        return np.array(chosen + kept, dtype=np.int64)

    def _holds_several(self, level: int) -> bool:
        ids = self.ids[level]
        return (int(ids.max(initial=-1)) + 1) * 2 <= int((ids >= 0).sum())

    def _are_nodes(self, level: int) -> bool:
        ids = self.ids[level]
        return int(ids.max(initial=-1)) + 1 == len(self.snapshot)

    def narrowings(self, unit: parts.Unit, *, wide: bool = False) -> list[str | None]:
        """Return the levels to try, narrowest wish first, the required one (or None: anywhere) last.

        What is to be spread inside the unit is not packed by a wish into one domain of the level that it is spread
        over.
        """
        required, preferred = unit.constraint.required, unit.constraint.preferred
        if required is not None and required not in self.levels:
            return [required]
        inner = [rule.level for each in unit.everyone() for rule in each.pods_spread]
        inner += [rule.level for each in unit.everyone() if each is not unit for rule in each.spread]
        if preferred is None and wide and not inner:
            # Nobody asked, and it costs nobody anything: fewest domains at each level.
            preferred = self.levels[self.wide[-1]] if self.wide else None
        first = self.levels.index(required) if required in self.levels else -1
        last = self.levels.index(preferred) if preferred in self.levels else first
        broadest = min(
            (self.levels.index(key) if key in self.levels else -1 for key in inner), default=len(self.levels)
        )
        last = max(first, min(last, broadest - 1))
        return [self.levels[i] if i >= 0 else None for i in range(last, first - 1, -1)]

    def charge(self, part: parts.Part, spots: Spots) -> None:
        """Take the room of pods."""
        for row, pods in spots:
            self.free[row] -= pods * part.vector
            self.log.append((row, pods, part))

    def undo(self, mark: int) -> None:
        """Give back all room that was taken since the log had this length."""
        for row, pods, part in self.log[mark:]:
            self.free[row] += pods * part.vector
        del self.log[mark:]

    def capacity(self, part: parts.Part, rows: Ints | None = None) -> Ints:
        """Return how many pods of a part fit on each row now (0 but on `rows`), with regard to what the gang chose."""
        if rows is None:
            result = pack.capacities(self.free, part.vector, part.shape.one_per_node)
        else:
            result = np.zeros(len(self.free), dtype=np.int64)
            result[rows] = pack.capacities(self.free[rows], part.vector, part.shape.one_per_node)
        result[~part.allowed] = 0
        for key, other in part.bonds.repelled:
            ids, _names = self.snapshot.domains(key)
            if other == part.position:
                result = pack.one_each(result, ids)
            there = [row for row, _pods in self.chosen.get(other, ())]
            result[np.isin(ids, np.unique(ids[there])) & (ids >= 0)] = 0
        for key, other in part.bonds.attracted:
            there = [row for row, _pods in self.chosen.get(other, ())]
            if there:
                ids, _names = self.snapshot.domains(key)
                result[~np.isin(ids, np.unique(ids[there]))] = 0
        return result

    def fill(self, part: parts.Part, rows: Ints, count: int) -> Spots | None:
        """Choose nodes among `rows` for so many pods of a part, and charge them; None where they do not fit."""
        self.tries -= 1
        found = pack.fill(
            self.capacity(part, rows),
            rows,
            count,
            self.ids,
            used=self.taken(),
            whole=self.whole,
            nodes_from=self.nodes_from,
        )
        self.charge(part, found or [])
        return found


def candidates(search: Search, unit: parts.Unit, rows: Ints, *, wide: bool = False) -> Iterator[Ints]:
    """Yield sets of rows that could hold the unit, best first: narrowest level, then least room to spare."""
    together = {key for part in unit.parts for key in part.bonds.together}
    for key in search.narrowings(unit, wide=wide):
        if key is None:
            yield from _united(search, unit, rows, sorted(together))
            continue
        inside = np.zeros(len(search.free), dtype=np.bool_)
        inside[rows] = True
        ids, _names = search.snapshot.domains(key)
        for domain in fitting(search, unit, ids, inside):
            found = np.flatnonzero(inside & (ids == domain)).astype(np.int64)
            yield from _united(search, unit, found, sorted(together - {key}))


def _united(search: Search, unit: parts.Unit, rows: Ints, keys: Sequence[str]) -> Iterator[Ints]:
    """Yield the parts of `rows` that are in one domain of each of the keys: for pods with affinity to each other."""
    if not keys:
        yield rows
        return
    inside = np.zeros(len(search.free), dtype=np.bool_)
    inside[rows] = True
    ids, _names = search.snapshot.domains(keys[0])
    for domain in fitting(search, unit, ids, inside):
        found = np.flatnonzero(inside & (ids == domain)).astype(np.int64)
        yield from _united(search, unit, found, keys[1:])


def fitting(search: Search, unit: parts.Unit, ids: Ints, inside: Mask) -> list[int]:
    """Return the domains that could hold every part of the unit by count, best first.

    Best: near the base gang, fewest domains of the next level (but for nodes: see below), not whole, least room to
    spare, name.
    """
    forced = {int(ids[row]) for row in search.rows_of(unit)}
    if len(forced) > 1:
        return []
    count = int(ids.max(initial=-1)) + 1
    usable = np.ones(count, dtype=np.bool_)
    spare = np.zeros(count, dtype=np.int64)
    needed = np.zeros(count)
    position = next((i for i, found in enumerate(search.ids) if found is ids), len(search.ids))
    for part in unit.leaves():
        capacity = search.capacity(part)
        mask = inside & (ids >= 0) & (capacity > 0)
        totals = np.bincount(ids[mask], weights=capacity[mask], minlength=count).astype(np.int64)
        usable &= totals >= part.need
        spare += (totals - part.need) * part.size()
        if position + 1 < len(search.ids) and mask.any():
            below = search.ids[position + 1][mask]
            needed += pack.parts_needed(capacity[mask], ids[mask], below, count, part.need)
    near = {int(ids[row]) for row in search.near}
    untouched = np.zeros(count, dtype=np.bool_)
    if position < len(search.ids):
        known = ids >= 0
        untouched[ids[known]] = search.whole[position][known]
    found = [int(domain) for domain in np.flatnonzero(usable) if not forced or int(domain) in forced]
    if position + 1 in search.wide:
        return sorted(found, key=lambda d: (d not in near, needed[d], bool(untouched[d]), int(spare[d]), d))
    # What comes next is nodes: a whole domain that stays whole is worth more than a node.
    return sorted(found, key=lambda d: (d not in near, bool(untouched[d]), needed[d], int(spare[d]), d))


def settle(search: Search, unit: parts.Unit, rows: Ints) -> bool:
    """Place everything inside a unit whose rows are chosen; change nothing where that fails."""
    mark, chosen = len(search.log), dict(search.chosen)
    siblings = {family: list(known) for family, known in search.siblings.items()}
    for order in _orders(unit.units):
        if all(_place_part(search, unit, part, rows) for part in unit.parts) and all(
            place_unit(search, each, rows) for each in order
        ):
            return True
        search.undo(mark)
        search.chosen = dict(chosen)
        search.siblings = {family: list(known) for family, known in siblings.items()}
        if search.tries <= 0:
            break
    return False


def place_unit(search: Search, unit: parts.Unit, rows: Ints) -> bool:
    """Place a unit in the best of its domains in which all of it fits."""
    options = spread(search, unit, rows) if unit.spread else iter([rows])
    for candidate in (found for each in options for found in candidates(search, unit, each)):
        if settle(search, unit, candidate):
            if unit.family:
                used = [row for part in unit.leaves() for row, _pods in search.chosen.get(part.position, ())]
                search.siblings.setdefault(unit.family, []).append(used + search.rows_of(unit))
            return True
        if search.tries <= 0:
            break
    return False


def spread(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[Ints]:
    """Yield the rows among which the unit may be placed with regard to its siblings, best first."""
    if not unit.spread or search.rows_of(unit):
        # What has a place already stays there: the rest of it goes where it is.
        yield rows
        return
    mask = np.ones(len(search.free), dtype=np.bool_)
    for part in unit.leaves():
        mask &= part.allowed
    inside = np.zeros(len(search.free), dtype=np.bool_)

    def ranked(ids: Ints, among: Ints) -> list[int]:
        inside[:] = False
        inside[among] = True
        return fitting(search, unit, ids, inside)

    others = [[row for name in peer if (row := search.snapshot.row_of(name)) is not None] for peer in unit.peers]
    peers = others + search.siblings.get(unit.family, []) if unit.family else others
    yield from spreading.options(search.snapshot, unit.spread, peers, rows, np.flatnonzero(mask), ranked)


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
        found = search.fill(part, rows, min(wanted, int(search.capacity(part)[rows].sum()))) or []
    search.chosen[part.position] = search.chosen.get(part.position, []) + found
    return found


def _even(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints, count: int) -> Spots:
    """Choose nodes for up to `count` pods that are spread over domains, and charge them."""
    search.tries -= 1
    mine = [each.position for each in unit.parts]
    there = [row for position in mine for row, pods in search.chosen.get(position, ()) for _ in range(pods)]
    capacity = search.capacity(part)
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


def _whole(snapshot: Snapshot, levels: Sequence[Ints]) -> list[Mask]:
    rows = snapshot.whole()
    result = []
    for ids in levels:
        known = ids >= 0
        busy = np.bincount(ids[known], weights=~rows[known], minlength=int(ids.max(initial=-1)) + 1) > 0
        result.append(np.where(known, ~busy[ids], False) if len(busy) else np.zeros(len(ids), dtype=np.bool_))
    return [*result, rows]
