"""Coherent updates: all cliques of a set replica move to the new template together, a few replicas at a time. Pure.

At most `maxUnavailable` set replicas are missing at a time; up to `maxSurge` extra ones, with the indexes from
`replicas` on, run the new template while the update lasts. Replicas that are broken anyway go first. A replica whose
turn has not come keeps its old template in every PodClique, also in those that are made again (`revisions`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from grovekeeper.expand import model


@dataclass(frozen=True, slots=True)
class State:
    """One set replica as a coherent update sees it."""

    index: int
    old: bool
    """Some PodClique of it has an older template: its turn has not come, or was cut short."""
    finished: bool
    """It is at the newest template as a whole, and available."""
    available: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be so now."""

    updating: tuple[int, ...]
    """Replicas that are to have the newest template, and have not all of it yet."""
    surge: int
    """Extra replicas that are to run."""


def limits(w: model.Workload) -> tuple[int, int]:
    """Return the set's maxUnavailable (default 1) and maxSurge (default 0)."""
    unavailable, surge = w.update_strategy.get("maxUnavailable"), w.update_strategy.get("maxSurge")
    return 1 if unavailable is None else int(unavailable), int(surge or 0)


def decide(
    replicas: int, max_unavailable: int, max_surge: int, states: Sequence[State], begun: Collection[int], surge: int
) -> Step:
    """Return which replicas are to move and how many extra ones are to run.

    `states` has every set replica that there is, extra ones included; `begun` are those that were chosen before;
    `surge` is how many extra ones run now. Replicas that have begun and are not finished count as missing, whatever
    their status says yet.
    """
    if not begun and not surge and not any(s.old for s in states):
        return Step((), 0)  # what is on its way is new or was lost, and no update
    waiting = [s for s in states if s.old and s.index not in begun]
    moving = [s for s in states if not s.finished and s not in waiting]
    missing = sum(1 for s in moving if s.index < replicas)
    extra = sum(1 for s in states if s.index >= replicas and s.finished)
    there = sum(1 for s in states if s.available and s not in moving)
    slots = max_unavailable + extra - missing
    broken = sorted((s for s in waiting if not s.available), key=lambda s: (s.index < replicas, s.index))
    # A broken one costs nothing: one at a time may go even where none may be missing.
    chosen = broken[: max(slots, 1 - missing, 0)]
    healthy = sorted((s for s in waiting if s.available), key=lambda s: (s.index < replicas, s.index))
    chosen += healthy[: max(0, min(slots - len(chosen), there - (replicas - max_unavailable)))]
    unfinished = sum(1 for s in (*waiting, *moving) if s.index < replicas)
    most = max_surge if waiting or any(s.old for s in states) else surge
    return Step(tuple(sorted(s.index for s in (*moving, *chosen))), min(most, max_surge, unfinished))
