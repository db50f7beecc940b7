"""Admission of sets, scales and managed children."""

import copy
from typing import Any

import pytest

from grovekeeper.api import names
from tests.builders import clique, podgangset
from tests.webhooks.conftest import Post
from tests.webhooks.reviews import OWN_USER, PROTECT, SCALE, VALIDATE, review


async def test_refusals_are_403_with_causes_and_speak_of_nothing_immutable(post: Post) -> None:
    """Flux with `force` deletes and recreates on 422 and on messages about immutable fields."""
    old = podgangset(clique("a"))
    new = podgangset(clique("a"), clique("b"))
    for body in (review(podgangset(clique("A.b"))), review(new, old, "UPDATE")):
        response = await post.response(VALIDATE, body)
        status = response["status"]
        assert (response["allowed"], status["code"], status["reason"]) == (False, 403, "Forbidden")
        assert status["details"]["causes"][0]["field"].startswith("spec.template.cliques")
        assert "immutable" not in status["message"]


async def test_what_was_let_in_once_can_still_be_labelled_and_the_fault_is_a_warning(post: Post) -> None:
    old = podgangset(clique("a", 1, minAvailable=5))
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"team": "x"}
    response = await post.response(VALIDATE, review(new, old, "UPDATE"))
    assert response["allowed"]
    assert "minAvailable" in response["warnings"][0]


async def test_the_last_finalizer_of_a_broken_set_that_goes_can_be_taken_away(post: Post) -> None:
    old = podgangset(clique("Not.Valid"))
    old["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/keep"])
    new = copy.deepcopy(old)
    new["metadata"]["finalizers"] = []
    assert await post.response(VALIDATE, review(new, old, "UPDATE")) == {"uid": "u1", "allowed": True}


async def test_unknown_fields_pass_the_webhook_because_the_server_prunes_them(post: Post) -> None:
    obj = podgangset(clique("a"))
    obj["spec"]["template"]["futureField"] = {"x": 1}
    body = review(obj)
    body["request"]["fieldOfTheFuture"] = [1]
    assert await post.response(VALIDATE, body) == {"uid": "u1", "allowed": True}


async def test_control_characters_and_direction_overrides_do_not_come_back(post: Post) -> None:
    obj = podgangset(clique("a\r\nb\x00\u202e"))
    message = (await post.response(VALIDATE, review(obj)))["status"]["message"]
    assert not set(message) & {"\r", "\n", "\x00", "\u202e"}
    for override in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u2028\u2066\u2069\x85":
        obj["spec"]["template"]["cliques"][0]["annotations"] = {f"a{override}\n/b": "c"}
        status = (await post.response(VALIDATE, review(obj)))["status"]
        assert not set(str(status["message"]) + str(status["details"])) & {override, "\n"}


async def test_two_hundred_faults_make_a_bounded_answer_with_the_first_fault_first(post: Post) -> None:
    bad = {"name": "c", "image": "i", "env": [{"name": f"A={'x' * 500}"} for _ in range(200)]}
    obj = podgangset(clique("Not.Valid", podSpec={"containers": [bad]}))
    status = (await post.response(VALIDATE, review(obj)))["status"]
    assert len(status["message"]) <= 4000
    assert "cliques[0].name" in status["message"][:200]
    assert len(status["details"]["causes"]) == 50


