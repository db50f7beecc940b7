"""What is said becomes few Events, and nothing that is said is lost."""

from typing import Any

from grovekeeper.api import raw
from grovekeeper.kube import errors, events, resources

SET = {
    "apiVersion": "grove.io/v1alpha1",
    "kind": "PodGangSet",
    "metadata": {"name": "chat", "namespace": "ns", "uid": "u"},
}
NOW = "2026-01-01T00:00:00Z"


class Server:
    """Keeps Events by name."""

    def __init__(self) -> None:
        self.stored: dict[str, raw.Object] = {}
        self.moment = 0.0
        self.away = False

    async def create(self, resource: Any, obj: raw.Object) -> raw.Object:
        assert resource is resources.EVENTS
        if self.away:
            raise errors.Unavailable("no answer")
        name = f"{obj['metadata']['generateName']}{len(self.stored)}"
        self.stored[name] = {**obj, "metadata": {**obj["metadata"], "name": name}}
        return self.stored[name]

    async def patch(self, _resource: Any, name: str, _namespace: str, body: raw.Object, *, type: str) -> raw.Object:
        assert type == "merge"
        if name not in self.stored:
            raise errors.NotFound(name)
        self.stored[name] = {**self.stored[name], **body}
        return self.stored[name]

    def said(self) -> list[tuple[str, int]]:
        return [(each["message"], each["count"]) for each in self.stored.values()]


def begun() -> tuple[Server, events.Recorder]:
    server = Server()
    return server, events.Recorder(server, "worker", lambda: server.moment)  # type: ignore[arg-type]


async def pass_(server: Server, recorder: events.Recorder, seconds: float) -> None:
    """Let time pass as the recorder's own loop would."""
    end = server.moment + seconds
    while (wait := await recorder.write_due()) is not None and server.moment + wait <= end:
        server.moment += wait
    server.moment = end


async def test_what_is_said_within_a_moment_is_one_event_that_shows_some_and_counts_the_others() -> None:
    server, recorder = begun()
    for number in range(5):
        recorder.warning(SET, "GangUnschedulable", f"chat-{number}: no room", NOW)
    recorder.normal(SET, "GangPlaced", "chat-9: placed", NOW)
    assert server.said() == []
    await pass_(server, recorder, 2)
    assert server.said() == [
        ("chat-0: no room; chat-1: no room; chat-2: no room (and 2 more)", 1),
        ("chat-9: placed", 1),
    ]
    first = next(iter(server.stored.values()))
    assert first["involvedObject"]["uid"] == "u"
    assert (first["type"], first["reason"], first["source"]) == (
        "Warning",
        "GangUnschedulable",
        {"component": "worker"},
    )


async def test_the_same_text_is_counted_on_its_event_once_a_minute() -> None:
    server, recorder = begun()
    for second in range(130):
        recorder.warning(SET, "GangUnschedulable", "no room", f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z")
        await pass_(server, recorder, 1)
    assert server.said() == [("no room", 3)]
    (event,) = server.stored.values()
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:02:02Z")


async def test_an_event_that_has_expired_is_written_anew() -> None:
    server, recorder = begun()
    recorder.warning(SET, "GangUnschedulable", "no room", NOW)
    await pass_(server, recorder, 3700)
    server.stored.clear()
    recorder.warning(SET, "GangUnschedulable", "no room", NOW)
    await pass_(server, recorder, 2)
    assert server.said() == [("no room", 1)]


async def test_news_without_end_cost_a_write_a_minute_and_the_last_of_them_is_told() -> None:
    server, recorder = begun()
    for second in range(600):
        recorder.warning(SET, "GangUnschedulable", f"chat-{second}: no room", NOW)
        await pass_(server, recorder, 1)
    assert 10 <= len(server.stored) <= 16
    await pass_(server, recorder, 60)
    assert "(and" in server.said()[-1][0]
    await pass_(server, recorder, 400)
    recorder.warning(SET, "GangUnschedulable", "again", NOW)
    await pass_(server, recorder, 2)
    assert server.said()[-1] == ("again", 1), "after a quiet while it is said at once"


async def test_a_text_is_no_longer_than_an_event_may_have() -> None:
    server, recorder = begun()
    for number in range(9):
        recorder.warning(SET, "GangUnschedulable", f"{number}" * 900, NOW)
    await pass_(server, recorder, 2)
    ((text, _count),) = server.said()
    assert len(text) == 1024
    assert text.endswith(" (and 6 more)")


async def test_an_api_server_that_is_away_stops_nobody() -> None:
    server, recorder = begun()
    server.away = True
    recorder.warning(SET, "GangUnschedulable", "no room", NOW)
    await pass_(server, recorder, 2)
    server.away = False
    recorder.warning(SET, "GangUnschedulable", "no room", NOW)
    await pass_(server, recorder, 5)
    assert server.said() == [("no room", 1)]
