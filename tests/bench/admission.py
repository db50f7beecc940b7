"""Admission of a burst of pods on the real control plane, measured by the API server's own metrics.

`python -m tests.bench.admission [--pods 1000] [--clients 32]`. Two bursts in one run: pods of gangs created by many
clients at once, and a set of half as many replicas of two pods, whose pods our own workers create while kube-scheduler
and kubelets are at work. Only our webhooks are counted. The bars are in limits.toml; the last lines are
`name measured bar ok|short`, and the exit code is 1 if one is short.
"""

import argparse
import asyncio
import re
import ssl
import sys
import time
import tomllib
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from grovekeeper.embedded.installation import Installation
from grovekeeper.expand import parse, pods, whole
from tests.bench import deploy
from tests.builders import clique, podgangset
from tests.chart import helm
from tests.controlplane.plane import ControlPlane, cpu_seconds

LIMITS = tomllib.loads((Path(__file__).parent / "limits.toml").read_text())["admission"]
_LINE = re.compile(r"^apiserver_admission_webhook_(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_OURS = ".grovekeeper.io"


@dataclass(slots=True)
class Seen:
    """What the API server has counted of our webhooks."""

    buckets: defaultdict[str, Counter[float]] = field(default_factory=lambda: defaultdict(Counter))
    """Webhook to upper bound in seconds to calls (cumulative)."""
    fail_open: int = 0
    failed: int = 0
    """Calls that did not end in an answer: time-outs, refused connections, bad patches."""

    def since(self, before: "Seen") -> "Seen":
        """Return what came on top."""
        result = Seen(fail_open=self.fail_open - before.fail_open, failed=self.failed - before.failed)
        for name, counts in self.buckets.items():
            result.buckets[name] = Counter({bound: n - before.buckets[name][bound] for bound, n in counts.items()})
        return result

    def calls(self, name: str) -> int:
        """Return the number of calls of a webhook."""
        return self.buckets[name][float("inf")]

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
    with ControlPlane() as plane:
        deploy.add_nodes(plane)
        with Installation(plane, rendered=helm.template()) as installation:
            return _judge([_clients(plane, installation, options), _set(plane, options.pods)])


def _clients(plane: ControlPlane, installation: Installation, options: argparse.Namespace) -> Seen:
    """Create pods from many clients at once. Nobody reconciles meanwhile: the pods have no owner."""
    for name in ("worker-0", "dispatcher"):
        installation.components[name].stop()
    webhook = installation.components["webhook"].process
    assert webhook is not None
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": "burst"}})
    deploy.until(lambda: _has_account(plane), "the namespace's service account", 30)
    before, used, begin = seen(plane), cpu_seconds(webhook.pid), time.monotonic()
    created = asyncio.run(_burst(plane, list(_pods(options.pods)), options.clients))
    took, cpu = time.monotonic() - begin, cpu_seconds(webhook.pid) - used
    result = seen(plane).since(before)
    print(f"{options.clients} clients: {created} of {options.pods} pods created in {took:.1f} s", flush=True)
    inside = _inside(installation.components["webhook"].metrics_port)
    print(
        f"the webhook used {cpu:.2f} CPU seconds for them; it answered 99 of 100 within {inside:g} ms of their arrival"
    )
    _show(result)
    if created != options.pods:
        raise RuntimeError(f"{options.pods - created} pods were not created\n{installation.logs()}")
    plane.request("DELETE", "/api/v1/namespaces/burst/pods", {"gracePeriodSeconds": 0})
    for name in ("dispatcher", "worker-0"):
        installation.components[name].start()
        installation.components[name].wait_ready()
    return result


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
            print(f"  {name}: {found.calls(name)} calls, {shown} (upper ends of the server's buckets)")


def _judge(parts: list[Seen]) -> int:
    worst = max(
        found.quantile(name, 0.99) for found in parts for name in found.buckets if found.calls(name) and "pod." in name
    )
    measured = {
        "p99_ms": worst,
        "fail_open": sum(found.fail_open for found in parts),
        "failed_calls": sum(found.failed for found in parts),
    }
    short = False
    for name, value in measured.items():
        bar = LIMITS[name]
        short |= value > bar
        print(f"admission.{name} {value:.2f} {bar} {'short' if value > bar else 'ok'}")
    return 1 if short else 0


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


async def _burst(plane: ControlPlane, bodies: list[dict[str, Any]], clients: int) -> int:
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
    owner = whole.objects(obj, pods.Settings("gate:1"), lambda given, _operations: given, {})
    found = [each for each in owner if each["kind"] == "PodClique" and each["metadata"]["name"].endswith("worker")]
    w = parse.workload(obj)
    for index in range(count):
        pod = pods.created(w, found[0], index, f"demo-0-worker-{index:05}")
        pod["metadata"].pop("ownerReferences", None)
        yield pod


def _has_account(plane: ControlPlane) -> bool:
    try:
        plane.request("GET", "/api/v1/namespaces/burst/serviceaccounts/default")
    except urllib.error.HTTPError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
