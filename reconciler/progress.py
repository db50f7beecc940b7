"""The progress of an update: Grove's fields, how far it is, and whether it has come to a halt. Pure.

The clock is in the status: when the update began, and when it last came forward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, model
from grovekeeper.reconciler.rolling import Replica
from grovekeeper.runtime import clock

PROGRESSING = "Progressing"
EXCEEDED = "ProgressDeadlineExceeded"
_SHOWN = 5
_COUNTS = ("updatedPodCliquesCount", "updatedPodCliqueScalingGroupsCount", "updatedPodsCount")


@dataclass(frozen=True, slots=True)
class Observed:
    """What the update is about to do, and what is left to do."""

    updating: Sequence[int] = ()
    surge: int = 0
    outdated: int = 0
    """Set replicas that are not at the newest template."""
    preempted: Sequence[str] = ()
    """Gangs of the replicas in hand that gave up their room to others and have none again."""


def noted(w: model.Workload) -> raw.Object:
    """Return what the status says of the update to the newest template; empty where there is none."""
    status = w.raw.get("status") or {}
    known = status.get("currentGenerationHash")
    if known is not None and known != w.generation_hash:
        return {}
    found: raw.Object = status.get(w.dialect.progress_field) or {}
    return found


def updating(w: model.Workload) -> frozenset[int]:
    """Return the indexes of the set replicas that the status says are being updated to the newest template."""
    return frozenset(entry["replicaIndex"] for entry in noted(w).get("currentlyUpdating") or ())


def fresh(w: model.Workload, replicas: Sequence[Replica], seen: Observed, now: str) -> raw.Object | None:
    """Return the progress field; None before the first update. It stays after an update's end."""
    status = w.raw.get("status") or {}
    old = noted(w)
    known = status.get("currentGenerationHash")
    busy = bool(seen.updating or seen.surge)
    # Without a status yet, the template may have changed in the set's first moments.
    if not old and known in (None, w.generation_hash) and not busy and not (known is None and seen.outdated):
        return None
    if not old or (busy and "updateEndedAt" in old):
        old = {"updateStartedAt": now}
    result: raw.Object = {"updateStartedAt": old.get("updateStartedAt", now), **_counts(w, replicas)}
    result["surgeReplicas"] = seen.surge
    if busy:
        since = {entry["replicaIndex"]: entry for entry in old.get("currentlyUpdating") or ()}
        entries = [since.get(index) or {"replicaIndex": index, "updateStartedAt": now} for index in seen.updating]
        if entries:
            result["currentlyUpdating"] = entries
    elif not seen.outdated or _only_passes_on(w):
        result["updateEndedAt"] = old.get("updateEndedAt", now)
    if "updateEndedAt" not in result and not w.update_strategy.get("paused") and not seen.preempted:
        result["lastProgressTime"] = now if _came_forward(old, result) else old.get("lastProgressTime", now)
    return result


def _only_passes_on(w: model.Workload) -> bool:
    """Return whether the update has ended as soon as the templates are passed on: pods are for people to delete."""
    strategy = w.update_strategy
    return strategy.get("type") == names.UPDATE_ON_DELETE and not strategy.get("paused")


def condition(
    w: model.Workload, progress: raw.Object, now: datetime, preempted: Sequence[str] = ()
) -> tuple[raw.Object, float | None]:
    """Return the condition Progressing, and the seconds until the deadline would pass (None: there is none).

    The clock stands still while the update is paused or a gang in its hands is `preempted`, and begins anew after.
    """
    stamp = clock.rfc3339(now)
    if "updateEndedAt" in progress:
        return conditions.condition(PROGRESSING, True, "UpdateComplete", "no update is on", stamp), None
    if w.update_strategy.get("paused"):
        text = "the update is paused: set spec.updateStrategy.paused to false to go on"
        return conditions.condition(PROGRESSING, None, "UpdatePaused", text, stamp), None
    if preempted:
        text = f"{', '.join(preempted[:_SHOWN])} made room for others of higher priority: it goes on when there is room"
        return conditions.condition(PROGRESSING, None, "GangPreempted", text, stamp), None
    done = f"{progress['updatedPodsCount']} of {progress['totalPodsCount']} pods are updated and ready"
    deadline = w.update_strategy.get("progressDeadlineSeconds")
    if deadline is None:
        return conditions.condition(PROGRESSING, True, "UpdateInProgress", done, stamp), None
    left = (clock.parse(progress["lastProgressTime"]) + timedelta(seconds=deadline) - now).total_seconds()
    if left > 0:
        return conditions.condition(PROGRESSING, True, "UpdateInProgress", done, stamp), left
    text = (
        f"no progress for {deadline} s, {done}: see the gangs and pods (grovekeeper tree {w.name}), "
        "or go back (grovekeeper rollback, or a revert in Git)"
    )
    return conditions.condition(PROGRESSING, False, EXCEEDED, text, stamp), None


def _counts(w: model.Workload, replicas: Sequence[Replica]) -> raw.Object:
    """Return how many children and pods are at the newest template. O(children)."""
    standalone = [clique for replica in replicas for clique in replica.standalone()]
    groups = [group for replica in replicas for group in replica.groups]
    everyone = [clique for replica in replicas for clique in replica.cliques]
    return {
        "updatedPodCliquesCount": sum(_has_said(w, each) for each in standalone),
        "totalPodCliquesCount": len(standalone),
        "updatedPodCliqueScalingGroupsCount": sum(_has_said(w, each) for each in groups),
        "totalPodCliqueScalingGroupsCount": len(groups),
        "updatedPodsCount": sum(_new_pods(clique) for clique in everyone if not cliques.is_old(w, clique)),
        "totalPodsCount": sum(clique["spec"].get("replicas", 1) for clique in everyone),
    }


def _has_said(w: model.Workload, obj: raw.Object) -> bool:
    return (obj.get("status") or {}).get(w.dialect.generation_hash_field) == w.generation_hash


def _new_pods(clique: raw.Object) -> int:
    told = clique.get("status") or {}
    if told.get("observedGeneration") != clique["metadata"].get("generation"):
        return 0  # it speaks of the template before
    return int(min(told.get("updatedReplicas", 0), told.get("readyReplicas", 0)))


def _came_forward(old: raw.Object, new: raw.Object) -> bool:
    if any(new[field] > old.get(field, 0) for field in _COUNTS):
        return True
    before = {entry["replicaIndex"] for entry in old.get("currentlyUpdating") or ()}
    return any(entry["replicaIndex"] not in before for entry in new.get("currentlyUpdating") or ())
