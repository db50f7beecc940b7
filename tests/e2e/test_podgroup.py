"""Gangs that kube-scheduler itself places (feature gate GenericWorkload), on a real control plane of their own.

The embedded cluster's scheduler knows no gangs: there is nothing to hold on it.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from grovekeeper.embedded.installation import Installation
from tests.chart import helm
from tests.e2e.test_handover import over
from tests.e2e.world import Object, World, is_ready, uids

GROUP = "/apis/scheduling.k8s.io/v1beta1"


@pytest.fixture(scope="module")
def gated() -> Iterator[tuple[object, Installation]]:
    """A control plane with kube-scheduler's gangs switched on."""
    from tests.controlplane.plane import ControlPlane, Options

    options = Options(gates="GenericWorkload=true", apis="scheduling.k8s.io/v1beta1=true")
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(options))
        chart = helm.template("schedulers.profiles={default-scheduler,podgroup}")
        yield plane, stack.enter_context(Installation(plane, rendered=chart))


@pytest.fixture
def gangs(gated: tuple[object, Installation]) -> Iterator[World]:
    world = World(*gated)
    yield world
    world.close()


def running(world: World, gang: str = "") -> int:
    mine = [p for p in world.pods() if p["metadata"]["labels"]["grove.io/podgang"].startswith(gang)]
    return len([pod for pod in mine if is_ready(pod)])


def bound(world: World) -> int:
    return len([pod for pod in world.pods() if pod["spec"].get("nodeName")])


def open_(world: World) -> list[Object]:
    return [pod for pod in world.pods() if not pod["spec"].get("schedulingGates")]


def groups(world: World) -> dict[str, Object]:
    listed = world.request("GET", world.path("podgroups", group=GROUP))["items"]
    return {each["metadata"]["name"]: each for each in listed}


@pytest.mark.real
@pytest.mark.parametrize("kind", ["PodGangSet", "PodCliqueSet"])
def test_kube_scheduler_binds_a_gang_whole_or_not_at_all(gangs: World, kind: str) -> None:
    world = gangs
    world.add_nodes(2)
    cliques = [world.clique("pc-a", 2, 1), world.clique("pc-b", 2)]
    world.apply(over(world.set(cliques), "podgroup", kind))
    world.wait(lambda: len(open_(world)) == 3, "the minimum to be released")
    assert groups(world)["w-0"]["spec"]["schedulingPolicy"] == {"gang": {"minCount": 3}}
    assert groups(world)["w-0"]["spec"]["disruptionMode"] == {"all": {}}
    assert all("affinity" not in pod["spec"] for pod in world.pods()), "nothing is pinned"
    world.wait(lambda: "minCount (3)" in world.gang_condition("w-0", "Scheduled"), "kube-scheduler's word")
    world.stays(lambda: bound(world) == 0, "none of three pods is bound to two nodes", 2)
    assert len(open_(world)) == 3
    add_one(world, "x")
    world.wait(lambda: running(world) == 3, "the minimum to run at once")
    world.wait(lambda: len(open_(world)) == 4, "the pod above the minimum to be released")
    world.stays(lambda: bound(world) == 3, "there is no room for it")
    add_one(world, "y")
    world.wait(lambda: running(world) == 4, "the pod above the minimum to run")
    lost = world.pods("pc-b")[0]["metadata"]
    world.delete_pod(lost["name"])
    world.wait(lambda: lost["uid"] not in uids(world.pods()), "the pod to go")
    world.wait(lambda: running(world) == 4, "the successor to run")
    world.request("DELETE", world.path(f"{kind.lower()}s", "w"))
    # The garbage collector looks for new kinds every 30 s, and this control plane is young.
    world.wait(lambda: not groups(world), "the group to go with the set", 60)


@pytest.mark.real
def test_scaled_gangs_follow_their_base_gang(gangs: World) -> None:
    world = gangs
    world.add_nodes(2)
    world.apply(over(world.wl2(), "podgroup"))
    world.wait(lambda: len(world.pods()) == 10 and len(open_(world)) == 3, "the base gang's minimum to be released")
    world.stays(lambda: len(open_(world)) == 3 and bound(world) == 0, "nobody else is released, nobody is bound")
    for number in range(8):
        add_one(world, f"m{number}")
    world.wait(lambda: running(world) == 10, "both gangs to run", 40)
    least = {name: each["spec"]["schedulingPolicy"]["gang"]["minCount"] for name, each in groups(world).items()}
    assert least == {"w-0": 3, "w-0-sg-x-0": 2}


@pytest.mark.real
def test_of_two_sets_that_compete_one_runs_whole_and_the_other_not_at_all(gangs: World) -> None:
    world = gangs
    world.add_nodes(3)
    for name in ("one", "two"):
        obj = over(world.set([world.clique("pc-a", 2)]), "podgroup")
        obj["metadata"]["name"] = name
        world.apply(obj)
    world.wait(lambda: len(open_(world)) == 4 and running(world) == 2, "one of them to run")
    world.stays(lambda: bound(world) == 2, "the other has not taken the third node", 2)
    assert sorted(running(world, name) for name in ("one", "two")) == [0, 2]


def add_one(world: World, suffix: str) -> None:
    """Add one more node of one pod."""
    name = f"{world.namespace}-{suffix}"
    offered = {"cpu": "8", "memory": "100Mi", "pods": "20"}
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, "pool": world.namespace}}
    status = {"allocatable": offered, "capacity": offered}
    world.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})
    world.nodes.append(name)
