"""The decision: a gang against a snapshot, all or nothing for the minimum, best effort beyond.

The domains of the required level that could hold every clique by count are tried, best first (`search`); the first
answer is made cheaper (`improve`); then pods above the minimum get what is left inside the domains of the minimum.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from grovekeeper.placement import bonds, candidates, company, explain, homes, improve, parts, request
from grovekeeper.placement import search as searching
from grovekeeper.placement import settle as settling
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.snapshot import Snapshot


def place(
    gang: request.GangAsk, snapshot: Snapshot, *, among: Ints | None = None
) -> request.Placement | request.Reasons:
    """Return where every pod of the minimum goes (and as many others as fit), or why not. Changes nothing.

    `among` is the rows to which the search is confined; all where it is not given.
    """
    some = homes.parting(gang, snapshot)
    if some is not None:
        answer = _place(some.rest, snapshot, among, some.taken)
        if not isinstance(answer, request.Reasons):
            return _told(gang, snapshot, {**some.home, **answer})
    answer = _place(gang, snapshot, among, None)
    return answer if isinstance(answer, request.Reasons) else _told(gang, snapshot, answer)


def _place(
    gang: request.GangAsk, snapshot: Snapshot, among: Ints | None, taken: Ints | None
) -> Mapping[str, str] | request.Reasons:
    """Return pod name to node name, or why not. `taken` is what pods of the gang take that go home."""
    root = parts.tree(gang, snapshot)
    if isinstance(root, request.Reasons):
        return root
    nothing = explain.absent(root, snapshot) if not len(snapshot) else None
    if nothing is not None:
        return nothing
    unknown = next((key for unit in root.everyone() for key in _labels(unit) if not snapshot.domains(key)[1]), None)
    if unknown is not None:
        return explain.unknown_level(unknown)
    leaves = sorted(root.leaves(), key=lambda part: part.position)
    stranded = set(bonds.stranded([part.bonds for part in leaves]))
    if any(part.need and part.position in stranded for part in leaves):
        return explain.stranded([part.name for part in leaves if part.position in stranded])
    search = searching.Search(snapshot, gang, snapshot.rows() if among is None else among)
    if taken is not None:
        search.free[:, : taken.shape[1]] -= taken
    again = homes.everybody(gang, root, search)
    if again is not None:
        return again
    wide = [search.ids[level] for level in search.wide]
    search.company = company.company(gang, root, snapshot, search.free, wide)
    options = _options(search, root)
    for rows in options:
        if settling.settle(search, root, rows):
            # Only what needs no wider level than this answer can be better.
            improve.improved(search, root, rows, options)
            return _finished(root, search)
    if settling.thorough(search, root, _options(search, root)):
        return _finished(root, search)
    return explain.reasons(gang, root, search)


def _options(search: searching.Search, root: parts.Unit) -> Iterator[Ints]:
    for found in candidates.spread(search, root, search.among):
        yield from candidates.candidates(search, root, found, wide=True)


def _labels(unit: parts.Unit) -> Iterator[str]:
    if unit.constraint.required:
        yield unit.constraint.required
    yield from (rule.level for rule in (*unit.spread, *unit.pods_spread) if rule.required)
    yield from (united.key for united in unit.united)


def _finished(root: parts.Unit, search: searching.Search) -> Mapping[str, str]:
    nodes: dict[str, str] = {}
    _assign(search, root, search.among, nodes)
    return nodes


def _told(gang: request.GangAsk, snapshot: Snapshot, nodes: Mapping[str, str]) -> request.Placement:
    """Return the answer with who is left out, and the domains that the gang uses then."""
    left_out = tuple(pod.name for group in gang.groups for pod in group.pods if pod.name not in nodes)
    kept = (node for _group, node in gang.fixed.values())
    used = [row for node in {*nodes.values(), *kept} if (row := snapshot.row_of(node)) is not None]
    domains = {}
    for key in gang.levels:
        ids, names = snapshot.domains(key)
        if names:
            domains[key] = tuple(names[number] for number in np.unique(ids[used]) if number >= 0)
    return request.Placement(nodes, left_out, domains, _score(gang, domains))


def _assign(search: searching.Search, unit: parts.Unit, rows: Ints, nodes: dict[str, str]) -> None:
    """Give every pod of a unit its node: those of the minimum first, then what fits of the others."""
    late = not search.rows_chosen(part.position for part in unit.leaves())
    rows = _confined(search, unit, rows)
    for united in unit.united:
        members = [part for part in unit.leaves() if part.position in united.members]
        best = _roomiest(search, members, rows, search.snapshot.domains(united.key)[0])
        if best and search.domain_of(united, min(united.askers)) is None:
            search.united[united] = best[0]
    names = search.snapshot.node_names()
    for part in unit.parts:
        settling.extras(search, unit, part, rows)
        spots = {str(names[row]): 0 for row, _pods in search.chosen.get(part.position, ())}
        for row, pods in search.chosen.get(part.position, ()):
            spots[str(names[row])] += pods
        nodes.update(_assigned(part.pods, spots))
    for each in unit.units:
        _assign(search, each, rows, nodes)
    if late:
        search.join(unit)


def _confined(search: searching.Search, unit: parts.Unit, rows: Ints) -> Ints:
    """Return the rows that pods beyond the minimum may use: within the domains that bind the minimum.

    Where nothing is placed yet (a minimum of none): one domain of each level that binds, the roomiest.
    """
    chosen = [row for part in unit.leaves() for row, _pods in search.chosen.get(part.position, ())]
    chosen += search.rows_of(unit)
    if not chosen:
        rows = next(candidates.spread(search, unit, rows), rows[:0])
    for key in unit.binding():
        ids, _names = search.snapshot.domains(key)
        there = [number for number in ids[chosen] if number >= 0]
        rows = rows[np.isin(ids[rows], there if chosen else _roomiest(search, [*unit.leaves()], rows, ids))]
    return rows


def _roomiest(search: searching.Search, leaves: Sequence[parts.Part], rows: Ints, ids: Ints) -> list[int]:
    """Return the number of the domain that holds most of the parts' pods; nothing where none holds any."""
    rows = rows[ids[rows] >= 0]
    pods = sum((np.minimum(search.capacity(part)[rows], len(part.pods)) for part in leaves), np.zeros(len(rows)))
    totals = np.bincount(ids[rows], weights=pods)
    return [int(totals.argmax())] if totals.any() else []


def _assigned(pods: Sequence[request.PodAsk], spots: Mapping[str, int]) -> dict[str, str]:
    """Give each pod a spot: its nominated node where that is among them, else in order."""
    left = Counter(spots)
    result: dict[str, str] = {}
    for pod in pods:
        if pod.nominated is not None and left[pod.nominated] > 0:
            left[pod.nominated] -= 1
            result[pod.name] = pod.nominated
    rest = left.elements()
    for pod in pods:
        if pod.name not in result:
            node = next(rest, None)
            if node is None:
                break
            result[pod.name] = node
    return result


def _score(gang: request.GangAsk, domains: Mapping[str, tuple[str, ...]]) -> float:
    """Return 1.0 when the preferred (or the narrowest required) level was kept to one domain, less for each more."""
    wish = gang.constraint.preferred or gang.constraint.required
    if wish is None or wish not in domains:
        return 1.0
    return round(1.0 / max(1, len(domains[wish])), 4)
