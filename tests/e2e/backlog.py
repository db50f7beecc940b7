"""A full cluster with a backlog, in which every gang is updated: who keeps its room, and what the others get.

One rack a gang: seven pods that fill seven nodes, all in one rack by a required constraint. Behind them wait gangs of
ours of the same size and of single pods, and pods of nobody's that the stock scheduler would bind at once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.e2e import statuses, topology
from tests.e2e.world import Object, World, changed, is_ready, is_updated

_SIZE = 7
_STRATEGIES = ("RollingRecreate", "Coherent")
Places = Mapping[str, str]
"""Node by pod hostname."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the gangs and of those that waited."""

    gangs: int
    kept_domain: int
    """Gangs all of whose pods are in the rack that they were in."""
    kept_nodes: int
    """Gangs each of whose pods is on the node on which the pod of its name was."""
    taken: int
    """Pods of the backlog that got a node before the update had ended."""
    seconds: float
    """From the change of the first set to the end of the last update."""


def run(world: World, racks: int, patience: float) -> Outcome:
    """Fill `racks` racks with gangs, let others wait, update every gang, and say what happened.

    Raises AssertionError where something does not come up or end within `patience` seconds.
    """
    topology.bind(world)
    world.add_nodes(racks * _SIZE)
    gangs = [_gang(world, f"g{index:02}", _STRATEGIES[index % 2]) for index in range(racks)]
    for obj in gangs:
        world.apply(obj)
    world.wait(lambda: _running(world) == racks * _SIZE, "all gangs to run", patience)
    world.wait(lambda: all(map(_is_quiet, _sets(world, "g"))), "all gangs to say so", patience)
    before = {obj["metadata"]["name"]: _places(world, obj["metadata"]["name"]) for obj in gangs}
    stock = _let_others_wait(world)
    try:
        start = time.monotonic()
        for obj in gangs:
            world.apply(changed(obj, "pc-a", "pc-b"))
        world.wait(lambda: all(map(_has_ended, _sets(world, "g"))), "all updates to end", patience)
        seconds = time.monotonic() - start
        taken = sum(1 for pod in world.pods() if pod["spec"].get("nodeName") and "rival" in pod["metadata"]["name"])
        taken += sum(1 for pod in _stock(world, stock) if pod["spec"].get("nodeName"))
        after = {name: _places(world, name) for name in before}
        for name in before:
            _check(world, name)
    finally:
        world.request("DELETE", f"/api/v1/namespaces/{stock}/pods", {"gracePeriodSeconds": 0})
    return Outcome(
        len(gangs),
        sum(_racks(world, before[name]) == _racks(world, after[name]) for name in before),
        sum(before[name] == after[name] for name in before),
        taken,
        seconds,
    )


def _gang(world: World, name: str, strategy: str) -> Object:
    """A set of one gang: three pods, and two group replicas of two."""
    cliques = [world.clique("pc-a", 3), world.clique("pc-b", 1), world.clique("pc-c", 1)]
    group = {"name": "sg-x", "cliqueNames": ["pc-b", "pc-c"], "replicas": 2, "minAvailable": 2}
    obj = world.set(cliques, [group], updateStrategy={"type": strategy}, **topology.top(world, "rack"))
    obj["metadata"]["name"] = name
    return obj


def _let_others_wait(world: World) -> str:
    """Have gangs and plain pods wait for room; return the namespace of the plain ones."""
    for index, size in enumerate((_SIZE, 1, 1, 2)):
        rival = world.set([world.clique("pc-a", size)])
        rival["metadata"]["name"] = f"rival{index}"
        world.apply(rival)
    stock = f"{world.namespace}-stock"
    world.add_namespace(stock)
    spec = world.clique("x", 1)["spec"]["podSpec"]
    for index in range(6):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"stock{index}"}, "spec": spec}
        world.post(f"/api/v1/namespaces/{stock}/pods", pod)
    waiting = lambda: len([p for p in _stock(world, stock) if _is_refused(p)]) == 6  # noqa: E731
    world.wait(waiting, "the stock scheduler to have tried the plain pods", 30)
    listed = lambda: all(world.gang_condition(f"rival{index}-0", "Scheduled") for index in range(4))  # noqa: E731
    world.wait(listed, "the other gangs to say what they wait for", 30)
    return stock


def _stock(world: World, namespace: str) -> list[Object]:
    found: list[Object] = world.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    return found


def _is_refused(pod: Object) -> bool:
    return statuses.verdict(pod, "PodScheduled")[0] == "False"


def _running(world: World) -> int:
    return sum(map(is_ready, world.pods()))


def _sets(world: World, prefix: str) -> list[Object]:
    found = world.request("GET", world.path("podgangsets"))["items"]
    return [obj for obj in found if obj["metadata"]["name"].startswith(prefix)]


def _is_quiet(obj: Object) -> bool:
    status = statuses.of(obj)
    return status.get("availableReplicas") == 1 and bool(status.get("currentGenerationHash"))


def _has_ended(obj: Object) -> bool:
    status = statuses.of(obj)
    ended = statuses.is_observed(obj) and (status.get("rollingUpdateProgress") or {}).get("updateEndedAt")
    return bool(ended and status.get("updatedReplicas") == 1 and status.get("availableReplicas") == 1)


def _mine(world: World, name: str) -> list[Object]:
    return [p for p in world.pods() if p["metadata"]["labels"]["app.kubernetes.io/part-of"] == name]


def _places(world: World, name: str) -> dict[str, str]:
    return {p["spec"]["hostname"]: p["spec"].get("nodeName", "") for p in _mine(world, name)}


def _racks(world: World, places: Places) -> set[int]:
    return {world.nodes.index(node) // _SIZE for node in places.values()}


def _check(world: World, name: str) -> None:
    """Every pod is new where its clique changed, runs, and there are as many as before."""
    pods = _mine(world, name)
    assert len(pods) == _SIZE, f"{name} has {len(pods)} pods:\n{world.picture()}"
    assert all(map(is_ready, pods)), world.picture()
    assert all(is_updated(p) for p in pods if not p["metadata"]["labels"]["grove.io/podclique"].endswith("pc-c"))
