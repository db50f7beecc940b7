"""What the image is built of exists, and what the chart and the startup gate call is in it. Nothing is built here."""

import re
import tomllib
from pathlib import Path

from grovekeeper.expand import injection

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
LINES = [line.partition(" ") for line in TEXT.splitlines() if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def given(instruction: str) -> list[str]:
    return [rest.strip() for word, _, rest in LINES if word == instruction]


def hidden() -> list[str]:
    return [line for line in (ROOT / ".dockerignore").read_text().split() if not line.startswith(("#", "**"))]


def test_what_is_copied_and_installed_is_there_and_not_left_out() -> None:
    for copied in given("COPY"):
        *sources, _target = [word for word in copied.split() if not word.startswith("--")]
        if "--from=" not in copied:
            assert all((ROOT / source).exists() for source in sources), copied
    needed = {*re.findall(r"--requirement (\S+)", TEXT), PROJECT["readme"], *PROJECT["license-files"]}
    assert needed >= {"requirements.lock", "README.md"}
    rooms = {path.name for path in (ROOT / "grovekeeper").iterdir() if path.is_symlink()} | {"grovekeeper"}
    assert len(rooms) == 5
    for name in needed | rooms | {"pyproject.toml"}:
        assert (ROOT / name).exists(), name
        assert name not in hidden()
        assert not name.startswith(".")


def test_both_stages_have_the_python_that_the_project_wants() -> None:
    versions = {re.match(r"python:(\d+\.\d+)-slim", image).group(1) for image in given("FROM")}  # type: ignore[union-attr]
    assert versions == {"3.11"}
    assert PROJECT["requires-python"] == ">=3.11"
    assert set(re.findall(r"lib/python(\d+\.\d+)/", TEXT)) == versions


def test_the_entry_point_is_a_script_of_the_project_and_nobody_is_root() -> None:
    assert given("ENTRYPOINT") == ['["grovekeeper"]']
    assert PROJECT["scripts"]["grovekeeper"] == "grovekeeper.cli.main:main"
    assert [user.split(":")[0] for user in given("USER")] == ["65532"]


def test_the_gate_that_pods_start_is_the_one_file_without_the_packages() -> None:
    """The script of the package has the same name: the first in the PATH is started."""
    (run,) = [line for line in given("RUN") if "initgate" in line]
    first = re.search(r"PATH=([^:\s]+):", " ".join(given("ENV"))).group(1)  # type: ignore[union-attr]
    shim = re.search(r"> (\S+) ", run).group(1)  # type: ignore[union-attr]
    wanted = {"waits": [("demo-0-a", 1)], "secret": "s"}
    (container,) = injection._init_gate({}, wanted, injection.Settings("i"))[0]["value"]
    assert shim == f"{first}/{container['command'][0]}"
    file = re.search(r"-I -S \S+/site-packages/(\S+)", run).group(1)  # type: ignore[union-attr]
    assert (ROOT / file).is_file()
