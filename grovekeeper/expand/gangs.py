"""Which gangs a set replica has, when one is complete, and the PodGang object that stands for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from grovekeeper.api import names, raw
from grovekeeper.expand import groups, labels, model, naming


@dataclass(frozen=True, slots=True)
class Member:
    """One PodClique of a gang."""

    fqn: str
    template: model.CliqueTemplate
    minimum: int
    """Pods that must be placed with the gang; 0 while the clique is scaled to zero."""


@dataclass(frozen=True, slots=True)
class Subgang:
    """The cliques of one scaling-group replica inside the base gang, with the group's pack constraint."""

    name: str
    cliques: tuple[str, ...]
    pack: model.Pack | None
    group: str
    """FQN of the scaling group."""
    spread: tuple[model.Spread, ...] = ()


@dataclass(frozen=True, slots=True)
class Gang:
    """A promise: all members' minimum is placed together, or nothing is."""

    name: str
    index: int
    """The set replica."""
    members: tuple[Member, ...]
    pack: model.Pack | None
    subgangs: tuple[Subgang, ...]
    base: str | None
    """Name of the base gang that a scaled gang waits for; None for a base gang."""
    spread: tuple[model.Spread, ...] = ()
    """Against its siblings: the set's other replicas, or the group's for a scaled gang."""
    group: str | None = None
    """FQN of the scaling group of a scaled gang."""
    base_domain: str | None = None
    """Topology domain that a scaled gang must share with its base gang."""


def base(w: model.Workload, index: int, live: model.Live) -> Gang:
    """Return the base gang `<set>-<i>`: standalone cliques, then every group's replicas below minAvailable."""
    members = [_member(naming.clique(w.name, index, clique.name), clique, live) for clique in w.standalone()]
    subgangs = []
    for group in w.groups:
        fqn = naming.group(w.name, index, group.name)
        wanted = groups.effective_replicas(live.groups.get(fqn, group.replicas), group.min_available)
        for j in range(min(wanted, group.min_available)):
            mine = [_member(naming.member(fqn, j, name), w.clique(name), live) for name in group.clique_names]
            members.extend(mine)
            if group.pack is not None or group.spread:
                cliques = tuple(member.fqn for member in mine)
                subgangs.append(Subgang(f"{fqn}-{j}", cliques, group.pack, fqn, group.spread))
    return Gang(naming.replica(w.name, index), index, tuple(members), w.pack, tuple(subgangs), None, w.spread)


def scaled(w: model.Workload, index: int, group: model.GroupTemplate, group_index: int, live: model.Live) -> Gang:
    """Return the gang of one group replica above the group's minimum."""
    fqn = naming.group(w.name, index, group.name)
    members = tuple(_member(naming.member(fqn, group_index, name), w.clique(name), live) for name in group.clique_names)
    name = naming.scaled_gang(fqn, group_index, group.min_available)
    pack = group.pack or w.pack
    return Gang(name, index, members, pack, (), naming.replica(w.name, index), group.spread, fqn, group.base_domain)


def of_replica(w: model.Workload, index: int, live: model.Live) -> list[Gang]:
    """Return all gangs of a set replica, the base gang first."""
    result = [base(w, index, live)]
    for group in w.groups:
        fqn = naming.group(w.name, index, group.name)
        wanted = groups.effective_replicas(live.groups.get(fqn, group.replicas), group.min_available)
        result.extend(scaled(w, index, group, j, live) for j in range(group.min_available, wanted))
    return result


def missing(gang: Gang, pods: Mapping[str, int]) -> list[str]:
    """Return a phrase per clique whose minimum does not exist yet; empty when the gang is complete.

    `pods` counts living pods by PodClique FQN. A gang is never placed before it is complete: Grove lifts gates from
    the first pods of a gang that may never be whole (trap 27).
    """
    return [
        f"{member.fqn} has {pods.get(member.fqn, 0)} of {member.minimum} pods"
        for member in gang.members
        if pods.get(member.fqn, 0) < member.minimum
    ]


