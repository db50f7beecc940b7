"""The client: the verbs of the API, over one transport."""

import contextlib
import random
from collections.abc import AsyncIterator, Callable

import orjson

from grovekeeper.api import raw
from grovekeeper.kube import credentials, errors, transport
from grovekeeper.kube.client import Page, PatchType, WatchEvent
from grovekeeper.kube.resources import Resource

_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_PAGE = 500
_PODS = Resource("", "v1", "pods", "Pod")


class HttpClient:
    """grovekeeper.kube.client.Client over HTTP/1.1 with keep-alive."""

    def __init__(
        self,
        given: credentials.Credentials,
        component: str = "client",
        may_write: Callable[[], float] = lambda: transport.WRITE_SECONDS,
    ) -> None:
        self._wire = transport.Transport(given, component, may_write)

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> raw.Object:
        """Return one object; raise NotFound."""
        return await self._wire.call(
            "GET", resource, resource.path(namespace, name, subresource), subresource=subresource
        )

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Page:
        """Return the whole collection, in pages; once more from the start where a page came too late."""
        try:
            return await self._pages(resource, namespace, labels, fields)
        except errors.Gone:
            return await self._pages(resource, namespace, labels, fields)

    async def _pages(self, resource: Resource, namespace: str | None, labels: str, fields: str) -> Page:
        query = {"limit": str(_PAGE), **_selectors(labels, fields)}
        items: list[raw.Object] = []
        while True:
            part = await self._wire.call("GET", resource, resource.path(namespace), query=query, verb="LIST")
            for item in part["items"] or ():
                item["apiVersion"], item["kind"] = resource.api_version, resource.kind
                items.append(item)
            following = part["metadata"].get("continue")
            if not following:
                return Page(items, part["metadata"]["resourceVersion"])
            query["continue"] = following

    async def create(self, resource: Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        """POST the object."""
        path = resource.path(obj["metadata"].get("namespace"))
        return await self._wire.call("POST", resource, path, body=obj, query=_dry(dry_run))

    async def create_sub(
        self, resource: Resource, name: str, namespace: str, subresource: str, obj: raw.Object
    ) -> raw.Object:
        """POST to a subresource: a Binding, an Eviction, a TokenRequest."""
        path = resource.path(namespace, name, subresource)
        return await self._wire.call("POST", resource, path, body=obj, subresource=subresource)

    async def replace(
        self, resource: Resource, obj: raw.Object, *, subresource: str | None = None, dry_run: bool = False
    ) -> raw.Object:
        """PUT the object."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._wire.call("PUT", resource, path, body=obj, query=_dry(dry_run), subresource=subresource)

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
        """Server-side apply."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        query = {"fieldManager": manager, "force": str(force).lower(), **_dry(dry_run)}
        kind = "application/apply-patch+yaml"
        return await self._wire.call(
            "PATCH", resource, path, body=obj, query=query, content=kind, verb="APPLY", subresource=subresource
        )

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
        """PATCH the object."""
        path = resource.path(namespace, name, subresource)
        return await self._wire.call("PATCH", resource, path, body=body, content=_TYPES[type], subresource=subresource)

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
        """DELETE the object; nothing happens where it is gone."""
        options: raw.Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value}
        if preconditions:
            options["preconditions"] = preconditions
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if propagation:
            options["propagationPolicy"] = propagation
        try:
            await self._wire.call("DELETE", resource, resource.path(namespace, name), body=options)
        except errors.NotFound:
            return

    async def evict(self, name: str, namespace: str, *, uid: str | None = None, dry_run: bool = False) -> None:
        """Create an Eviction."""
        body: raw.Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        options: raw.Object = {"preconditions": {"uid": uid}} if uid is not None else {}
        if dry_run:
            options["dryRun"] = ["All"]
        if options:
            body["deleteOptions"] = options
        await self.create_sub(_PODS, name, namespace, "eviction", body)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        labels: str = "",
        fields: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Yield events; raise Gone or Unavailable."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(240, 480)),  # noqa: S311 - spreads reconnects
            **_selectors(labels, fields),
        }
        what = f"WATCH {resource.plural}"
        lines = self._wire.lines(resource, resource.path(namespace), query, what)
        async with contextlib.aclosing(lines):
            async for line in lines:
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    code = event["object"].get("code", 500)
                    raise errors.from_response(what, code, orjson.dumps(event["object"]))
                yield WatchEvent(event["type"], event["object"])

    async def close(self) -> None:
        """Close the session."""
        await self._wire.close()

    async def has(self, resource: Resource) -> bool:
        """Return whether the server serves this kind (discovery)."""
        path = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        try:
            found = await self._wire.once("GET", path, f"GET {path}", None, None, "application/json")
        except errors.NotFound:
            return False
        return any(entry["name"] == resource.plural for entry in found.get("resources") or ())


def _selectors(labels: str, fields: str) -> dict[str, str]:
    query = {}
    if labels:
        query["labelSelector"] = labels
    if fields:
        query["fieldSelector"] = fields
    return query


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
