"""The status of a PodGang: phase, Initialized, Scheduled and Ready conditions, placement score. Pure."""

from collections.abc import Mapping, Sequence

from grovekeeper.api import conditions, raw
from grovekeeper.expand import gangs, plan

SCHEDULED = "Scheduled"
READY = "Ready"
PREEMPTED = "DisruptionTarget"
"""Condition, True while a gang that was preempted has no room again."""
MEMBERS_LOST = "MembersLost"
"""Reason of Scheduled=False of a gang that had its whole minimum on nodes and still has a part of it there."""

ABOVE = "pods above the minimum are gated until there is room for them"


def counts(gang: gangs.Gang, pods: Mapping[str, Sequence[raw.Object]], test: str) -> tuple[int, int]:
    """Return how many pods of the minimum pass (`scheduled` or `ready`) and how many there are in the minimum."""
    passes = plan.ready if test == "ready" else lambda pod: bool(pod["spec"].get("nodeName"))
    have = need = 0
    for member in gang.members:
        need += member.minimum
        have += min(member.minimum, sum(1 for pod in pods.get(member.fqn, ()) if plan.alive(pod) and passes(pod)))
    return have, need


def scheduled(gang: gangs.Gang, pods: Mapping[str, Sequence[raw.Object]]) -> bool:
    """Return whether every pod of the minimum has a node."""
    have, need = counts(gang, pods, "scheduled")
    return have >= need


def held_up(gang: gangs.Gang, pods: Mapping[str, Sequence[raw.Object]]) -> str | None:
    """Return which scheduling gates of others keep a gang from being complete; None where its pods do not all exist."""
    living = {fqn: list(filter(plan.alive, found)) for fqn, found in pods.items()}
    if gangs.missing(gang, {fqn: len(found) for fqn, found in living.items()}):
        return None
    held = [pod for found in living.values() for pod in found if not plan.placeable(pod)]
    listed = ", ".join(sorted({name for pod in held for name in plan.foreign_gates(pod["spec"])}))
    return f"{len(held)} pods have scheduling gates of others ({listed}): the gang is placed when they are gone"


def was_whole(status: raw.Object) -> bool:
    """Return whether a PodGang's status says that the minimum had its nodes, and has not lost all of them since."""
    found = conditions.find(status.get("conditions"), SCHEDULED)
    return found is not None and (found["status"] == "True" or found.get("reason") == MEMBERS_LOST)


def status(
    old: raw.Object,
    gang: gangs.Gang,
    pods: Mapping[str, Sequence[raw.Object]],
    why_not: str | None,
    now: str,
    *,
    base_is_placed: bool = True,
    preempted: str = "",
    whole: bool = False,
) -> raw.Object:
    """Return the new status. `why_not` is the placement engine's summary while the gang does not fit, `preempted` says
    for whom it gave up its room, and `whole` that it had its minimum on nodes although `old` does not tell.

    A scaled gang is not asked about before its base gang is placed: that is what it waits for then.
    """
    placed, need = counts(gang, pods, "scheduled")
    well, _ = counts(gang, pods, "ready")
    missing = gangs.missing(gang, {fqn: sum(map(plan.alive, found)) for fqn, found in pods.items()})
    phase = "Running" if well >= need else "Starting" if placed >= need else "Pending"
    if placed >= need:
        # No count: the message is written once, not for each of many that come one by one.
        waits = any(plan.alive(pod) and plan.gated(pod) for found in pods.values() for pod in found)
        text = f"{placed} of {need} pods have a node" + (f"; {ABOVE}" if waits else "")
        scheduled_condition = conditions.condition(SCHEDULED, True, "Placed", text, now)
    else:
        lost = placed > 0 and (whole or was_whole(old))
        reason = MEMBERS_LOST if lost else "Unschedulable" if why_not else "Waiting"
        behind = "" if base_is_placed else f"waits until its base gang {gang.base} has its nodes"
        text = why_not or ", ".join(missing) or behind or f"{placed} of {need} pods have a node"
        scheduled_condition = conditions.condition(SCHEDULED, False, reason, text[:1024], now)
    return {
        **old,
        "phase": phase,
        "conditions": conditions.merged(
            old.get("conditions"),
            [
                conditions.condition(
                    "Initialized",
                    not missing,
                    "PodGangPodsCreationPending" if missing else "PodGangPodsCreated",
                    ", ".join(missing)[:1024] if missing else "every pod of the minimum exists",
                    now,
                ),
                scheduled_condition,
                conditions.condition(
                    READY,
                    well >= need,
                    "PodsReady" if well >= need else "PodsNotReady",
                    f"{well} of {need} pods of the minimum are ready",
                    now,
                ),
                *([conditions.condition(PREEMPTED, True, "Preempted", preempted, now)] if preempted else ()),
            ],
            drop=[] if preempted else [PREEMPTED],
        ),
    }
