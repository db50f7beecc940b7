"""Random small clusters and gangs in which everything that can be asked for is asked for at the same time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from grovekeeper.placement import request, snapshot
from tests.placement import auditor

Object = dict[str, Any]
BLOCK, RACK, HOST = "block", "rack", "kubernetes.io/hostname"
LEVELS = (BLOCK, RACK, HOST)


@dataclass(frozen=True, slots=True)
class Case:
    """A cluster with pods of everybody in it, and a gang."""

    nodes: dict[str, Object]
    pods: list[Object]
    gang: request.GangAsk

    def room(self) -> snapshot.Snapshot:
        """Return what the engine sees of it."""
        result = snapshot.Snapshot()
        for node in self.nodes.values():
            result.upsert_node(node)
        for pod in self.pods:
            result.upsert_pod(pod)
        return result

    def faults(self, nodes: dict[str, str]) -> list[str]:
        """Return what is wrong with an answer."""
        return auditor.Audit(self.nodes, self.pods, self.gang, nodes).faults()


def case(seed: int, *, nodes: int = 14, pods: int = 12) -> Case:
    """Return a case with so many nodes, and so many pods in the gang, at most."""
    chance = random.Random(seed)
    made = {f"n{i:02}": _node(i, chance) for i in range(chance.randint(2, nodes))}
    cliques = ["a", "b", "c", "d"][: chance.choice([1, 2, 2, 3, 4])]
    groups = []
    left = pods
    for name in cliques:
        count = min(max(1, left), chance.choice([1, 1, 2, 2, 3, 4]))
        left -= count
        groups.append(_group(name, count, chance))
    gang = request.GangAsk(
        "ns",
        "g",
        tuple(groups),
        _constraint(chance),
        _subgangs([*cliques], [*made], chance),
        priority=chance.choice([0, 5]),
        near=tuple(chance.sample([*made], 1)) if chance.random() < 0.2 else (),
        spread=_rules(chance, 0.25),
        spread_peers=_peers([*made], chance),
        levels=LEVELS,
    )
    others = [_other(i, chance.choice([*made]), chance) for i in range(chance.choice([0, 2, 5]))]
    if chance.random() < 0.3:
        each = chance.choice(cliques), chance.choice([1, 2])
        late = request.Followers(chance.choice([1, 2, 9]), (each,), chance.choice([None, RACK, BLOCK]))
        gang = replace(gang, followers=(late,))
    return _crowded(Case(made, others, gang))


def _crowded(found: Case) -> Case:
    """Return the case without the pods of others that overcommit a node."""
    kept: list[Object] = []
    for pod in found.pods:
        where = pod["spec"].get("nodeName") or pod["status"]["nominatedNodeName"]
        mates = [p for p in kept if where == (p["spec"].get("nodeName") or p["status"]["nominatedNodeName"])]
        offered = found.nodes[where]["status"]["allocatable"]
        total: dict[str, int] = {}
        for each in [*mates, pod]:
            for name, amount in auditor.requests(each["spec"]).items():
                total[name] = total.get(name, 0) + amount
        if all(amount <= int(offered.get(name, 1)) for name, amount in total.items()):
            kept.append(pod)
    return replace(found, pods=kept)


def later(found: Case, answer: dict[str, str], seed: int) -> Case:
    """Return the case some time after an answer: some pods run, some are held or wished to be where they were, some of
    the nodes are worse.
    """
    chance = random.Random(seed)
    fixed: dict[str, tuple[str, str]] = {}
    groups = []
    more = list(found.pods)
    for group in found.gang.groups:
        left = []
        for pod in group.pods:
            where = answer.get(pod.name)
            if where is None:
                left.append(pod)
            elif chance.random() < 0.5:
                fixed[pod.name] = (group.name, where)
                more.append(bound(pod.name, pod.labels, pod.spec, where))
            else:
                home = chance.choice([where, where, chance.choice([*found.nodes]), None])
                left.append(replace(pod, nominated=home, held=home is not None and chance.random() < 0.5))
        groups.append(replace(group, pods=tuple(left)))
    if chance.random() < 0.1 and fixed:
        name = chance.choice([*fixed])
        fixed[name] = (fixed[name][0], chance.choice([*found.nodes]))
        more = [pod for pod in more if pod["metadata"]["name"] != name]
    closed = frozenset(chance.sample([*found.nodes], len(found.nodes) // 4)) if chance.random() < 0.3 else frozenset()
    avoid = frozenset(chance.sample([*found.nodes], 1)) if chance.random() < 0.2 else frozenset()
    nodes = dict(found.nodes)
    for name, node in found.nodes.items():
        if chance.random() < 0.06:
            nodes[name] = {**node, "spec": {**node["spec"], "unschedulable": True}}
    gang = replace(found.gang, groups=tuple(groups), fixed=fixed, closed=closed, avoid=avoid)
    return Case(nodes, more, gang)


def bound(name: str, labels: Any, spec: Object, where: str) -> Object:
    """Return a pod on a node."""
    metadata = {"uid": name, "name": name, "namespace": "ns", "labels": dict(labels)}
    return {"metadata": metadata, "spec": {**spec, "nodeName": where}}


def _node(index: int, chance: random.Random) -> Object:
    name = f"n{index:02}"
    labels = {HOST: name, RACK: f"r{index // 3}", BLOCK: f"b{index // 6}", "pool": chance.choice("xyy")}
    if chance.random() < 0.07:
        del labels[chance.choice(LEVELS)]
    if chance.random() < 0.06:
        labels[BLOCK] = f"b{chance.randrange(2)}"  # a rack in two blocks
    spec: Object = {}
    if chance.random() < 0.06:
        spec["unschedulable"] = True
    if chance.random() < 0.12:
        spec["taints"] = [{"key": "special", "effect": chance.choice(["NoSchedule", "NoExecute", "PreferNoSchedule"])}]
    offered = {"cpu": "16", "gpu": str(chance.choice([0, 1, 2, 4, 4])), "pods": str(chance.choice([2, 4, 9]))}
    ready = "False" if chance.random() < 0.04 else "True"
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": offered, "conditions": [{"type": "Ready", "status": ready}]},
    }


def _group(name: str, count: int, chance: random.Random) -> request.GroupAsk:
    spec = _spec(name, chance)
    other = _spec(name, chance) if chance.random() < 0.25 else spec
    pods = tuple(
        request.PodAsk(f"{name}-{i}", f"{name}-{i}", chance.choice([spec, spec, other]), {"app": name})
        for i in range(count)
    )
    minimum = chance.choice([count, count, count, max(1, count - 1), 1, 0 if chance.random() < 0.3 else 1])
    constraint = _constraint(chance) if chance.random() < 0.3 else request.Constraint()
    return request.GroupAsk(name, pods, minimum, constraint, _rules(chance, 0.2))


def _spec(app: str, chance: random.Random) -> Object:
    limits = {"gpu": str(chance.choice([0, 1, 1, 2, 4])), "cpu": str(chance.choice([1, 1, 3, 8]))}
    result: Object = {"containers": [{"name": "c", "resources": {"limits": limits}}], "priority": 0}
    if chance.random() < 0.12:
        result["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": chance.choice([80, 81])}]
    if chance.random() < 0.2:
        result["nodeSelector"] = {"pool": chance.choice("xy")}
    if chance.random() < 0.3:
        result["tolerations"] = [{"key": "special", "operator": "Exists"}]
    if chance.random() < 0.12:
        selector = {"matchLabels": {"app": chance.choice([app, app, "b", "x"])}}
        term = {"topologyKey": chance.choice([HOST, HOST, RACK]), "labelSelector": selector}
        result["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return result


def _constraint(chance: random.Random) -> request.Constraint:
    required = chance.choice([None, None, None, BLOCK, BLOCK, RACK, HOST if chance.random() < 0.3 else RACK])
    return request.Constraint(required, chance.choice([None, None, BLOCK, RACK, HOST]))


def _rules(chance: random.Random, share: float) -> tuple[request.Spread, ...]:
    if chance.random() >= share:
        return ()
    levels = [BLOCK, RACK, HOST]
    chance.shuffle(levels)
    return tuple(
        request.Spread(level, chance.choice([1, 1, 2]), chance.random() < 0.7)
        for level in levels[: chance.choice([1, 1, 2])]
    )


def _peers(nodes: list[str], chance: random.Random) -> tuple[tuple[str, ...], ...]:
    count = chance.choice([0, 1, 2, 3])
    return tuple(tuple(chance.sample(nodes, min(len(nodes), chance.choice([1, 1, 2])))) for _ in range(count))


def _subgangs(cliques: list[str], nodes: list[str], chance: random.Random) -> tuple[request.SubgangAsk, ...]:
    if len(cliques) < 2 or chance.random() < 0.4:
        return ()
    cut = chance.randint(1, len(cliques) - 1)
    sets: Sequence[list[str]] = [cliques[:cut], cliques[cut:]]
    if chance.random() < 0.3:
        sets = sets[:1]
    if chance.random() < 0.4:
        rules, constraint = _rules(chance, 1.0), _constraint(chance)
        peers = _peers(nodes, chance)
        return tuple(
            request.SubgangAsk(f"s{i}", tuple(each), constraint, "family", rules, peers) for i, each in enumerate(sets)
        )
    return tuple(request.SubgangAsk(f"s{i}", tuple(each), _constraint(chance)) for i, each in enumerate(sets))


def _other(index: int, where: str, chance: random.Random) -> Object:
    spec = _spec("x", chance)
    pod = bound(f"o{index}", {"app": chance.choice(["x", "b"])}, spec, where)
    if chance.random() < 0.3:
        del pod["spec"]["nodeName"]
        pod["spec"]["priority"] = chance.choice([0, 5, 9])
        pod["status"] = {"nominatedNodeName": where}
    return pod
