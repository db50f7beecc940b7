"""The peers' algorithms in our own words, for a side-by-side on the same cases. Neither shares code with the engine.

`kueue`: Kueue's TAS (KEP-2724, profile Mixed): count pods per leaf, roll up, take the smallest sufficient domain of the
requested level, walk down taking the fewest sub-domains, largest first and best fit for the last. PodSets of one group
are placed one after the other in the domain of the first; earlier ones are never moved.
`greedy`: kube-scheduler's PodGroup pass: every domain of the one required key is a placement; inside it one pod after
the other goes to the least allocated node, without backtracking; ties between placements are broken at random.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

Parts = Sequence[tuple[int, int]]
"""Pods and GPUs a pod, of each part of the gang."""
Found = list[tuple[int, int]]
"""Node and GPUs, a pair a pod."""


def kueue(free: Sequence[int], parts: Parts, required: str | None, rack_of: Any, block_of: Any) -> Found | None:
    """Return the assignment that Kueue's TAS would make, or None. Without a required level, rack is preferred."""
    left = list(free)
    chosen: list[int] | None = None
    result: Found = []
    for pods, gpus in parts:
        nodes = chosen if chosen is not None else list(range(len(left)))
        counts = {node: left[node] // gpus for node in nodes}
        inside = _domain(counts, pods, required, rack_of, block_of)
        if inside is None:
            return None
        if required is not None and chosen is None:
            key = rack_of if required == "rack" else block_of
            chosen = [node for node in range(len(left)) if key(node) == key(inside[0])]
        for node, here in _walk_down(counts, inside, pods, [block_of, rack_of]):
            left[node] -= here * gpus
            result += [(node, gpus)] * here
    return result


def _domain(counts: dict[int, int], pods: int, required: str | None, rack_of: Any, block_of: Any) -> list[int] | None:
    ladder = {"rack": [rack_of], "block": [block_of], None: [rack_of, block_of, lambda _node: 0]}[required]
    for key in ladder:
        domains = _grouped(counts, key)
        fitting = [nodes for nodes in domains.values() if sum(counts[n] for n in nodes) >= pods]
        if fitting:
            return min(fitting, key=lambda nodes: (sum(counts[n] for n in nodes), nodes))
    return None


def _walk_down(
    counts: dict[int, int], nodes: list[int], pods: int, levels: list[Callable[[int], int]]
) -> list[tuple[int, int]]:
    if not levels:
        levels = [lambda node: node]
        domains = {node: [node] for node in nodes}
        rest: list[Callable[[int], int]] | None = None
    else:
        domains, rest = _grouped({n: counts[n] for n in nodes}, levels[0]), levels[1:]
    result: list[tuple[int, int]] = []
    left = pods
    open_ = dict(domains)
    while left > 0:
        room = {key: sum(counts[n] for n in inside) for key, inside in open_.items()}
        fitting = [key for key in room if room[key] >= left]
        key = (
            min(fitting, key=lambda each: (room[each], each))
            if fitting
            else max(room, key=lambda each: (room[each], -each))
        )
        here = min(left, room[key])
        inside = open_.pop(key)
        result += [(key, here)] if rest is None else _walk_down(counts, inside, here, rest)
        left -= here
    return [(node, here) for node, here in result if here]


def _grouped(counts: dict[int, int], key: Callable[[int], int]) -> dict[int, list[int]]:
    result: dict[int, list[int]] = {}
    for node in counts:
        result.setdefault(key(node), []).append(node)
    return result


def greedy(
    free: Sequence[int],
    capacity: Sequence[int],
    parts: Parts,
    required: str | None,
    rack_of: Any,
    block_of: Any,
    chance: random.Random,
) -> Found | None:
    """Return the assignment of kube-scheduler's greedy group pass, or None."""
    key = {"rack": rack_of, "block": block_of, None: lambda _node: 0}[required]
    domains = list(_grouped(dict.fromkeys(range(len(free)), 0), key).values())
    chance.shuffle(domains)
    for nodes in domains:
        left = {node: free[node] for node in nodes}
        result: Found = []
        for pods, gpus in parts:
            for _ in range(pods):
                fitting = [node for node in nodes if left[node] >= gpus]
                if not fitting:
                    break
                node = max(fitting, key=lambda each: (left[each] / max(1, capacity[each]), -each))
                left[node] -= gpus
                result.append((node, gpus))
        if len(result) == sum(pods for pods, _gpus in parts):
            return result
    return None
