"""When a gang has lost too many members for too long: the decisions of gang termination, pure.

Two levels. A scaling group gives up single replicas as long as its minimum holds without them. A set replica gives up
all its PodCliques once a standalone clique or a whole group has been in breach for the delay. The clock is the
transition time of the MinAvailableBreached condition, so that it is counted once through restarts; a gang that has
never been scheduled is never terminated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from grovekeeper.api import conditions, duration, raw
from grovekeeper.expand import model, naming, plan, status
from grovekeeper.reconciler import recreations
from grovekeeper.runtime import clock

IN_PROGRESS = "GangTerminationInProgress"
"""Condition of a scaling group whose set replica was given up, until the group was well once more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to give up now, and when to look again."""

    due: tuple[int, ...] = ()
    """Indexes: of group replicas, or the set replica's own."""
    wake: datetime | None = None
    """The moment at which the next breach has lasted for the delay; None where nothing is in breach."""
    why: str = ""
    noted: tuple[int, ...] = ()
    """Those due whose termination is noted already, and was cut short: they are not counted again, and do not wait."""


def of_group(
    w: model.Workload,
    template: model.GroupTemplate,
    replicas: int,
    members: Mapping[int, Sequence[raw.Object]],
    past: Mapping[int, recreations.Past],
    now: datetime,
) -> Verdict:
    """Return which replicas of a scaling group to recreate. `members` is its PodCliques by group replica index.

    Nothing is due here where the group's minimum is lost as a whole: then the set replica goes (`of_replica`).
    """
    delay = _delay(w, template)
    if delay is None:
        return Verdict()
    healthy = 0
    due_at: dict[int, datetime] = {}
    noted = []
    for index in range(replicas):
        living = [entry for entry in members.get(index, ()) if not plan.terminating(entry)]
        if len(living) == len(template.clique_names) and all(status.well(entry) for entry in living):
            healthy += 1
        starts = _starts(living)
        if starts:
            before = past.get(index, recreations.Past())
            moment = min(starts) + delay
            if _is_noted(moment, before, now):
                noted.append(index)
            due_at[index] = moment if index in noted else recreations.not_before(moment, before)
    if healthy < template.min_available:
        return Verdict()
    due = tuple(index for index, moment in due_at.items() if moment <= now)
    later = [moment for moment in due_at.values() if moment > now]
    why = f"below minAvailable for longer than {delay.total_seconds():g} s" if due else ""
    return Verdict(due, min(later, default=None), why, tuple(noted))


def of_replica(
    w: model.Workload,
    index: int,
    cliques: Sequence[raw.Object],
    scaling_groups: Sequence[raw.Object],
    past: recreations.Past,
    now: datetime,
) -> Verdict:
    """Return whether to recreate a set replica, from its standalone PodCliques and its scaling groups.

    A replica with a PodClique missing is left alone: it is being built or has just been given up.
    """
    delay = _delay(w, None)
    living = [entry for entry in cliques if not plan.terminating(entry)]
    if delay is None or len(living) < len(w.standalone()):
        return Verdict()
    due_at: list[tuple[datetime, str]] = [
        (start + delay, entry["metadata"]["name"]) for entry in living for start in _starts([entry])
    ]
    for group in scaling_groups:
        template = template_of(w, index, group)
        start = _group_start(group)
        wait = _delay(w, template)
        if template is not None and start is not None and wait is not None:
            due_at.append((start + wait, group["metadata"]["name"]))
    if not due_at:
        return Verdict()
    moment, culprit = min(due_at)
    noted = any(_is_noted(start + delay, past, now) for start in _starts(living))
    moment = moment if noted else recreations.not_before(moment, past)
    if moment > now:
        return Verdict(wake=moment)
    why = f"{culprit} has been below minAvailable for longer than its termination delay"
    return Verdict((index,), None, why, (index,) if noted else ())


def _is_noted(moment: datetime, past: recreations.Past, now: datetime) -> bool:
    """Return whether a living PodClique whose breach was over at `moment` should be gone: its end is noted already.

    The answer to the note, or to the deletion, was lost, or who gave it up has died.
    """
    return past.last is not None and moment <= min(past.last, now)


def ever_scheduled(clique: raw.Object) -> bool:
    """Return whether the PodClique has met its minimum once.

    Of statuses from before that was recorded: a transition later than the creation means that it was met in between.
    """
    found = _condition(clique, status.SCHEDULED)
    recorded = conditions.is_true(clique, status.MET)
    return recorded or (found is not None and (found["status"] == "True" or _moved(clique, found)))


def template_of(w: model.Workload, index: int, group: raw.Object) -> model.GroupTemplate | None:
    """Return the template of a scaling group object, by exact name."""
    name = group["metadata"]["name"]
    return next((entry for entry in w.groups if naming.group(w.name, index, entry.name) == name), None)


def _starts(cliques: Iterable[raw.Object]) -> list[datetime]:
    """Return when each breach began that counts."""
    found = []
    for clique in cliques:
        breach = _condition(clique, status.BREACHED)
        if breach is not None and breach["status"] == "True" and ever_scheduled(clique):
            found.append(clock.parse(breach["lastTransitionTime"]))
    return found


def _group_start(group: raw.Object) -> datetime | None:
    breach = _condition(group, status.BREACHED)
    if breach is None or breach["status"] != "True":
        return None
    if not conditions.is_true(group, status.MET) and not _moved(group, breach):
        return None
    if plan.terminating(group) or conditions.is_true(group, IN_PROGRESS):
        return None
    return clock.parse(breach["lastTransitionTime"])


def _delay(w: model.Workload, template: model.GroupTemplate | None) -> timedelta | None:
    if w.termination_delay is None:
        return None
    text = (template.termination_delay if template is not None else None) or w.termination_delay
    return timedelta(seconds=duration.seconds(text))


def _condition(obj: raw.Object, type_: str) -> raw.Object | None:
    return conditions.find((obj.get("status") or {}).get("conditions"), type_)


def _moved(obj: raw.Object, condition: raw.Object) -> bool:
    return clock.parse(condition["lastTransitionTime"]) > clock.parse(obj["metadata"]["creationTimestamp"])
