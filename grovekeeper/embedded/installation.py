"""Grovekeeper installed on a cluster of this machine: CRDs, registration, and the components as child processes.

The demo installs on the embedded cluster, the end-to-end suite on both; the components run with the service account's
token, not as administrators.
"""

import copy
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from grovekeeper.api import crds, raw
from grovekeeper.embedded import registration
from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.runtime import ports
from grovekeeper.runtime.redis_server import EmbeddedRedis

NAMESPACE = registration.NAMESPACE
Object = raw.Object


class Cluster(Protocol):
    """What both clusters offer to the installation."""

    url: str
    dir: Path

    def request(self, method: str, path: str, body: object = None) -> raw.Object:
        """Make one request as the administrator."""

    def kubeconfig_for(self, token: str, name: str) -> Path:
        """Write a kubeconfig with a bearer token."""


@dataclass(slots=True)
class Component:
    """One process of ours."""

    name: str
    arguments: list[str]
    metrics_port: int
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; its log goes on in the same file."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "grovekeeper.cli", *self.arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
            )

    def stop(self, *, kill: bool = False) -> None:
        """End the process, gently or not."""
        if self.process is None or self.process.poll() is not None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_ready(self, seconds: float = 90) -> None:
        """Wait for /readyz; raise with what is missing and the end of the log."""
        deadline = time.monotonic() + seconds
        said = "no answer yet"
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=2):
                    return
            except urllib.error.HTTPError as error:
                said = error.read().decode()
            except OSError as error:
                said = repr(error)
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} did not become ready: {said}\n{self.log.read_text()[-3000:]}")


@dataclass(slots=True)
class Installation:
    """CRDs, RBAC, webhooks and the three components on a cluster."""

    cluster: Cluster
    settings: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    rendered: list[raw.Object] = field(default_factory=registration.objects)
    """What the chart renders (RBAC, ConfigMap, webhook configurations), or the built-in registration."""
    components: dict[str, Component] = field(default_factory=dict)
    redis: EmbeddedRedis = field(default_factory=EmbeddedRedis)
    _arguments: list[str] = field(default_factory=list)
    _environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> "Installation":
        self.redis.start()
        try:
            self._install()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all components and Redis."""
        for component in reversed(self.components.values()):
            component.stop()
        self.redis.close()

    @property
    def clock_file(self) -> Path:
        """Where tests write the seconds by which our clock is ahead."""
        return self.cluster.dir / "clock-offset"

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"--- {c.name}\n{c.log.read_text()[-4000:]}" for c in self.components.values())

    def _install(self) -> None:
        port = ports.free()
        self._apply_all(self.rendered, port)
        token = self._token()
        kubeconfig = self.cluster.kubeconfig_for(token, "grovekeeper")
        config = next(o for o in self.rendered if o["kind"] == "ConfigMap")
        path = self.cluster.dir / "settings.yaml"
        path.write_text(config["data"]["settings.yaml"])
        environment = {
            "GROVEKEEPER_REDIS_URL": self.redis.url,
            "GROVEKEEPER_METRICS_BIND": "127.0.0.1",
            "GROVEKEEPER_LOG_FORMAT": "text",
            "GROVEKEEPER_CLOCK_OFFSET_FILE": str(self.clock_file),
            "GROVEKEEPER_WEBHOOK__BIND": "127.0.0.1",
            "GROVEKEEPER_WEBHOOK__PORT": str(port),
            "GROVEKEEPER_WEBHOOK__URL": f"https://127.0.0.1:{port}",
            "GROVEKEEPER_WEBHOOK__SHUTDOWN_DELAY": "0.2",
            **self.settings,
        }
        self._arguments = ["--config", str(path), "--kubeconfig", str(kubeconfig)]
        self._environment = environment
        for name in ["webhook", "dispatcher", *(f"worker-{number}" for number in range(self.workers))]:
            self._start(name)
        for component in self.components.values():
            component.wait_ready()

    def _start(self, name: str) -> Component:
        port = ports.free()
        component = Component(
            name,
            ["run", name.partition("-")[0], *self._arguments],
            port,
            {**self._environment, "GROVEKEEPER_METRICS_PORT": str(port)},
            self.cluster.dir / f"{name}.log",
        )
        self.components[name] = component
        component.start()
        return component

    def add_worker(self) -> str:
        """Start one more worker and return its name."""
        return self.add("worker")

    def add(self, kind: str) -> str:
        """Start one more component of a kind (webhook, dispatcher, worker) and return its name."""
        name = f"{kind}-{sum(1 for known in self.components if known.partition('-')[0] == kind)}"
        self._start(name).wait_ready()
        return name

    def reconfigure(self, **environment: str) -> None:
        """Restart every component with other settings: GROVEKEEPER_* variables over those that it has."""
        for component in self.components.values():
            component.stop()
            component.environment.update(environment)
            component.start()
        for component in self.components.values():
            component.wait_ready()

    def remove(self, name: str) -> None:
        """Stop a component for good."""
        self.components.pop(name).stop()

    def _apply_all(self, rendered: list[Object], port: int) -> None:
        for kind in crds.KINDS:
            self._create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crds.definition(kind))
        self._create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for obj in copy.deepcopy(rendered):
            where = _PATHS.get(str(obj["kind"]))
            if where is None:
                continue
            if str(obj["kind"]).endswith("WebhookConfiguration"):
                _point_at(obj, port)
            self._create(where.format(NAMESPACE), obj)
        self._wait_for_kinds()

    def _create(self, path: str, obj: object) -> None:
        try:
            self.cluster.request("POST", path, obj)
        except RefusedError as error:
            raise RuntimeError(str(error)) from error

    def _wait_for_kinds(self) -> None:
        paths = [f"/apis/grove.io/v1alpha1/{p}" for p in ("podgangsets", "podcliquesets", "podcliques")]
        wait_for(lambda: all(self._served(path) for path in paths), "the kinds to be served")

    def _served(self, path: str) -> bool:
        try:
            self.cluster.request("GET", path)
        except RefusedError:
            return False
        return True

    def _token(self) -> str:
        answer = self.cluster.request(
            "POST",
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/grovekeeper/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}},
        )
        return str(answer["status"]["token"])


_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
    "Role": _RBAC + "/namespaces/{}/roles",
    "RoleBinding": _RBAC + "/namespaces/{}/rolebindings",
    "MutatingWebhookConfiguration": f"{_ADMISSION}/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": f"{_ADMISSION}/validatingwebhookconfigurations",
}


def wait_for(check: Callable[[], object], what: str, seconds: float = 90) -> None:
    """Poll until the check holds; raise TimeoutError that says what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds} s for {what}")


def _point_at(configuration: Object, port: int) -> None:
    for hook in configuration["webhooks"]:
        path = hook["clientConfig"].pop("service")["path"]
        hook["clientConfig"]["url"] = f"https://127.0.0.1:{port}{path}"


def nodes(prefix: str, count: int, **resources: str) -> Iterator[Object]:
    """Yield Node objects with zone, block, rack and host labels: 7 nodes a rack, 2 racks a block, 2 blocks a zone."""
    offered = {"cpu": "8", "memory": "32Gi", "pods": "110", **resources}
    for index in range(count):
        name = f"{prefix}{index:03}"
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/zone": f"{prefix}z{index // 28}",
                    "kubernetes.io/block": f"{prefix}b{index // 14}",
                    "kubernetes.io/rack": f"{prefix}r{index // 7}",
                },
            },
            "status": {"allocatable": offered, "capacity": offered},
        }
