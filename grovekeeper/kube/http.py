"""The client: one aiohttp session and orjson."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import orjson
from prometheus_client import Counter as Metric

from grovekeeper import __version__
from grovekeeper.api import raw
from grovekeeper.kube import credentials, errors, resources
from grovekeeper.kube.client import Page, PatchType, WatchEvent
from grovekeeper.kube.resources import Resource

_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_CALLS = Metric("grovekeeper_kube_requests", "Calls to the API server", ["verb", "resource"])
_PAGE = 500
_REACH = "check that the cluster is up and that the kubeconfig is the right one"
_CONNECTIONS = 128
_CALLS_AT_ONCE = 32
"""Less than the connections, of which each watch holds one. More make an API server slower, not faster: each call waits
for all the others in it, and the admission of a burst with them (docs/performance.md)."""
_TRIES = 4
_SAFE_AGAIN = ("GET", "PUT", "DELETE")
_WRITE_SECONDS = 60.0
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)


def _why(error: BaseException) -> str:
    """Return the cause in words: many of these exceptions have no text of their own."""
    return str(error) or {"TimeoutError": "no answer in time"}.get(type(error).__name__, type(error).__name__)


class HttpClient:
    """grovekeeper.kube.client.Client over HTTP/1.1 with keep-alive."""

    def __init__(
        self,
        given: credentials.Credentials,
        component: str = "client",
        may_write: Callable[[], float] = lambda: _WRITE_SECONDS,
    ) -> None:
        self._given = given
        self._may_write = may_write
        """Asked at the last moment before each write: for how many seconds this process holds what it writes under.

        A write that is not answered by then is given up, and one that is not sent yet (a connection is being opened, a
        token fetched) never is.
        """
        self._component = component
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(_CALLS_AT_ONCE)
        """Calls wait here and not in the session's pool, where waiting would count as the server's silence."""
        self.calls: Counter[tuple[str, str]] = Counter()
        """Calls by (verb, plural[/subresource])."""

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> raw.Object:
        """Return one object; raise NotFound."""
        return await self._call("GET", resource, resource.path(namespace, name, subresource), subresource=subresource)

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
            part = await self._call("GET", resource, resource.path(namespace), query=query, verb="LIST")
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
        return await self._call("POST", resource, path, body=obj, query=_dry(dry_run))

    async def create_sub(
        self, resource: Resource, name: str, namespace: str, subresource: str, obj: raw.Object
    ) -> raw.Object:
        """POST to a subresource: a Binding, an Eviction, a TokenRequest."""
        path = resource.path(namespace, name, subresource)
        return await self._call("POST", resource, path, body=obj, subresource=subresource)

    async def replace(
        self, resource: Resource, obj: raw.Object, *, subresource: str | None = None, dry_run: bool = False
    ) -> raw.Object:
        """PUT the object."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._call("PUT", resource, path, body=obj, query=_dry(dry_run), subresource=subresource)

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
        return await self._call(
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
        return await self._call("PATCH", resource, path, body=body, content=_TYPES[type], subresource=subresource)

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
            await self._call("DELETE", resource, resource.path(namespace, name), body=options)
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
        self.calls["WATCH", resource.plural] += 1
        try:
            async with (await self._open()).get(
                self._given.url + resource.path(namespace),
                params=query,
                headers=await self._given.headers(),
                timeout=_WATCH_TIMEOUT,
            ) as answer:
                if answer.status >= 400:
                    error = errors.from_response(what, answer.status, await answer.read())
                    raise _worded(error, resource, what)
                async for line in _lines(answer):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        code = event["object"].get("code", 500)
                        raise errors.from_response(what, code, orjson.dumps(event["object"]))
                    yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.Unavailable(f"{what}: {_why(error)}") from error

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            # TLS connections end in later turns of the loop; aiohttp leaves it to the caller to grant them.
            await asyncio.sleep(0.05)

    async def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._given.ssl, limit=_CONNECTIONS, keepalive_timeout=60)
            agent = f"grovekeeper-{self._component}/{__version__}"
            self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": agent})
        return self._session

    async def _call(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        body: raw.Json = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
        verb: str | None = None,
        subresource: str | None = None,
    ) -> raw.Object:
        what = f"{verb or method} {path}"
        data = None if body is None else orjson.dumps(body)
        again = method in _SAFE_AGAIN or verb == "APPLY"
        name = f"{resource.plural}/{subresource}" if subresource else resource.plural
        for attempt in range(_TRIES):
            try:
                async with self._turns:
                    seconds = self._may_write() if method != "GET" else None
                    if seconds is not None and seconds <= 0:
                        raise errors.Conflict(f"{what}: not written, since another process may hold the Lease by now")
                    self.calls[verb or method, name] += 1
                    _CALLS.labels(verb or method, name).inc()
                    return await self._within(seconds, what, self._once(method, path, what, data, query, content))
            except (errors.NotServed, errors.Unauthorized) as error:
                raise _worded(error, resource, what, subresource) from error
            except errors.Throttled as error:
                if subresource == "eviction" or attempt == _TRIES - 1:
                    raise
                await asyncio.sleep(min(error.retry_after, 5.0))
            except errors.Unavailable as error:
                # An eviction names the uid: once more it finds its pod ending, or gone.
                safe = again or (subresource == "eviction" and not error.status)
                if not safe or attempt == _TRIES - 1:
                    raise
                await asyncio.sleep(0.05 * 4**attempt if not error.status else min(error.retry_after, 5.0))
        raise AssertionError("unreachable")

    async def _within(self, seconds: float | None, what: str, call: Awaitable[raw.Object]) -> raw.Object:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError as error:
            raise errors.Unavailable(
                f"{what}: no answer within {seconds or 0:.1f} s, while it may be written"
            ) from error

    async def _once(
        self, method: str, path: str, what: str, data: bytes | None, query: dict[str, str] | None, content: str
    ) -> raw.Object:
        headers = {**await self._given.headers(), "Content-Type": content, "Accept": "application/json"}
        try:
            session = await self._open()
            url = self._given.url + path
            async with session.request(
                method, url, params=query, data=data, headers=headers, timeout=_TIMEOUT
            ) as answer:
                received = await answer.read()
                if answer.status >= 400:
                    raise errors.from_response(what, answer.status, received, answer.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.Unavailable(f"{what}: no answer from {self._given.url} ({_why(error)}): {_REACH}") from error
        loaded: raw.Object = orjson.loads(received) if received else {}
        return loaded

    async def has(self, resource: Resource) -> bool:
        """Return whether the server serves this kind (discovery)."""
        path = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        try:
            found = await self._once("GET", path, f"GET {path}", None, None, "application/json")
        except errors.NotFound:
            return False
        return any(entry["name"] == resource.plural for entry in found.get("resources") or ())


_PODS = Resource("", "v1", "pods", "Pod")


def _worded(error: errors.KubeError, resource: Resource, what: str, subresource: str | None = None) -> errors.KubeError:
    """Return the error with the next step, where the server does not know the kind or the credentials."""
    if isinstance(error, errors.Unauthorized):
        return errors.Unauthorized(f"{error}: the credentials are not accepted, renew those of the kubeconfig")
    if isinstance(error, errors.NotServed) and subresource is None:
        return errors.NotServed(f"{what}: {resources.absent(resource)}", error.status)
    return error


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield whole lines of any length (aiohttp's own reader stops at 64 KiB)."""
    rest = b""
    async for part in answer.content.iter_any():
        if b"\n" not in part:
            rest += part
            continue
        *whole, last = (rest + part).split(b"\n")
        rest = last
        for line in whole:
            if line:
                yield line


def _selectors(labels: str, fields: str) -> dict[str, str]:
    query = {}
    if labels:
        query["labelSelector"] = labels
    if fields:
        query["fieldSelector"] = fields
    return query


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
