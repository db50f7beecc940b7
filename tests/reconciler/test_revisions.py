from grovekeeper.api import names, raw
from grovekeeper.kube import resources
from tests.reconciler import world
from tests.reconciler.rollout import changed, roll, the_set, up


def history(here: world.World) -> list[tuple[int, str]]:
    """Revision numbers with the image of front, oldest first."""
    return sorted(
        (entry["revision"], entry["data"]["cliques"][0]["spec"]["podSpec"]["containers"][0]["image"])
        for entry in here.api.of("controllerrevisions").values()
    )


async def apply(here: world.World, obj: raw.Object) -> None:
    await here.apply(obj)
    await here.advance(1)


async def test_every_distinct_template_is_one_revision_of_the_set() -> None:
    here = await up()
    await apply(here, changed(world.podset(), "front"))
    scaled = changed(world.podset(replicas=2), "front")
    await apply(here, scaled)  # spec.replicas is no part of the template
    assert history(here) == [(1, "model:1"), (2, "model:2")]
    for entry in here.api.of("controllerrevisions").values():
        assert entry["metadata"]["ownerReferences"][0]["uid"] == the_set(here)["metadata"]["uid"]
        assert entry["metadata"]["name"].startswith("demo-")


async def test_going_back_gives_the_old_revision_the_highest_number() -> None:
    here = await up()
    await apply(here, changed(world.podset(), "front"))
    await apply(here, world.podset())
    assert history(here) == [(2, "model:2"), (3, "model:1")]


async def test_old_revisions_are_pruned_and_the_current_one_never() -> None:
    obj = world.podset()
    obj["spec"]["revisionHistoryLimit"] = 2
    here = await up(obj)
    for _ in range(5):
        obj = changed(obj, "front")
        await apply(here, obj)
        await roll(here)
    here.work.put("set:PodCliqueSet:ns/demo", 0)  # what was in use during the last update is seen to later
    await here.advance(1)
    assert [image for _, image in history(here)] == ["model:4", "model:5", "model:6"]
    obj["spec"]["revisionHistoryLimit"] = 0
    await apply(here, obj)
    assert [image for _, image in history(here)] == ["model:6"]


async def test_what_a_waiting_replica_still_runs_is_not_pruned() -> None:
    obj = world.podset(replicas=2)
    obj["spec"].update(revisionHistoryLimit=0, updateStrategy={"type": names.UPDATE_COHERENT, "paused": True})
    here = await up(obj)
    await apply(here, changed(obj, "front"))
    await apply(here, changed(changed(obj, "front"), "front"))
    assert [image for _, image in history(here)] == ["model:1", "model:3"]


async def test_a_revision_that_somebody_deleted_comes_back_and_nothing_is_written_at_rest() -> None:
    here = await up()
    (name,) = here.names(resources.CONTROLLER_REVISIONS)
    await here.api.delete(resources.CONTROLLER_REVISIONS, name, "ns")
    await here.advance(1)
    assert here.names(resources.CONTROLLER_REVISIONS) == [name]
    here.api.calls.clear()
    here.work.put("set:PodCliqueSet:ns/demo", 0)
    await here.advance(20)
    assert not [call for call in here.api.calls if not call.startswith("get")]
