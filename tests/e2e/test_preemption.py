"""Preemption of whole gangs: who may, and an owner that begins in the middle of it. On both targets."""

import time

import pytest

from grovekeeper.api import names
from tests.e2e.world import MERGE, Object, World, is_ready

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
HOLD = "example.com/hold"


def ranked(world: World, name: str, pods: int, rank: str) -> Object:
    obj = world.set([world.clique("pc", pods)], priorityClassName=f"{world.namespace}-{rank}", terminationDelay="4h")
    # Else our webhook keeps finalizers of others off its pods.
    obj["metadata"] |= {"name": name, "annotations": {names.ANNOTATION_DISABLE_PROTECTION: "true"}}
    return obj


def ranks(world: World) -> None:
    """Three PriorityClasses of this world: low, polite (high, and preempts nobody), high."""
    for name, value, policy in (("low", 10, None), ("polite", 900, "Never"), ("high", 1000, "PreemptLowerPriority")):
        body = {"metadata": {"name": f"{world.namespace}-{name}"}, "value": value}
        more = {"preemptionPolicy": policy} if policy else {}
        world.post(CLASSES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **body, **more})


def of(world: World, name: str) -> list[Object]:
    return [pod for pod in world.pods() if pod["metadata"]["name"].startswith(f"{name}-")]


def up(world: World, name: str) -> list[str]:
    return sorted(pod["metadata"]["uid"] for pod in of(world, name) if is_ready(pod))


def held(world: World, on: bool, *names: str) -> None:
    """Keep pods from ending, or let them go."""
    for name in names:
        world.request(
            "PATCH", world.path("pods", name, "/api/v1"), {"metadata": {"finalizers": [HOLD] if on else None}}, MERGE
        )


@pytest.mark.slow
def test_a_gang_whose_priority_class_preempts_nobody_waits_and_is_the_first_to_get_room(world: World) -> None:
    ranks(world)
    world.add_nodes(3)
    world.apply(ranked(world, "low", 3, "low"))
    world.wait(lambda: len(up(world, "low")) == 3, "low to run")
    before = up(world, "low")
    world.apply(ranked(world, "polite", 2, "polite"))
    world.wait(lambda: "room for 0 of 2" in world.gang_condition("polite-0", "Scheduled"), "it to wait")
    world.apply(ranked(world, "next", 2, "low"))
    world.wait(lambda: "room for 0 of 2" in world.gang_condition("next-0", "Scheduled"), "the next one to wait")
    world.stays(lambda: up(world, "low") == before, "who runs goes on")
    world.request("DELETE", world.path("podgangsets", "low"))
    world.wait(lambda: len(up(world, "polite")) == 2, "the higher priority to get the room")
    assert not up(world, "next")


@pytest.mark.slow
def test_an_owner_that_begins_while_victims_end_evicts_no_second_gang(world: World) -> None:
    ranks(world)
    world.add_nodes(4)
    for name in ("older", "younger"):
        world.apply(ranked(world, name, 2, "low"))
        world.wait(lambda n=name: len(up(world, n)) == 2, f"{name} to run")
        time.sleep(1.1)  # creation times have whole seconds
    kept = up(world, "older")
    going = [pod["metadata"]["name"] for pod in of(world, "younger")]
    held(world, True, *going)
    try:
        world.apply(ranked(world, "urgent", 2, "high"))
        world.wait(lambda: not up(world, "younger"), "the younger gang to be evicted")
        owner = world.installation.components["worker-0"]
        owner.stop(kill=True)
        owner.start()
        owner.wait_ready()
        world.apply(ranked(world, "late", 1, "low"))
        text = "room for 0 of 1"
        world.wait(lambda: text in world.gang_condition("late-0", "Scheduled"), "the new owner to look around", 60)
        world.stays(lambda: up(world, "older") == kept, "nobody else goes")
    finally:
        held(world, False, *going)
    world.wait(lambda: len(up(world, "urgent")) == 2, "urgent to run")
    assert up(world, "older") == kept
