"""Grove's scenario RS1: ResourceClaims at three levels, followed through all ways of scaling."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from tests.devices import published
from tests.e2e import statuses
from tests.e2e.world import MERGE, Object, World, is_ready, refused, uids

DRA = "/apis/resource.k8s.io/v1"
_GROVE = "grove.io/"
_EVERY_CLAIM = {
    "app.kubernetes.io/managed-by": "grove-operator",
    "app.kubernetes.io/part-of": "rs-test",
    "app.kubernetes.io/component": "resource-claim",
}


@pytest.fixture
def device_class(world: World) -> Iterator[str]:
    with published.devices(world.cluster, world.namespace) as found:
        yield found


def template(world: World, device_class: str, name: str, namespace: str) -> None:
    body = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name},
        "spec": {"spec": published.claim_spec(device_class, name)},
    }
    world.post(f"{DRA}/namespaces/{namespace}/resourceclaimtemplates", body)


@contextlib.contextmanager
def foreign_namespace(world: World) -> Iterator[str]:
    name = f"{world.namespace}-infra"
    world.add_namespace(name)
    try:
        yield name
    finally:
        world.request("DELETE", f"/api/v1/namespaces/{name}")


def share(name: str, scope: str, **more: Any) -> Object:
    return {"name": name, "scope": scope, **more}


def sharing_set(world: World, device_class: str, foreign: str) -> Object:
    """Clique worker-a alone, group sga of two worker-b; eight templates of the set's own and two objects."""
    one, other = world.clique("worker-a", 1), world.clique("worker-b", 1)
    one["resourceSharing"] = [share("a-all", "AllReplicas"), share("a-pod", "PerReplica")]
    other["resourceSharing"] = [share("b-all", "AllReplicas")]
    own = ("set-all", "set-each", "set-a", "sga-all", "sga-each", "a-all", "a-pod", "b-all")
    obj = world.set(
        [one, other],
        [
            {
                "name": "sga",
                "cliqueNames": ["worker-b"],
                "replicas": 2,
                "minAvailable": 1,
                "resourceSharing": [
                    share("sga-all", "AllReplicas", filter={"childCliqueNames": ["worker-b"]}),
                    share("here", "AllReplicas"),
                    share("sga-each", "PerReplica"),
                ],
            }
        ],
        resourceClaimTemplates=[
            {"name": name, "templateSpec": {"spec": published.claim_spec(device_class, name)}} for name in own
        ],
        resourceSharing=[
            share("set-all", "AllReplicas"),
            share("there", "AllReplicas", namespace=foreign, filter={"childScalingGroupNames": ["sga"]}),
            share("set-each", "PerReplica"),
            share("set-a", "PerReplica", filter={"childCliqueNames": ["worker-a"]}),
        ],
    )
    return {**obj, "kind": "PodCliqueSet", "metadata": {"name": "rs-test", "namespace": world.namespace}}


def claims(world: World) -> list[Object]:
    return list(world.request("GET", world.path("resourceclaims", group=DRA))["items"])


class Claim(NamedTuple):
    """What a claim is of: who owns it, which labels say so, and which template its spec is from."""

    owner: str
    labels: dict[str, str]
    template: str


def wanted(sizes: Sequence[tuple[int, int]]) -> dict[str, Claim]:
    """Return all claims of a set; `sizes` has the pods of worker-a and the replicas of sga of each set replica."""
    result: dict[str, Claim] = {}

    def add(level: str, template: str, of: int | None, index_label: str = "", **marks: str) -> None:
        kind, _, owner = level.partition("/")
        mine = {_GROVE + key: value for key, value in marks.items()}
        if of is not None:
            mine[_GROVE + index_label] = str(of)
        name = f"{owner}-{'all' if of is None else of}-{template}"
        result[name] = Claim(f"{kind}/{owner}", {**_EVERY_CLAIM, **mine}, template)

    for template in ("set-all", "there"):
        add("PodCliqueSet/rs-test", template, None)
    for replica, (pods, group_replicas) in enumerate(sizes):
        for template in ("set-each", "set-a"):
            add("PodCliqueSet/rs-test", template, replica, "podcliqueset-replica-index")
        clique = f"rs-test-{replica}-worker-a"
        add(f"PodClique/{clique}", "a-all", None, podclique=clique)
        for index in range(pods):
            add(f"PodClique/{clique}", "a-pod", index, "podclique-pod-index", podclique=clique)
        group = f"rs-test-{replica}-sga"
        for template in ("sga-all", "here"):
            add(f"PodCliqueScalingGroup/{group}", template, None, podcliquescalinggroup=group)
        for index in range(group_replicas):
            level, label = f"PodCliqueScalingGroup/{group}", "podcliquescalinggroup-replica-index"
            add(level, "sga-each", index, label, podcliquescalinggroup=group)
            clique = f"{group}-{index}-worker-b"
            add(f"PodClique/{clique}", "b-all", None, podclique=clique)
    return result


