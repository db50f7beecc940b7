"""What has changed while a reconciler waited for an answer: nothing is acted on that was true only before."""

from collections.abc import Callable
from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children
from tests.reconciler import rollout, world
from tests.reconciler.test_claims import CLAIMS, running, shared

SET = f"{names.PODCLIQUESET}:ns/demo"
DEVICES, STATUS, REPLICA = f"devices:{SET}", f"setstatus:{SET}", f"replica:{SET}/0"


def another_claim(here: world.World, name: str) -> raw.Object:
    """A claim of the set's own level, as another worker makes it for one replica more."""
    known = here.get(CLAIMS, "demo-0-own")
    return {**known, "metadata": {**known["metadata"], "name": name, "uid": name}}


def see_only(here: world.World, plural: str) -> None:
    """Let the caches see the changes of one kind: the watch of another is behind."""
    held = [change for change in here.api.changes if change[0] != plural]
    here.api.changes[:] = [change for change in here.api.changes if change[0] == plural]
    here.see()
    here.api.changes[:] = held


def once_before_a_patch(here: world.World, plural: str, meddle: Callable[[], Any]) -> None:
    """Have something happen while a patch of this kind is on its way."""
    patch = here.api.patch

    async def meddled(resource: resources.Resource, *call: Any, **more: Any) -> raw.Object:
        if resource.plural == plural:
            here.api.patch = patch  # type: ignore[method-assign]
            await meddle()
            here.see()
        return await patch(resource, *call, **more)

    here.api.patch = meddled  # type: ignore[assignment,method-assign]


async def test_claims_that_another_worker_has_made_for_a_newer_spec_are_not_pruned() -> None:
    here = await running(shared())
    await here.apply(shared(replicas=2))
    here.api._put("resourceclaims", another_claim(here, "demo-1-own"))
    see_only(here, "resourceclaims")
    await here.run(DEVICES)
    assert "demo-1-own" in here.names(CLAIMS), "the set's watch is behind that of its claims"
    await here.settle()
    assert "demo-1-own" in here.names(CLAIMS)


async def test_a_claim_that_was_given_devices_since_it_was_seen_is_looked_at_again_before_it_goes() -> None:
    here = await running(shared())
    here.api._put("resourceclaims", another_claim(here, "demo-9-own"))
    here.see()
    live = here.get(CLAIMS, "demo-9-own")
    here.api._put("resourceclaims", {**live, "status": {"reservedFor": [{"name": "a pod that the cache lacks"}]}})
    await here.run(DEVICES)
    assert "demo-9-own" in here.names(CLAIMS)
    await here.settle()
    await here.advance(1)
    assert "demo-9-own" not in here.names(CLAIMS), "no pod names it"


async def test_a_claim_that_is_gone_is_not_made_anew_from_the_labels_that_it_lacked() -> None:
    """It would have no devices in it, and the pods that name it would run without any."""
    here = await running(shared())
    live = here.get(CLAIMS, "demo-0-own")
    spoilt = {**live["metadata"], "labels": {"app.kubernetes.io/part-of": "demo"}, "resourceVersion": "999999"}
    here.ctx.stores.claims.observe({**live, "metadata": spoilt})
    del here.api.of("resourceclaims")["ns", "demo-0-own"]
    await here.run(DEVICES)
    assert "demo-0-own" not in here.names(CLAIMS)
    assert here.api.calls["apply resourceclaims"] == 0, "a server-side apply creates what is not there"
    here.ctx.stores.claims.observe_deleted(live)
    with pytest.raises(errors.Conflict):
        await children.ensure(here.ctx, CLAIMS, {key: value for key, value in live.items() if key != "spec"})


async def test_a_replica_does_not_write_an_older_template_over_that_of_an_update() -> None:
    obj = shared()
    here = await running(obj)
    await here.api.delete(CLAIMS, "demo-0-own", "ns")
    here.see()
    newer = rollout.changed(obj, "front")

    def meddle(plural: str, _made: raw.Object) -> None:
        if plural != "resourceclaims":
            return
        here.api.refuse = lambda plural, obj: None
        for kind, name in (("podcliquesets", "demo"), ("podcliques", "demo-0-front")):
            live = here.api.of(kind)["ns", name]
            spec = newer["spec"] if kind == "podcliquesets" else {**live["spec"], "podSpec": {"newer": True}}
            here.api._change(kind, live, {**live, "spec": spec})
        here.see()

    here.api.refuse = meddle  # type: ignore[assignment]
    await here.run(REPLICA)
    assert here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["podSpec"] == {"newer": True}
    assert here.work.due[REPLICA] > here.clock.now(), "it is looked at again"


async def test_a_replica_of_a_group_that_breaks_while_the_update_is_noted_is_the_one_that_goes() -> None:
    here = await rollout.up()

    async def breaks() -> None:
        for clique in ("demo-0-pool-1-lead", "demo-0-pool-1-work"):
            for pod in here.pods(clique):
                await here.mark(pod, node="n1", ready=False)

    await here.apply(rollout.changed(world.podset(), "lead"))
    once_before_a_patch(here, "podcliquesets", breaks)
    await here.advance(1)
    going = {pod["metadata"]["labels"][names.LABEL_PODCLIQUE] for pod in here.pods() if plan.terminating(pod)}
    assert going
    assert all(name.startswith("demo-0-pool-1-") for name in going), "a well one beside it would be the second to miss"


@pytest.mark.parametrize("strategy", [names.UPDATE_ROLLING_RECREATE, names.UPDATE_COHERENT])
async def test_an_update_that_is_taken_back_while_it_is_noted_takes_nothing_down(strategy: str) -> None:
    obj = world.podset()
    obj["spec"]["updateStrategy"] = {"type": strategy}
    here = await rollout.up(obj)
    before = {pod["metadata"]["uid"] for pod in here.pods()}

    async def taken_back() -> None:
        await here.apply(obj)

    await here.apply(rollout.changed(obj, "front"))
    once_before_a_patch(here, "podcliquesets", taken_back)
    await here.advance(60)
    assert {pod["metadata"]["uid"] for pod in here.pods()} == before
    assert not any(map(plan.terminating, here.pods()))


async def test_a_status_of_a_set_that_lands_late_puts_back_nothing_that_was_written_since() -> None:
    here = await rollout.up(world.podset())
    before = here.get(resources.PODCLIQUESETS, "demo")
    begun = {"currentlyUpdating": [{"replicaIndex": 0}]}
    body = {"status": {"updateProgress": begun}}
    await here.api.patch(resources.PODCLIQUESETS, "demo", "ns", body, type="merge", subresource="status")
    late = {**before["status"], "updateProgress": {"currentlyUpdating": []}, "replicas": 9}
    with pytest.raises(errors.Conflict):
        await children.write_status(here.ctx, resources.PODCLIQUESETS, before, late)
    assert here.get(resources.PODCLIQUESETS, "demo")["status"]["updateProgress"] == begun
