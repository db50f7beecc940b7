"""What a user reads who has named a file, a cluster or an option that cannot be used: a sentence, never a traceback."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import click
import pytest
from click.testing import CliRunner, Result

from grovekeeper.cli.main import VERBS, main

EXAMPLE = Path(__file__).parents[2] / "gitops-examples" / "plain" / "agentic-pipeline"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def said(*arguments: str | Path) -> str:
    """Return what is said about bad input; the exit code has to be 2, and nothing may have been raised."""
    found = run(*arguments)
    assert isinstance(found.exception, SystemExit), found.exception
    assert found.exit_code == 2, found.output
    return found.output


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """A cluster of one sound node, and one that offers what is no number."""
    offered = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": "8"}
    items: list[Any] = [
        {"kind": "Node", "metadata": {"name": "sound"}, "status": {"allocatable": offered}},
        {"kind": "Node", "metadata": {"name": "odd"}, "status": {"allocatable": {**offered, "nvidia.com/gpu": "NaN"}}},
    ]
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps({"items": items}))
    return path


@pytest.mark.parametrize(
    ("name", "want"),
    [("room.png", ".png cannot be written"), ("room", "the name has no ending"), ("room.svg.gz", ".gz cannot")],
)
def test_a_picture_is_written_under_no_name_that_promises_another_format(
    tmp_path: Path, nodes: Path, name: str, want: str
) -> None:
    text = said("place", EXAMPLE, "--nodes", nodes, "--picture", tmp_path / name)
    assert want in text
    assert "end the name in .svg or .html" in text
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["room.html", "ROOM.SVG"])
def test_a_picture_is_a_page_where_its_name_says_so(tmp_path: Path, nodes: Path, name: str) -> None:
    assert run("place", EXAMPLE, "--nodes", nodes, "--picture", tmp_path / name).exit_code in (0, 1)
    text = (tmp_path / name).read_text()
    page = text.startswith("<!doctype html>")
    assert page == name.endswith("html")
    drawing = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    assert "agents-0" in {element.text for element in ET.fromstring(drawing).iter()}


def test_quantities_that_are_no_numbers_are_named_and_the_rest_is_placed(tmp_path: Path, nodes: Path) -> None:
    requests = {"requests": {"cpu": "1e"}}
    spec = {"nodeName": "sound", "containers": [{"name": "c", "resources": requests}]}
    (tmp_path / "pods.json").write_text(json.dumps([{"metadata": {"name": "p"}, "spec": spec}]))
    asked = ("--nodes", nodes, "--pods", tmp_path / "pods.json")
    found = run("place", EXAMPLE, *asked, "--picture", tmp_path / "x.svg", "-o", "json")
    assert found.exit_code == 0, found.output
    (gang,) = json.loads(found.stdout)["gangs"]
    assert set(gang["nodes"].values()) == {"sound"}
    assert 'note: Node odd: nvidia.com/gpu: "NaN" is not a quantity' in found.stderr
    assert 'note: Pod p: cpu: "1e" is not a quantity' in found.stderr
    assert "note: Node odd" in run("defrag", "--dry-run", *asked, "--level", "x").stderr


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        pytest.param(("place", EXAMPLE, "--pods", "NODES"), "--pods needs --nodes", id="pods alone"),
        pytest.param(
            ("place", EXAMPLE, "--nodes", "NODES", "--kubeconfig", "x"), "give one of them", id="two clusters"
        ),
        pytest.param(("defrag", "--dry-run", "--pods", "NODES"), "--pods needs --nodes", id="pods alone, defrag"),
        pytest.param(("defrag", "--dry-run", EXAMPLE), "FILE... needs --nodes", id="files for a cluster"),
        pytest.param(("topology", "--nodes", "NODES", "--name", "A b"), "DNS-1123 subdomain", id="a binding's name"),
        pytest.param(("topology", "--nodes", "NODES", "--kubeconfig", "x"), "give one of them", id="two clusters, too"),
        pytest.param(("place", EXAMPLE, "--nodes", "FOLDER"), "cannot be read (is a directory)", id="a folder"),
        pytest.param(("topology", "--nodes", "BYTES"), "cannot be read (not UTF-8 text)", id="bytes"),
        pytest.param(("topology", "--nodes", "none.json"), "(no such file or directory)", id="no file"),
        pytest.param(("check", ""), '"": no such file or folder', id="an empty name"),
        pytest.param(("convert", "--to", "PodGangSet", "FOLDER"), "has no .yaml, .yml or .json", id="nothing in it"),
        pytest.param(("run", "worker", "--queues", "placment"), '"placment": there are reconcile and', id="a queue"),
        pytest.param(("topology", "--kubeconfig", "BYTES"), "bytes is not a kubeconfig", id="a kubeconfig of bytes"),
        pytest.param(("tree", "a", "--kubeconfig", "none"), "there is no file none", id="no kubeconfig"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_next_step(
    tmp_path: Path, nodes: Path, arguments: tuple[str | Path, ...], want: str
) -> None:
    (tmp_path / "bytes").write_bytes(b"\x00\xff\xfe")
    (tmp_path / "folder").mkdir()
    put = {"NODES": nodes, "BYTES": tmp_path / "bytes", "FOLDER": tmp_path / "folder"}
    assert want in said(*(put.get(str(each), each) for each in arguments))


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: t
clusters: [{name: t, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: AAAA}}]
users: [{name: t, user: {token: x}}]
contexts: [{name: t, context: {cluster: t, user: t}}]
"""