def found(world: World) -> dict[str, Claim]:
    """Return what the claims that are there say of themselves."""
    result = {}
    for claim in claims(world):
        metadata = claim["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert owner["controller"] is True
        (request,) = claim["spec"]["devices"]["requests"]
        result[metadata["name"]] = Claim(f"{owner['kind']}/{owner['name']}", metadata["labels"], request["name"])
    return result


def reserved(world: World) -> dict[str, set[str]]:
    """Return which pods each claim is reserved for."""
    return {
        claim["metadata"]["name"]: {pod["name"] for pod in statuses.of(claim).get("reservedFor") or ()}
        for claim in claims(world)
    }


def named_by(world: World) -> dict[str, set[str]]:
    """Return which pods name each claim."""
    result: dict[str, set[str]] = {}
    for pod in world.pods():
        for claim in named(pod):
            result.setdefault(claim, set()).add(pod["metadata"]["name"])
    return result


def wait_for(world: World, claim_count: int, pod_count: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Wait for these numbers of claims and running pods, each claim as its level makes it and with its pods' name."""
    want = wanted(sizes)
    assert len(want) == claim_count
    world.wait_pods(pod_count, pod_count, 60)
    names = {claim["metadata"]["name"] for claim in claims(world)}
    world.wait(
        lambda: found(world) == want, f"claims, of which there are {sorted(names ^ want.keys())} more or less", 40
    )
    world.wait(lambda: reserved(world) == named_by(world), "every claim to be reserved for the pods that name it", 40)
    check_references(world)


def named(pod: Object) -> list[str]:
    return [entry["resourceClaimName"] for entry in pod["spec"]["resourceClaims"]]


def of_worker_a(replica: int, index: int) -> list[str]:
    """Return the claims that a pod of worker-a names: all of the set but those for sga, then its clique's."""
    mine = [f"rs-test-{replica}-worker-a-all-a-all", f"rs-test-{replica}-worker-a-{index}-a-pod"]
    return ["rs-test-all-set-all", f"rs-test-{replica}-set-each", f"rs-test-{replica}-set-a", *mine]


def of_worker_b(replica: int, index: int) -> list[str]:
    """Return the claims that a pod of worker-b in this replica of sga names."""
    group = f"rs-test-{replica}-sga"
    mine = [f"{group}-all-sga-all", f"{group}-all-here", f"{group}-{index}-sga-each"]
    set_ = ["rs-test-all-set-all", "rs-test-all-there", f"rs-test-{replica}-set-each"]
    return [*set_, *mine, f"{group}-{index}-worker-b-all-b-all"]


def check_references(world: World) -> None:
    """Every pod names exactly its claims, in every container."""
    for pod in world.pods():
        host = pod["spec"]["hostname"]
        parts = host.split("-")
        replica, number = int(parts[2]), int(parts[5 if "worker-a" in host else 4])
        want = of_worker_a(replica, number) if "worker-a" in host else of_worker_b(replica, number)
        assert named(pod) == want, host
        for container in pod["spec"]["containers"]:
            assert [entry["name"] for entry in container["resources"]["claims"]] == [
                entry["name"] for entry in pod["spec"]["resourceClaims"]
            ]


@pytest.mark.slow
def test_rs1_claims_of_all_levels_follow_the_set_its_group_and_its_clique(world: World, device_class: str) -> None:
    world.add_nodes(10)
    with foreign_namespace(world) as foreign:
        template(world, device_class, "here", world.namespace)
        template(world, device_class, "there", foreign)
        obj = sharing_set(world, device_class, foreign)
        world.apply(obj)
        wait_for(world, 12, 3, [(1, 2)])
        for plural, name, count, want in (
            ("podcliquescalinggroups", "rs-test-0-sga", 1, (10, 2, [(1, 1)])),
            ("podcliquescalinggroups", "rs-test-0-sga", 3, (14, 4, [(1, 3)])),
            ("podcliques", "rs-test-0-worker-a", 2, (15, 5, [(2, 3)])),
            ("podcliques", "rs-test-0-worker-a", 1, (14, 4, [(1, 3)])),
            ("podcliquesets", "rs-test", 2, (24, 7, [(1, 3), (1, 2)])),
            ("podcliquesets", "rs-test", 1, (14, 4, [(1, 3)])),
        ):
            world.scale(plural, name, count)
            wait_for(world, *want)
        shared = [{"op": "add", "path": "/spec/template/resourceSharing/0/scope", "value": "PerReplica"}]
        path = world.path("podcliquesets", "rs-test")
        code, text = refused(lambda: world.request("PATCH", path, shared, "application/json-patch+json"))
        assert code == 403
        assert "spec.template.resourceSharing" in text
        assert "create a set under another name" in text
        world.request("DELETE", path)
        world.wait(lambda: not claims(world) and not world.pods(), "everything to go", 60)


def test_a_set_waits_for_a_claim_template_and_says_which(world: World, device_class: str) -> None:
    world.add_nodes(4)
    obj = world.set([world.clique("a", 2)], resourceSharing=[share("later", "AllReplicas")])
    world.apply(obj)

    def stalled() -> str:
        return statuses.message(world.get_set("w"), "Stalled")

    world.wait(lambda: f"ResourceClaimTemplate {world.namespace}/later does not exist" in stalled(), "the word")
    assert world.pods() == []
    template(world, device_class, "later", world.namespace)
    world.wait_pods(2, 2, 20)
    world.wait(lambda: not stalled(), "the word to go")


@pytest.mark.slow
def test_a_shared_claim_deleted_by_hand_comes_back_and_outlives_its_pods_never(world: World, device_class: str) -> None:
    """The scheduler's protection keeps a claim while pods use it; ours comes back when they are gone."""
    world.add_nodes(4)
    obj = world.set(
        [world.clique("a", 2)],
        resourceClaimTemplates=[{"name": "x", "templateSpec": {"spec": published.claim_spec(device_class)}}],
        resourceSharing=[share("x", "PerReplica")],
    )
    world.apply(obj)
    world.wait_pods(2, 2, 40)
    path = world.path("resourceclaims", "w-0-x", DRA)
    old = world.request("GET", path)["metadata"]["uid"]
    world.request("DELETE", path)
    assert world.request("GET", path)["metadata"]["uid"] == old, "pods use it"
    for pod in world.pods():
        world.delete_pod(pod["metadata"]["name"])

    def again() -> bool:
        found = claims(world)
        return len(found) == 1 and found[0]["metadata"]["uid"] != old

    world.wait(again, "the claim to be made again", 60)
    world.wait_pods(2, 2, 60)
    world.request("PATCH", world.path("podgangsets", "w"), {"spec": {"replicas": 0}}, MERGE)
    world.wait(lambda: not claims(world) and not world.pods(), "claims and pods to go", 40)


@pytest.mark.slow
def test_scaled_gangs_wait_for_the_base_gangs_nodes_and_not_for_its_readiness(world: World, device_class: str) -> None:
    """A device may need all of its pods on nodes before any is ready: waiting for readiness would be a deadlock."""
    world.add_nodes(4)
    slow = {"embedded.grovekeeper.io/ready-after": "300s"}
    obj = world.set(
        [world.clique("pc-a", 1, annotations=slow), world.clique("pc-b", 1, annotations=slow)],
        [
            {
                "name": "sg",
                "cliqueNames": ["pc-b"],
                "replicas": 3,
                "minAvailable": 1,
                "resourceSharing": [share("x", "AllReplicas")],
            }
        ],
        resourceClaimTemplates=[{"name": "x", "templateSpec": {"spec": published.claim_spec(device_class)}}],
        resourceSharing=[share("x", "AllReplicas")],
    )
    world.apply(obj)
    world.wait(lambda: len([p for p in world.pods() if p["spec"].get("nodeName")]) == 4, "all pods to have nodes", 40)
    assert not any(is_ready(pod) for pod in world.pods())


@pytest.mark.slow
def test_a_gang_is_taken_back_whole_from_a_node_without_its_device_and_finds_the_others(world: World) -> None:
    """Devices are left to kube-scheduler: a wrong guess costs a round, and no part of the gang stays behind."""
    if not hasattr(world.cluster, "processes"):
        pytest.skip("the embedded cluster allocates claims without devices")
    world.add_nodes(3)
    first, *others = sorted(world.nodes)
    with published.devices(world.cluster, world.namespace, others) as device_class:
        template(world, device_class, "gpu", world.namespace)
        clique = world.clique("a", 2)
        spec = clique["spec"]["podSpec"]
        spec["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "gpu"}]
        spec["containers"][0]["resources"]["claims"] = [{"name": "gpu"}]
        world.apply(world.set([clique]))
        world.wait(lambda: any(p["spec"].get("nodeName") for p in world.pods()), "one to be bound beside the device")
        early = uids(world.pods())
        assert len([p for p in world.pods() if p["spec"].get("nodeName")]) == 1
        world.wait_pods(2, 2, 60)
        assert not early & uids(world.pods()), "none of the half gang is left"
        assert {p["spec"]["nodeName"] for p in world.pods()} == set(others), f"{first} has no device"
        world.request("PATCH", world.path("podgangsets", "w"), {"spec": {"replicas": 0}}, MERGE)
        world.wait(lambda: not claims(world) and not world.pods(), "claims and pods to go", 40)
