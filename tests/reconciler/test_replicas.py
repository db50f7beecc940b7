import pytest

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, replicas
from tests.reconciler import world

SCALE = {"minReplicas": 1, "maxReplicas": 5, "metrics": [{"type": "Resource"}]}


async def up(obj: raw.Object | None = None) -> world.World:
    here = world.World()
    await here.apply(obj or world.podset())
    await here.settle()
    await here.start()
    await here.advance(5)
    return here


def child(count: int, passed_on: str | None) -> raw.Object:
    annotations = {} if passed_on is None else {names.ANNOTATION_TEMPLATE_REPLICAS: passed_on}
    return {"metadata": {"annotations": annotations}, "spec": {"replicas": count}}


@pytest.mark.parametrize(
    ("live", "template", "autoscaled", "want"),
    [
        pytest.param(None, 3, False, 3, id="new"),
        pytest.param(child(3, "3"), 3, False, 3, id="as in Git"),
        pytest.param(child(5, "3"), 3, False, 5, id="scaled by a person stays"),
        pytest.param(child(3, "3"), 4, False, 4, id="edited in Git"),
        pytest.param(child(5, "3"), 4, False, 4, id="edited in Git after it was scaled"),
        pytest.param(child(5, "3"), 4, True, 5, id="an autoscaler owns it"),
        pytest.param(child(5, None), 4, False, 5, id="nothing known of the past"),
        pytest.param(child(0, "3"), 3, False, 0, id="hibernated stays"),
    ],
)
def test_a_child_keeps_its_own_count_until_git_changes(
    live: raw.Object | None, template: int, autoscaled: bool, want: int
) -> None:
    assert replicas.kept_replicas(live, template, autoscaled=autoscaled) == want


def edited(name: str, **spec: raw.Json) -> raw.Object:
    obj = world.podset()
    for clique in obj["spec"]["template"]["cliques"]:
        if clique["name"] == name:
            clique["spec"].update(spec)
    return obj


async def test_an_edit_of_replicas_in_git_reaches_a_standalone_clique() -> None:
    here = await up()
    await here.apply(edited("front", replicas=4))
    await here.advance(1)
    front = here.get(resources.PODCLIQUES, "demo-0-front")
    assert front["spec"]["replicas"] == 4
    assert front["metadata"]["annotations"][names.ANNOTATION_TEMPLATE_REPLICAS] == "4"
    assert len(here.pods("demo-0-front")) == 4


async def test_a_scaled_clique_keeps_its_count_when_something_else_is_edited() -> None:
    here = await up()
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 3}})
    await here.settle()
    obj = world.podset()
    obj["spec"]["template"]["terminationDelay"] = "20s"
    await here.apply(obj)
    await here.advance(1)
    assert here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["replicas"] == 3
    assert len(here.pods("demo-0-front")) == 3


async def test_a_field_that_left_the_template_leaves_the_clique() -> None:
    affinity = {"containers": [{"name": "main", "image": "model:1"}], "nodeSelector": {"gpu": "h100"}}
    here = await up(edited("front", podSpec=affinity))
    assert "nodeSelector" in here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["podSpec"]
    await here.apply(world.podset())
    await here.advance(1)
    assert "nodeSelector" not in here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["podSpec"]


async def test_a_scale_that_comes_between_is_not_overwritten() -> None:
    here = await up()
    await here.apply(edited("front", podSpec={"containers": [{"name": "main", "image": "model:2"}]}))
    here.see()
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 5}})
    with pytest.raises(errors.Conflict):
        await replicas.reconcile(here.ctx, keys_of(here)[0])
    await here.advance(1)
    assert here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("resource", "name"), [(resources.PODCLIQUES, "demo-0-front"), (resources.SCALINGGROUPS, "demo-0-pool")]
)
async def test_a_scale_that_the_cache_hears_of_after_the_count_was_kept_is_not_overwritten(
    resource: resources.Resource, name: str
) -> None:
    here = await up()
    obj = here.ctx.stores.clique_sets.all()[0]
    desired = replicas.wanted(here.ctx, here.ctx.workload(obj), 0)
    await here.edit(resource, name, {"spec": {"replicas": 5}})
    here.see()
    child = next(child for _, child in desired if child["metadata"]["name"] == name)
    with pytest.raises(errors.Conflict):
        await children.ensure(here.ctx, resource, child)
    await here.advance(1)
    assert here.get(resource, name)["spec"]["replicas"] == 5


