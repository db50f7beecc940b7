"""Whether a ClusterTopologyBinding's levels mean anything is said in its status; nothing else is disturbed."""

import pytest

from tests.e2e import statuses, topology
from tests.e2e.world import BINDINGS, MERGE, World


def test_a_binding_says_whether_its_levels_mean_anything_and_others_go_on(world: World) -> None:
    """A label no node has, levels in the wrong order, two bindings that contradict each other: said, nothing else."""
    world.add_nodes(14)
    good = topology.bind(world)
    gone = topology.bind(world, "gone", (("rack", f"{world.namespace}/nowhere"),))
    swapped = (("rack", "kubernetes.io/rack"), ("block", "kubernetes.io/block"))
    world.apply(world.set([world.clique("worker", 2)], **topology.top(world, "rack")))
    world.wait_pods(2, 2)
    world.wait(lambda: usable(world, good) == ("True", "LevelsUsable"), "the good levels to be judged")
    world.wait(lambda: usable(world, gone) == ("False", "LabelMissing"), "the missing label to be said")
    wrong = topology.bind(world, "swapped", swapped)
    world.wait(lambda: usable(world, wrong) == ("False", "ContradictsBinding"), "the contradiction to be said")
    world.wait(lambda: usable(world, good) == ("False", "ContradictsBinding"), "the contradiction to be said of both")
    world.request("DELETE", f"{BINDINGS}/{wrong}")
    world.wait(lambda: usable(world, good) == ("True", "LevelsUsable"), "the contradiction to be gone")
    world.wait_pods(2, 2)


@pytest.mark.slow
def test_a_binding_is_judged_anew_when_its_levels_or_the_labels_of_nodes_change(world: World) -> None:
    """Levels in the wrong order, a domain that lies in two broader ones, a label that comes later."""
    wide, narrow, row = (f"{world.namespace}/{word}" for word in ("wide", "narrow", "row"))
    world.add_nodes(8)
    label(world, wide, 4)
    label(world, narrow, 2)
    wrong = topology.bind(world, "wrong", (("rack", narrow), ("block", wide)))
    world.apply(world.set([world.clique("worker", 2)]))
    world.wait(lambda: usable(world, wrong) == ("False", "LevelsOutOfOrder"), "the order to be said")
    assert "block" in said(world, wrong)
    levels = [{"domain": "block", "key": wide}, {"domain": "rack", "key": narrow}]
    world.request("PATCH", f"{BINDINGS}/{wrong}", {"spec": {"levels": levels}}, MERGE)
    world.wait(lambda: usable(world, wrong) == ("True", "LevelsUsable"), "the right order to be seen")
    cut = topology.bind(world, "cut", (("block", row), ("rack", narrow)))
    world.wait(lambda: usable(world, cut) == ("False", "LabelMissing"), "the missing label to be said")
    label(world, row, 3)
    world.wait(lambda: usable(world, cut) == ("False", "LevelsCutAcross"), "the racks that are cut to be said")
    world.wait_pods(2, 2)


def label(world: World, key: str, size: int) -> None:
    """Give nodes a label that puts so many of them, one after the other, into one domain."""
    for number, name in enumerate(world.nodes):
        labels = {key: f"d{number // size}"}
        world.request("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}}, MERGE)


def said(world: World, binding: str) -> str:
    return statuses.message(world.request("GET", f"{BINDINGS}/{binding}"), "LevelsUsable")


def usable(world: World, binding: str) -> tuple[str, str]:
    return statuses.verdict(world.request("GET", f"{BINDINGS}/{binding}"), "LevelsUsable")
