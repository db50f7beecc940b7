"""1,000 pods in gangs of two on the real control plane, against the floor: stock ReplicaSets of two plain pods.

`python -m tests.bench.deploy [--replicas 500]`. Both are measured in one run on the same control plane; the bars are
in limits.toml. The last lines are `name measured bar ok|short`; the exit code is 1 if one is short.
"""

import argparse
import re
import sys
import time
import tomllib
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grovekeeper.embedded.installation import Installation
from tests.chart import helm
from tests.controlplane.plane import ControlPlane, cpu_seconds, peak_mebibytes

LIMITS = tomllib.loads((Path(__file__).parent / "limits.toml").read_text())["deploy"]
_CALL = re.compile(r'^grovekeeper_kube_requests_total\{resource="([^"]+)",verb="([^"]+)"\} (\S+)', re.MULTILINE)
_WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE")


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicas", type=int, default=500)
    replicas = parser.parse_args().replicas
    with ControlPlane() as plane:
        add_nodes(plane)
        floor = _floor(plane, replicas)
        print(f"floor: {replicas} ReplicaSets of 2: created {floor[0]:.1f} s, ready {floor[1]:.1f} s", flush=True)
        with Installation(plane, rendered=helm.template()) as installation:
            ours, cpu, memory, calls = _ours(plane, installation, replicas)
            return _judge(replicas, floor, ours, cpu, memory, calls, plane)