def test_a_certificate_that_is_none_is_a_kubeconfig_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    assert "certificate-authority-data is base64, but not of PEM" in said(
        "topology", "--kubeconfig", tmp_path / "config"
    )


NEEDED = {"place": [str(EXAMPLE)], "defrag": ["--dry-run"], "run": ["worker"], "topology": []}
ASKING = [
    verb
    for verb in VERBS
    if any(option.name == "kubeconfig" for option in main.get_command(click.Context(main), verb).params)  # type: ignore[union-attr]
]


@pytest.mark.parametrize("verb", ASKING)
def test_every_verb_that_asks_a_cluster_says_that_there_is_none(verb: str, tmp_path: Path) -> None:
    text = said(verb, *NEEDED.get(verb, ["demo"]), "--kubeconfig", tmp_path / "none")
    # Of a component it is the component that speaks.
    assert text.startswith(f"grovekeeper {verb if verb != 'run' else 'worker'}: no cluster: {tmp_path}/none cannot be")
    assert text.count("\n") == 1


@pytest.mark.parametrize("verb", ["explain", "tree", "rollback"])
@pytest.mark.parametrize("asked", [("a/b",), ("a", "-n", "a b")])
def test_a_name_that_leads_elsewhere_is_not_asked_for(tmp_path: Path, verb: str, asked: tuple[str, ...]) -> None:
    (tmp_path / "config").write_text(KUBECONFIG.replace(", certificate-authority-data: AAAA", ""))
    assert "it must be a-z, 0-9 and '-'" in said(verb, *asked, "--kubeconfig", tmp_path / "config")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.yaml"
    path.write_bytes((EXAMPLE / "podgangset.yaml").read_bytes())

    def refused(_self: Path, _data: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", refused)
    assert "set.yaml: cannot be written (permission denied)" in said("convert", "--to", "PodCliqueSet", "-w", path)


def test_a_port_that_is_taken_is_said_with_the_settings_that_move_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(KUBECONFIG.replace(", certificate-authority-data: AAAA", ""))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("GROVEKEEPER_METRICS_PORT", str(port))
        monkeypatch.setenv("GROVEKEEPER_METRICS_BIND", "127.0.0.1")
        text = said("run", "webhook", "--kubeconfig", tmp_path / "config")
    assert f"{port}): address already in use: stop what listens there, or set webhook.port or metrics_port" in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    "arguments", [("expand",), ("check", "-o", "json"), ("convert", "--to", "PodCliqueSet"), ("expand", "--help")]
)
def test_output_that_finds_no_room_is_a_sentence_and_2(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "grovekeeper.cli", *arguments, str(EXAMPLE)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert said == [
        "grovekeeper: the output cannot be written (No space left on device): make room, or write it elsewhere"
    ]
    assert done.returncode == 2
