"""The admission server on the wire: what is no review, limits, metrics, the way down."""

import asyncio
import json
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from grovekeeper.webhooks import server as module
from grovekeeper.webhooks.validate import podgangset as validate_set
from tests import patience
from tests.builders import clique, podgangset
from tests.webhooks.conftest import Post
from tests.webhooks.reviews import POD, VALIDATE, created_pod, review


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"kind":"Pod"}'])
async def test_what_is_no_review_is_a_400_without_a_traceback(post: Post, body: bytes) -> None:
    status, text = await post(POD, body)
    assert status == 400
    assert "Traceback" not in str(text)
    assert (await post(POD, review(created_pod())))[0] == 200


@pytest.mark.parametrize("version", ["admission.k8s.io/v1beta1", "v2"])
async def test_other_versions_are_refused_with_the_one_that_is_answered(post: Post, version: str) -> None:
    status, text = await post(POD, {**review(created_pod()), "apiVersion": version})
    assert (status, "admission.k8s.io/v1" in text) == (400, True)


@pytest.mark.parametrize("uid", ["", None, 5])
async def test_a_uid_is_never_made_up(post: Post, uid: Any) -> None:
    assert (await post(POD, review(created_pod(), uid=uid)))[0] == 400


async def test_of_duplicate_keys_the_last_counts_as_in_the_api_server(post: Post) -> None:
    text = json.dumps(review(created_pod())).replace('"uid": "u1"', '"uid": "u0", "uid": "u1"', 1)
    _status, answer = await post(POD, text.encode())
    assert answer["response"]["uid"] == "u1"


async def test_content_types_methods_and_paths(post: Post) -> None:
    body = review(created_pod())
    assert (await post(POD, body, "text/plain"))[0] == 415
    assert (await post(POD, body, "application/json; charset=utf-8"))[0] == 200
    assert (await post(POD, body, method="PUT"))[0] == 405
    assert (await post(POD, b"", method="HEAD"))[0] == 405
    assert (await post("/nowhere", body))[0] == 404


async def test_a_body_beyond_eight_mebibytes_is_refused_and_the_server_lives_on(post: Post) -> None:
    assert (await post(POD, b" " * (8 * 1024 * 1024 + 1)))[0] == 413
    assert (await post(POD, review(created_pod())))[0] == 200


async def test_a_review_of_six_mebibytes_costs_less_than_a_second(post: Post) -> None:
    obj = podgangset(clique("a", podSpec={"containers": [{"name": "c", "image": "i", "args": ["x" * 3_000_000]}]}))
    begin = time.process_time()
    response = await post.response(VALIDATE, review(obj, {**obj, "metadata": {"name": "demo"}}, "UPDATE"))
    assert response["allowed"]
    assert time.process_time() - begin < patience.slowness()


@pytest.mark.parametrize("head", ["HTTP/1.1\r\nTransfer-Encoding: chunked", "HTTP/1.0\r\nContent-Length: {length}"])
async def test_chunked_bodies_and_old_clients_are_answered(post: Post, head: str) -> None:
    body = json.dumps(review(created_pod())).encode()
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if "chunked" in head else body
    answer = await raw_request(post, head.format(length=len(body)), sent)
    assert answer.split(b"\r\n")[0].split()[1] == b"200"
    assert b'"allowed":true' in answer


