"""ComputeDomains, and the claims of the pods that join them."""

from typing import Any

import jsonpatch
import pytest

from grovekeeper.expand import injection, nvlink, parse, pods, whole
from tests.builders import clique, group, podgangset

GROUP, BOOLEAN = "grove.io/mnnvl-group", "grove.io/auto-mnnvl"


def gpu_clique(name: str, group_name: str | None = None, gpus: str = "1", part: str = "limits") -> dict[str, Any]:
    result = clique(name)
    main = {"name": "main", "image": "i", "resources": {part: {"nvidia.com/gpu": gpus}}}
    result["spec"]["podSpec"]["containers"] = [main, {"name": "sidecar", "image": "i"}]
    if group_name is not None:
        result["annotations"] = {GROUP: group_name}
    return result


def expanded(obj: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    everything = whole.objects(obj, injection.Settings("gate:1"), jsonpatch.apply_patch, {})
    return [each for each in everything if each["kind"] == kind]


@pytest.mark.parametrize("of_clique", [None, "c", "none"])
@pytest.mark.parametrize("of_group", [None, "g", "none"])
@pytest.mark.parametrize("of_set", [None, "s", "none"])
def test_the_most_specific_level_wins(of_set: str | None, of_group: str | None, of_clique: str | None) -> None:
    more = {"annotations": {GROUP: of_group}} if of_group else {}
    obj = podgangset(gpu_clique("a", of_clique), podCliqueScalingGroups=[group("g", "a", **more)])
    if of_set:
        obj["metadata"]["annotations"] = {GROUP: of_set}
    w = parse.workload(obj)
    want = next((word for word in (of_clique, of_group, of_set) if word is not None), None)
    assert nvlink.group_of(w, w.cliques[0]) == (None if want == "none" else want)


@pytest.mark.parametrize(
    ("entry", "want"),
    [
        (gpu_clique("a"), "auto"),
        (gpu_clique("a", part="requests"), "auto"),
        (gpu_clique("a", gpus="0"), None),
        (clique("a"), None),
    ],
    ids=["limits", "requests", "zero", "no GPU (trap 16)"],
)
def test_only_cliques_that_ask_for_gpus_join(entry: dict[str, Any], want: str | None) -> None:
    obj = podgangset(entry)
    obj["metadata"]["annotations"] = {BOOLEAN: "enabled"}
    w = parse.workload(obj)
    assert nvlink.group_of(w, w.cliques[0]) == want
    assert len(expanded(obj, "ComputeDomain")) == (want is not None)


@pytest.mark.parametrize(("kind", "short"), [("PodCliqueSet", "pcs"), ("PodGangSet", "pgs")])
def test_each_set_replica_has_one_domain_a_group(kind: str, short: str) -> None:
    obj = podgangset(gpu_clique("a", "x"), gpu_clique("b", "y"), gpu_clique("c", "x"), kind=kind, replicas=2)
    domains = {each["metadata"]["name"]: each for each in expanded(obj, "ComputeDomain")}
    assert sorted(domains) == ["demo-0-x", "demo-0-y", "demo-1-x", "demo-1-y"]
    one = domains["demo-1-y"]
    assert one["apiVersion"] == "resource.nvidia.com/v1beta1"
    assert one["spec"] == {"numNodes": 0, "channel": {"resourceClaimTemplate": {"name": "demo-1-y"}}}
    assert one["metadata"]["finalizers"] == ["grove.io/computedomain-finalizer"]
    assert one["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "grove-operator",
        "app.kubernetes.io/part-of": "demo",
        "app.kubernetes.io/name": "demo-1-y",
        "app.kubernetes.io/component": f"{short}-computedomain",
        f"grove.io/{kind.lower()}-replica-index": "1",
        "grove.io/mnnvl-group": "y",
    }
    assert one["metadata"]["ownerReferences"][0]["kind"] == kind


def test_the_claim_is_on_the_pod_and_on_its_gpu_containers_only() -> None:
    obj = podgangset(gpu_clique("a", "x"), gpu_clique("b"))
    first, other = expanded(obj, "Pod")
    assert first["spec"]["resourceClaims"] == [{"name": "mnnvl-claim", "resourceClaimTemplateName": "demo-0-x"}]
    main, sidecar = first["spec"]["containers"]
    assert main["resources"] == {"limits": {"nvidia.com/gpu": "1"}, "claims": [{"name": "mnnvl-claim"}]}
    assert "claims" not in sidecar.get("resources", {})
    assert "resourceClaims" not in other["spec"]
    assert nvlink.injected(first["spec"], "demo-0-x") == first["spec"], "idempotent"


def test_the_domain_is_not_part_of_the_templates_hash_and_groups_show_the_sets_word() -> None:
    plain = podgangset(gpu_clique("a"), podCliqueScalingGroups=[group("g", "a")])
    asking = podgangset(gpu_clique("a"), podCliqueScalingGroups=[group("g", "a")])
    asking["metadata"]["annotations"] = {GROUP: "x"}
    assert parse.workload(plain).generation_hash == parse.workload(asking).generation_hash
    shown = expanded(asking, "PodCliqueScalingGroup")[0]["metadata"]["annotations"]
    assert shown[GROUP] == "x"


def test_a_clique_that_runs_an_older_template_is_judged_by_that() -> None:
    obj = podgangset(gpu_clique("a", "x"))
    w = parse.workload(obj)
    older = expanded(podgangset(clique("a")), "PodClique")[0]
    assert pods.domain_of(w, older) is None
