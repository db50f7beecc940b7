"""How often the engine is asked: a gang that waits costs no search while nothing has changed for it."""

from grovekeeper.runtime import metrics
from tests.reconciler.placing import Placing, pair
from tests.reconciler.test_gang import up


def searches() -> float:
    """Return how many searches have been made so far."""
    (metric,) = metrics.PLACE_SECONDS.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_count"))


async def test_a_change_of_room_costs_one_search_a_kind_of_gang_and_not_one_a_gang() -> None:
    here = Placing(1)
    for number in range(12):
        await here.apply(pair(f"w{number:02}"))
    await here.settle()
    assert len(here.owner.turns.waiting) == 12
    before = searches()
    here.api.node("full", cpu=0)
    await here.settle()
    assert searches() - before == 1
    here.api.node("room")
    await here.settle()
    assert len(here.owner.turns.waiting) == 11
    assert searches() - before == 3, "one that fits, and one that stands for the eleven others"


async def test_a_room_that_has_only_shrunk_costs_no_search() -> None:
    here = await up(Placing(1))
    before = searches()
    here.api.foreign("rival", node="n0", cpu="0.1")
    await here.settle()
    await here.run("room")
    assert searches() == before
    await here.advance(61)
    await here.run("room")
    assert searches() == before + 1, "its words have grown old"


async def test_a_gang_that_waits_for_a_peer_costs_no_search_until_something_changes_among_its_peers() -> None:
    here = Placing(1, 1)
    obj = pair(count=1)
    term = {"topologyKey": "rack", "labelSelector": {"matchLabels": {"app": "x"}}}
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["affinity"] = near
    await up(here, obj)
    assert here.released() == {}
    before = searches()
    await here.run("room")
    here.api.foreign("stranger", node="n0", cpu="0.1")
    await here.settle()
    await here.run("room")
    assert searches() == before, "nothing has changed in its namespace"
    here.api.foreign("peer", node="n0", cpu="0.1", namespace="ns", labels={"app": "y"})
    await here.settle()
    await here.run("room")
    assert searches() == before + 1, "somebody came, and is no peer"
    await here.run("room")
    assert searches() == before + 1
    here.api.foreign("peer", node="n0", cpu="0.1", namespace="ns", labels={"app": "x"})
    await here.settle()
    await here.run("room")
    assert len(here.released()) == 1, "its labels have changed"
