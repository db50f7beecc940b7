"""A real control plane on loopback: started, watched and stopped as child processes.

Used as a context manager by the contract suite, the end-to-end suite and the benchmarks:

    with ControlPlane() as plane:
        plane.url, plane.ca_file, plane.token, plane.kubeconfig
"""

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from grovekeeper.embedded.administrator import Administrator, RefusedError
from grovekeeper.runtime import ports
from tests.controlplane import audit, binaries

START_SECONDS = 180
STOP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Options:
    """Which parts run. The benchmarks and the contract suite leave some out."""

    scheduler: bool = True
    controllers: bool = True
    kubelets: bool = True
    hpa_sync_seconds: int = 2
    gates: str = ""
    """Feature gates of API server, controller manager and scheduler, as `--feature-gates` takes them."""
    apis: str = ""
    """API versions that are off by default, as `--runtime-config` takes them."""
    audited: str = ""
    """The user whose requests are written down (`audit`); nobody's where it is empty."""
    node_lease_seconds: int = 40
    """How long a node counts as alive after its last heartbeat; longer where a thousand of them would be the load."""


class ControlPlane:
    """etcd, kube-apiserver and, by options, kube-controller-manager, kube-scheduler and kwok."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.dir = Path(tempfile.mkdtemp(prefix="grovekeeper-plane-"))
        self.token = "administrator"
        self.port = ports.free()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_file = self.dir / "apiserver.crt"
        self.kubeconfig = self.dir / "kubeconfig"
        self._administrator = Administrator(self.url, self.ca_file, self.token)
        self.request = self._administrator.request
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "ControlPlane":
        """Start every part and wait until the API server is ready; raise RuntimeError with the log of what failed."""
        try:
            self._start_storage()
            self._start_api_server()
            self._start_rest()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the parts in reverse order of start, each by its own process id, and remove their folder."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        self._administrator.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def kubeconfig_for(self, token: str, name: str) -> Path:
        """Write a kubeconfig with another bearer token, such as a service account's, and return its path."""
        path = self.dir / f"kubeconfig-{name}"
        path.write_text(json.dumps(_kubeconfig(self.url, str(self.ca_file), token)))
        return path

    def pause(self, name: str) -> None:
        """Stop a part's process with SIGSTOP, as an outage that keeps connections open."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused part go on."""
        self.processes[name].send_signal(signal.SIGCONT)

    def cpu_seconds(self, name: str) -> float:
        """Return the CPU time that a part has used (user and system)."""
        return cpu_seconds(self.processes[name].pid)

    def _start_storage(self) -> None:
        client, peer = ports.free(), ports.free()
        self.etcd = f"http://127.0.0.1:{client}"
        self._spawn(
            "etcd",
            "--data-dir", str(self.dir / "etcd"),
            "--listen-client-urls", self.etcd, "--advertise-client-urls", self.etcd,
            "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync", "--log-level", "error",
        )  # fmt: skip

    def _start_api_server(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._private = self.dir / "sa.key"
        self._private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        tokens = self.dir / "tokens.csv"
        # The cluster's own controllers come under their own names: admission tells them from people.
        users = [f'{self.token},admin,1,"system:masters"', "controllers,system:kube-controller-manager,2"]
        tokens.write_text("\n".join([*users, "scheduler,system:kube-scheduler,3", ""]))
        self._spawn(
            "kube-apiserver",
            "--etcd-servers", self.etcd, "--secure-port", str(self.port), "--bind-address", "127.0.0.1",
            "--cert-dir", str(self.dir), "--token-auth-file", str(tokens), "--authorization-mode", "RBAC,Node",
            "--service-account-key-file", str(self._private), "--service-account-signing-key-file", str(self._private),
            "--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.0.0.0/24",
            "--watch-cache=true", "--v", "0", *self._gates(),
            *(("--runtime-config", self.options.apis) if self.options.apis else ()),
            *audit.options(self.options.audited, self.dir),
        )  # fmt: skip
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self.url, str(self.ca_file), self.token)))
        self._wait_ready()

    def _start_rest(self) -> None:
        if self.options.controllers:
            self._spawn(
                "kube-controller-manager",
                "--kubeconfig", str(self.kubeconfig_for("controllers", "controllers")),
                "--service-account-private-key-file", str(self._private),
                "--root-ca-file", str(self.ca_file), "--leader-elect=false", "--controllers", "*,-nodeipam,-ttl",
                "--use-service-account-credentials=true", "--secure-port", "0",
                "--horizontal-pod-autoscaler-sync-period", f"{self.options.hpa_sync_seconds}s",
                "--horizontal-pod-autoscaler-downscale-stabilization", "1s",
                "--horizontal-pod-autoscaler-cpu-initialization-period", "1s",
                "--horizontal-pod-autoscaler-initial-readiness-delay", "1s",
                "--node-monitor-grace-period", f"{self.options.node_lease_seconds + 10}s",
                "--kube-api-qps", "500", "--kube-api-burst", "1000", *self._gates(),
            )  # fmt: skip
        if self.options.scheduler:
            config = self.dir / "scheduler.yaml"
            config.write_text(
                json.dumps(
                    {
                        "apiVersion": "kubescheduler.config.k8s.io/v1",
                        "kind": "KubeSchedulerConfiguration",
                        "leaderElection": {"leaderElect": False},
                        "clientConnection": {
                            "kubeconfig": str(self.kubeconfig_for("scheduler", "scheduler")),
                            "qps": 1000,
                            "burst": 2000,
                        },
                    }
                )
            )
            self._spawn("kube-scheduler", "--config", str(config), "--secure-port", "0", *self._gates())
        if self.options.kubelets:
            options = self.dir / "kwok.yaml"
            kind = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration"}
            # Given at all, these options lose their defaults (4, 4, 4 and 1).
            parallel = {"nodePlayStageParallelism": 4, "nodeLeaseParallelism": 4, "podsOnNodeSyncParallelism": 1}
            options.write_text(json.dumps({**kind, "options": {"podPlayStageParallelism": 64, **parallel}}))
            self._spawn(
                "kwok",
                "--kubeconfig", str(self.kubeconfig), "--manage-all-nodes", "--node-ip", "127.0.0.1",
                "--node-lease-duration-seconds", str(self.options.node_lease_seconds),
                "--config", str(options), "--config", str(Path(__file__).parent / "stages.yaml"),
            )  # fmt: skip
        if self.options.controllers:
            self._wait_for("the default service account", "/api/v1/namespaces/default/serviceaccounts/default")

    def _gates(self) -> tuple[str, ...]:
        return ("--feature-gates", self.options.gates) if self.options.gates else ()

    def _spawn(self, name: str, *arguments: str) -> None:
        path = binaries.ensure(name)
        with (self.dir / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen([str(path), *arguments], stdout=log, stderr=subprocess.STDOUT)

    def _wait_ready(self) -> None:
        self._wait_for("the API server", "/readyz?verbose", decode=False)

    def _wait_for(self, what: str, path: str, *, decode: bool = True) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log_tail(name)}")
            with contextlib.suppress(OSError, RefusedError, urllib.error.URLError, json.JSONDecodeError):
                if decode:
                    self.request("GET", path)
                else:
                    self._ping(path)
                return
            time.sleep(0.1)
        raise RuntimeError(f"{what} did not come up in {START_SECONDS} s:\n{self.log_tail('kube-apiserver')}")

    def _ping(self, path: str) -> None:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(f"{self.url}{path}")
        request.add_header("Authorization", f"Bearer {self.token}")
        urllib.request.urlopen(request, timeout=5, context=context).close()

    def log_tail(self, name: str, size: int = 3000) -> str:
        """Return the end of a part's log."""
        path = self.dir / f"{name}.log"
        return path.read_text(errors="replace")[-size:] if path.exists() else ""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process on Linux: user and system, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mebibytes(pid: int) -> float:
    """Return the highest resident set of a process on Linux, in MiB."""
    return _mebibytes(pid, "VmHWM:")


def resident_mebibytes(pid: int) -> float:
    """Return the resident set of a process on Linux now, in MiB."""
    return _mebibytes(pid, "VmRSS:")


def _mebibytes(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.contextmanager
def running(options: Options | None = None) -> Iterator[ControlPlane]:
    """Run a control plane for a with block."""
    with ControlPlane(options) as plane:
        yield plane


def _kubeconfig(url: str, ca_file: str, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": ca_file}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
