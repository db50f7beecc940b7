"""Our processes in a sequence: each with caches of its own that may lag, a queue between them, and a way to die."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from redis import RedisError

from grovekeeper.api import raw
from grovekeeper.kube import errors, informer, resources, store
from grovekeeper.reconciler import caches, context, dispatcher, gang, keys, worker
from grovekeeper.runtime import queue, settings
from tests.property import plane
from tests.reconciler import world

LEASE = timedelta(seconds=20)
BEHIND = timedelta(seconds=0.2)
MANAGED_ONLY = {plural for plural, (_, labels) in caches.WATCHED.items() if labels}


class Died(BaseException):
    """The process was killed."""


class Feed:
    """The watch of one kind in one process: it may be held up, and then catches up."""

    def __init__(self, plural: str, log: list[plane.Event]) -> None:
        self.resource = caches.WATCHED[plural][0]
        self.store = store.Store(caches.INDEXES.get(plural))
        self.held = False
        self._log = log
        self._position = 0
        self._handlers: list[informer.Handler] = []

    def add_handler(self, handler: informer.Handler) -> None:
        self._handlers.append(handler)

    def list(self, objects: Iterable[raw.Object]) -> None:
        """Begin as an informer does: with what is there now."""
        self._position = len(self._log)
        version = self._log[-1].version if self._log else 0
        for old, new in self.store.replace(objects, version):
            self._tell(old, new)

    def list_again(self, objects: Iterable[raw.Object]) -> None:
        """Break off and list: what came in between is seen only by its outcome."""
        self.held = False
        self.list(objects)

    def behind(self) -> bool:
        return self._position < len(self._log)

    def deliver(self) -> None:
        """Take in what has happened, unless the watch is held up."""
        while not self.held and self._position < len(self._log):
            version, old, new = self._log[self._position]
            self._position += 1
            for change in self.store.follow(new or old or {}, gone=new is None):
                self._tell(*change)
            self.store.advance(version)

    def _tell(self, old: raw.Object | None, new: raw.Object | None) -> None:
        for handler in self._handlers:
            handler(old, new)


class Queue:
    """What the Lua of `runtime.queue` does, on the injected clock. Its own tests hold the Lua to the same."""

    def __init__(self, name: str, time: world.Clock) -> None:
        self.name = name
        self._time = time
        self.claims = itertools.count()
        self.clear()

    def clear(self) -> None:
        self.due: dict[str, datetime] = {}
        self.dirty: dict[str, datetime] = {}
        self.busy: dict[str, datetime] = {}
        self.holders: dict[str, str] = {}
        self.floors: dict[str, dict[str, int]] = {}
        self.fails: dict[str, int] = {}

    def put(self, addition: queue.Addition) -> None:
        moment = self._time.now() + timedelta(seconds=addition.delay)
        if addition.plural:
            floors = self.floors.setdefault(addition.key, {})
            floors[addition.plural] = max(floors.get(addition.plural, 0), addition.version)
        waiting = self.dirty if addition.key in self.busy else self.due
        waiting[addition.key] = min(moment, waiting.get(addition.key, moment))

    def reclaim(self) -> None:
        """Take over the keys of workers that died."""
        for key in [key for key, deadline in self.busy.items() if deadline <= self._time.now()]:
            del self.busy[key], self.holders[key]
            self.dirty.pop(key, None)
            self.due[key] = self._time.now()

    def next(self) -> list[datetime]:
        return [*self.due.values(), *self.busy.values()]


class Desk:
    """A process's view of a queue: it does not take what its caches have not caught up with."""

    def __init__(self, shared: Queue, process: "Process") -> None:
        self.name = shared.name
        self._queue = shared
        self._process = process

    async def add(self, additions: Iterable[queue.Addition]) -> int:
        self._process.check()
        for addition in additions:
            self._queue.put(addition)
        return 0

    async def take(self, limit: int) -> list[queue.Item]:
        self._process.check()
        self._queue.reclaim()
        now, due, found = self._queue._time.now(), self._queue.due, list[queue.Item]()
        claim = str(next(self._queue.claims))
        for key in sorted((key for key, moment in due.items() if moment <= now), key=lambda key: (due[key], key)):
            if len(found) == self._process.batch:
                break
            floors = self._queue.floors.get(key, {})
            if any(self._process.feeds[plural].store.version < version for plural, version in floors.items()):
                due[key] = now + BEHIND
                continue
            del due[key]
            self._queue.floors.pop(key, None)
            self._queue.busy[key] = now + LEASE
            self._queue.holders[key] = claim
            found.append(queue.Item(key, floors, claim))
        return found

    async def renew(self, items: Iterable[queue.Item]) -> set[str]:
        self._process.check()
        lost = {item.key for item in items if self._queue.holders.get(item.key, item.claim) != item.claim}
        for item in items:
            if item.key not in lost:
                self._queue.busy[item.key] = self._queue._time.now() + LEASE
                self._queue.holders[item.key] = item.claim
                if item.key in self._queue.due:
                    self._queue.dirty[item.key] = self._queue.due.pop(item.key)
        return lost

    async def done(self, outcomes: Iterable[queue.Outcome]) -> int:
        self._process.check()
        shared, now = self._queue, self._queue._time.now()
        for outcome in outcomes:
            if shared.holders.get(outcome.key) != outcome.claim:
                continue
            del shared.busy[outcome.key], shared.holders[outcome.key]
            again, fails = outcome.again, shared.fails.get(outcome.key, 0) + 1
            if outcome.failed:
                shared.fails[outcome.key] = fails
                again = min(60.0, 0.005 * 2 ** min(fails, 14))
            else:
                shared.fails.pop(outcome.key, None)
            moments = [shared.dirty.pop(outcome.key)] if outcome.key in shared.dirty else []
            moments += [now + timedelta(seconds=again)] if again is not None else []
            if moments:
                shared.due[outcome.key] = min(moments)
        return 0


