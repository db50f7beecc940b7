"""Grove's update scenarios (RU, OD) on both targets: scaling in the middle of an update, and OnDelete."""

from collections.abc import Callable, Sequence

import pytest

from tests.e2e import statuses
from tests.e2e.recorder import follow, one_at_a_time
from tests.e2e.world import Object, World, changed, group, is_ready, is_updated, uids

pytestmark = pytest.mark.slow
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
ALL = ("pc-a", "pc-b", "pc-c")


def test_ru9_three_changes_in_a_row_roll_one_pod_and_one_group_replica_at_a_time(world: World) -> None:
    obj = up(world, world.wl1(), 10, 10)

    def change() -> None:
        fresh = obj
        for clique in ALL:
            fresh = changed(fresh, clique)
            world.apply(fresh)

    follow(world, change, one_at_a_time(world.pods()), lambda: finished(world, 10), 90)


def test_ru10_without_room_one_pod_waits_and_nothing_else_is_given_up(world: World) -> None:
    obj = up(world, world.wl1(), 10, 10)
    before = uids(world.pods())
    for node in world.nodes:
        world.cordon(node)

    def fault(pods: Sequence[Object]) -> str:
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        new = [pod for pod in alive if pod["metadata"]["uid"] not in before]
        if len(before - uids(alive)) > 1 or len(new) > 1:
            return "more than one pod is replaced"
        return "a successor has a node although there is no room" if any(p["spec"].get("nodeName") for p in new) else ""

    def waits() -> bool:
        found = world.pods()
        return len(before - uids(found)) == len(uids(found) - before) == 1

    def stays() -> bool:
        world.stays(waits, "one pod is gone and its successor waits", 3)
        return True

    follow(world, lambda: world.apply(changed(obj, "pc-a")), fault, lambda: waits() and stays(), 60)

    def uncordon() -> None:
        for node in world.nodes:
            world.cordon(node, False)

    follow(world, uncordon, one_at_a_time(world.pods()), lambda: finished(world, 10), 60)


def test_ru11_a_set_scaled_out_during_an_update_ends_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 30)
    update_then(world, changed(obj, "pc-a"), lambda: world.scale("podgangsets", "w", 3))
    world.wait(lambda: finished(world, 30, 3), "three replicas up to date", 60)


def test_ru12_a_set_scaled_in_during_an_update_ends_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 20)
    world.apply(changed(obj, *ALL))
    world.wait(lambda: updating(world.get_set("w")) == [1], "the turn of the second replica", 60)
    world.scale("podgangsets", "w", 1)
    world.wait(lambda: finished(world, 10), "one replica up to date", 60)
    assert replicas_of(world.pods()) == {"0"}


def test_ru13_a_set_scaled_in_after_an_update_keeps_the_first_replica(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 20)
    roll = one_at_a_time(world.pods())
    follow(world, lambda: world.apply(changed(obj, *ALL)), roll, lambda: finished(world, 20, 2), 60)
    kept = uids(pod for pod in world.pods() if replicas_of([pod]) == {"0"})
    world.scale("podgangsets", "w", 1)
    world.wait(lambda: finished(world, 10), "one replica", 40)
    assert uids(world.pods()) == kept


def test_ru14_groups_scaled_out_during_an_update_end_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 28)
    fresh = changed(obj, *ALL)

    def change() -> None:
        update_then(world, fresh, lambda: scale_groups(world, 3))

    follow(world, change, never_twice(fresh), lambda: finished(world, 28, 2), 60)


def test_ru15_groups_scaled_out_before_an_update_end_up_to_date(world: World) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 28)
    scale_groups(world, 3)
    world.apply(changed(obj, *ALL))
    world.wait(lambda: finished(world, 28, 2), "28 pods up to date", 60)


@pytest.mark.parametrize("first", ["update", "scale"], ids=["ru16", "ru17"])
def test_ru16_and_ru17_groups_scaled_in_around_an_update_end_up_to_date(world: World, first: str) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 28)
    scale_groups(world, 3)
    world.wait_pods(28, 28, 40)
    in_order(world, first, changed(obj, *ALL), lambda: scale_groups(world, 2))
    world.wait(lambda: finished(world, 20, 2), "20 pods up to date", 60)


@pytest.mark.parametrize("first", ["update", "scale"], ids=["ru18", "ru19"])
def test_ru18_and_ru19_a_clique_scaled_out_around_an_update_ends_up_to_date(world: World, first: str) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 24)
    in_order(world, first, changed(obj, *ALL), lambda: scale_cliques(world, 4))
    world.wait(lambda: finished(world, 24, 2), "24 pods up to date", 60)


