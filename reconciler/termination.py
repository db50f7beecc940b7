"""Gang termination: when a gang has lost too many members for too long, and which PodCliques are given up for it.

Two levels. A scaling group gives up single replicas as long as its minimum holds without them. A set replica gives up
all its PodCliques once a standalone clique or a whole group has been in breach for the delay. The clock is the
transition time of the MinAvailableBreached condition, so that it is counted once through restarts; a gang that has
never been scheduled is never terminated. The deciding functions are pure; `reconcile` carries out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from grovekeeper.api import conditions, duration, names, raw
from grovekeeper.expand import groups, model, naming, plan, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, progress
from grovekeeper.reconciler.context import Context
from grovekeeper.runtime import clock

IN_PROGRESS = "GangTerminationInProgress"
REPLICA = "replica"
"""Key under which a set replica's terminations are noted on its base PodGang; a group's are noted by index."""
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier terminations of one gang."""

    count: int = 0
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to give up now, and when to look again."""

    due: tuple[int, ...] = ()
    """Indexes: of group replicas, or the set replica's own."""
    wake: datetime | None = None
    """The moment at which the next breach has lasted for the delay; None where nothing is in breach."""
    why: str = ""


def of_group(
    w: model.Workload,
    template: model.GroupTemplate,
    replicas: int,
    members: Mapping[int, Sequence[raw.Object]],
    past: Mapping[int, Past],
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
    for index in range(replicas):
        living = [entry for entry in members.get(index, ()) if not plan.terminating(entry)]
        if len(living) == len(template.clique_names) and all(status.well(entry) for entry in living):
            healthy += 1
        starts = _starts(living)
        if starts:
            due_at[index] = _not_before(min(starts) + delay, past.get(index, Past()))
    if healthy < template.min_available:
        return Verdict()
    due = tuple(index for index, moment in due_at.items() if moment <= now)
    later = [moment for moment in due_at.values() if moment > now]
    why = f"below minAvailable for longer than {delay.total_seconds():g} s" if due else ""
    return Verdict(due, min(later, default=None), why)


def of_replica(
    w: model.Workload,
    index: int,
    cliques: Sequence[raw.Object],
    scaling_groups: Sequence[raw.Object],
    past: Past,
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
    moment = _not_before(moment, past)
    if moment > now:
        return Verdict(wake=moment)
    return Verdict((index,), None, f"{culprit} has been below minAvailable for longer than its termination delay")


def read(obj: raw.Object | None, key: str) -> Past:
    """Return what an object's annotation says of earlier terminations under `key`."""
    try:
        count, last = _noted(obj)[key]
        return Past(int(count), clock.parse(last))
    except (KeyError, ValueError, TypeError):
        return Past()


def recreations(name: str, live: raw.Object, group: raw.Object | None) -> int:
    """Return how often the gang `name` was given up: noted on its own PodGang, or on the group of a scaled gang."""
    if group is None:
        return read(live, REPLICA).count
    index = int(name.rpartition("-")[2]) + (group["spec"].get("minAvailable") or 1)
    return read(group, str(index)).count


def annotation(obj: raw.Object | None, keys: Iterable[str], now: datetime) -> str:
    """Return the annotation's new text after one more termination under each of `keys`."""
    noted = _noted(obj)
    for key in keys:
        noted[key] = [_counted(read(obj, key), now) + 1, clock.rfc3339(now)]
    return json.dumps(noted, sort_keys=True, separators=(",", ":"))


def pause(count: int) -> timedelta:
    """Return the least time between the `count`-th termination of a gang and the next: 30 s, doubled up to an hour."""
    return timedelta(0) if count < 1 else min(_FIRST_PAUSE * 2 ** min(count - 1, 10), _LONGEST_PAUSE)


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


async def reconcile(ctx: Context, w: model.Workload) -> float | None:
    """Carry out what is due in all replicas of a set; return the seconds until the next delay ends."""
    if w.termination_delay is None:
        return None
    now = ctx.clock.now()
    wakes: list[datetime] = []
    for index in _in_breach(ctx, w):
        wakes += await _one_replica(ctx, w, index, now)
    # A moment later than exactly: the stamps of conditions have whole seconds.
    return max((min(wakes) - now).total_seconds(), 0.0) + 0.05 if wakes else None


def _in_breach(ctx: Context, w: model.Workload) -> list[int]:
    mark = f"{w.namespace}/{w.name}"
    children_of = [*ctx.stores.cliques.by_index("set", mark), *ctx.stores.groups.by_index("set", mark)]
    label = w.dialect.label_replica_index
    found = {int(entry["metadata"]["labels"].get(label, -1)) for entry in children_of if _breached(entry)}
    busy = progress.updating(w)  # what an update takes down is not lost
    return sorted(index for index in found if 0 <= index < w.total and index not in busy)


async def _one_replica(ctx: Context, w: model.Workload, index: int, now: datetime) -> list[datetime]:
    mark = f"{w.namespace}/{w.name}/{index}"
    cliques = ctx.stores.cliques.by_index("replica", mark)
    scaling_groups = ctx.stores.groups.by_index("replica", mark)
    gang = ctx.stores.gangs.get(w.namespace, naming.replica(w.name, index))
    standalone = [entry for entry in cliques if names.LABEL_SCALINGGROUP not in entry["metadata"]["labels"]]
    verdict = of_replica(w, index, standalone, scaling_groups, read(gang, REPLICA), now)
    if verdict.due:
        await _note(ctx, resources.PODGANGS, gang, [REPLICA], now)
        await _give_up(ctx, cliques)
        await _flag(ctx, scaling_groups)
        text = f"replica {index} is recreated: {verdict.why}"
        ctx.events.warning(w.raw, f"{w.dialect.kind}ReplicaDeleteSuccessful", text, ctx.clock.stamp())
        return []
    wakes = [verdict.wake] if verdict.wake else []
    for group in scaling_groups:
        wakes += await _one_group(ctx, w, index, group, now)
    return wakes


async def _one_group(ctx: Context, w: model.Workload, index: int, group: raw.Object, now: datetime) -> list[datetime]:
    template = template_of(w, index, group)
    if template is None:
        return []
    members: dict[int, list[raw.Object]] = {}
    for clique in ctx.stores.cliques.by_index("owner", group["metadata"]["uid"]):
        members.setdefault(int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]), []).append(clique)
    replicas = groups.effective_replicas(group["spec"].get("replicas", 1), template.min_available)
    past = {j: read(group, str(j)) for j in members}
    verdict = of_group(w, template, replicas, members, past, now)
    if verdict.due:
        await _note(ctx, resources.SCALINGGROUPS, group, [str(j) for j in verdict.due], now)
        await _give_up(ctx, [clique for j in verdict.due for clique in members[j]])
        listed = ", ".join(map(str, verdict.due))
        text = f"replicas {listed} of {group['metadata']['name']} are recreated: {verdict.why}"
        ctx.events.warning(w.raw, "PodCliqueScalingGroupReplicaDeleteSuccessful", text, ctx.clock.stamp())
    return [verdict.wake] if verdict.wake else []


