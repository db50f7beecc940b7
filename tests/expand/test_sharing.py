"""Which claims exist, and which of them a pod names."""

from typing import Any

import jsonpatch
import pytest

from grovekeeper.expand import injection, parse, sharing, whole
from tests.builders import clique, group, podgangset

REQUESTS = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "d"}}]}}
SETTINGS = injection.Settings("example.com/gate:1")


def share(name: str, scope: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "scope": scope, **more}


def example(kind: str = "PodCliqueSet") -> dict[str, Any]:
    """Clique `a` alone; clique `b` in group `g` of two replicas; shares of all scopes and filters."""
    one, other = clique("a", 2), clique("b")
    one["resourceSharing"] = [share("pod", "PerReplica"), share("mine", "AllReplicas")]
    one["spec"]["podSpec"]["initContainers"] = [{"name": "first", "image": "i"}]
    return podgangset(
        one,
        other,
        kind=kind,
        replicas=2,
        resourceClaimTemplates=[
            {"name": name, "templateSpec": {"spec": REQUESTS}} for name in ("all", "each", "pod", "mine", "in", "one")
        ],
        resourceSharing=[
            share("each", "PerReplica"),
            share("all", "AllReplicas", filter={"childScalingGroupNames": ["g"]}),
            share("theirs", "AllReplicas", namespace="infra", filter={"childCliqueNames": ["a"]}),
        ],
        podCliqueScalingGroups=[
            group(
                "g",
                "b",
                replicas=2,
                resourceSharing=[
                    share("in", "PerReplica", filter={"childCliqueNames": ["b"]}),
                    share("one", "AllReplicas"),
                ],
            )
        ],
    )


def expanded(obj: dict[str, Any], kind: str, **more: Any) -> list[dict[str, Any]]:
    return [each for each in whole.objects(obj, SETTINGS, jsonpatch.apply_patch, {}, **more) if each["kind"] == kind]


@pytest.mark.parametrize(("kind", "prefix"), [("PodCliqueSet", "podcliqueset"), ("PodGangSet", "podgangset")])
def test_every_level_has_its_claims_with_names_labels_and_owners(kind: str, prefix: str) -> None:
    templates = {("infra", "theirs"): {"spec": REQUESTS}}
    claims = {each["metadata"]["name"]: each for each in expanded(example(kind), "ResourceClaim", templates=templates)}
    assert sorted(claims) == sorted(
        ["demo-all-all", "demo-all-theirs", "demo-0-each", "demo-1-each"]
        + [f"demo-{i}-g-{j}" for i in (0, 1) for j in ("0-in", "1-in", "all-one")]
        + [f"demo-{i}-a-{j}" for i in (0, 1) for j in ("0-pod", "1-pod", "all-mine")]
    )
    common = {
        "app.kubernetes.io/managed-by": "grove-operator",
        "app.kubernetes.io/part-of": "demo",
        "app.kubernetes.io/component": "resource-claim",
    }
    for name, more, owner in (
        ("demo-all-all", {}, (kind, "demo")),
        ("demo-1-each", {f"grove.io/{prefix}-replica-index": "1"}, (kind, "demo")),
        ("demo-0-g-all-one", {"grove.io/podcliquescalinggroup": "demo-0-g"}, ("PodCliqueScalingGroup", "demo-0-g")),
        (
            "demo-1-g-1-in",
            {"grove.io/podcliquescalinggroup": "demo-1-g", "grove.io/podcliquescalinggroup-replica-index": "1"},
            ("PodCliqueScalingGroup", "demo-1-g"),
        ),
        ("demo-0-a-all-mine", {"grove.io/podclique": "demo-0-a"}, ("PodClique", "demo-0-a")),
        (
            "demo-0-a-1-pod",
            {"grove.io/podclique": "demo-0-a", "grove.io/podclique-pod-index": "1"},
            ("PodClique", "demo-0-a"),
        ),
    ):
        metadata = claims[name]["metadata"]
        assert metadata["labels"] == {**common, **more}, name
        reference = metadata["ownerReferences"][0]
        assert (reference["kind"], reference["name"], reference["controller"]) == (*owner, True)
        assert claims[name]["spec"] == REQUESTS


