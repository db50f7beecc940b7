"""What would become of the gangs of a set: placed one after the other into a snapshot, which they fill."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jsonpatch

from grovekeeper.api import raw
from grovekeeper.cli import capacity
from grovekeeper.expand import cliques, gangs, groups, injection, model, naming, parse, pods
from grovekeeper.placement import place, request, shape, snapshot
from grovekeeper.reconciler import asks


@dataclass(slots=True)
class Answer:
    """What became of one gang."""

    gang: str
    pods: int
    nodes: dict[str, str] = field(default_factory=dict)
    domains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: int = 0
    reason: str = ""
    asked: dict[str, shape.Requests] = field(default_factory=dict)
    """What each pod asks for."""


class _Placed:
    """Where the gangs of one set are so far."""

    def __init__(self, w: model.Workload, room: capacity.Capacity, levels: Mapping[str, str]) -> None:
        self._w = w
        self._room = room
        self._levels = levels
        self.gangs: dict[str, tuple[str, ...]] = {}
        self.cliques: dict[str, tuple[str, ...]] = {}

    def around(self, gang: gangs.Gang) -> asks.Around:
        """Return what the gang's placement depends on besides its own pods."""
        others = (naming.replica(self._w.name, i) for i in range(self._w.replicas) if i != gang.index)
        replicas = tuple(self.gangs.get(name, ()) for name in others) if gang.spread and gang.group is None else ()
        mine = {member.fqn for member in gang.members}
        peers: dict[str, asks.Peers] = {}
        for template in self._w.groups if gang.spread or any(sub.spread for sub in gang.subgangs) else ():
            fqn = naming.group(self._w.name, gang.index, template.name)
            members = [{naming.member(fqn, j, n) for n in template.clique_names} for j in range(template.replicas)]
            peers[fqn] = tuple(self._nodes(each) for each in members if not mine & each)
        near = self.gangs.get(gang.base or "", ())
        within = self._room.within(gang.base_domain, self._levels, near) if gang.base is not None else None
        scaled = gangs.of_replica(self._w, gang.index, model.Live())[1:] if gang.base is None else []
        return asks.Around(near=near, replicas=replicas, groups=peers, followers=scaled, within=within)

    def _nodes(self, cliques_: set[str]) -> tuple[str, ...]:
        return tuple(sorted({node for fqn in cliques_ for node in self.cliques.get(fqn, ())}))


def placed(obj: raw.Object, room: capacity.Capacity, space: snapshot.Snapshot) -> list[Answer]:
    """Place all gangs of a set, base gangs before scaled gangs, and charge them to the snapshot."""
    w = parse.workload(obj)
    levels = room.levels_of(gangs.topology_name(w))
    found = [gang for index in range(w.replicas) for gang in gangs.of_replica(w, index, model.Live())]
    found.sort(key=lambda gang: gang.base is not None)
    before = _Placed(w, room, levels)
    answers = []
    for gang in found:
        if gang.base is not None and not before.gangs.get(gang.base):
            answers.append(Answer(gang.name, 0, reason=f"its base gang {gang.base} does not fit"))
            continue
        answers.append(_one(w, gang, levels, space, before))
    return answers


def _one(
    w: model.Workload, gang: gangs.Gang, levels: Mapping[str, str], space: snapshot.Snapshot, before: _Placed
) -> Answer:
    wanted = {member.fqn: _pods(w, gang, member) for member in gang.members}
    count = sum(map(len, wanted.values()))
    around = before.around(gang)
    answer = place.place(asks.ask(w, gang, wanted, levels, around), space)
    if isinstance(answer, request.Reasons):
        return Answer(gang.name, count, reason=asks.told(answer, around).summary)
    for fqn, each in wanted.items():
        here = [(pod, answer.nodes[pod["metadata"]["name"]]) for pod in each if pod["metadata"]["name"] in answer.nodes]
        before.cliques[fqn] = tuple(node for _pod, node in here)
        for pod, node in here:
            space.upsert_pod({**pod, "spec": {**pod["spec"], "nodeName": node}})
    before.gangs[gang.name] = tuple(sorted(set(answer.nodes.values())))
    asked = {pod["metadata"]["name"]: shape.requests(pod["spec"]) for each in wanted.values() for pod in each}
    return Answer(gang.name, count, dict(answer.nodes), dict(answer.domains), len(answer.left_out), "", asked)


def _pods(w: model.Workload, gang: gangs.Gang, member: gangs.Member) -> list[raw.Object]:
    """Return the pods of a clique as the webhook would leave them, with names that tell them apart."""
    clique = _clique(w, gang, member)
    result = []
    for index in range(member.template.replicas):
        pod = pods.created(w, clique, index, "")
        pod = jsonpatch.apply_patch(pod, injection.operations(pod, injection.Settings("grovekeeper:latest")))
        pod["metadata"]["name"] = f"{member.fqn}-{index}"
        pod["metadata"]["uid"] = f"{w.namespace}/{member.fqn}-{index}"
        result.append(pod)
    return result


def _clique(w: model.Workload, gang: gangs.Gang, member: gangs.Member) -> raw.Object:
    group = w.group_of(member.template.name)
    if group is None:
        return cliques.standalone(w, gang.index, member.template)
    owner = groups.group(w, gang.index, group)
    index = int(member.fqn.removeprefix(f"{owner['metadata']['name']}-").partition("-")[0])
    return cliques.member(w, gang.index, group, index, member.template, owner)