async def test_a_client_that_waits_for_the_word_to_go_on_gets_it(post: Post) -> None:
    body = json.dumps(review(created_pod())).encode()
    head = f"HTTP/1.1\r\nContent-Length: {len(body)}\r\nExpect: 100-continue"
    assert (await raw_request(post, head, b"", b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    answer = await raw_request(post, head, body)
    assert b'"allowed":true' in answer


async def test_a_connection_is_used_again_and_again(post: Post) -> None:
    body = review(created_pod())
    for _ in range(500):
        assert (await post(POD, body))[0] == 200
    assert value("controller_runtime_webhook_requests_in_flight", webhook=POD) == 0


async def test_a_body_that_does_not_come_is_given_up(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)
    answer = await raw_request(post, "HTTP/1.1\r\nContent-Length: 100", b"{", b"\r\n\r\n")
    assert b" 408 " in answer.split(b"\r\n")[0]


async def test_connections_that_say_nothing_or_half_a_head_neither_block_others_nor_the_way_down(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SHUTDOWN_SECONDS", 0.2)
    idle = [await asyncio.open_connection("127.0.0.1", post.port, ssl=post.trusted) for _ in range(20)]
    for _reader, writer in idle[10:]:
        writer.write(b"POST /webhooks/mutate-pod HTTP/1.1\r\nHos")
        await writer.drain()
    assert (await post(POD, review(created_pod())))[0] == 200
    async with asyncio.timeout(5):
        await post.server.stop(0)
    for reader, writer in idle:
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()


async def test_kept_connections_without_a_request_do_not_delay_the_way_down(post: Post) -> None:
    body = json.dumps(review(created_pod())).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", post.port, ssl=post.trusted)
    writer.write(request_head(f"HTTP/1.1\r\nContent-Length: {len(body)}") + body)
    await writer.drain()
    assert b" 200 " in await reader.readline()
    async with asyncio.timeout(module._SHUTDOWN_SECONDS / 2):
        await post.server.stop(0)
    writer.close()


async def test_a_fault_of_ours_is_an_answer_with_the_uid_and_counts_as_a_panic(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(validate_set.podgangset, "validate", broken)
    before = value("controller_runtime_webhook_panics_total")
    status, answer = await post(VALIDATE, review(podgangset(clique("a"))))
    response = answer["response"]
    assert (status, response["uid"], response["allowed"], response["status"]["code"]) == (200, "u1", False, 500)
    assert "boom" not in str(answer)
    assert value("controller_runtime_webhook_panics_total") == before + 1


async def test_the_metrics_have_the_names_that_people_know(post: Post) -> None:
    ok = {"webhook": VALIDATE, "code": "200"}
    before = (
        value("controller_runtime_webhook_requests_total", **ok),
        value("grovekeeper_admission_denied_total", webhook=VALIDATE),
    )
    await post(VALIDATE, review(podgangset(clique("a"))))
    await post(VALIDATE, review(podgangset(clique("A"))))
    await post(VALIDATE, b"{")
    assert value("controller_runtime_webhook_requests_total", **ok) == before[0] + 2
    assert value("controller_runtime_webhook_requests_total", webhook=VALIDATE, code="400") >= 1
    assert value("controller_runtime_webhook_requests_total", webhook=VALIDATE, code="500") >= 0
    assert value("grovekeeper_admission_denied_total", webhook=VALIDATE) == before[1] + 1
    assert value("controller_runtime_webhook_latency_seconds_count", webhook=VALIDATE) >= 3


async def test_requests_in_flight_are_answered_on_the_way_down(post: Post) -> None:
    """One that has begun before the listener closes, and whose body comes only after."""
    body = json.dumps(review(created_pod())).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", post.port, ssl=post.trusted)
    writer.write(request_head(f"HTTP/1.1\r\nContent-Length: {len(body)}") + body[:10])
    await writer.drain()
    others = [post(POD, review(created_pod())) for _ in range(50)]
    stopping = asyncio.ensure_future(post.server.stop(2))
    answers = await asyncio.gather(*others)
    assert {status for status, _answer in answers} == {200}
    async with asyncio.timeout(20):
        while post.server.listening:
            await asyncio.sleep(0.01)
    assert not stopping.done()
    writer.write(body[10:])
    answer = await asyncio.wait_for(reader.read(), 2)
    assert b'"allowed":true' in answer
    assert b"Connection: close" in answer
    writer.close()
    await stopping
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", post.port, ssl=post.trusted)


def request_head(head: str) -> bytes:
    version, _, rest = head.partition("\r\n")
    return f"POST {POD} {version}\r\nHost: x\r\nContent-Type: application/json\r\n{rest}\r\n\r\n".encode()


async def raw_request(post: Post, head: str, body: bytes, until: bytes = b'"allowed":true') -> bytes:
    """Send bytes as they are and return what has come when `until` is in it, or the server has closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", post.port, ssl=post.trusted)
    writer.write(request_head(head) + body)
    await writer.drain()
    received = b""
    async with asyncio.timeout(10):
        while until not in received and (part := await reader.read(65536)):
            received += part
    writer.close()
    return received


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0