@pytest.mark.parametrize("first", ["update", "scale"], ids=["ru20", "ru21"])
def test_ru20_and_ru21_a_clique_scaled_in_around_an_update_ends_up_to_date(world: World, first: str) -> None:
    obj = up(world, world.wl1(replicas=2), 20, 22)
    scale_cliques(world, 3)
    world.wait_pods(22, 22, 40)
    in_order(world, first, changed(obj, *ALL), lambda: scale_cliques(world, 2))
    world.wait(lambda: finished(world, 20, 2), "20 pods up to date", 60)


def test_od3_the_updated_pod_survives_a_scale_in(world: World) -> None:
    obj = up(world, on_delete(world), 10, 10)
    world.apply(changed(obj, "pc-a"))
    passed_on(world)
    world.delete_pod(world.pods("pc-a")[0]["metadata"]["name"])
    world.wait(lambda: [is_updated(p) for p in world.pods("pc-a") if is_ready(p)].count(True) == 1, "its successor")
    world.wait_pods(10, 10)
    new = uids(p for p in world.pods("pc-a") if is_updated(p))
    world.scale("podcliques", "w-0-pc-a", 1)
    world.wait_pods(9, 9)
    assert uids(world.pods("pc-a")) == new


def test_od4_and_od5_only_the_deleted_pod_of_a_group_is_replaced_with_the_new_spec(world: World) -> None:
    obj = up(world, on_delete(world), 10, 10)
    before = uids(world.pods())
    obj = changed(obj, "pc-b")
    world.apply(obj)
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    world.apply(changed(obj, "pc-c"))
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    gone = world.pods("pc-c")[:1]
    replaced(world, gone)


def test_od6_every_deleted_pod_comes_back_with_the_new_spec(world: World) -> None:
    obj = up(world, on_delete(world), 10, 10)
    before = uids(world.pods())
    world.apply(changed(obj, *ALL))
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    replaced(world, [world.pods("pc-a")[0], world.pods("pc-c")[0]])


def test_od7_nothing_is_deleted_in_any_replica(world: World) -> None:
    obj = up(world, on_delete(world, replicas=2), 20, 20)
    before = uids(world.pods())
    world.apply(changed(obj, "pc-a"))
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 3)


