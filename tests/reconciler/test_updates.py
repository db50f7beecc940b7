"""Rolling updates, pauses, scaling during updates and the progress deadline, in the small world."""

import pytest

from grovekeeper.api import names, raw
from grovekeeper.kube import resources
from tests.reconciler import world
from tests.reconciler.rollout import changed, ended, images, roll, the_set, up


def podset(replicas: int = 1, **strategy: raw.Json) -> raw.Object:
    obj = world.podset(replicas=replicas)
    obj["spec"]["updateStrategy"] = {"type": names.UPDATE_ROLLING_RECREATE, **strategy}
    return obj


def all_images(here: world.World, replicas: int) -> set[str]:
    return {image for index in range(replicas) for image in images(here, index)}


def going(here: world.World, clique: str) -> int:
    return sum("deletionTimestamp" in pod["metadata"] for pod in here.pods(clique))


async def test_ru7_pods_of_a_clique_go_one_by_one_and_replicas_one_after_the_other() -> None:
    here = await up(podset(2))
    await here.apply(changed(podset(2), "front"))

    def check() -> None:
        assert going(here, "demo-0-front") + going(here, "demo-1-front") <= 1
        busy = (the_set(here)["status"].get("updateProgress") or {}).get("currentlyUpdating") or ()
        assert len(busy) <= 1

    await roll(here, check)
    assert images(here, 0, "front") == images(here, 1, "front") == {"model:2"}
    assert images(here, 0, "work") == {"model:1"}
    assert the_set(here)["status"]["updatedReplicas"] == 2


async def test_ru8_replicas_of_a_group_go_one_by_one() -> None:
    here = await up(podset())
    await here.apply(changed(podset(), "lead"))

    def check() -> None:
        there = {name.split("-")[3] for name in here.names(resources.PODCLIQUES) if "pool" in name}
        gone = [j for j in ("0", "1") if j not in there or going(here, f"demo-0-pool-{j}-lead")]
        assert len(gone) <= 1

    await roll(here, check)
    assert images(here, 0, "lead") == {"model:2"}


async def test_a_replica_is_finished_before_the_next_begins() -> None:
    here = await up(podset(2))
    await here.apply(changed(podset(2), "front"))
    for _ in range(6):
        await here.advance(1)
        await here.finish()
        await here.advance(1)  # the first successor never becomes ready
    assert images(here, 1, "front") == {"model:1"}
    assert [e["replicaIndex"] for e in the_set(here)["status"]["updateProgress"]["currentlyUpdating"]] == [0]
    assert going(here, "") == 0


async def test_ru11_scaling_the_set_out_during_an_update_ends_with_all_updated() -> None:
    here = await up(podset(2))
    await here.apply(changed(podset(2), "front"))
    await here.apply(changed(podset(3), "front"))
    await roll(here)
    assert images(here, 2, "front") == {"model:2"}
    assert the_set(here)["status"]["updatedReplicas"] == 3


async def test_ru12_scaling_the_set_in_while_its_last_replica_is_updated_ends() -> None:
    here = await up(podset(2))
    await here.apply(changed(podset(2), "front", "lead", "work"))
    for _ in range(40):
        await roll(here, until=False, rounds=1)
        busy = (the_set(here)["status"]["updateProgress"]).get("currentlyUpdating") or [{}]
        if busy[0].get("replicaIndex") == 1:
            break
    await here.apply(changed(podset(1), "front", "lead", "work"))
    await roll(here)
    assert the_set(here)["status"]["updatedReplicas"] == 1
    assert len([pod for pod in here.pods() if "deletionTimestamp" not in pod["metadata"]]) == 8


async def test_ru14_ru16_a_group_scaled_during_an_update_ends_with_what_was_asked_for() -> None:
    for count, want in ((3, 11), (1, 5)):
        here = await up(podset())
        await here.apply(changed(podset(), "front", "lead", "work"))
        await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": count}})
        await roll(here)
        assert len(here.pods()) == want
        assert all_images(here, 1) == {"model:2"}


