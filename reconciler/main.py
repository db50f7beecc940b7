"""The two processes of the reconciler: the dispatcher, and workers."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import redis as sync_redis
from celery import Celery, signals
from kombu.exceptions import OperationalError
from redis import RedisError

from grovekeeper.api import nvlink
from grovekeeper.kube import credentials, errors
from grovekeeper.reconciler import dispatcher, equipment, gang, handed, worker
from grovekeeper.runtime import serve
from grovekeeper.runtime import settings as configuration

_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS = 1.0
_TELL_EVERY = 30


async def run_dispatcher(settings: configuration.Settings, kubeconfig: Path | None) -> None:
    """Watch and fill the queue, while leading, until SIGTERM."""
    own = equipment.Equipment(settings, await credentials.load(kubeconfig), "dispatcher", "grovekeeper-dispatcher")
    app = worker.application(configuration.redis_url(settings))
    dispatch = dispatcher.Dispatcher(own.context, own.redis, partial(_wake, app), own.informers.values())
    for mark, each in own.foreign.items():
        dispatch.follow_foreign(mark, each)
    election = own.election("grovekeeper-dispatcher")

    def missing() -> dict[str, str]:
        found = own.group.problems()
        return {**found, "redis": dispatch.trouble} if dispatch.trouble else found

    side = await serve.start(settings.metrics_bind, settings.metrics_port, missing)
    jobs = [asyncio.create_task(own.context.events.run())]
    try:
        await own.group.start()
        if settings.auto_mnnvl and not own.context.stores.domains.served:
            _LOG.error("auto_mnnvl is on, but %s", nvlink.NO_DRIVER)
        jobs.append(asyncio.create_task(election.run(dispatch.run)))
        await _until_stopped(jobs[-1])
    finally:
        await _cancel(jobs)
        await own.close()
        await side.cleanup()


def _wake(app: Celery, name: str) -> None:
    """Send a wake-up; raise ConnectionError where Redis is away, which Celery calls by a name of its own."""
    try:
        app.send_task(worker.TASKS[name], queue=name, ignore_result=True)
    except OperationalError as error:
        raise ConnectionError(str(error)) from error


def run_worker(settings: configuration.Settings, kubeconfig: Path | None, queues: list[str]) -> None:
    """Work on keys until SIGTERM; with the queue `placement`, stand for election as the placement owner."""
    url = configuration.redis_url(settings)
    app = worker.application(url)
    loop = worker.Loop()
    state = _Worker(settings, kubeconfig, app, queues)
    loop.call(state.show())
    _wait_for_redis(url, state.waiting)

    def finish(**_: object) -> None:
        state.stopping = True

    signals.worker_shutting_down.connect(finish, weak=False)
    name = f"grovekeeper-{os.getpid()}@{socket.gethostname()}"
    loop.call(state.start(name))

    def reconcile() -> None:
        loop.call(state.drain_reconcile())

    def place() -> None:
        loop.call(state.drain_placement())

    app.task(name=worker.TASKS[worker.RECONCILE])(reconcile)
    app.task(name=worker.TASKS[worker.PLACE])(place)
    listens = [worker.RECONCILE] if worker.RECONCILE in queues else ["grovekeeper-standby"]
    celery = app.Worker(
        hostname=name,
        pool="threads",
        concurrency=settings.reconcile.concurrency + 1,
        queues=listens,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    try:
        celery.start()
    finally:
        loop.call(state.stop())
        loop.stop()


class _Worker:
    """The asyncio side of a worker process."""

    def __init__(
        self, settings: configuration.Settings, kubeconfig: Path | None, app: Celery, queues: list[str]
    ) -> None:
        self._settings = settings
        self._kubeconfig = kubeconfig
        self._app = app
        self._queues = queues
        self._jobs: list[asyncio.Task[None]] = []
        self._leading = False
        self.waiting: dict[str, str] = {"caches": "the worker has not begun to fill them"}
        """What readiness has to say before there are caches: name to a sentence."""
        self.stopping = False
        """Finish the batch and take no other: the process is about to end."""

    async def show(self) -> None:
        """Serve health and metrics, first of all: what a worker waits for is seen there."""
        self._side = await serve.start(
            self._settings.metrics_bind,
            self._settings.metrics_port,
            lambda: self.waiting or self._process.group.problems(),
        )

    async def start(self, name: str) -> None:
        """Fill the caches, then stand for election."""
        self._name = name
        given = await credentials.load(self._kubeconfig)
        self._process = equipment.Equipment(self._settings, given, "worker", "grovekeeper")
        ctx = self._process.context
        self._owner = gang.Owner(replace(ctx, client=self._process.placing))
        self._process.informers["nodes"].add_handler(self._owner.taken.on_node)
        self._process.informers["pods"].add_handler(self._owner.on_pod)
        self._process.informers["pods"].add_handler(ctx.coming.see)
        for each in self._process.foreign.values():
            each.on_served.append(self._on_served)
        self.waiting.clear()
        await self._process.group.start()
        self._jobs.append(asyncio.create_task(ctx.events.run()))
        redis = self._process.redis
        self._reconcile = worker.Drain(
            ctx,
            ctx.work,
            redis,
            partial(worker.reconcile, ctx),
            lambda: not self.stopping,
            at_once=self._settings.reconcile.concurrency,
        )
        self._placement = worker.Drain(ctx, ctx.placement, redis, self._owner.reconcile, self._may_place)
        if worker.PLACE in self._queues:
            job = asyncio.create_task(self._process.placement.run(self._lead))
            job.add_done_callback(_end_with)
            self._jobs.append(job)

    def _may_place(self) -> bool:
        """Return whether keys may be taken: what cannot be written by us is for the next owner, who may be there."""
        return self._leading and not self.stopping and self._process.placement.left() > 0

    def _on_served(self) -> None:
        """Look again at what waited for a kind of another scheduler, now that our own cache has it."""
        found = handed.waiting(self._process.context)
        self._jobs.append(asyncio.create_task(self._queued(found)))

    async def _lead(self) -> None:
        """Own placement: listen to its queue, and begin by driving forward what the last owner left behind."""
        found = await self._begun()
        self._leading = True
        try:
            await self._heard(found)
            await asyncio.Event().wait()
        finally:
            self._leading = False
            await asyncio.to_thread(self._listen, on=False)
            # The Lease is let go only after this: a write on its way would escape the next owner's first look.
            await self._placement.ended()

    async def _begun(self) -> set[str]:
        """Begin the ownership; trouble with the API server is waited out, as long as the Lease lasts."""
        pause = 0.2
        while True:
            try:
                return await self._owner.begin()
            except errors.KubeError as error:
                _LOG.warning("what was decided cannot be read (%s): nothing is placed until it is", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _heard(self, found: set[str]) -> None:
        """Listen to wake-ups and queue these keys; a consumer that is not up and trouble with Redis are waited out."""
        for tries in itertools.count(1):
            if await asyncio.to_thread(self._listen, on=True):
                break
            if tries % _TELL_EVERY == 0:
                _LOG.error("the Celery consumer has not answered %s times: nothing is placed until it does", tries)
            await asyncio.sleep(_PAUSE_SECONDS)
        await self._queued(found)

    async def _queued(self, found: Iterable[str]) -> None:
        """Put keys in their queues; trouble with Redis is waited out."""
        while True:
            try:
                return await self._process.context.enqueue(*found)
            except RedisError as error:
                _LOG.warning("Redis does not answer (%s): waiting for it", error)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _listen(self, *, on: bool) -> bool:
        """Tell our own Celery consumer to take wake-ups for placement, or no longer; return whether it has heard."""
        control = self._app.control
        change = control.add_consumer if on else control.cancel_consumer
        try:
            return bool(change(worker.PLACE, destination=[self._name], reply=True, timeout=1.0))
        except OperationalError as error:
            _LOG.warning("Redis does not answer (%s): %s", error, "waiting for it" if on else "it is not told to stop")
            return False

    async def drain_reconcile(self) -> None:
        """Work on the reconcile queue."""
        await self._reconcile.run()

    async def drain_placement(self) -> None:
        """Work on the placement queue, if this process owns it: one drain at a time."""
        if self._leading:
            await self._placement.run()
        else:
            # Redis was away when the consumer was to stop: it takes wake-ups from the owner.
            await asyncio.to_thread(self._listen, on=False)

    async def stop(self) -> None:
        """Let go of everything."""
        await _cancel(self._jobs)
        await self._side.cleanup()
        await self._process.close()


def _end_with(job: asyncio.Task[None]) -> None:
    """End the process where a job that is to run for ever has failed: a half-dead worker would go unnoticed."""
    if not job.cancelled() and (error := job.exception()) is not None:
        _LOG.critical("ending: the election failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_redis(url: str, waiting: dict[str, str]) -> None:
    """Wait for Redis with a word about it, instead of Celery's own silence."""
    client = sync_redis.Redis.from_url(url)
    pause = 0.2
    while True:
        try:
            client.ping()
            client.close()
            waiting.pop("redis", None)
            return
        except sync_redis.RedisError as error:
            text = f"Redis does not answer ({error}): check redis_url and that Redis runs; waiting"
            if waiting.get("redis") != text:
                _LOG.warning("%s", text)
            waiting["redis"] = text
            asyncio.run(asyncio.sleep(pause))
            pause = min(pause * 2, 5.0)


async def _until_stopped(job: Awaitable[None]) -> None:
    """Wait for SIGTERM or SIGINT, or for the job to fail."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    waiting = asyncio.ensure_future(stop.wait())
    await asyncio.wait([waiting, asyncio.ensure_future(job)], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _cancel(jobs: list[asyncio.Task[None]]) -> None:
    for job in jobs:
        job.cancel()
    for job in jobs:
        with contextlib.suppress(asyncio.CancelledError):
            await job
