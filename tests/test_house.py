"""What the papers and the contributing page claim about the house."""

import ast
import re
from pathlib import Path

import grovekeeper
from tests.tools import modules, scenarios

ROOT = Path(__file__).parents[1]
ROOMS = ("grovekeeper", "webhooks", "reconciler", "autoscaler", "policies", "tests")
FORBIDDEN = {"utils", "helpers", "common", "misc", "base", "manager", "data", "process"}


def sources() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return [path for path in found if not any(part.is_symlink() for part in path.parents)]


def test_no_file_is_longer_than_600_lines_and_none_is_a_junk_drawer() -> None:
    assert [str(p) for p in sources() if len(p.read_text().splitlines()) > 600] == []
    assert [str(p) for p in sources() if p.stem in FORBIDDEN] == []


def test_init_modules_hold_a_docstring_and_nothing_else_but_the_guard_and_the_version() -> None:
    for path in sources():
        if path.name == "__init__.py" and "tests" not in path.parts:
            rest = ast.parse(path.read_text()).body[1:]
            assert all(isinstance(node, ast.If | ast.Assign) for node in rest), path


def test_the_changelog_begins_with_the_version() -> None:
    found = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(version for version in found if version != "Unreleased") == grovekeeper.__version__


def test_the_architecture_page_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [
        path.name for path in (ROOT / "grovekeeper").iterdir() if path.is_dir() and (path / "__init__.py").exists()
    ]
    assert [room for room in rooms if f"**{room}**" not in text] == []


def test_the_page_of_modules_lists_every_module_and_no_other() -> None:
    there = {modules.name_of(path) for room in modules.ROOMS for path in modules.of(room)}
    assert modules.listed(modules.PAGE.read_text()) == there, "run: make generate"
    assert len(there) > 200


def test_the_table_of_scenarios_is_made_from_the_tests() -> None:
    page = scenarios.PAGE.read_text()
    assert scenarios.written(page) == page, "run: python -m tests.tools.scenarios"


def test_every_verb_is_in_the_readme_or_the_docs() -> None:
    from grovekeeper.cli import main

    text = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert [verb for verb in main.VERBS if f"grovekeeper {verb}" not in text and f"make {verb}" not in text] == []


def test_every_test_that_the_compatibility_page_names_exists() -> None:
    known = {
        f"{path.stem}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = re.findall(r"`(test_\w+::test_\w+)`", scenarios.PAGE.read_text())
    assert [name for name in named if name not in known] == []
