"""The state of one search: what is free, what is chosen, how many pods of a part each node holds now.

What is tried is in `candidates`, how it is gone through in `settle`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from grovekeeper.placement import bonds, company, pack, parts, request
from grovekeeper.placement.nodes import Ints, Mask
from grovekeeper.placement.snapshot import Snapshot

TRIES = 256
"""Fillings of one greedy search, with what makes its answer cheaper."""
NOWHERE = -2
"""The number of no domain, and not that of nodes that are in none."""
Spots = list[tuple[int, int]]
"""Row and pods there."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a search had chosen at some moment."""

    log: int
    chosen: dict[int, Spots]
    siblings: dict[str, list[list[int]]]
    united: dict[bonds.United, int]


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
        self.thorough = False
        """Whether it goes back over the choices of earlier units where a later one fails."""
        self.keys: set[str] = set()
        """Label keys under which pods of the gang look at each other."""
        self.united: dict[bonds.United, int] = {}
        """The domain for pods that have to share one."""
        self.company: company.Company | None = None
        """Where there is room for those that follow, too."""
        self.near = [row for name in gang.near if (row := snapshot.row_of(name)) is not None]
        self.fixed: dict[str, list[int]] = {}
        """Rows of pods that have a node, by clique."""
        for group, name in gang.fixed.values():
            row = snapshot.row_of(name)
            if row is not None:
                self.fixed.setdefault(group, []).append(row)
        self.siblings: dict[str, list[list[int]]] = {}
        """Rows of units that have a place, by family: of those with pods on nodes, and those that it has placed."""
        for sub in gang.subgangs:
            there = [row for group in sub.groups for row in self.fixed.get(group, ())]
            if sub.family and there:
                self.siblings.setdefault(sub.family, []).append(there)

    def join(self, unit: parts.Unit) -> None:
        """Count a unit of a family that has been placed among its siblings; one that has pods on nodes is there."""
        there = self.rows_chosen(part.position for part in unit.leaves())
        if unit.family and there and not self.rows_of(unit):
            self.siblings.setdefault(unit.family, []).append(there)

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

    def saved(self) -> Saved:
        """Return what is chosen now, to be restored. O(parts)."""
        siblings = {family: list(known) for family, known in self.siblings.items()}
        return Saved(len(self.log), dict(self.chosen), siblings, dict(self.united))

    def restore(self, saved: Saved) -> None:
        """Take back everything that was chosen since."""
        self.undo(saved.log)
        self.chosen, self.united = dict(saved.chosen), dict(saved.united)
        self.siblings = {family: list(known) for family, known in saved.siblings.items()}

    def undo(self, mark: int) -> None:
        """Give back all room that was taken since the log had this length."""
        for row, pods, part in self.log[mark:]:
            self.free[row] += pods * part.vector
        del self.log[mark:]

    def capacity(
        self,
        part: parts.Part,
        rows: Ints | None = None,
        *,
        within: Ints | None = None,
        coming: Collection[int] = (),
    ) -> Ints:
        """Return how many pods of a part fit on each row now (0 but on `rows`), with regard to what the gang chose.

        Pods that keep apart are one a domain: each domain `within` by itself, where it is one of those that is to be
        chosen. `coming`: positions of parts that are placed before this one; whom it follows may be among them.
        """
        if rows is None:
            result = pack.capacities(self.free, part.vector, part.shape.one_per_node)
        else:
            result = np.zeros(len(self.free), dtype=np.int64)
            result[rows] = pack.capacities(self.free[rows], part.vector, part.shape.one_per_node)
        result[~part.allowed] = 0
        if part.bonds:
            result[~self._open(part, coming)] = 0
            for key, other in part.bonds.repelled:
                if other == part.position:
                    result = pack.one_each(result, _cells(self._ids(key), within))
        return result

    def _open(self, part: parts.Part, coming: Collection[int] = ()) -> Mask:
        """Return which rows are left to a part by what the others of its gang chose."""
        open_: Mask = np.ones(len(self.free), dtype=np.bool_)
        for united in part.bonds.united:
            domain = self.domain_of(united, part.position)
            if domain is not None:
                open_ &= self._ids(united.key) == domain
        following = part.bonds.following
        if following and following.peers and following.peers.isdisjoint(coming):
            there = self.rows_chosen(following.peers)
            for key, known in following.known.items():
                ids = self._ids(key)
                open_ &= np.isin(ids, [*known, *ids[there]])
        for key, other in part.bonds.repelled:
            ids = self._ids(key)
            open_ &= (ids < 0) | ~np.isin(ids, ids[self.rows_chosen([other])])
        return open_

    def domain_of(self, united: bonds.United, position: int) -> int | None:
        """Return the domain in which those that share one are, as far as it binds this member; None: any would do.

        `NOWHERE` where they are in several already, as those may whom only pods above the minimum ask to be near.
        """
        if united in self.united:
            return self.united[united]
        if united.optional and position not in united.askers and not self.rows_chosen(united.askers):
            return None
        ids = self._ids(united.key)
        domains = {int(ids[row]) for row in self.rows_chosen(united.members)}
        return min(domains, default=None) if len(domains) < 2 else NOWHERE

    def rows_chosen(self, positions: Iterable[int]) -> list[int]:
        """Return the rows chosen for these parts."""
        return [row for position in positions for row, _pods in self.chosen.get(position, ())]

    def _ids(self, key: str) -> Ints:
        return self.snapshot.domains(key)[0]

    def agrees(self, part: parts.Part, rows: Sequence[int]) -> bool:
        """Return whether a part whose pods are on these rows is in nobody's way, and near whom it asks for."""
        for key, other in part.bonds.repelled:
            domains = [int(number) for number in self._ids(key)[list(rows)] if number >= 0]
            if other == part.position and len(set(domains)) < len(domains):
                return False
        if any(len(set(self._ids(united.key)[list(rows)].tolist())) > 1 for united in part.bonds.united):
            return False
        return bool(self._open(part)[list(rows)].all())

    def fill(self, part: parts.Part, rows: Ints, count: int, *, most: int | None = None) -> Spots | None:
        """Choose nodes among `rows` for so many pods of a part, and charge them; None where they do not fit.

        `most`: so many on a node at most; where it is below 0, so many less than would fit, but one.
        """
        self.tries -= 1
        capacity = self.capacity(part, rows)
        if most is not None:
            capacity = np.minimum(capacity, np.maximum(capacity + most, 1) if most < 0 else most)
        found = pack.fill(
            capacity,
            rows,
            count,
            self.ids,
            used=self.taken(),
            whole=self.whole,
            nodes_from=self.nodes_from,
        )
        self.charge(part, found or [])
        return found


def _cells(ids: Ints, within: Ints | None) -> Ints:
    """Return numbers of the pairs of domains; -1 where a row is in no domain of the first kind."""
    if within is None:
        return ids
    return np.where(ids < 0, -1, ids * (int(within.max(initial=-1)) + 2) + within + 1)


def _whole(snapshot: Snapshot, levels: Sequence[Ints]) -> list[Mask]:
    rows = snapshot.whole()
    result = []
    for ids in levels:
        known = ids >= 0
        busy = np.bincount(ids[known], weights=~rows[known], minlength=int(ids.max(initial=-1)) + 1) > 0
        result.append(np.where(known, ~busy[ids], False) if len(busy) else np.zeros(len(ids), dtype=np.bool_))
    return [*result, rows]