class Line:
    """A process's line to the API server: calls take turns with those of others, and one may be the last."""

    def __init__(self, server: plane.Plane, process: "Process") -> None:
        self._server = server
        self._process = process

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return partial(self._call, verb)

    async def _call(self, verb: str, resource: resources.Resource, *rest: Any, **more: Any) -> Any:
        process = self._process
        for _ in range(process.chance.randrange(4)):
            await asyncio.sleep(0)
        process.check()
        process.calls += 1
        last = process.fuse is not None and process.calls >= process.fuse[0]
        if last and process.fuse is not None and not process.fuse[1]:
            process.die()
        trouble = process.trouble.pop(0) if process.trouble and verb not in ("get", "list") else None
        if trouble == "refused":
            raise errors.Conflict("not written, since another process may hold the Lease by now")
        if trouble == "lost":
            raise errors.Unavailable("the request is lost")
        process.observer(process, verb, resource, rest, more)
        if trouble == "late":
            self._server.late.append(partial(getattr(self._server, verb), resource, *rest, **more))
            raise errors.Unavailable("no answer yet")
        answer = await getattr(self._server, verb)(resource, *rest, **more)
        if trouble == "unanswered":
            raise errors.Unavailable("the answer is lost")
        if last:
            process.die()
        return answer


class Silent:
    """Nobody listens to the events of a sequence."""

    def warning(self, about: raw.Object, reason: str, message: str, now: str) -> None:
        pass

    normal = warning

    async def delete(self, name: str) -> None:
        """Stand for the wake-up flag in Redis."""


class Process:
    """A worker that may own placement, or the dispatcher."""

    def __init__(
        self,
        server: plane.Plane,
        queues: dict[str, Queue],
        chance: random.Random,
        observer: Callable[..., None],
        **options: Any,
    ) -> None:
        self.alive = True
        self._log, self._heard = server.log, -1
        self.fuse: tuple[int, bool] | None = None
        """After how many more calls to die, and whether the last of them takes effect."""
        self.calls = 0
        self.trouble: list[str] = []
        """What becomes of the next writes: refused, lost on the way, unanswered, late (carried out when nobody waits
        for the answer any more), or (any other word) nothing."""
        self.strangers: set[str] = set()
        """UIDs of the pods of others that were known to be on nodes when the round began: others may come too late."""
        self.faults: list[Exception] = []
        self.chance = chance
        self.observer = observer
        self.batch = chance.choice((1, 2, 64))
        self.feeds = {plural: Feed(plural, server.log.of[plural]) for plural in caches.WATCHED}
        self.ctx = context.Context(
            client=Line(server, self),  # type: ignore[arg-type]
            stores=caches.Stores(**{caches.FIELDS[plural]: feed.store for plural, feed in self.feeds.items()}),
            work=Desk(queues[worker.RECONCILE], self),  # type: ignore[arg-type]
            placement=Desk(queues[worker.PLACE], self),  # type: ignore[arg-type]
            clock=server._time,
            events=Silent(),  # type: ignore[arg-type]
            settings=settings.Settings(reconcile=settings.Reconcile(**options)),
        )
        self.owner = gang.Owner(self.ctx)
        self.feeds["nodes"].add_handler(self.owner.taken.on_node)
        self.feeds["pods"].add_handler(self.owner.on_pod)

    def start(self, server: plane.Plane) -> None:
        """Fill the caches from what is there now."""
        for plural, feed in self.feeds.items():
            feed.list(server.of(plural).values())

    def check(self) -> None:
        if not self.alive:
            raise Died

    def die(self) -> None:
        self.alive = False
        raise Died

    def deliver(self) -> None:
        """Let every watch that is not held up catch up."""
        if self._heard != self._log.length or self.held():
            self._heard = self._log.length
            for feed in self.feeds.values():
                feed.deliver()

    def note_strangers(self) -> None:
        """Remember which pods of others this process knows to be on nodes."""
        known = (pod for pod in self.ctx.stores.pods.all() if pod["spec"].get("nodeName"))
        self.strangers = {pod["metadata"]["uid"] for pod in known if pod["metadata"]["namespace"] == plane.ELSE}

    def held(self) -> bool:
        return any(feed.held or feed.behind() for feed in self.feeds.values())

    async def drain(self, desk: Desk, handle: Callable[[keys.Key], Any]) -> None:
        """Work as a worker does until nothing is due, or until the end of the process."""

        async def noting(key: keys.Key) -> context.Result:
            try:
                result: context.Result = await handle(key)
            except (errors.KubeError, context.Permanent, RedisError):
                raise
            except Exception as error:
                self.faults.append(error)
                raise
            return result

        def go_on() -> bool:
            self.deliver()
            return self.alive

        try:
            for _ in range(self.chance.randrange(1, 5)):
                await worker.Drain(self.ctx, desk, Silent(), noting, go_on).run()  # type: ignore[arg-type]
                for _ in range(self.chance.randrange(8)):
                    await asyncio.sleep(0)
        except Died:
            return

    async def reconcile(self) -> None:
        await self.drain(self.ctx.work, partial(worker.reconcile, self.ctx))  # type: ignore[arg-type]

    async def place(self) -> None:
        await self.drain(self.ctx.placement, self.owner.reconcile)  # type: ignore[arg-type]


class Watcher(Process):
    """The dispatcher."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.dispatch = dispatcher.Dispatcher(
            self.ctx,
            Silent(),  # type: ignore[arg-type]
            lambda name: None,
            self.feeds.values(),  # type: ignore[arg-type]
        )
