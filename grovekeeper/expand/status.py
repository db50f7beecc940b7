"""Status of cliques, scaling groups and sets as pure functions of what exists and of `now` (RFC 3339)."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, groups, labels, model, plan

SCHEDULED = "PodCliqueScheduled"
BREACHED = "MinAvailableBreached"
MET = "MinAvailableMet"
"""Condition, True once the minimum has been met since the object was created or last idle. Gang termination goes by it:
transition times have whole seconds and cannot tell what happened in the first one."""
WEBHOOK_MISSING = "WebhookMissing"


def clique(
    w: model.Workload,
    obj: raw.Object,
    pods: Sequence[raw.Object],
    now: str,
    *,
    met: bool = False,
    lost: Container[str] = (),
) -> raw.Object:
    """Return the PodClique's status (Grove's counters and conditions; terminating pods count nowhere: trap 33).

    `met` says that the minimum has been met although no status says so yet. `lost` are nodes that are not ready: what a
    pod on one says of itself is old (Grove looks at pods alone, and waits until the node controller has marked each).
    """
    old = obj.get("status") or {}
    marks = obj["metadata"]["labels"]
    living = [pod for pod in pods if plan.alive(pod)]
    minimum = obj["spec"].get("minAvailable") or 0
    target = marks.get(names.LABEL_TEMPLATE_HASH, "")
    scheduled = [pod for pod in living if plan.scheduled(pod)]
    updated = sum(1 for pod in living if cliques.mark_of(pod) == cliques.mark_of(obj))
    idle = obj["spec"].get("replicas") == 0
    failing = sum(1 for pod in scheduled if pod["spec"].get("nodeName") in lost or _counts_against(pod))
    result: raw.Object = {
        **old,
        "observedGeneration": obj["metadata"].get("generation", 0),
        "replicas": len(living),
        "readyReplicas": sum(1 for pod in living if plan.ready(pod) and pod["spec"].get("nodeName") not in lost),
        "updatedReplicas": updated,
        "scheduledReplicas": len(scheduled),
        "scheduleGatedReplicas": sum(1 for pod in living if plan.gated(pod)),
    }
    if names.LABEL_SCALINGGROUP not in marks:
        result["hpaPodSelector"] = labels.selector(
            {
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_PART_OF: w.name,
                names.LABEL_PODCLIQUE: obj["metadata"]["name"],
            }
        )
    if updated == len(living) == obj["spec"].get("replicas"):
        result["currentPodTemplateHash"] = target
        if not cliques.is_old(w, obj):
            result[w.dialect.generation_hash_field] = w.generation_hash
    enough = len(scheduled) >= minimum or idle
    was_idle = conditions.is_true(obj, SCHEDULED) and old.get("scheduledReplicas", 0) < minimum
    since = now if enough or met else _since(obj, SCHEDULED, was_idle, now)
    result["conditions"] = conditions.merged(
        old.get("conditions"),
        [
            conditions.condition(
                SCHEDULED,
                enough,
                "SufficientScheduledPods" if enough else "InsufficientScheduledPods",
                f"{len(scheduled)} of {minimum} pods of the minimum have a node",
                since,
            ),
            _clique_breach(len(scheduled), failing, 0 if idle else minimum, since),
            *([_met(now)] if (enough or met) and not idle else ()),
        ],
        drop=[WEBHOOK_MISSING, MET] if idle else [WEBHOOK_MISSING],
    )
    return result


def _met(now: str) -> raw.Object:
    return conditions.condition(MET, True, "MinAvailableMet", "the minimum has been met", now)


def _since(obj: raw.Object, type_: str, was_idle: bool, now: str) -> str:
    """Return when a shortfall began: with the object itself where it has never met its minimum (or was idle).

    So the transition time alone tells gang termination whether the gang was ever whole, through restarts.
    """
    known = conditions.find((obj.get("status") or {}).get("conditions"), type_) is not None
    return now if known and not was_idle else str(obj["metadata"].get("creationTimestamp", now))


def _clique_breach(scheduled: int, failing: int, minimum: int, now: str) -> raw.Object:
    if scheduled < minimum:
        text = f"{scheduled} of at least {minimum} pods have a node"
        return conditions.condition(BREACHED, True, "ScheduledReplicasBelowMinAvailable", text, now)
    if scheduled - failing < minimum:
        text = f"{scheduled - failing} of at least {minimum} pods are healthy"
        return conditions.condition(BREACHED, True, "InsufficientReadyPods", text, now)
    return conditions.condition(BREACHED, False, "SufficientReadyPods", f"at least {minimum} pods are healthy", now)


def _counts_against(pod: raw.Object) -> bool:
    """Return whether a scheduled pod is unhealthy: not ready, and has crashed before or has been started."""
    if plan.ready(pod):
        return False
    status = pod.get("status") or {}
    main = status.get("containerStatuses") or []
    for container in [*(status.get("initContainerStatuses") or []), *main]:
        if ((container.get("lastState") or {}).get("terminated") or {}).get("exitCode"):
            return True
    return any(container.get("started") and not container.get("ready") for container in main) or _node_lost(status)


def _node_lost(status: raw.Object) -> bool:
    ready = conditions.find(status.get("conditions"), "Ready")
    return ready is not None and ready.get("reason") in ("NodeLost", "NodeNotReady")


@dataclass(frozen=True, slots=True)
class GroupReplica:
    """What a group's status needs to know of one of its replicas."""

    complete: bool
    """All PodCliques exist and none is being deleted."""
    scheduled: bool
    available: bool
    updated: bool
    breached: bool
    met: bool = False
    """Every PodClique of it has met its minimum once."""


