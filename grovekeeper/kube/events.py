"""Events for people: written in the background, never in the way, and not twice within a while."""

import asyncio
import contextlib
import logging
from time import monotonic

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources
from grovekeeper.kube.client import Client

_LOG = logging.getLogger(__name__)
_QUIET_SECONDS = 60.0
_QUEUE = 1000


class Recorder:
    """Writes core/v1 Events. What was said is said again only after a minute."""

    def __init__(self, client: Client, component: str) -> None:
        self._client = client
        self._component = component
        self._said: dict[tuple[str, str], tuple[str, float]] = {}
        self._waiting: asyncio.Queue[raw.Object] = asyncio.Queue(_QUEUE)

    def warning(self, about: raw.Object, reason: str, message: str, now: str) -> None:
        """Say that something is wrong with an object."""
        self._say(about, "Warning", reason, message, now)

    def normal(self, about: raw.Object, reason: str, message: str, now: str) -> None:
        """Say that something happened to an object."""
        self._say(about, "Normal", reason, message, now)

    async def run(self) -> None:
        """Write what is queued until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._client.create(resources.EVENTS, event)
            except errors.KubeError as error:
                _LOG.debug("event not written: %s", error)

    def _say(self, about: raw.Object, kind: str, reason: str, message: str, now: str) -> None:
        metadata = about["metadata"]
        key = (metadata.get("uid", ""), reason)
        said, when = self._said.get(key, ("", 0.0))
        if said == message and monotonic() - when < _QUIET_SECONDS:
            return
        if len(self._said) > 10_000:
            self._said.clear()
        self._said[key] = (message, monotonic())
        event: raw.Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "generateName": f"{metadata['name'][:40]}.",
                "namespace": metadata.get("namespace", "default"),
            },
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata.get("namespace", ""),
                "name": metadata["name"],
                "uid": metadata.get("uid", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": self._component},
            "reportingComponent": self._component,
        }
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(event)
