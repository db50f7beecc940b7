"""Why a gang does not fit, level by level, in sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grovekeeper.placement import pack, request
from grovekeeper.placement.snapshot import Ints, Snapshot

if TYPE_CHECKING:
    from grovekeeper.placement.place import Part


def unknown_level(key: str) -> request.Reasons:
    """Return the reason for a required level whose label no node has."""
    text = f"no node has the label {key}, which a required topology level names: label the nodes or mend the binding"
    return request.Reasons(text, (request.Shortfall(key, text),), never=True)


def reasons(
    gang: request.GangAsk, parts: Sequence["Part"], levels: Sequence[str], snapshot: Snapshot
) -> request.Reasons:
    """Return what was missing per level, the binding one first."""
    free = snapshot.free()
    binding = gang.constraint.required
    asked = [key for key in levels if key == binding] or []
    lines = [_level(key, parts, free, snapshot) for key in asked]
    lines += [
        _level(part.constraint.required, [part], free, snapshot)
        for part in parts
        if part.constraint.required and part.constraint.required not in asked
    ]
    if not lines:
        lines = [_level(None, parts, free, snapshot)]
    largest = [_largest(part, binding, snapshot) for part in parts]
    never = any(largest)
    text = "; ".join([*(line.text for line in lines), *filter(None, largest)])
    excluded = _excluded(parts, snapshot)
    summary = f"{text}; {excluded}" if excluded else text
    if gang.closed:
        summary += f"; {len(gang.closed)} nodes are kept for a gang that has waited longer"
    return request.Reasons(summary, tuple(lines), never=never)


def _largest(part: "Part", binding: str | None, snapshot: Snapshot) -> str:
    """Return what the empty cluster holds at most, where that is too little; else nothing."""
    key = part.constraint.required or binding
    best, room = _level_room(part, snapshot.totals(), key, snapshot)
    if room >= part.need:
        return ""
    where = f"empty, {best} has" if key else "the empty cluster has"
    return f"{where} room for at most {room} of {part.need} {part.name} pods: the gang can never fit"


def _level(key: str | None, parts: Sequence["Part"], free: Ints, snapshot: Snapshot) -> request.Shortfall:
    texts = []
    for part in parts:
        best, room = _level_room(part, free, key, snapshot)
        if room >= part.need:
            continue
        short = _short_of(part, free, key, best, snapshot)
        where = f"best {best} has" if key else "the cluster has"
        texts.append(f"{where} room for {room} of {part.need} {part.name} pods: {short}")
    label = (key or "cluster").rpartition("/")[2]
    if not texts:
        texts.append("each part would fit alone, but not all together")
    return request.Shortfall(key or "cluster", f"{label}: {'; '.join(texts)}")


def _level_room(part: "Part", free: Ints, key: str | None, snapshot: Snapshot) -> tuple[str, int]:
    capacity = pack.capacities(free, part.vector, part.shape.one_per_node)
    if key is None:
        return "", int(capacity[part.allowed].sum())
    ids, names = snapshot.domains(key)
    rows = part.allowed[ids[part.allowed] >= 0]
    if not len(names) or not len(rows):
        return "none", 0
    totals = np.bincount(ids[rows], weights=capacity[rows], minlength=len(names))
    best = int(totals.argmax())
    return names[best], int(totals[best])


def _short_of(part: "Part", free: Ints, key: str | None, best: str, snapshot: Snapshot) -> str:
    """Name the resource that runs out first, and by how many pods."""
    rows = part.allowed
    if key is not None:
        ids, names = snapshot.domains(key)
        rows = rows[ids[rows] == names.index(best)] if best in names else rows[:0]
    if not len(rows):
        return "no node there may take them"
    columns = np.flatnonzero(part.vector > 0)
    room = np.maximum(free[np.ix_(rows, columns)], 0) // part.vector[columns]
    worst = int(room.sum(axis=0).argmin())
    missing = part.need - int(room.min(axis=1).sum())
    return f"{missing} short of {snapshot.resource_names()[int(columns[worst])]}"


def _excluded(parts: Sequence["Part"], snapshot: Snapshot) -> str:
    counts: dict[str, int] = {}
    for part in parts:
        for why, count in snapshot.refusals(part.shape.spec).items():
            counts[why] = max(counts.get(why, 0), count)
    listed = sorted(counts.items(), key=lambda entry: -entry[1])[:3]
    return ", ".join(f"{count} nodes excluded by {why}" for why, count in listed)
