"""PodGang objects and memberships that went out of step: faults that the random sequences of tests/property found."""

import json
from typing import Any

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import mapping
from tests.reconciler import world
from tests.reconciler.placing import Placing, pair


def decided(here: Placing, name: str = "demo-0") -> raw.Json:
    return json.loads(here.gang(name)["metadata"]["annotations"][names.ANNOTATION_PLACEMENT])


async def running(obj: raw.Object, *cpus: int) -> Placing:
    here = Placing(*cpus)
    await here.apply(obj)
    await here.settle()
    await here.bind()
    await here.settle()
    return here


async def test_a_podgang_that_somebody_deleted_under_a_running_gang_is_written_again_with_its_places() -> None:
    here = await running(pair(), 1, 1)
    before = decided(here)
    await here.api.delete(resources.PODGANGS, "demo-0", "ns")
    here.see()
    await here.run("gang:ns/demo-0")
    assert decided(here) == before


async def test_the_podgang_of_a_replica_that_its_group_no_longer_has_is_removed() -> None:
    """The group was deleted and made again with fewer replicas, so that its reconciler never saw the replica go."""
    here = await running(world.podset(), 8, 8)
    assert here.names(resources.PODGANGS) == ["demo-0", "demo-0-pool-0"]
    await here.edit(resources.SCALINGGROUPS, "demo-0-pool", {"spec": {"replicas": 1}})
    for name in ("demo-0-pool-1-lead", "demo-0-pool-1-work"):
        await here.api.delete(resources.PODCLIQUES, name, "ns")
    here.see()
    await here.run("gang:ns/demo-0-pool-0")
    assert here.names(resources.PODGANGS) == ["demo-0"]


async def test_the_podgang_of_a_gang_that_is_being_recreated_is_kept_with_its_count_of_terminations() -> None:
    here = await running(pair(), 1, 1)
    await here.api.delete(resources.PODCLIQUES, "demo-0-a", "ns")
    here.see()
    await here.run("gang:ns/demo-0")
    assert here.names(resources.PODGANGS) == ["demo-0"]


def test_a_group_that_shrinks_or_goes_has_the_gangs_of_its_gone_replicas_looked_at() -> None:
    def group(replicas: int) -> raw.Object:
        metadata = {"name": "demo-0-pool", "namespace": "ns", "generation": replicas, "labels": {}}
        return {"metadata": metadata, "spec": {"replicas": replicas, "minAvailable": 1}}

    shrunk = {key for key, _ in mapping.on_group(group(4), group(2))}
    assert {key for key in shrunk if key.startswith("gang:")} == {"gang:ns/demo-0-pool-1", "gang:ns/demo-0-pool-2"}
    gone = {key for key, _ in mapping.on_group(group(2), None)}
    assert {key for key in gone if key.startswith("gang:")} == {"gang:ns/demo-0-pool-0"}


async def test_pods_of_a_deleted_clique_do_not_complete_the_gang_of_its_successor() -> None:
    """They have the same clique's name and are about to go: the new pods would be released without their siblings."""
    here = await running(pair(count=2), 2, 2)
    old = {pod["metadata"]["uid"] for pod in here.pods()}
    await here.api.delete(resources.PODCLIQUES, "demo-0-a", "ns")
    await here.api.delete(resources.PODGANGS, "demo-0", "ns")
    here.see()
    await here.run("replica:PodCliqueSet:ns/demo/0")
    plain = here.api.delete

    async def late(resource: resources.Resource, *rest: Any, **more: Any) -> None:
        """Deletions of pods have not reached this cache yet."""
        if resource is not resources.PODS:
            await plain(resource, *rest, **more)

    here.api.delete = late  # type: ignore[method-assign]
    here.api.refuse = lambda plural, obj: errors.Forbidden("quota") if is_second(obj) else None
    await here.run("clique:ns/demo-0-a")
    here.see()
    await here.run("gang:ns/demo-0")
    fresh = [pod for pod in here.pods() if pod["metadata"]["uid"] not in old]
    assert [bool(pod["spec"].get("schedulingGates")) for pod in fresh] == [True]


def is_second(obj: raw.Object) -> bool:
    return (obj["metadata"].get("labels") or {}).get(names.LABEL_POD_INDEX) == "1"