def test_od8_a_successor_follows_the_new_affinity_to_another_node(world: World) -> None:
    obj = up(world, on_delete(world), 10, 11)
    pod = world.pods("pc-a")[0]
    before = uids(world.pods())
    there = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [pod["spec"]["nodeName"]]}
    term = {"matchExpressions": [there]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    fresh = changed(obj, "pc-a")
    fresh["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["affinity"] = affinity
    world.apply(fresh)
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    (new,) = replaced(world, [pod])
    required = new["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert all(there in term["matchExpressions"] for term in required["nodeSelectorTerms"])
    assert new["spec"]["nodeName"] != pod["spec"]["nodeName"]


def test_od9_the_strategy_may_change_between_updates(world: World) -> None:
    obj = up(world, on_delete(world), 10, 10)
    before = uids(world.pods())
    obj = changed(obj, "pc-a")
    world.apply(obj)
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == before, "nothing is deleted", 2)
    obj["spec"]["updateStrategy"]["type"] = "RollingRecreate"
    obj = changed(obj, "pc-b")
    world.apply(obj)
    world.wait(lambda: finished(world, 10), "the roll", 60)
    assert updated(world.pods("pc-a")), "what was left for somebody to delete is rolled as well"
    assert updated(world.pods("pc-b"))
    after = uids(world.pods())
    assert after != before
    obj["spec"]["updateStrategy"]["type"] = "OnDelete"
    world.apply(changed(obj, "pc-c"))
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == after, "nothing is deleted", 3)


def on_delete(world: World, replicas: int = 1) -> Object:
    """Return Grove's set for these scenarios: one gang of nine, and one pod of pc-a above its minimum."""
    cliques = [world.clique("pc-a", 2, 1), world.clique("pc-b", 1), world.clique("pc-c", 3)]
    return world.set(cliques, [group(2, 2)], replicas, **ON_DELETE)


def replaced(world: World, gone: Sequence[Object]) -> list[Object]:
    """Delete pods of the ten; their successors, and nobody else, are new and have the new template. Return those."""
    kept = uids(world.pods()) - uids(gone)
    for pod in gone:
        world.delete_pod(pod["metadata"]["name"])
    world.wait(lambda: not uids(gone) & uids(world.pods()) and len(world.pods()) == 10, "the successors", 40)
    world.wait_pods(10, 10, 40)
    assert kept < uids(world.pods()), "pods that nobody deleted stay"
    new = [pod for pod in world.pods() if pod["metadata"]["uid"] not in kept]
    assert sorted(p["spec"]["hostname"] for p in new) == sorted(p["spec"]["hostname"] for p in gone)
    assert updated(new)
    return new


def up(world: World, obj: Object, pods: int, nodes: int) -> Object:
    world.add_nodes(nodes)
    world.apply(obj)
    world.wait_pods(pods, pods, 40)
    world.wait(lambda: statuses.of(world.get_set("w")).get("currentGenerationHash"), "the first status")
    return obj


def update_then(world: World, obj: Object, scale: Callable[[], object]) -> None:
    """Change the set, and scale once the update is on."""
    world.apply(obj)
    world.wait(lambda: updating(world.get_set("w")), "the update to begin")
    scale()


def in_order(world: World, first: str, obj: Object, scale: Callable[[], object]) -> None:
    """Change the set and scale in the middle of the update, or the other way round and at once."""
    if first == "update":
        update_then(world, obj, scale)
    else:
        scale()
        world.apply(obj)


def updating(obj: Object) -> list[int]:
    """Return the indexes of the set replicas that the set's status says are being updated."""
    progress = statuses.of(obj).get("rollingUpdateProgress") or {}
    return [entry["replicaIndex"] for entry in progress.get("currentlyUpdating") or ()]


def replicas_of(pods: Sequence[Object]) -> set[str]:
    """Return the indexes of the set replicas that pods are of."""
    return {pod["metadata"]["labels"]["grove.io/podgangset-replica-index"] for pod in pods}


def never_twice(obj: Object) -> Callable[[Sequence[Object]], str]:
    """Return what finds fault with a pod that had the set's template and is replaced all the same."""
    new: dict[str, str] = {}

    def fault(pods: Sequence[Object]) -> str:
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        new.update({pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in alive if is_current(obj, pod)})
        twice = [new[uid] for uid in new.keys() - uids(alive)]
        return f"{twice} had the new template already" if twice else ""

    return fault


def scale_groups(world: World, replicas: int) -> None:
    for index in range(2):
        world.scale("podcliquescalinggroups", f"w-{index}-sg-x", replicas)


def scale_cliques(world: World, replicas: int) -> None:
    for index in range(2):
        world.scale("podcliques", f"w-{index}-pc-a", replicas)


def seen(world: World) -> None:
    """Wait until the reconciler has taken the newest generation in."""
    world.wait(lambda: statuses.is_observed(world.get_set("w")), "the change to be observed")


def passed_on(world: World) -> None:
    """Wait until the status says that the templates are passed on, which ends an update OnDelete."""

    def ended() -> bool:
        obj = world.get_set("w")
        progress = statuses.of(obj).get("rollingUpdateProgress") or {}
        return statuses.is_observed(obj) and "updateEndedAt" in progress

    world.wait(ended, "the end of the update", 30)


def updated(pods: Sequence[Object]) -> bool:
    return all(map(is_updated, pods))


def is_current(obj: Object, pod: Object) -> bool:
    """Return whether a pod has the variable with which the scenarios change a template as the set has it now."""
    fqn = pod["metadata"]["labels"]["grove.io/podclique"]
    template = next(c for c in obj["spec"]["template"]["cliques"] if fqn.endswith(f"-{c['name']}"))
    return _triggers(template["spec"]["podSpec"]) == _triggers(pod["spec"])


def _triggers(spec: Object) -> list[str]:
    listed = spec["containers"][0].get("env") or ()
    return [entry["value"] for entry in listed if entry["name"] == "UPDATE_TRIGGER"]


def finished(world: World, pods: int, replicas: int = 1) -> bool:
    """All pods there, ready and of the set's newest template, and the status says that the update has ended."""
    obj = world.get_set("w")
    status = statuses.of(obj)
    ended = (status.get("rollingUpdateProgress") or {}).get("updateEndedAt")
    found = world.pods()
    return bool(
        statuses.is_observed(obj)
        and ended
        and status.get("updatedReplicas") == replicas
        and len(found) == pods
        and all(is_ready(pod) and is_current(obj, pod) for pod in found)
    )