def well(clique_obj: raw.Object) -> bool:
    """Return whether a PodClique is known not to be below its minimum. One without a verdict yet is not well."""
    found = conditions.find((clique_obj.get("status") or {}).get("conditions"), BREACHED)
    return found is not None and found["status"] != "True"


def group_replica(w: model.Workload, expected: int, members: Sequence[raw.Object]) -> GroupReplica:
    """Return the state of one group replica from its PodClique objects."""
    living = [entry for entry in members if not plan.terminating(entry)]
    complete = len(living) == expected
    scheduled = complete and all(conditions.is_true(entry, SCHEDULED) for entry in living)
    available = scheduled and all(_available(entry) for entry in living)
    updated = available and all(_converged(w, entry) for entry in living)
    breached = not complete or not all(well(entry) for entry in living)
    met = complete and all(conditions.is_true(entry, MET) for entry in living)
    return GroupReplica(complete, scheduled, available, updated, breached, met)


def group(w: model.Workload, obj: raw.Object, replicas: Mapping[int, GroupReplica], now: str) -> raw.Object:
    """Return the PodCliqueScalingGroup's status."""
    old = obj.get("status") or {}
    minimum = obj["spec"].get("minAvailable") or 1
    wanted = groups.effective_replicas(obj["spec"].get("replicas", 1), minimum)
    mine = [state for index, state in replicas.items() if index < wanted]
    healthy = sum(1 for state in mine if not state.breached)
    enough = healthy >= minimum or wanted == 0
    # Its minimum is placed at once: replicas that have met theirs have done so together.
    met = enough or sum(1 for state in mine if state.met) >= minimum
    since = now if met else _since(obj, BREACHED, old.get("replicas", 0) == 0, now)
    updated = sum(1 for state in mine if state.updated)
    result: raw.Object = {
        **old,
        "observedGeneration": obj["metadata"].get("generation", 0),
        "replicas": sum(1 for state in mine if state.complete),
        "scheduledReplicas": sum(1 for state in mine if state.scheduled),
        "availableReplicas": sum(1 for state in mine if state.available),
        "updatedReplicas": updated,
        "selector": labels.selector(
            {
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_PART_OF: w.name,
                names.LABEL_SCALINGGROUP: obj["metadata"]["name"],
                names.LABEL_REPRESENTATIVE: "group",
            }
        ),
        "conditions": conditions.merged(
            old.get("conditions"),
            [
                conditions.condition(
                    BREACHED,
                    not enough,
                    "SufficientAvailablePodCliqueScalingGroupReplicas"
                    if enough
                    else "InsufficientAvailablePodCliqueScalingGroupReplicas",
                    f"{healthy} replicas are healthy, the minimum is {minimum}",
                    since,
                ),
                *([_met(now)] if met and wanted else ()),
            ],
            drop=[] if wanted else [MET],
        ),
    }
    if updated == wanted:
        result[w.dialect.generation_hash_field] = w.generation_hash
    return result


