"""A handle that runs the embedded cluster as a child process."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from types import TracebackType

from grovekeeper.embedded import kubelet, main
from grovekeeper.embedded.administrator import Administrator
from grovekeeper.runtime import certificates, ports
from grovekeeper.runtime.clock import Clock

_START_SECONDS = 90


class EmbeddedCluster:
    """A cluster in a child process; the same handle as the real control plane's of the tests."""

    def __init__(self, ready_after: float = kubelet.READY_AFTER) -> None:
        """`ready_after` is the seconds that a started pod takes to become ready."""
        self._ready_after = ready_after
        self.port = ports.free()
        # kubectl sends no token over plain HTTP, so that a loopback server needs TLS, too.
        self.url = f"https://127.0.0.1:{self.port}"
        self.token = "administrator"  # noqa: S105 - of a server on loopback
        self.dir = Path(tempfile.mkdtemp(prefix="grovekeeper-embedded-"))
        self.ca_file = self._write_certificates()
        self.kubeconfig = self.kubeconfig_for(self.token, "admin")
        self._administrator = Administrator(self.url, self.ca_file, self.token, timeout_seconds=20)
        self.request = self._administrator.request
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
            "grovekeeper.embedded.main",
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
        self._administrator.close()
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
        (self.dir / main.CHAIN).write_bytes(state.leaf.certificate)
        (self.dir / main.KEY).touch(mode=0o600)
        (self.dir / main.KEY).write_bytes(state.leaf.key)
        (self.dir / main.AUTHORITY).write_bytes(certificates.bundle(state))
        return self.dir / main.AUTHORITY
