"""Spread of siblings over domains: which domains the next sibling may go to, emptiest first.

A sibling (a set replica, a scaling-group replica) that is spread is kept inside one domain of the level; the skew is
counted in siblings, over the domains that have any node for its pods, as kube-scheduler counts pods.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from grovekeeper.placement import request
from grovekeeper.placement.snapshot import Ints, Snapshot

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
