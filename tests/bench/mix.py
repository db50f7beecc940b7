"""The load of the scale bench: a cluster in zones, blocks, racks and hosts, and gangs of 1 to 64 pods. Pure, seeded."""

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
GPU = "nvidia.com/gpu"
LEVELS = {
    "zone": "topology.kubernetes.io/zone",
    "block": "example.com/block",
    "rack": "example.com/rack",
    "host": "kubernetes.io/hostname",
}
"""Topology domain to node label, broadest first."""
_HOSTS, _RACKS, _BLOCKS = 20, 5, 5
"""Hosts a rack, racks a block, blocks a zone."""
_GPUS = 8
BACKGROUND_GPUS = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a load lives: its namespace, the label value of its nodes, its binding and priority classes."""

    namespace: str
    pool: str

    @property
    def topology(self) -> str:
        """Name of the ClusterTopologyBinding."""
        return f"{self.pool}-topology"

    def priority(self, name: str) -> str:
        """Name of the PriorityClass `low` or `high`."""
        return f"{self.pool}-{name}"


def nodes(place: Place, count: int) -> Iterator[Object]:
    """Yield hosts with 8 GPUs each, labelled at every level."""
    offered = {"cpu": "96", "memory": "1024Gi", "pods": "110", GPU: str(_GPUS)}
    for index in range(count):
        name = f"{place.pool}-n{index:04}"
        rack = index // _HOSTS
        labels = {
            LEVELS["zone"]: f"{place.pool}-z{rack // (_RACKS * _BLOCKS)}",
            LEVELS["block"]: f"{place.pool}-b{rack // _RACKS:02}",
            LEVELS["rack"]: f"{place.pool}-r{rack:03}",
            LEVELS["host"]: name,
            "pool": place.pool,
        }
        status = {"allocatable": offered, "capacity": offered}
        yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def gpus(count: int) -> int:
    """Return how many GPUs so many nodes have."""
    return count * _GPUS


def shared(place: Place) -> Iterator[tuple[str, Object]]:
    """Yield path and object of what all sets refer to: the binding and two priority classes."""
    levels = [{"domain": domain, "key": key} for domain, key in LEVELS.items()]
    binding = {"apiVersion": "grove.io/v1alpha1", "kind": "ClusterTopologyBinding", "spec": {"levels": levels}}
    yield (
        "/apis/grove.io/v1alpha1/clustertopologybindings",
        {**binding, "metadata": {"name": place.topology}},
    )
    for name, value in (("low", 100), ("high", 1000)):
        kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        yield (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            {**kind, "metadata": {"name": place.priority(name)}, "value": value},
        )


def background(place: Place, replicas: int, *, name: str = "background") -> Object:
    """Return a stock Deployment whose pods take two GPUs each on the same nodes."""
    labels = {"app": name}
    pod_spec = {**_pod_spec(place, BACKGROUND_GPUS), "priorityClassName": place.priority("low")}
    template = {"metadata": {"labels": labels}, "spec": pod_spec}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": place.namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def sets(place: Place, pods: int, seed: int, *, prefix: str, priority: str, largest: int = 64) -> list[Object]:
    """Return sets of exactly so many pods in gangs of 1 to `largest`; the last ones are single pods."""
    chance = random.Random(seed)
    found: list[Object] = []
    left = pods
    while left > 0:
        maker = chance.choice([_single, _single, _wide, _serving, _elastic])
        obj = _named(maker(place, chance, largest), f"{prefix}{len(found):03}", place.priority(priority))
        if count(obj) > left:
            obj = _named(
                _set(place, [_clique(place, "only", 1, 1)], 1), obj["metadata"]["name"], place.priority(priority)
            )
        left -= count(obj)
        found.append(obj)
    return found


def count(obj: Object) -> int:
    """Return how many pods a set wants."""
    return sum(cliques(obj).values())


def gpu_demand(obj: Object) -> int:
    """Return how many GPUs the pods of a set ask for."""
    asked = {c["name"]: int(_requests(c).get(GPU, 0)) for c in obj["spec"]["template"]["cliques"]}
    return sum(pods * asked[_template(obj, fqn)] for fqn, pods in cliques(obj).items())


def cliques(obj: Object) -> dict[str, int]:
    """Return the names of the PodCliques that a set wants, with their pods; by Grove's rule for names."""
    template = obj["spec"]["template"]
    groups = template.get("podCliqueScalingGroups") or []
    grouped = {name for group in groups for name in group["cliqueNames"]}
    pods = {c["name"]: int(c["spec"]["replicas"]) for c in template["cliques"]}
    found = {}
    for index in range(obj["spec"]["replicas"]):
        start = f"{obj['metadata']['name']}-{index}"
        found.update({f"{start}-{name}": number for name, number in pods.items() if name not in grouped})
        for group in groups:
            for j in range(group["replicas"]):
                found.update({f"{start}-{group['name']}-{j}-{name}": pods[name] for name in group["cliqueNames"]})
    return found


