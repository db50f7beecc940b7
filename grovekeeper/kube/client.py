"""What every caller may ask of an API server. Implemented by kube.http; both clusters pass the contract suite."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from grovekeeper.api import raw
from grovekeeper.kube.resources import Resource

PatchType = Literal["json", "merge", "strategic"]


@dataclass(frozen=True, slots=True)
class Page:
    """A list: its items (apiVersion and kind filled in) and the resourceVersion to watch from."""

    items: list[raw.Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: raw.Object


class Client(Protocol):
    """Every method raises a grovekeeper.kube.errors.KubeError subclass on refusal and nothing else."""

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> raw.Object:
        """Return one object; raise NotFound."""

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Page:
        """Return the whole collection, read in pages of 500 and starting over once on 410."""

    async def create(self, resource: Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        """Create from metadata.namespace and return what was stored; raise AlreadyExists, Invalid, Forbidden."""

    async def replace(
        self, resource: Resource, obj: raw.Object, *, subresource: str | None = None, dry_run: bool = False
    ) -> raw.Object:
        """PUT the object; raise Conflict on a stale resourceVersion."""

    async def apply(
        self,
        resource: Resource,
        obj: raw.Object,
        *,
        manager: str,
        force: bool = True,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> raw.Object:
        """Server-side apply; raise ApplyConflict (with the fields) where `force` is False."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        body: raw.Json,
        *,
        type: PatchType,
        subresource: str | None = None,
    ) -> raw.Object:
        """PATCH and return the result; a json patch body is a list of operations."""

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        version: str | None = None,
        grace: int | None = None,
        propagation: str | None = None,
    ) -> None:
        """Delete; an object that is gone already is not an error.

        Raises Conflict if `uid` is another's, or where `version` (a resourceVersion) is given and it has changed.
        """

    async def evict(self, name: str, namespace: str, *, uid: str | None = None, dry_run: bool = False) -> None:
        """Create an Eviction; raise Throttled where a budget forbids it, and Conflict where `uid` is another's."""

    async def has(self, resource: Resource) -> bool:
        """Return whether the server serves this kind (discovery)."""

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        labels: str = "",
        fields: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Yield events after `resource_version` with bookmarks on; raise Gone on 410; end when the server closes."""

    async def close(self) -> None:
        """Close the connections."""
