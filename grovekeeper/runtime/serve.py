"""The small side server of every component: /metrics, /healthz, /readyz."""

from collections.abc import Callable, Mapping

import orjson
from aiohttp import web

from grovekeeper.runtime import metrics

Checks = Callable[[], Mapping[str, str]]
"""Return what is missing for readiness: name of the check to a sentence; empty when ready."""


async def start(bind: str, port: int, checks: Checks) -> web.AppRunner:
    """Start the side server and return its runner; stop it with `runner.cleanup()`. Raises OSError on a taken port."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_request: web.Request) -> web.Response:
        missing = dict(checks())
        body = orjson.dumps({"ready": not missing, "missing": missing})
        return web.Response(body=body, status=503 if missing else 200, content_type="application/json")

    async def show(_request: web.Request) -> web.Response:
        body, content_type = metrics.page()
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", show)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, bind, port).start()
    return runner
