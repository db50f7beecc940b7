"""The webhook's certificate on a cluster: made by itself, given by cert-manager, renewed, taken back, expired.

cert-manager itself does not run here. The test plays its part: it writes the Secret and its files as the kubelet
mounts them, and the caBundle as the cainjector does.
"""

import json
import os
import signal
import ssl
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.embedded.installation import NAMESPACE
from grovekeeper.runtime import certificates
from tests.chart import helm
from tests.e2e.world import MERGE, PATIENCE, Object, World, refused

HOSTS = ["127.0.0.1", f"grovekeeper-webhook.{NAMESPACE}.svc"]
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/grovekeeper-webhook-cert"
HOOKS = "/apis/admissionregistration.k8s.io/v1/"
CONFIGURATIONS = ("mutatingwebhookconfigurations/grovekeeper", "validatingwebhookconfigurations/grovekeeper")
INJECT = "cert-manager.io/inject-ca-from"


class CertManager:
    """Writes what cert-manager, its cainjector and the kubelet write."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.authority = certificates.fresh(HOSTS, datetime.now(UTC)).authority
        self._mounts = 0

    def issue(self, *, days_ago: int = 0) -> bytes:
        """Issue a leaf, store and mount it, and return it."""
        made = certificates.leaf(self.authority, HOSTS, datetime.now(UTC) - timedelta(days=days_ago))
        files = {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": self.authority.certificate}
        secret = self.world.request("GET", SECRET)
        secret["metadata"]["annotations"] = {"cert-manager.io/certificate-name": "grovekeeper-webhook"}
        secret["data"] = {**secret["data"], **{name: b64encode(value).decode() for name, value in files.items()}}
        self.world.request("PUT", SECRET, secret)
        self._mount(files)
        return made.certificate

    def _mount(self, files: dict[str, bytes]) -> None:
        """Swap all files at once, by a link, as the kubelet does."""
        self._mounts += 1
        fresh = self.folder / f"..{self._mounts}"
        fresh.mkdir()
        for name, value in files.items():
            (fresh / name).write_bytes(value)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        link = self.folder / "..data_tmp"
        link.symlink_to(fresh.name)
        os.replace(link, self.folder / "..data")

    def inject(self) -> None:
        bundle = b64encode(self.authority.certificate).decode()
        for path in CONFIGURATIONS:
            live = self.world.request("GET", HOOKS + path)
            for hook in live["webhooks"]:
                hook["clientConfig"]["caBundle"] = bundle
            self.world.request("PUT", HOOKS + path, live)


@pytest.fixture
def manager(world: World, tmp_path: Path) -> Iterator[CertManager]:
    """cert-manager, and the webhook's own mode again afterwards."""
    yield CertManager(world, tmp_path)
    restart(world, cert_mode="auto", shutdown_delay="0.2")
    world.installation.components["webhook"].wait_ready()
    annotate(world, None)


def restart(world: World, **webhook: str) -> None:
    """Start the webhook again with other settings, as a changed chart value does."""
    component = world.installation.components["webhook"]
    component.stop()
    component.environment.update({f"GROVEKEEPER_WEBHOOK__{key.upper()}": value for key, value in webhook.items()})
    component.start()


def annotate(world: World, value: str | None) -> None:
    for path in CONFIGURATIONS:
        world.request("PATCH", HOOKS + path, {"metadata": {"annotations": {INJECT: value}}}, MERGE)


def served(world: World) -> str:
    """Return the certificate that a new connection gets."""
    port = int(world.installation.components["webhook"].environment["GROVEKEEPER_WEBHOOK__PORT"])
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=5 * PATIENCE)


def readiness(world: World) -> dict[str, str]:
    """Return what readiness says is missing; nothing when ready."""
    port = world.installation.components["webhook"].metrics_port
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5 * PATIENCE).close()
    except urllib.error.HTTPError as error:
        found: dict[str, str] = json.load(error)["missing"]
        return found
    except OSError:
        return {"certificate": "no answer yet"}
    return {}


def missing(world: World) -> str:
    """Return what readiness says of the certificate; nothing when all is well with it."""
    return readiness(world).get("certificate", "")


def deploys(world: World) -> None:
    """Deploy ten pods that are one gang, see them run, and remove them."""
    world.apply(world.wl1())
    world.wait_pods(10, 10, 60)
    world.request("DELETE", world.path("podgangsets", "w"))
    world.wait(lambda: not world.request("GET", world.path("pods", group="/api/v1"))["items"], "all pods to go", 30)


