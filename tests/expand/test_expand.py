"""From a set to its objects: names, hashes, order, gangs, and the two halves of a pod."""

import copy
from typing import Any

import jsonpatch
import pytest

from grovekeeper.api import names
from grovekeeper.expand import gangs, injection, model, parse, plan, pods, whole
from tests.builders import clique, group, podgangset, worked_example

SETTINGS = injection.Settings("example.com/gate:1")


def apply_patch(obj: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = jsonpatch.apply_patch(obj, operations)
    return result


def objects(obj: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [each for each in whole.objects(obj, SETTINGS, apply_patch, {}) if each["kind"] == kind]


def test_names_are_those_of_groves_user_guide() -> None:
    obj = worked_example("PodCliqueSet")
    assert sorted(c["metadata"]["name"] for c in objects(obj, "PodClique")) == [
        "mn-disagg-0-decode-0-dleader",
        "mn-disagg-0-decode-0-dworker",
        "mn-disagg-0-frontend",
        "mn-disagg-0-prefill-0-pleader",
        "mn-disagg-0-prefill-0-pworker",
        "mn-disagg-0-prefill-1-pleader",
        "mn-disagg-0-prefill-1-pworker",
    ]
    assert [g["metadata"]["name"] for g in objects(obj, "PodGang")] == ["mn-disagg-0", "mn-disagg-0-prefill-0"]
    assert [s["metadata"]["name"] for s in objects(obj, "Secret")] == ["mn-disagg-ic-sat"]
    assert [r["metadata"]["name"] for r in objects(obj, "Role")] == ["grove.io:pcs:mn-disagg"]
    assert len(objects(obj, "Pod")) == 13
    hosts = {p["spec"]["hostname"] for p in objects(obj, "Pod")}
    assert "mn-disagg-0-prefill-1-pworker-2" in hosts


def test_a_member_pod_has_groves_variables_in_order_before_the_users() -> None:
    obj = worked_example("PodCliqueSet")
    env = [{"name": "MINE", "value": "$(GROVE_PCLQ_NAME)"}, {"name": "GROVE_PCLQ_NAME", "value": "not this"}]
    obj["spec"]["template"]["cliques"][2]["spec"]["podSpec"]["containers"][0]["env"] = env
    pod = next(p for p in objects(obj, "Pod") if p["spec"]["hostname"] == "mn-disagg-0-prefill-1-pworker-2")
    found = [(e["name"], e.get("value")) for e in pod["spec"]["containers"][0]["env"]]
    assert found == [
        ("GROVE_PCS_NAME", "mn-disagg"),
        ("GROVE_PCS_INDEX", "0"),
        ("GROVE_PCLQ_NAME", "mn-disagg-0-prefill-1-pworker"),
        ("GROVE_HEADLESS_SERVICE", "mn-disagg-0.default.svc.cluster.local"),
        ("GROVE_PCLQ_POD_INDEX", "2"),
        ("GROVE_PCSG_NAME", "mn-disagg-0-prefill"),
        ("GROVE_PCSG_TEMPLATE_NUM_PODS", "4"),
        ("GROVE_PCSG_INDEX", "1"),
        ("MINE", "$(GROVE_PCLQ_NAME)"),
    ]


def test_the_injection_is_idempotent_also_when_somebody_was_there_in_between() -> None:
    obj = podgangset(clique("a"), clique("b", startsAfter=["a"]), cliqueStartupType="CliqueStartupTypeExplicit")
    pod = next(p for p in objects(obj, "Pod") if p["spec"]["hostname"].startswith("demo-0-b"))
    assert injection.operations(pod, SETTINGS) == []
    pod["spec"]["containers"].insert(0, {"name": "sidecar", "image": "x"})
    pod["metadata"]["labels"]["other"] = "1"
    again = apply_patch(pod, injection.operations(pod, SETTINGS))
    assert injection.operations(again, SETTINGS) == []
    assert [c["name"] for c in again["spec"]["initContainers"]] == [names.INIT_GATE_CONTAINER]
    assert again["spec"]["initContainers"][0]["args"] == ["--podcliques=demo-0-a:1"]
    assert {v["name"] for v in again["spec"]["volumes"]} == {"sa-token-secret-vol", "pod-info-vol"}


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"schedulingGates": None}, [names.GATE]),
        ({"schedulingGates": [{"name": "other"}]}, [names.GATE, "other"]),
        ({"schedulingGates": [{"name": "other"}, {"name": names.GATE}]}, ["other", names.GATE]),
        ({"schedulingGates": None, "nodeName": "n1"}, []),
    ],
)
def test_the_gate_is_added_once_and_foreign_gates_stay(change: dict[str, Any], want: list[str]) -> None:
    w = parse.workload(podgangset(clique("a")))
    owner = objects(podgangset(clique("a")), "PodClique")[0]
    pod = pods.created(w, owner, 0, "demo-0-a-xxxxx")
    pod["spec"].update(change)
    pod["spec"] = {key: value for key, value in pod["spec"].items() if value is not None}
    done = apply_patch(pod, injection.operations(pod, SETTINGS))
    assert [gate["name"] for gate in done["spec"].get("schedulingGates", ())] == want


