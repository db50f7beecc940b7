"""The admission server over TLS, and what an API server sends to it."""

import base64
import io
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jsonpatch
import pytest

from grovekeeper.runtime import certificates
from grovekeeper.webhooks.certificates import context
from grovekeeper.webhooks.server import Server
from grovekeeper.webhooks.state import State
from tests.webhooks import reviews


@dataclass(slots=True)
class Post:
    """Sends a body to a path; returns HTTP status and decoded answer."""

    session: aiohttp.ClientSession
    server: Server
    port: int
    tls: ssl.SSLContext
    """What the server serves with."""
    trusted: ssl.SSLContext

    async def __call__(
        self, path: str, body: Any, content: str = "application/json", method: str = "POST", **headers: str
    ) -> tuple[int, Any]:
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        url = f"https://127.0.0.1:{self.port}{path}"
        sent = {"Content-Type": content, **headers}
        async with self.session.request(method, url, data=data, headers=sent) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def response(self, path: str, body: Any) -> dict[str, Any]:
        """Return the response part of an answer that came with HTTP 200."""
        status, answer = await self(path, body)
        assert status == 200, answer
        assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        result: dict[str, Any] = answer["response"]
        return result


def write_pair(folder: Path, pair: certificates.Pair) -> None:
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    made = certificates.fresh(["127.0.0.1"], datetime.now(UTC))
    write_pair(tmp_path, made.leaf)
    tls = context()
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    state = State(reviews.SETTINGS, reviews.OWN_USER)
    state.find_set = lambda _namespace, name: {"kind": "PodGangSet", "metadata": {}} if name == "demo" else None
    server = Server(state)
    port = await server.listen("127.0.0.1", 0, tls)
    trusted = ssl.create_default_context(cadata=made.authority.certificate.decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:
        yield Post(session, server, port, tls, trusted)
    await server.stop(0)


def applied(obj: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """Return the object with the response's patch; KeyError without one."""
    patch = json.loads(base64.b64decode(response["patch"]))
    assert response["patchType"] == "JSONPatch"
    result: dict[str, Any] = jsonpatch.apply_patch(obj, patch)
    return result
