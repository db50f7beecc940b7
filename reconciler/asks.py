"""From a gang and its pods to what the placement engine is asked. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from grovekeeper.api import raw
from grovekeeper.expand import gangs, model, plan
from grovekeeper.placement import request
from grovekeeper.reconciler import decisions, pins

Peers = tuple[tuple[str, ...], ...]
"""Where siblings are: node names, a tuple a sibling."""
Within = tuple[str, tuple[str, ...]]
"""A node label key, and the values of it among which a node has to be."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a gang's placement depends on besides its own pods."""

    near: tuple[str, ...] = ()
    """Nodes of the base gang, and those that are held for this one."""
    reserved: Mapping[str, str] = field(default_factory=dict)
    """Hostname to the node on which that pod was last."""
    avoid: tuple[str, ...] = ()
    """Nodes to keep off."""
    closed: frozenset[str] = frozenset()
    """Nodes that are kept for a gang that has waited longer."""
    homes: Mapping[str, str] = field(default_factory=dict)
    """Pod name to the node that is held for it: it does not have to wait for its turn."""
    minimum_only: bool = False
    """Leave pods above the minimum out: it is not their turn yet."""
    replicas: Peers = ()
    """Of each other set replica, where the set's replicas are spread."""
    groups: Mapping[str, Peers] = field(default_factory=dict)
    """By FQN of a scaling group that is spread: of each of its replicas that is not in this gang."""
    followers: Sequence[gangs.Gang] = ()
    """Scaled gangs of a base gang that have no place yet."""
    within: Within | None = None
    """Node label key and the values of it to which a scaled gang is bound: its base gang's domain."""


def levels_of(binding: raw.Object | None) -> dict[str, str]:
    """Return topology domain to node label key, broadest first; empty without a binding."""
    return {level["domain"]: level["key"] for level in ((binding or {}).get("spec") or {}).get("levels") or ()}


def ask(
    w: model.Workload,
    gang: gangs.Gang,
    pods: Mapping[str, Sequence[raw.Object]],
    levels: Mapping[str, str],
    around: Around,
) -> request.GangAsk:
    """Return the request for the pods that are still gated; those that have a node (or a pin) are fixed."""
    groups = []
    fixed: dict[str, tuple[str, str]] = {}
    priority = 0
    preempts = True
    created = ""
    for member in gang.members:
        waiting = []
        here = 0
        for pod in sorted(pods.get(member.fqn, ()), key=plan.pod_index):
            if not plan.alive(pod):
                continue
            priority = max(priority, pod["spec"].get("priority") or 0)
            preempts = preempts and pod["spec"].get("preemptionPolicy") != "Never"
            created = max(created, pod["metadata"].get("creationTimestamp", ""))
            node = decisions.place_of(pod)
            if node:
                fixed[pod["metadata"]["name"]] = (member.fqn, node)
                here += 1
            elif plan.gated(pod):
                waiting.append(_pod(pod, around))
        if around.minimum_only:
            needed = max(0, member.minimum - here)
            waiting = [*waiting[:needed], *(pod for pod in waiting[needed:] if pod.name in around.homes)]
        groups.append(
            request.GroupAsk(
                member.fqn,
                tuple(waiting),
                member.minimum,
                _constraint(member.template.pack, levels),
                _spread(member.template.spread, levels),
            )
        )
    return request.GangAsk(
        namespace=w.namespace,
        name=gang.name,
        groups=tuple(groups),
        constraint=_constraint(gang.pack, levels),
        subgangs=tuple(
            request.SubgangAsk(
                sub.name,
                sub.cliques,
                _constraint(sub.pack, levels),
                sub.group if sub.spread else "",
                _spread(sub.spread, levels),
                around.groups.get(sub.group, ()),
            )
            for sub in gang.subgangs
        ),
        priority=priority,
        preempts=preempts,
        created=created,
        fixed=fixed,
        near=around.near,
        closed=around.closed,
        avoid=frozenset(around.avoid),
        spread=_spread(gang.spread, levels),
        spread_peers=around.groups.get(gang.group, ()) if gang.group else around.replicas,
        levels=tuple(levels.values()),
        followers=_followers(gang, around.followers, levels),
    )


def _followers(
    base: gangs.Gang, scaled: Sequence[gangs.Gang], levels: Mapping[str, str]
) -> tuple[request.Followers, ...]:
    """Return what scaled gangs ask for, by scaling group, told in cliques of the base gang that are of one template."""
    like = {member.template.name: member.fqn for member in reversed(base.members)}
    result = []
    for name in dict.fromkeys(gang.group for gang in scaled):
        mine = [gang for gang in scaled if gang.group == name]
        asked = tuple((like[m.template.name], m.minimum) for m in mine[0].members if m.template.name in like)
        result.append(request.Followers(len(mine), asked, _constraint(mine[0].pack, levels).required))
    return tuple(result)


def _pod(pod: raw.Object, around: Around) -> request.PodAsk:
    metadata = pod["metadata"]
    spec = pod["spec"]
    return request.PodAsk(
        metadata["name"],
        metadata["uid"],
        _confined(spec, around),
        metadata.get("labels") or {},
        around.homes.get(metadata["name"])
        or (pod.get("status") or {}).get("nominatedNodeName")
        or around.reserved.get(spec.get("hostname") or ""),
        metadata["name"] in around.homes,
    )


def told(answer: request.Reasons, around: Around) -> request.Reasons:
    """Return the reasons with the domain to which the gang is bound named first."""
    if around.within is None:
        return answer
    key, values = around.within
    return replace(answer, summary=f"bound to its base gang's {key} {', '.join(values)}: {answer.summary}")


def _confined(spec: raw.Object, around: Around) -> raw.Object:
    """Return the spec with the nodes to which the gang is bound, as the engine reads them."""
    return pins.within(spec, *around.within) if around.within is not None else spec


def _spread(rules: Sequence[model.Spread], levels: Mapping[str, str]) -> tuple[request.Spread, ...]:
    found = ((rule.key or levels.get(rule.domain or ""), rule) for rule in rules)
    return tuple(request.Spread(key, rule.max_skew, rule.required) for key, rule in found if key)


def _constraint(pack: model.Pack | None, levels: Mapping[str, str]) -> request.Constraint:
    if pack is None:
        return request.Constraint()
    return request.Constraint(levels.get(pack.required or ""), levels.get(pack.preferred or ""))
