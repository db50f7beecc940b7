"""What scenarios of topology share: bindings, constraints, which domains pods are in, and the shapes of PodGangs."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.e2e import statuses
from tests.e2e.world import BINDINGS, Object, World

LEVELS = (("zone", "zone"), ("block", "block"), ("rack", "rack"), ("host", "hostname"))
AVAILABLE = ("False", "AllClusterTopologyLevelsAvailable")
KEY = {domain: f"kubernetes.io/{key}" for domain, key in LEVELS}
SIZE = {"zone": 28, "block": 14, "rack": 7, "host": 1}
"""Nodes of one domain."""
TOPOLOGIES = "/apis/kai.scheduler/v1alpha1/topologies"
PODGANGS = "/apis/scheduler.grove.io/v1alpha1"


class Shape(NamedTuple):
    """What a PodGang asks of its scheduler."""

    top: Object | None
    """Constraint of the whole gang: {required, preferred} as node label keys; None: no constraint."""
    cliques: Mapping[str, tuple[int, Object | None]]
    """Minimum and constraint of each PodClique."""
    parts: Mapping[str, tuple[Sequence[str], Object | None]] = MappingProxyType({})
    """Cliques and constraint of each scaling-group replica that has one."""


def bind(world: World, name: str = "topology", levels: Sequence[tuple[str, str]] = ()) -> str:
    """Create a ClusterTopologyBinding of this world; return its name."""
    listed = levels or [(domain, f"kubernetes.io/{key}") for domain, key in LEVELS]
    found = f"{world.namespace}-{name}"
    spec = {"levels": [{"domain": domain, "key": key} for domain, key in listed]}
    metadata = {"name": found}
    world.post(
        BINDINGS,
        {"apiVersion": "grove.io/v1alpha1", "kind": "ClusterTopologyBinding", "metadata": metadata, "spec": spec},
    )
    return found


def top(world: World, domain: str) -> dict[str, Any]:
    return {"topologyConstraint": {"topologyName": f"{world.namespace}-topology", "pack": {"required": domain}}}


def pack(part: Object, domain: str, world: World) -> Object:
    return {**part, **top(world, domain)}


def preferring(part: Object, domain: str) -> Object:
    return {**part, "topologyConstraint": {"pack": {"preferred": domain}}}


def group(name: str, cliques: Sequence[str], replicas: int, minimum: int) -> Object:
    return {"name": name, "cliqueNames": list(cliques), "replicas": replicas, "minAvailable": minimum}


def small(clique: Object) -> Object:
    """Two of these pods fit on one node."""
    for container in clique["spec"]["podSpec"]["containers"]:
        container["resources"] = {"requests": {"memory": "40Mi"}}
    return clique


def up(world: World, obj: Object, pods: int) -> None:
    """Add 28 nodes, apply the set, and wait until so many pods run."""
    world.add_nodes(28)
    world.apply(obj)
    world.wait_pods(pods, pods, 40)


def domains(pods: Sequence[Object], size: int) -> int:
    """Return in how many domains of `size` nodes these pods are."""
    assert pods
    return len({int(pod["spec"]["nodeName"][-2:]) // size for pod in pods})


def together(pods: Sequence[Object], count: int, domain: str) -> bool:
    """Return whether there are so many of these pods, all in one domain of this level."""
    return len(pods) == count and domains(pods, SIZE[domain]) == 1


def podgang(world: World, name: str = "w-0") -> Object:
    return world.request("GET", world.path("podgangs", name, PODGANGS))


def podgangs(world: World) -> dict[str, Object]:
    return {
        gang["metadata"]["name"]: gang for gang in world.request("GET", world.path("podgangs", group=PODGANGS))["items"]
    }


def need(required: str | None = None, preferred: str | None = None) -> Object:
    """Return a constraint as a PodGang has it, from names of levels."""
    words = (("required", required), ("preferred", preferred))
    return {word: KEY[domain] for word, domain in words if domain}


def wait_gangs(world: World, want: dict[str, Shape]) -> None:
    """Wait until exactly these PodGangs are there, in these shapes, each with its living pods as references."""

    def wrong() -> dict[str, object]:
        found = {name: _shape(gang) for name, gang in podgangs(world).items()}
        return {name: found.get(name) for name in {*found, *want} if found.get(name) != want.get(name)}

    world.wait(lambda: not wrong(), f"PodGangs in the shapes {want}", 10)
    world.wait(lambda: _references(world) == _members(world), "the PodGangs to name their pods", 10)


def topologies(world: World) -> dict[str, list[str]]:
    """Return the node label keys of every Topology of KAI's, by name; its kind must be served."""
    listed = world.request("GET", TOPOLOGIES)["items"]
    return {each["metadata"]["name"]: [level["nodeLabel"] for level in each["spec"]["levels"]] for each in listed}


def scheduled_message(world: World) -> str:
    return world.gang_condition("w-0", "Scheduled")


def levels_condition(world: World) -> tuple[str, str]:
    return statuses.verdict(world.get_set("w"), "TopologyLevelsUnavailable")


def _constraint(part: Object) -> Object | None:
    found: Object | None = (part.get("topologyConstraint") or {}).get("packConstraint")
    return found


def _shape(gang: Object) -> Shape:
    spec = gang["spec"]
    cliques = {each["name"]: (each["minReplicas"], _constraint(each)) for each in spec["podgroups"]}
    configs = spec.get("topologyConstraintGroupConfigs") or ()
    parts = {each["name"]: (each["podGroupNames"], _constraint(each)) for each in configs}
    return Shape(_constraint(spec), cliques, parts)


def _references(world: World) -> set[tuple[str, str, str]]:
    """Gang, clique and pod of every reference."""
    return {
        (name, each["name"], pod["name"])
        for name, gang in podgangs(world).items()
        for each in gang["spec"]["podgroups"]
        for pod in each["podReferences"]
    }


def _members(world: World) -> set[tuple[str, str, str]]:
    """Gang, clique and name of every pod, by its labels."""
    return {
        (pod["metadata"]["labels"]["grove.io/podgang"], pod["metadata"]["labels"]["grove.io/podclique"], name)
        for pod in world.pods()
        for name in [pod["metadata"]["name"]]
    }
