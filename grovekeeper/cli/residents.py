"""The gangs that are on nodes, with their constraints: from sets and pods as they are."""

from collections.abc import Iterable

from grovekeeper.api import names, raw
from grovekeeper.cli import capacity
from grovekeeper.expand import gangs, model, naming, parse, plan
from grovekeeper.placement import compact
from grovekeeper.reconciler import asks, pins

_GATE: raw.Object = {"name": names.GATE}


def residents(sets: Iterable[raw.Object], room: capacity.Capacity) -> list[compact.Resident]:
    """Return the gangs of these sets that hold nodes. O(sets x pods of each + pods)."""
    by_gang: dict[tuple[str, str], dict[str, list[raw.Object]]] = {}
    for pod in room.pods:
        marks = pod["metadata"].get("labels") or {}
        if (
            marks.get(names.LABEL_PODGANG)
            and names.LABEL_PODCLIQUE in marks
            and pod["spec"].get("nodeName")
            and plan.alive(pod)
        ):
            key = pod["metadata"].get("namespace", ""), marks[names.LABEL_PODGANG]
            by_gang.setdefault(key, {}).setdefault(marks[names.LABEL_PODCLIQUE], []).append(pod)
    found = []
    for obj in sets:
        w = parse.workload(obj)
        if w.scheduler != names.SCHEDULER_STOCK:
            continue  # whoever placed them would place them again
        levels = room.levels_of(gangs.topology_name(w))
        counts = {
            fqn: len(pods)
            for (namespace, _gang), cliques in by_gang.items()
            if namespace == w.namespace
            for fqn, pods in cliques.items()
        }
        mine = [
            (gang, by_gang[w.namespace, gang.name])
            for index in range(w.total)
            for gang in gangs.of_replica(w, index, _live(w, index, counts))
            if (w.namespace, gang.name) in by_gang
        ]
        found += [_resident(w, gang, pods, levels, mine, room) for gang, pods in mine]
    return found


def _live(w: model.Workload, index: int, counts: dict[str, int]) -> model.Live:
    """Return replica counts as the pods show them."""
    groups = {}
    for group in w.groups:
        fqn = naming.group(w.name, index, group.name)
        replicas = group.replicas
        while any(naming.member(fqn, replicas, name) in counts for name in group.clique_names):
            replicas += 1
        groups[fqn] = replicas
    return model.Live(counts, groups)


def _resident(
    w: model.Workload,
    gang: gangs.Gang,
    pods: dict[str, list[raw.Object]],
    levels: dict[str, str],
    mine: list[tuple[gangs.Gang, dict[str, list[raw.Object]]]],
    room: capacity.Capacity,
) -> compact.Resident:
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for each in pods.values() for pod in each}
    held = {
        other.name: tuple(sorted({pod["spec"]["nodeName"] for each in cliques.values() for pod in each}))
        for other, cliques in mine
    }
    cliques = {
        fqn: tuple(sorted({p["spec"]["nodeName"] for p in each})) for _gang, all_ in mine for fqn, each in all_.items()
    }
    near = held.get(gang.base or "", ())
    around = asks.Around(
        near=near,
        within=_within(gang, nodes.values(), near, levels, mine, room),
        replicas=tuple(held[other.name] for other, _pods in mine if other.group is None and other.name != gang.name),
        groups=_peers(w, gang, cliques) if gang.spread or any(sub.spread for sub in gang.subgangs) else {},
    )
    gated = {fqn: [_gated(pod) for pod in each] for fqn, each in pods.items()}
    looks = bool(gang.base or gang.spread or any(sub.spread for sub in gang.subgangs))
    looks = looks or any(other.base == gang.name for other, _pods in mine)
    family = f"{w.namespace}/{w.name}" if looks else ""
    return compact.Resident(asks.ask(w, gang, gated, levels, around), nodes, family)


def _within(
    gang: gangs.Gang,
    here: Iterable[str],
    near: Iterable[str],
    levels: dict[str, str],
    mine: Iterable[tuple[gangs.Gang, dict[str, list[raw.Object]]]],
    room: capacity.Capacity,
) -> asks.Within | None:
    """Return the domain that a scaled gang shares with its base gang on request: neither of them leaves it."""
    if gang.base is not None:
        return room.within(gang.base_domain, levels, near)
    tied = {other.base_domain for other, _pods in mine if other.base == gang.name}
    narrowest = next((domain for domain in reversed(levels) if domain in tied), None)
    return room.within(narrowest, levels, here)


def _peers(w: model.Workload, gang: gangs.Gang, cliques: dict[str, tuple[str, ...]]) -> dict[str, asks.Peers]:
    """Return where each replica of the scaling groups is that is not of this gang."""
    mine = {member.fqn for member in gang.members}
    result: dict[str, asks.Peers] = {}
    for group in w.groups:
        fqn = naming.group(w.name, gang.index, group.name)
        peers, number = [], 0
        while any(naming.member(fqn, number, name) in cliques for name in group.clique_names):
            members = {naming.member(fqn, number, name) for name in group.clique_names}
            if not members & mine:
                peers.append(tuple(sorted({node for each in members for node in cliques.get(each, ())})))
            number += 1
        result[fqn] = tuple(peers)
    return result


def _gated(pod: raw.Object) -> raw.Object:
    """Return a pod as it was before it was pinned and released; a copy."""
    spec = {key: value for key, value in pins.unpinned(pod["spec"]).items() if key != "nodeName"}
    status = {key: value for key, value in (pod.get("status") or {}).items() if key != "nominatedNodeName"}
    return {**pod, "spec": {**spec, "schedulingGates": [_GATE]}, "status": status}
