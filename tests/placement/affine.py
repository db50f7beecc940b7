"""Random small clusters, and gangs whose pods look at each other and at pods of others."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grovekeeper.placement import request, snapshot
from tests.placement import binder

Object = dict[str, Any]
HOST, RACK, ZONE = "kubernetes.io/hostname", "rack", "zone"
KEYS = (HOST, RACK, ZONE)


@dataclass(slots=True)
class Case:
    """A cluster with pods of others in it, and a gang."""

    nodes: dict[str, Object]
    residents: list[binder.Pod]
    gang: request.GangAsk

    def room(self) -> snapshot.Snapshot:
        """Return what the engine sees of it."""
        result = snapshot.Snapshot()
        for node in self.nodes.values():
            result.upsert_node(node)
        for pod in self.residents:
            metadata = {"uid": pod.name, "name": pod.name, "namespace": pod.namespace, "labels": dict(pod.labels)}
            result.upsert_pod({"metadata": metadata, "spec": {**pod.spec, "nodeName": pod.node}})
        return result

    def cluster(self) -> binder.Cluster:
        """Return what the referee sees of it."""
        return binder.Cluster(self.nodes, list(self.residents))

    def pinned(self, nodes: dict[str, str]) -> list[binder.Pod]:
        """Return the gang's pods that have a node in this answer."""
        pods = [pod for group in self.gang.groups for pod in group.pods if pod.name in nodes]
        return [binder.Pod(pod.name, "ns", pod.labels, pod.spec, nodes[pod.name]) for pod in pods]

    def constraints(self) -> list[tuple[str, set[str]]]:
        """Return label keys, with the names of the cliques whose pods have to share a domain of it."""
        gang = self.gang
        found = [(gang.constraint.required, {group.name for group in gang.groups})]
        found += [(sub.constraint.required, set(sub.groups)) for sub in gang.subgangs]
        found += [(group.constraint.required, {group.name}) for group in gang.groups]
        return [(key, names) for key, names in found if key is not None]

    def packed(self, nodes: dict[str, str]) -> bool:
        """Return whether an answer keeps the required levels."""
        for key, names in self.constraints():
            pods = [pod.name for group in self.gang.groups if group.name in names for pod in group.pods]
            domains = {self.nodes[nodes[pod]]["metadata"]["labels"].get(key) for pod in pods if pod in nodes}
            domains |= {
                self.nodes[node]["metadata"]["labels"].get(key)
                for name, node in self.gang.fixed.values()
                if name in names
            }
            if len(domains) > 1 or None in domains:
                return False
        return True


