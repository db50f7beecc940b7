"""Gang termination: a replica that has been below its minimum for too long is replaced whole.

The clock is the condition's lastTransitionTime, so restarts of ours change nothing. What never was scheduled is never
terminated. A scaling-group replica goes alone while the group keeps its minimum, else the whole set replica goes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from grovekeeper.api import conditions, duration, names, raw
from grovekeeper.expand import groups, model, naming, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import children
from grovekeeper.reconciler.context import Context

_EVER = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Decision:
    """PodCliques to delete now, and seconds until the next delay ends (None: nothing is pending)."""

    doomed: tuple[raw.Object, ...]
    what: str
    wait: float | None


def decide(
    w: model.Workload, index: int, cliques: Sequence[raw.Object], group_objects: Mapping[str, raw.Object], now: datetime
) -> Decision:
    """Return what to do about one set replica. Pure; O(its PodCliques)."""
    if w.termination_delay is None:
        return Decision((), "", None)
    living = [clique for clique in cliques if not clique["metadata"].get("deletionTimestamp")]
    waits: list[float] = []
    for clique in living:
        if names.LABEL_SCALINGGROUP in clique["metadata"]["labels"]:
            continue
        left = _left(clique, w.termination_delay, now)
        if left is not None and left <= 0:
            return Decision(tuple(living), f"replica {index}: {clique['metadata']['name']} is below minAvailable", None)
        waits += [left] if left is not None else []
    doomed: list[raw.Object] = []
    what = ""
    for group in w.groups:
        fqn = naming.group(w.name, index, group.name)
        mine = [clique for clique in living if clique["metadata"]["labels"].get(names.LABEL_SCALINGGROUP) == fqn]
        breached = _breached(mine, group.termination_delay or w.termination_delay, now)
        waits += [left for left in breached.values() if left > 0]
        due = [j for j, left in breached.items() if left <= 0]
        if not due:
            continue
        if _replicas(group, group_objects.get(fqn)) - len(breached) < group.min_available:
            return Decision(tuple(living), f"replica {index}: {fqn} is below minAvailable", None)
        doomed += [c for c in mine if int(c["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]) in due]
        what = f"{fqn}: replicas {', '.join(map(str, due))} are below minAvailable"
    return Decision(tuple(doomed), what, min(waits) if waits else None)


def _replicas(group: model.GroupTemplate, obj: raw.Object | None) -> int:
    live = obj["spec"].get("replicas", 1) if obj else group.replicas
    return groups.effective_replicas(live, group.min_available)


def _breached(cliques: Sequence[raw.Object], delay: str, now: datetime) -> dict[int, float]:
    """Return group replica index to the seconds left until its delay ends."""
    result: dict[int, float] = {}
    for clique in cliques:
        left = _left(clique, delay, now)
        if left is not None:
            index = int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX])
            result[index] = min(left, result.get(index, left))
    return result


def _left(clique: raw.Object, delay: str, now: datetime) -> float | None:
    """Return seconds until a breached clique's delay ends; None where it is healthy or never was scheduled."""
    listed = (clique.get("status") or {}).get("conditions")
    breach = conditions.find(listed, status.BREACHED)
    scheduled = conditions.find(listed, status.SCHEDULED)
    if breach is None or breach["status"] != "True" or scheduled is None:
        return None
    created = datetime.fromisoformat(clique["metadata"]["creationTimestamp"])
    moved = datetime.fromisoformat(scheduled["lastTransitionTime"])
    if scheduled["status"] != "True" and moved - created <= _EVER:
        return None
    since = datetime.fromisoformat(breach["lastTransitionTime"])
    return duration.seconds(delay) - (now - since).total_seconds()


async def reconcile(ctx: Context, w: model.Workload) -> float | None:
    """Carry out what is due in all replicas of a set; return seconds until the next is."""
    now = ctx.clock.now()
    wait: float | None = None
    by_replica: dict[int, list[raw.Object]] = {}
    for clique in ctx.stores.cliques.by_index("set", f"{w.namespace}/{w.name}"):
        if conditions.is_true(clique, status.BREACHED):
            by_replica.setdefault(int(clique["metadata"]["labels"][w.dialect.label_replica_index]), [])
    for index in by_replica:
        mark = f"{w.namespace}/{w.name}/{index}"
        found = {g["metadata"]["name"]: g for g in ctx.stores.groups.by_index("replica", mark)}
        decision = decide(w, index, ctx.stores.cliques.by_index("replica", mark), found, now)
        if decision.doomed:
            ctx.events.warning(w.raw, "GangTerminated", f"{decision.what}: replaced", ctx.clock.stamp())
            await children.together(children.delete(ctx, resources.PODCLIQUES, c) for c in decision.doomed)
        if decision.wait is not None:
            wait = decision.wait if wait is None else min(wait, decision.wait)
    return None if wait is None else max(wait, 0.05) + 0.05
