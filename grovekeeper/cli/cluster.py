"""The cluster that a kubeconfig names, for the verbs that ask one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from grovekeeper.api import raw
from grovekeeper.api.validate import syntax
from grovekeeper.kube import credentials, errors, resources
from grovekeeper.kube.http import HttpClient


@asynccontextmanager
async def connected(kubeconfig: Path | None) -> AsyncGenerator[HttpClient]:
    """Lend a client of the cluster; raise errors.Unauthorized where there is none."""
    client = HttpClient(await credentials.load(kubeconfig), "cli")
    try:
        yield client
    finally:
        await client.close()


async def find_set(client: HttpClient, name: str, namespace: str) -> raw.Object:
    """Return a PodGangSet or PodCliqueSet by its name; raise NotFound."""
    # A slash or a blank would lead to another path of the API server, and its answer to a wrong next step.
    if not syntax.is_subdomain(name) or not syntax.is_label(namespace):
        wrong = f"name {name}" if not syntax.is_subdomain(name) else f"namespace {namespace}"
        raise errors.NotFound(f"there is no {wrong}: it must be a-z, 0-9 and '-': give the set's name alone, and -n")
    unknown: list[errors.NotServed] = []
    for resource in resources.SETS.values():
        try:
            return await client.get(resource, name, namespace)
        except errors.NotServed as error:
            unknown.append(error)
        except errors.NotFound:
            continue
    if len(unknown) == len(resources.SETS):
        raise unknown[0]
    raise errors.NotFound(f"no PodGangSet or PodCliqueSet {name} in namespace {namespace}: check the name and -n")
