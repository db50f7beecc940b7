"""Keeping the serving certificate: made by ourselves and kept in a Secret, or given as files.

All replicas read the Secret and may renew it; a write with a stale resourceVersion loses, so one of them wins. The CA
bundle is written into the webhook configurations whenever it differs from what is there. With files somebody else
(cert-manager) renews the pair and writes the bundle; we look whether both are there and belong together.
"""

import asyncio
import logging
import ssl
import tempfile
from base64 import b64decode, b64encode
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources
from grovekeeper.kube.client import Client
from grovekeeper.runtime import certificates, metrics
from grovekeeper.runtime.clock import Clock
from grovekeeper.runtime.settings import Settings
from grovekeeper.webhooks import certsecret

_LOG = logging.getLogger(__name__)
_CHECK_SECONDS = 10.0
_CONFIGURATIONS = (resources.MUTATING_WEBHOOKS, resources.VALIDATING_WEBHOOKS)


@dataclass(slots=True)
class Keeper:
    """Loads certificates into a live TLS context: new handshakes use the new leaf, open connections go on."""

    settings: Settings
    client: Client
    clock: Clock
    context: ssl.SSLContext
    trouble: str | None = "no certificate has been loaded yet"
    """What went wrong in the last look; the last good pair goes on serving."""
    untrusted: str | None = None
    """Why the API server will not trust what is served."""
    _loaded: bytes = b""
    _expiry: datetime | None = field(default=None)

    @property
    def problem(self) -> str | None:
        """Return why API servers cannot call us, as a sentence; None while the pair that is loaded can serve.

        An API server that does not answer for a while is no reason to be taken out of service.
        """
        if self._expiry is None:
            return self.trouble
        if self._expiry <= self.clock.now():
            if self._from_outside and self.trouble:
                return self.trouble
            why = self.trouble or "a new one is on its way"
            return f"the certificate ended at {self._expiry:%Y-%m-%d %H:%M} UTC and was not renewed: {why}"
        return self.untrusted

    @property
    def _from_outside(self) -> bool:
        return self.settings.webhook.cert_mode == "files"

    async def run(self) -> None:
        """Look after the certificate until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(_CHECK_SECONDS if self.problem is None and self.trouble is None else 1.0)

    async def step(self) -> None:
        """Renew, load and publish what is due. On trouble the last good pair goes on serving."""
        metrics.CERTIFICATE_READS.inc()
        before = self.trouble, self.untrusted
        try:
            await (self._from_files() if self._from_outside else self._made())
        except (errors.KubeError, OSError, ValueError) as error:
            self.trouble = str(error)
        if self.trouble is not None:
            metrics.CERTIFICATE_ERRORS.inc()
        if before != (self.trouble, self.untrusted):
            for text in filter(None, (self.trouble, self.untrusted)):
                _LOG.warning("certificate: %s", text)

    def hosts(self) -> list[str]:
        """Return the names that the API server may use for us."""
        name, namespace = self.settings.webhook.service_name, self.settings.namespace
        hosts = [f"{name}.{namespace}.svc", name, f"{name}.{namespace}", f"{name}.{namespace}.svc.cluster.local"]
        url = self.settings.webhook.url
        return [*hosts, url.partition("://")[2].rpartition(":")[0]] if url else hosts

    async def _from_files(self) -> None:
        folder = self.settings.webhook.cert_dir
        certificate, key = _read(folder / "tls.crt"), _read(folder / "tls.key")
        self.trouble = certificates.mismatch(certificate, key)
        if self.trouble is None:
            self.trouble = certificates.out_of_date(certificate, self.clock.now())
            # One that has ended is better than none: the API server's word about it is the clearer one.
            if self.trouble is None or not self._loaded:
                self._load(certificate, key)
        if self._loaded:
            self.untrusted = await self._distrust()

    async def _distrust(self) -> str | None:
        """Return why an API server will refuse the loaded leaf, or None."""
        for resource, live in [(resource, await self._configuration(resource)) for resource in _CONFIGURATIONS]:
            if live is None:
                return self._absent(resource)
            for hook in live.get("webhooks") or ():
                bundle = b64decode(hook["clientConfig"].get("caBundle") or "")
                if not certificates.trusted(self._loaded, bundle):
                    return (
                        f"{resource.kind} {live['metadata']['name']} does not trust the certificate (caBundle "
                        f"{'is of another authority' if bundle else 'is empty'}): look at cert-manager's cainjector "
                        "and the annotation cert-manager.io/inject-ca-from, or write the authority into caBundle"
                    )
        return None

    async def _made(self) -> None:
        secret, old = await self._stored()
        if old is not None and old.next_authority is not None and await self._publish(certificates.bundle(old)):
            # The clock of the rotation runs from the moment at which the bundle is really out.
            await self._write(secret, replace(old, next_published=self.clock.now()))
            secret, old = await self._stored()
        new = certificates.step(old, self.hosts(), self.clock.now())
        if new is not old:
            try:
                await self._write(secret, new)
            except (errors.Conflict, errors.AlreadyExists):
                # Another replica was faster; what it wrote is as good.
                _secret, found = await self._stored()
                new = found or new
        self._load(new.leaf.certificate, new.leaf.key)
        self.trouble = None
        await self._publish(certificates.bundle(new))

    async def _stored(self) -> tuple[raw.Object | None, certificates.State | None]:
        name, namespace = self.settings.webhook.secret_name, self.settings.namespace
        try:
            secret = await self.client.get(resources.SECRETS, name, namespace)
        except errors.NotFound:
            return None, None
        return secret, certsecret.state(secret)

    async def _write(self, old: raw.Object | None, new: certificates.State) -> None:
        desired = certsecret.secret(old, new, self.settings.webhook.secret_name, self.settings.namespace)
        if old is None:
            await self.client.create(resources.SECRETS, desired)
        else:
            await self.client.replace(resources.SECRETS, desired)

    def _load(self, certificate: bytes, key: bytes) -> None:
        if certificate == self._loaded:
            return
        with tempfile.TemporaryDirectory() as folder:
            chain, secret = Path(folder) / "tls.crt", Path(folder) / "tls.key"
            chain.write_bytes(certificate)
            secret.touch(mode=0o600)
            secret.write_bytes(key)
            self.context.load_cert_chain(chain, secret)
        self._loaded = certificate
        self._expiry = certificates.leaf_expiry(certificate)
        metrics.CERTIFICATE_EXPIRY.set(self._expiry.timestamp())
        _LOG.info("serving a certificate that ends at %s", self._expiry)

    async def _publish(self, bundle: bytes) -> bool:
        """Write the bundle into our webhook configurations where it differs; return whether it did anywhere."""
        wanted = b64encode(bundle).decode()
        self.untrusted = None
        written = False
        for resource in _CONFIGURATIONS:
            live = await self._configuration(resource)
            if live is None:
                self.untrusted = self._absent(resource)
                continue
            changes: list[raw.PatchOp] = [
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted}
                for index, hook in enumerate(live.get("webhooks") or ())
                if hook["clientConfig"].get("caBundle") != wanted
            ]
            if changes:
                await self.client.patch(resource, live["metadata"]["name"], None, changes, type="json")
                written = True
        return written

    async def _configuration(self, resource: resources.Resource) -> raw.Object | None:
        try:
            return await self.client.get(resource, self.settings.webhook.configuration_name)
        except errors.NotFound:
            return None

    def _absent(self, resource: resources.Resource) -> str:
        name = self.settings.webhook.configuration_name
        return f"{resource.kind} {name} does not exist: install the chart's webhook configurations"


def context() -> ssl.SSLContext:
    """Return a server context without a certificate yet: TLS 1.2 or newer."""
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    result.minimum_version = ssl.TLSVersion.TLSv1_2
    return result


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: mount the Secret of the certificate there, or wait for it") from error
