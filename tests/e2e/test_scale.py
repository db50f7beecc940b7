"""Grove's scale scenarios in small, on both targets, and the load of the scale bench before its referee."""

import os
from typing import Any

import pytest

from grovekeeper.embedded.cluster import EmbeddedCluster
from tests.bench import load, mix
from tests.e2e import statuses
from tests.e2e.world import PATIENCE, Object, World

SCHEDULER = "/apis/scheduler.grove.io/v1alpha1"


def test_scaleup_tiny_from_no_replica_to_five(world: World) -> None:
    up(world, nodes=5, replicas=0)
    before = pids(world)
    world.scale("podgangsets", "w", 5)
    at_rest(world, 5)
    assert pids(world) == before


def test_scaledown_tiny_from_five_replicas_to_none(world: World) -> None:
    up(world, nodes=5, replicas=5)
    before = pids(world)
    world.scale("podgangsets", "w", 0)
    at_rest(world, 0)
    assert pids(world) == before


@pytest.mark.slow
def test_scaleup_fromzero_to_forty_replicas(world: World) -> None:
    up(world, nodes=10, replicas=0)
    before = pids(world)
    world.scale("podgangsets", "w", 40)
    at_rest(world, 40)
    assert pids(world) == before


@pytest.mark.slow
def test_scaledown_tozero_from_forty_replicas(world: World) -> None:
    up(world, nodes=10, replicas=40)
    before = pids(world)
    world.scale("podgangsets", "w", 0)
    at_rest(world, 0)
    assert pids(world) == before


@pytest.mark.slow
def test_soakchurn_comes_back_to_the_same_count_in_every_cycle(world: World) -> None:
    up(world, nodes=10, replicas=5)
    before = pids(world)
    stay = {pod["metadata"]["uid"] for pod in world.pods()}
    for _ in range(3):
        world.scale("podgangsets", "w", 15)
        at_rest(world, 15)
        world.scale("podgangsets", "w", 5)
        at_rest(world, 5)
    assert {pod["metadata"]["uid"] for pod in world.pods()} == stay, "what was there at the base is not touched"
    assert pids(world) == before


class Pods:
    """Stands for the stock Deployment where there is no controller manager: plain pods, the last ones going first."""

    def __init__(self, world: World, place: mix.Place) -> None:
        self._world = world
        self._template = mix.background(place, 0)["spec"]["template"]
        self._count = 0

    def scale(self, replicas: int) -> None:
        path = self._world.path("pods", group="/api/v1")
        for number in range(self._count, replicas):
            metadata = {"name": f"background-{number}", **self._template["metadata"]}
            self._world.post(path, {"apiVersion": "v1", "kind": "Pod", **self._template, "metadata": metadata})
        for number in range(replicas, self._count):
            self._world.delete_pod(f"background-{number}")
        self._count = replicas


@pytest.mark.slow
@pytest.mark.timeout(300 * PATIENCE)
def test_mixed_gangs_beside_pods_of_others_are_whole_and_where_they_were_pinned(world: World) -> None:
    """100 nodes, 500 pods; an independent referee follows every event of the run."""
    place = mix.Place(world.namespace, world.namespace)
    embedded = isinstance(world.cluster, EmbeddedCluster)
    background: load.Background = Pods(world, place) if embedded else load.Deployment(world.cluster, place)
    world.nodes += [node["metadata"]["name"] for node in mix.nodes(place, 100)]
    size = load.Size(nodes=100, pods=500, largest=16, background=(40, 115, 20), patience=60 * PATIENCE)
    run = load.Load(world.cluster, place, size, background, print)
    try:
        verdict = run.run(seed=7)
    finally:
        # Whatever is left of the pods of others would be made again.
        background.scale(0)
    for found in (verdict.partial, verdict.wrong, verdict.stuck, list(map(str, verdict.unexplained))):
        assert not found, "\n".join(found)
    assert verdict.compared >= 500
    for name in run.wanted:
        world.request("DELETE", world.path("podgangsets", name))
    world.wait(lambda: not world.request("GET", world.path("pods", group="/api/v1"))["items"], "all to go", 60)


def up(world: World, nodes: int, replicas: int) -> None:
    """Bring up a set of one clique of two small pods, which are one gang."""
    world.add_nodes(nodes)
    clique = world.clique("expert-worker", 2)
    clique["spec"]["podSpec"]["containers"][0]["resources"] = {"requests": {"memory": "1Mi"}}
    world.apply(world.set([clique], replicas=replicas))
    at_rest(world, replicas)


def at_rest(world: World, replicas: int) -> None:
    """Wait for exactly so many pods, PodCliques and PodGangs, nothing on its way out, and counters that say so."""
    world.wait(lambda: not trouble(world, replicas), f"{replicas} replicas at rest", 60)
    world.stays(lambda: not trouble(world, replicas), f"{replicas} replicas at rest", 0.5)


def trouble(world: World, replicas: int) -> list[str]:
    """Return what is not as it should be with so many set replicas."""
    pods = listed(world, "pods", "/api/v1")
    cliques = listed(world, "podcliques")
    found = counted(world, replicas, pods, cliques)
    for obj in [*pods, *cliques]:
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            found.append(f"{metadata['name']} is terminating")
        if int(metadata["labels"]["grove.io/podgangset-replica-index"]) >= replicas:
            found.append(f"{metadata['name']} is of a replica that should be gone")
    for clique in cliques:
        status = statuses.of(clique)
        if {status.get(key) for key in ("replicas", "readyReplicas", "updatedReplicas")} != {2}:
            found.append(f"{clique['metadata']['name']} says {status}")
    obj = world.get_set("w")
    status = statuses.of(obj)
    if {status.get(key, 0) for key in ("replicas", "availableReplicas", "updatedReplicas")} != {replicas}:
        found.append(f"the set says {status}")
    if not statuses.is_observed(obj):
        found.append("the set's spec has not been observed")
    found += [f"{each['metadata']['name']} has errors" for each in [obj, *cliques] if errors(each)]
    return found


def counted(world: World, replicas: int, pods: list[Object], cliques: list[Object]) -> list[str]:
    have = {
        "pods": len(pods),
        "podcliques": len(cliques),
        "podgangs": len(listed(world, "podgangs", SCHEDULER)),
        "podcliquescalinggroups": len(listed(world, "podcliquescalinggroups")),
    }
    want = {"pods": replicas * 2, "podcliques": replicas, "podgangs": replicas, "podcliquescalinggroups": 0}
    return [f"{have[kind]} {kind}, wanted {want[kind]}" for kind in want if have[kind] != want[kind]]


def errors(obj: Object) -> Any:
    return statuses.of(obj).get("lastErrors")


def listed(world: World, plural: str, group: str = "") -> list[Object]:
    path = world.path(plural, group=group) if group else world.path(plural)
    found: list[Object] = world.request("GET", path)["items"]
    return found


def pids(world: World) -> dict[str, int]:
    """Return the ids of our processes, all of which run."""
    found = {name: c.process.pid for name, c in world.installation.components.items() if c.process is not None}
    for pid in found.values():
        os.kill(pid, 0)
    return found
