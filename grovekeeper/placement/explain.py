"""Why a gang does not fit, level by level, in sentences."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from grovekeeper.placement import pack, parts, request
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints, Mask
from grovekeeper.placement.search import Search
from grovekeeper.placement.snapshot import Snapshot

_LATER = (
    "nodes that are cordoned or not ready are back",
    "nodes that are cordoned, not ready, or have refused its pods lately are back",
)
_FORBIDDEN = "required affinity or anti-affinity with pods that are there"


def unknown_level(key: str) -> request.Reasons:
    """Return the reason for a required level whose label no node has."""
    text = f"no node has the label {key}, which a required topology level names: label the nodes or mend the binding"
    return request.Reasons(text, (request.Shortfall(key, text),), never=True)


def absent(root: parts.Unit, snapshot: Snapshot) -> request.Reasons | None:
    """Return the reason where no node offers any of a resource that the minimum asks for, or there is no node."""
    nowhere = snapshot.totals().max(axis=0, initial=0) == 0
    for part in root.leaves():
        lacking = np.flatnonzero((part.vector > 0) & nowhere)
        if part.need and len(lacking):
            names = snapshot.resource_names()
            resource = shapes.scarcest(name for column in lacking if (name := names[column]) in part.shape.requests)
            text = f"{part.name}: no node has any {resource or names[lacking[0]]}"
            text = text if resource or len(snapshot) else f"{part.name}: there is no node"
            return request.Reasons(text, never=True)
    return None


def stranded(cliques: Collection[str]) -> request.Reasons:
    """Return the reason for cliques whose required affinity only pods of the gang could meet that wait themselves."""
    names = " and ".join(sorted(set(cliques)))
    text = f"{names}: required affinity asks for pods of this gang that wait for others in turn: none can be the first"
    return request.Reasons(text, (request.Shortfall("cluster", text),))


@dataclass(frozen=True, slots=True)
class _Bound:
    """Parts that have to share one domain of a level, or the cluster."""

    key: str | None
    parts: tuple[parts.Part, ...]
    forced: frozenset[int]
    """Rows of their pods that have a node."""


def reasons(gang: request.GangAsk, root: parts.Unit, search: Search) -> request.Reasons:
    """Return what was missing per level, the broadest first, and whether the empty cluster could hold the gang."""
    snapshot = search.snapshot
    nothing = absent(root, snapshot)
    if nothing is not None:
        return nothing
    bounds = list(_bounds(root, search, None)) or [_Bound(None, tuple(root.leaves()), frozenset())]
    found = [(bound, _level(bound, search)) for bound in bounds]
    short = [(bound, text) for bound, text in found if text] or [(found[0][0], _all_alone(found[0][0], root))]
    lines = [request.Shortfall(bound.key or "cluster", f"{_word(bound.key)}: {text}") for bound, text in short]
    largest, never = _largest(bounds, snapshot, gang.avoid)
    excluded = _excluded(bounds[0].key, list(root.leaves()), gang.closed, snapshot)
    kept = f"{len(gang.closed)} nodes are kept for a gang that has waited longer" if gang.closed else ""
    refused = f"{len(gang.avoid)} nodes have refused its pods lately" if gang.avoid else ""
    texts = [*dict.fromkeys(line.text for line in lines), *dict.fromkeys(largest), excluded, kept, refused]
    return request.Reasons("; ".join(filter(None, texts)), tuple(lines), never=never)


def _bounds(unit: parts.Unit, search: Search, key: str | None) -> Iterator[_Bound]:
    """Yield what has to be in one domain: the unit itself, then those inside it that ask for a level of their own."""
    own = unit.constraint.required
    if own and own != key:
        yield _Bound(own, tuple(unit.leaves()), frozenset(search.rows_of(unit)))
    for each in unit.units:
        yield from _bounds(each, search, own or key)


def _level(bound: _Bound, search: Search) -> str:
    """Return what the best domain lacks; nothing where it could hold every part alone."""
    best, rooms = _best(bound, search.free, search.snapshot, [part.allowed for part in bound.parts])
    texts = []
    for part, room in zip(bound.parts, rooms, strict=True):
        if room < part.need:
            short = _short_of(part, search.free, bound, best, search.snapshot)
            texts.append(f"room for {room} of {part.need} {part.name} pods: {short}")
    where = f"best {best} has" if bound.key else "the cluster has"
    if bound.forced and bound.key:
        where = f"{best}, where the gang is, has"
    return f"{where} {', '.join(texts)}" if texts else ""


def _best(bound: _Bound, free: Ints, snapshot: Snapshot, open_: Sequence[Mask]) -> tuple[str, list[int]]:
    """Return the domain that holds most of what is asked for, and the room there for each part alone.

    `open_` is for each part the rows that may take its pods.
    """
    totals = []
    names = [""]
    for part, mask in zip(bound.parts, open_, strict=True):
        capacity = pack.capacities(free, part.vector, part.shape.one_per_node)
        capacity = np.where(mask, capacity, 0)
        if bound.key is None:
            totals.append(np.array([capacity.sum()]))
            continue
        ids, names = snapshot.domains(bound.key)
        known = ids >= 0
        totals.append(np.bincount(ids[known], weights=capacity[known], minlength=len(names)).astype(np.int64))
    if not totals or not len(totals[0]):
        return "none", [0] * len(bound.parts)
    held = sum(
        np.minimum(room, part.need) * part.size() for room, part in zip(totals, bound.parts, strict=True)
    ) + np.zeros(len(totals[0]))
    if bound.key is not None and bound.forced:
        forced = snapshot.domains(bound.key)[0][list(bound.forced)]
        held[np.isin(np.arange(len(held)), forced, invert=True)] = -1
    best = int(held.argmax())
    return names[best], [int(room[best]) for room in totals]


def _all_alone(bound: _Bound, root: parts.Unit) -> str:
    where = f"a {_word(bound.key)} could" if bound.key else "the cluster could"
    affinity = any(part.bonds for part in root.leaves())
    rules = [rule for unit in root.everyone() for rule in (*unit.spread, *unit.pods_spread) if rule.required]
    spread = dict.fromkeys(f"spread over {_word(rule.level)} with maxSkew {rule.max_skew}" for rule in rules)
    texts = [*spread, *(["with their required affinity or anti-affinity"] if affinity else [])]
    return f"{where} hold each part alone, but not {' and '.join(texts) or 'all together'}"


def _largest(bounds: Sequence[_Bound], snapshot: Snapshot, avoid: Collection[str]) -> tuple[list[str], bool]:
    """Return what the empty cluster holds at most, where that is too little, and whether it is for good.

    For good is what neither pods that leave nor nodes that come back (uncordoned, ready again, not to be avoided any
    more) can change: proven by counts. Nothing is said of the latter where there is such a thing.
    """
    free = snapshot.totals()
    found = [text for bound in bounds for part in bound.parts if (text := _most(bound, part, free, snapshot, avoid))]
    never = [text for text, back in found if not back]
    never = never or [text for bound in bounds for text in _volume(bound, free, snapshot)]
    return never or [text for text, _back in found], bool(never)


def _most(
    bound: _Bound, part: parts.Part, free: Ints, snapshot: Snapshot, avoid: Collection[str]
) -> tuple[str, bool] | None:
    """Return how many of a part's pods an empty domain holds at most, and whether nodes that come back would do.

    None where there is room for all that are needed.
    """
    alone = _Bound(bound.key, (part,), bound.forced)
    best, (room,) = _best(alone, free, snapshot, [part.eligible])
    if room >= part.need:
        return None
    largest, (ever,) = _best(alone, free, snapshot, [_padded(snapshot.could(part.shape.spec), len(free))])
    back = ever >= part.need
    where = f"empty, {best if back else largest} has" if bound.key else "the empty cluster has"
    text = f"{where} room for at most {room if back else ever} of {part.need} {part.name} pods"
    if back:
        return f"{text} until {_LATER[bool(avoid)]}", True
    never = "can never fit there, where its other pods are" if bound.key and bound.forced else "can never fit"
    return f"{text}{', with all nodes in service' if ever > room else ''}: the gang {never}", False


def _padded(mask: Mask, height: int) -> Mask:
    result: Mask = np.zeros(height, dtype=np.bool_)
    result[: len(mask)] = mask
    return result


def _volume(bound: _Bound, free: Ints, snapshot: Snapshot) -> list[str]:
    """Return the resource of which all parts together ask for more than any empty domain has."""
    demand = sum((part.need * part.vector for part in bound.parts), np.zeros(free.shape[1], dtype=np.int64))
    rows = snapshot.rows()
    if bound.key is None:
        offered, names = free[rows].sum(axis=0)[np.newaxis], ["the empty cluster"]
    else:
        ids, names = snapshot.domains(bound.key)
        rows = rows[ids[rows] >= 0]
        offered = np.zeros((len(names), free.shape[1]), dtype=np.int64)
        np.add.at(offered, ids[rows], free[rows])
    lacking = offered.max(axis=0, initial=0) < demand
    if not lacking.any():
        return []
    column = int(np.flatnonzero(lacking)[0])
    best = int(offered[:, column].argmax())
    where = f"empty, {names[best]} has" if bound.key else "the empty cluster has"
    resource = snapshot.resource_names()[column]
    return [f"{where} at most {offered[best, column]} of {demand[column]} {resource}: the gang can never fit"]


def _short_of(part: parts.Part, free: Ints, bound: _Bound, best: str, snapshot: Snapshot) -> str:
    """Name the resource that runs out first, and by how many pods."""
    rows = np.flatnonzero(part.allowed)
    if bound.key is not None:
        ids, names = snapshot.domains(bound.key)
        rows = rows[ids[rows] == names.index(best)] if best in names else rows[:0]
    if not len(rows):
        return "no node there may take them"
    columns = np.flatnonzero(part.vector > 0)
    room = np.maximum(free[np.ix_(rows, columns)], 0) // part.vector[columns]
    worst = int(room.sum(axis=0).argmin())
    fits = room.min(axis=1)
    missing = part.need - int((np.minimum(fits, 1) if part.shape.one_per_node else fits).sum())
    alone = part.need - int(fits.sum()) <= 0
    return f"{missing} short of " + ("nodes of their own" if alone else snapshot.resource_names()[int(columns[worst])])


def _excluded(key: str | None, leaves: Sequence[parts.Part], closed: Collection[str], snapshot: Snapshot) -> str:
    """Return how many domains of the level, or nodes, may not take the pods, and why."""
    kept = [row for name in closed if (row := snapshot.row_of(name)) is not None]
    domains: Counter[str] = Counter()
    nodes: Counter[str] = Counter()
    for part in leaves:
        forbidden = part.eligible & ~part.allowed
        forbidden[kept] = False
        others = [(int(row), _FORBIDDEN) for row in np.flatnonzero(forbidden)]
        why = [*snapshot.refusals(part.shape.spec), *others]
        lost, rest = _whole_domains(key, why, snapshot)
        domains |= lost
        nodes |= rest
    word = _word(key)
    texts = [f"{count} {word}{'s' if count > 1 else ''} excluded by {why}" for why, count in domains.most_common(3)]
    texts += [f"{count} nodes excluded by {why}" for why, count in nodes.most_common(3)]
    return ", ".join(texts)


def _whole_domains(
    key: str | None, why: Sequence[tuple[int, str]], snapshot: Snapshot
) -> tuple[Counter[str], Counter[str]]:
    """Return the most frequent reason of each domain that is excluded whole, and the other nodes' reasons."""
    if key is None:
        return Counter(), Counter(text for _row, text in why)
    ids, names = snapshot.domains(key)
    sizes = np.bincount(ids[ids >= 0], minlength=len(names))
    ordered = sorted(why, key=lambda entry: int(ids[entry[0]]))
    edges = [0, *(i for i, (a, b) in enumerate(pairwise(ordered), 1) if ids[a[0]] != ids[b[0]]), len(ordered)]
    lost: Counter[str] = Counter()
    rest: Counter[str] = Counter()
    for begin, end in pairwise(edges):
        texts = Counter(text for _row, text in ordered[begin:end])
        domain = int(ids[ordered[begin][0]]) if begin < end else -1
        if domain >= 0 and sizes[domain] == end - begin and sizes[domain] > 1:
            lost[texts.most_common(1)[0][0]] += 1
        else:
            rest += texts
    return lost, rest


def _word(key: str | None) -> str:
    return (key or "cluster").rpartition("/")[2]