@dataclass(frozen=True, slots=True)
class SetReplica:
    """What a set's status needs to know of one of its replicas."""

    exists: bool
    available: bool
    updated: bool


def set_replica(
    w: model.Workload, standalone: Sequence[raw.Object], scaling_groups: Sequence[raw.Object]
) -> SetReplica:
    """Return the state of one set replica from its standalone PodCliques and scaling groups."""
    living = [entry for entry in standalone if not plan.terminating(entry)]
    live_groups = [entry for entry in scaling_groups if not plan.terminating(entry)]
    exists = len(living) == len(w.standalone()) and len(live_groups) == len(w.groups)
    available = exists and all(_available(entry) for entry in living) and all(_group_available(g) for g in live_groups)
    updated = available and all(_converged(w, entry) for entry in living)
    hashes = ((entry.get("status") or {}).get(w.dialect.generation_hash_field) for entry in live_groups)
    return SetReplica(exists, available, updated and all(found == w.generation_hash for found in hashes))


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over all replicas of a set."""

    existing: int
    available: int
    updated: int


def whole_set(
    w: model.Workload, totals: Totals, problems: Sequence[tuple[str, str]], extra: Sequence[raw.Object], now: str
) -> raw.Object:
    """Return the set's status. `problems` are (reason, message) of what keeps it from coming up; `extra` conditions.

    Conditions follow kstatus: Reconciling while something is on its way, Stalled where a person must act, Ready.
    """
    old = w.raw.get("status") or {}
    done = totals.available == totals.existing == w.replicas and totals.updated == w.replicas
    text = f"{totals.available} of {w.replicas} replicas are available, {totals.updated} are up to date"
    reason, message = problems[0] if problems else ("Progressing", text)
    fresh = [
        conditions.condition("Ready", done, "AllReplicasAvailable" if done else reason, text if done else message, now),
        *extra,
    ]
    drop = ["Stalled"]
    if done:
        drop.append("Reconciling")
    else:
        fresh.append(conditions.condition("Reconciling", True, reason, message, now))
    return {
        **{key: value for key, value in old.items() if key != "podGangStatuses"},
        "observedGeneration": w.generation,
        "replicas": totals.existing,
        "availableReplicas": totals.available,
        "updatedReplicas": totals.updated,
        "hpaPodSelector": labels.selector(
            {
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_PART_OF: w.name,
                names.LABEL_REPRESENTATIVE: "set",
            }
        ),
        "currentGenerationHash": w.generation_hash,
        "conditions": conditions.merged(old.get("conditions"), fresh, drop=drop),
    }


def _available(clique_obj: raw.Object) -> bool:
    status = clique_obj.get("status") or {}
    spec = clique_obj["spec"]
    minimum = 0 if spec.get("replicas") == 0 else spec.get("minAvailable") or 0
    return bool(status.get("readyReplicas", 0) >= minimum and status.get("observedGeneration", -1) >= 0)


def _group_available(group_obj: raw.Object) -> bool:
    status = group_obj.get("status") or {}
    spec = group_obj["spec"]
    minimum = 0 if spec.get("replicas") == 0 else spec.get("minAvailable") or 1
    return bool(status.get("availableReplicas", 0) >= minimum and status.get("observedGeneration", -1) >= 0)


def _converged(w: model.Workload, clique_obj: raw.Object) -> bool:
    status = clique_obj.get("status") or {}
    return (
        not cliques.is_old(w, clique_obj)
        and status.get("currentPodTemplateHash") == cliques.hash_of(clique_obj)
        and status.get(w.dialect.generation_hash_field) == w.generation_hash
    )
