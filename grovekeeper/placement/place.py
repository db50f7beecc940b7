"""The decision: a gang against a snapshot, all or nothing for the minimum, best effort beyond.

Search, per gang: the domains of the required level that could hold every group by count, those that waste least
first; preferred levels narrower than it are tried before, narrowest first. Inside a domain, parts with a constraint of
their own come first, the largest of them first; when a later part fails, the order of the parts is rotated and the
next domain is tried. Bounded by `TRIES` fillings. Cost: O(tries x groups x levels x nodes of the domain).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from grovekeeper.placement import explain, pack, request, spreading
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.snapshot import Ints, Snapshot

TRIES = 256


@dataclass(slots=True)
class Part:
    """One group as the search sees it."""

    name: str
    pods: tuple[request.PodAsk, ...]
    need: int
    """Pods of the minimum that still want a node."""
    shape: shapes.Shape
    vector: Ints
    allowed: Ints
    """Rows that may take the pods."""
    constraint: request.Constraint


@dataclass(slots=True)
class Unit:
    """Parts that share a constraint: a scaling-group replica, or a single clique."""

    parts: list[Part]
    constraint: request.Constraint
    family: str = ""
    spread: tuple[request.Spread, ...] = ()
    peers: tuple[tuple[str, ...], ...] = ()


class Search:
    """The state of one search: free room, what is chosen, how many tries are left."""

    def __init__(self, snapshot: Snapshot, gang: request.GangAsk) -> None:
        self.snapshot = snapshot
        self.free = snapshot.free()
        for node, requests in snapshot.higher_nominations(gang.priority):
            row, vector = snapshot.row_of(node), snapshot.vector(requests)
            if row is not None and vector is not None:
                self.free[row] += vector
        self.levels = [key for key in gang.levels if len(snapshot.domains(key)[1])]
        self.chosen: dict[str, list[tuple[int, int]]] = {}
        self.tries = TRIES
        self.siblings: dict[str, list[list[int]]] = {}
        """Rows of the subgangs that this search has placed, by family."""
        self.near = [row for name in gang.near if (row := snapshot.row_of(name)) is not None]

    def _holds_several(self, key: str) -> bool:
        """Return whether domains of a level have more than one node on average: one node is a host, not a level."""
        ids, names = self.snapshot.domains(key)
        return len(names) * 2 <= int((ids >= 0).sum())

    def narrowings(self, constraint: request.Constraint, *, wide: bool = False) -> list[str | None]:
        """Return the levels to try, narrowest wish first, the required one (or None: anywhere) last."""
        required, preferred = constraint.required, constraint.preferred
        if preferred is None and wide:
            # Nobody asked, and it costs nobody anything: fewest domains at each level.
            preferred = next((key for key in reversed(self.levels) if self._holds_several(key)), None)
        first = self.levels.index(required) if required in self.levels else -1
        last = self.levels.index(preferred) if preferred in self.levels else first
        return [self.levels[i] if i >= 0 else None for i in range(max(last, first), first - 1, -1)]


def place(gang: request.GangAsk, snapshot: Snapshot) -> request.Placement | request.Reasons:
    """Return where every pod of the minimum goes (and as many others as fit), or why not. Changes nothing."""
    units, trouble = _units(gang, snapshot)
    if trouble is not None:
        return trouble
    search = Search(snapshot, gang)
    missing = [key for unit in units for key in _labels(unit) if key not in search.levels]
    missing += [rule.level for rule in _rules(gang) if rule.required and not snapshot.domains(rule.level)[1]]
    required = gang.constraint.required
    if (required and required not in search.levels) or missing:
        return explain.unknown_level(required or missing[0])
    everything = snapshot.rows()
    fixed = _fixed_rows(gang, snapshot)
    again = _back_home(gang, units, search)
    if again is not None:
        return again
    whole = Unit([part for unit in units for part in unit.parts], gang.constraint, "", gang.spread, gang.spread_peers)
    for spread_out in _spread(search, whole, everything, fixed):
        for rows in _candidates(search, whole, spread_out, fixed, wide=True):
            if _best_order(search, units, rows, gang, snapshot):
                return _finished(gang, units, search, rows)
    return explain.reasons(gang, whole.parts, search.levels, snapshot)


def _best_order(search: Search, units: list[Unit], rows: Ints, gang: request.GangAsk, snapshot: Snapshot) -> bool:
    """Place the units in the order that uses the fewest domains, from the top; leave that as the search's choice."""
    start = search.free.copy()
    best: tuple[tuple[int, ...], dict[str, list[tuple[int, int]]], Ints] | None = None
    for order in _orders(units):
        if _place_units(search, order, rows, gang, snapshot):
            used = _domains_used(search)
            if best is None or used < best[0]:
                best = used, dict(search.chosen), search.free
            search.free = start.copy()
            if sum(used[:-1]) <= len(used) - 1:
                break  # one domain at every level above the nodes
    if best is None:
        return False
    _used, search.chosen, search.free = best
    return True


