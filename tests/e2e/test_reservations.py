"""Room that is kept while pods are replaced, on both targets: against our own queue and against stock pods."""

import pytest

from tests.e2e import backlog
from tests.e2e.test_updates import passed_on
from tests.e2e.world import Object, World, changed, is_ready, is_updated, uids

pytestmark = pytest.mark.slow


def test_no_gang_loses_its_rack_in_an_update_while_others_wait_for_room(world: World) -> None:
    found = backlog.run(world, racks=4, patience=100)
    assert (found.kept_domain, found.kept_nodes, found.taken) == (4, 4, 0), found


def test_a_deleted_pod_gets_its_node_back_though_a_gang_waits_for_it(world: World) -> None:
    world.add_nodes(2)
    world.apply(world.set([world.clique("pc", 2)], updateStrategy={"type": "OnDelete"}))
    world.wait_pods(2, 2)
    rival = world.set([world.clique("pc", 1)])
    rival["metadata"]["name"] = "rival"
    world.apply(rival)
    world.wait(lambda: world.gang_condition("rival-0", "Scheduled"), "the rival to wait")
    world.apply(changed(world.set([world.clique("pc", 2)], updateStrategy={"type": "OnDelete"}), "pc"))
    passed_on(world)
    for _ in range(2):
        pod = next(p for p in mine(world) if not is_updated(p))
        before = places(world)
        world.delete_pod(pod["metadata"]["name"])
        gone = uids([pod])
        world.wait(lambda g=gone: not g & uids(mine(world)), "the pod to go")
        world.wait(lambda b=before: places(world) == b and all(map(is_ready, mine(world))), "the pod to be back")
    assert all(map(is_updated, mine(world)))
    assert not [p for p in world.pods() if "rival" in p["metadata"]["name"] and p["spec"].get("nodeName")]


def test_room_that_is_given_up_goes_to_who_waits(world: World) -> None:
    world.add_nodes(2)
    world.apply(world.set([world.clique("pc", 2, 1)]))
    world.wait_pods(2, 2)
    rival = world.set([world.clique("pc", 1)])
    rival["metadata"]["name"] = "rival"
    world.apply(rival)
    world.wait(lambda: world.gang_condition("rival-0", "Scheduled"), "the rival to wait")
    world.scale("podcliques", "w-0-pc", 1)
    world.wait(
        lambda: [p for p in world.pods() if "rival" in p["metadata"]["name"] and is_ready(p)], "the rival to run"
    )


def mine(world: World) -> list[Object]:
    return [p for p in world.pods() if p["metadata"]["labels"]["app.kubernetes.io/part-of"] == "w"]


def places(world: World) -> dict[str, str | None]:
    return {p["spec"]["hostname"]: p["spec"].get("nodeName") for p in mine(world)}


def test_a_gang_that_is_being_updated_makes_room_as_a_whole_and_its_update_ends_later(world: World) -> None:
    for name, value in (("low", 10), ("high", 1000)):
        body = {"metadata": {"name": f"{world.namespace}-{name}"}, "value": value}
        kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        world.post("/apis/scheduling.k8s.io/v1/priorityclasses", {**kind, **body})
    world.add_nodes(5, cordoned=2)
    low = world.set([world.clique("pc", 3)], priorityClassName=f"{world.namespace}-low")
    world.apply(low)
    world.wait_pods(3, 3)
    urgent = world.set([world.clique("pc", 2)], priorityClassName=f"{world.namespace}-high")
    urgent["metadata"]["name"] = "urgent"
    world.apply(changed(low, "pc"))
    world.wait(lambda: any(map(is_updated, world.pods())), "the update to begin")
    world.apply(urgent)

    def of(name: str) -> list[Object]:
        return [pod for pod in world.pods() if pod["metadata"]["name"].startswith(name)]

    world.wait(lambda: len([pod for pod in of("urgent") if is_ready(pod)]) == 2, "urgent to run", 60)
    assert not [pod for pod in of("w-") if pod["spec"].get("nodeName")], "the other gang went as a whole"
    world.stays(lambda: not [p for p in of("w-") if p["spec"].get("nodeName")], "it waits for room")
    world.uncordon(2)
    world.wait(lambda: len([p for p in of("w-") if is_ready(p) and is_updated(p)]) == 3, "the update to end", 60)
    world.wait_pods(5, 5)
