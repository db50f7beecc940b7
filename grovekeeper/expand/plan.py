"""Comparing what should be with what is: children by field, pods of a clique by index."""

from collections.abc import Sequence
from dataclasses import dataclass

from grovekeeper.api import conditions, names, raw

_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def differs(desired: raw.Json, live: raw.Json) -> bool:
    """Return whether `live` lacks anything that `desired` says. Fields that others or the server added do not count."""
    if isinstance(desired, dict):
        return not isinstance(live, dict) or any(
            differs(value, live.get(key)) for key, value in desired.items() if value not in (None, {}, [])
        )
    if isinstance(desired, list):
        return (
            not isinstance(live, list)
            or len(live) != len(desired)
            or any(differs(mine, theirs) for mine, theirs in zip(desired, live, strict=True))
        )
    return bool(desired != live)


def ready(pod: raw.Object) -> bool:
    """Return whether the pod's Ready condition is True."""
    return conditions.is_true(pod, "Ready")


def scheduled(pod: raw.Object) -> bool:
    """Return whether the pod has a node."""
    return bool(pod["spec"].get("nodeName")) or conditions.is_true(pod, "PodScheduled")


def scheduled_at(pod: raw.Object) -> str | None:
    """Return when the pod got its node (RFC 3339, whole seconds), or became ready where that is not told."""
    listed = (pod.get("status") or {}).get("conditions")
    told = (conditions.find(listed, type_) for type_ in ("PodScheduled", "Ready"))
    true = (entry for entry in told if entry is not None and entry["status"] == "True")
    return next((entry["lastTransitionTime"] for entry in true if entry.get("lastTransitionTime")), None)


def gated(pod: raw.Object) -> bool:
    """Return whether our gate is still on the pod."""
    return any(gate["name"] == names.GATE for gate in pod["spec"].get("schedulingGates") or ())


def injected(pod: raw.Object) -> bool:
    """Return whether the pod webhook has changed the pod: it leaves a mark."""
    return names.ANNOTATION_INJECTED in (pod["metadata"].get("annotations") or {})


def foreign_gates(spec: raw.Object) -> list[str]:
    """Return the names of the scheduling gates in a pod's spec that are not ours."""
    return [gate["name"] for gate in spec.get("schedulingGates") or () if gate["name"] != names.GATE]


def placeable(pod: raw.Object) -> bool:
    """Return whether the pod counts when its gang is placed: it lives, and nobody else keeps it from its node.

    Released beside a gate of somebody else's, a pod would not be bound, and its gang would run in part.
    """
    return alive(pod) and not (gated(pod) and foreign_gates(pod["spec"]))


def finished(pod: raw.Object) -> bool:
    """Return whether the pod's phase is final: it will never run again and holds nothing."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def terminating(pod: raw.Object) -> bool:
    """Return whether the pod is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def alive(pod: raw.Object) -> bool:
    """Return whether the pod counts as a member: neither being deleted nor finished."""
    return not terminating(pod) and not finished(pod)


def pod_index(pod: raw.Object) -> int:
    """Return the pod's index in its clique, from its label; -1 where there is none."""
    text = (pod["metadata"].get("labels") or {}).get(names.LABEL_POD_INDEX, "")
    return int(text) if text.isdigit() else -1


def disrupted(pod: raw.Object) -> bool:
    """Return whether somebody wanted the pod off its node: it was evicted, preempted, drained."""
    ours = names.ANNOTATION_PREEMPTED in (pod["metadata"].get("annotations") or {})
    return ours or conditions.is_true(pod, "DisruptionTarget")


def preempted(pod: raw.Object) -> bool:
    """Return whether the pod ends, or has ended, so that others of higher priority get its room: ours or anybody's."""
    why = conditions.find((pod.get("status") or {}).get("conditions"), "DisruptionTarget")
    theirs = why is not None and (why["status"], why.get("reason")) == ("True", "PreemptionByScheduler")
    return not alive(pod) and (theirs or names.ANNOTATION_PREEMPTED in (pod["metadata"].get("annotations") or {}))


def predecessor(pod: raw.Object) -> str | None:
    """Return the UID of the pod that this one succeeds; None for a pod that succeeds nobody."""
    found: str | None = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_SUCCEEDS)
    return found


def home(pod: raw.Object) -> str | None:
    """Return the node that a pod has or has the next claim to: bound, or nominated as a successor."""
    node = pod["spec"].get("nodeName")
    if not node and predecessor(pod) is not None:
        node = (pod.get("status") or {}).get("nominatedNodeName")
    return node or None