async def test_a_count_that_was_kept_from_a_child_that_is_gone_is_not_given_to_a_new_one() -> None:
    here = await up()
    obj = here.ctx.stores.clique_sets.all()[0]
    desired = replicas.wanted(here.ctx, here.ctx.workload(obj), 0)
    await here.api.delete(resources.SCALINGGROUPS, "demo-0-pool", "ns")
    here.see()
    child = next(child for resource, child in desired if resource is resources.SCALINGGROUPS)
    with pytest.raises(errors.Conflict):
        await children.ensure(here.ctx, resources.SCALINGGROUPS, child)


async def test_a_child_that_the_cache_has_not_heard_of_yet_keeps_its_count() -> None:
    here = await up()
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": 5}})
    here.ctx.stores.groups.observe_deleted(here.get(resources.SCALINGGROUPS, "demo-0-pool"))
    with pytest.raises(errors.Conflict):
        await replicas.reconcile(here.ctx, keys_of(here)[0])
    assert here.get(resources.SCALINGGROUPS, "demo-0-pool")["spec"]["replicas"] == 5


def keys_of(here: world.World) -> list[raw.Json]:
    from grovekeeper.reconciler import keys

    return [keys.parse(f"replica:{names.PODCLIQUESET}:ns/demo/0")]


async def test_autoscalers_come_and_go_with_their_configuration() -> None:
    here = await up(edited("front", autoScalingConfig=SCALE))
    assert here.names(resources.HPAS) == ["demo-0-front"]
    target = here.get(resources.HPAS, "demo-0-front")["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": names.API_VERSION, "kind": names.PODCLIQUE, "name": "demo-0-front"}
    await here.apply(world.podset())
    await here.advance(1)
    assert here.names(resources.HPAS) == []


async def test_what_an_autoscaler_set_survives_an_edit_in_git() -> None:
    here = await up(edited("front", autoScalingConfig=SCALE))
    await here.edit(resources.PODCLIQUES, "demo-0-front", {"spec": {"replicas": 5}})
    await here.settle()
    await here.apply(edited("front", autoScalingConfig=SCALE, replicas=3))
    await here.advance(1)
    assert here.get(resources.PODCLIQUES, "demo-0-front")["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (resources.SERVICES, "demo-0"),
        (resources.PODCLIQUES, "demo-0-front"),
        (resources.SCALINGGROUPS, "demo-0-pool"),
        (resources.PODCLIQUES, "demo-0-pool-1-work"),
    ],
)
async def test_a_child_that_somebody_deleted_comes_back(resource: resources.Resource, name: str) -> None:
    here = await up()
    uid = here.get(resource, name)["metadata"]["uid"]
    await here.api.delete(resource, name, "ns")
    await here.advance(2)
    assert here.get(resource, name)["metadata"]["uid"] != uid


async def test_a_child_that_somebody_changed_is_put_right() -> None:
    here = await up()
    await here.edit(resources.SERVICES, "demo-0", {"spec": {"publishNotReadyAddresses": False}})
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"minAvailable": 2}})
    await here.settle()
    await here.run(f"replica:{names.PODCLIQUESET}:ns/demo/0")
    here.see()
    assert here.get(resources.SERVICES, "demo-0")["spec"]["publishNotReadyAddresses"] is True
    assert here.get(resources.SCALINGGROUPS, "demo-0-pool")["spec"]["minAvailable"] == 1


async def test_a_cache_that_is_behind_creates_nothing_twice() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    other = world.World()
    other.api.objects, other.clock.moment = here.api.objects, here.clock.moment
    obj = here.get(resources.PODCLIQUESETS, "demo")
    other.ctx.stores.clique_sets.observe(obj)  # a worker that has seen the set and nothing else
    for key in (f"set:{names.PODCLIQUESET}:ns/demo", f"replica:{names.PODCLIQUESET}:ns/demo/0"):
        await other.run(key)
    await other.run("group:ns/demo-0-pool")
    for name in here.names(resources.PODCLIQUES):
        await other.run(f"clique:ns/{name}")
    assert len(here.names(resources.PODCLIQUES)) == 5
    assert len(here.pods()) == 8
    assert not [call for call in other.api.calls if call.startswith("delete")]
