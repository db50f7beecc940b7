"""From a gang and its pods to what the placement engine is asked. Pure."""

from collections.abc import Mapping, Sequence

from grovekeeper.api import raw
from grovekeeper.expand import gangs, model, plan
from grovekeeper.placement import request
from grovekeeper.reconciler import pins


def levels_of(binding: raw.Object | None) -> dict[str, str]:
    """Return topology domain to node label key, broadest first; empty without a binding."""
    return {level["domain"]: level["key"] for level in ((binding or {}).get("spec") or {}).get("levels") or ()}


def ask(
    w: model.Workload,
    gang: gangs.Gang,
    pods: Mapping[str, Sequence[raw.Object]],
    levels: Mapping[str, str],
    near: Sequence[str],
    reserved: Mapping[str, str],
    avoid: Sequence[str] = (),
    *,
    minimum_only: bool = False,
) -> request.GangAsk:
    """Return the request for the pods that are still gated; those that have a node (or a pin) are fixed.

    `near` is the base gang's nodes, `reserved` maps hostnames to where they were last, `avoid` names nodes to keep off.
    With `minimum_only`, pods above the minimum are left out: it is not their turn yet.
    """
    groups = []
    fixed: dict[str, tuple[str, str]] = {}
    priority = 0
    created = ""
    for member in gang.members:
        waiting = []
        here = 0
        for pod in sorted(pods.get(member.fqn, ()), key=plan.pod_index):
            if not plan.alive(pod):
                continue
            priority = max(priority, pod["spec"].get("priority") or 0)
            created = max(created, pod["metadata"].get("creationTimestamp", ""))
            node = pod["spec"].get("nodeName") or (None if plan.gated(pod) else pins.pinned_to(pod))
            if node:
                fixed[pod["metadata"]["name"]] = (member.fqn, node)
                here += 1
            elif plan.gated(pod):
                waiting.append(_pod(pod, reserved, avoid))
        if minimum_only:
            waiting = waiting[: max(0, member.minimum - here)]
        groups.append(
            request.GroupAsk(member.fqn, tuple(waiting), member.minimum, _constraint(member.template.pack, levels))
        )
    return request.GangAsk(
        namespace=w.namespace,
        name=gang.name,
        groups=tuple(groups),
        constraint=_constraint(gang.pack, levels),
        subgangs=tuple(
            request.SubgangAsk(sub.name, sub.cliques, _constraint(sub.pack, levels)) for sub in gang.subgangs
        ),
        priority=priority,
        created=created,
        fixed=fixed,
        near=tuple(near),
        levels=tuple(levels.values()),
    )


def _pod(pod: raw.Object, reserved: Mapping[str, str], avoid: Sequence[str]) -> request.PodAsk:
    metadata = pod["metadata"]
    return request.PodAsk(
        metadata["name"],
        metadata["uid"],
        pins.avoiding(pod["spec"], avoid) if avoid else pod["spec"],
        metadata.get("labels") or {},
        (pod.get("status") or {}).get("nominatedNodeName") or reserved.get(pod["spec"].get("hostname") or ""),
    )


def _constraint(pack: model.Pack | None, levels: Mapping[str, str]) -> request.Constraint:
    if pack is None:
        return request.Constraint()
    return request.Constraint(levels.get(pack.required or ""), levels.get(pack.preferred or ""))
