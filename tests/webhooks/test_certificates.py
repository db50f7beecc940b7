"""The certificate over its life: made, rotated under load, lost, given by cert-manager, expired."""

import asyncio
import copy
import json
import ssl
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import jsonpatch
import pytest
from cryptography import x509

from grovekeeper.kube import errors
from grovekeeper.kube.client import Client
from grovekeeper.kube.resources import Resource
from grovekeeper.runtime import certificates
from grovekeeper.runtime.clock import Clock
from grovekeeper.runtime.settings import Settings, Webhook
from grovekeeper.webhooks.certificates import Keeper, context
from grovekeeper.webhooks.server import Server
from grovekeeper.webhooks.state import State
from tests.webhooks import reviews
from tests.webhooks.conftest import write_pair

START = datetime.now(UTC)
HOST = "grovekeeper-webhook.grovekeeper-system.svc"


class Moved(Clock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.days = 0.0

    def now(self) -> datetime:
        return START + timedelta(days=self.days)


class Cluster:
    """The Secret and the two webhook configurations, in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            hooks = [{"name": name, "clientConfig": {}} for name in ("a", "b")]
            self.objects[kind] = {"kind": kind, "metadata": {"name": "grovekeeper"}, "webhooks": hooks}
        self.away = False
        self.writes = 0

    async def get(self, resource: Resource, _name: str, _namespace: str | None = None) -> Any:
        if self.away:
            raise errors.Unavailable("GET secrets: no answer")
        if resource.kind not in self.objects:
            raise errors.NotFound(f"no {resource.kind}")
        return copy.deepcopy(self.objects[resource.kind])

    async def create(self, resource: Resource, obj: Any) -> Any:
        return await self.replace(resource, obj)

    async def replace(self, resource: Resource, obj: Any) -> Any:
        self.writes += 1
        self.objects[resource.kind] = copy.deepcopy(obj)
        return obj

    async def patch(self, resource: Resource, _name: str, _namespace: None, body: Any, *, type: str) -> Any:
        assert type == "json"
        if self.away:
            raise errors.Unavailable("PATCH: no answer")
        self.writes += 1
        self.objects[resource.kind] = jsonpatch.apply_patch(self.objects[resource.kind], body)
        return self.objects[resource.kind]

    def bundles(self) -> set[str]:
        """Return the distinct bundles of all hooks of both configurations."""
        found = [self.objects[k] for k in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")]
        return {hook["clientConfig"].get("caBundle", "") for obj in found for hook in obj["webhooks"]}

    def inject(self, bundle: bytes) -> None:
        """Write the bundle as cert-manager's cainjector does."""
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            for hook in self.objects[kind]["webhooks"]:
                hook["clientConfig"]["caBundle"] = b64encode(bundle).decode()

    def secret(self, name: str) -> bytes:
        return b64decode(self.objects["Secret"]["data"][name])


def keeper(cluster: Cluster, clock: Clock, **webhook: Any) -> Keeper:
    settings = Settings(webhook=Webhook(**{"url": "https://127.0.0.1:1", **webhook}))
    return Keeper(settings, cast(Client, cluster), clock, context())


async def test_a_pair_is_made_published_everywhere_and_nothing_is_written_at_rest() -> None:
    cluster = Cluster()
    ours = keeper(cluster, Moved())
    assert ours.problem == "no certificate has been loaded yet"
    await ours.step()
    assert ours.problem is None
    assert cluster.bundles() == {b64encode(cluster.secret("ca.crt")).decode()}
    written = cluster.writes
    await ours.step()
    assert cluster.writes == written


async def test_a_bundle_that_somebody_changed_is_put_right_not_only_an_empty_one() -> None:
    cluster = Cluster()
    ours = keeper(cluster, Moved())
    await ours.step()
    cluster.inject(b"garbage")
    await ours.step()
    assert cluster.bundles() == {b64encode(cluster.secret("ca.crt")).decode()}


async def test_a_missing_configuration_is_a_sentence_with_the_next_step() -> None:
    cluster = Cluster()
    del cluster.objects["MutatingWebhookConfiguration"]
    ours = keeper(cluster, Moved())
    await ours.step()
    assert "MutatingWebhookConfiguration grovekeeper does not exist: install" in str(ours.problem)


async def test_an_api_server_that_is_away_takes_nobody_out_of_service_until_the_leaf_ends() -> None:
    cluster, clock = Cluster(), Moved()
    ours = keeper(cluster, clock)
    await ours.step()
    cluster.away = True
    clock.days = 80
    await ours.step()
    assert (ours.problem, ours.trouble) == (None, "GET secrets: no answer")
    clock.days = 91
    await ours.step()
    assert "and was not renewed: GET secrets: no answer" in str(ours.problem)
    cluster.away = False
    await ours.step()
    assert ours.problem is None


async def test_the_next_leaf_waits_for_its_authority_to_be_published_however_long_that_takes() -> None:
    """Publishing fails for an hour in the middle of the rotation: the old leaf serves on."""
    cluster, clock = Cluster(), Moved()
    ours = keeper(cluster, clock)
    await ours.step()
    first = cluster.secret("ca.crt")
    for day in range(59, 270, 12):
        clock.days = day
        await ours.step()
    patch, cluster.patch = cluster.patch, refuse  # type: ignore[method-assign]
    clock.days = 276
    await ours.step()
    following = cluster.secret("next-ca.crt")
    clock.days += 1 / 24
    await ours.step()
    assert cluster.secret("ca.crt") == first
    assert following not in b64decode(next(iter(cluster.bundles())))
    cluster.patch = patch  # type: ignore[method-assign]
    await ours.step()
    assert {b64decode(bundle) for bundle in cluster.bundles()} == {first + following}
    clock.days += 60 / 86400
    await ours.step()
    assert cluster.secret("ca.crt") == first
    clock.days += 60 / 86400
    await ours.step()
    assert cluster.secret("ca.crt") == following


async def refuse(*_arguments: object, **_more: object) -> None:
    raise errors.Forbidden("PATCH: forbidden")


async def test_no_handshake_and_no_request_fails_while_everything_is_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LEAF_RENEW", certificates.LEAF_LIFE + timedelta(days=1))
    monkeypatch.setattr(certificates, "SPREAD_TIME", timedelta(seconds=0.1))
    cluster = Cluster()
    ours = keeper(cluster, Clock())
    await ours.step()
    first = cluster.secret("ca.crt")
    server = Server(State(reviews.SETTINGS, reviews.OWN_USER))
    port = await server.listen("127.0.0.1", 0, ours.context)
    body = json.dumps(reviews.review(reviews.created_pod())).encode()
    serials: set[int] = set()
    done = asyncio.Event()

    async def call() -> None:
        """Call with a new connection each time, trusting what is published, as an API server does."""
        while not done.is_set():
            trusted = ssl.create_default_context(cadata=b64decode(next(iter(cluster.bundles()))).decode())
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
            serials.add(int(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"], 16))
            writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % reviews.POD.encode())
            writer.write(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            assert b'"allowed":true' in await reader.read()
            writer.close()
            await writer.wait_closed()

    calls = [asyncio.create_task(call()) for _ in range(4)]
    for authority_too in (False, False, True, True, True, True):
        if authority_too:
            monkeypatch.setattr(certificates, "CA_RENEW", certificates.CA_LIFE + timedelta(days=1))
        await ours.step()
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            while serial(cluster.secret("tls.crt")) not in serials:
                await asyncio.sleep(0.01)
    assert cluster.secret("ca.crt") != first
    done.set()
    await asyncio.gather(*calls)
    await server.stop(0)
    assert len(serials) >= 4


def serial(certificate: bytes) -> int:
    return x509.load_pem_x509_certificate(certificate).serial_number


async def test_files_are_read_again_when_they_change_and_half_a_pair_is_never_loaded(tmp_path: Path) -> None:
    """The test writes what the kubelet mounts and what cert-manager's cainjector publishes."""
    cluster = Cluster()
    ours = keeper(cluster, Moved(), cert_mode="files", cert_dir=tmp_path)
    await ours.step()
    assert "tls.crt does not exist: mount the Secret" in str(ours.problem)
    first, second = (certificates.fresh([HOST], START) for _ in range(2))
    write_pair(tmp_path, first.leaf)
    await ours.step()
    assert "caBundle is empty" in str(ours.problem)
    assert "cert-manager.io/inject-ca-from" in str(ours.problem)
    cluster.inject(second.authority.certificate)
    await ours.step()
    assert "caBundle is of another authority" in str(ours.problem)
    cluster.inject(first.authority.certificate + second.authority.certificate)
    await ours.step()
    assert ours.problem is None
    (tmp_path / "tls.crt").write_bytes(second.leaf.certificate)
    await ours.step()
    assert ours.problem is None
    assert "do not belong together" in str(ours.trouble)
    (tmp_path / "tls.key").write_bytes(second.leaf.key)
    await ours.step()
    assert (ours.problem, ours.trouble) == (None, None)
    assert "Secret" not in cluster.objects
    assert cluster.writes == 0


@pytest.mark.parametrize("days", [[0, 91], [91]], ids=["while serving", "from the start"])
async def test_an_expired_file_is_a_sentence_with_the_next_step(tmp_path: Path, days: list[int]) -> None:
    cluster, clock = Cluster(), Moved()
    made = certificates.fresh([HOST], START)
    write_pair(tmp_path, made.leaf)
    cluster.inject(made.authority.certificate)
    ours = keeper(cluster, clock, cert_mode="files", cert_dir=tmp_path)
    for clock.days in days:
        await ours.step()
    assert "the certificate ended at" in str(ours.problem)
    assert "kubectl describe certificate" in str(ours.problem)


def test_trust_follows_the_chain_to_the_bundle() -> None:
    one, other = certificates.fresh([HOST], START), certificates.fresh([HOST], START)
    assert certificates.trusted(one.leaf.certificate, other.authority.certificate + one.authority.certificate)
    assert certificates.trusted(one.leaf.certificate + one.authority.certificate, one.authority.certificate)
    assert certificates.trusted(one.leaf.certificate, one.leaf.certificate)
    assert not certificates.trusted(one.leaf.certificate, other.authority.certificate)
    assert not certificates.trusted(one.leaf.certificate, b"")


async def test_back_from_cert_manager_its_secret_is_made_ours_again() -> None:
    cluster = Cluster()
    ours = keeper(cluster, Moved())
    given, mine = (certificates.fresh(ours.hosts(), START) for _ in range(2))
    parts = {
        "tls.crt": given.leaf.certificate,
        "tls.key": given.leaf.key,
        "ca.crt": given.authority.certificate,
        "ca.key": mine.authority.key,  # left from before: cert-manager keeps what it does not write
    }
    cluster.objects["Secret"] = {
        "kind": "Secret",
        "metadata": {
            "name": "grovekeeper-webhook-cert",
            "namespace": "grovekeeper-system",
            "annotations": {"cert-manager.io/certificate-name": "grovekeeper-webhook", "kept": "yes"},
            "labels": {"controller.cert-manager.io/fao": "true"},
        },
        "data": {name: b64encode(value).decode() for name, value in parts.items()},
    }
    await ours.step()
    assert ours.problem is None
    assert cluster.objects["Secret"]["metadata"]["annotations"] == {"kept": "yes"}
    assert cluster.objects["Secret"]["metadata"]["labels"] == {}
    assert cluster.secret("ca.crt") != given.authority.certificate
    assert cluster.bundles() == {b64encode(cluster.secret("ca.crt")).decode()}


@pytest.mark.parametrize(
    "data", [{}, {"tls.crt": "!"}, {"ca.crt": "eA==", "ca.key": "eA==", "tls.crt": "eA==", "tls.key": "eA=="}]
)
async def test_a_secret_that_somebody_broke_is_made_anew(data: dict[str, str]) -> None:
    cluster = Cluster()
    cluster.objects["Secret"] = {"kind": "Secret", "metadata": {"name": "x"}, "data": data}
    ours = keeper(cluster, Moved())
    await ours.step()
    assert ours.problem is None