def _domains_used(search: Search) -> tuple[int, ...]:
    """Return how many domains the chosen rows use, by level, broadest first."""
    rows = np.array([row for spots in search.chosen.values() for row, _pods in spots], dtype=np.int64)
    return tuple(len(np.unique(search.snapshot.domains(key)[0][rows])) for key in search.levels)


def _back_home(gang: request.GangAsk, units: Sequence[Unit], search: Search) -> request.Placement | None:
    """Return the placement in which every pod goes where it is nominated, if all of them are and still fit.

    The nodes met the constraints when they were chosen; topology labels do not change under a running gang.
    """
    before = search.free.copy()
    for unit in units:
        for part in unit.parts:
            rows = [search.snapshot.row_of(pod.nominated) if pod.nominated else None for pod in part.pods]
            for row in rows:
                if row is None or row not in part.allowed or (search.free[row] < part.vector).any():
                    search.free = before
                    return None
                search.free[row] -= part.vector
    nodes = {pod.name: str(pod.nominated) for group in gang.groups for pod in group.pods}
    return request.Placement(nodes, (), {}, 1.0) if nodes else None


def _units(gang: request.GangAsk, snapshot: Snapshot) -> tuple[list[Unit], request.Reasons | None]:
    parts: dict[str, Part] = {}
    for group in gang.groups:
        here = sum(1 for name, _node in gang.fixed.values() if name == group.name)
        need = max(0, group.minimum - here)
        if not group.pods:
            if need:
                return [], request.Reasons(f"{group.name}: {need} pods of the minimum do not exist yet")
            continue
        try:
            shape = shapes.shape(group.pods[0].spec, group.pods[0].labels)
        except ValueError as error:
            return [], request.Reasons(f"{group.name}: {error}", never=True)
        vector = snapshot.vector(shape.requests)
        if vector is None:
            known = snapshot.resource_names()
            absent = next(name for name in shape.requests if name not in known)
            return [], request.Reasons(f"{group.name}: no node has any {absent}", never=True)
        allowed = snapshot.eligible(shape.spec)
        if gang.closed:
            allowed = allowed.copy()
            allowed[[row for name in gang.closed if (row := snapshot.row_of(name)) is not None]] = False
        rows = np.flatnonzero(allowed).astype(np.int64)
        parts[group.name] = Part(group.name, group.pods, need, shape, vector, rows, group.constraint)
    units = []
    taken: set[str] = set()
    for subgang in gang.subgangs:
        mine = [parts[name] for name in subgang.groups if name in parts]
        taken.update(subgang.groups)
        units.append(Unit(mine, subgang.constraint, subgang.family, subgang.spread, subgang.spread_peers))
    units += [Unit([part], part.constraint) for name, part in parts.items() if name not in taken]
    units.sort(key=lambda unit: (unit.constraint.required is None, -_weight(unit)))
    return units, None


def _weight(unit: Unit) -> int:
    """Return how hard a unit is to place: pods times what they ask for of the scarcest-looking resource."""
    return max((part.need * int(part.vector[1:].max(initial=1)) for part in unit.parts), default=0)


def _rules(gang: request.GangAsk) -> list[request.Spread]:
    return [*gang.spread, *(rule for subgang in gang.subgangs for rule in subgang.spread)]


def _labels(unit: Unit) -> list[str]:
    wanted = [unit.constraint.required, *(part.constraint.required for part in unit.parts)]
    return [key for key in wanted if key]


def _orders(units: list[Unit]) -> Iterator[list[Unit]]:
    """Yield the units in the usual order, then with each later one first: a cheap answer to a greedy dead end."""
    yield units
    for position in range(1, min(len(units), 6)):
        yield [units[position], *units[:position], *units[position + 1 :]]


