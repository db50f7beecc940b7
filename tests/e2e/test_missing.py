"""What is not there yet is said, with the next step, and everything goes on by itself when it comes."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from grovekeeper.embedded.cluster import EmbeddedCluster
from grovekeeper.embedded.installation import Component, wait_for
from grovekeeper.runtime import ports
from grovekeeper.runtime.redis_server import EmbeddedRedis
from tests import crds
from tests.e2e.conftest import TARGETS
from tests.e2e.world import PATIENCE

INSTALL = "kubectl apply --server-side -f charts/grovekeeper/crds"


@pytest.fixture(params=TARGETS)
def bare(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cluster on which nothing is installed."""
    with ExitStack() as stack:
        if request.param == "embedded":
            yield stack.enter_context(EmbeddedCluster())
            return
        from tests.controlplane.plane import ControlPlane, Options

        yield stack.enter_context(ControlPlane(Options(scheduler=False, kubelets=False, controllers=False)))


def started(cluster: Any, name: str, redis_url: str) -> Component:
    """Start a component on the cluster."""
    port = ports.free()
    arguments = ["run", name, "--kubeconfig", str(cluster.kubeconfig)]
    settings = {
        "REDIS_URL": redis_url,
        "METRICS_BIND": "127.0.0.1",
        "METRICS_PORT": str(port),
        "LOG_FORMAT": "text",
        "WEBHOOK__PORT": str(ports.free()),
        "WEBHOOK__SHUTDOWN_DELAY": "0.1",
    }
    environment = {f"GROVEKEEPER_{key}": value for key, value in settings.items()}
    component = Component(name, arguments, port, environment, cluster.dir / f"{name}.log")
    component.start()
    return component


def missing(component: Component) -> dict[str, str]:
    """Return what readiness says is missing; nothing when ready."""
    try:
        url = f"http://127.0.0.1:{component.metrics_port}/readyz"
        urllib.request.urlopen(url, timeout=5 * PATIENCE).close()
    except urllib.error.HTTPError as error:
        found: dict[str, str] = json.load(error)["missing"]
        return found
    except OSError as error:
        return {"process": str(error)}
    return {}


def ran(cluster: Any, *arguments: str) -> tuple[int, str]:
    """Run a verb as a user does; return exit code and all output."""
    command = [sys.executable, "-m", "grovekeeper.cli", *arguments, "--kubeconfig", str(cluster.kubeconfig)]
    limit = 60 * PATIENCE
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, env={**os.environ})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_missing_crds_and_a_missing_redis_are_named_and_waited_for(bare: Any) -> None:
    redis = EmbeddedRedis()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "grovekeeper-system"}}
    bare.request("POST", "/api/v1/namespaces", namespace)
    components = {name: started(bare, name, redis.url) for name in ("webhook", "dispatcher", "worker")}
    try:
        for name in ("webhook", "dispatcher"):
            said = f"podgangsets.grove.io is not installed: {INSTALL}"
            wait_for(lambda c=components[name], s=said: s in str(missing(c)), f"{name} to name the CRDs")  # type: ignore[misc]
        wait_for(lambda: "Redis does not answer" in str(missing(components["worker"])), "the worker to name Redis")
        for verb in (["tree", "demo"], ["explain", "demo"], ["rollback", "demo", "--list"]):
            code, text = ran(bare, *verb)
            assert (code, INSTALL in text) == (2, True), text
            assert "podgangsets.grove.io is not installed" in text
        redis.start()
        wait_for(lambda: INSTALL in str(missing(components["worker"])), "the worker to name the CRDs")
        crds.install(bare)
        for name in ("dispatcher", "worker"):
            wait_for(lambda c=components[name]: not missing(c), f"{name} to be ready")  # type: ignore[misc]
        wait_for(
            lambda: "does not exist: install" in missing(components["webhook"]).get("certificate", ""), "next step"
        )
        code, text = ran(bare, "tree", "demo")
        assert (code, "no PodGangSet or PodCliqueSet demo" in text) == (2, True), text
        for component in components.values():
            assert component.process is not None
            assert component.process.poll() is None
            assert "Traceback" not in component.log.read_text()
    finally:
        for component in components.values():
            component.stop()
        redis.stop()


def test_a_cluster_that_cannot_be_reached_is_a_sentence(tmp_path: Path, bare: Any) -> None:
    """No traceback in any verb that talks to a cluster, whatever the kubeconfig is."""
    config = json.loads(bare.kubeconfig.read_text())
    wrong = {
        "no such server": {**config, "clusters": [_at(config, "https://127.0.0.1:1")]},
        "another token": {**config, "users": [{**config["users"][0], "user": {"token": "nobody"}}]},
        "another authority": {
            **config,
            "clusters": [_at(config, config["clusters"][0]["cluster"]["server"], drop=True)],
        },
    }
    words = {
        "no such server": "no answer from https://127.0.0.1:1",
        "another token": "401",
        "another authority": "certificate",
    }
    if not hasattr(bare, "processes"):
        del wrong["another token"]  # the embedded cluster lets everybody in
    for name, content in wrong.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        command = [sys.executable, "-m", "grovekeeper.cli", "tree", "demo", "--kubeconfig", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
        assert done.returncode == 2, (name, done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
        assert words[name] in done.stderr, (name, done.stderr)
        assert "kubeconfig" in done.stderr, (name, done.stderr)


def _at(config: dict[str, Any], server: str, *, drop: bool = False) -> dict[str, Any]:
    """Return the configuration's cluster at another address, or without its authority."""
    known = config["clusters"][0]
    kept = {key: value for key, value in known["cluster"].items() if not drop or not key.startswith("certificate")}
    return {**known, "cluster": {**kept, "server": server}}