async def test_ru18_ru20_a_clique_scaled_during_an_update_ends_with_what_was_asked_for() -> None:
    for count in (4, 1):
        here = await up(podset())
        await here.apply(changed(podset(), "front", "lead", "work"))
        await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": count}})
        await roll(here)
        assert len(here.pods("demo-0-front")) == count
        assert all_images(here, 1) == {"model:2"}


async def test_a_change_during_an_update_ends_at_the_newest() -> None:
    here = await up(podset(2))
    obj = changed(podset(2), "front", "lead")
    await here.apply(obj)
    await roll(here, until=False, rounds=2)
    await here.apply(changed(obj, "front", "lead", "work"))
    await roll(here)
    assert images(here, 0, "front") == images(here, 1, "front") == {"model:3"}
    assert images(here, 0, "work") == images(here, 1, "work") == {"model:2"}


async def test_a_paused_update_replaces_nothing_and_scaling_goes_on() -> None:
    here = await up(podset(2))
    before = {pod["metadata"]["uid"] for pod in here.pods()}
    await here.apply(changed(podset(3, paused=True), "front", "lead"))
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": 3}})
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 3}})
    await roll(here, until=False, rounds=6)
    assert not ended(here)
    assert before <= {pod["metadata"]["uid"] for pod in here.pods() if "deletionTimestamp" not in pod["metadata"]}
    assert len(here.pods("demo-0-front")) == 3
    assert "demo-0-pool-2-lead" in here.names(resources.PODCLIQUES)
    assert images(here, 2, "front") == {"model:2"}
    await here.apply(changed(podset(3, paused=False), "front", "lead"))
    await roll(here)
    assert images(here, 0, "front") == images(here, 1, "front") == {"model:2"}


async def test_a_paused_on_delete_update_changes_nothing_until_it_goes_on() -> None:
    here = await up()
    obj = changed(podset(), "front", "lead")
    obj["spec"]["updateStrategy"] = {"type": names.UPDATE_ON_DELETE, "paused": True}
    await here.apply(obj)
    await roll(here, until=False, rounds=3)
    assert not ended(here)
    found = world.condition(the_set(here), "Progressing")
    assert found is not None
    assert found["reason"] == "UpdatePaused"
    await here.api.delete(resources.PODS, here.pods("demo-0-front")[0]["metadata"]["name"], "ns", grace=0)
    await here.advance(1)
    assert all_images(here, 1) == {"model:1"}, "a pod that is lost comes back as it was"
    obj["spec"]["updateStrategy"]["paused"] = False
    await here.apply(obj)
    await roll(here)
    await here.api.delete(resources.PODS, here.pods("demo-0-front")[0]["metadata"]["name"], "ns", grace=0)
    await here.advance(1)
    assert images(here, 0, "front") == {"model:1", "model:2"}


async def test_od9_a_switch_from_on_delete_brings_what_was_left() -> None:
    here = await up(podset())
    obj = changed(podset(), "front", "lead")
    obj["spec"]["updateStrategy"] = {"type": names.UPDATE_ON_DELETE}
    await here.apply(obj)
    await roll(here, until=False, rounds=3)
    assert all_images(here, 1) == {"model:1"}
    assert ended(here)
    obj["spec"]["updateStrategy"] = {"type": names.UPDATE_ROLLING_RECREATE}
    await here.apply(obj)
    await here.advance(2)
    await roll(here)
    assert images(here, 0, "front") == images(here, 0, "lead") == {"model:2"}


async def test_an_old_member_never_claims_the_newest_generation() -> None:
    here = await up(podset(paused=True))
    await here.apply(changed(podset(paused=True), "lead"))
    await here.advance(2)
    here.work.put("clique:ns/demo-0-pool-0-lead", 0)
    here.work.put("group:ns/demo-0-pool", 0)
    await here.advance(10)
    assert the_set(here)["status"]["updatedReplicas"] == 0
    assert here.get(resources.SCALINGGROUPS, "demo-0-pool")["status"]["updatedReplicas"] == 0