def test_a_pod_that_is_not_ours_gets_nothing_and_a_broken_intent_is_refused() -> None:
    pod = {"metadata": {"name": "x"}, "spec": {"containers": []}}
    assert injection.operations(pod, SETTINGS) == []
    pod["metadata"]["annotations"] = {names.ANNOTATION_INTENT: "{}"}  # type: ignore[assignment]
    with pytest.raises(ValueError, match="not an intent"):
        injection.operations(pod, SETTINGS)


def test_hashes_follow_the_template_and_the_order_only_where_order_means_something() -> None:
    one, other = (parse.workload(podgangset(clique("a"), clique("b"))) for _ in range(2))
    assert one.generation_hash == other.generation_hash
    turned = podgangset(clique("b"), clique("a"))
    assert parse.workload(turned).generation_hash == one.generation_hash
    in_order = {"cliqueStartupType": "CliqueStartupTypeInOrder"}
    assert (
        parse.workload(podgangset(clique("a"), clique("b"), **in_order)).generation_hash
        != parse.workload(podgangset(clique("b"), clique("a"), **in_order)).generation_hash
    )
    scaled = copy.deepcopy(turned)
    scaled["spec"]["template"]["cliques"][0]["spec"]["replicas"] = 5
    assert parse.workload(scaled).generation_hash == one.generation_hash


def test_a_scaled_gang_waits_in_order_for_the_nearest_clique_of_its_own_group() -> None:
    obj = podgangset(
        clique("a"),
        clique("other"),
        clique("b"),
        cliqueStartupType="CliqueStartupTypeInOrder",
        podCliqueScalingGroups=[group("g", "a", "b", replicas=2)],
    )
    waits = {c["metadata"]["name"]: c["spec"].get("startsAfter") for c in objects(obj, "PodClique")}
    assert waits["demo-0-g-0-b"] == ["demo-0-other"]
    assert waits["demo-0-g-1-b"] == ["demo-0-g-1-a"]


def test_a_template_is_looked_up_by_its_exact_name() -> None:
    obj = podgangset(clique("worker", 1), clique("my-worker", 2))
    found = {c["metadata"]["name"]: c["spec"]["replicas"] for c in objects(obj, "PodClique")}
    assert found == {"demo-0-worker": 1, "demo-0-my-worker": 2}


