"""What our code relies on in an API server, on the embedded one and on the real one."""

import asyncio
import contextlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, informer, resources, store
from grovekeeper.kube.http import HttpClient
from tests.contract.conftest import PATIENCE

CONFIG_MAPS = resources.Resource("", "v1", "configmaps", "ConfigMap")


def config_map(namespace: str, name: str = "one", **more: Any) -> raw.Object:
    metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **more}


def podset(namespace: str, name: str = "demo", **spec: Any) -> raw.Object:
    container = {"name": "c", "image": "i"}
    cliques = [{"name": "a", "spec": {"roleName": "a", "podSpec": {"containers": [container]}}}]
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.PODGANGSET,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"cliques": cliques}, **spec},
    }


def pod(namespace: str, name: str = "p", **spec: Any) -> raw.Object:
    body = {"containers": [{"name": "c", "image": "i"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": body}


async def test_objects_are_created_once_read_changed_and_deleted(client: HttpClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map(namespace, data={"a": "1"}))
    assert {"uid", "resourceVersion", "creationTimestamp"} <= made["metadata"].keys()
    with pytest.raises(errors.AlreadyExists):
        await client.create(CONFIG_MAPS, config_map(namespace))
    made["data"]["a"] = "2"
    changed = await client.replace(CONFIG_MAPS, made)
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    with pytest.raises(errors.Conflict):
        await client.replace(CONFIG_MAPS, made)
    await client.delete(CONFIG_MAPS, "one", namespace, uid=made["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await client.get(CONFIG_MAPS, "one", namespace)


async def test_a_delete_with_another_uid_or_version_is_a_conflict(client: HttpClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map(namespace))
    with pytest.raises(errors.Conflict):
        await client.delete(CONFIG_MAPS, "one", namespace, uid="another")
    with pytest.raises(errors.Conflict):
        await client.delete(CONFIG_MAPS, "one", namespace, uid=made["metadata"]["uid"], version="1")
    assert await client.get(CONFIG_MAPS, "one", namespace)


async def test_a_finalizer_keeps_an_object_until_it_is_removed(client: HttpClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map(namespace, metadata={"finalizers": ["example.com/wait"]}))
    await client.delete(CONFIG_MAPS, "one", namespace)
    going = await client.get(CONFIG_MAPS, "one", namespace)
    assert going["metadata"]["deletionTimestamp"]
    await client.patch(CONFIG_MAPS, "one", namespace, {"metadata": {"finalizers": None}}, type="merge")
    with pytest.raises(errors.NotFound):
        await client.get(CONFIG_MAPS, "one", namespace)


async def test_a_dry_run_answers_and_stores_nothing(client: HttpClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map(namespace), dry_run=True)
    assert made["metadata"]["name"] == "one"
    with pytest.raises(errors.NotFound):
        await client.get(CONFIG_MAPS, "one", namespace)
    await client.create(CONFIG_MAPS, config_map(namespace, metadata={"finalizers": ["example.com/wait"]}))
    await client.delete(CONFIG_MAPS, "one", namespace)
    going = await client.get(CONFIG_MAPS, "one", namespace)
    going["metadata"].pop("finalizers")
    await client.replace(CONFIG_MAPS, going, dry_run=True)
    assert (await client.get(CONFIG_MAPS, "one", namespace))["metadata"]["finalizers"]


async def test_apply_owns_fields_gives_them_up_and_meets_others(client: HttpClient, namespace: str) -> None:
    first = config_map(namespace, data={"a": "1", "b": "1"})
    await client.apply(CONFIG_MAPS, first, manager="one")
    await client.apply(CONFIG_MAPS, config_map(namespace, data={"c": "1"}), manager="two")
    with pytest.raises(errors.ApplyConflict) as caught:
        await client.apply(CONFIG_MAPS, config_map(namespace, data={"a": "2"}), manager="two", force=False)
    assert caught.value.fields == [".data.a"]
    await client.apply(CONFIG_MAPS, config_map(namespace, data={"b": "1"}), manager="one")
    found = await client.get(CONFIG_MAPS, "one", namespace)
    assert found["data"] == {"b": "1", "c": "1"}
    same = await client.apply(CONFIG_MAPS, config_map(namespace, data={"b": "1"}), manager="one")
    stale = config_map(namespace, data={"b": "2"})
    stale["metadata"]["resourceVersion"] = "1"
    with pytest.raises(errors.Conflict):
        await client.apply(CONFIG_MAPS, stale, manager="one")
    assert same["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"], "a no-op writes nothing"


async def test_apply_merges_lists_by_key_and_takes_entries_back(client: HttpClient, namespace: str) -> None:
    obj = podset(namespace)
    container = obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    await client.apply(resources.PODGANGSETS, obj, manager="git")
    container["env"] = [{"name": "B", "value": "3"}]
    await client.apply(resources.PODGANGSETS, obj, manager="git")
    assert await _env(client, namespace) == [{"name": "B", "value": "3"}]
    del container["env"]
    await client.apply(resources.PODGANGSETS, obj, manager="git")
    assert not await _env(client, namespace)


async def _env(client: HttpClient, namespace: str) -> list[raw.Object] | None:
    found = await client.get(resources.PODGANGSETS, "demo", namespace)
    listed: list[raw.Object] | None = found["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["containers"][0].get(
        "env"
    )
    return listed


async def test_our_kinds_are_validated_defaulted_and_pruned(client: HttpClient, namespace: str) -> None:
    made = await client.create(resources.PODGANGSETS, podset(namespace))
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["template"]["cliqueStartupType"] == "CliqueStartupTypeAnyOrder"
    assert made["metadata"]["generation"] == 1
    unknown = podset(namespace, "pruned")
    unknown["spec"]["template"]["surprise"] = True
    stored = await client.create(resources.PODGANGSETS, unknown)
    assert "surprise" not in stored["spec"]["template"]
    for path, bad in (
        ("spec.replicas", podset(namespace, "bad", replicas=-1)),
        ("spec.template.cliqueStartupType", _with_template(podset(namespace, "bad"), cliqueStartupType="Sometime")),
        ("spec.template.topologyConstraint", _with_template(podset(namespace, "bad"), topologyConstraint={})),
    ):
        with pytest.raises(errors.Invalid) as caught:
            await client.create(resources.PODGANGSETS, bad)
        assert any(field.startswith(path) for field, _ in caught.value.causes), caught.value.causes


async def test_all_annotations_of_an_object_together_have_a_limit(client: HttpClient, namespace: str) -> None:
    most = 262_144
    fits = podset(namespace, "fits")
    fits["metadata"]["annotations"] = {"a": "x" * (most // 2), "b": "x" * (most // 2 - 2)}
    await client.create(resources.PODGANGSETS, fits, dry_run=True)
    fits["metadata"]["annotations"]["b"] += "x"
    with pytest.raises(errors.Invalid) as caught:
        await client.create(resources.PODGANGSETS, fits, dry_run=True)
    assert caught.value.causes[0][0] == "metadata.annotations"


def _with_template(obj: raw.Object, **more: Any) -> raw.Object:
    obj["spec"]["template"].update(more)
    return obj


async def test_status_and_spec_are_written_apart(client: HttpClient, namespace: str) -> None:
    made = await client.create(resources.PODGANGSETS, {**podset(namespace), "status": {"replicas": 7}})
    assert (made.get("status") or {}).get("replicas", 0) == 0
    body = {"spec": {"replicas": 5}, "status": {"replicas": 3}}
    changed = await client.patch(resources.PODGANGSETS, "demo", namespace, body, type="merge", subresource="status")
    assert (changed["spec"]["replicas"], changed["status"]["replicas"]) == (1, 3)
    assert changed["metadata"]["generation"] == 1
    changed = await client.patch(resources.PODGANGSETS, "demo", namespace, body, type="merge")
    assert (changed["spec"]["replicas"], changed["status"]["replicas"]) == (5, 3)
    assert changed["metadata"]["generation"] == 2


async def test_scale_reads_and_writes_replicas(client: HttpClient, namespace: str) -> None:
    await client.create(resources.PODGANGSETS, podset(namespace))
    status = {"status": {"replicas": 2, "hpaPodSelector": "a=b"}}
    await client.patch(resources.PODGANGSETS, "demo", namespace, status, type="merge", subresource="status")
    body = {"spec": {"replicas": 4}}
    scale = await client.patch(resources.PODGANGSETS, "demo", namespace, body, type="merge", subresource="scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 4)
    assert scale["status"] == {"replicas": 2, "selector": "a=b"}
    assert (await client.get(resources.PODGANGSETS, "demo", namespace))["spec"]["replicas"] == 4
    metadata = {"name": "demo", "namespace": namespace}
    applied = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": 5}}
    with pytest.raises(errors.Unavailable, match="500 failed to convert new object"):
        await client.apply(resources.PODGANGSETS, applied, manager="scaler", subresource="scale")
    assert (await client.get(resources.PODGANGSETS, "demo", namespace))["spec"]["replicas"] == 4


async def test_a_json_patch_is_all_or_nothing(client: HttpClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map(namespace, data={"a": "1"}))
    operations = [{"op": "replace", "path": "/data/a", "value": "2"}, {"op": "test", "path": "/data/a", "value": "9"}]
    with pytest.raises(errors.KubeError) as caught:
        await client.patch(CONFIG_MAPS, "one", namespace, operations, type="json")
    assert isinstance(caught.value, errors.Invalid | errors.BadRequest)
    assert (await client.get(CONFIG_MAPS, "one", namespace))["data"] == {"a": "1"}
    wrong = [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}, operations[0]]
    with pytest.raises(errors.Conflict):
        await client.patch(CONFIG_MAPS, "one", namespace, wrong, type="json")


async def test_lists_select_and_come_in_pages(client: HttpClient, namespace: str) -> None:
    for number in range(7):
        labels = {"labels": {"odd": str(number % 2)}}
        await client.create(CONFIG_MAPS, config_map(namespace, f"m{number}", metadata=labels))
    odd = await client.list(CONFIG_MAPS, namespace, labels="odd=1")
    assert [item["metadata"]["name"] for item in odd.items] == ["m1", "m3", "m5"]
    one = await client.list(CONFIG_MAPS, namespace, fields="metadata.name=m2")
    assert [item["metadata"]["name"] for item in one.items] == ["m2"]
    path = f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=odd%3D0&limit=3"
    first = await client._wire.call("GET", CONFIG_MAPS, path)
    assert len(first["items"]) == 3
    rest = await client._wire.call("GET", CONFIG_MAPS, f"{path}&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["m6"]
    assert not rest["metadata"].get("continue")


async def test_a_watch_goes_on_from_a_version_and_selects(client: HttpClient, namespace: str) -> None:
    start = (await client.list(CONFIG_MAPS, namespace)).resource_version
    await client.create(CONFIG_MAPS, config_map(namespace, metadata={"labels": {"k": "1"}}))
    await client.patch(CONFIG_MAPS, "one", namespace, {"data": {"a": "1"}}, type="merge")
    await client.patch(CONFIG_MAPS, "one", namespace, {"metadata": {"labels": {"k": "2"}}}, type="merge")
    await client.delete(CONFIG_MAPS, "one", namespace)
    seen = await _take(client.watch(CONFIG_MAPS, namespace, resource_version=start), 4)
    assert seen == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    selected = client.watch(CONFIG_MAPS, namespace, resource_version=start, labels="k=1")
    assert await _take(selected, 3) == ["ADDED", "MODIFIED", "DELETED"], "what leaves the selection is gone for it"


async def _take(watch: AsyncGenerator[Any, None], count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(10 * PATIENCE), contextlib.aclosing(watch) as events:
        async for event in events:
            if event.type != "BOOKMARK":
                found.append(event.type)
            if len(found) == count:
                break
    return found


async def test_an_informer_follows_and_hears_of_each_change_once(client: HttpClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map(namespace, "before", metadata={"labels": {"mine": namespace}}))
    heard: list[tuple[str | None, str | None]] = []

    def note(old: raw.Object | None, new: raw.Object | None) -> None:
        heard.append((old and old["metadata"]["name"], new and new["metadata"]["name"]))

    follower = informer.Informer(client, CONFIG_MAPS, labels=f"mine={namespace}", on_event=note)
    task = asyncio.create_task(follower.run())
    try:
        async with asyncio.timeout(10 * PATIENCE):
            await follower.synced.wait()
            made = await client.create(
                CONFIG_MAPS, config_map(namespace, "late", metadata={"labels": {"mine": namespace}})
            )
            assert await follower.store.reached(store.version_of(made), 5 * PATIENCE)
            await client.delete(CONFIG_MAPS, "before", namespace)
            while follower.store.get(namespace, "before") is not None:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert heard == [(None, "before"), (None, "late"), ("before", None)]


async def test_a_gated_pod_has_no_node_until_its_gate_goes_for_good(client: HttpClient, namespace: str) -> None:
    await client.create(resources.PODS, pod(namespace, schedulingGates=[{"name": "example.com/gate"}]))
    target: raw.Object = {"apiVersion": "v1", "kind": "Node", "name": "n"}
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p", "namespace": namespace},
        "target": target,
    }
    with pytest.raises(errors.KubeError):
        await client.create_sub(resources.PODS, "p", namespace, "binding", binding)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    operations = [
        {"op": "add", "path": "/spec/affinity", "value": {"nodeAffinity": required}},
        {"op": "remove", "path": "/spec/schedulingGates"},
    ]
    released = await client.patch(resources.PODS, "p", namespace, operations, type="json")
    assert not released["spec"].get("schedulingGates")
    again = [{"op": "add", "path": "/spec/schedulingGates", "value": [{"name": "example.com/gate"}]}]
    with pytest.raises(errors.Invalid):
        await client.patch(resources.PODS, "p", namespace, again, type="json")
    wider = [{"op": "remove", "path": "/spec/affinity"}]
    with pytest.raises(errors.Invalid):
        await client.patch(resources.PODS, "p", namespace, wider, type="json")
    await client.create_sub(resources.PODS, "p", namespace, "binding", binding)
    assert (await client.get(resources.PODS, "p", namespace))["spec"]["nodeName"] == "n"


async def test_a_nomination_is_written_through_status(client: HttpClient, namespace: str) -> None:
    await client.create(resources.PODS, pod(namespace, schedulingGates=[{"name": "example.com/gate"}]))
    body = {"status": {"nominatedNodeName": "n7"}}
    found = await client.patch(resources.PODS, "p", namespace, body, type="merge", subresource="status")
    assert found["status"]["nominatedNodeName"] == "n7"


async def test_an_eviction_honours_budgets(client: HttpClient, namespace: str) -> None:
    budgets = resources.Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
    metadata = {"name": "b", "namespace": namespace}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}
    for name in ("p", "q"):
        one = pod(namespace, name, nodeName="n")
        one["metadata"]["labels"] = {"app": "x"}
        await client.create(resources.PODS, one)
        status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        await client.patch(resources.PODS, name, namespace, status, type="merge", subresource="status")
    await client.create(budgets, body)
    async with asyncio.timeout(20 * PATIENCE):
        while True:
            try:
                await client.evict("p", namespace)
                break
            except errors.Throttled:  # the disruption controller has not counted yet
                await asyncio.sleep(0.05)
    with pytest.raises(errors.Throttled):
        await client.evict("q", namespace)
    await client.delete(budgets, "b", namespace)
    with pytest.raises(errors.Conflict):
        await client.evict("q", namespace, uid="another")
    uid = (await client.get(resources.PODS, "q", namespace))["metadata"]["uid"]
    await client.evict("q", namespace, uid=uid)


async def test_the_dry_run_of_an_eviction_stands_in_its_body_and_evicts_nobody(
    client: HttpClient, namespace: str
) -> None:
    await client.create(resources.PODS, pod(namespace, nodeName="n"))
    await client.evict("p", namespace, dry_run=True)
    assert "deletionTimestamp" not in (await client.get(resources.PODS, "p", namespace))["metadata"]


async def test_children_go_with_their_owner(client: HttpClient, namespace: str) -> None:
    owner = await client.create(CONFIG_MAPS, config_map(namespace, "owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await client.create(CONFIG_MAPS, config_map(namespace, "child", metadata={"ownerReferences": [reference]}))
    await client.delete(CONFIG_MAPS, "owner", namespace, propagation="Background")
    async with asyncio.timeout(20 * PATIENCE):
        while True:
            try:
                await client.get(CONFIG_MAPS, "child", namespace)
            except errors.NotFound:
                break
            await asyncio.sleep(0.05)


async def test_discovery_tells_which_kinds_there_are(client: HttpClient) -> None:
    assert await client.has(resources.PODGANGSETS)
    assert not await client.has(resources.Resource("nowhere.example.com", "v1", "things", "Thing"))


@pytest.mark.parametrize(("validation", "code"), [("Warn", 201), ("", 201), ("Ignore", 201), ("Strict", 400)])
async def test_unknown_fields_are_warned_of_or_refused_as_the_client_asks(
    server: Any, namespace: str, validation: str, code: int
) -> None:
    obj = podset(namespace, f"u-{validation.lower() or 'default'}", replica=3)
    query = f"?fieldValidation={validation}" if validation else ""
    path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/podgangsets{query}"
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(obj).encode(), method="POST")
    request.add_header("Authorization", f"Bearer {server.token}")
    request.add_header("Content-Type", "application/json")
    context = ssl.create_default_context(cafile=str(server.ca_file))
    try:
        answer = urllib.request.urlopen(request, timeout=10 * PATIENCE, context=context)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        said = answer.headers.get("Warning") or ""
        body = json.loads(answer.read())
    assert answer.status == code
    assert said == (r'299 - "unknown field \"spec.replica\""' if validation in ("Warn", "") else "")
    if code == 400:
        assert 'unknown field "spec.replica"' in body["message"]
    else:
        assert "replica" not in body["spec"]
        # kstatus takes a set that nobody has looked at for one in progress, not for one that is done.
        assert body["status"]["observedGeneration"] == -1
