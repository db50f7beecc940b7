"""Which set replicas move, as a table, and coherent updates as a whole."""

from collections.abc import Collection
from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import cliques, parse
from grovekeeper.kube import resources
from grovekeeper.reconciler import coherent, keys
from tests.reconciler import world
from tests.reconciler.rollout import changed, images, roll, the_set, up


def states(text: str) -> list[coherent.State]:
    """Each letter a replica: o old and well, b old and broken, n new and well, m new and not there yet."""
    return [
        coherent.State(index, old=letter in "ob", finished=letter == "n", available=letter in "on")
        for index, letter in enumerate(text)
    ]


@pytest.mark.parametrize(
    ("replicas", "limits", "text", "begun", "surge", "want"),
    [
        pytest.param(3, (1, 0), "ooo", (), 0, ((0,), 0), id="the lowest index first"),
        pytest.param(3, (2, 0), "ooo", (), 0, ((0, 1), 0), id="as many as may be missing"),
        pytest.param(3, (1, 0), "obo", (), 0, ((1,), 0), id="broken ones first"),
        pytest.param(3, (1, 0), "mbo", (), 0, ((0,), 0), id="a broken one waits for the one that moves"),
        pytest.param(3, (1, 0), "ooo", (0,), 0, ((0,), 0), id="one that has begun counts as missing at once"),
        pytest.param(3, (1, 0), "noo", (), 0, ((1,), 0), id="the next when one is well"),
        pytest.param(3, (1, 0), "moo", (), 0, ((0,), 0), id="a new template that never comes up stops there"),
        pytest.param(3, (2, 0), "mob", (), 0, ((0, 2), 0), id="what was broken takes the second place"),
        pytest.param(2, (0, 1), "oo", (), 0, ((), 1), id="an extra one before any goes"),
        pytest.param(2, (0, 1), "oom", (), 1, ((2,), 1), id="none goes before the extra one is well"),
        pytest.param(2, (0, 1), "oon", (), 1, ((0,), 1), id="one goes against the extra one"),
        pytest.param(2, (0, 1), "mon", (0,), 1, ((0,), 1), id="one at a time"),
        pytest.param(2, (0, 1), "nmn", (1,), 1, ((1,), 1), id="the extra one stays until the last is well"),
        pytest.param(2, (0, 1), "nnn", (), 1, ((), 0), id="and goes at the end"),
        pytest.param(2, (0, 1), "nnm", (), 1, ((2,), 0), id="it is not waited for at the end"),
        pytest.param(2, (0, 1), "bo", (), 0, ((0,), 1), id="a broken one goes without an extra one"),
        pytest.param(2, (0, 1), "ooo", (), 1, ((), 1), id="an extra one of a change before does not count"),
        pytest.param(2, (0, 1), "oob", (), 1, ((2,), 1), id="and moves first when it is broken"),
        pytest.param(1, (1, 2), "o", (), 0, ((0,), 1), id="no more extra ones than are left to move"),
        pytest.param(3, (1, 0), "nnm", (), 0, ((), 0), id="a replica that is just made"),
        pytest.param(3, (1, 1), "nnm", (), 0, ((), 0), id="brings no extra one where no update is on"),
        pytest.param(0, (1, 1), "", (), 0, ((), 0), id="nothing to do"),
    ],
)
def test_which_replicas_move(
    replicas: int, limits: tuple[int, int], text: str, begun: Collection[int], surge: int, want: tuple[Any, int]
) -> None:
    found = coherent.decide(replicas, *limits, states(text), begun, surge)
    assert (found.updating, found.surge) == want


def coherently(replicas: int = 1, **limits: raw.Json) -> raw.Object:
    obj = world.podset(replicas=replicas)
    obj["spec"]["updateStrategy"] = {"type": names.UPDATE_COHERENT, **limits}
    return obj


