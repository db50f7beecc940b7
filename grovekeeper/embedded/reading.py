"""The verbs that change nothing: get, list, watch."""

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web

from grovekeeper.api import raw
from grovekeeper.embedded import answers, paging, selectors, tables
from grovekeeper.embedded.call import Call
from grovekeeper.embedded.registry import Registry
from grovekeeper.embedded.storage import TooOldError, Watch

_BOOKMARK_SECONDS = 5.0
_BATCH = 200
"""Events that are written at once."""


def get(registry: Registry, request: web.Request, call: Call) -> web.Response:
    """Answer with one object, or a table of it; raises StatusError."""
    obj = call.kind.full(registry.live(call))
    return answers.json(_table(registry, call, [obj]) if _as_table(request) else obj)


async def collection(registry: Registry, request: web.Request, call: Call) -> web.StreamResponse:
    """Answer with the objects that are selected, as a list, a table or a watch; raises StatusError."""
    matches = selectors.by_query(call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))

    def mine(obj: raw.Object) -> bool:
        return (not call.namespace or obj["metadata"].get("namespace") == call.namespace) and matches(obj)

    if call.query.get("watch") in ("true", "1"):
        return await _watch(registry, request, call, mine)
    found = [call.kind.full(obj) for obj in registry.storage.all(call.kind.collection) if mine(obj)]
    return answers.json(_table(registry, call, found) if _as_table(request) else _list(registry, call, found))


def _as_table(request: web.Request) -> bool:
    return "as=Table" in request.headers.get("Accept", "")


def _table(registry: Registry, call: Call, found: list[raw.Object]) -> raw.Object:
    return tables.table(call.kind, found, str(registry.storage.version))


def _list(registry: Registry, call: Call, found: list[raw.Object]) -> raw.Object:
    try:
        shown, rest = paging.page(found, call.query)
    except ValueError as error:
        raise answers.StatusError(400, "BadRequest", str(error)) from error
    return {
        "kind": f"{call.kind.kind}List",
        "apiVersion": call.kind.api_version,
        "metadata": {"resourceVersion": str(registry.storage.version), **rest},
        "items": shown,
    }


async def _watch(
    registry: Registry, request: web.Request, call: Call, mine: Callable[[raw.Object], bool]
) -> web.StreamResponse:
    # Passed over in silence, it would let `kubectl wait` wait for a first state that never comes; refused, it lists.
    if call.query.get("sendInitialEvents") is not None:
        why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        raise answers.StatusError(422, "Invalid", f"ListOptions is invalid: sendInitialEvents: Forbidden: {why}")
    since = int(call.query.get("resourceVersion") or 0)
    try:
        watch = registry.storage.watch(call.kind.collection, since, mine)
    except TooOldError as error:
        raise answers.StatusError(410, "Expired", f"too old resource version: {since}") from error
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    end = loop.time() + float(call.query.get("timeoutSeconds") or 300)
    try:
        while loop.time() < end:
            events = await _next_events(watch)
            if events:
                lines = [_line(call, kind, obj, as_table=_as_table(request)) for kind, obj in events]
            else:
                lines = [_bookmark(call, registry.storage.version)]
            await response.write(b"".join(lines))
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        registry.storage.close(watch)
    return response


async def _next_events(watch: Watch) -> list[tuple[str, raw.Object]]:
    """Return the events that wait, or none where none comes before a bookmark is due."""
    try:
        batch = [await asyncio.wait_for(watch.queue.get(), _BOOKMARK_SECONDS)]
    except TimeoutError:
        return []
    while not watch.queue.empty() and len(batch) < _BATCH:
        batch.append(watch.queue.get_nowait())
    return batch


def _line(call: Call, kind: str, stored: raw.Object, *, as_table: bool) -> bytes:
    full = call.kind.full(stored)
    shown = tables.table(call.kind, [full], "") if as_table else full
    return orjson.dumps({"type": kind, "object": shown}) + b"\n"


def _bookmark(call: Call, version: int) -> bytes:
    obj = call.kind.full({"metadata": {"resourceVersion": str(version), "name": ""}})
    return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"
