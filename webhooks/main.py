"""The webhook process: certificate, caches for protection, the admission server, health and metrics."""

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from grovekeeper.api import names, nvlink, raw
from grovekeeper.api.validate import verdict
from grovekeeper.expand import injection
from grovekeeper.kube import credentials, discovery, informer, resources
from grovekeeper.kube.http import HttpClient
from grovekeeper.runtime import serve
from grovekeeper.runtime.clock import Clock
from grovekeeper.runtime.settings import Settings
from grovekeeper.webhooks import certificates
from grovekeeper.webhooks.server import Server
from grovekeeper.webhooks.state import State

_LOG = logging.getLogger(__name__)
_CACHED = (
    resources.PODGANGSETS,
    resources.PODCLIQUESETS,
    resources.PODCLIQUES,
    resources.SCALINGGROUPS,
    resources.TOPOLOGY_BINDINGS,
)


async def run(settings: Settings, kubeconfig: Path | None) -> None:
    """Serve until SIGTERM, then drain."""
    client = HttpClient(await credentials.load(kubeconfig), "webhook")
    caches = {resource.plural: informer.Informer(client, resource) for resource in _CACHED}
    group = informer.Informers(caches.values())
    served = discovery.Discovery(client, [resources.COMPUTE_DOMAINS] if settings.auto_mnnvl else [])
    server = Server(_state(settings, caches, served))
    keeper = certificates.Keeper(settings, client, Clock(settings.clock_offset_file), certificates.context())

    def missing() -> dict[str, str]:
        found = group.problems()
        if keeper.problem:
            found["certificate"] = keeper.problem
        if not server.listening:
            found["server"] = "the admission port is not open"
        if server.draining:
            found["shutdown"] = "the process is shutting down"
        return found

    side = await serve.start(settings.metrics_bind, settings.metrics_port, missing)
    await keeper.step()
    keeping = asyncio.create_task(keeper.run())
    filling = asyncio.create_task(group.start())
    asking = asyncio.create_task(served.run())
    port = await server.listen(settings.webhook.bind, settings.webhook.port, keeper.context)
    _LOG.info("admission on port %d", port)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    _LOG.info("draining")
    await server.stop(settings.webhook.shutdown_delay)
    for task in (keeping, filling, asking):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await group.stop()
    await side.cleanup()
    await client.close()


def _no_nvlink(settings: Settings, served: discovery.Discovery) -> str | None:
    if not settings.auto_mnnvl:
        return nvlink.SWITCHED_OFF
    return nvlink.NO_DRIVER if served.has(resources.COMPUTE_DOMAINS) is False else None


def _state(settings: Settings, caches: dict[str, informer.Informer], served: discovery.Discovery) -> State:
    schedulers = tuple(settings.schedulers.profiles)

    def find_set(namespace: str, name: str) -> raw.Object | None:
        for dialect in names.DIALECTS.values():
            found = caches[dialect.plural].store.get(namespace, name)
            if found is not None:
                return found
        return None

    def find_clique(plural: str, namespace: str, name: str) -> raw.Object | None:
        cache = caches.get(plural)
        return cache.store.get(namespace, name) if cache is not None else None

    def context() -> verdict.Context:
        cache = caches[resources.TOPOLOGY_BINDINGS.plural]
        no_nvlink = _no_nvlink(settings, served)
        if not cache.synced.is_set():
            return verdict.Context(schedulers=schedulers, no_nvlink=no_nvlink)
        levels = {
            binding["metadata"]["name"]: tuple(level["domain"] for level in binding["spec"]["levels"])
            for binding in cache.store.all()
        }
        return verdict.Context(levels, schedulers, no_nvlink=no_nvlink)

    return State(
        injection=injection.Settings(settings.init_image),
        own_user=f"system:serviceaccount:{settings.namespace}:{settings.service_account}",
        exempt=frozenset(settings.exempt_users),
        protection=settings.protection,
        default_scheduler=settings.schedulers.default,
        find_set=find_set,
        find_clique=find_clique,
        context=context,
    )
