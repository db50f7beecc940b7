"""The reconcilers against an API server over HTTP: what `world` imitates must be so."""

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from grovekeeper.api import names, raw
from grovekeeper.embedded.cluster import EmbeddedCluster
from grovekeeper.kube import credentials, errors, http, informer, resources, store
from grovekeeper.reconciler import caches, children, keys, worker
from tests import crds
from tests.reconciler import world

FRONT = "demo-0-front"

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as running:
        crds.install(running)
        yield running


class Worker:
    """A reconciler with caches of its own for a set in a namespace of its own; keys are run by hand."""

    def __init__(self, client: http.HttpClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.set = f"set:{names.PODCLIQUESET}:{namespace}/demo"
        self.replica = f"replica:{names.PODCLIQUESET}:{namespace}/demo/0"
        self.group = f"group:{namespace}/demo-0-pool"
        self.clique = f"clique:{namespace}/{FRONT}"
        self.informers = informer.Informers(
            informer.Informer(client, resource, indexes=caches.INDEXES.get(plural), optional=plural in caches.OPTIONAL)
            for plural, (resource, _labels) in caches.WATCHED.items()
        )
        self.ctx = world.World().ctx
        self.ctx.client = client
        self.ctx.clock = world.clock.Clock()
        stores = {caches.FIELDS[each.resource.plural]: each.store for each in self.informers.all}
        self.ctx.stores = caches.Stores(**stores)

    def podset(self) -> raw.Object:
        obj = world.podset()
        obj["metadata"]["namespace"] = self.namespace
        return obj

    async def run(self, *wanted: str) -> None:
        for key in wanted:
            await worker.RECONCILERS[keys.parse(key).kind](self.ctx, keys.parse(key))

    async def seen(self, resource: resources.Resource, obj: raw.Object) -> None:
        version = store.version_of(obj)
        assert await self.ctx.stores.of(resource).reached(version, 10)

    async def apply(self, obj: raw.Object) -> raw.Object:
        try:
            stored = await self.client.create(resources.PODCLIQUESETS, obj)
        except errors.AlreadyExists:
            operations = [{"op": "replace", "path": "/spec", "value": obj["spec"]}]
            stored = await self.client.patch(resources.PODCLIQUESETS, "demo", self.namespace, operations, type="json")
        await self.seen(resources.PODCLIQUESETS, stored)
        return stored


_NAMESPACES = (f"ns-{number}" for number in itertools.count())


@pytest.fixture
async def here(cluster: EmbeddedCluster) -> AsyncIterator[Worker]:
    client = http.HttpClient(await credentials.load(cluster.kubeconfig))
    namespace = next(_NAMESPACES)
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    found = Worker(client, namespace)
    await found.informers.start()
    yield found
    await found.informers.stop()
    await client.close()


async def names_of(here: Worker, resource: resources.Resource) -> list[str]:
    return sorted(item["metadata"]["name"] for item in (await here.client.list(resource, here.namespace)).items)


async def test_what_was_created_does_not_differ_when_it_is_read_again(here: Worker) -> None:
    obj = here.podset()
    template = obj["spec"]["template"]
    request = {"name": "r", "exactly": {"deviceClassName": "d"}}
    spec = {"devices": {"requests": [request]}}
    template["resourceClaimTemplates"] = [{"name": "own", "templateSpec": {"spec": spec}}]
    template["resourceSharing"] = [{"name": "own", "scope": "AllReplicas"}]
    await here.apply(obj)
    await here.run(here.set, here.replica, here.group)
    versions = {}
    for plural, (resource, _labels) in caches.WATCHED.items():
        served = here.ctx.stores.of(resource).served
        if resource.namespaced and served and plural not in ("pods", "podcliquesets"):
            for obj in (await here.client.list(resource, here.namespace)).items:
                versions[plural, obj["metadata"]["name"]] = obj["metadata"]["resourceVersion"]
    assert len(versions) >= 4 + 1 + 5 + 1 + 1
    await here.run(here.set, here.replica, here.group)
    for (plural, name), version in versions.items():
        live = await here.client.get(caches.WATCHED[plural][0], name, here.namespace)
        assert live["metadata"]["resourceVersion"] == version, (plural, name)


async def test_a_clique_is_written_whole_and_only_as_it_was_read(here: Worker) -> None:
    before = here.podset()
    before["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["nodeSelector"] = {"gpu": "h100"}
    await here.apply(before)
    await here.run(here.set, here.replica)
    stale = await here.client.get(resources.PODCLIQUES, FRONT, here.namespace)
    scaled = await here.client.patch(
        resources.PODCLIQUES, FRONT, here.namespace, {"spec": {"replicas": 5}}, type="merge"
    )
    operations = children.replaced(stale, {**stale, "spec": {**stale["spec"], "replicas": 1}})
    with pytest.raises(errors.Conflict):
        await here.client.patch(resources.PODCLIQUES, FRONT, here.namespace, operations, type="json")
    await here.seen(resources.PODCLIQUES, scaled)
    await here.apply(here.podset())
    await here.run(here.replica)
    live = await here.client.get(resources.PODCLIQUES, FRONT, here.namespace)
    assert live["spec"]["replicas"] == 5
    assert "nodeSelector" not in live["spec"]["podSpec"]
    assert live["status"]["observedGeneration"] == -1


async def test_a_shared_object_is_put_right_by_applying_it(here: Worker) -> None:
    await here.apply(here.podset())
    await here.run(here.set)
    (role,) = await names_of(here, resources.ROLES)
    broken = await here.client.patch(resources.ROLES, role, here.namespace, {"rules": []}, type="merge")
    await here.seen(resources.ROLES, broken)
    await here.run(here.set)
    live = await here.client.get(resources.ROLES, role, here.namespace)
    assert live["rules"][0]["verbs"] == ["get", "list", "watch"]


async def test_without_the_webhook_no_pod_is_kept(here: Worker) -> None:
    await here.apply(here.podset())
    await here.run(here.set, here.replica, here.clique, here.clique)
    assert await names_of(here, resources.PODS) == []
    clique = await here.client.get(resources.PODCLIQUES, FRONT, here.namespace)
    found = world.condition(clique, "WebhookMissing")
    assert found is not None
    assert found["reason"] == "NotInjected"


async def test_what_has_changed_since_is_not_swept(here: Worker) -> None:
    await here.apply(here.podset())
    await here.run(here.set, here.replica)
    stale = await here.client.get(resources.PODCLIQUES, FRONT, here.namespace)
    body = {"metadata": {"ownerReferences": None}}
    await here.client.patch(resources.PODCLIQUES, FRONT, here.namespace, body, type="merge")
    with pytest.raises(errors.Conflict):
        await children.delete_unchanged(here.ctx, resources.PODCLIQUES, stale)
    assert FRONT in await names_of(here, resources.PODCLIQUES)


async def test_a_deleted_set_leaves_no_clique_and_no_group(here: Worker) -> None:
    await here.apply(here.podset())
    await here.run(here.set, here.replica, here.group)
    await here.client.delete(resources.PODCLIQUESETS, "demo", here.namespace)
    (gone,) = [obj for obj in here.ctx.stores.clique_sets.all() if obj["metadata"]["namespace"] == here.namespace]
    here.ctx.stores.clique_sets.observe_deleted(gone)
    for _ in range(20):
        try:
            await here.run(here.set)
            break
        except errors.Conflict:  # the collector of the cluster is at work, too
            continue
    assert await names_of(here, resources.SCALINGGROUPS) == []
    assert FRONT not in await names_of(here, resources.PODCLIQUES)
