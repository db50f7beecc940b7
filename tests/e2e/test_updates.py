"""Grove's update scenarios (RU, OD) on both targets: scaling in the middle of an update, and OnDelete."""

from collections.abc import Sequence

import pytest

from tests.e2e.world import Object, World, changed, is_ready, is_updated, uids

pytestmark = pytest.mark.slow
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
ALL = ("pc-a", "pc-b", "pc-c")


def test_ru9_three_changes_in_a_row_roll_one_pod_and_one_group_replica_at_a_time(world: World) -> None:
    obj = up(world, world.wl1(), 10, 10)
    for clique in ALL:
        obj = changed(obj, clique)
        world.apply(obj)
    lowest = [10]

    def done() -> bool:
        pods = world.pods()
        lowest.append(sum(map(is_ready, pods)))
        return finished(world, 10)

    world.wait(done, "the end of the update", 90)
    assert min(lowest) >= 10 - 1 - 4 - 1, "one pod of pc-a and one group replica at a time"


def test_ru10_without_room_one_pod_waits_and_nothing_else_is_given_up(world: World) -> None:
    obj = up(world, world.wl1(), 10, 10)
    before = uids(world.pods())
    for node in world.nodes:
        world.cordon(node)
    world.apply(changed(obj, "pc-a"))
    world.wait(lambda: len(uids(world.pods()) - before) == 1, "one successor")
    world.stays(lambda: len(before - uids(world.pods())) == 1 and len(uids(world.pods()) - before) == 1, "one", 3)
    for node in world.nodes:
        world.cordon(node, False)
    world.wait(lambda: finished(world, 10), "the end of the update", 60)


def test_ru11_a_set_scaled_out_during_an_update_ends_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 30)
    update_and_scale(world, changed(obj, "pc-a"), lambda: world.scale("podgangsets", "w", 3))
    world.wait(lambda: finished(world, 30, 3), "three replicas up to date", 90)


def test_ru12_a_set_scaled_in_during_an_update_ends_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 20)
    update_and_scale(world, changed(obj, *ALL), lambda: world.scale("podgangsets", "w", 1))
    world.wait(lambda: finished(world, 10), "one replica up to date", 90)


def test_ru13_a_set_scaled_in_after_an_update_keeps_the_first_replica(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 20)
    world.apply(changed(obj, *ALL))
    world.wait(lambda: finished(world, 20, 2), "the end of the update", 90)
    world.scale("podgangsets", "w", 1)
    world.wait(lambda: finished(world, 10), "one replica", 40)


def test_ru14_groups_scaled_out_during_an_update_end_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 28)
    update_and_scale(world, changed(obj, *ALL), lambda: scale_groups(world, 3))
    world.wait(lambda: finished(world, 28, 2), "28 pods up to date", 90)


def test_ru15_groups_scaled_out_before_an_update_end_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 28)
    scale_groups(world, 3)
    world.apply(changed(obj, *ALL))
    world.wait(lambda: finished(world, 28, 2), "28 pods up to date", 90)


@pytest.mark.parametrize("first", ["update", "scale"], ids=["ru16", "ru17"])
def test_ru16_and_ru17_groups_scaled_in_around_an_update_end_up_to_date(world: World, first: str) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 28)
    scale_groups(world, 3)
    world.wait_pods(28, 28, 40)
    steps = [lambda: world.apply(changed(obj, *ALL)), lambda: scale_groups(world, 2)]
    for step in steps if first == "update" else reversed(steps):
        step()
    world.wait(lambda: finished(world, 20, 2), "20 pods up to date", 90)


@pytest.mark.parametrize("first", ["update", "scale"], ids=["ru18", "ru19"])
def test_ru18_and_ru19_a_clique_scaled_out_around_an_update_ends_up_to_date(world: World, first: str) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 24)
    steps = [lambda: world.apply(changed(obj, *ALL)), lambda: scale_cliques(world, 4)]
    for step in steps if first == "update" else reversed(steps):
        step()
    world.wait(lambda: finished(world, 24, 2), "24 pods up to date", 90)


@pytest.mark.parametrize("first", ["update", "scale"], ids=["ru20", "ru21"])
def test_ru20_and_ru21_a_clique_scaled_in_around_an_update_ends_up_to_date(world: World, first: str) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 22)
    scale_cliques(world, 3)
    world.wait_pods(22, 22, 40)
    steps = [lambda: world.apply(changed(obj, *ALL)), lambda: scale_cliques(world, 2)]
    for step in steps if first == "update" else reversed(steps):
        step()
    world.wait(lambda: finished(world, 20, 2), "20 pods up to date", 90)


def test_od3_the_updated_pod_survives_a_scale_in(world: World) -> None:
    obj = up(world, world.wl2(**ON_DELETE), 10, 10)
    world.apply(changed(obj, "pc-a"))
    seen(world)
    world.delete_pod(world.pods("pc-a")[0]["metadata"]["name"])
    world.wait(lambda: [is_updated(p) for p in world.pods("pc-a") if is_ready(p)].count(True) == 1, "its successor")
    world.wait_pods(10, 10)
    world.scale("podcliques", "w-0-pc-a", 1)
    world.wait_pods(9, 9)
    assert [is_updated(p) for p in world.pods("pc-a")] == [True]