def test_claims_stand_before_the_pods_that_name_them() -> None:
    everything = whole.objects(
        example(), SETTINGS, jsonpatch.apply_patch, {}, {("infra", "theirs"): {"spec": REQUESTS}}
    )
    seen: set[str] = set()
    for obj in everything:
        if obj["kind"] == "ResourceClaim":
            seen.add(obj["metadata"]["name"])
        if obj["kind"] == "Pod":
            assert {entry["resourceClaimName"] for entry in obj["spec"]["resourceClaims"]} <= seen


@pytest.mark.parametrize(
    ("host", "want"),
    [
        ("demo-1-a-1", ["demo-all-theirs", "demo-1-each", "demo-1-a-all-mine", "demo-1-a-1-pod"]),
        ("demo-0-g-1-b-0", ["demo-all-all", "demo-0-each", "demo-0-g-all-one", "demo-0-g-1-in"]),
    ],
)
def test_a_pod_names_its_claims_in_groves_order_in_every_container(host: str, want: list[str]) -> None:
    pod = next(each for each in expanded(example(), "Pod") if each["spec"]["hostname"] == host)
    assert [entry["resourceClaimName"] for entry in pod["spec"]["resourceClaims"]] == want
    for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
        named = [entry["name"] for entry in container["resources"]["claims"]]
        assert named == [entry["name"] for entry in pod["spec"]["resourceClaims"]], container["name"]


def test_the_startup_gate_has_no_claims_and_claims_of_the_users_own_stay() -> None:
    obj = example()
    template = obj["spec"]["template"]
    template["cliqueStartupType"] = "CliqueStartupTypeInOrder"
    spec = template["cliques"][1]["spec"]["podSpec"]
    spec["resourceClaims"] = [{"name": "own", "resourceClaimName": "x"}]
    spec["containers"][0]["resources"] = {"claims": [{"name": "own"}], "limits": {"cpu": "1"}}
    pod = next(each for each in expanded(obj, "Pod") if each["spec"]["hostname"] == "demo-0-g-0-b-0")
    gate = next(c for c in pod["spec"]["initContainers"] if c["name"] == "grove-initc")
    assert "claims" not in gate["resources"]
    assert pod["spec"]["resourceClaims"][0]["name"] == "own"
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"cpu": "1"}
    assert resources["claims"][0] == {"name": "own"}
    assert len(resources["claims"]) == 5
    assert "claims" not in obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["initContainers"][0].get(
        "resources", {}
    )


def test_a_template_that_is_not_given_leaves_its_claims_out_and_is_named() -> None:
    assert "demo-all-theirs" not in [each["metadata"]["name"] for each in expanded(example(), "ResourceClaim")]
    assert sharing.external(parse.workload(example())) == {("infra", "theirs")}


def test_the_sets_own_template_wins_over_an_object_and_passes_its_labels_on() -> None:
    obj = example()
    metadata = {"labels": {"team": "x", "app.kubernetes.io/part-of": "y"}, "annotations": {"a": "b"}}
    obj["spec"]["template"]["resourceClaimTemplates"][0]["templateSpec"]["metadata"] = metadata
    templates = {("default", "all"): {"spec": {"devices": {}}}}
    claim = next(
        c for c in expanded(obj, "ResourceClaim", templates=templates) if c["metadata"]["name"] == "demo-all-all"
    )
    assert claim["spec"] == REQUESTS
    assert claim["metadata"]["labels"]["team"] == "x"
    assert claim["metadata"]["labels"]["app.kubernetes.io/part-of"] == "demo"
    assert claim["metadata"]["annotations"] == {"a": "b"}


def test_a_claims_name_within_the_pod_is_a_label_also_when_the_claims_own_is_longer() -> None:
    long, dotted = "demo-0-" + "x" * 80, "demo-0-a.b"
    spec = sharing.injected({"containers": [{"name": "c"}]}, [long, long + "y", dotted])
    inside = [entry["name"] for entry in spec["resourceClaims"]]
    assert len(set(inside)) == 3
    assert all(len(name) <= 63 and "." not in name for name in inside)
    assert [entry["resourceClaimName"] for entry in spec["resourceClaims"]] == [long, long + "y", dotted]
