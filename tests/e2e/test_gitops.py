"""What Argo CD and Flux do all day: apply the same manifest again, look for drift, scale beside Git, delete."""

import copy
from typing import Any

import pytest

from tests.e2e import statuses
from tests.e2e.world import Object, World

APPLY = "application/apply-patch+yaml"
MARKS = {
    "labels": {
        "app.kubernetes.io/instance": "my-app",
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "helm.toolkit.fluxcd.io/name": "release",
    },
    "annotations": {
        "argocd.argoproj.io/tracking-id": "my-app:grove.io/PodGangSet:x/w",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    },
}
CHILDREN = (
    ("podcliques", "/apis/grove.io/v1alpha1"),
    ("podcliquescalinggroups", "/apis/grove.io/v1alpha1"),
    ("podgangs", "/apis/scheduler.grove.io/v1alpha1"),
    ("pods", "/api/v1"),
    ("services", "/api/v1"),
    ("serviceaccounts", "/api/v1"),
    ("secrets", "/api/v1"),
    ("roles", "/apis/rbac.authorization.k8s.io/v1"),
    ("rolebindings", "/apis/rbac.authorization.k8s.io/v1"),
)


def sync(world: World, obj: Object, manager: str, *, dry_run: bool = False) -> Object:
    """Apply as a Git tool does: server-side, with force."""
    query = f"fieldManager={manager}&force=true" + ("&dryRun=All" if dry_run else "")
    return world.request("PATCH", f"{world.path('podgangsets', obj['metadata']['name'])}?{query}", obj, APPLY)


def rest(world: World) -> Object:
    """Return the set once its status tells of all its replicas and has not changed for two seconds."""
    seen: list[str] = []

    def quiet() -> bool:
        found = world.get_set("w")
        seen.append(found["metadata"]["resourceVersion"])
        return told(found) and len(seen) > 20 and len(set(seen[-20:])) == 1

    world.wait(quiet, "the set to come to rest", 40)
    return world.get_set("w")


def told(found: Object) -> bool:
    """Return whether the status has caught up with the spec, and all replicas are up."""
    counts = {statuses.of(found).get(field) for field in ("replicas", "availableReplicas", "updatedReplicas")}
    return statuses.is_observed(found) and counts == {found["spec"]["replicas"]}


def drift(planned: Object, live: Object) -> list[str]:
    """Return what Flux compares: everything but metadata and status, and labels and annotations."""
    parts = {key: (planned.get(key), live.get(key)) for key in {*planned, *live} - {"metadata", "status"}}
    for field in ("labels", "annotations"):
        parts[field] = planned["metadata"].get(field), live["metadata"].get(field)
    return [key for key, (wanted, found) in parts.items() if wanted != found]


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["argocd-controller", "kustomize-controller"])
def test_the_same_manifest_applied_again_changes_nothing_and_a_scale_beside_git_stays(
    world: World, manager: str
) -> None:
    world.add_nodes(10)
    obj = world.set([world.clique("pc-a", 1)])
    del obj["spec"]["replicas"]
    del obj["spec"]["template"]["cliques"][0]["spec"]["minAvailable"]
    sync(world, obj, manager, dry_run=True)
    sync(world, obj, manager)
    world.wait_pods(1, 1)
    before = rest(world)
    for _ in range(3):
        assert drift(sync(world, obj, manager, dry_run=True), before) == []
        sync(world, obj, manager)
    after = rest(world)
    for field in ("resourceVersion", "generation"):
        assert after["metadata"][field] == before["metadata"][field]
    owned = next(entry for entry in after["metadata"]["managedFields"] if entry["manager"] == manager)
    assert "f:replicas" not in owned["fieldsV1"]["f:spec"]
    assert "f:terminationDelay" in owned["fieldsV1"]["f:spec"]["f:template"]

    world.scale("podgangsets", "w", 3)
    world.wait_pods(3, 3)
    sync(world, obj, manager)
    world.stays(lambda: world.get_set("w")["spec"]["replicas"] == 3, "the scale beside Git")
    assert drift(sync(world, obj, manager, dry_run=True), rest(world)) == []


def test_children_carry_no_marks_of_git_tools_and_an_unbroken_chain_of_owners(world: World) -> None:
    world.add_nodes(10)
    obj = world.wl1(cliqueStartupType="CliqueStartupTypeInOrder")
    obj["metadata"] |= copy.deepcopy(MARKS)
    sync(world, obj, "argocd-controller")
    world.wait_pods(10, 10, 60)
    found: dict[str, list[Any]] = {}

    def all_there() -> bool:
        found.update({plural: _ours(world, plural, group) for plural, group in CHILDREN})
        return all(found.values())

    world.wait(all_there, "children of every kind")
    for items in found.values():
        for item in items:
            metadata = item["metadata"]
            assert not MARKS["labels"].keys() & (metadata.get("labels") or {}).keys(), item
            assert not MARKS["annotations"].keys() & (metadata.get("annotations") or {}).keys(), item
    known = {item["metadata"]["uid"]: item for items in found.values() for item in items}
    top = world.get_set("w")["metadata"]["uid"]
    for item in known.values():
        node, steps = item, 0
        while steps < 4:
            owner = next(ref for ref in node["metadata"]["ownerReferences"] if ref.get("controller"))
            steps += 1
            if owner["uid"] == top:
                break
            node = known[owner["uid"]]
        else:
            raise AssertionError(f"{item['metadata']['name']} does not lead to the set")


def _ours(world: World, plural: str, group: str) -> list[Any]:
    listed = world.request("GET", world.path(plural, group=group))["items"]
    return [item for item in listed if (item["metadata"].get("labels") or {}).get("app.kubernetes.io/part-of") == "w"]