def _spread(search: Search, unit: Unit, rows: Ints, fixed: list[int]) -> Iterator[Ints]:
    """Yield the rows among which the unit may be placed with regard to its siblings, best first."""
    if not unit.spread or fixed:
        # What has a place already stays there: the rest of it goes where it is.
        yield rows
        return
    mask = np.ones(len(search.free), dtype=np.bool_)
    for part in unit.parts:
        mask &= np.isin(np.arange(len(mask)), part.allowed)
    inside = np.zeros(len(search.free), dtype=np.bool_)

    def ranked(ids: Ints, among: Ints) -> list[int]:
        inside[:] = False
        inside[among] = True
        return _fitting(search, unit, ids, inside, fixed)

    others = [[row for name in peer if (row := search.snapshot.row_of(name)) is not None] for peer in unit.peers]
    peers = others + search.siblings.get(unit.family, []) if unit.family else others
    yield from spreading.options(search.snapshot, unit.spread, peers, rows, np.flatnonzero(mask), ranked)


def _candidates(search: Search, unit: Unit, rows: Ints, fixed: list[int], *, wide: bool = False) -> Iterator[Ints]:
    """Yield sets of rows that could hold the unit, best first: narrowest level, then least room to spare."""
    inside = np.zeros(len(search.free), dtype=np.bool_)
    inside[rows] = True
    for key in search.narrowings(unit.constraint, wide=wide):
        if key is None:
            yield rows
            continue
        ids, _names = search.snapshot.domains(key)
        for domain in _fitting(search, unit, ids, inside, fixed):
            yield np.flatnonzero(inside & (ids == domain)).astype(np.int64)


def _fitting(
    search: Search, unit: Unit, ids: Ints, inside: "np.typing.NDArray[np.bool_]", fixed: list[int]
) -> list[int]:
    forced = {int(ids[row]) for row in fixed}
    if len(forced) > 1:
        return []
    count = int(ids.max(initial=-1)) + 1
    usable = np.ones(count, dtype=np.bool_)
    spare = np.zeros(count, dtype=np.int64)
    parts = np.zeros(count)
    below = [search.snapshot.domains(level)[0] for level in search.levels]
    position = next((i for i, found in enumerate(below) if found is ids), len(below))
    for part in unit.parts:
        capacity = pack.capacities(search.free, part.vector, part.shape.one_per_node)
        mask = np.zeros(len(ids), dtype=np.bool_)
        mask[part.allowed] = True
        mask &= inside & (ids >= 0)
        totals = np.bincount(ids[mask], weights=capacity[mask], minlength=count).astype(np.int64)
        usable &= totals >= part.need
        spare += (totals - part.need) * int(part.vector[1:].max(initial=1))
        if position + 1 < len(below) and mask.any():
            parts += pack.parts_needed(capacity[mask], ids[mask], below[position + 1][mask], count, part.need)
    near = {int(ids[row]) for row in search.near}
    found = [int(domain) for domain in np.flatnonzero(usable) if not forced or int(domain) in forced]
    return sorted(found, key=lambda domain: (domain not in near, parts[domain], int(spare[domain]), domain))


def _place_units(search: Search, units: Sequence[Unit], rows: Ints, gang: request.GangAsk, snapshot: Snapshot) -> bool:
    before = search.free.copy()
    search.chosen.clear()
    search.siblings.clear()
    for unit in units:
        if search.tries <= 0 or not _place_unit(search, unit, rows, gang, snapshot):
            search.free = before
            return False
    return True


def _place_unit(search: Search, unit: Unit, rows: Ints, gang: request.GangAsk, snapshot: Snapshot) -> bool:
    fixed = _fixed_rows(gang, snapshot, {part.name for part in unit.parts})
    single = len(unit.parts) == 1
    spread = _spread(search, unit, rows, fixed) if unit.family else iter([rows])
    for candidate in (found for each in spread for found in _candidates(search, unit, each, fixed)):
        before = search.free.copy()
        if all(_place_part(search, part, candidate, gang, snapshot, inherit=single) for part in unit.parts):
            if unit.family:
                used = [row for part in unit.parts for row, _pods in search.chosen.get(part.name, ())]
                search.siblings.setdefault(unit.family, []).append(used + fixed)
            return True
        search.free = before
        if search.tries <= 0:
            break
    return False


