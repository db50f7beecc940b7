"""Room that is kept while pods are replaced, on both targets: against our own queue and against stock pods."""

import pytest

from tests.e2e import backlog
from tests.e2e.test_updates import seen
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
    seen(world)
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
