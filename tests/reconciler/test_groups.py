import pytest

from grovekeeper.api import conditions, names, raw
from grovekeeper.kube import resources
from grovekeeper.reconciler import groups
from tests.reconciler import world


async def up(obj: raw.Object | None = None) -> world.World:
    here = world.World()
    await here.apply(obj or world.podset())
    await here.settle()
    await here.start()
    await here.advance(5)
    return here


async def scale(here: world.World, count: int) -> None:
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": count}})
    await here.advance(1)
    await here.finish()
    await here.start()
    await here.advance(5)


def indexes(here: world.World) -> set[str]:
    found = here.api.of("podcliques").values()
    label = names.LABEL_SCALINGGROUP_INDEX
    return {clique["metadata"]["labels"][label] for clique in found if label in clique["metadata"]["labels"]}


def status(here: world.World) -> raw.Object:
    found: raw.Object = here.get(resources.SCALINGGROUPS, "demo-0-pool")["status"]
    return found


@pytest.mark.parametrize(
    ("members", "wanted", "want"),
    [
        ([0, 1, 2], 3, []),
        ([0, 1, 2, 3], 2, [3, 2]),
        ([0, 3, 7], 2, [7, 3]),
        ([5], 0, [5]),
    ],
)
def test_surplus_replicas_are_told_by_index_not_by_count(members: list[int], wanted: int, want: list[int]) -> None:
    assert groups.surplus(members, wanted) == want


@pytest.mark.parametrize(
    ("count", "want"),
    [
        pytest.param(4, {"0", "1", "2", "3"}, id="out"),
        pytest.param(1, {"0"}, id="in"),
        pytest.param(0, set(), id="to zero"),
    ],
)
async def test_scaling_a_group_adds_and_removes_whole_replicas(count: int, want: set[str]) -> None:
    here = await up()
    await scale(here, count)
    assert indexes(here) == want
    assert len(here.pods()) == 2 + 3 * count
    found = status(here)
    assert [found[key] for key in ("replicas", "scheduledReplicas", "availableReplicas", "updatedReplicas")] == [
        count
    ] * 4
    assert conditions.is_true(here.get(resources.PODCLIQUESETS, "demo"), "Ready")


async def test_a_group_goes_to_zero_and_back() -> None:
    here = await up()
    await scale(here, 0)
    breach = world.condition(here.get(resources.SCALINGGROUPS, "demo-0-pool"), "MinAvailableBreached")
    assert breach is not None
    assert breach["status"] == "False"
    await scale(here, 2)
    assert indexes(here) == {"0", "1"}
    await here.advance(60)
    assert here.events.said == []


async def test_fewer_replicas_than_the_minimum_count_as_the_minimum() -> None:
    template = [{"name": "pool", "cliqueNames": ["lead", "work"], "replicas": 3, "minAvailable": 2}]
    here = await up(world.podset(podCliqueScalingGroups=template))
    await scale(here, 1)
    assert indexes(here) == {"0", "1"}


async def test_scaling_in_takes_the_gangs_of_the_replicas_along() -> None:
    here = await up()
    labels = {names.LABEL_PART_OF: "demo"}
    for name in ("demo-0", "demo-0-pool-0"):
        gang = {"metadata": {"name": name, "namespace": "ns", "labels": labels}, "kind": names.PODGANG}
        await here.api.create(resources.PODGANGS, gang)
    here.see()
    await scale(here, 1)
    assert here.names(resources.PODGANGS) == ["demo-0"]


async def test_an_edit_of_a_members_replicas_in_git_reaches_the_members() -> None:
    here = await up()
    obj = world.podset()
    obj["spec"]["template"]["cliques"][2]["spec"]["replicas"] = 3
    await here.apply(obj)
    await here.settle()
    await here.run("group:ns/demo-0-pool")
    await here.advance(1)
    assert len(here.pods("demo-0-pool-0-work")) == 3
    assert len(here.pods("demo-0-pool-1-work")) == 3


async def test_a_large_group_costs_one_request_a_clique() -> None:
    template = [{"name": "pool", "cliqueNames": ["lead", "work"], "replicas": 40}]
    here = world.World()
    await here.apply(world.podset(podCliqueScalingGroups=template))
    await here.settle()
    assert here.api.calls["create podcliques"] == 81
    assert here.api.calls["patch podcliquescalinggroups/status"] <= 1