async def test_warnings_are_short_and_few_enough_for_headers(post: Post) -> None:
    old = podgangset(*(clique(f"Bad.{number}{'x' * 60}") for number in range(64)))
    new = {**copy.deepcopy(old), "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    warnings = (await post.response(VALIDATE, review(new, old, "UPDATE")))["warnings"]
    assert max(map(len, warnings)) <= 120
    assert sum(map(len, warnings)) <= 4096


@pytest.mark.parametrize(
    ("user", "groups", "operation", "part_of", "want"),
    [
        pytest.param("somebody", [], "UPDATE", "demo", False, id="a person"),
        pytest.param("somebody", [], "DELETE", "demo", False, id="a person deletes"),
        pytest.param(OWN_USER, [], "UPDATE", "demo", True, id="ourselves"),
        pytest.param(
            "system:serviceaccount:kube-system:generic-garbage-collector", [], "DELETE", "demo", True, id="collector"
        ),
        pytest.param(
            "system:serviceaccount:kube-system:namespace-controller", [], "DELETE", "demo", True, id="namespace goes"
        ),
        pytest.param("system:node:n1", ["system:nodes"], "UPDATE", "demo", True, id="kubelet"),
        pytest.param("somebody", [], "UPDATE", "gone", True, id="the set is gone"),
    ],
)
async def test_managed_children_are_protected(
    post: Post, user: str, groups: list[str], operation: str, part_of: str, want: bool
) -> None:
    child = {"kind": "PodClique", "metadata": {"name": "c", "labels": {names.LABEL_PART_OF: part_of}}}
    # deletecollection sends no name: it is the old object's.
    body = review(None if operation == "DELETE" else child, child, operation, name="")
    body["request"]["userInfo"] = {"username": user, "groups": groups}
    response = await post.response(PROTECT, body)
    assert response["allowed"] is want
    if not want:
        assert "podcliques default/c by somebody" in response["status"]["message"]


LABELS = {names.LABEL_PART_OF: "demo", names.LABEL_MANAGED_BY: names.MANAGED_BY}


@pytest.mark.parametrize(
    ("old", "new", "want", "warned"),
    [
        pytest.param(LABELS, {}, False, False, id="taking our labels off a child"),
        pytest.param(LABELS, {**LABELS, names.LABEL_PART_OF: "other"}, False, False, id="moving a child"),
        pytest.param({}, LABELS, True, True, id="putting our labels on a foreign pod"),
        pytest.param({names.LABEL_MANAGED_BY: names.MANAGED_BY}, {}, True, True, id="a pod that is of no set"),
    ],
)
async def test_a_label_decides_nothing_that_the_stored_object_does_not_say(
    post: Post, old: dict[str, str], new: dict[str, str], want: bool, warned: bool
) -> None:
    before, after = ({"kind": "Pod", "metadata": {"name": "p", "labels": labels}} for labels in (old, new))
    response = await post.response(PROTECT, review(after, before, "UPDATE"))
    assert (response["allowed"], "warnings" in response) == (want, warned)


async def test_anybody_may_delete_a_pod_of_a_gang(post: Post) -> None:
    pod = {"kind": "Pod", "metadata": {"name": "p", "labels": LABELS}}
    assert await post.response(PROTECT, review(None, pod, "DELETE")) == {"uid": "u1", "allowed": True}


THEIRS, LATER = "kueue.x-k8s.io/admission", "example.com/later"


def gated(*gates: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod of a gang with these scheduling gates."""
    spec = {"containers": [{"name": "main", "image": "model:1"}], **spec}
    if gates:
        spec["schedulingGates"] = [{"name": name} for name in gates]
    metadata = {"name": "p", "labels": {**LABELS, **(labels or {})}, "annotations": {names.ANNOTATION_INJECTED: "1"}}
    return {"kind": "Pod", "metadata": metadata, "spec": spec}


BEFORE = gated(names.GATE, THEIRS, LATER)


@pytest.mark.parametrize(
    ("after", "want"),
    [
        pytest.param(gated(names.GATE, LATER), True, id="one gate of others"),
        pytest.param(gated(names.GATE), True, id="all gates of others"),
        pytest.param(
            gated(names.GATE, LATER, labels={"kueue.x-k8s.io/podset": "main"}, nodeSelector={"pool": "gold"}),
            True,
            id="a gate, with a label of theirs and the nodes of a quota",
        ),
        pytest.param(gated(THEIRS, LATER), False, id="our gate"),
        pytest.param(gated(), False, id="all gates"),
        pytest.param(BEFORE, False, id="nothing"),
        pytest.param(gated(names.GATE, LATER, THEIRS), False, id="another order"),
        pytest.param(gated(names.GATE, LATER, "example.com/new"), False, id="a gate for another"),
        pytest.param(gated(names.GATE, LATER, priority=9), False, id="a gate, and a field of the spec"),
        pytest.param(
            gated(names.GATE, LATER, labels={names.LABEL_PODGANG: "x"}), False, id="a gate, and a label of ours"
        ),
        pytest.param(
            gated(names.GATE, LATER, labels={names.LABEL_PART_OF: "other"}), False, id="a gate, and whose pod it is"
        ),
    ],
)
async def test_who_put_a_gate_on_our_pods_may_remove_it_and_nobody_may_remove_ours(
    post: Post, after: dict[str, Any], want: bool
) -> None:
    response = await post.response(PROTECT, review(after, BEFORE, "UPDATE"))
    assert response["allowed"] is want


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"annotations": {names.ANNOTATION_DISABLE_PROTECTION: "true"}}, id="opted out"),
        pytest.param(None, id="not seen"),
    ],
)
async def test_protection_gives_way_to_the_sets_annotation_and_to_a_set_that_is_not_there(
    post: Post, metadata: dict[str, Any] | None
) -> None:
    found = {"kind": "PodGangSet", "metadata": metadata} if metadata is not None else None
    post.server.state.find_set = lambda _namespace, _name: found
    child = {"kind": "PodClique", "metadata": {"name": "c", "labels": {names.LABEL_PART_OF: "demo"}}}
    assert (await post.response(PROTECT, review(child, child, "UPDATE")))["allowed"]


@pytest.mark.parametrize(
    ("plural", "replicas", "allowed", "word"),
    [
        pytest.param("podcliques", 1, False, "scale to 0 or to at least 2", id="a clique below its minimum"),
        pytest.param("podcliques", 0, True, "", id="to zero"),
        pytest.param("podcliques", 3, True, "", id="above"),
        pytest.param("podcliquescalinggroups", 1, True, "2 replicas are kept", id="a group is lifted"),
        pytest.param("podcliques", 5, True, "not known yet", id="not in the cache"),
    ],
)
async def test_scales_below_the_minimum_are_refused_or_lifted(
    post: Post, plural: str, replicas: int, allowed: bool, word: str
) -> None:
    known = {"spec": {"minAvailable": 2}} if "known" not in word else None
    post.server.state.find_clique = lambda _plural, _namespace, _name: known
    obj = {"kind": "Scale", "metadata": {"name": "demo-0-a"}, "spec": {"replicas": replicas}}
    resource = {"group": names.GROUP, "version": names.VERSION, "resource": plural}
    body = review(obj, obj, "UPDATE", subResource="scale", resource=resource, name="demo-0-a")
    response = await post.response(SCALE, body)
    assert response["allowed"] is allowed
    said = response["status"]["message"] if not allowed else " ".join(response.get("warnings", ()))
    assert word in said if word else not said
