import pytest

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import caches
from tests.reconciler import world

KINDS = [names.PODGANGSET, names.PODCLIQUESET]


async def running(obj: raw.Object | None = None, **options: object) -> world.World:
    """A world in which the set has come up."""
    here = world.World(**options)
    await here.apply(obj or world.podset())
    await here.settle()
    await here.start()
    await here.advance(5)
    return here


def the_set(here: world.World, kind: str = names.PODCLIQUESET) -> raw.Object:
    return here.get(resources.SETS[kind], "demo")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_set_becomes_all_of_its_objects_and_is_ready(kind: str) -> None:
    here = await running(world.podset(kind))
    assert here.names(resources.PODCLIQUES) == [
        "demo-0-front",
        "demo-0-pool-0-lead",
        "demo-0-pool-0-work",
        "demo-0-pool-1-lead",
        "demo-0-pool-1-work",
    ]
    assert here.names(resources.SCALINGGROUPS) == ["demo-0-pool"]
    assert here.names(resources.SERVICES) == ["demo-0"]
    assert here.names(resources.SERVICE_ACCOUNTS) == ["demo"]
    assert len(here.pods()) == 2 + 2 * (1 + 2)
    status = the_set(here, kind)["status"]
    assert {key: status[key] for key in ("replicas", "availableReplicas", "updatedReplicas", "observedGeneration")} == {
        "replicas": 1,
        "availableReplicas": 1,
        "updatedReplicas": 1,
        "observedGeneration": 1,
    }
    ready = world.condition(the_set(here, kind), "Ready")
    assert ready is not None
    assert ready["status"] == "True"
    assert world.condition(the_set(here, kind), "Reconciling") is None


async def test_a_healthy_start_costs_one_status_write_a_clique_and_no_event() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    await here.start()
    await here.settle()
    await here.advance(10)
    calls = here.api.calls
    assert calls["create pods"] == 8
    assert calls["create podcliques"] == 5
    assert calls["patch podcliques/status"] == 5
    assert calls["patch podcliquescalinggroups/status"] <= 2
    assert calls["patch podcliquesets/status"] <= 3
    assert sum(calls[verb] for verb in calls if verb.startswith(("apply", "replace", "get", "delete"))) == 0
    assert here.events.said == []


async def test_a_set_shows_its_progress_while_it_comes_up_slowly() -> None:
    here = world.World()
    await here.apply(world.podset(replicas=20))
    await here.settle()
    for index in range(20):
        for pod in here.pods():
            if pod["spec"]["subdomain"] == f"demo-{index}":
                await here.mark(pod, node="n1", ready=True)
        await here.advance(0.5)
        if index == 10:
            assert 5 <= the_set(here)["status"]["availableReplicas"] <= 11
    await here.advance(2)
    assert the_set(here)["status"]["availableReplicas"] == 20
    assert here.api.calls["patch podcliquesets/status"] <= 10
    assert here.api.calls["patch podcliques/status"] == 100


async def test_nothing_is_written_when_nothing_has_changed() -> None:
    here = await running()
    await here.advance(20)
    before = here.api.calls.copy()
    await here.run(f"set:{names.PODCLIQUESET}:ns/demo")
    for clique in here.names(resources.PODCLIQUES):
        await here.run(f"clique:ns/{clique}")
    await here.run("group:ns/demo-0-pool")
    await here.advance(5)
    assert here.api.calls == before


async def test_scaling_a_set_in_removes_the_highest_replicas_with_their_services() -> None:
    here = await running(world.podset(replicas=3))
    await here.apply(world.podset(replicas=1))
    await here.advance(1)
    await here.finish()
    await here.advance(5)
    assert here.names(resources.SERVICES) == ["demo-0"]
    assert here.names(resources.SCALINGGROUPS) == ["demo-0-pool"]
    assert {name.split("-")[1] for name in here.names(resources.PODCLIQUES)} == {"0"}
    assert len(here.pods()) == 8
    assert the_set(here)["status"]["replicas"] == 1


async def test_the_status_of_a_large_set_stays_small() -> None:
    here = world.World()
    await here.apply(world.podset(replicas=60))
    await here.settle()
    for index in range(60):
        gang = {"metadata": {"name": f"demo-{index}", "namespace": "ns", "labels": {names.LABEL_PART_OF: "demo"}}}
        await here.api.create(resources.PODGANGS, {"kind": names.PODGANG, **gang})
    await here.advance(5)
    status = the_set(here)["status"]
    assert status["replicas"] == 60
    assert len(status["podGangStatuses"]) == 20


async def test_a_deleted_set_leaves_nothing() -> None:
    here = await running(world.podset(replicas=2))
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.advance(2)
    await here.finish()
    await here.advance(2)
    left = {plural: len(objects) for plural, objects in here.api.objects.items() if objects and plural != "nodes"}
    assert left.keys() <= {"serviceaccounts", "roles", "rolebindings", "secrets"}, "the collector takes those"


async def test_a_set_deleted_in_the_middle_of_its_creation_leaves_nothing() -> None:
    for steps in range(1, 8):
        here = world.World()
        await here.apply(world.podset(replicas=2))
        here.see()
        for _ in range(steps):
            for key in list(here.work.due):
                await here.run(key)
            here.see()
        await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
        # Whatever was under way goes on with a cache that has not seen the deletion yet.
        for key in list(here.work.due):
            await here.run(key)
        await here.advance(2)
        for kind in (resources.PODS, resources.PODCLIQUES, resources.SCALINGGROUPS, resources.SERVICES):
            assert here.names(kind) == [], f"after {steps} steps"


