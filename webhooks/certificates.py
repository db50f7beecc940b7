"""Keeping the serving certificate: made by ourselves and kept in a Secret, or given as files.

All replicas read the Secret and may renew it; a write with a stale resourceVersion loses, so one of them wins. The CA
bundle is written into the webhook configurations whenever it differs from what is there.
"""

import asyncio
import logging
import ssl
import tempfile
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources
from grovekeeper.kube.http import HttpClient
from grovekeeper.runtime import certificates, metrics
from grovekeeper.runtime.clock import Clock, parse, rfc3339
from grovekeeper.runtime.settings import Settings

_LOG = logging.getLogger(__name__)
_CHECK_SECONDS = 10.0
_NEXT_PUBLISHED = "grovekeeper.io/next-authority-published"


@dataclass(slots=True)
class Keeper:
    """Loads certificates into a live TLS context: new handshakes use the new leaf, open connections go on."""

    settings: Settings
    client: HttpClient
    clock: Clock
    context: ssl.SSLContext
    problem: str | None = "no certificate has been loaded yet"
    _loaded: bytes = b""
    _bundle: bytes = b""

    async def run(self) -> None:
        """Look after the certificate until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(_CHECK_SECONDS if self.problem is None else 1.0)

    async def step(self) -> None:
        """Renew, load and publish what is due. On trouble the last good pair goes on serving."""
        try:
            if self.settings.webhook.cert_mode == "files":
                self._from_files()
                return
            state = await self._stored()
            self._load(state.leaf.certificate, state.leaf.key)
            self._bundle = certificates.bundle(state)
            await self._publish()
        except (errors.KubeError, OSError, ValueError) as error:
            self.problem = f"certificate: {error}"
            _LOG.warning("certificate not renewed, the last one goes on serving: %s", error)

    def hosts(self) -> list[str]:
        """Return the names that the API server may use for us."""
        name, namespace = self.settings.webhook.service_name, self.settings.namespace
        hosts = [f"{name}.{namespace}.svc", name, f"{name}.{namespace}", f"{name}.{namespace}.svc.cluster.local"]
        url = self.settings.webhook.url
        return [*hosts, url.partition("://")[2].rpartition(":")[0]] if url else hosts

    def _from_files(self) -> None:
        folder = self.settings.webhook.cert_dir
        certificate, key = (folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes()
        self.problem = certificates.problem(certificate, key, self.clock.now())
        if self.problem is None:
            self._load(certificate, key)

    async def _stored(self) -> certificates.State:
        name, namespace = self.settings.webhook.secret_name, self.settings.namespace
        try:
            secret = await self.client.get(resources.SECRETS, name, namespace)
        except errors.NotFound:
            secret = None
        old = _state(secret)
        new = certificates.step(old, self.hosts(), self.clock.now())
        if new is old:
            return new
        try:
            await self._write(secret, new)
        except (errors.Conflict, errors.AlreadyExists):
            # Another replica was faster; what it wrote is as good.
            return await self._stored()
        return new

    async def _write(self, secret: raw.Object | None, state: certificates.State) -> None:
        metadata = {"name": self.settings.webhook.secret_name, "namespace": self.settings.namespace}
        desired: raw.Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": metadata if secret is None else {**secret["metadata"]},
            "data": _data(state),
        }
        if state.next_published is not None:
            annotations = desired["metadata"].get("annotations") or {}
            stamp = rfc3339(state.next_published)
            desired["metadata"]["annotations"] = {**annotations, _NEXT_PUBLISHED: stamp}
        if secret is None:
            await self.client.create(resources.SECRETS, desired)
        else:
            await self.client.replace(resources.SECRETS, desired)

    def _load(self, certificate: bytes, key: bytes) -> None:
        if certificate != self._loaded:
            with tempfile.TemporaryDirectory() as folder:
                chain, secret = Path(folder) / "tls.crt", Path(folder) / "tls.key"
                chain.write_bytes(certificate)
                secret.touch(mode=0o600)
                secret.write_bytes(key)
                self.context.load_cert_chain(chain, secret)
            self._loaded = certificate
            metrics.CERTIFICATE_EXPIRY.set(certificates.leaf_expiry(certificate).timestamp())
        self.problem = None

    async def _publish(self) -> None:
        """Write the bundle into our webhook configurations where it differs: not only where it is empty."""
        wanted = b64encode(self._bundle).decode()
        name = self.settings.webhook.configuration_name
        for resource in (resources.MUTATING_WEBHOOKS, resources.VALIDATING_WEBHOOKS):
            try:
                live = await self.client.get(resource, name)
            except errors.NotFound:
                self.problem = f"{resource.kind} {name} does not exist: install the chart's webhook configurations"
                continue
            changes = [
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted}
                for index, hook in enumerate(live.get("webhooks") or ())
                if hook["clientConfig"].get("caBundle") != wanted
            ]
            if changes:
                await self.client.patch(resource, name, None, changes, type="json")


def context() -> ssl.SSLContext:
    """Return a server context without a certificate yet: TLS 1.2 or newer."""
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    result.minimum_version = ssl.TLSVersion.TLSv1_2
    return result


def _data(state: certificates.State) -> dict[str, str]:
    parts = {
        "tls.crt": state.leaf.certificate,
        "tls.key": state.leaf.key,
        "ca.crt": state.authority.certificate,
        "ca.key": state.authority.key,
    }
    if state.next_authority is not None:
        parts["next-ca.crt"] = state.next_authority.certificate
        parts["next-ca.key"] = state.next_authority.key
    return {name: b64encode(value).decode() for name, value in parts.items()}


def _state(secret: raw.Object | None) -> certificates.State | None:
    data = (secret or {}).get("data") or {}
    try:
        parts = {name: b64decode(text) for name, text in data.items()}
        following = certificates.Pair(parts["next-ca.crt"], parts["next-ca.key"]) if "next-ca.crt" in parts else None
        return certificates.State(
            certificates.Pair(parts["ca.crt"], parts["ca.key"]),
            certificates.Pair(parts["tls.crt"], parts["tls.key"]),
            following,
            _published(secret) if following else None,
        )
    except (KeyError, ValueError):
        return None


def _published(secret: raw.Object | None) -> datetime | None:
    text = (((secret or {}).get("metadata") or {}).get("annotations") or {}).get(_NEXT_PUBLISHED)
    return parse(text) if text else None
