"""Comparing what should be with what is: children by field, pods of a clique by index."""

from collections.abc import Sequence
from dataclasses import dataclass

from grovekeeper.api import names, raw

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
    return _is_true(pod, "Ready")


def scheduled(pod: raw.Object) -> bool:
    """Return whether the pod has a node."""
    return bool(pod["spec"].get("nodeName")) or _is_true(pod, "PodScheduled")


def gated(pod: raw.Object) -> bool:
    """Return whether our gate is still on the pod."""
    return any(gate["name"] == names.GATE for gate in pod["spec"].get("schedulingGates") or ())


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


@dataclass(frozen=True, slots=True)
class PodsPlan:
    """What to do to a clique's pods now."""

    create: tuple[tuple[int, tuple[str, ...]], ...]
    """Pod index and the UIDs of the pods that held it and are still listed."""
    delete: tuple[raw.Object, ...]


def pods(clique_replicas: int, existing: Sequence[raw.Object], template_hash: str) -> PodsPlan:
    """Return which indexes to create and which pods to delete, so that `clique_replicas` living pods remain.

    Indexes are filled lowest first. A terminating pod keeps its index until it is gone (its hostname is still in
    use); a Failed or Succeeded pod is deleted and its index given to a successor (Grove keeps it: 13.1).
    A second living pod of one index is surplus.
    """
    living = [pod for pod in existing if alive(pod)]
    dead = [pod for pod in existing if finished(pod) and not terminating(pod)]
    surplus = sorted(living, key=lambda pod: _keep_order(pod, template_hash))
    doubles = _doubles(living)
    excess = max(0, len(living) - len(doubles) - clique_replicas)
    victims = doubles + [pod for pod in surplus if pod not in doubles][:excess]
    gone = {pod["metadata"]["uid"] for pod in victims}
    taken = {pod_index(pod) for pod in living if pod["metadata"]["uid"] not in gone}
    busy = {pod_index(pod) for pod in existing if terminating(pod)}
    create = []
    index = 0
    missing = clique_replicas - len(taken) - len(busy - taken)
    while missing > 0:
        if index not in taken and index not in busy:
            create.append((index, _holders(existing, index)))
            missing -= 1
        index += 1
    return PodsPlan(tuple(create), tuple(dead + victims))


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


def _is_true(obj: raw.Object, type_: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == type_ and condition["status"] == "True" for condition in conditions)
