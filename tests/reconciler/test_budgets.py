"""PodDisruptionBudgets of PodCliques: when there is one, what it says, and when it goes."""

from grovekeeper.api import names, raw
from grovekeeper.kube import resources
from tests.reconciler import world
from tests.reconciler.rollout import up

FRONT = "demo-0-front"


def budgets(here: world.World) -> list[str]:
    return here.names(resources.PDBS)


async def annotated(here: world.World, value: str | None) -> None:
    body = {"metadata": {"annotations": {names.ANNOTATION_BUDGET: value}}}
    await here.edit(resources.PODCLIQUESETS, "demo", body)
    await here.advance(1)


def foreign(here: world.World, selector: raw.Object) -> None:
    metadata = {"name": "theirs", "namespace": "ns", "uid": "theirs", "resourceVersion": "1", "labels": {}}
    here.api._put("poddisruptionbudgets", {"metadata": metadata, "spec": {"selector": selector}})


async def test_every_clique_that_is_up_has_a_budget_of_its_minimum() -> None:
    here = await up()
    assert budgets(here) == here.names(resources.PODCLIQUES)
    found = here.get(resources.PDBS, FRONT)
    assert found["spec"]["minAvailable"] == 1
    assert found["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    selector = found["spec"]["selector"]["matchLabels"].items()
    selected = [pod for pod in here.pods() if selector <= pod["metadata"]["labels"].items()]
    assert selected == here.pods(FRONT)
    assert found["metadata"]["ownerReferences"][0]["uid"] == here.get(resources.PODCLIQUES, FRONT)["metadata"]["uid"]


async def test_what_is_coming_up_has_none_yet() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.advance(30)
    assert budgets(here) == []
    await here.start()
    await here.advance(5)
    assert len(budgets(here)) <= 5


async def test_at_rest_nothing_is_written() -> None:
    here = await up()
    before = here.api.calls.copy()
    for name in here.names(resources.PODCLIQUES):
        here.work.put(f"clique:ns/{name}", 0)
    await here.settle()
    assert here.api.calls == before


async def test_a_clique_at_zero_has_none_until_it_is_up_again() -> None:
    here = await up()
    await here.edit(resources.PODCLIQUES, FRONT, {"spec": {"replicas": 0}})
    await here.advance(1)
    assert FRONT not in budgets(here)
    await here.finish()
    await here.edit(resources.PODCLIQUES, FRONT, {"spec": {"replicas": 2}})
    await here.advance(1)
    await here.start()
    assert FRONT not in budgets(here)
    await here.advance(30)
    assert FRONT in budgets(here)


def writes(here: world.World) -> int:
    """Calls that have made, changed or removed budgets."""
    return sum(count for call, count in here.api.calls.items() if call.endswith(" poddisruptionbudgets"))


async def test_an_hpa_that_scales_a_clique_up_and_down_costs_no_write_of_its_budget() -> None:
    here = await up()
    before, budget = writes(here), here.get(resources.PDBS, FRONT)
    for count in (5, 3, 4, 1, 6, 2):
        await here.edit(resources.PODCLIQUES, FRONT, {"spec": {"replicas": count}})
        await here.settle()
        await here.finish()
        await here.start()
        await here.advance(15)
        assert len(here.pods(FRONT)) == count
    assert writes(here) == before
    assert here.get(resources.PDBS, FRONT) == budget


async def test_an_hpa_that_scales_a_group_has_a_budget_come_and_go_with_each_clique_once() -> None:
    here = await up()
    for count in (4, 1, 3):
        before, known = writes(here), set(budgets(here))
        await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": count}})
        await here.settle()
        await here.finish()
        await here.start()
        await here.advance(90)
        fresh = set(budgets(here))
        assert fresh == {FRONT, *(f"demo-0-pool-{j}-{name}" for j in range(count) for name in ("lead", "work"))}
        assert writes(here) - before <= len(fresh ^ known), "each is made once, and removed at most once"


async def test_a_set_opts_out_and_in_again() -> None:
    here = await up()
    await annotated(here, "off")
    assert budgets(here) == []
    await annotated(here, None)
    assert len(budgets(here)) == 5


async def test_where_the_setting_is_off_a_set_opts_in() -> None:
    here = world.World(disruption_budgets=False)
    await here.apply(world.podset())
    await here.settle()
    await here.start()
    await here.advance(40)
    assert budgets(here) == []
    await annotated(here, "on")
    assert len(budgets(here)) == 5


async def test_one_that_somebody_deletes_or_changes_is_put_right() -> None:
    here = await up()
    await here.api.delete(resources.PDBS, FRONT, "ns")
    other = budgets(here)[0]
    await here.edit(resources.PDBS, other, {"spec": {"minAvailable": 0}})
    await here.advance(1)
    assert FRONT in budgets(here)
    assert here.get(resources.PDBS, other)["spec"]["minAvailable"] == 1


async def test_pods_that_somebody_elses_budget_selects_get_none_of_ours() -> None:
    here = await up()
    foreign(here, {"matchLabels": {names.LABEL_PODCLIQUE: FRONT}})
    for name in here.names(resources.PODCLIQUES):
        here.work.put(f"clique:ns/{name}", 0)  # what the dispatcher does for the namespace
    await here.advance(1)
    assert FRONT not in budgets(here)
    assert len(budgets(here)) == 5  # theirs, and four of ours


async def test_a_cordoned_node_is_not_held_up_for_ever() -> None:
    here = await up()
    node = here.api.of("nodes")["", "n1"]
    here.api._put("nodes", {**node, "spec": {"unschedulable": True}})
    here.see()
    for name in here.names(resources.PODCLIQUES):
        here.work.put(f"clique:ns/{name}", 0)  # what the dispatcher does for pods of the node
    await here.settle()
    assert len(budgets(here)) == 5
    await here.advance(3700)
    assert budgets(here) == []
    here.api._put("nodes", node)
    here.see()
    for name in here.names(resources.PODCLIQUES):
        here.work.put(f"clique:ns/{name}", 0)
    await here.advance(1)
    assert len(budgets(here)) == 5


async def test_it_goes_with_its_clique() -> None:
    here = await up()
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": 1}})
    await here.advance(2)
    await here.finish()
    await here.advance(5)
    assert budgets(here) == ["demo-0-front", "demo-0-pool-0-lead", "demo-0-pool-0-work"]
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.advance(5)
    assert budgets(here) == []
