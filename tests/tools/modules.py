"""docs/modules.md: every module of every room with the first sentence that it says of itself.

`python -m tests.tools.modules` writes the page, as `make generate` does.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "modules.md"
ROOMS = (
    "grovekeeper/api",
    "grovekeeper/expand",
    "grovekeeper/placement",
    "policies",
    "grovekeeper/kube",
    "grovekeeper/runtime",
    "webhooks",
    "reconciler",
    "autoscaler",
    "grovekeeper/embedded",
    "grovekeeper/cli",
    "grovekeeper",
)
_HEAD = """\
# Modules

Every module and the first sentence that it says of itself, room by room from the core outwards.
[The architecture page](architecture.md) says how they work together. This page is written by `make generate`.
"""


def of(room: str) -> list[Path]:
    """Return the modules of a room; those of `grovekeeper` are the ones in no room."""
    folder = ROOT / room
    found = folder.glob("*.py") if room == "grovekeeper" else folder.rglob("*.py")
    return sorted(path for path in found if path.stem != "__init__" or path.parent != folder)


def listed(page: str) -> set[str]:
    """Return the paths of the modules that a page lists, from the root of the repository."""
    parts = re.split(r"^## `(\S+)`$", page, flags=re.MULTILINE)[1:]
    rooms = zip(parts[::2], parts[1::2], strict=True)
    return {f"{room}/{name}" for room, text in rooms for name in re.findall(r"^- `(\S+)`:", text, re.MULTILINE)}


def name_of(module: Path) -> str:
    """Return a module's path from the root of the repository; that of a package is its folder's."""
    path = module.relative_to(ROOT)
    return str(path.parent if path.stem == "__init__" else path)


def written() -> str:
    """Return the page."""
    return _HEAD + "".join(_room(room) for room in ROOMS)


def _room(room: str) -> str:
    lines = "".join(f"- `{name_of(path).removeprefix(f'{room}/')}`: {_said(path)}\n" for path in of(room))
    return f"\n## `{room}`\n{_said(ROOT / room / '__init__.py')}\n" + (f"\n{lines}" if lines else "")


def _said(path: Path) -> str:
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].split())
    first: str = re.split(r"(?<=\.) (?=[A-Z`])", text)[0]
    return first.rstrip(":")


if __name__ == "__main__":
    PAGE.write_text(written())