def add_nodes(plane: ControlPlane) -> None:
    """Add 100 nodes, and let kwok take them over."""
    offered = {"cpu": "64", "memory": "256Gi", "pods": "110"}
    for index in range(100):
        labels = {"kubernetes.io/hostname": f"node-{index:03}"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{index:03}", "labels": labels}}
        plane.request("POST", "/api/v1/nodes", {**node, "status": {"allocatable": offered, "capacity": offered}})
    time.sleep(3)


def _floor(plane: ControlPlane, replicas: int) -> tuple[float, float]:
    path = "/apis/apps/v1/namespaces/default/replicasets"
    begin = time.monotonic()
    for index in range(replicas):
        labels = {"app": f"floor-{index}", "floor": "true"}
        template = {"metadata": {"labels": labels}, "spec": pod_spec()}
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        plane.request("POST", path, {"metadata": {"name": f"floor-{index}", "labels": labels}, "spec": spec})
    result = watch(plane, "floor=true", replicas * 2, begin)
    plane.request("DELETE", f"{path}?labelSelector=floor%3Dtrue", {"propagationPolicy": "Background"})
    until(lambda: not _pods(plane, "floor=true"), "the floor's pods to go", 120)
    return result


def _ours(
    plane: ControlPlane, installation: Installation, replicas: int
) -> tuple[tuple[float, float], dict[str, float], dict[str, float], Counter[tuple[str, str]]]:
    processes = {name: c.process.pid for name, c in installation.components.items() if c.process is not None}
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    counted = calls(installation)
    clique = {
        "name": "worker",
        "spec": {"roleName": "worker", "replicas": 2, "minAvailable": 2, "podSpec": pod_spec()},
    }
    obj = {
        "apiVersion": "grove.io/v1alpha1",
        "kind": "PodGangSet",
        "metadata": {"name": "bench"},
        "spec": {"replicas": replicas, "template": {"cliques": [clique]}},
    }
    begin = time.monotonic()
    plane.request("POST", "/apis/grove.io/v1alpha1/namespaces/default/podgangsets", obj)
    selector = "app.kubernetes.io%2Fpart-of%3Dbench"
    result = watch(plane, selector, replicas * 2, begin, installation)
    at_ready = calls(installation) - counted
    path = "/apis/grove.io/v1alpha1/namespaces/default/podgangsets/bench"
    available = lambda: plane.request("GET", path)["status"].get("availableReplicas") == replicas  # type: ignore[attr-defined]  # noqa: E731
    until(available, "the set to say that all replicas are available", 60)
    print(f"ours: the set says so after {time.monotonic() - begin:.1f} s", flush=True)
    time.sleep(5)  # late status writes belong to the bill
    cpu = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
    memory = {name: peak_mebibytes(pid) for name, pid in processes.items()}
    at_rest = sum(
        count for (verb, resource), count in (calls(installation) - counted).items() if is_write(verb, resource)
    )
    print(f"ours: {at_rest / (replicas * 2):.2f} writes per pod at rest, the status of every gang written down")
    return result, cpu, memory, at_ready


def is_write(verb: str, resource: str) -> bool:
    return verb in _WRITES and resource != "leases"


def _judge(
    replicas: int,
    floor: tuple[float, float],
    ours: tuple[float, float],
    cpu: dict[str, float],
    memory: dict[str, float],
    calls: Counter[tuple[str, str]],
    plane: ControlPlane,
) -> int:
    pods = replicas * 2
    print(f"ours: created {ours[0]:.1f} s, ready {ours[1]:.1f} s")
    print(
        "cpu seconds: "
        + ", ".join(f"{name} {value:.1f}" for name, value in cpu.items())
        + f", sum {sum(cpu.values()):.1f}"
    )
    print("peak MiB: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items()))
    print(f"kube-apiserver used {plane.cpu_seconds('kube-apiserver'):.0f} CPU seconds in the whole run")
    print("calls until all pods were ready:")
    for (verb, resource), count in sorted(calls.items(), key=lambda entry: -entry[1]):
        if count / pods >= 0.01:
            print(f"  {verb:6} {resource:28} {count / pods:.2f} per pod")
    writes = sum(count for (verb, resource), count in calls.items() if is_write(verb, resource))
    measured = {
        "ready_ratio": ours[1] / floor[1],
        "writes_per_pod": writes / pods,
        "peak_mib": max(memory.values()),
    }
    short = False
    for name, value in measured.items():
        bar = LIMITS[name]
        short |= value > bar
        print(f"deploy.{name} {value:.2f} {bar} {'short' if value > bar else 'ok'}")
    return 1 if short else 0


def calls(installation: Installation) -> Counter[tuple[str, str]]:
    result: Counter[tuple[str, str]] = Counter()
    for component in installation.components.values():
        with urllib.request.urlopen(f"http://127.0.0.1:{component.metrics_port}/metrics", timeout=10) as answer:
            for resource, verb, value in _CALL.findall(answer.read().decode()):
                result[verb, resource] += int(float(value))
    return result


def watch(
    plane: ControlPlane, selector: str, pods: int, begin: float, installation: Installation | None = None
) -> tuple[float, float]:
    """Return the seconds until this many pods exist, and until all are ready; RuntimeError after seven minutes."""
    created = 0.0
    deadline = time.monotonic() + 420
    while time.monotonic() < deadline:
        found = _pods(plane, selector)
        if not created and len(found) >= pods:
            created = time.monotonic() - begin
        if created and sum(map(_ready, found)) >= pods:
            return created, time.monotonic() - begin
        time.sleep(0.5)
    logs = installation.logs() if installation else ""
    raise RuntimeError(f"{len(found)} pods, {sum(map(_ready, found))} ready, {pods} wanted\n{logs}")


def _pods(plane: ControlPlane, selector: str) -> list[dict[str, Any]]:
    # From the watch cache: the measurement itself must not load the server.
    path = f"/api/v1/namespaces/default/pods?labelSelector={selector}&resourceVersion=0"
    found: list[dict[str, Any]] = plane.request("GET", path)["items"]  # type: ignore[assignment]
    return found


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def until(check: Callable[[], object], what: str, seconds: float) -> None:
    """Poll until the check holds; RuntimeError with what was waited for."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.5)


def pod_spec() -> dict[str, Any]:
    """Return the smallest pod there is."""
    return {
        "containers": [{"name": "main", "image": "example.com/app:1", "resources": {"requests": {"memory": "1Mi"}}}]
    }


if __name__ == "__main__":
    sys.exit(main())
