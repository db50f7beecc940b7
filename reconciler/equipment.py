"""What the dispatcher and the workers both have: clients, caches, queues, a clock."""

import os
import socket

from grovekeeper.kube import credentials, events, informer, lease
from grovekeeper.kube.http import HttpClient
from grovekeeper.reconciler import caches, context, kinds, worker
from grovekeeper.runtime import queue, redis_client
from grovekeeper.runtime import settings as configuration
from grovekeeper.runtime.clock import Clock


class Equipment:
    """What both processes have: clients, caches, queues, clock."""

    def __init__(
        self, settings: configuration.Settings, given: credentials.Credentials, name: str, component: str
    ) -> None:
        self.settings = settings
        client = self.client = HttpClient(given, name)
        # A pool of connections each: a lease that is renewed, and a gang that is placed, never wait behind the
        # thousand pods that are being created at the moment.
        self.leases = HttpClient(given, name)
        self.placement = self.election("grovekeeper-placement")
        self.placing = HttpClient(given, name, self.placement.left)
        self.redis = redis_client.of(configuration.redis_url(settings), socket_timeout=10)
        self.informers = {
            plural: informer.Informer(
                client,
                resource,
                labels=labels,
                indexes=caches.INDEXES.get(plural),
                optional=plural in caches.OPTIONAL,
            )
            for plural, (resource, labels) in caches.WATCHED.items()
        }
        self.foreign = {
            mark: informer.Informer(client, resource)
            for mark, resource in kinds.watched(settings.schedulers.profiles).items()
        }
        self.group = informer.Informers(self.informers.values(), self.foreign.values())
        plurals = [*caches.WATCHED, *self.foreign]
        self.context = context.Context(
            client=client,
            stores=caches.Stores(**{caches.FIELDS[p]: each.store for p, each in self.informers.items()}),
            work=queue.Queue(self.redis, worker.RECONCILE, plurals),
            placement=queue.Queue(self.redis, worker.PLACE, plurals),
            clock=Clock(settings.clock_offset_file),
            events=events.Recorder(client, component),
            settings=settings,
            foreign=kinds.Caches(dict(self.foreign)),
        )

    def election(self, name: str) -> lease.Election:
        """Return an election for one of our Leases."""
        identity = f"{socket.gethostname()}-{os.getpid()}"
        return lease.Election(self.leases, self.settings.namespace, name, identity)

    async def close(self) -> None:
        """Stop the caches and close connections."""
        await self.group.stop()
        await self.redis.aclose()
        for client in (self.client, self.leases, self.placing):
            await client.close()