def chart_of(world: World) -> list[Object]:
    """Return the chart in cert-manager's mode; on the embedded cluster, which needs no Helm, nothing."""
    if not hasattr(world.cluster, "processes"):
        return []
    return helm.template("webhook.certMode=files", "webhook.certManager.issuerRef.name=ca", "webhook.replicas=1")


@pytest.mark.slow
def test_cm1_to_cert_manager_and_back_and_workloads_deploy_all_the_way(world: World, manager: CertManager) -> None:
    world.add_nodes(10)
    own = served(world)
    for obj in chart_of(world):
        if obj["kind"].endswith("WebhookConfiguration"):
            assert obj["metadata"]["annotations"] == {INJECT: f"{NAMESPACE}/grovekeeper-webhook"}
        if obj["kind"] == "ConfigMap":
            assert "cert_mode: files" in obj["data"]["settings.yaml"]
    first = manager.issue()
    annotate(world, f"{NAMESPACE}/grovekeeper-webhook")
    restart(world, cert_mode="files", cert_dir=str(manager.folder))
    world.wait(lambda: "caBundle is of another authority" in missing(world), "readiness to say what is missing")
    manager.inject()
    world.wait(lambda: not missing(world), "the webhook to be ready")
    assert served(world).encode().strip() == first.strip()
    deploys(world)

    process = world.installation.components["webhook"].process
    assert process is not None
    second = manager.issue()
    world.wait(lambda: served(world).encode().strip() == second.strip(), "the renewed certificate", 20)
    assert process.poll() is None
    deploys(world)

    annotate(world, None)
    restart(world, cert_mode="auto")
    world.installation.components["webhook"].wait_ready()
    secret = world.request("GET", SECRET)
    assert not [key for key in secret["metadata"].get("annotations") or {} if key.startswith("cert-manager.io/")]
    assert served(world).encode().strip() == b64decode(secret["data"]["tls.crt"]).strip()
    assert served(world) not in (own, first.decode(), second.decode())
    deploys(world)


@pytest.mark.slow
def test_an_expired_certificate_is_said_by_readiness_and_by_what_is_refused(world: World, manager: CertManager) -> None:
    manager.issue(days_ago=91)
    manager.inject()
    restart(world, cert_mode="files", cert_dir=str(manager.folder))
    world.wait(lambda: "the certificate ended at" in missing(world), "readiness to say so")
    assert "kubectl describe certificate" in missing(world)

    def refusal() -> bool:
        """The webhook may not listen yet when readiness already speaks: nothing is let in meanwhile, either."""
        code, text = refused(lambda: world.apply(world.wl1()))
        assert code == 500
        return "expired" in text

    world.wait(refusal, "the API server to say that the certificate has expired")
    manager.issue()
    world.wait(lambda: not missing(world), "the renewed certificate", 20)
    world.apply(world.wl1())


@pytest.mark.slow
def test_a_webhook_that_is_told_to_end_answers_until_it_is_out_of_service(world: World, manager: CertManager) -> None:
    """Readiness says no at once, requests and new connections are served for the delay, and the process ends well."""
    # What follows has to come to its end within the delay, on a slow machine, too.
    delay = 3 * PATIENCE
    restart(world, shutdown_delay=str(delay))
    component = world.installation.components["webhook"]
    component.wait_ready()
    assert component.process is not None
    obj = world.set([world.clique("pc-a", 1)])
    path = f"{world.path('podgangsets', 'w')}?fieldManager=e2e&force=true&dryRun=All"
    refusals: list[str] = []
    served_after: list[float] = []
    ended = threading.Event()

    def call() -> None:
        while not ended.is_set():
            try:
                world.request("PATCH", path, obj, "application/apply-patch+yaml")
                served_after.append(time.monotonic() - begin)
            except RefusedError as error:
                refusals.append(str(error))

    begin = time.monotonic()
    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    time.sleep(0.5)
    begin = time.monotonic()
    component.process.send_signal(signal.SIGTERM)
    world.wait(lambda: "shutting down" in readiness(world).get("shutdown", ""), "readiness to say no", delay / PATIENCE)
    time.sleep(1)
    ended.set()
    for caller in callers:
        caller.join()
    assert refusals == []
    assert max(served_after) > 1
    assert component.process.wait(delay + 10 * PATIENCE) == 0
