"""Events for people: written in the background, never in the way, and few however much there is to say.

What is said of one object for one reason within a moment is one Event. The same text again is counted on the Event that
there is, once a minute at most; where news do not end, the pause between two Events of a topic doubles up to a minute.
So a thousand gangs that wait cost the API server one write a minute, and not a thousand with each look at them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from grovekeeper.api import raw
from grovekeeper.kube import errors, resources
from grovekeeper.kube.client import Client

_LOG = logging.getLogger(__name__)
_GATHER_SECONDS = 1.0
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 60.0
_FORGET_SECONDS = 300.0
"""After so long without news a topic begins anew, with short pauses."""
_TEXTS = 3
"""Texts that one Event shows; how many there were besides is counted."""
_TEXTS_KEPT = 1000
_TOPICS = 10_000
_CHARACTERS = 1024
"""A message may have no more (validation of core/v1 Event)."""


@dataclass(slots=True)
class Topic:
    """One reason for which something is said of one object."""

    about: Mapping[str, str]
    """An ObjectReference: of the object nothing else is kept."""
    kind: str
    """Normal or Warning."""
    reason: str
    news: dict[str, str] = field(default_factory=dict)
    """Texts that are not written yet, with the RFC 3339 times at which they were said last."""
    due: float = 0.0
    """Monotonic seconds at which they are written."""
    written: float = float("-inf")
    pause: float = 0.0
    event: raw.Object = field(default_factory=dict)
    """Of the last Event: metadata.name and metadata.namespace, message, count; empty before the first."""

    def says_again(self, text: str, now: float) -> bool:
        """Return whether this text is news: it is not what was written last, or that was a minute ago."""
        return bool(self.news) or self.event.get("message") != text or now - self.written >= _LONGEST_PAUSE

    def add(self, text: str, stamp: str, now: float) -> None:
        """Take a text in."""
        if not self.news:
            if now - self.written > _FORGET_SECONDS:
                self.pause = 0.0
            self.due = max(now + _GATHER_SECONDS, self.written + self.pause)
        if text in self.news or len(self.news) < _TEXTS_KEPT:
            self.news[text] = stamp

    def told(self) -> tuple[str, str]:
        """Return what there is to write, and the time at which the last of it was said; nothing is left after."""
        texts, stamp = list(self.news), max(self.news.values())
        self.news = {}
        more = f" (and {len(texts) - _TEXTS} more)" if len(texts) > _TEXTS else ""
        return "; ".join(texts[:_TEXTS])[: _CHARACTERS - len(more)] + more, stamp

    def wrote(self, event: raw.Object, now: float) -> None:
        """Remember what was written."""
        self.event, self.written = event, now
        self.pause = min(max(_FIRST_PAUSE, 2 * self.pause), _LONGEST_PAUSE)


class Recorder:
    """Writes core/v1 Events. `time` gives monotonic seconds."""

    def __init__(self, client: Client, component: str, time: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._component = component
        self._time = time
        self._topics: dict[tuple[str, str], Topic] = {}
        self._open: dict[tuple[str, str], Topic] = {}
        """Those with news."""
        self._more = asyncio.Event()

    def warning(self, about: raw.Object, reason: str, message: str, now: str) -> None:
        """Say that something is wrong with an object."""
        self._say(about, "Warning", reason, message, now)

    def normal(self, about: raw.Object, reason: str, message: str, now: str) -> None:
        """Say that something happened to an object."""
        self._say(about, "Normal", reason, message, now)

    async def run(self) -> None:
        """Write what is said until cancelled."""
        while True:
            self._more.clear()
            wait = await self.write_due()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._more.wait()

    async def write_due(self) -> float | None:
        """Write what is due; return the seconds until the next is, None where there is no news. O(open topics)."""
        now = self._time()
        for key in [key for key, topic in self._open.items() if topic.due <= now]:
            await self._write(self._open.pop(key), now)
        return max(0.0, min(topic.due for topic in self._open.values()) - now) if self._open else None

    def _say(self, about: raw.Object, kind: str, reason: str, message: str, now: str) -> None:
        key = about["metadata"].get("uid", ""), reason
        topic = self._topics.get(key)
        if topic is None:
            if len(self._topics) >= _TOPICS:
                self._topics = dict(self._open)
            topic = self._topics[key] = Topic(_reference(about), kind, reason)
        if topic.says_again(message, self._time()):
            topic.add(message, now, self._time())
            self._open[key] = topic
            self._more.set()

    async def _write(self, topic: Topic, now: float) -> None:
        text, stamp = topic.told()
        try:
            event = await self._count(topic.event, stamp) if topic.event.get("message") == text else None
            if event is None:
                event = await self._client.create(resources.EVENTS, self._event(topic, text, stamp))
        except errors.KubeError as error:
            _LOG.debug("event not written: %s", error)
            topic.wrote(topic.event, now)
        else:
            metadata = {key: event["metadata"][key] for key in ("name", "namespace")}
            topic.wrote({"metadata": metadata, "message": event["message"], "count": event["count"]}, now)

    async def _count(self, event: raw.Object, stamp: str) -> raw.Object | None:
        """Say once more what an Event says; None where it is gone: they are kept for an hour."""
        body = {"count": event["count"] + 1, "lastTimestamp": stamp}
        name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
        try:
            return await self._client.patch(resources.EVENTS, name, namespace, body, type="merge")
        except errors.NotFound:
            return None

    def _event(self, topic: Topic, text: str, stamp: str) -> raw.Object:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "generateName": f"{topic.about['name'][:40]}.",
                "namespace": topic.about["namespace"] or "default",
            },
            "involvedObject": topic.about,
            "type": topic.kind,
            "reason": topic.reason,
            "message": text,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "source": {"component": self._component},
            "reportingComponent": self._component,
        }


def _reference(obj: raw.Object) -> dict[str, str]:
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
    }
