"""Celery workers: a task is a wake-up; the keys are in our queue, and all waiting is done on one asyncio loop."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter

from celery import Celery
from redis import RedisError
from redis.asyncio import Redis

from grovekeeper.kube import errors
from grovekeeper.reconciler import bindings, caches, cliques, devices, groups, keys, replicas, sets
from grovekeeper.reconciler.context import Context, Permanent, Reconcile, Result
from grovekeeper.reconciler.waking import awake_key
from grovekeeper.runtime import metrics, queue

_LOG = logging.getLogger(__name__)
_FLOOR_SECONDS = 2.0
_BEHIND_SECONDS = 0.2
_RENEW_SECONDS = queue.LEASE_SECONDS / 4
RECONCILE, PLACE = "reconcile", "placement"
TASKS = {RECONCILE: "grovekeeper.reconcile", PLACE: "grovekeeper.place"}

RECONCILERS: dict[str, Reconcile] = {
    "set": sets.reconcile,
    "setstatus": sets.reconcile_status,
    "devices": devices.reconcile,
    "replica": replicas.reconcile,
    "group": groups.reconcile,
    "clique": cliques.reconcile,
    "binding": bindings.reconcile,
}


def application(redis_url: str) -> Celery:
    """Return the Celery application; results are not kept, a lost wake-up is sent again."""
    app = Celery("grovekeeper", broker=redis_url)
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        task_acks_late=False,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_default_queue=RECONCILE,
        task_routes={TASKS[PLACE]: {"queue": PLACE}},
        worker_enable_remote_control=True,
        worker_send_task_events=False,
        # Tasks carry no arguments; JSON alone also makes it harmless that a container may run as root.
        accept_content=["json"],
        broker_transport_options={"visibility_timeout": 3600},
    )
    return app


class Loop:
    """The process's asyncio loop in a thread of its own; Celery's threads hand it work and wait."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="reconcile-loop", daemon=True)
        self._thread.start()

    def call(self, work: Awaitable[None]) -> None:
        """Run a coroutine on the loop and wait for its end."""

        async def wrapped() -> None:
            await work

        asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result()

    def stop(self) -> None:
        """Stop the loop and wait for its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


class Drain:
    """Takes keys from one queue in batches and reconciles them side by side until nothing is due.

    At most `at_once` runs go on at the same time: a wake-up beyond them returns at once, so that the drains of one
    queue never hold all of the process's threads against those of another.
    """

    def __init__(
        self,
        ctx: Context,
        work: queue.Queue,
        redis: Redis,
        handle: Callable[[keys.Key], Awaitable[Result]],
        may_go_on: Callable[[], bool] = lambda: True,
        *,
        at_once: int = 1,
    ) -> None:
        self._ctx = ctx
        self._queue = work
        self._redis = redis
        self._handle = handle
        self._may_go_on = may_go_on
        """Asked before each batch: no while the process is shutting down, or once a Lease is lost."""
        self._at_once = at_once
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._missed = False
        """A wake-up came while enough were running: whoever finds nothing looks once more."""

    async def run(self) -> None:
        """Work until the queue has nothing due; trouble with Redis ends the drain, the next wake-up starts another."""
        if self._running >= self._at_once:
            self._missed = True
            return
        self._running += 1
        self._idle.clear()
        try:
            await self._redis.delete(awake_key(self._queue.name))
            await self._work()
        except RedisError as error:
            _LOG.warning("Redis does not answer (%s): waiting for it", error)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def ended(self) -> None:
        """Wait until no run goes on."""
        await self._idle.wait()

    async def _work(self) -> None:
        while self._may_go_on():
            self._missed = False
            items = await self._queue.take(self._ctx.settings.reconcile.batch)
            if items:
                await self._attend(items)
            elif not self._missed:
                return

    async def _attend(self, items: Sequence[queue.Item]) -> None:
        """Work on keys side by side and give them back. While some take long, they are kept, and the others given back.

        Work on a key that somebody else has by now is cut short: this process stood still, and what it knows is old.
        """
        running = {asyncio.create_task(self._one(item)): item for item in items}
        outcomes: list[queue.Outcome] = []
        try:
            while running:
                ended, _ = await asyncio.wait(running, timeout=_RENEW_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
                outcomes += [task.result() for task in ended if not task.cancelled()]
                running = {task: item for task, item in running.items() if task not in ended}
                if running:
                    outcomes = await self._keep(running, outcomes)
        finally:
            for task in running:
                task.cancel()
        await self._queue.done(outcomes)

    async def _keep(
        self, running: Mapping[asyncio.Task[queue.Outcome], queue.Item], outcomes: Sequence[queue.Outcome]
    ) -> list[queue.Outcome]:
        """Give back what has ended and renew the rest; return what could not be given back yet."""
        try:
            lost = await self._queue.renew(running.values())
            if outcomes:
                await self._queue.done(outcomes)
        except RedisError as error:
            # Nobody else can take them meanwhile.
            _LOG.warning("Redis does not answer (%s): claims are renewed when it does", error)
            return list(outcomes)
        for task, item in running.items():
            if item.key in lost:
                _LOG.warning("another worker has the key by now: this one stops", extra={"key": item.key})
                task.cancel()
        return []

    async def _one(self, item: queue.Item) -> queue.Outcome:
        begin = perf_counter()
        outcome, result = await self._reconcile(item)
        kind = item.key.partition(":")[0]
        metrics.RECONCILES.labels(kind, result).inc()
        metrics.RECONCILE_SECONDS.labels(kind).observe(perf_counter() - begin)
        return replace(outcome, claim=item.claim)

    async def _reconcile(self, item: queue.Item) -> tuple[queue.Outcome, str]:
        try:
            if not await self._caught_up(item):
                # Taking the key took its versions as well; the next worker has to wait for them, too.
                floors = [queue.Addition(item.key, _BEHIND_SECONDS, *floor) for floor in item.floors.items()]
                await self._queue.add(floors)
                return queue.Outcome(item.key), "behind"
            result = await self._handle(keys.parse(item.key))
        except errors.Conflict as error:
            _LOG.info("changed underneath, trying again: %s", error, extra={"key": item.key})
            return queue.Outcome(item.key, again=0.05), "conflict"
        except errors.NotFound as error:
            # What it refers to is not there yet, or no more: the namespace, a Role that the server's cache lacks.
            _LOG.info("not there yet, trying again: %s", error, extra={"key": item.key})
            return queue.Outcome(item.key, failed=True), "missing"
        except (errors.Forbidden, errors.Throttled, errors.Unavailable, RedisError) as error:
            _LOG.warning("%s", error, extra={"key": item.key})
            return queue.Outcome(item.key, failed=True), "error"
        except Permanent as error:
            _LOG.error("%s", error, extra={"key": item.key})
            return queue.Outcome(item.key), "error"
        except Exception:
            _LOG.exception("a reconcile failed by a fault of ours", extra={"key": item.key})
            return queue.Outcome(item.key, failed=True), "error"
        return queue.Outcome(item.key, again=result.requeue_after), "success"

    async def _caught_up(self, item: queue.Item) -> bool:
        """Wait until the caches have seen what made the key dirty."""
        for plural, version in item.floors.items():
            theirs = self._ctx.foreign.by_mark.get(plural)
            store = theirs.store if theirs is not None else self._ctx.stores.of(caches.WATCHED[plural][0])
            if not await store.reached(version, _FLOOR_SECONDS):
                _LOG.info("cache of %s is behind", plural, extra={"key": item.key})
                return False
        return True


async def reconcile(ctx: Context, key: keys.Key) -> Result:
    """Run the reconciler of a key's kind."""
    return await RECONCILERS[key.kind](ctx, key)
