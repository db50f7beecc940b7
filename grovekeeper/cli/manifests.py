"""Manifests from files, folders and standard input, with the line of every field."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

from grovekeeper.api import names, raw

_CHILDREN = (names.PODCLIQUE, names.SCALINGGROUP)
"""Kinds of our group that are made from a set, never written by hand."""


@dataclass(slots=True)
class Document:
    """One Kubernetes object of a file."""

    file: str
    node: CommentedMap
    object: raw.Object

    @property
    def title(self) -> str:
        """Return kind and name for messages."""
        metadata = self.object.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        return f"{self.object.get('kind')} {name}".strip()

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
    """Sets, topology bindings and claim templates, what cannot be read, and notes about what was passed over."""

    documents: list[Document] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    claim_templates: dict[tuple[str, str], raw.Object] = field(default_factory=dict)
    """Specs of ResourceClaimTemplates by namespace and name: sets may refer to them."""


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


def read(file: str, content: str) -> Loaded:
    """Read one text; `file` is its name in messages."""
    loaded = Loaded()
    _read(file, content, loaded)
    return loaded


def _read(file: str, content: str, loaded: Loaded) -> None:
    reader = YAML()
    found = False
    try:
        for node in reader.load_all(content):
            if node is None:
                continue
            found = True
            items = node.get("items") if isinstance(node, CommentedMap) and node.get("kind") == "List" else None
            for each in [node] if items is None else items if isinstance(items, list) else [items]:
                _take(file, each, loaded)
    except DuplicateKeyError:
        found = True
        loaded.troubles += _duplicates(file, content)
    except MarkedYAMLError as error:
        found = True
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        loaded.troubles.append(Trouble(file, line, column, f"not YAML: {error.problem or error.context}"))
    if not found:
        loaded.troubles.append(Trouble(file, 1, 1, "the file is empty: remove it or put a manifest into it"))


def _duplicates(file: str, content: str) -> list[Trouble]:
    """Return a trouble for every key that a mapping has twice, with the lines of both."""
    found = []
    stack = [node for node in YAML().compose_all(content) if node is not None]
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        if id(node) in seen or isinstance(node, ScalarNode):
            continue
        seen.add(id(node))
        first: dict[str, int] = {}
        for entry in node.value:
            if not isinstance(node, MappingNode):
                stack.append(entry)
                continue
            key, value = entry
            stack.append(value)
            line, name = key.start_mark.line + 1, str(key.value)
            if name in first:
                text = f'duplicate key "{name}", on line {first[name]}, too: only one would count; remove one'
                found.append(Trouble(file, line, key.start_mark.column + 1, text))
            first.setdefault(name, line)
    return sorted(found, key=lambda trouble: trouble.line)


def _take(file: str, node: object, loaded: Loaded) -> None:
    if not isinstance(node, CommentedMap):
        text = f"an object must be a mapping with apiVersion and kind, found {word(node)}"
        loaded.troubles.append(Trouble(file, 1, 1, text))
        return
    obj = _plain(node)
    kind, version = obj.get("kind"), obj.get("apiVersion")
    line = node.lc.line + 1
    if kind in (*names.DIALECTS, names.TOPOLOGY_BINDING):
        loaded.documents.append(Document(file, node, obj))
    elif kind == "ResourceClaimTemplate":
        _take_template(file, line, obj, loaded)
    elif isinstance(version, str) and version.partition("/")[0] == names.GROUP and kind not in _CHILDREN:
        known = ", ".join((*names.DIALECTS, names.TOPOLOGY_BINDING))
        loaded.troubles.append(Trouble(file, line, 1, f"{names.GROUP} has no kind {kind}: write one of {known}"))
    elif isinstance(kind, str | None):
        loaded.notes.append(f"{file}:{line}: {kind or 'a document without kind'} passed over")
    else:
        loaded.troubles.append(Trouble(file, line, 1, f"kind must be a text, found {word(kind)}"))


def _take_template(file: str, line: int, obj: raw.Object, loaded: Loaded) -> None:
    metadata, spec = obj.get("metadata"), obj.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict) or not isinstance(spec.get("spec"), dict):
        text = "a ResourceClaimTemplate needs metadata.name and spec.spec: its claims could not be made"
        loaded.troubles.append(Trouble(file, line, 1, text))
        return
    loaded.claim_templates[str(metadata.get("namespace") or "default"), str(metadata.get("name"))] = spec


def word(value: object) -> str:
    """Return what YAML calls a value."""
    kinds = {bool: "a boolean", int: "an integer", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
    return next((text for kind, text in kinds.items() if isinstance(value, kind)), "nothing")


def _plain(node: object) -> raw.Json:
    """Return the node in JSON's types; fields without a value are left out, as the API server drops them."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return float(node)
    return str(node)
