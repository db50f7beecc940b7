"""The admission server over TLS, with the cases of the admission checklist that touch it (numbers in the names)."""

import asyncio
import base64
import io
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jsonpatch
import pytest

from grovekeeper.api import names
from grovekeeper.expand import parse, pods, whole
from grovekeeper.runtime import certificates
from grovekeeper.webhooks.certificates import context
from grovekeeper.webhooks.server import Server
from grovekeeper.webhooks.state import State
from tests.builders import clique, podgangset

Post = Any


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    """Send a body to a path; return HTTP status and decoded answer."""
    made = certificates.fresh(["127.0.0.1"], datetime.now(UTC))
    (tmp_path / "tls.crt").write_bytes(made.leaf.certificate)
    (tmp_path / "tls.key").write_bytes(made.leaf.key)
    tls = context()
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    state = State(pods.Settings("gate:1"), "system:serviceaccount:gk:grovekeeper")
    state.find_set = lambda _namespace, name: {"kind": "PodGangSet", "metadata": {}} if name == "demo" else None
    server = Server(state)
    port = await server.listen("127.0.0.1", 0, tls)
    trusted = ssl.create_default_context(cadata=made.authority.certificate.decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:

        async def send(
            path: str, body: Any, content: str = "application/json", method: str = "POST"
        ) -> tuple[int, Any]:
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
            url = f"https://127.0.0.1:{port}{path}"
            async with session.request(method, url, data=data, headers={"Content-Type": content}) as answer:
                text = await answer.text()
                return answer.status, json.loads(text) if text.startswith("{") else text

        send.server = server  # type: ignore[attr-defined]
        yield send
    await server.stop(0)


def review(obj: Any = None, old: Any = None, operation: str = "CREATE", **more: Any) -> dict[str, Any]:
    given = obj or old or {}
    kind = {"group": "", "version": "v1", "kind": given.get("kind", "Pod")}
    request = {
        "uid": "u1",
        "operation": operation,
        "kind": kind,
        "object": obj,
        "oldObject": old,
        "namespace": "default",
    }
    resource = {"group": "", "version": "v1", "resource": f"{kind['kind'].lower()}s"}
    user = {"username": "somebody", "groups": []}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"resource": resource, "userInfo": user, **request, **more},
    }


def gang_pod() -> dict[str, Any]:
    obj = podgangset(clique("a"))
    found = whole.objects(obj, pods.Settings("gate:1"), lambda o, _operations: o)
    return next(each for each in found if each["kind"] == "Pod")


def applied(obj: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    patch = json.loads(base64.b64decode(answer["response"]["patch"]))
    result: dict[str, Any] = jsonpatch.apply_patch(obj, patch)
    return result


async def test_case_1_and_2_a_set_gets_its_defaults_once(post: Post) -> None:
    obj = podgangset(clique("a", None))
    _status, answer = await post("/webhooks/default-podgangset", review(obj))
    filled = applied(obj, answer)
    _status, again = await post("/webhooks/default-podgangset", review(filled))
    assert again["response"] == {"uid": "u1", "allowed": True}


async def test_case_4_6_and_22_a_pod_without_labels_or_name_is_patched_validly(post: Post) -> None:
    pod = gang_pod()
    pod["metadata"]["labels"] = None
    del pod["metadata"]["labels"]
    _status, answer = await post("/webhooks/mutate-pod", review(pod))
    done = applied(pod, answer)
    assert done["metadata"]["labels"][names.LABEL_PODGANG] == "demo-0"
    assert done["spec"]["hostname"] == "demo-0-a-0"


async def test_case_7_a_dry_run_is_answered_alike(post: Post) -> None:
    pod = gang_pod()
    real = await post("/webhooks/mutate-pod", review(pod))
    dry = await post("/webhooks/mutate-pod", review(pod, dryRun=True))
    assert real == dry


async def test_case_8_and_9_refusals_are_403_with_causes(post: Post) -> None:
    _status, answer = await post("/webhooks/validate-podgangset", review(podgangset(clique("A.b"))))
    status = answer["response"]["status"]
    assert (answer["response"]["allowed"], status["code"], status["reason"]) == (False, 403, "Forbidden")
    assert status["details"]["causes"][0]["field"] == "spec.template.cliques[0].name"


async def test_case_12_a_delete_without_object_passes_without_a_patch(post: Post) -> None:
    for path in ("/webhooks/mutate-pod", "/webhooks/default-podgangset", "/webhooks/validate-podgangset"):
        _status, answer = await post(path, review(None, gang_pod(), "DELETE"))
        assert answer["response"] == {"uid": "u1", "allowed": True}


@pytest.mark.parametrize("sub", ["ephemeralcontainers", "resize", "binding", "eviction"])
async def test_case_16_17_and_19_subresources_and_updates_of_pods_are_left_alone(post: Post, sub: str) -> None:
    _status, answer = await post("/webhooks/mutate-pod", review(gang_pod(), gang_pod(), "UPDATE", subResource=sub))
    assert "patch" not in answer["response"]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"kind":"Pod"}'])