def test_gangs_follow_living_replicas_and_zero_is_an_idle_state() -> None:
    w = parse.workload(worked_example())
    live = model.Live({"mn-disagg-0-frontend": 0}, {"mn-disagg-0-prefill": 3, "mn-disagg-0-decode": 0})
    found = gangs.of_replica(w, 0, live)
    assert [gang.name for gang in found] == ["mn-disagg-0", "mn-disagg-0-prefill-0", "mn-disagg-0-prefill-1"]
    assert [(m.fqn, m.minimum) for m in found[0].members] == [
        ("mn-disagg-0-frontend", 0),
        ("mn-disagg-0-prefill-0-pleader", 1),
        ("mn-disagg-0-prefill-0-pworker", 3),
    ]
    assert gangs.missing(found[0], {"mn-disagg-0-prefill-0-pleader": 1}) == [
        "mn-disagg-0-prefill-0-pworker has 0 of 3 pods"
    ]


def pod(
    index: int, *, ready: bool = True, node: str | None = "n", phase: str = "Running", **more: Any
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    labels = {names.LABEL_POD_INDEX: str(index), names.LABEL_TEMPLATE_HASH: more.pop("hash_", "new")}
    metadata = {"name": f"p{index}", "uid": f"u{index}", "labels": labels, **more}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": {"phase": phase, "conditions": conditions}}


def heir(index: int) -> dict[str, Any]:
    """The successor of the pod of this index, not yet in its place."""
    found = pod(index, ready=False, node=None, phase="Pending")
    found["metadata"] |= {"name": "heir", "uid": "heir", "annotations": {names.ANNOTATION_SUCCEEDS: f"u{index}"}}
    return found


@pytest.mark.parametrize(
    ("replicas", "existing", "create", "delete"),
    [
        pytest.param(2, [], [0, 1], [], id="fresh"),
        pytest.param(3, [pod(0), pod(2)], [1], [], id="a hole is filled"),
        pytest.param(1, [pod(0), pod(1), pod(2)], [], ["p2", "p1"], id="highest first"),
        pytest.param(1, [pod(0, ready=False), pod(1)], [], ["p0"], id="the unready goes first"),
        pytest.param(1, [pod(0, hash_="old"), pod(1)], [], ["p0"], id="the old template goes first"),
        pytest.param(1, [pod(0, phase="Failed")], [0], ["p0"], id="a failed pod is replaced"),
        pytest.param(1, [pod(0, deletionTimestamp="t", node=None)], [], [], id="a terminating pod keeps its index"),
        pytest.param(
            1, [pod(0, deletionTimestamp="t")], [0], [], id="who has a node to pass on has a successor at once"
        ),
        pytest.param(1, [pod(0, deletionTimestamp="t"), heir(0)], [], [], id="and only one"),
        pytest.param(0, [pod(0, deletionTimestamp="t"), heir(0)], [], ["heir"], id="a successor nobody wants goes"),
        pytest.param(
            2, [pod(0), pod(1, deletionTimestamp="t"), pod(2, deletionTimestamp="t")], [1], [], id="lowest first"
        ),
        pytest.param(1, [pod(0), heir(0)], [], [], id="a successor is no double of its predecessor"),
        pytest.param(0, [pod(0), heir(0)], [], ["p0", "heir"], id="both go when the index goes"),
    ],
)
def test_pods_of_a_clique(replicas: int, existing: list[dict[str, Any]], create: list[int], delete: list[str]) -> None:
    found = plan.pods(replicas, existing, "new")
    assert [birth.index for birth in found.create] == create
    assert [each["metadata"]["name"] for each in found.delete] == delete


def test_two_workers_try_the_same_name_and_a_successor_another() -> None:
    assert pods.name("c", "uid", 0) == pods.name("c", "uid", 0)
    assert len({pods.name("c", "uid", 0), pods.name("c", "uid", 1), pods.name("c", "uid", 0, ["old"])}) == 3


def test_each_clique_has_its_budget_unless_the_set_opts_out() -> None:
    obj = worked_example("PodCliqueSet")
    assert {b["metadata"]["name"] for b in objects(obj, "PodDisruptionBudget")} == {
        c["metadata"]["name"] for c in objects(obj, "PodClique")
    }
    obj["metadata"]["annotations"] = {names.ANNOTATION_BUDGET: "off"}
    assert objects(obj, "PodDisruptionBudget") == []