def test_od4_and_od5_only_the_deleted_pod_of_a_group_is_replaced_with_the_new_spec(world: World) -> None:
    obj = up(world, world.wl1(**ON_DELETE), 10, 10)
    before = uids(world.pods())
    obj = changed(obj, "pc-b")
    world.apply(obj)
    seen(world)
    world.apply(changed(obj, "pc-c"))
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    gone = world.pods("pc-c")[0]
    world.delete_pod(gone["metadata"]["name"])
    world.wait(lambda: len(uids(world.pods()) - before) == 1 and len(world.pods()) == 10, "one successor")
    world.wait_pods(10, 10)
    assert [is_updated(p) for p in world.pods() if p["metadata"]["uid"] not in before] == [True]


def test_od6_every_deleted_pod_comes_back_with_the_new_spec(world: World) -> None:
    obj = up(world, world.wl1(**ON_DELETE), 10, 10)
    before = uids(world.pods())
    world.apply(changed(obj, *ALL))
    seen(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    for clique in ("pc-a", "pc-c"):
        world.delete_pod(world.pods(clique)[0]["metadata"]["name"])
    world.wait(lambda: len(uids(world.pods()) - before) == 2 and len(world.pods()) == 10, "two successors")
    assert all(is_updated(p) for p in world.pods() if p["metadata"]["uid"] not in before)
    world.wait_pods(10, 10)


def test_od7_nothing_is_deleted_in_any_replica(world: World) -> None:
    obj = up(world, world.wl1(replicas=2, **ON_DELETE), 20, 20)
    before = uids(world.pods())
    world.apply(changed(obj, "pc-a"))
    seen(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 3)


def test_od8_a_successor_follows_the_new_affinity_to_another_node(world: World) -> None:
    obj = up(world, world.wl1(**ON_DELETE), 10, 11)
    pod = world.pods("pc-a")[0]
    before = uids(world.pods())
    there = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [pod["spec"]["nodeName"]]}
    term = {"matchExpressions": [there]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    fresh = changed(obj, "pc-a")
    fresh["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["affinity"] = affinity
    world.apply(fresh)
    seen(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    world.delete_pod(pod["metadata"]["name"])
    world.wait_pods(10, 10, 40)
    new = [p for p in world.pods() if p["metadata"]["uid"] not in before]
    assert len(new) == 1
    assert new[0]["spec"]["nodeName"] != pod["spec"]["nodeName"]


def test_od9_the_strategy_may_change_between_updates(world: World) -> None:
    obj = up(world, world.wl1(**ON_DELETE), 10, 10)
    before = uids(world.pods())
    obj = changed(obj, "pc-a")
    world.apply(obj)
    seen(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    obj["spec"]["updateStrategy"]["type"] = "RollingRecreate"
    obj = changed(obj, "pc-b")
    world.apply(obj)
    world.wait(lambda: updated(world.pods("pc-a")) and updated(world.pods("pc-b")), "the roll", 90)
    world.wait(lambda: all(map(is_ready, world.pods())) and len(world.pods()) == 10, "all pods", 40)
    after = uids(world.pods())
    obj["spec"]["updateStrategy"]["type"] = "OnDelete"
    world.apply(changed(obj, "pc-c"))
    world.stays(lambda: uids(world.pods()) == after, "nothing is deleted", 3)


def up(world: World, obj: Object, pods: int, nodes: int) -> Object:
    world.add_nodes(nodes)
    world.apply(obj)
    world.wait_pods(pods, pods, 40)
    world.wait(lambda: (world.get_set("w").get("status") or {}).get("currentGenerationHash"), "the first status")
    return obj


def update_and_scale(world: World, obj: Object, scale: object) -> None:
    world.apply(obj)
    scale()  # type: ignore[operator]


def scale_groups(world: World, replicas: int) -> None:
    for index in range(2):
        world.scale("podcliquescalinggroups", f"w-{index}-sg-x", replicas)


def scale_cliques(world: World, replicas: int) -> None:
    for index in range(2):
        world.scale("podcliques", f"w-{index}-pc-a", replicas)


def seen(world: World) -> None:
    """Wait until the reconciler has taken the newest generation in."""

    def current() -> bool:
        obj = world.get_set("w")
        return bool(obj["status"].get("observedGeneration") == obj["metadata"]["generation"])

    world.wait(current, "the change to be observed")


def updated(pods: Sequence[Object]) -> bool:
    return all(map(is_updated, pods))


def finished(world: World, pods: int, replicas: int = 1) -> bool:
    """All pods there, ready and new where their clique changed, and the status says that the update has ended."""
    obj = world.get_set("w")
    status = obj["status"]
    current = status.get("observedGeneration") == obj["metadata"]["generation"]
    ended = (status.get("rollingUpdateProgress") or {}).get("updateEndedAt")
    found = world.pods()
    return bool(
        current
        and ended
        and status.get("updatedReplicas") == replicas
        and len(found) == pods
        and all(map(is_ready, found))
    )
