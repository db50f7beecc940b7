"""Every command that a page tells people to type is one that the program takes."""

from pathlib import Path

import pytest

from tests.tools import commands

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "gitops-examples").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_can_be_typed(page: Path) -> None:
    found = [fault for command in commands.of_page(page.read_text()) if (fault := commands.fault(command))]
    assert found == []


def test_commands_are_found_in_all_pages() -> None:
    found = {command.split()[0] for page in PAGES for command in commands.of_page(page.read_text())}
    assert found == {"grovekeeper", "make", "helm"}
    assert len([command for page in PAGES for command in commands.of_page(page.read_text())]) > 40


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("```console\n$ grovekeeper check --fast x  # quick\n```", "No such option"),
        ("```\nmake tset\n```", "no target tset"),
        ("`make demo STAY=1`", "no variable STAY"),
        ("`cat a | grovekeeper chek -`", "No such command"),
        ("`grovekeeper run webhook|sheduler`", "is not one of"),
        ("`grovekeeper defrag [--level rack] [-o yaml]`", "is not one of"),
        ("`grovekeeper tree NAME --namspace x`", "No such option"),
        ("`helm upgrade g charts/grovekeeper --set webhook.replica=1`", "no value webhook.replica"),
        ("`helm show crds charts/other`", "no chart"),
    ],
)
def test_what_cannot_be_typed_is_found(text: str, want: str) -> None:
    (command,) = commands.of_page(text)
    assert want in str(commands.fault(command))
