"""Leader election on a Lease, with the times of client-go: 15 s lease, renewed every 2 s, given up after 10 s.

The official package's election calls back from threads and cannot release on the way out; both matter here.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources
from grovekeeper.kube.client import Client

_LOG = logging.getLogger(__name__)


class Election:
    """Runs one task while, and only while, this process holds the Lease."""

    def __init__(self, client: Client, namespace: str, name: str, identity: str, *, duration: float = 15.0) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._retry = duration / 7.5
        self._deadline = duration / 1.5
        self._seen: tuple[str, float] = ("", 0.0)
        self.leading = False
        self._renewed = 0.0

    def left(self) -> float:
        """Return for how many seconds nobody else can hold the Lease: so long a write of the holder may take.

        0 once the deadline has passed: nothing more is begun then. A process that was stopped and goes on notices by
        the clock, before its next renewal tells it.
        """
        since = monotonic() - self._renewed
        return self._duration - since if self.leading and since < self._deadline else 0.0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Stand for election until cancelled; run `lead` when elected, cancel it when the Lease is lost."""
        while True:
            await self._acquire()
            _LOG.info("leading: holder of lease %s/%s is %s", self._namespace, self._name, self._identity)
            self.leading = True
            task = asyncio.ensure_future(lead())
            try:
                await self._hold(task)
            finally:
                self.leading = False
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await self._release()

    async def _acquire(self) -> None:
        while not await self._try():
            await asyncio.sleep(self._retry)

    async def _hold(self, task: asyncio.Future[None]) -> None:
        while True:
            done, _ = await asyncio.wait([task], timeout=self._retry)
            if done:
                task.result()
                return
            if not await self._try() and monotonic() - self._renewed > self._deadline:
                _LOG.warning("lost lease %s/%s", self._namespace, self._name)
                return

    async def _try(self) -> bool:
        begin = monotonic()
        try:
            held = await self._update()
        except errors.KubeError as error:
            _LOG.warning("lease %s/%s: %s", self._namespace, self._name, error)
            return False
        if held:
            self._renewed = begin
        return held

    async def _update(self) -> bool:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            lease = await self._client.get(resources.LEASES, self._name, self._namespace)
        except errors.NotFound:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec(now, now, 0),
            }
            await self._client.create(resources.LEASES, lease)
            return True
        spec: raw.Object = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder != self._identity:
            mark = lease["metadata"]["resourceVersion"]
            if mark != self._seen[0]:
                self._seen = (mark, monotonic())
            if holder and monotonic() - self._seen[1] < (spec.get("leaseDurationSeconds") or self._duration):
                return False
            lease["spec"] = self._spec(now, now, (spec.get("leaseTransitions") or 0) + 1)
        else:
            lease["spec"] = self._spec(spec.get("acquireTime") or now, now, spec.get("leaseTransitions") or 0)
        await self._client.replace(resources.LEASES, lease)
        return True

    async def _release(self) -> None:
        """Let go of the Lease, so that the next one need not wait for it to run out."""
        with contextlib.suppress(errors.KubeError):
            lease = await self._client.get(resources.LEASES, self._name, self._namespace)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                lease["spec"] = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.replace(resources.LEASES, lease)

    def _spec(self, acquired: str, renewed: str, transitions: int) -> raw.Object:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, int(self._duration)),
            "acquireTime": acquired,
            "renewTime": renewed,
            "leaseTransitions": transitions,
        }
