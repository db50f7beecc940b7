"""PodDisruptionBudgets that we keep, held against the eviction API of both targets."""

import pytest

from grovekeeper.embedded.administrator import RefusedError
from tests.e2e import queues
from tests.e2e.world import MERGE, Object, World, is_ready

pytestmark = pytest.mark.slow
BUDGETS = "/apis/policy/v1"


def test_an_eviction_below_a_gangs_minimum_is_refused_and_one_above_it_passes(world: World) -> None:
    world.add_nodes(10)
    world.apply(world.wl2())
    world.wait_pods(10, 10)
    protected(world, 5)
    one, other = world.pods("pc-a")
    take(world, one)
    assert denied(world, [other]), "one of at least one is left"
    for clique in ("sg-x-0-pc-b", "sg-x-1-pc-b"):
        assert denied(world, world.pods(clique)), "replicas and minimum are one"
    first, second, last = world.pods("sg-x-0-pc-c")
    take(world, first)
    take(world, second)
    assert denied(world, [last])
    for pod in (one, first, second):
        world.cordon(pod["spec"]["nodeName"], False)
    world.wait_pods(10, 10)
    world.scale("podcliques", "w-0-pc-a", 1)
    world.wait_pods(9, 9)
    assert denied(world, world.pods("pc-a")), "the minimum stays when the replicas go"


def test_a_set_opts_out_and_its_budgets_are_gone_with_it(world: World) -> None:
    world.add_nodes(10)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    protected(world, 5)
    assert denied(world, world.pods("pc-a"))
    opt(world, "off")
    world.wait(lambda: not budgets(world), "the budgets to go")
    evict(world, world.pods("pc-a")[0])
    world.wait_pods(10, 10)
    opt(world, None)
    protected(world, 5)
    world.scale("podgangsets", "w", 0)
    world.wait(lambda: not budgets(world) and not world.pods(), "the budgets to go with their cliques")


def test_a_budget_of_somebody_else_takes_the_place_of_ours(world: World) -> None:
    world.add_nodes(2)
    world.apply(world.set([world.clique("pc", 2)]))
    world.wait_pods(2, 2)
    protected(world, 1)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/part-of": "w"}}}
    kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    world.post(world.path("poddisruptionbudgets", group=BUDGETS), {**kind, "metadata": {"name": "mine"}, "spec": spec})
    world.wait(lambda: budgets(world) == ["mine"], "ours to give way")
    world.wait(lambda: _answer(world, world.pods()[0]) == 201, "theirs to allow one")
    world.request("DELETE", world.path("poddisruptionbudgets", "mine", BUDGETS))
    world.wait_pods(2, 2)
    protected(world, 1)


def test_budgets_of_ours_do_not_keep_a_gang_of_higher_priority_from_taking_a_whole_gang(world: World) -> None:
    for name, value in (("low", 10), ("high", 1000)):
        body = {"metadata": {"name": f"{world.namespace}-{name}"}, "value": value}
        kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        world.post("/apis/scheduling.k8s.io/v1/priorityclasses", {**kind, **body})
    world.add_nodes(3)
    world.apply(world.set([world.clique("pc", 3)], priorityClassName=f"{world.namespace}-low"))
    world.wait_pods(3, 3)
    protected(world, 1)
    assert denied(world, world.pods())
    urgent = world.set([world.clique("pc", 2)], priorityClassName=f"{world.namespace}-high")
    urgent["metadata"]["name"] = "urgent"
    world.apply(urgent)
    there = lambda: [p for p in world.pods() if "urgent" in p["metadata"]["name"] and is_ready(p)]  # noqa: E731
    world.wait(lambda: len(there()) == 2, "urgent to run", 60)
    low = [p for p in world.pods() if "urgent" not in p["metadata"]["name"]]
    assert not [p for p in low if p["spec"].get("nodeName")], "the other gang went as a whole"


def test_a_drain_of_a_node_is_not_held_up_for_ever(world: World) -> None:
    world.add_nodes(3)
    world.apply(world.set([world.clique("pc", 2)]))
    world.wait_pods(2, 2)
    protected(world, 1)
    pod, other = world.pods()
    world.cordon(pod["spec"]["nodeName"])
    key = f"clique:{world.namespace}/w-0-pc"
    url = world.installation.redis.url
    later = lambda: (queues.due(url, key) or 0) > 3000  # noqa: E731
    world.wait(later, "the cordon to be noted, and the clique to be looked at again")
    assert denied(world, [pod])
    world.advance(3700)
    world.cordon(other["spec"]["nodeName"])  # whoever waits for a moment sleeps in real time: this wakes the clique
    world.cordon(other["spec"]["nodeName"], False)
    world.wait(lambda: not budgets(world), "the budget to give way")
    evict(world, pod)
    world.wait(lambda: len([p for p in world.pods() if is_ready(p)]) == 2, "the gang to be whole on other nodes")
    assert pod["spec"]["nodeName"] not in {p["spec"]["nodeName"] for p in world.pods()}


def budgets(world: World) -> list[str]:
    found = world.request("GET", world.path("poddisruptionbudgets", group=BUDGETS))["items"]
    return sorted(entry["metadata"]["name"] for entry in found)


def protected(world: World, count: int) -> None:
    """Wait for so many budgets, each of which the disruption controller (where there is one) has counted."""
    world.advance(15)
    world.wait(lambda: len(budgets(world)) == count, f"{count} budgets", 40)
    counted(world)


def counted(world: World) -> None:
    """Wait until the disruption controller, where there is one, has counted the pods that are ready now."""
    world.wait(lambda: all(_is_counted(world, budget) for budget in _listed(world)), "the budgets to be counted", 40)


def evict(world: World, pod: Object) -> None:
    name = pod["metadata"]["name"]
    kind = {"apiVersion": "policy/v1", "kind": "Eviction"}
    world.post(f"{world.path('pods', name, '/api/v1')}/eviction", {**kind, "metadata": {"name": name}})


def take(world: World, pod: Object) -> None:
    """Evict a pod so that its successor finds no room."""
    world.cordon(pod["spec"]["nodeName"])
    evict(world, pod)


def denied(world: World, pods: list[Object]) -> bool:
    """Return whether the eviction of each of these pods is refused with 429, now that their budgets are counted."""
    assert pods
    counted(world)
    return all(_answer(world, pod) == 429 for pod in pods)


def _answer(world: World, pod: Object) -> int:
    try:
        evict(world, pod)
    except RefusedError as error:
        return error.code
    return 201


def opt(world: World, value: str | None) -> None:
    body = {"metadata": {"annotations": {"grovekeeper.io/disruption-budget": value}}}
    world.request("PATCH", world.path("podgangsets", "w"), body, MERGE)


def _listed(world: World) -> list[Object]:
    found: list[Object] = world.request("GET", world.path("poddisruptionbudgets", group=BUDGETS))["items"]
    return found


def _is_counted(world: World, budget: Object) -> bool:
    status = budget.get("status")
    if not status:
        return True  # the embedded API server counts at each eviction
    wanted = budget["spec"]["selector"]["matchLabels"].items()
    ready = sum(is_ready(pod) for pod in world.pods() if wanted <= pod["metadata"]["labels"].items())
    known = budget["metadata"]["generation"], budget["spec"]["minAvailable"], ready
    return tuple(status.get(key) for key in ("observedGeneration", "desiredHealthy", "currentHealthy")) == known
