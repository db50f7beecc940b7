"""Which kinds of others the server has: asked again and again, so that a driver may come and go while we run."""

import asyncio
import logging
import random
from collections.abc import Iterable

from grovekeeper.kube import errors
from grovekeeper.kube.client import Client
from grovekeeper.kube.resources import Resource

_LOG = logging.getLogger(__name__)
SECONDS = 10.0


class Discovery:
    """What discovery has said last about some kinds."""

    def __init__(self, client: Client, wanted: Iterable[Resource]) -> None:
        self._client = client
        self._wanted = tuple(wanted)
        self._served: dict[Resource, bool] = {}

    def has(self, resource: Resource) -> bool | None:
        """Return whether the kind is served; None while that is not known."""
        return self._served.get(resource)

    async def run(self) -> None:
        """Ask until cancelled; while there is no answer the last one stands."""
        while True:
            for resource in self._wanted:
                try:
                    self._served[resource] = await self._client.has(resource)
                except errors.KubeError as error:
                    _LOG.debug("discovery of %s: %s", resource.plural, error)
            await asyncio.sleep(SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads calls
