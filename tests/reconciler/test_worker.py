"""Drains: as many at once as they may be, and no key left lying by the wake-ups that were turned away."""

import asyncio
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import RedisError

from grovekeeper.reconciler import keys, main, worker
from grovekeeper.reconciler.context import Result
from grovekeeper.runtime import queue, settings
from tests.reconciler import world


class Keys:
    """A queue in memory whose answers can be held back."""

    name = "placement"

    def __init__(self, *due: str) -> None:
        self.due = list(due)
        self.open = asyncio.Event()
        self.open.set()
        self.given_back: list[str] = []
        self.lost: set[str] = set()
        self.renewed: list[set[str]] = []
        self.trouble: list[Exception] = []

    async def take(self, limit: int) -> list[queue.Item]:
        taken, self.due = self.due[:limit], self.due[limit:]
        await self.open.wait()
        return [queue.Item(key, {}) for key in taken]

    async def renew(self, items: Iterable[queue.Item]) -> set[str]:
        if self.trouble:
            raise self.trouble.pop()
        self.renewed.append({item.key for item in items})
        return self.lost & self.renewed[-1]

    async def done(self, outcomes: Iterable[queue.Outcome]) -> int:
        self.given_back += [outcome.key for outcome in outcomes]
        return len(self.due)


def drain(due: Keys, handle: Any, at_once: int, batch: int = 1) -> worker.Drain:
    async def delete(_key: str) -> None:
        """Forget that a wake-up is on its way."""

    ctx = world.World(batch=batch).ctx
    return worker.Drain(ctx, due, SimpleNamespace(delete=delete), handle, at_once=at_once)  # type: ignore[arg-type]


async def test_wake_ups_beyond_what_may_run_return_at_once_and_leave_the_keys_to_those_that_run() -> None:
    due = Keys(*(f"clique:ns/{number}" for number in range(6)))
    running, most, seen = 0, 0, []

    async def handle(key: keys.Key) -> Result:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        seen.append(key.name)
        return Result()

    busy = drain(due, handle, 2)
    await asyncio.gather(*(busy.run() for _ in range(9)))
    assert most == 2
    assert sorted(seen) == [str(number) for number in range(6)]


