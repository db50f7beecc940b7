"""Manifests from files, folders and standard input, with the line of every field."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError

from grovekeeper.api import names, raw


@dataclass(slots=True)
class Document:
    """One Kubernetes object of a file."""

    file: str
    node: CommentedMap
    object: raw.Object

    @property
    def title(self) -> str:
        """Return kind and name for messages."""
        return f"{self.object.get('kind')} {(self.object.get('metadata') or {}).get('name', '')}".strip()

    def line_of(self, path: str) -> tuple[int, int]:
        """Return line and column (from 1) of the deepest part of a field path that is there."""
        node: object = self.node
        line, column = self.node.lc.line + 1, self.node.lc.col + 1
        for part in path.replace("[", ".[").split("."):
            if isinstance(node, CommentedMap) and part in node:
                place = node.lc.key(part)
                node = node[part]
            elif (
                isinstance(node, CommentedSeq)
                and part.startswith("[")
                and part[1:-1].isdigit()
                and int(part[1:-1]) < len(node)
            ):
                place = node.lc.item(int(part[1:-1]))
                node = node[int(part[1:-1])]
            else:
                break
            line, column = place[0] + 1, place[1] + 1
        return line, column


@dataclass(frozen=True, slots=True)
class Trouble:
    """A file, or a place in it, that cannot be read."""

    file: str
    line: int
    column: int
    message: str


@dataclass(slots=True)
class Loaded:
    """Sets and topology bindings, what cannot be read, and notes about what was passed over."""

    documents: list[Document] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load(paths: Iterable[str]) -> Loaded:
    """Read files, folders (*.yaml, *.yml, *.json below them) and "-"."""
    loaded = Loaded()
    for text in paths:
        for name, content in contents(text, loaded):
            _read(name, content, loaded)
    return loaded


def contents(text: str, loaded: Loaded) -> Iterable[tuple[str, str]]:
    """Yield name and text of a file, of every manifest file below a folder, or of standard input."""
    if text == "-":
        yield "<stdin>", sys.stdin.read()
        return
    path = Path(text)
    if not path.exists():
        loaded.troubles.append(Trouble(text, 0, 0, "no such file or folder: check the path"))
        return
    files = sorted(f for f in path.rglob("*") if f.suffix in (".yaml", ".yml", ".json")) if path.is_dir() else [path]
    if not files:
        loaded.troubles.append(Trouble(text, 0, 0, "the folder has no .yaml, .yml or .json files"))
    for file in files:
        try:
            yield str(file), file.read_bytes().decode("utf-8")
        except (UnicodeDecodeError, OSError) as error:
            loaded.troubles.append(Trouble(str(file), 0, 0, f"cannot be read as UTF-8 text: {error}"))


def _read(file: str, content: str, loaded: Loaded) -> None:
    reader = YAML()
    found = False
    try:
        for node in reader.load_all(content):
            if node is None:
                continue
            found = True
            if not isinstance(node, CommentedMap):
                loaded.troubles.append(
                    Trouble(file, 1, 1, f"a document must be a mapping, found {type(node).__name__}")
                )
                continue
            for each in node["items"] if node.get("kind") == "List" and "items" in node else [node]:
                _take(file, each, loaded)
    except DuplicateKeyError as error:
        found = True
        loaded.troubles.append(_duplicate(file, error))
    except MarkedYAMLError as error:
        found = True
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        loaded.troubles.append(Trouble(file, line, column, f"not YAML: {error.problem or error.context}"))
    if not found:
        loaded.troubles.append(Trouble(file, 1, 1, "the file is empty: remove it or put a manifest into it"))


def _duplicate(file: str, error: DuplicateKeyError) -> Trouble:
    mark, before = error.problem_mark, error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    where = f" in the mapping that begins on line {before.line + 1}" if before else ""
    text = str(error.problem or "duplicate key").partition("with value")[0].strip()
    return Trouble(file, line, column, f"{text}{where}: only one of the two would count; remove one")


def _take(file: str, node: CommentedMap, loaded: Loaded) -> None:
    obj = _plain(node)
    kind = obj.get("kind")
    if kind in names.DIALECTS or kind == names.TOPOLOGY_BINDING:
        loaded.documents.append(Document(file, node, obj))
    else:
        line = node.lc.line + 1
        loaded.notes.append(f"{file}:{line}: {kind or 'a document without kind'} passed over")


def _plain(node: object) -> raw.Json:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return float(node)
    return str(node)
