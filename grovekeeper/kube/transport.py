"""The wire under the client: one aiohttp session, turns, attempts, and what its failures mean."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import aiohttp
import orjson
from prometheus_client import Counter as Metric

from grovekeeper import __version__
from grovekeeper.api import raw
from grovekeeper.kube import credentials, errors, resources
from grovekeeper.kube.resources import Resource

_CALLS = Metric("grovekeeper_kube_requests", "Calls to the API server", ["verb", "resource"])
_REACH = "check that the cluster is up and that the kubeconfig is the right one"
_CONNECTIONS = 128
_CALLS_AT_ONCE = 16
"""Less than the connections, of which each watch holds one. More make an API server slower, not faster: each call waits
for all the others in it, and the admission of a burst with them (docs/performance.md)."""
_TRIES = 4
_SAFE_AGAIN = ("GET", "PUT", "DELETE")
WRITE_SECONDS = 60.0
"""For how long a process may write that holds it under no Lease."""
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)


def _why(error: BaseException) -> str:
    """Return the cause in words: many of these exceptions have no text of their own."""
    return str(error) or {"TimeoutError": "no answer in time"}.get(type(error).__name__, type(error).__name__)


class Transport:
    """HTTP/1.1 with keep-alive to one API server."""

    def __init__(self, given: credentials.Credentials, component: str, may_write: Callable[[], float]) -> None:
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

    async def call(
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
        """Return the answer to a call; what may be tried again is. Raises errors.KubeError."""
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
                    _CALLS.labels(verb or method, name).inc()
                    return await self._within(seconds, what, self.once(method, path, what, data, query, content))
            except errors.NotServed as error:
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

    async def once(
        self, method: str, path: str, what: str, data: bytes | None, query: dict[str, str] | None, content: str
    ) -> raw.Object:
        """Return the answer to one attempt."""
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

    async def lines(self, resource: Resource, path: str, query: dict[str, str], what: str) -> AsyncGenerator[bytes]:
        """Yield the lines of an answer that goes on; raise Unavailable where it breaks off."""
        try:
            async with (await self._open()).get(
                self._given.url + path, params=query, headers=await self._given.headers(), timeout=_WATCH_TIMEOUT
            ) as answer:
                if answer.status >= 400:
                    error = errors.from_response(what, answer.status, await answer.read())
                    raise _worded(error, resource, what)
                async for line in _lines(answer):
                    yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.Unavailable(f"{what}: {_why(error)}") from error


def _worded(error: errors.KubeError, resource: Resource, what: str, subresource: str | None = None) -> errors.KubeError:
    """Return the error with the next step, where the server does not know the kind."""
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
