"""The whole cluster in one process, and a handle that runs it as a child process.

`python -m grovekeeper.embedded.cluster --port N --token T --certificates FOLDER` serves until SIGTERM.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from types import TracebackType

from aiohttp import web

from grovekeeper.api import raw
from grovekeeper.embedded import kubelet
from grovekeeper.embedded.claims import Claims
from grovekeeper.embedded.scheduler import Scheduler
from grovekeeper.embedded.server import ApiServer
from grovekeeper.embedded.storage import Storage
from grovekeeper.runtime import certificates
from grovekeeper.runtime.clock import Clock

_START_SECONDS = 90
_CHAIN, _KEY, _AUTHORITY = "server.crt", "server.key", "ca.crt"


class EmbeddedCluster:
    """A cluster in a child process; the same handle as the real control plane's of the tests."""

    def __init__(self, ready_after: float = kubelet.READY_AFTER) -> None:
        """`ready_after` is the seconds that a started pod takes to become ready."""
        self._ready_after = ready_after
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        # kubectl sends no token over plain HTTP, so that a loopback server needs TLS, too.
        self.url = f"https://127.0.0.1:{self.port}"
        self.token = "administrator"  # noqa: S105 - of a server on loopback
        self.dir = Path(tempfile.mkdtemp(prefix="grovekeeper-embedded-"))
        self.ca_file = self._write_certificates()
        self.kubeconfig = self.kubeconfig_for(self.token, "admin")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EmbeddedCluster":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it answers; raise RuntimeError with the end of its log."""
        log = self.dir / "cluster.log"
        command = [
            sys.executable,
            "-m",
            "grovekeeper.embedded.cluster",
            "--port",
            str(self.port),
            "--token",
            self.token,
            "--certificates",
            str(self.dir),
            "--ready-after",
            str(self._ready_after),
        ]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                self.request("GET", "/api/v1/namespaces/default")
                return
            time.sleep(0.05)
        said = log.read_text()[-2000:]
        self.end()
        raise RuntimeError(f"the embedded cluster did not come up within {_START_SECONDS} s:\n{said}")

    def stop(self) -> None:
        """End the process and remove its folder."""
        self.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def end(self) -> None:
        """End the process by its own id; started again it is an empty cluster at the same address."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> raw.Object:
        """Make one request as the administrator."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, method=method)  # noqa: S310 - to loopback
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", content)
        request.add_header("Accept", accept)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:  # noqa: S310 - to loopback
            loaded: raw.Object = json.load(answer)
        return loaded

    def kubeconfig_for(self, token: str, name: str) -> Path:
        """Write a kubeconfig with a bearer token and return its path."""
        path = self.dir / f"kubeconfig-{name}"
        server = {"server": self.url, "certificate-authority-data": b64encode(self.ca_file.read_bytes()).decode()}
        cluster = {"name": "embedded", "cluster": server}
        user = {"name": "embedded", "user": {"token": token}}
        context = {"name": "embedded", "context": {"cluster": "embedded", "user": "embedded"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "embedded"}
        path.write_text(json.dumps({**config, "clusters": [cluster], "users": [user], "contexts": [context]}))
        return path

    def _write_certificates(self) -> Path:
        state = certificates.fresh(["127.0.0.1", "localhost"], Clock().now())
        (self.dir / _CHAIN).write_bytes(state.leaf.certificate)
        (self.dir / _KEY).touch(mode=0o600)
        (self.dir / _KEY).write_bytes(state.leaf.key)
        (self.dir / _AUTHORITY).write_bytes(certificates.bundle(state))
        return self.dir / _AUTHORITY


async def serve(port: int, token: str, folder: Path, ready_after: float = kubelet.READY_AFTER) -> None:
    """Run the API server, scheduler, kubelets and controllers until SIGTERM; `folder` holds certificate and key."""
    storage = Storage()
    now = Clock().stamp
    authority = (folder / _AUTHORITY).read_text()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / _CHAIN, folder / _KEY)
    server = ApiServer(storage, now, token, authority)
    scheduler = Scheduler(storage, now, Claims(storage, server._plant))
    kubelets = kubelet.Kubelet(storage, f"https://127.0.0.1:{port}", now, ready_after)
    for name in ("default", "kube-system"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}}
        storage.put(("", "namespaces"), server._born(namespace))
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
    await server.admission.close()
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