def scaled(obj: Object, replicas: int) -> Object:
    """Return a copy of the set with other replicas."""
    result = copy.deepcopy(obj)
    result["spec"]["replicas"] = replicas
    return result


def _named(obj: Object, name: str, priority: str) -> Object:
    obj["metadata"]["name"] = name
    obj["spec"]["template"]["priorityClassName"] = priority
    return obj


def _single(place: Place, chance: random.Random, largest: int) -> Object:
    """One clique, in one rack by right or by wish, or anywhere."""
    size = chance.choice([n for n in (1, 1, 2, 2, 3, 4, 8, 12, 16) if n <= largest])
    pack = chance.choice([{"required": "rack"}, {"preferred": "rack"}, None])
    only = _clique(place, "only", size, chance.choice([1, 1, 2]), pack=pack)
    return _set(place, [only], chance.randint(1, 4))


def _wide(place: Place, chance: random.Random, largest: int) -> Object:
    """One large clique, in one block."""
    size = chance.choice([n for n in (8, 24, 32, 48, 64) if n <= largest])
    pack = {"required": "block", **chance.choice([{}, {"preferred": "rack"}])}
    return _set(place, [_clique(place, "only", size, 1)], 1, pack)


def _serving(place: Place, chance: random.Random, largest: int) -> Object:
    """A router without GPUs, and groups of a leader and workers, each in one rack; one or two scaled gangs."""
    workers = chance.choice([1, 2, 3])
    router = _clique(place, "router", 1, 0)
    members = [_clique(place, "lead", 1, 1), _clique(place, "work", workers, 2)]
    group = {"name": "pool", "cliqueNames": ["lead", "work"], "replicas": chance.randint(2, 3), "minAvailable": 1}
    group["topologyConstraint"] = {"topologyName": place.topology, "pack": {"required": "rack"}}
    pack = chance.choice([{"required": "zone"}, {"required": "block"}, {"preferred": "block"}])
    return _set(place, [router, *members], chance.randint(1, 2), pack, [group])


def _elastic(place: Place, chance: random.Random, largest: int) -> Object:
    """A minimum, and as many again above it."""
    minimum = chance.choice([n for n in (1, 2, 4, 6) if n <= largest])
    pack = chance.choice([{"required": "rack"}, {"required": "block", "preferred": "rack"}])
    return _set(place, [_clique(place, "only", minimum * 2, 1, minimum=minimum)], chance.randint(1, 3), pack)


def _clique(
    place: Place, name: str, replicas: int, gpu: int, *, minimum: int | None = None, pack: Object | None = None
) -> Object:
    spec = {"roleName": name, "replicas": replicas, "minAvailable": minimum or replicas}
    result: Object = {"name": name, "spec": {**spec, "podSpec": _pod_spec(place, gpu)}}
    if pack:
        result["topologyConstraint"] = {"topologyName": place.topology, "pack": pack}
    return result


def _set(
    place: Place,
    listed: list[Object],
    replicas: int,
    pack: Object | None = None,
    groups: list[Object] | None = None,
) -> Object:
    template: Object = {"cliques": listed, "terminationDelay": "10m"}
    if groups:
        template["podCliqueScalingGroups"] = groups
    if pack:
        template["topologyConstraint"] = {"topologyName": place.topology, "pack": pack}
    metadata = {"namespace": place.namespace}
    spec = {"replicas": replicas, "template": template}
    return {"apiVersion": "grove.io/v1alpha1", "kind": "PodGangSet", "metadata": metadata, "spec": spec}


def _pod_spec(place: Place, gpu: int) -> Object:
    asked = {"cpu": "1", "memory": "1Gi", **({GPU: str(gpu)} if gpu else {})}
    container = {"name": "main", "image": "example.com/app:1", "resources": {"requests": asked, "limits": asked}}
    return {"containers": [container], "nodeSelector": {"pool": place.pool}, "terminationGracePeriodSeconds": 1}


def _requests(clique: Object) -> dict[str, str]:
    found: dict[str, str] = clique["spec"]["podSpec"]["containers"][0]["resources"]["requests"]
    return found


def _template(obj: Object, fqn: str) -> str:
    return max((c["name"] for c in obj["spec"]["template"]["cliques"] if fqn.endswith(f"-{c['name']}")), key=len)
