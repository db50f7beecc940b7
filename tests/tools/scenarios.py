"""Writes the table of Grove's end-to-end scenarios into docs/compatibility.md, from the names of our tests.

`python -m tests.tools.scenarios` writes it; a test of the house checks that it is up to date.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- scenarios: made by tests/tools/scenarios.py -->", "<!-- end of scenarios -->"
GROUPS = {
    "GS": ("Gang scheduling", range(1, 13)),
    "GT": ("Gang termination", range(1, 7)),
    "SO": ("Startup order", range(1, 5)),
    "RU": ("Rolling updates", range(7, 22)),
    "OD": ("OnDelete", range(1, 10)),
    "TAS": ("Topology", range(1, 24)),
    "CM": ("Certificates", range(1, 2)),
    "RS": ("Resource sharing", range(1, 2)),
    "MNNVL": ("Multi-node NVLink", range(1, 12)),
    "CASCADE": ("Cascade delete", range(1, 2)),
    "UPGRADE": ("Operator upgrade", range(1, 2)),
}
"""Grove does not number the Auto-MNNVL suites, the cascade and the upgrade; the numbers here follow their order."""
_NUMBER = re.compile(r"(?:^|_)(gs|gt|so|ru|od|tas|cm|rs|mnnvl|cascade|upgrade)(\d+)(?=_)")
REASONS: dict[str, str] = {}


def found() -> dict[str, str]:
    """Return scenario to `file::test` for every end-to-end test that has a scenario's number in its name."""
    result: dict[str, str] = {}
    for path in sorted((ROOT / "tests" / "e2e").glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for group, number in _NUMBER.findall(node.name.removeprefix("test")):
                    result[f"{group.upper()}{number}"] = f"{path.stem}::{node.name}"
    return result


def table() -> str:
    """Return the table in Markdown."""
    tests = found()
    lines = ["| Scenario | Embedded cluster | Real control plane | Test, or why not |", "|---|---|---|---|"]
    for group, (title, numbers) in GROUPS.items():
        for number in numbers:
            name = f"{group}{number}"
            test = tests.get(name)
            where = ("passes", "passes", f"`{test}`") if test else ("-", "-", REASONS.get(name, "not written yet"))
            lines.append(f"| {name} {title.lower()} | {where[0]} | {where[1]} | {where[2]} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """Return the page with the table in its place."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