async def test_a_key_that_comes_while_the_last_look_is_on_its_way_is_not_left_lying() -> None:
    """The wake-up for it is turned away, so the drain that runs has to look once more."""
    due = Keys()
    due.open.clear()
    seen = []

    async def handle(key: keys.Key) -> Result:
        seen.append(key.name)
        return Result()

    busy = drain(due, handle, 1)
    first = asyncio.create_task(busy.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    due.due.append("clique:ns/late")
    await busy.run()
    assert seen == []
    due.open.set()
    await first
    assert seen == ["late"]


async def test_the_end_of_a_drain_is_waited_for_until_its_last_key_is_done() -> None:
    """Who lets go of a Lease before has writes on their way when the next owner begins."""
    due = Keys("gang:ns/slow")
    answered = asyncio.Event()

    async def handle(key: keys.Key) -> Result:
        await answered.wait()
        return Result()

    busy = drain(due, handle, 1)
    await busy.ended()
    run = asyncio.create_task(busy.run())
    await asyncio.sleep(0)
    end = asyncio.create_task(busy.ended())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not end.done()
    answered.set()
    await run
    await end


async def test_keys_that_take_long_are_kept_and_those_beside_them_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_RENEW_SECONDS", 0.005)
    due = Keys("clique:ns/quick", "clique:ns/slow")
    answered = asyncio.Event()

    async def handle(key: keys.Key) -> Result:
        if key.name == "slow":
            await answered.wait()
        return Result()

    due.trouble = [RedisError("away")]
    run = asyncio.create_task(drain(due, handle, 1, batch=2).run())
    async with asyncio.timeout(2):
        while len(due.renewed) < 2:
            await asyncio.sleep(0.001)
    assert due.renewed[:2] == [{"clique:ns/slow"}] * 2
    assert due.given_back == ["clique:ns/quick"], "others wait for it, and it may be dirty again"
    answered.set()
    await run
    assert due.given_back == ["clique:ns/quick", "clique:ns/slow"]


async def test_work_on_a_key_that_another_has_by_now_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process stood still for longer than its claim lasts: what it knows is old."""
    monkeypatch.setattr(worker, "_RENEW_SECONDS", 0.005)
    due = Keys("clique:ns/a", "clique:ns/b")
    due.lost = {"clique:ns/a"}
    written, answered = [], asyncio.Event()

    async def handle(key: keys.Key) -> Result:
        await answered.wait()
        written.append(key.name)
        return Result()

    run = asyncio.create_task(drain(due, handle, 1, batch=2).run())
    async with asyncio.timeout(2):
        while len(due.renewed) < 2:
            await asyncio.sleep(0.001)
    answered.set()
    await run
    assert written == ["b"]
    assert due.given_back == ["clique:ns/b"]


class Control:
    """Celery's: who is told to take wake-ups; answers as it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.told: list[str] = []

    def add_consumer(self, _queue: str, **_more: Any) -> list[Any]:
        return self._answer("on")

    def cancel_consumer(self, _queue: str, **_more: Any) -> list[Any]:
        return self._answer("off")

    def _answer(self, what: str) -> list[Any]:
        self.told.append(what)
        answer = self.answers.pop(0) if self.answers else ["ok"]
        if isinstance(answer, Exception):
            raise answer
        if not answer:
            time.sleep(0.02)  # it waits for an answer, in a thread
        return list(answer)


def standing(control: Control, queued: list[str], *troubles: Exception) -> main._Worker:
    """A worker that may own placement, with nothing else around it."""
    left = list(troubles)

    async def enqueue(*found: str) -> None:
        if left:
            raise left.pop(0)
        queued.extend(found)

    async def begin() -> set[str]:
        return {"gang:ns/demo-0"}

    async def nothing() -> None:
        """End at once."""

    made = main._Worker(settings.Settings(), None, SimpleNamespace(control=control), [])  # type: ignore[arg-type]
    made._name = "me"
    made._process = SimpleNamespace(context=SimpleNamespace(enqueue=enqueue))  # type: ignore[assignment]
    made._owner = SimpleNamespace(begin=begin)  # type: ignore[assignment]
    made._placement = SimpleNamespace(ended=nothing, run=nothing)  # type: ignore[assignment]
    return made


async def test_an_owner_that_redis_does_not_answer_waits_for_it_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_PAUSE_SECONDS", 0.001)
    control, queued = Control(OperationalError("away"), [], ["ok"]), list[str]()
    made = standing(control, queued, RedisError("away"))
    job = asyncio.create_task(made._lead())
    async with asyncio.timeout(2):
        while not queued:
            await asyncio.sleep(0.001)
    assert control.told == ["on", "on", "on"]
    assert queued == ["gang:ns/demo-0"]
    control.answers = [OperationalError("away")]
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not made._leading
    await made.drain_placement()
    assert control.told[3:] == ["off", "off"], "the wake-ups are the owner's"


async def test_who_loses_the_lease_while_it_begins_to_listen_does_not_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_PAUSE_SECONDS", 0.001)
    control = Control(*[[]] * 10_000)
    made = standing(control, [])
    job = asyncio.create_task(made._lead())
    async with asyncio.timeout(2):
        while not control.told:
            await asyncio.sleep(0.001)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not made._leading
    assert control.told[-1] == "off"


def test_a_wake_up_that_cannot_be_sent_is_trouble_that_the_dispatcher_waits_out() -> None:
    def send_task(_name: str, **_more: Any) -> None:
        raise OperationalError("away")

    with pytest.raises(OSError, match="away"):
        main._wake(SimpleNamespace(send_task=send_task), worker.PLACE)  # type: ignore[arg-type]


def test_an_owner_that_may_write_no_more_takes_no_keys_from_the_next_one() -> None:
    left = 5.0
    made = standing(Control(), [])
    made._process = SimpleNamespace(placement=SimpleNamespace(left=lambda: left))  # type: ignore[assignment]
    assert not made._may_place()
    made._leading = True
    assert made._may_place()
    left = 0.0  # nobody has told it yet that the Lease is lost
    assert not made._may_place()
    left, made.stopping = 5.0, True
    assert not made._may_place()
