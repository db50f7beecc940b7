"""Multi-node NVLink with NVIDIA's DRA driver there and the feature on: Grove's Auto-MNNVL suites, in their order."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from grovekeeper.embedded.installation import Installation
from tests.chart import helm
from tests.devices import nvidia, published
from tests.e2e.conftest import SCHEDULERS
from tests.e2e.world import MERGE, Object, World, refused

pytestmark = pytest.mark.slow
GROUP = "grove.io/mnnvl-group"
GPU = "nvidia.com/gpu"


@pytest.fixture(scope="module", autouse=True)
def _enabled(installed: tuple[Any, Installation]) -> Iterator[None]:
    """The CRD of the driver, the feature switched on, and the chart's rights for it."""
    cluster, installation = installed
    with nvidia.installed(cluster):
        _grant(cluster, installation, "true")
        installation.reconfigure(GROVEKEEPER_AUTO_MNNVL="true")
        yield
        installation.reconfigure(GROVEKEEPER_AUTO_MNNVL="false")
        _grant(cluster, installation, "false")


def _grant(cluster: Any, installation: Installation, on: str) -> None:
    if any(obj["kind"] == "ClusterRole" for obj in installation.rendered):
        rendered = helm.template(SCHEDULERS, f"autoMnnvl={on}")
        role = next(obj for obj in rendered if obj["kind"] == "ClusterRole")
        cluster.request("PUT", "/apis/rbac.authorization.k8s.io/v1/clusterroles/grovekeeper", role)


@pytest.fixture
def gpus(world: World) -> Iterator[World]:
    """A world whose nodes have GPUs, and NVIDIA's driver for its namespace."""
    world.add_nodes(6, more={GPU: "8", "memory": "32Gi", "pods": "50"})
    with ExitStack() as stack:
        device_class = stack.enter_context(published.devices(world.cluster, world.namespace))
        driver = stack.enter_context(nvidia.Driver(world.cluster, world.namespace, device_class))
        yield world
        # The driver has a finalizer of its own: it goes after the last domain.
        for obj in world.request("GET", world.path("podcliquesets"))["items"]:
            world.request("DELETE", world.path("podcliquesets", obj["metadata"]["name"]))
        world.wait(lambda: not domains(world) and not world.pods(), "all domains and pods to go", 60)
        assert driver.trouble == []


def gpu_clique(world: World, name: str, group: str | None = None, *, gpus: str = "1") -> Object:
    """A clique of one small pod with a GPU container and one without."""
    result = world.clique(name, 1)
    resources = {"limits": {GPU: gpus}} if gpus else {"requests": {"memory": "1Mi"}}
    result["spec"]["podSpec"]["containers"] = [
        {"name": "main", "image": "example.com/app:1", "resources": resources},
        {"name": "sidecar", "image": "example.com/app:1"},
    ]
    if group is not None:
        result["annotations"] = {GROUP: group}
    return result


def asking(obj: Object, **annotations: str) -> Object:
    """The set with annotations, as a PodCliqueSet."""
    metadata = {**obj["metadata"], "annotations": annotations}
    return {**obj, "kind": "PodCliqueSet", "metadata": metadata}


def domains(world: World) -> dict[str, Object]:
    path = f"{nvidia.DOMAINS}/namespaces/{world.namespace}/computedomains"
    return {each["metadata"]["name"]: each for each in world.request("GET", path)["items"]}


def generated(world: World) -> list[Object]:
    return list(world.request("GET", world.path("resourceclaims", group="/apis/resource.k8s.io/v1"))["items"])


def joined(world: World) -> dict[str, str]:
    """Hostname to the domain that the pod claims, of pods that claim one."""
    return {
        pod["spec"]["hostname"]: entry["resourceClaimTemplateName"]
        for pod in world.pods()
        for entry in pod["spec"].get("resourceClaims") or ()
        if entry["name"] == "mnnvl-claim"
    }


def scale(world: World, replicas: int) -> None:
    world.request("PATCH", world.path("podcliquesets", "w"), {"spec": {"replicas": replicas}}, MERGE)


def wait_domains(world: World, names: set[str]) -> None:
    world.wait(lambda: set(domains(world)) == names, f"domains {sorted(names)}, there are {sorted(domains(world))}", 60)


def check_none(world: World) -> None:
    """There is, and for a while there comes, no domain, no claim, and no pod that names one."""
    world.stays(lambda: domains(world) == {} and joined(world) == {} and generated(world) == [], "no domain, no claim")


