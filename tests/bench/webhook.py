"""Admission of a gang's pod: our server against a Go webhook that does the same through PatchResponseFromRaw.

`python -m tests.bench.webhook`. Each server runs on one core, the load generator on the other; the two are measured
in turns within one run. The last lines are `name measured bar ok|short`; the exit code is 1 if one is short.
"""

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from grovekeeper.expand import injection, parse, pods, whole
from grovekeeper.runtime import certificates
from tests.builders import clique, podgangset

LIMITS = tomllib.loads((Path(__file__).parent / "limits.toml").read_text())["webhook"]
PEER = Path(__file__).parent / "peer"
ROUNDS = 4
SECONDS = 4


def main() -> int:
    """Measure and judge."""
    go = shutil.which("go")
    if go is None:
        print("bench-webhook needs Go to build its peer: install Go 1.26 or newer", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="grovekeeper-bench-") as name:
        folder = Path(name)
        subprocess.run([go, "build", "-mod=mod", "-o", f"{folder}/", ".", "./load"], cwd=PEER, check=True)
        made = certificates.fresh(["127.0.0.1"], datetime.now(UTC))
        (folder / "tls.crt").write_bytes(made.leaf.certificate)
        (folder / "tls.key").write_bytes(made.leaf.key)
        (folder / "body").write_bytes(body())
        print(f"review of {(folder / 'body').stat().st_size} bytes, 50 clients, {ROUNDS} rounds of {SECONDS} s each")
        return _judge(_measure(folder))


def body() -> bytes:
    """Return an AdmissionReview of a pod with a realistic spec, as the reconciler creates it."""
    container = {
        "name": "server",
        "image": "registry.example.com/llm-server:1.4.0",
        "args": [f"--option-{i}=value-{i}" for i in range(60)],
        "env": [{"name": f"SETTING_{i}", "value": f"value number {i}"} for i in range(40)],
        "resources": {"requests": {"cpu": "8", "memory": "64Gi"}, "limits": {"nvidia.com/gpu": "8"}},
        "volumeMounts": [{"name": f"v{i}", "mountPath": f"/mnt/{i}"} for i in range(12)],
    }
    template = clique("worker", 2)
    template["spec"]["podSpec"] = {
        "containers": [container],
        "volumes": [{"name": f"v{i}", "emptyDir": {}} for i in range(12)],
    }
    obj = podgangset(template)
    everything = whole.objects(obj, injection.Settings("gate:1"), lambda o, _ops: o, {})
    made = next(o for o in everything if o["kind"] == "PodClique")
    pod = pods.created(parse.workload(obj), made, 0, "demo-0-worker-abcde")
    review = {
        "uid": "11111111-2222-3333-4444-555555555555",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": "default",
        "userInfo": {"username": "system:serviceaccount:grovekeeper-system:grovekeeper", "groups": []},
        "object": pod,
        "dryRun": False,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": review}).encode()


def _measure(folder: Path) -> dict[str, list[tuple[float, float]]]:
    ports = {"ours": _free_port(), "peer": _free_port()}
    pair = [str(folder / "tls.crt"), str(folder / "tls.key")]
    commands = {
        "ours": [sys.executable, "-m", "tests.bench.webhook", "--serve", str(ports["ours"]), *pair],
        "peer": [str(folder / "peer"), f"127.0.0.1:{ports['peer']}", *pair],
    }
    running = {name: subprocess.Popen(_pinned(0, command), env=_one_core()) for name, command in commands.items()}
    result: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    try:
        for port in ports.values():
            wait(port)
            _check(port, folder / "body")
        for turn in range(ROUNDS + 1):
            for name, port in ports.items():
                url = f"https://127.0.0.1:{port}/webhooks/mutate-pod"
                command = [str(folder / "load"), url, str(folder / "body"), str(SECONDS if turn else 1)]
                done = subprocess.run(_pinned(1, command), check=True, capture_output=True, text=True)
                rate, p50, p99, failed = (float(text) for text in done.stdout.split())
                if failed:
                    raise RuntimeError(f"{name}: {failed:.0f} requests failed")
                if turn:  # the first turn warms up
                    result[name].append((rate, p99))
                    print(f"{name}: {rate:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
    finally:
        for process in running.values():
            process.terminate()
            process.wait(10)
    return result


def _judge(result: dict[str, list[tuple[float, float]]]) -> int:
    rate = {name: statistics.median(r for r, _ in rows) for name, rows in result.items()}
    p99 = {name: statistics.median(p for _, p in rows) for name, rows in result.items()}
    ratio, tail = rate["ours"] / rate["peer"], p99["ours"] / p99["peer"]
    good = {"rps_ratio": ratio >= LIMITS["rps_ratio"], "p99_ratio": tail <= LIMITS["p99_ratio"]}
    for name, value in (("rps_ratio", ratio), ("p99_ratio", tail)):
        print(f"webhook.{name} {value:.2f} {LIMITS[name]} {'ok' if good[name] else 'short'}")
    return 0 if all(good.values()) else 1


def _pinned(core: int, command: list[str]) -> list[str]:
    """Keep a process on one core where the tool is there: one server and the load never share one."""
    taskset = shutil.which("taskset")
    cores = os.cpu_count() or 1
    return [taskset, "-c", str(core % cores), *command] if taskset else command


def _one_core() -> dict[str, str]:
    return {**os.environ, "GOMAXPROCS": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait(port: int) -> None:
    """Wait until somebody listens on a port of loopback; raise RuntimeError where nobody does."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def _check(port: int, review: Path) -> None:
    """Hold that a server answers with a patch that sets the hostname: speed of a wrong answer means nothing."""
    import base64
    import ssl
    import urllib.request

    url = f"https://127.0.0.1:{port}/webhooks/mutate-pod"
    request = urllib.request.Request(url, review.read_bytes(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
        response = json.load(answer)["response"]
    operations = json.loads(base64.b64decode(response["patch"]))
    if not any(o["path"] == "/spec/hostname" and o["value"] == "demo-0-worker-0" for o in operations):
        raise RuntimeError(f"port {port} answers with another patch: {operations}")


async def serve(port: int, certificate: str, key: str) -> None:
    """Serve admission as the product does, with a given pair."""
    from grovekeeper.webhooks.certificates import context
    from grovekeeper.webhooks.server import Server
    from grovekeeper.webhooks.state import State

    tls = context()
    tls.load_cert_chain(certificate, key)
    await Server(State(injection.Settings("gate:1"), "nobody")).listen("127.0.0.1", port, tls)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(int(sys.argv[2]), sys.argv[3], sys.argv[4]))
    sys.exit(main())