def _place_part(
    search: Search, part: Part, rows: Ints, gang: request.GangAsk, snapshot: Snapshot, *, inherit: bool
) -> bool:
    """Place one group's minimum inside `rows`; its own constraint has been honoured already where `inherit`."""
    options: Iterator[Ints] = iter([rows])
    if not inherit and part.constraint != request.Constraint():
        fixed = _fixed_rows(gang, snapshot, {part.name})
        options = _candidates(search, Unit([part], part.constraint), rows, fixed)
    for candidate in options:
        search.tries -= 1
        found = _fill(search, part, candidate, part.need)
        if found is not None:
            search.chosen[part.name] = found
            return True
        if search.tries <= 0:
            break
    return False


def _fill(search: Search, part: Part, rows: Ints, count: int) -> list[tuple[int, int]] | None:
    capacity = pack.capacities(search.free, part.vector, part.shape.one_per_node)
    usable = _usable(search, part, rows)
    levels = [search.snapshot.domains(key)[0] for key in search.levels]
    taken = [row for spots in search.chosen.values() for row, _pods in spots]
    found = pack.fill(capacity, usable, count, levels, np.array(taken, dtype=np.int64))
    for row, pods in found or ():
        search.free[row] -= pods * part.vector
    return found


def _usable(search: Search, part: Part, rows: Ints) -> Ints:
    """Return those of the rows that may take the part's pods."""
    mask = np.zeros(len(search.free), dtype=np.bool_)
    mask[part.allowed] = True
    found: Ints = rows[mask[rows]]
    return found


def _finished(gang: request.GangAsk, units: Sequence[Unit], search: Search, rows: Ints) -> request.Placement:
    nodes: dict[str, str] = {}
    left_out: list[str] = []
    names = search.snapshot.node_names()
    used: list[int] = []
    for unit in units:
        for part in unit.parts:
            spots = [row for row, pods in search.chosen.get(part.name, ()) for _ in range(pods)]
            spots += _extras(search, part, _confined(search, unit, part, rows))
            used += spots
            for pod, node in _assigned(part.pods, [str(names[row]) for row in spots]):
                nodes[pod.name] = node
            left_out += [pod.name for pod in part.pods if pod.name not in nodes]
    domains = {
        key: tuple(
            sorted(
                {
                    search.snapshot.domains(key)[1][number]
                    for row in used
                    if (number := int(search.snapshot.domains(key)[0][row])) >= 0
                }
            )
        )
        for key in search.levels
    }
    return request.Placement(nodes, tuple(left_out), domains, _score(gang, domains))


def _confined(search: Search, unit: Unit, part: Part, rows: Ints) -> Ints:
    """Return the rows that pods beyond the minimum may use: within the domains that bind the minimum."""
    chosen = [row for row, _pods in search.chosen.get(part.name, ())]
    for key in (unit.constraint.required, part.constraint.required):
        if key and chosen:
            ids, _names = search.snapshot.domains(key)
            rows = rows[np.isin(ids[rows], ids[chosen])]
    return rows


def _extras(search: Search, part: Part, rows: Ints) -> list[int]:
    wanted = len(part.pods) - part.need
    if wanted <= 0:
        return []
    capacity = pack.capacities(search.free, part.vector, part.shape.one_per_node)
    usable = _usable(search, part, rows)
    possible = min(wanted, int(capacity[usable].sum()))
    found = _fill(search, part, rows, possible) or []
    return [row for row, pods in found for _ in range(pods)]


def _assigned(pods: Sequence[request.PodAsk], spots: list[str]) -> list[tuple[request.PodAsk, str]]:
    """Give each pod a spot: its nominated node where that is among them, else in order."""
    left = list(spots)
    result: list[tuple[request.PodAsk, str]] = []
    later: list[request.PodAsk] = []
    for pod in pods:
        if pod.nominated in left:
            left.remove(str(pod.nominated))
            result.append((pod, str(pod.nominated)))
        else:
            later.append(pod)
    return result + list(zip(later, left, strict=False))


def _score(gang: request.GangAsk, domains: dict[str, tuple[str, ...]]) -> float:
    """Return 1.0 when the preferred (or the narrowest required) level was kept to one domain, less for each more."""
    wish = gang.constraint.preferred or gang.constraint.required
    if wish is None or wish not in domains:
        return 1.0
    return round(1.0 / max(1, len(domains[wish])), 4)


def _fixed_rows(gang: request.GangAsk, snapshot: Snapshot, groups: set[str] | None = None) -> list[int]:
    rows = [snapshot.row_of(node) for group, node in gang.fixed.values() if groups is None or group in groups]
    return [row for row in rows if row is not None]