def check_domain(world: World, index: int, group: str) -> None:
    """The domain of this set replica is as Grove makes it, and kept by our finalizer and the driver's."""
    name = f"w-{index}-{group}"
    found = domains(world)[name]
    metadata = found["metadata"]
    (owner,) = metadata["ownerReferences"]
    asked = world.get_set("w", "podcliquesets")
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("PodCliqueSet", asked["metadata"]["uid"], True)
    assert "grove.io/computedomain-finalizer" in metadata["finalizers"]
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "grove-operator",
        "app.kubernetes.io/part-of": "w",
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "pcs-computedomain",
        "grove.io/podcliqueset-replica-index": str(index),
        GROUP: group,
    }
    assert found["spec"] == {"numNodes": 0, "channel": {"resourceClaimTemplate": {"name": name}}}


def test_mnnvl1_a_gpu_set_that_does_not_ask_gets_no_domain_and_no_claims(gpus: World) -> None:
    gpus.apply(asking(gpus.set([gpu_clique(gpus, "a")])))
    gpus.wait_pods(1, 1)
    check_none(gpus)


@pytest.mark.parametrize("words", [{GROUP: "auto"}, {"grove.io/auto-mnnvl": "enabled"}], ids=["group", "boolean"])
def test_mnnvl2_the_domains_of_a_group_follow_the_replicas_of_the_set(gpus: World, words: dict[str, str]) -> None:
    gpus.apply(asking(gpus.set([gpu_clique(gpus, "a"), gpu_clique(gpus, "b")]), **words))
    for count in (1, 3, 1):
        scale(gpus, count)
        wait_domains(gpus, {f"w-{index}-auto" for index in range(count)})
        gpus.wait_pods(2 * count, 2 * count, 60)
        for index in range(count):
            check_domain(gpus, index, "auto")
        assert joined(gpus) == {f"w-{index}-{name}-0": f"w-{index}-auto" for index in range(count) for name in "ab"}
        gpus.wait(lambda count=count: len(generated(gpus)) == 2 * count, "a claim for each pod")  # type: ignore[misc]
    for pod in gpus.pods():
        main, sidecar = pod["spec"]["containers"]
        assert main["resources"]["claims"] == [{"name": "mnnvl-claim"}]
        assert "claims" not in sidecar.get("resources", {})
    scale(gpus, 0)
    wait_domains(gpus, set())


def test_mnnvl3_a_deleted_set_leaves_no_domain(gpus: World) -> None:
    gpus.apply(asking(gpus.set([gpu_clique(gpus, "a")], replicas=2), **{GROUP: "x"}))
    gpus.wait_pods(2, 2, 40)
    wait_domains(gpus, {"w-0-x", "w-1-x"})
    gpus.request("DELETE", gpus.path("podcliquesets", "w"))
    gpus.wait(lambda: not domains(gpus) and not gpus.pods() and not generated(gpus), "everything to go", 60)


def test_mnnvl4_none_opts_out(gpus: World) -> None:
    whole = asking(gpus.set([gpu_clique(gpus, "a")]), **{GROUP: "none"})
    whole["metadata"]["name"] = "out"
    gpus.apply(whole)
    gpus.wait_pods(1, 1)
    check_none(gpus)
    gpus.apply(asking(gpus.set([gpu_clique(gpus, "a", "none"), gpu_clique(gpus, "b")]), **{GROUP: "x"}))
    wait_domains(gpus, {"w-0-x"})
    gpus.wait_pods(3, 3, 40)
    gpus.stays(lambda: joined(gpus) == {"w-0-b-0": "w-0-x"} and set(domains(gpus)) == {"w-0-x"}, "one domain, one pod")


def test_mnnvl5_a_name_that_is_no_label_is_refused(gpus: World) -> None:
    for words in ({GROUP: "Not_A_Label"}, {GROUP: ""}, {"grove.io/auto-mnnvl": "perhaps"}):
        code, text = refused(lambda words=words: gpus.apply(asking(gpus.set([gpu_clique(gpus, "a")]), **words)))
        assert code == 403
        assert "metadata.annotations[grove.io/" in text


def test_mnnvl6_a_group_cannot_be_changed_added_or_removed(gpus: World) -> None:
    gpus.apply(asking(gpus.set([gpu_clique(gpus, "a", "x"), gpu_clique(gpus, "b")]), **{GROUP: "y"}))
    gpus.wait_pods(2, 2, 40)
    path = gpus.path("podcliquesets", "w")
    patches: list[Object] = [{"metadata": {"annotations": {GROUP: word}}} for word in ("z", None)]
    for patch in patches:
        code, text = refused(lambda patch=patch: gpus.request("PATCH", path, patch, MERGE))
        assert (code, "cannot be changed" in text) == (403, True)
    add = [{"op": "add", "path": "/spec/template/cliques/1/annotations", "value": {GROUP: "z"}}]
    code, text = refused(lambda: gpus.request("PATCH", path, add, "application/json-patch+json"))
    assert (code, "spec.template.cliques[1].annotations" in text) == (403, True)
    gpus.request("PATCH", path, {"metadata": {"annotations": {"other": "1"}}}, MERGE)