def case(seed: int, *, nodes: int, pods: int) -> Case:
    """Return a case with so many nodes, and so many pods in the gang, at most."""
    chance = random.Random(seed)
    made = {f"n{i}": _node(f"n{i}", i, chance) for i in range(chance.randint(1 + nodes // 3, nodes))}
    cliques = ["a", "b", "c", "d"][: chance.choice([1, 2, 2, 3, 3, 4])]
    groups = []
    left = pods
    for name in cliques:
        if left == 0:
            break
        count = min(left, chance.choice([1, 1, 2, 2, 3]))
        left -= count
        groups.append(_group(name, count, cliques, chance))
    residents = [
        _resident(f"r{i}", chance.choice([*made]), cliques, chance) for i in range(chance.choice([0, 0, 1, 3]))
    ]
    fixed = {}
    if chance.random() < 0.15:
        # A pod of the gang that is on its node already: to the cluster it is one of others.
        of = chance.choice(groups)
        old = binder.Pod(f"{of.name}-old", "ns", of.pods[0].labels, of.pods[0].spec, chance.choice([*made]))
        residents.append(old)
        fixed[old.name] = (of.name, old.node)
    bound = binder.Cluster(made)
    for pod in residents:
        if bound.why_not(pod) in (None, "affinity"):
            bound.bound.append(pod)
    fixed = {name: spot for name, spot in fixed.items() if name in {pod.name for pod in bound.bound}}
    names = [group.name for group in groups]
    subgangs: Sequence[request.SubgangAsk] = ()
    if len(names) > 2 and chance.random() < 0.3:
        one = request.SubgangAsk("s0", tuple(names[:2]), _constraint(chance))
        subgangs = (one, request.SubgangAsk("s1", tuple(names[2:]), _constraint(chance)))
    gang = request.GangAsk(
        "ns", "g", tuple(groups), _constraint(chance), tuple(subgangs), fixed=fixed, levels=(ZONE, RACK, HOST)
    )
    return Case(made, bound.bound, gang)


def _node(name: str, index: int, chance: random.Random) -> Object:
    labels = {HOST: name, RACK: f"k{index // 2}", ZONE: f"z{index // 4}"}
    if chance.random() < 0.06:
        del labels[RACK]
    if chance.random() < 0.1:
        labels[ZONE] = f"z{chance.randrange(2)}"  # a rack in two zones
    offered = {"cpu": "16", "nvidia.com/gpu": str(chance.choice([1, 2, 2, 4])), "pods": str(chance.choice([2, 3, 9]))}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"allocatable": offered, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _group(name: str, count: int, cliques: Sequence[str], chance: random.Random) -> request.GroupAsk:
    spec = _spec(chance.choice([0, 1, 1, 2]))
    affinity: Object = {}
    if chance.random() < 0.6:
        affinity["podAffinity"] = [_term(name, cliques, chance) for _ in range(chance.choice([1, 1, 1, 2]))]
    if chance.random() < 0.35:
        affinity["podAntiAffinity"] = [_term(name, cliques, chance)]
    if affinity:
        spec["affinity"] = {
            kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms} for kind, terms in affinity.items()
        }
    labels = {"app": name, "tier": "front" if name in "ab" else "back"}
    pods = tuple(request.PodAsk(f"{name}-{i}", f"{name}-{i}", spec, {**labels, "index": str(i)}) for i in range(count))
    constraint = _constraint(chance) if chance.random() < 0.3 else request.Constraint()
    return request.GroupAsk(name, pods, chance.choice([count, count, max(0, count - 1)]), constraint)


def _spec(gpus: int) -> Object:
    return {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}]}


def _constraint(chance: random.Random) -> request.Constraint:
    return request.Constraint(chance.choice([None, None, None, ZONE, RACK]))


def _term(name: str, cliques: Sequence[str], chance: random.Random) -> Object:
    """Return a term that selects some of the cliques, itself as often as not."""
    others = [each for each in [*cliques, "x"] if each != name]
    chosen = chance.sample(others, chance.randint(0, min(2, len(others))))
    selector: Object = {"matchExpressions": [{"key": "app", "operator": "In", "values": chosen}]}
    if not chosen or chance.random() < 0.5:
        selector["matchExpressions"][0]["values"] = sorted({*chosen, name})
    if chance.random() < 0.15:
        selector = {"matchLabels": {"tier": chance.choice(["front", "back"])}}
    if chance.random() < 0.1:
        selector["matchLabels"] = {**selector.get("matchLabels", {}), "index": "0"}
    result: Object = {"topologyKey": chance.choice(KEYS), "labelSelector": selector}
    kind = chance.random()
    if kind < 0.05:
        result["namespaces"] = chance.choice([["other"], ["ns", "other"]])
    elif kind < 0.1:
        result["namespaceSelector"] = {}
    elif kind < 0.15:
        wanted = chance.choice(["ns", "other"])
        result["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": wanted}}
    return result


def _resident(name: str, node: str, cliques: Sequence[str], chance: random.Random) -> binder.Pod:
    app = chance.choice([*cliques, "x"])
    spec = _spec(chance.choice([0, 0, 1]))
    if chance.random() < 0.3:
        terms = [_term(app, cliques, chance)]
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return binder.Pod(name, chance.choice(["ns", "ns", "other"]), {"app": app, "tier": "back"}, spec, node)