async def test_what_an_update_takes_down_is_not_terminated_as_a_lost_gang() -> None:
    here = await up(podset())
    await here.apply(changed(podset(), "front", "lead", "work"))
    await here.advance(3)
    await here.finish()
    before = {clique["metadata"]["uid"] for clique in here.api.of("podcliques").values() if "front" in str(clique)}
    await here.advance(120)  # the successors do not become ready for long
    assert not [reason for _, reason, _ in here.events.said if "ReplicaDelete" in reason]
    assert before <= {clique["metadata"]["uid"] for clique in here.api.of("podcliques").values()}


async def test_no_progress_within_the_deadline_is_said_once_and_taken_back_when_it_goes_on() -> None:
    here = await up(podset(progressDeadlineSeconds=30))
    await here.apply(changed(podset(progressDeadlineSeconds=30), "front"))
    await here.advance(2)
    await here.finish()
    await here.advance(20)
    condition = world.condition(the_set(here), "Progressing")
    assert condition is not None
    assert condition["status"] == "True"
    await here.advance(40)
    condition = world.condition(the_set(here), "Progressing")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert world.condition(the_set(here), "Stalled") is not None
    await here.advance(100)
    assert [reason for _, reason, _ in here.events.said].count("ProgressDeadlineExceeded") == 1
    await here.start()
    await roll(here)
    condition = world.condition(the_set(here), "Progressing")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("True", "UpdateComplete")
    assert world.condition(the_set(here), "Stalled") is None


async def test_the_deadline_does_not_run_while_the_update_is_paused() -> None:
    here = await up(podset(progressDeadlineSeconds=30, paused=True))
    await here.apply(changed(podset(progressDeadlineSeconds=30, paused=True), "front"))
    await here.advance(100)
    await here.apply(changed(podset(progressDeadlineSeconds=30, paused=False), "front"))
    await here.advance(5)
    condition = world.condition(the_set(here), "Progressing")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("True", "UpdateInProgress")


def lone() -> raw.Object:
    """The set with one pod in its standalone clique."""
    obj = podset()
    front = next(clique for clique in obj["spec"]["template"]["cliques"] if clique["name"] == "front")
    front["spec"] |= {"replicas": 1, "minAvailable": 1}
    return obj


def losses(here: world.World) -> list[str]:
    return [name for name, reason, _ in here.events.said if reason == "AllScheduledReplicasLost"]


@pytest.mark.parametrize("kind", [names.UPDATE_ROLLING_RECREATE, names.UPDATE_COHERENT])
async def test_what_an_update_replaces_is_not_told_as_lost(kind: str) -> None:
    obj = lone()
    obj["spec"]["updateStrategy"] = {"type": kind}
    here = await up(obj)
    await here.apply(changed(obj, "front", "lead", "work"))
    await roll(here)
    assert images(here, 0) == {"model:2"}
    assert losses(here) == []


async def test_a_node_that_holds_no_successor_makes_an_update_no_loss() -> None:
    here = await up(lone())
    cordoned = {"spec": {"unschedulable": True}}
    await here.api.patch(resources.NODES, "n1", None, cordoned, type="merge")
    await here.apply(changed(lone(), "front"))
    for _ in range(8):
        await here.advance(1)
        await here.finish()
    assert images(here, 0, "front") == {"model:2"}
    assert losses(here) == []


async def test_pods_of_the_new_template_that_are_lost_are_told() -> None:
    here = await up(lone())
    await here.apply(changed(lone(), "front"))
    await roll(here, until=False, rounds=4)
    (pod,) = here.pods("demo-0-front")
    assert pod["spec"]["containers"][0]["image"] == "model:2"
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.advance(3)
    assert losses(here) == ["demo-0-front"]
