"""Runs the real startup gate for pods of the real control plane, whose kubelets are fake.

For each bound pod with the gate's container: the token Secret and the downward API files are written to a folder, the
gate runs as a child process against the API server, and on exit 0 the pod is marked so that its fake kubelet goes on.
"""

import base64
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grovekeeper
from grovekeeper.api import names
from grovekeeper.embedded.administrator import RefusedError
from tests.controlplane.plane import ControlPlane

GATE = Path(grovekeeper.__file__).parent / "initgate.py"
MARK = "tests.grovekeeper.io/init-gate"


class InitGates:
    """A thread that starts gates and marks pods."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._running: dict[str, tuple[subprocess.Popen[bytes], str, str]] = {}
        self._done: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="init-gates", daemon=True)
        self._dir = tempfile.TemporaryDirectory(prefix="grovekeeper-gates-")

    def __enter__(self) -> "InitGates":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join(10)
        for process, _namespace, _name in self._running.values():
            process.kill()
            process.wait()
        self._dir.cleanup()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(RefusedError, OSError):
                self._step()
            time.sleep(0.1)

    def _step(self) -> None:
        selector = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dgrove-operator&fieldSelector=status.phase%3DPending"
        for pod in self._plane.request("GET", f"/api/v1/pods?{selector}")["items"]:  # type: ignore[attr-defined]
            uid = pod["metadata"]["uid"]
            if pod["spec"].get("nodeName") and uid not in self._running and uid not in self._done:
                gate = [c for c in pod["spec"].get("initContainers") or () if c["name"] == names.INIT_GATE_CONTAINER]
                if gate:
                    # One whose Secret is not there yet, or any more, holds up no other.
                    with contextlib.suppress(RefusedError):
                        self._start(pod, gate[0])
        for uid, (process, namespace, name) in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[uid]
            self._done.add(uid)
            if process.returncode == 0:
                self._mark(namespace, name)

    def _start(self, pod: dict[str, object], container: dict[str, object]) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        namespace, uid = metadata["namespace"], metadata["uid"]  # type: ignore[index]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}  # type: ignore[index]
        secret_name = volumes[names.INIT_GATE_TOKEN_VOLUME]["secret"]["secretName"]
        secret = self._plane.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{secret_name}")
        if not (secret.get("data") or {}).get("token"):  # type: ignore[attr-defined]
            return  # who makes tokens has not come to it yet: a kubelet would go on writing the files
        folder = Path(self._dir.name) / str(uid)
        (folder / "token").mkdir(parents=True)
        (folder / "info").mkdir()
        for key, value in secret["data"].items():  # type: ignore[attr-defined]
            (folder / "token" / key).write_bytes(base64.b64decode(value))
        (folder / "info" / "namespace").write_text(str(namespace))
        (folder / "info" / "podgangname").write_text(metadata["labels"][names.LABEL_PODGANG])  # type: ignore[index]
        options = ["--api-server", self._plane.url, "--token-dir", str(folder / "token")]
        options += ["--info-dir", str(folder / "info")]
        command = [sys.executable, "-I", "-S", str(GATE), *container["args"], *options]  # type: ignore[misc]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._running[str(uid)] = (process, str(namespace), str(metadata["name"]))  # type: ignore[index]

    def _mark(self, namespace: str, name: str) -> None:
        """Set a condition: the status is open to kubelets, the pod itself is protected."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
        body = {"status": {"conditions": [{"type": MARK, "status": "True"}]}}
        with contextlib.suppress(RefusedError):
            self._plane.request("PATCH", path, body, content="application/strategic-merge-patch+json")