def heirs(pods: Sequence[raw.Object]) -> list[tuple[raw.Object, raw.Object]]:
    """Return the successors whose predecessor is still listed, each with that predecessor."""
    listed = {pod["metadata"]["uid"]: pod for pod in pods}
    return [(pod, listed[uid]) for pod in pods if (uid := predecessor(pod)) is not None and uid in listed]


def members(pods: Sequence[raw.Object]) -> list[raw.Object]:
    """Return the pods that count: all but successors whose predecessor is still listed."""
    listed = {pod["metadata"]["uid"] for pod in pods}
    return [pod for pod in pods if predecessor(pod) not in listed]


@dataclass(frozen=True, slots=True)
class Birth:
    """A pod to create."""

    index: int
    previous: tuple[str, ...] = ()
    """UIDs of the pods that have the index and are still listed."""
    succeeds: raw.Object | None = None
    """The pod that is terminating and whose node is held for the new one."""


@dataclass(frozen=True, slots=True)
class PodsPlan:
    """What to do to a clique's pods now."""

    create: tuple[Birth, ...]
    delete: tuple[raw.Object, ...]


def pods(clique_replicas: int, existing: Sequence[raw.Object], template_hash: str) -> PodsPlan:
    """Return which indexes to create and which pods to delete, so that `clique_replicas` living pods remain.

    Indexes are filled lowest first. A terminating pod keeps its index until it is gone (its hostname is still in
    use); its successor is created at once where it has a node to pass on, and waits. A Failed or Succeeded pod is
    deleted and its index given to a successor (Grove keeps it: 13.1). A second living pod of one index is surplus.
    """
    present = members(existing)
    living = [pod for pod in present if alive(pod)]
    dead = [pod for pod in existing if finished(pod) and not terminating(pod)]
    surplus = sorted(living, key=lambda pod: _keep_order(pod, template_hash))
    doubles = _doubles(living)
    excess = max(0, len(living) - len(doubles) - clique_replicas)
    victims = doubles + [pod for pod in surplus if pod not in doubles][:excess]
    gone = {pod["metadata"]["uid"] for pod in victims}
    taken = {pod_index(pod) for pod in living if pod["metadata"]["uid"] not in gone}
    free = clique_replicas - len(taken)
    create: list[Birth] = []
    ending = {pod_index(pod): pod for pod in present if terminating(pod)}
    waiting = {pod_index(heir): heir for heir, _ in heirs(existing) if alive(heir) and pod_index(heir) not in taken}
    kept = sorted(waiting)[: max(0, free)]
    victims += [heir for index, heir in waiting.items() if index not in kept]
    victims += [heir for heir, before in heirs(existing) if before["metadata"]["uid"] in gone and alive(heir)]
    free -= len(kept)
    for index in sorted(ending.keys() - taken - waiting.keys())[: max(0, free)]:
        free -= 1
        if home(ending[index]) is not None and not disrupted(ending[index]):
            create.append(Birth(index, _holders(existing, index), ending[index]))
    index = 0
    while free > 0:
        if index not in taken and index not in ending:
            create.append(Birth(index, _holders(existing, index)))
            free -= 1
        index += 1
    return PodsPlan(tuple(create), tuple(_once(dead + victims)))


def _once(pods: Sequence[raw.Object]) -> list[raw.Object]:
    return list({pod["metadata"]["uid"]: pod for pod in pods}.values())


def _keep_order(pod: raw.Object, template_hash: str) -> tuple[int, int, int, int, int]:
    """Return a sort key: what sorts first goes first on scale-in. Highest index first among equals."""
    metadata = pod["metadata"]
    return (
        1 if scheduled(pod) else 0,
        _PHASE_RANK.get((pod.get("status") or {}).get("phase", "Pending"), 0),
        1 if ready(pod) else 0,
        1 if (metadata.get("labels") or {}).get(names.LABEL_TEMPLATE_HASH) == template_hash else 0,
        -pod_index(pod),
    )


def _doubles(living: Sequence[raw.Object]) -> list[raw.Object]:
    seen: set[int] = set()
    doubles = []
    for pod in sorted(living, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"])):
        index = pod_index(pod)
        if index in seen or index < 0:
            doubles.append(pod)
        seen.add(index)
    return doubles


def _holders(existing: Sequence[raw.Object], index: int) -> tuple[str, ...]:
    return tuple(pod["metadata"]["uid"] for pod in existing if pod_index(pod) == index)
