"""Spread over domains: of siblings (which domains the next one may go to, emptiest first), and of a clique's pods.

A sibling (a set replica, a scaling-group replica) that is spread is kept inside one domain of the level; the skew is
counted in siblings, over the domains that have any node for its pods, as kube-scheduler counts pods.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from grovekeeper.placement import request
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.snapshot import Snapshot

Ranked = Callable[[Ints, Ints], Sequence[int]]
"""From domain numbers by row and the rows in question to the domains that could hold the sibling, best first."""


def options(
    snapshot: Snapshot,
    rules: Sequence[request.Spread],
    peers: Sequence[Sequence[int]],
    rows: Ints,
    allowed: Ints,
    ranked: Ranked,
) -> Iterator[Ints]:
    """Yield sets of rows for the next sibling, best first; `rows` itself last where every rule is a preference.

    `peers` is the rows that each sibling uses, `allowed` the rows that may take its pods at all. O(domains log domains
    + rows) a rule.
    """
    if not rules:
        yield rows
        return
    rule, *rest = rules
    ids, names = snapshot.domains(rule.level)
    for domain in _open_domains(rule, ids, len(names), peers, allowed, ranked(ids, rows)):
        yield from options(snapshot, rest, peers, rows[ids[rows] == domain], allowed, ranked)
    if not rule.required:
        yield from options(snapshot, rest, peers, rows, allowed, ranked)


def _open_domains(
    rule: request.Spread, ids: Ints, count: int, peers: Sequence[Sequence[int]], allowed: Ints, ranked: Sequence[int]
) -> list[int]:
    eligible = {int(number) for number in np.unique(ids[allowed]) if number >= 0}
    if not eligible:
        return []
    used = np.zeros(count, dtype=np.int64)
    for rows in peers:
        for number in {int(ids[row]) for row in rows if ids[row] >= 0}:
            used[number] += 1
    lowest = min(int(used[number]) for number in eligible)
    found = [n for n in ranked if n in eligible and int(used[n]) + 1 - lowest <= rule.max_skew]
    return sorted(found, key=lambda number: int(used[number]))


def may_be(
    snapshot: Snapshot,
    rules: Sequence[request.Spread],
    peers: Sequence[Sequence[int]],
    there: Sequence[int],
    allowed: Ints,
) -> bool:
    """Return whether a sibling on these rows keeps every required rule. O(rows) a rule."""
    for rule in rules:
        ids, names = snapshot.domains(rule.level)
        domains = {int(ids[row]) for row in there}
        if rule.required and (len(domains) > 1 or not _open_domains(rule, ids, len(names), peers, allowed, [*domains])):
            return False
    return True


def is_even(snapshot: Snapshot, rules: Sequence[request.Spread], there: Sequence[int], rows: Ints) -> bool:
    """Return whether the pods of a clique on the rows `there` keep every required rule over the domains of `rows`."""
    for rule in rules:
        ids = snapshot.domains(rule.level)[0]
        if not rule.required:
            continue
        counts = Counter({int(number): 0 for number in ids[rows] if number >= 0})
        counts.update(int(ids[row]) for row in there)
        if -1 in counts or max(counts.values()) - min(counts.values()) > rule.max_skew:
            return False
    return True


def shares(
    snapshot: Snapshot,
    rules: Sequence[request.Spread],
    there: Sequence[int],
    rows: Ints,
    capacity: Ints,
    count: int,
) -> list[tuple[Ints, int]]:
    """Return rows and pods for up to `count` pods of a clique, one after the other to the emptiest domain with room.

    `there` is the row of each pod that has a node, `rows` those that may take pods: their domains are those over which
    the skew is counted. Filling the emptiest first is the most even there is: where it breaks a required rule, every
    other way does. O(pods x cells), a cell being the nodes that are in the same domain by every rule.
    """
    keys = [snapshot.domains(rule.level)[0] for rule in rules]
    rows = rows[np.all([ids[rows] >= 0 for ids in keys], axis=0)]
    if not len(rows):
        return []
    cells, inverse = np.unique(np.stack([ids[rows] for ids in keys]), axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    room = np.bincount(inverse, weights=capacity[rows], minlength=cells.shape[1]).astype(np.int64)
    counts = [np.bincount([ids[row] for row in there if ids[row] >= 0], minlength=int(ids.max()) + 1) for ids in keys]
    found = np.zeros(len(room), dtype=np.int64)
    for _ in range(count):
        open_ = found < room
        for rule, used, cell in zip(rules, counts, cells, strict=True):
            if rule.required:
                open_ &= used[cell] + 1 - int(used[cell].min()) <= rule.max_skew
        if not open_.any():
            break
        fullness = np.array([used[cell] for used, cell in zip(counts, cells, strict=True)])
        best = int(np.lexsort((-(room - found), *fullness[::-1], ~open_))[0])
        found[best] += 1
        for used, cell in zip(counts, cells, strict=True):
            used[cell[best]] += 1
    return [(rows[inverse == cell], int(found[cell])) for cell in np.flatnonzero(found)]
