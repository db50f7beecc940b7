"""Admission of a burst of pods on the real control plane, measured by the API server's own metrics.

`python -m tests.bench.admission [--pods 1000] [--clients 32]`. In one run: pods of gangs created by many clients at
once, before our webhook and, in turns, before the Go webhook of bench-webhook at the same address; then a set of half
as many replicas of two pods, whose pods our own workers create while kube-scheduler and kubelets are at work. Only
this webhook is counted. The bars are in limits.toml; the last lines are `name measured bar ok|short`, and the exit
code is 1 if one is short.
"""

import argparse
import asyncio
import base64
import contextlib
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.embedded.installation import NAMESPACE, Installation
from grovekeeper.expand import injection, parse, pods, whole
from tests.bench import deploy, webhook
from tests.builders import clique, podgangset
from tests.chart import helm
from tests.controlplane.plane import ControlPlane, cpu_seconds

LIMITS = tomllib.loads((Path(__file__).parent / "limits.toml").read_text())["admission"]
_LINE = re.compile(r"^apiserver_admission_webhook_(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_OURS = ".grovekeeper.io"
_POD = "mutate-pod.grovekeeper.io"
ROUNDS = 2


@dataclass(slots=True)
class Seen:
    """What the API server has counted of our webhooks."""

    buckets: defaultdict[str, Counter[float]] = field(default_factory=lambda: defaultdict(Counter))
    """Webhook to upper bound in seconds to calls (cumulative)."""
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Webhook to the time that all of its calls took."""
    fail_open: int = 0
    failed: int = 0
    """Calls that did not end in an answer: time-outs, refused connections, bad patches."""

    def since(self, before: "Seen") -> "Seen":
        """Return what came on top."""
        result = Seen(fail_open=self.fail_open - before.fail_open, failed=self.failed - before.failed)
        for name, counts in self.buckets.items():
            result.buckets[name] = Counter({bound: n - before.buckets[name][bound] for bound, n in counts.items()})
            result.seconds[name] = self.seconds[name] - before.seconds[name]
        return result

    def calls(self, name: str) -> int:
        """Return the number of calls of a webhook."""
        return self.buckets[name][float("inf")]

    def mean(self, name: str) -> float:
        """Return the mean in milliseconds: unlike a quantile, it does not depend on how wide the buckets are."""
        return 1000 * self.seconds[name] / max(1, self.calls(name))

    def quantile(self, name: str, share: float) -> float:
        """Return a quantile in milliseconds, interpolated in its bucket as Prometheus does."""
        counts = sorted(self.buckets[name].items())
        rank = share * self.calls(name)
        low, below = 0.0, 0
        for bound, count in counts:
            if count >= rank:
                return 1000 * (low + (bound - low) * (rank - below) / max(1, count - below))
            low, below = bound, count
        return float("inf")


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args()
    go = shutil.which("go")
    if go is None:
        print("bench-admission needs Go to build its peer: install Go 1.26 or newer", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="grovekeeper-bench-") as name, ControlPlane() as plane:
        folder = Path(name)
        subprocess.run([go, "build", "-mod=mod", "-o", f"{folder}/", "."], cwd=webhook.PEER, check=True)
        deploy.add_nodes(plane)
        with Installation(plane, rendered=helm.template()) as installation:
            bursts = _Bursts(plane, installation, options, folder)
            ours, peers = bursts.run()
            return _judge([*ours, _set(plane, options.pods)], ours, peers)


@dataclass(slots=True)
class _Bursts:
    """Pods created by many clients at once. Nobody reconciles meanwhile: the pods have no owner."""

    plane: ControlPlane
    installation: Installation
    options: argparse.Namespace
    folder: Path

    def run(self) -> tuple[list[Seen], list[Seen]]:
        """Return what the API server saw of our webhook, and of the peer."""
        components = self.installation.components
        for name in ("worker-0", "dispatcher"):
            components[name].stop()
        self.plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": "burst"}})
        deploy.until(lambda: _has_account(self.plane), "the namespace's service account", 30)
        ours, peers = [], []
        for _ in range(ROUNDS):
            process = components["webhook"].process
            assert process is not None
            ours.append(self._burst("ours", process.pid))
            inside = _inside(components["webhook"].metrics_port)
            print(f"  the webhook itself answered 99 of 100 within {inside:g} ms of their arrival")
            components["webhook"].stop()
            with self._peer() as pid:
                peers.append(self._burst("peer", pid))
            components["webhook"].start()
            components["webhook"].wait_ready()
        for name in ("dispatcher", "worker-0"):
            components[name].start()
            components[name].wait_ready()
        return ours, peers

    def _burst(self, title: str, pid: int) -> Seen:
        plane, options = self.plane, self.options
        before, used, begin = seen(plane), cpu_seconds(pid), time.monotonic()
        created = asyncio.run(_create_all(plane, list(_pods(options.pods)), options.clients))
        took, cpu = time.monotonic() - begin, cpu_seconds(pid) - used
        result = seen(plane).since(before)
        print(f"{title}: {options.clients} clients created {created} of {options.pods} pods in {took:.1f} s;", end=" ")
        print(f"the webhook used {cpu:.2f} CPU seconds for them", flush=True)
        _show(result)
        if created != options.pods:
            raise RuntimeError(f"{options.pods - created} pods were not created\n{self.installation.logs()}")
        pods_path = "/api/v1/namespaces/burst/pods"
        plane.request("DELETE", pods_path, {"gracePeriodSeconds": 0})
        deploy.until(lambda: not plane.request("GET", f"{pods_path}?limit=1")["items"], "the pods to be gone", 60)
        return result

    @contextlib.contextmanager
    def _peer(self) -> Iterator[int]:
        """Have the Go webhook at our address, with our certificate; yield its process id."""
        settings = self.installation.components["webhook"].environment
        path = f"/api/v1/namespaces/{NAMESPACE}/secrets/grovekeeper-webhook-cert"
        files = []
        for key in ("tls.crt", "tls.key"):
            files.append(self.folder / key)
            files[-1].write_bytes(base64.b64decode(self.plane.request("GET", path)["data"][key]))
        port = int(settings["GROVEKEEPER_WEBHOOK__PORT"])
        process = subprocess.Popen([self.folder / "peer", f"127.0.0.1:{port}", *files])
        try:
            webhook.wait(port)
            yield process.pid
        finally:
            process.terminate()
            process.wait(10)


def _set(plane: ControlPlane, count: int) -> Seen:
    """Create a set and wait until all of its pods are ready."""
    body = {"roleName": "worker", "replicas": 2, "minAvailable": 2, "podSpec": deploy.pod_spec()}
    obj = podgangset({"name": "worker", "spec": body}, replicas=count // 2)
    del obj["metadata"]["uid"]
    before, begin = seen(plane), time.monotonic()
    plane.request("POST", "/apis/grove.io/v1alpha1/namespaces/default/podgangsets", obj)
    created, ready = deploy.watch(plane, "app.kubernetes.io%2Fpart-of%3Ddemo", count, begin)
    result = seen(plane).since(before)
    print(f"a set: {count} pods created in {created:.1f} s, ready after {ready:.1f} s", flush=True)
    _show(result)
    return result


def _show(found: Seen) -> None:
    for name in sorted(found.buckets):
        if found.calls(name):
            shown = ", ".join(f"p{share * 100:g} {found.quantile(name, share):.1f} ms" for share in (0.5, 0.99, 1))
            print(f"  {name}: {found.calls(name)} calls, mean {found.mean(name):.1f} ms, by buckets {shown}")


def _judge(parts: list[Seen], ours: list[Seen], peers: list[Seen]) -> int:
    measured = {
        "mean_ratio": statistics.median(map(_mean, ours)) / statistics.median(map(_mean, peers)),
        "p99_ms": max(map(_p99, parts)),
        "fail_open": sum(found.fail_open for found in parts),
        "failed_calls": sum(found.failed for found in parts),
    }
    short = False
    for name, value in measured.items():
        bar = LIMITS[name]
        short |= value > bar
        print(f"admission.{name} {value:.2f} {bar} {'short' if value > bar else 'ok'}")
    return 1 if short else 0


def _p99(found: Seen) -> float:
    return found.quantile(_POD, 0.99)


def _mean(found: Seen) -> float:
    return found.mean(_POD)


def seen(plane: ControlPlane) -> Seen:
    """Return what the API server's metrics say of our webhooks."""
    request = urllib.request.Request(f"{plane.url}/metrics", headers={"Authorization": f"Bearer {plane.token}"})
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        text = answer.read().decode()
    result = Seen()
    for metric, listed, value in _LINE.findall(text):
        labels = dict(_LABEL.findall(listed))
        if not labels.get("name", "").endswith(_OURS):
            continue
        if metric == "admission_duration_seconds_bucket":
            result.buckets[labels["name"]][float(labels["le"])] += int(float(value))
        elif metric == "admission_duration_seconds_sum":
            result.seconds[labels["name"]] += float(value)
        elif metric == "fail_open_count":
            result.fail_open += int(float(value))
        elif metric == "rejection_count" and labels["error_type"] != "no_error":
            result.failed += int(float(value))
    return result


def _inside(port: int) -> float:
    """Return the upper end in milliseconds of the bucket of the webhook's own histogram that holds its p99."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'webhook_latency_seconds_bucket\{le="([^"]+)",webhook="/webhooks/mutate-pod"\} (\S+)', text)
    counts = sorted((float(bound), float(count)) for bound, count in found)
    return next(1000 * bound for bound, count in counts if count >= 0.99 * counts[-1][1])


async def _create_all(plane: ControlPlane, bodies: list[dict[str, Any]], clients: int) -> int:
    queue = iter(bodies)
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    created = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal created
        for body in queue:
            async with session.post(f"{plane.url}/api/v1/namespaces/burst/pods", json=body) as answer:
                if answer.status == 201:
                    created += 1
                else:
                    print(answer.status, await answer.text())

    headers = {"Authorization": f"Bearer {plane.token}"}
    connector = aiohttp.TCPConnector(ssl=context, limit=clients)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(work(session) for _ in range(clients)))
    return created


def _pods(count: int) -> Iterator[dict[str, Any]]:
    """Yield the pods of a gang as the reconciler sends them, without an owner."""
    obj = podgangset(clique("leader"), clique("worker", count, startsAfter=["leader"]))
    obj["spec"]["template"]["cliqueStartupType"] = "CliqueStartupTypeExplicit"
    obj["metadata"]["namespace"] = "burst"
    owner = whole.objects(obj, injection.Settings("gate:1"), lambda given, _operations: given, {})
    found = [each for each in owner if each["kind"] == "PodClique" and each["metadata"]["name"].endswith("worker")]
    w = parse.workload(obj)
    for index in range(count):
        pod = pods.created(w, found[0], index, f"demo-0-worker-{index:05}")
        pod["metadata"].pop("ownerReferences", None)
        yield pod


def _has_account(plane: ControlPlane) -> bool:
    try:
        plane.request("GET", "/api/v1/namespaces/burst/serviceaccounts/default")
    except RefusedError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