def podgang(
    w: model.Workload,
    gang: Gang,
    pods: Mapping[str, Iterable[str]],
    levels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> raw.Object:
    """Return the PodGang object. `pods` is pod names by clique, `levels` maps topology domains to node label keys."""
    marks = {
        key: value
        for key, value in labels.passed_on(w.raw["metadata"].get("labels") or {}).items()
        if not key.startswith("grove.io/")
    }
    marks.update(labels.managed(w, gang.name, "podgang"))
    marks.pop(names.LABEL_NAME)
    marks[names.LABEL_SCHEDULER] = w.scheduler
    marks[w.dialect.label_replica_index] = str(gang.index)
    if gang.base:
        marks[names.LABEL_BASE_PODGANG] = gang.base
    spec: raw.Object = {"podgroups": [_podgroup(w, member, pods, levels) for member in gang.members]}
    constraint = _constraint(gang.pack, levels)
    if constraint:
        spec["topologyConstraint"] = constraint
    configs = [
        {"name": sub.name, "podGroupNames": list(sub.cliques), "topologyConstraint": found}
        for sub in gang.subgangs
        if (found := _constraint(sub.pack, levels))
    ]
    if configs:
        spec["topologyConstraintGroupConfigs"] = configs
    if w.priority_class:
        spec["priorityClassName"] = w.priority_class
    topology = topology_name(w)
    notes = {**(annotations or {}), **({names.ANNOTATION_TOPOLOGY: topology} if levels and topology else {})}
    return {
        "apiVersion": names.SCHEDULER_API_VERSION,
        "kind": names.PODGANG,
        "metadata": labels.metadata(gang.name, w.namespace, marks, w.raw, notes),
        "spec": spec,
    }


def representative_labels(
    w: model.Workload, gang_member: str, group_index: int | None, pod_index: int
) -> dict[str, str]:
    """Return the label that marks the one pod that stands for a group replica or a set replica in an HPA's count.

    An HPA multiplies by the number of pods that its selector finds; with all pods of an N-pod gang it would scale N
    times too far. One pod a replica is shown: index 0 of the group's first clique, and of the clique that stands for
    the set, in the first group replica. A pod carries at most one such label, so that levels stay disjoint.
    """
    if pod_index != 0:
        return {}
    if gang_member == _stands_for_set(w) and not group_index:
        return {names.LABEL_REPRESENTATIVE: "set"}
    group = w.group_of(gang_member) if group_index is not None else None
    return {names.LABEL_REPRESENTATIVE: "group"} if group and group.clique_names[0] == gang_member else {}


def _stands_for_set(w: model.Workload) -> str | None:
    """Return the clique whose first pod stands for the set: the first that no other HPA of the manifest looks at.

    kube's HPA controller stops every HPA whose selector shares a pod with another's (AmbiguousSelector), so a clique or
    group with a scale configuration lends its pods to nobody while a member that does not stand for its group can.
    """
    standalone = w.standalone()
    mine = [clique.name for clique in standalone if not clique.scale]
    if not standalone:
        mine = [group.clique_names[0] for group in w.groups if not group.scale]
    followers = [name for group in w.groups for name in group.clique_names[1:]]
    return next(iter([*mine, *followers, *(clique.name for clique in standalone)]), None)


def _member(fqn: str, template: model.CliqueTemplate, live: model.Live) -> Member:
    replicas = live.cliques.get(fqn, template.replicas)
    return Member(fqn, template, min(template.min_available, replicas) if replicas == 0 else template.min_available)


def _podgroup(
    w: model.Workload, member: Member, pods: Mapping[str, Iterable[str]], levels: Mapping[str, str]
) -> raw.Object:
    group: raw.Object = {
        "name": member.fqn,
        "podReferences": [{"namespace": w.namespace, "name": name} for name in sorted(pods.get(member.fqn, ()))],
        "minReplicas": member.minimum,
    }
    constraint = _constraint(member.template.pack, levels)
    if constraint:
        group["topologyConstraint"] = constraint
    return group


def _constraint(pack: model.Pack | None, levels: Mapping[str, str]) -> raw.Object | None:
    if pack is None:
        return None
    found = {
        word: levels[domain]
        for word, domain in (("required", pack.required), ("preferred", pack.preferred))
        if domain and domain in levels
    }
    return {"packConstraint": found} if found else None


def topology_name(w: model.Workload) -> str | None:
    """Return the ClusterTopologyBinding that the set names first: on itself, a group or a clique."""
    packs: Sequence[model.Pack | None] = [w.pack, *(g.pack for g in w.groups), *(c.pack for c in w.cliques)]
    return next((pack.topology for pack in packs if pack is not None and pack.topology), None)


def topology_annotation(w: model.Workload, levels: Mapping[str, str]) -> dict[str, str]:
    """Return the annotation that names the binding whose levels the PodGang's constraints are of; else nothing."""
    name = topology_name(w)
    return {names.ANNOTATION_TOPOLOGY: name} if levels and name else {}