async def test_a_set_made_again_under_its_name_gets_children_of_its_own() -> None:
    here = await running()
    old = {clique["metadata"]["uid"] for clique in here.api.of("podcliques").values()}
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.apply(world.podset())
    await here.advance(2)
    await here.finish()
    await here.advance(2)
    uid = the_set(here)["metadata"]["uid"]
    front = here.get(resources.PODCLIQUES, "demo-0-front")
    assert front["metadata"]["ownerReferences"][0]["uid"] == uid
    assert not old & {clique["metadata"]["uid"] for clique in here.api.of("podcliques").values()}
    assert len(here.pods()) == 8


async def test_children_left_behind_on_purpose_are_not_touched() -> None:
    here = await running()
    for plural in ("podcliques", "podcliquescalinggroups", "services"):
        for obj in list(here.api.of(plural).values()):
            resource = caches.WATCHED[plural][0]
            await here.edit(resource, obj["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    await here.settle()
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.advance(5)
    assert len(here.names(resources.PODCLIQUES)) == 5
    assert len(here.pods()) == 8


async def test_children_are_left_behind_even_where_the_cache_learns_of_it_last() -> None:
    here = await running()
    for plural in ("podcliques", "podcliquescalinggroups", "services"):
        for obj in list(here.api.of(plural).values()):
            resource = caches.WATCHED[plural][0]
            await here.edit(resource, obj["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    here.ctx.stores.clique_sets.observe_deleted(here.ctx.stores.clique_sets.all()[0])
    await here.run(f"set:{names.PODCLIQUESET}:ns/demo")
    await here.advance(5)
    assert len(here.names(resources.PODCLIQUES)) == 5
    assert len(here.pods()) == 8


async def test_a_taken_name_stalls_the_set_until_it_is_free() -> None:
    here = world.World()
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo-0", "namespace": "ns"}}
    await here.api.create(resources.SERVICES, foreign)
    here.api.changes.clear()  # not ours: our cache does not hold it
    await here.apply(world.podset())
    await here.advance(2)
    stalled = world.condition(the_set(here), "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "NameCollision"
    assert "Service demo-0 exists" in stalled["message"]
    assert world.condition(the_set(here), "Reconciling") is None
    assert "ownerReferences" not in here.get(resources.SERVICES, "demo-0")["metadata"]
    assert ("demo", "NameCollision") in {(name, reason) for name, reason, _ in here.events.said}

    await here.api.delete(resources.SERVICES, "demo-0", "ns")
    await here.advance(61)
    await here.start()
    await here.advance(5)
    assert world.condition(the_set(here), "Stalled") is None
    assert "lastErrors" not in the_set(here)["status"]
    ready = world.condition(the_set(here), "Ready")
    assert ready is not None
    assert ready["status"] == "True"


async def test_a_shared_object_that_somebody_changed_is_put_right() -> None:
    here = await running()
    role = next(iter(here.api.of("roles").values()))
    await here.edit(resources.ROLES, role["metadata"]["name"], {"rules": [{"verbs": ["*"]}]})
    await here.settle()
    await here.run(f"set:{names.PODCLIQUESET}:ns/demo")
    here.see()
    (role,) = here.api.of("roles").values()
    assert role["rules"][0]["verbs"] == ["get", "list", "watch"]


async def test_a_refusal_to_the_set_is_shown_and_mended() -> None:
    here = world.World()
    here.api.refuse = lambda plural, obj: errors.Forbidden("exceeded quota") if plural == "secrets" else None
    await here.apply(world.podset())
    await here.advance(3)
    stuck = the_set(here)["status"]["lastErrors"]
    assert [entry["code"] for entry in stuck] == ["ERR_FORBIDDEN"]
    assert here.pods() == []
    here.api.refuse = lambda plural, obj: None
    await here.advance(61)
    assert "lastErrors" not in the_set(here)["status"]
    assert len(here.pods()) == 8


async def test_topology_levels_that_do_not_exist_are_reported() -> None:
    constraint = {"topologyName": "dc", "pack": {"required": "rack"}}
    here = await running(world.podset(topologyConstraint=constraint))
    found = world.condition(the_set(here), "TopologyLevelsUnavailable")
    assert found is not None
    assert (found["status"], found["reason"]) == ("Unknown", "ClusterTopologyNotFound")
    for domain, want in (("zone", "True"), ("rack", "False")):
        binding = {"metadata": {"name": "dc"}, "spec": {"levels": [{"domain": domain, "key": domain}]}}
        if not here.api.of("clustertopologybindings"):
            await here.api.create(resources.TOPOLOGY_BINDINGS, binding)
        else:
            body = {"spec": binding["spec"]}
            await here.api.patch(resources.TOPOLOGY_BINDINGS, "dc", None, body, type="merge")
        here.see()
        await here.run(f"setstatus:{names.PODCLIQUESET}:ns/demo")
        await here.advance(2)
        found = world.condition(the_set(here), "TopologyLevelsUnavailable")
        assert found is not None
        assert found["status"] == want
