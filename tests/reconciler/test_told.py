"""What the statuses tell people and autoscalers: what is there and not what was asked for, and why a gang waits."""

from grovekeeper.kube import resources
from grovekeeper.runtime import metrics
from tests.reconciler import world
from tests.reconciler.placing import Placing, pair
from tests.reconciler.rollout import the_set, up

FRONT = "demo-0-front"


def told(here: world.World, gang: str, type_: str) -> tuple[str, str, str]:
    found = world.condition(here.get(resources.PODGANGS, gang), type_)
    assert found is not None
    return found["status"], found["reason"], found["message"]


async def test_a_pod_that_ends_counts_nowhere() -> None:
    here = await up()
    await here.api.delete(resources.PODS, here.pods(FRONT)[0]["metadata"]["name"], "ns")
    await here.advance(2)
    status = here.get(resources.PODCLIQUES, FRONT)["status"]
    assert [status[f"{word}eplicas"] for word in ("r", "readyR", "scheduledR")] == [1, 1, 1]


async def test_the_replicas_of_a_set_are_those_that_are_there() -> None:
    """Grove repeats spec.replicas, so that an HPA reads what it has just written."""
    here = await up()
    await here.apply(world.podset(replicas=3))
    await here.run("set:PodCliqueSet:ns/demo")
    await here.run("setstatus:PodCliqueSet:ns/demo")
    assert the_set(here)["spec"]["replicas"] == 3
    assert the_set(here)["status"]["replicas"] == 1
    await here.advance(40)
    assert the_set(here)["status"]["replicas"] == 3


async def test_every_level_shows_a_selector_without_a_scale_config() -> None:
    here = await up()
    assert "scaleConfig" not in str(the_set(here)["spec"])
    shown = [
        the_set(here)["status"]["hpaPodSelector"],
        here.get(resources.PODCLIQUES, FRONT)["status"]["hpaPodSelector"],
        here.get(resources.SCALINGGROUPS, "demo-0-pool")["status"]["selector"],
    ]
    assert all(shown)
    assert "hpaPodSelector" not in here.get(resources.PODCLIQUES, "demo-0-pool-0-lead")["status"]


async def test_no_room_and_no_health_are_told_apart_and_the_score_is_shown() -> None:
    here = Placing(1)
    await here.apply(pair())
    await here.advance(40)
    assert told(here, "demo-0", "Scheduled")[:2] == ("False", "Unschedulable")
    assert metrics.GANGS_WAITING._value.get() == 1
    assert "placementScore" not in here.gang()["status"]
    here.api.node("n9")
    await here.settle()
    await here.bind(ready=False)
    await here.advance(40)
    assert metrics.GANGS_WAITING._value.get() == 0
    assert told(here, "demo-0", "Scheduled")[:2] == ("True", "Placed")
    assert told(here, "demo-0", "Ready") == ("False", "PodsNotReady", "0 of 2 pods of the minimum are ready")
    assert here.gang()["status"]["phase"] == "Starting"
    assert 0 < here.gang()["status"]["placementScore"] <= 1


async def test_a_scaled_gang_that_waits_for_its_base_gang_says_so() -> None:
    obj = world.podset()
    for clique in obj["spec"]["template"]["cliques"]:
        clique["spec"]["podSpec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    here = Placing(*([1] * 8))
    await here.apply(obj)
    await here.settle()
    await here.bind()
    await here.settle()
    await here.bind()
    await here.advance(60)
    scaled = "demo-0-pool-0"
    assert told(here, scaled, "Scheduled")[0] == "True"
    for node in list(here.api.of("nodes").values()):
        here.api._put("nodes", {**node, "spec": {"unschedulable": True}})
    for pod in here.ours():
        await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.advance(20)
    assert told(here, "demo-0", "Scheduled")[0] == "False"
    assert told(here, scaled, "Scheduled")[1:] == ("Waiting", "waits until its base gang demo-0 has its nodes")


async def test_the_sets_priority_class_is_on_every_pod() -> None:
    here = await up(world.podset(priorityClassName="high"))
    assert {pod["spec"]["priorityClassName"] for pod in here.pods()} == {"high"}