async def test_a_replica_moves_as_a_whole_and_the_others_keep_their_template() -> None:
    here = await up(coherently(2))
    await here.apply(changed(coherently(2), "front"))
    await here.advance(1)
    assert images(here, 0) == set()  # all of its pods go at once, those of unchanged cliques, too
    assert images(here, 1) == {"model:1"}


async def test_a_coherent_update_never_mixes_templates_in_a_replica_and_ends() -> None:
    here = await up(coherently(3))
    await here.apply(changed(coherently(3), "front", "lead", "work"))

    def check() -> None:
        for index in range(3):
            assert len(images(here, index)) <= 1
        busy = (the_set(here)["status"].get("updateProgress") or {}).get("currentlyUpdating") or ()
        assert len(busy) <= 1

    await roll(here, check)
    assert {image for index in range(3) for image in images(here, index)} == {"model:2"}
    status = the_set(here)["status"]
    assert status["updatedReplicas"] == status["availableReplicas"] == status["replicas"] == 3
    assert status["updateProgress"]["updateEndedAt"]
    assert "currentlyUpdating" not in status["updateProgress"]


async def test_what_is_lost_or_added_in_a_waiting_replica_comes_with_its_old_template() -> None:
    here = await up(coherently(2))
    await here.apply(changed(coherently(2), "front", "lead", "work"))
    await here.advance(1)
    await here.api.delete(resources.PODCLIQUES, "demo-1-front", "ns")
    await here.edit(resources.SCALINGGROUPS, "demo-1-pool", {"spec": {"replicas": 3}})
    await here.advance(1)
    assert "demo-1-pool-2-lead" in here.names(resources.PODCLIQUES)
    assert here.names(resources.PODCLIQUES).count("demo-1-front") == 1
    assert images(here, 1) == {"model:1"}
    await roll(here)
    assert images(here, 1) == {"model:2"}
    assert len(here.pods("demo-1-pool-2-work")) == 2


async def test_replica_counts_of_people_survive_a_coherent_update() -> None:
    here = await up(coherently())
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 4}})
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": 1}})
    await here.advance(2)
    await here.start()
    await here.apply(changed(coherently(), "front", "lead"))
    await roll(here)
    assert len(here.pods("demo-0-front")) == 4
    assert images(here, 0) == {"model:2", "model:1"}  # work did not change
    assert here.names(resources.PODCLIQUES) == ["demo-0-front", "demo-0-pool-0-lead", "demo-0-pool-0-work"]


async def test_a_surge_replica_comes_first_has_everything_and_goes_at_the_end() -> None:
    limits = {"maxUnavailable": 0, "maxSurge": 1}
    here = await up(coherently(2, **limits))
    await here.apply(changed(coherently(2, **limits), "front", "lead", "work"))
    seen = set()

    def check() -> None:
        seen.update(here.names(resources.SERVICES))
        well = [i for i in range(3) if len(ready_pods(here, i)) == 8]
        assert len(well) >= 2  # never fewer than asked for
        assert the_set(here)["status"]["availableReplicas"] >= 2

    await roll(here, check)
    assert seen == {"demo-0", "demo-1", "demo-2"}
    assert here.names(resources.SERVICES) == ["demo-0", "demo-1"]
    assert {image for index in range(2) for image in images(here, index)} == {"model:2"}
    status = the_set(here)["status"]
    assert status["updateProgress"]["surgeReplicas"] == 0
    assert (status["replicas"], status["availableReplicas"], status["updatedReplicas"]) == (2, 2, 2)


def ready_pods(here: world.World, index: int) -> list[raw.Object]:
    return [
        pod
        for pod in here.pods()
        if pod["metadata"]["labels"]["grove.io/podcliqueset-replica-index"] == str(index)
        and "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))
    ]


