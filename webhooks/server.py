"""The admission server: paths to answers over TLS, with metrics, deadlines and a clean way down.

aiohttp's low-level server is used: routing, middlewares and request objects of the application layer would cost as
much as the answers themselves.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from time import perf_counter

from aiohttp import web

from grovekeeper.runtime import metrics
from grovekeeper.webhooks import decode, respond
from grovekeeper.webhooks.mutate import pod as mutate_pod
from grovekeeper.webhooks.mutate import podgangset as mutate_set
from grovekeeper.webhooks.state import State
from grovekeeper.webhooks.validate import podgangset as validate_set
from grovekeeper.webhooks.validate import protection, scale
from grovekeeper.webhooks.validate import topology as validate_topology

_LOG = logging.getLogger(__name__)
_REQUESTS_PER_CONNECTION = 20_000
_SHUTDOWN_SECONDS = 5.0
"""For connections that have nothing in flight to be closed."""
BODY_SECONDS = 10.0
"""How long a body may take: no longer than the API server waits by default, so that nothing hangs on the way down."""

Answer = Callable[[decode.Review, State], bytes]

PATHS: Mapping[str, Answer] = {
    "/webhooks/mutate-pod": mutate_pod.answer,
    "/webhooks/default-podgangset": mutate_set.answer,
    "/webhooks/validate-podgangset": validate_set.answer,
    "/webhooks/default-podcliqueset": mutate_set.answer,
    "/webhooks/validate-podcliqueset": validate_set.answer,
    "/webhooks/validate-clustertopology": validate_topology.answer,
    "/webhooks/authorizer-webhook": protection.answer,
    "/webhooks/validate-scale": scale.answer,
}


class _Measured:
    """One path with its metrics looked up once."""

    def __init__(self, path: str, answer: Answer) -> None:
        self.answer = answer
        self._path = path
        # controller-runtime shows these two from the start, so that alerts have something to compare with.
        self._codes = {code: metrics.REQUESTS.labels(path, str(code)) for code in (200, 500)}
        self.latency = metrics.LATENCY.labels(path)
        self.in_flight = metrics.IN_FLIGHT.labels(path)
        self.denied = metrics.DENIED.labels(path)

    def count(self, code: int) -> None:
        """Count an answer by its HTTP status."""
        counter = self._codes.get(code)
        if counter is None:
            counter = self._codes[code] = metrics.REQUESTS.labels(self._path, str(code))
        counter.inc()


class Server:
    """Answers admission requests until told to stop."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.draining = False
        self.listening = False
        self._paths = {path: _Measured(path, answer) for path, answer in PATHS.items()}
        self._server = web.Server(self._handle, access_log=None, keepalive_timeout=75.0)
        self._listeners: list[asyncio.Server] = []
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._served = 0

    async def listen(self, bind: str, port: int, context: ssl.SSLContext, *, reuse_port: bool = False) -> int:
        """Listen and return the port (useful with port 0); raises OSError on a taken port."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            self._server, bind, port, ssl=context, backlog=1024, reuse_port=reuse_port or None
        )
        self._listeners.append(listener)
        self.listening = True
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self, delay: float) -> None:
        """Say no to readiness at once, go on answering for `delay` seconds, then finish what is in flight."""
        self.draining = True
        await asyncio.sleep(delay)
        for listener in self._listeners:
            listener.close()
        self.listening = False
        # Bounded, because reading a body is.
        await self._idle.wait()
        # The API server keeps connections open: without this those that wait for a next request would be waited for.
        self._server.pre_shutdown()
        await self._server.shutdown(_SHUTDOWN_SECONDS)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        measured = self._paths.get(request.path)
        if measured is None:
            return web.Response(status=404, text=f"no webhook at {request.path}\n")
        begin = perf_counter()
        self._in_flight += 1
        self._idle.clear()
        measured.in_flight.inc()
        response: web.StreamResponse | None = None
        try:
            response = _refused_unread(request) or await self._answer(request, measured)
            return response
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            measured.in_flight.dec()
            measured.latency.observe(perf_counter() - begin)
            measured.count(response.status if response is not None else 500)

    async def _answer(self, request: web.BaseRequest, measured: _Measured) -> web.StreamResponse:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except TimeoutError:
            return _closing(408, f"the body has not arrived within {BODY_SECONDS:g} seconds\n")
        if body is None:
            return _too_large()
        uid = ""
        try:
            review = decode.review(body)
            uid = review.uid
            answer = measured.answer(review, self.state)
        except decode.BadReviewError as error:
            return web.Response(status=error.status, text=f"{error}\n")
        except Exception:
            # The caller gets no traceback; the API server's failurePolicy decides on a call that failed by our fault.
            _LOG.exception("an admission request failed by a fault of ours", extra={"uid": uid, "path": request.path})
            metrics.PANICS.inc()
            if not uid:
                return web.Response(status=500, text="internal error; see the log of the webhook\n")
            answer = respond.denied(uid, "internal error; see the log of the webhook", code=500, reason="InternalError")
        if isinstance(answer, respond.Denial):
            measured.denied.inc()
        response = web.Response(body=answer, content_type="application/json")
        self._served += 1
        if self.draining or self._served % _REQUESTS_PER_CONNECTION == 0:
            response.force_close()
        return response


def _refused_unread(request: web.BaseRequest) -> web.Response | None:
    """Return the refusal of what need not be read, or None."""
    if request.method != "POST":
        return web.Response(status=405, text="send a POST with an AdmissionReview\n", headers={"Allow": "POST"})
    if not request.content_type.startswith("application/json"):
        return web.Response(status=415, text="send application/json\n")
    if (request.content_length or 0) > decode.MAX_BODY:
        return _too_large()
    return None


def _too_large() -> web.Response:
    return _closing(413, f"the body is larger than {decode.MAX_BODY} bytes\n")


def _closing(status: int, text: str) -> web.Response:
    response = web.Response(status=status, text=text)
    response.force_close()
    return response


async def _body(request: web.BaseRequest) -> bytes | None:
    """Return the body, or None where it is larger than allowed."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        # aiohttp's low-level server leaves the interim answer to the handler; without it a client waits in vain.
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    if request.content_length is not None:
        return await request.content.read(-1)
    parts = bytearray()
    async for part in request.content.iter_any():
        parts += part
        if len(parts) > decode.MAX_BODY:
            return None
    return bytes(parts)
