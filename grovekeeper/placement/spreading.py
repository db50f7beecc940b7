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
    eligible: Sequence[Ints],
    ranked: Ranked,
) -> Iterator[Ints]:
    """Yield sets of rows for the next sibling, best first; `rows` itself last where every rule is a preference.

    `peers` is the rows that each sibling uses, `eligible` for each of its parts the rows that may take its pods at
    all. O(domains log domains + rows x parts) a rule.
    """
    if not rules:
        yield rows
        return
    rule, *rest = rules
    ids, names = snapshot.domains(rule.level)
    for domain in _open_domains(rule, ids, len(names), peers, eligible, ranked(ids, rows)):
        yield from options(snapshot, rest, peers, rows[ids[rows] == domain], eligible, ranked)
    if not rule.required:
        yield from options(snapshot, rest, peers, rows, eligible, ranked)


def _open_domains(
    rule: request.Spread,
    ids: Ints,
    count: int,
    peers: Sequence[Sequence[int]],
    eligible: Sequence[Ints],
    ranked: Sequence[int],
) -> list[int]:
    counted = set.intersection(*({*np.unique(ids[rows]).tolist()} for rows in eligible)) - {-1}
    if not counted:
        return []
    used = np.zeros(count, dtype=np.int64)
    for rows in peers:
        for number in {int(ids[row]) for row in rows if ids[row] >= 0}:
            used[number] += 1
    lowest = min(int(used[number]) for number in counted)
    found = [n for n in ranked if n in counted and int(used[n]) + 1 - lowest <= rule.max_skew]
    return sorted(found, key=lambda number: int(used[number]))


def may_be(
    snapshot: Snapshot,
    rules: Sequence[request.Spread],
    peers: Sequence[Sequence[int]],
    there: Sequence[int],
    eligible: Sequence[Ints],
) -> bool:
    """Return whether a sibling on these rows keeps every required rule. O(rows x parts) a rule."""
    for rule in rules:
        ids, names = snapshot.domains(rule.level)
        domains = {int(ids[row]) for row in there}
        if rule.required and (
            len(domains) > 1 or not _open_domains(rule, ids, len(names), peers, eligible, [*domains])
        ):
            return False
    return True


def is_even(
    snapshot: Snapshot, rules: Sequence[request.Spread], there: Sequence[int], new: Sequence[int], counted: Ints
) -> bool:
    """Return whether pods of a clique on the rows `new` keep every required rule over the domains of `counted`.

    `there` is the row of each pod of the clique, the new ones among them.
    """
    for rule in rules:
        ids = snapshot.domains(rule.level)[0]
        if not rule.required:
            continue
        counts = Counter(int(ids[row]) for row in there)
        mine = {int(ids[row]) for row in new}
        lowest = min((counts[number] for number in {*ids[counted].tolist()} if number >= 0), default=0)
        if -1 in mine or any(counts[number] - lowest > rule.max_skew for number in mine):
            return False
    return True


def shares(
    snapshot: Snapshot,
    rules: Sequence[request.Spread],
    there: Sequence[int],
    counted: Ints,
    capacity: Ints,
    count: int,
) -> list[tuple[Ints, int]]:
    """Return rows and pods for up to `count` pods of a clique, one after the other to the emptiest domain with room.

    `there` is the row of each pod that has a node, `counted` those over whose domains the skew is counted. Filling the
    emptiest first is the most even there is: where it breaks a required rule, every other way does. O(pods x cells), a
    cell being the nodes that are in the same domain by every rule.
    """
    # Domain 0 is that of the nodes in none: no place for a required rule, and the last one for a preference.
    keys = [snapshot.domains(rule.level)[0] + 1 for rule in rules]
    demanded = [ids > 0 for rule, ids in zip(rules, keys, strict=True) if rule.required]
    rows = counted[np.all([mask[counted] for mask in demanded], axis=0)] if demanded else counted
    if not len(rows):
        return []
    cells, inverse = np.unique(np.stack([ids[rows] for ids in keys]), axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    room = np.bincount(inverse, weights=capacity[rows], minlength=cells.shape[1]).astype(np.int64)
    counts = [np.bincount(ids[list(there)], minlength=int(ids.max()) + 1) for ids in keys]
    for used in counts:
        used[0] += int(used.sum()) + count
    least = [np.unique(ids[counted[ids[counted] > 0]]) for ids in keys]
    found = np.zeros(len(room), dtype=np.int64)
    for _ in range(count):
        open_ = found < room
        for rule, used, cell, known in zip(rules, counts, cells, least, strict=True):
            if rule.required:
                open_ &= used[cell] + 1 - int(used[known].min()) <= rule.max_skew
        if not open_.any():
            break
        fullness = np.array([used[cell] for used, cell in zip(counts, cells, strict=True)])
        best = int(np.lexsort((-(room - found), *fullness[::-1], ~open_))[0])
        found[best] += 1
        for used, cell in zip(counts, cells, strict=True):
            used[cell[best]] += 1
    return [(rows[inverse == cell], int(found[cell])) for cell in np.flatnonzero(found)]