async def _note(
    ctx: Context, resource: resources.Resource, obj: raw.Object | None, keys: Iterable[str], now: datetime
) -> None:
    """Count the termination first: should the deletion be cut short, the count errs on waiting longer.

    Raises kube.errors.Conflict (try again) where the object has changed or is another one: no count is lost.
    """
    if obj is None:
        return
    note = {names.ANNOTATION_TERMINATIONS: annotation(obj, keys, now)}
    body = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "annotations": note}}
    await children.merge(ctx, resource, obj, body)


async def _give_up(ctx: Context, cliques: Iterable[raw.Object]) -> None:
    doomed = [clique for clique in cliques if not plan.terminating(clique)]
    await children.together(children.delete(ctx, resources.PODCLIQUES, clique) for clique in doomed)


async def _flag(ctx: Context, scaling_groups: Iterable[raw.Object]) -> None:
    """Mark the groups, so that their breach does not count again before they were well once more."""
    text = "the set replica was recreated; the minimum has not been available since"
    flag = conditions.condition(IN_PROGRESS, True, "GangTerminationActive", text, ctx.clock.stamp())
    for group in scaling_groups:
        await _flag_one(ctx, group, flag)


async def _flag_one(ctx: Context, group: raw.Object, flag: raw.Object) -> None:
    """Add the condition to the group as it is now: its own reconciler writes at the same time, as its PodCliques go."""
    for left in range(_TRIES - 1, -1, -1):
        live = await children.reread(ctx, resources.SCALINGGROUPS, group)
        if live is None:
            return
        listed = conditions.merged((live.get("status") or {}).get("conditions"), [flag])
        body = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "status": {"conditions": listed}}
        try:
            await children.merge(ctx, resources.SCALINGGROUPS, live, body, subresource="status")
        except errors.Conflict:
            if not left:
                raise
        else:
            return


def _counted(past: Past, now: datetime) -> int:
    """Return the count that still matters: a gang that held for long enough starts anew."""
    if past.last is None or now - past.last > 2 * max(pause(past.count), _FIRST_PAUSE) + _LONGEST_PAUSE:
        return 0
    return past.count


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


def _not_before(moment: datetime, past: Past) -> datetime:
    return moment if past.last is None else max(moment, past.last + pause(past.count))


def _delay(w: model.Workload, template: model.GroupTemplate | None) -> timedelta | None:
    if w.termination_delay is None:
        return None
    text = (template.termination_delay if template is not None else None) or w.termination_delay
    return timedelta(seconds=duration.seconds(text))


def _breached(obj: raw.Object) -> bool:
    return conditions.is_true(obj, status.BREACHED)


def _condition(obj: raw.Object, type_: str) -> raw.Object | None:
    return conditions.find((obj.get("status") or {}).get("conditions"), type_)


def _moved(obj: raw.Object, condition: raw.Object) -> bool:
    return clock.parse(condition["lastTransitionTime"]) > clock.parse(obj["metadata"]["creationTimestamp"])


def _noted(obj: raw.Object | None) -> raw.Object:
    text = ((obj or {}).get("metadata", {}).get("annotations") or {}).get(names.ANNOTATION_TERMINATIONS) or "{}"
    try:
        loaded = json.loads(text)
    except ValueError:
        return {}
    return loaded if isinstance(loaded, dict) else {}
