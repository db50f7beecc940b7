"""What a user reads when there is no cluster, and what the log never shows."""

import asyncio
from pathlib import Path

import pytest

from grovekeeper.kube import credentials, errors, http, resources
from grovekeeper.runtime import logs

REFUSED = """
apiVersion: v1
kind: Config
current-context: t
clusters: [{name: t, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: t, user: {token: x}}]
contexts: [{name: t, context: {cluster: t, user: t}}]
"""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param(None, "there is no file", id="missing"),
        pytest.param("a: [", "is not YAML (line 1)", id="not YAML"),
        pytest.param("[]", "is not a kubeconfig", id="a list"),
        pytest.param("kind: Config", "current-context is missing", id="nothing in it"),
        pytest.param(REFUSED.replace("current-context: t", "current-context: u"), 'is "u"', id="no context"),
        pytest.param(REFUSED.replace("user: t}", "user: u}"), 'contexts[name=t].context.user is "u"', id="no user"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, word: str
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(errors.Unauthorized) as caught:
        await credentials.load(path)
    assert word in str(caught.value)
    assert "--kubeconfig" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


async def test_a_server_that_does_not_answer_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(REFUSED)
    client = http.HttpClient(await credentials.load(tmp_path / "config"))
    try:
        with pytest.raises(errors.Unavailable) as caught:
            await client.list(resources.NODES)
    finally:
        await client.close()
    assert "no answer from https://127.0.0.1:1" in str(caught.value)
    assert "ConnectionKey" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "body", "doubt"),
    [
        pytest.param(504, b'{"code": 504, "message": "Timeout"}', True, id="a time-out"),
        pytest.param(502, b"<html>Bad Gateway</html>", True, id="not the API server's word"),
        pytest.param(500, b'{"code": 500, "message": "etcdserver: request timed out"}', True, id="etcd"),
        pytest.param(500, b'{"code": 500, "message": "rpc error: code = Unavailable"}', True, id="no word from etcd"),
        pytest.param(500, b'{"code": 500, "message": "failed calling webhook: timed out"}', False, id="admission"),
        pytest.param(503, b'{"code": 503, "message": "shutting down"}', False, id="not now"),
    ],
)
def test_what_may_have_been_done_is_told_from_what_was_not(code: int, body: bytes, doubt: bool) -> None:
    error = errors.from_response("PATCH pods/p", code, body)
    assert isinstance(error, errors.Unavailable)
    assert error.is_in_doubt == doubt


async def test_who_no_longer_holds_what_he_writes_under_reads_and_does_not_write(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(REFUSED)
    held = True
    client = http.HttpClient(await credentials.load(tmp_path / "config"), may_write=lambda: 60.0 * held)
    try:
        with pytest.raises(errors.Unavailable):
            await client.patch(resources.PODS, "p", "ns", {}, type="merge")
        held = False
        with pytest.raises(errors.Unavailable):
            await client.get(resources.PODS, "p", "ns")
        for write in (
            client.patch(resources.PODS, "p", "ns", {}, type="merge"),
            client.create(resources.PODS, {"metadata": {"name": "p", "namespace": "ns"}}),
            client.delete(resources.PODS, "p", "ns"),
            client.evict("p", "ns"),
        ):
            with pytest.raises(errors.Conflict, match="another process may hold the Lease"):
                await write
    finally:
        await client.close()


async def test_a_write_takes_no_longer_than_what_it_is_written_under_is_held(tmp_path: Path) -> None:
    heard: list[bytes] = []
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    (tmp_path / "config").write_text(REFUSED.replace("https://127.0.0.1:1", address))
    client = http.HttpClient(await credentials.load(tmp_path / "config"), may_write=lambda: 0.2)
    try:
        async with asyncio.timeout(2):
            with pytest.raises(errors.Unavailable, match=r"no answer within 0\.2 s"):
                await client.patch(resources.PODS, "p", "ns", {}, type="merge")
            await ended.wait()  # the connection is closed: the server need not go on
        assert len(heard) == 1
    finally:
        await client.close()
        server.close()


async def test_a_write_that_waits_for_its_token_is_not_sent_when_it_is_too_late() -> None:
    class Slow:
        url, ssl = "http://127.0.0.1:1", True

        async def headers(self) -> dict[str, str]:
            await asyncio.Event().wait()
            return {}

    client = http.HttpClient(Slow(), may_write=lambda: 0.1)
    async with asyncio.timeout(2):
        with pytest.raises(errors.Unavailable, match="no answer within"):
            await client.patch(resources.PODS, "p", "ns", {}, type="merge")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter2@redis:6379/0", "redis://user:***@redis:6379/0"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("password=hunter2, user=me", "password=***, user=me"),
        ("no answer from https://127.0.0.1:6443 (why)", "no answer from https://127.0.0.1:6443 (why)"),
    ],
)
def test_secrets_are_blotted_out_and_addresses_are_not(text: str, shown: str) -> None:
    assert logs.redacted(text) == shown
