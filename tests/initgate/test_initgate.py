"""The startup gate as a process against an API server: what it waits for, what it says, what it outlives."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import grovekeeper
from grovekeeper.embedded.cluster import EmbeddedCluster
from tests import patience

GATE = Path(grovekeeper.__file__).parent / "initgate.py"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"
SECONDS = 20 * patience.factor()


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as found:
        yield found


class Gate:
    """A gate of the pods of gang `g`, and what it has said."""

    def __init__(self, cluster: EmbeddedCluster, folder: Path, *parents: str, gang: str = "g") -> None:
        (folder / "token").write_text(cluster.token)
        (folder / "ca.crt").write_bytes(cluster.ca_file.read_bytes())
        (folder / "namespace").write_text("default")
        (folder / "podgangname").write_text(gang)
        places = ["--api-server", cluster.url, "--token-dir", str(folder), "--info-dir", str(folder)]
        asked = [f"--podcliques={parent}" for parent in parents]
        self.log = folder / "log"
        command = [sys.executable, "-I", "-S", str(GATE), *asked, *places]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def lines(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait(self, check: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not check():
            assert time.monotonic() < deadline, f"waited for {what}: {self.log.read_text()}"
            time.sleep(0.02)

    def ended(self) -> int:
        return self.process.wait(SECONDS)


@pytest.fixture
def start(cluster: EmbeddedCluster, tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def begin(*parents: str, gang: str = "g") -> Gate:
        folder = tmp_path / str(len(gates))
        folder.mkdir()
        gates.append(Gate(cluster, folder, *parents, gang=gang))
        return gates[-1]

    yield begin
    for gate in gates:
        if gate.process.poll() is None:
            gate.process.kill()
            gate.process.wait()


def pod(cluster: EmbeddedCluster, name: str, clique: str, *, gang: str = "g", ready: bool = True) -> None:
    labels = {"grove.io/podgang": gang, "grove.io/podclique": clique}
    # A node that does not exist: nobody else writes the pod's status.
    spec = {"nodeName": "nowhere", "containers": [{"name": "main", "image": "example.com/app:1"}]}
    cluster.request("POST", PODS, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    if ready:
        make_ready(cluster, name)


def make_ready(cluster: EmbeddedCluster, name: str, status: str = "True") -> None:
    body = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
    cluster.request("PATCH", f"{PODS}/{name}/status", body, MERGE)


def test_it_waits_for_every_parent_at_once_and_says_for_whom(
    cluster: EmbeddedCluster, start: Callable[..., Gate]
) -> None:
    pod(cluster, "a-1", "x-0-a", gang="one")
    gate = start("x-0-a:1", "x-0-b:2", gang="one")
    gate.wait(lambda: {"message": "waiting for parent cliques", "x-0-b": "0 of 2 ready"} in gate.lines(), "the log")
    pod(cluster, "b-1", "x-0-b", gang="one")
    gate.wait(lambda: {"message": "waiting for parent cliques", "x-0-b": "1 of 2 ready"} in gate.lines(), "one of two")
    make_ready(cluster, "a-1", "False")
    pod(cluster, "b-2", "x-0-b", gang="one")
    gate.wait(lambda: {"message": "waiting for parent cliques", "x-0-a": "0 of 1 ready"} in gate.lines(), "a again")
    assert gate.process.poll() is None
    make_ready(cluster, "a-1")
    assert gate.ended() == 0
    assert gate.lines()[-1]["message"] == "all parents are ready"


def test_pods_of_other_gangs_and_of_cliques_whose_name_begins_alike_do_not_count(
    cluster: EmbeddedCluster, start: Callable[..., Gate]
) -> None:
    pod(cluster, "ab-1", "y-0-ab", gang="two")
    pod(cluster, "a-other", "y-0-a", gang="other")
    gate = start("y-0-a:1", gang="two")
    gate.wait(lambda: {"message": "waiting for parent cliques", "y-0-a": "0 of 1 ready"} in gate.lines(), "the log")
    pod(cluster, "ya-1", "y-0-a", gang="two")
    assert gate.ended() == 0


@pytest.mark.slow
def test_it_outlives_a_restart_of_the_api_server(cluster: EmbeddedCluster, start: Callable[..., Gate]) -> None:
    gate = start("z-0-a:1", gang="three")
    gate.wait(gate.lines, "the first words")
    cluster.end()
    gate.wait(lambda: any("does not answer" in line["message"] for line in gate.lines()), "word of the trouble")
    cluster.start()
    pod(cluster, "z-1", "z-0-a", gang="three")
    assert gate.ended() == 0


def test_a_terminated_gate_ends_at_once(start: Callable[..., Gate]) -> None:
    gate = start("never-0-a:1", gang="four")
    gate.wait(gate.lines, "the first words")
    gate.process.terminate()
    assert gate.ended() == 143


@pytest.mark.parametrize(
    ("parent", "want"),
    [("x-0-a", "write <PodClique name>:<ready pods>"), ("x-0-a:many", "such as demo-0-leader:1")],
)
def test_a_bad_argument_says_what_is_allowed(start: Callable[..., Gate], parent: str, want: str) -> None:
    gate = start(parent)
    assert gate.ended() == 2
    assert want in gate.log.read_text()


def test_a_missing_volume_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(GATE), "--podcliques=a:1", "--info-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{tmp_path}/namespace cannot be read" in done.stderr
    assert "lacks a volume" in done.stderr


def test_it_needs_nothing_but_the_standard_library_and_starts_with_few_modules() -> None:
    """Starting is importing: what it loads bounds the time in every pod."""
    code = (
        f"import runpy, sys; sys.argv = ['x']; runpy.run_path({str(GATE)!r}, run_name='gate'); print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 130