async def test_a_change_in_the_middle_of_an_update_ends_at_the_newest() -> None:
    here = await up(coherently(3))
    obj = changed(coherently(3), "front", "lead", "work")
    await here.apply(obj)
    await here.advance(1)
    await here.apply(changed(obj, "front", "lead", "work"))

    def check() -> None:
        for index in (1, 2):
            assert len(images(here, index)) <= 1
            assert "model:2" not in images(here, index)

    await roll(here, check)
    assert {image for index in range(3) for image in images(here, index)} == {"model:3"}


async def test_a_change_taken_back_in_the_middle_leaves_the_waiting_replicas_alone() -> None:
    here = await up(coherently(2))
    before = {pod["metadata"]["uid"] for pod in ready_pods(here, 1)}
    await here.apply(changed(coherently(2), "front", "lead", "work"))
    await here.advance(1)
    await here.apply(coherently(2))
    await roll(here)
    assert {image for index in range(2) for image in images(here, index)} == {"model:1"}
    assert {pod["metadata"]["uid"] for pod in ready_pods(here, 1)} == before


async def test_scaling_out_during_an_update_makes_new_replicas_of_the_newest_template() -> None:
    here = await up(coherently(2))
    obj = changed(coherently(2), "front", "lead", "work")
    await here.apply(obj)
    await here.advance(1)
    obj["spec"]["replicas"] = 3
    await here.apply(obj)
    await here.advance(1)
    assert images(here, 2) == {"model:2"}
    await roll(here)
    assert the_set(here)["status"]["updatedReplicas"] == 3


async def test_a_paused_coherent_update_moves_nobody_and_scaling_goes_on() -> None:
    here = await up(coherently(2))
    obj = changed(coherently(3, paused=True), "front", "lead", "work")
    await here.apply(obj)
    await roll(here, until=False, rounds=8)
    assert images(here, 0) == images(here, 1) == {"model:1"}
    assert images(here, 2) == {"model:2"}
    condition = world.condition(the_set(here), "Progressing")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("Unknown", "UpdatePaused")
    await here.apply(changed(coherently(3, paused=False), "front", "lead", "work"))
    await roll(here)
    assert {image for index in range(3) for image in images(here, index)} == {"model:2"}


def test_what_is_old_is_told_by_exact_name() -> None:
    obj = coherently()
    obj["spec"]["template"]["cliques"].append({"name": "my-front", "spec": {"podSpec": {"containers": []}}})
    w = parse.workload(obj)
    found = cliques.template_of(w, cliques.standalone(w, 0, w.clique("my-front")))
    assert found is not None
    assert found.name == "my-front"


async def test_a_change_in_the_sets_first_moments_reaches_the_pods_that_were_made_before_it() -> None:
    """There was no revision yet that the replica could be held at: its clique got the new template at once."""
    here = world.World()
    obj = coherently()
    await here.apply(obj)
    await here.settle()
    await here.start()
    await here.settle()
    for name in here.names(resources.CONTROLLER_REVISIONS):
        await here.api.delete(resources.CONTROLLER_REVISIONS, name, "ns")
    here.see()
    await here.apply(changed(obj, "front"))
    here.see()
    await here.run("set:PodCliqueSet:ns/demo")
    await here.run("replica:PodCliqueSet:ns/demo/0")
    await here.advance(60)
    await here.finish()
    await here.settle()
    assert images(here, 0, "front") == {"model:2"}


async def test_a_healthy_replica_whose_status_is_not_written_yet_is_not_taken_for_a_broken_one() -> None:
    here = world.World()
    limits: dict[str, raw.Json] = {"maxUnavailable": 0, "maxSurge": 1}
    await here.apply(coherently(2, **limits))
    await here.settle()
    await here.start()
    here.see()  # the pods are ready, and nobody has said so
    await here.apply(changed(coherently(2, **limits), "front", "lead", "work"))
    here.see()
    await here.run(keys.set_status(names.PODCLIQUESET, "ns", "demo"))
    assert not [pod for pod in here.pods() if "deletionTimestamp" in pod["metadata"]]
    assert images(here, 0) == images(here, 1) == {"model:1"}