def test_mnnvl7_a_clique_without_gpus_gets_neither_claim_nor_domain(gpus: World) -> None:
    gpus.apply(asking(gpus.set([gpu_clique(gpus, "a", "x", gpus="")]), **{GROUP: "y"}))
    gpus.wait_pods(1, 1)
    check_none(gpus)


def many_groups(world: World) -> Object:
    """Twelve PodCliques a replica in five groups: own words, words of scaling groups and of the set, and none."""
    cliques = [
        gpu_clique(world, "s1"),
        gpu_clique(world, "s2", "g1"),
        gpu_clique(world, "s3", "none"),
        gpu_clique(world, "s4", gpus=""),
        gpu_clique(world, "i1"),
        gpu_clique(world, "i2", "g2"),
        gpu_clique(world, "o1"),
        gpu_clique(world, "o2", "g3"),
        gpu_clique(world, "o3", "none"),
        gpu_clique(world, "n1"),
        gpu_clique(world, "n2", "g4"),
        gpu_clique(world, "n3"),
    ]
    groups = [
        {"name": "in", "cliqueNames": ["i1", "i2"]},
        {"name": "over", "cliqueNames": ["o1", "o2", "o3"], "annotations": {GROUP: "g1"}},
        {"name": "out", "cliqueNames": ["n1", "n2", "n3"], "annotations": {GROUP: "none"}},
    ]
    return asking(world.set(cliques, groups), **{GROUP: "top"})


WANT = {
    "w-{}-s1-0": "top",
    "w-{}-s2-0": "g1",
    "w-{}-in-0-i1-0": "top",
    "w-{}-in-0-i2-0": "g2",
    "w-{}-over-0-o1-0": "g1",
    "w-{}-over-0-o2-0": "g3",
    "w-{}-out-0-n2-0": "g4",
}


def test_mnnvl8_five_groups_with_all_ways_of_inheriting_follow_the_set_and_survive_a_deletion_by_hand(
    gpus: World,
) -> None:
    def check(replicas: int) -> None:
        wanted = {f"w-{i}-{group}" for i in range(replicas) for group in ("top", "g1", "g2", "g3", "g4")}
        wait_domains(gpus, wanted)
        gpus.wait_pods(12 * replicas, 12 * replicas, 90)
        assert joined(gpus) == {
            host.format(i): f"w-{i}-{group}" for i in range(replicas) for host, group in WANT.items()
        }
        gpus.wait(lambda: len(generated(gpus)) == 7 * replicas, "a claim for each pod that names a domain")

    gpus.apply(many_groups(gpus))
    check(1)
    assert len(gpus.request("GET", gpus.path("podcliques"))["items"]) == 12
    old = domains(gpus)["w-0-g1"]["metadata"]["uid"]
    path = f"{nvidia.DOMAINS}/namespaces/{gpus.namespace}/computedomains/w-0-g1"
    gpus.request("DELETE", path)
    gpus.wait(lambda: domains(gpus).get("w-0-g1", {}).get("metadata", {}).get("uid") not in (None, old), "a new one")
    check(1)
    scale(gpus, 4)
    check(4)
    scale(gpus, 2)
    check(2)
    gpus.request("DELETE", gpus.path("podcliquesets", "w"))
    gpus.wait(lambda: not domains(gpus) and not gpus.pods() and not generated(gpus), "everything to go", 60)


def test_domains_of_a_set_are_let_go_after_the_feature_has_been_switched_off(gpus: World) -> None:
    gpus.apply(asking(gpus.set([gpu_clique(gpus, "a")], replicas=2), **{GROUP: "x"}))
    gpus.wait_pods(2, 2, 40)
    gpus.installation.reconfigure(GROVEKEEPER_AUTO_MNNVL="false")
    try:
        for pod in gpus.pods():
            gpus.delete_pod(pod["metadata"]["name"])
        gpus.wait(lambda: len(joined(gpus)) == 2, "successors that join their siblings' domains")
        scale(gpus, 1)
        wait_domains(gpus, {"w-0-x"})
        gpus.request("DELETE", gpus.path("podcliquesets", "w"))
        gpus.wait(lambda: not domains(gpus) and not gpus.pods(), "everything to go", 60)
    finally:
        gpus.installation.reconfigure(GROVEKEEPER_AUTO_MNNVL="true")
