"""Autoscaling by the HPA controller of the real control plane; the embedded cluster has none."""

from collections.abc import Iterator
from typing import Any

import pytest

from grovekeeper.embedded.installation import Installation
from tests.e2e import statuses
from tests.e2e.world import Object, World


@pytest.fixture
def metrics(installed: tuple[Any, Installation]) -> Iterator[Any]:
    from tests.controlplane import metrics as served

    plane, _installation = installed
    if not hasattr(plane, "processes"):
        pytest.skip("the embedded cluster has no HPA controller: its /scale is tried in the scaling scenarios")
    with served.PodMetrics(plane) as found:
        yield found


def test_an_hpa_scales_a_group_in_whole_replicas(world: World, metrics: Any) -> None:
    """Each group replica counts once in the HPA's average, however many pods it has."""
    world.add_nodes(20)
    scale = {"minReplicas": 1, "maxReplicas": 4, "metrics": [cpu("100m")]}
    obj = world.wl2()
    obj["spec"]["template"]["podCliqueScalingGroups"][0]["scaleConfig"] = scale
    metrics.milli = 100
    world.apply(obj)
    world.wait_pods(10, 10)
    metrics.milli = 200  # two replicas at twice the target: four
    world.wait_pods(18, 18, 60)
    obj["spec"]["template"]["terminationDelay"] = "20s"  # a sync from Git does not take the replicas back
    world.apply(obj)
    world.stays(lambda: replicas(world) == 4, "the replicas of the HPA", 3)
    metrics.milli = 20
    world.wait(lambda: replicas(world) == 1 and len(world.pods()) == 6, "the group to shrink to one replica", 60)


def test_an_hpa_scales_a_single_clique(world: World, metrics: Any) -> None:
    world.add_nodes(6)
    clique = world.clique("web", 2, 1)
    clique["spec"]["autoScalingConfig"] = {"minReplicas": 1, "maxReplicas": 5, "metrics": [cpu("100m")]}
    metrics.milli = 220
    world.apply(world.set([clique]))
    world.wait_pods(5, 5, 60)


def test_an_hpa_on_a_set_lives_beside_the_hpa_of_its_first_single_clique(world: World, metrics: Any) -> None:
    """Kubernetes stops both where they find the same pod, with the reason AmbiguousSelector."""
    world.add_nodes(20)
    web = world.clique("web", 2, 1)
    web["spec"]["autoScalingConfig"] = {"minReplicas": 1, "maxReplicas": 3, "metrics": [cpu("100m")]}
    metrics.milli = 100
    world.apply(world.set([web, world.clique("model", 1, 1)]))
    world.wait_pods(3, 3, 60)
    path = world.path("horizontalpodautoscalers", group="/apis/autoscaling/v2")
    target = {"apiVersion": "grove.io/v1alpha1", "kind": "PodGangSet", "name": "w"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2, "metrics": [cpu("100m")]}
    world.request("POST", path, {"metadata": {"name": "whole"}, "spec": spec})

    def active(name: str) -> bool:
        found = world.request("GET", f"{path}/{name}")
        said = statuses.of(found).get("conditions") or ()
        assert not [each for each in said if each["reason"] == "AmbiguousSelector"]
        return statuses.is_true(found, "ScalingActive")

    world.wait(lambda: active("whole") and active("w-0-web"), "both autoscalers to be active", 60)
    metrics.milli = 200
    world.wait_pods(8, 8, 90)  # two set replicas, three web pods and one model pod each


def replicas(world: World) -> int:
    found: int = world.request("GET", world.path("podcliquescalinggroups", "w-0-sg-x"))["spec"]["replicas"]
    return found


def cpu(value: str) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": value}}}
