"""The whole cluster in one process.

`python -m grovekeeper.embedded.main --port N --token T --certificates FOLDER` serves until SIGTERM; `cluster` starts it
as a child process.
"""

import argparse
import asyncio
import contextlib
import signal
import ssl
from pathlib import Path

from aiohttp import web

from grovekeeper.embedded import kubelet
from grovekeeper.embedded.claims import Claims
from grovekeeper.embedded.scheduler import Scheduler
from grovekeeper.embedded.server import ApiServer
from grovekeeper.embedded.storage import Storage
from grovekeeper.runtime.clock import Clock

CHAIN, KEY, AUTHORITY = "server.crt", "server.key", "ca.crt"
"""What is in the folder of certificates."""


async def serve(port: int, token: str, folder: Path, ready_after: float = kubelet.READY_AFTER) -> None:
    """Run the API server, scheduler, kubelets and controllers until SIGTERM; `folder` holds certificate and key."""
    storage = Storage()
    now = Clock().stamp
    authority = (folder / AUTHORITY).read_text()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / CHAIN, folder / KEY)
    server = ApiServer(storage, now, token, authority)
    scheduler = Scheduler(storage, now, Claims(storage, server.registry.plant))
    kubelets = kubelet.Kubelet(storage, f"https://127.0.0.1:{port}", now, ready_after)
    for name in ("default", "kube-system"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}}
        storage.put(("", "namespaces"), server.registry.born(namespace))
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=512, ssl_context=tls).start()
    jobs = [asyncio.create_task(scheduler.run()), asyncio.create_task(server.controllers.run())]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    for job in jobs:
        job.cancel()
    await kubelets.stop()
    await server.registry.admission.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(runner.cleanup(), 2)


def main() -> None:
    """Serve on loopback."""
    import uvloop

    parser = argparse.ArgumentParser(description="A small Kubernetes in one process.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", default="administrator")
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument("--ready-after", type=float, default=kubelet.READY_AFTER)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, options.token, options.certificates, options.ready_after))


if __name__ == "__main__":
    main()