async def test_case_28_what_is_no_review_is_a_400_without_a_traceback(post: Post, body: bytes) -> None:
    status, text = await post("/webhooks/mutate-pod", body)
    assert status == 400
    assert "Traceback" not in str(text)


async def test_case_29_control_characters_do_not_come_back(post: Post) -> None:
    obj = podgangset(clique("a\r\nb\x00"))
    _status, answer = await post("/webhooks/validate-podgangset", review(obj))
    assert not set(answer["response"]["status"]["message"]) & {"\r", "\n", "\x00"}


@pytest.mark.parametrize("version", ["admission.k8s.io/v1beta1", "v2"])
async def test_case_31_and_32_other_versions_and_missing_uids_are_refused(post: Post, version: str) -> None:
    body = {**review(gang_pod()), "apiVersion": version}
    assert (await post("/webhooks/mutate-pod", body))[0] == 400
    body = review(gang_pod(), uid="")
    assert (await post("/webhooks/mutate-pod", body))[0] == 400


async def test_case_33_and_34_content_types_methods_and_paths(post: Post) -> None:
    body = review(gang_pod())
    assert (await post("/webhooks/mutate-pod", body, "text/plain"))[0] == 415
    assert (await post("/webhooks/mutate-pod", body, "application/json; charset=utf-8"))[0] == 200
    assert (await post("/webhooks/mutate-pod", body, method="PUT"))[0] == 405
    assert (await post("/nowhere", body))[0] == 404


async def test_case_25_a_body_beyond_eight_mebibytes_is_refused_and_the_server_lives_on(post: Post) -> None:
    assert (await post("/webhooks/mutate-pod", b" " * (8 * 1024 * 1024 + 1)))[0] == 413
    assert (await post("/webhooks/mutate-pod", review(gang_pod())))[0] == 200


async def test_case_37_requests_in_flight_are_answered_on_the_way_down(post: Post) -> None:
    bodies = [post("/webhooks/mutate-pod", review(gang_pod())) for _ in range(50)]
    stopping = asyncio.ensure_future(post.server.stop(0.3))
    answers = await asyncio.gather(*bodies)
    await stopping
    assert {status for status, _answer in answers} == {200}


@pytest.mark.parametrize(
    ("user", "groups", "operation", "part_of", "want"),
    [
        ("somebody", [], "UPDATE", "demo", False),
        ("system:serviceaccount:gk:grovekeeper", [], "UPDATE", "demo", True),
        ("system:serviceaccount:kube-system:generic-garbage-collector", [], "DELETE", "demo", True),
        ("system:node:n1", ["system:nodes"], "UPDATE", "demo", True),
        ("somebody", [], "DELETE", "demo", False),
        ("somebody", [], "UPDATE", "gone", True),
    ],
)
async def test_managed_children_are_protected(
    post: Post, user: str, groups: list[str], operation: str, part_of: str, want: bool
) -> None:
    child = {"kind": "PodClique", "metadata": {"name": "c", "labels": {names.LABEL_PART_OF: part_of}}}
    body = review(None if operation == "DELETE" else child, child, operation)
    body["request"]["userInfo"] = {"username": user, "groups": groups}
    _status, answer = await post("/webhooks/authorizer-webhook", body)
    assert answer["response"]["allowed"] is want


def test_a_workload_parses_what_the_webhook_leaves() -> None:
    assert parse.workload(podgangset(clique("a"))).replicas == 1
