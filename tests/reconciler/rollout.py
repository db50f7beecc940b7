"""Driving an update in the small world: pods that go are gone, pods that come become ready."""

import copy
from collections.abc import Callable

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from tests.reconciler import world


async def up(obj: raw.Object | None = None) -> world.World:
    """A world in which the set has come up and has said so."""
    here = world.World()
    await here.apply(obj or world.podset())
    await here.settle()
    await here.start()
    await here.advance(40)
    return here


def the_set(here: world.World, kind: str = names.PODCLIQUESET) -> raw.Object:
    return here.get(resources.SETS[kind], "demo")


def changed(obj: raw.Object, *cliques: str) -> raw.Object:
    """The set with the next image in some cliques."""
    result = copy.deepcopy(obj)
    for clique in result["spec"]["template"]["cliques"]:
        if clique["name"] in cliques:
            container = clique["spec"]["podSpec"]["containers"][0]
            name, _, number = container["image"].partition(":")
            container["image"] = f"{name}:{int(number) + 1}"
    return result


def images(here: world.World, index: int, clique: str = "") -> set[str]:
    """The images of a replica's living pods; successors count when their predecessor is gone."""
    return {
        pod["spec"]["containers"][0]["image"]
        for pod in plan.members(here.pods())
        if pod["metadata"]["labels"]["grove.io/podcliqueset-replica-index"] == str(index)
        and pod["metadata"]["labels"][names.LABEL_PODCLIQUE].endswith(clique)
        and "deletionTimestamp" not in pod["metadata"]
    }


def ended(here: world.World) -> bool:
    progress = the_set(here)["status"].get("updateProgress") or {}
    return "updateEndedAt" in progress


async def roll(
    here: world.World, check: Callable[[], object] = lambda: None, *, until: bool = True, rounds: int = 80
) -> None:
    """Go on until the update has ended (or, with until=False, for a while)."""
    for _ in range(rounds):
        await here.advance(1)
        check()
        await here.finish()
        await here.settle()
        await here.start()
        await here.advance(1)
        check()
        if until and ended(here):
            await here.advance(5)
            return
    assert not until, the_set(here)["status"]
