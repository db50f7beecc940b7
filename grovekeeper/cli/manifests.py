"""Manifests from files, folders and standard input, with the line of every field."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from grovekeeper.api import kubeyaml, names, raw, structural

_CHILDREN = (names.PODCLIQUE, names.SCALINGGROUP)
"""Kinds of our group that are made from a set, never written by hand."""


@dataclass(slots=True)
class Document:
    """One Kubernetes object of a file."""

    file: str
    object: raw.Object
    places: dict[kubeyaml.Path, kubeyaml.Place]
    at: kubeyaml.Path = ()
    """Where the object stands in its document: an entry of a List."""

    @property
    def title(self) -> str:
        """Return kind and name for messages."""
        metadata = self.object.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        return f"{self.object.get('kind')} {name}".strip()

    def line_of(self, path: str) -> kubeyaml.Place:
        """Return the place of the deepest part of a field path that is there. Keys may hold dots and brackets."""
        here = self.at
        node: raw.Json = self.object
        while path:
            step = _step(node, path)
            if step is None or (*here, step[0]) not in self.places:
                break
            here, path = (*here, step[0]), step[1]
            node = node[step[0]]
        return self.places[here]


def _step(node: raw.Json, path: str) -> tuple[str | int, str] | None:
    """Return the key or index that a path begins with, and the rest of the path."""
    keys: list[str | int] = list(range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ())
    # A key that begins with another comes before it.
    for key in sorted(keys, reverse=True):
        for form in (f"[{key}]",) if isinstance(key, int) else (f"[{key}]", key):
            rest = path.removeprefix(form)
            if rest != path and (not rest or rest[0] in ".["):
                return key, rest.removeprefix(".")
    return None


@dataclass(frozen=True, slots=True)
class Trouble:
    """A file, or a place in it, that cannot be read."""

    file: str
    line: int
    column: int
    message: str

    def text(self) -> str:
        """Return `file:line:column: message`; a file that could not be opened has no line."""
        return f"{self.file}:{self.line}:{self.column}: {self.message}" if self.line else f"{self.file}: {self.message}"


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


def contents(text: str, loaded: Loaded) -> Iterator[tuple[str, str]]:
    """Yield name and text of a file, of every manifest file below a folder, or of standard input."""
    path = Path(text)
    if text == "-":
        yield from _decoded("<stdin>", sys.stdin.buffer.read(), loaded)
        return
    if not text or not path.exists():
        # An empty text is a variable of a shell script that is not set, not the folder that one is in.
        why = "a symbolic link that leads nowhere" if path.is_symlink() else "no such file or folder"
        loaded.troubles.append(Trouble(text or '""', 0, 0, f"{why}: check the path"))
        return
    for file in _files(path, loaded) if path.is_dir() else [path]:
        try:
            data = file.read_bytes()
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            loaded.troubles.append(Trouble(str(file), 0, 0, f"cannot be read ({why}): check the file and its rights"))
        else:
            yield from _decoded(str(file), data, loaded)


def _files(folder: Path, loaded: Loaded) -> list[Path]:
    """Return the manifest files below a folder: nothing hidden, no templates of a chart."""
    found = []
    charts: set[Path] = set()
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.suffix not in (".yaml", ".yml", ".json") or any(part.startswith(".") for part in inside.parts):
            continue
        chart = next((p for p in file.parents if p.name == "templates" and (p.parent / "Chart.yaml").exists()), None)
        if chart is not None:
            charts.add(chart)
        elif file.is_file() or not file.exists():
            found.append(file)
    for templates in sorted(charts):
        loaded.notes.append(f"{templates}: a Helm chart's templates passed over: {_RENDER}")
    if not found and not charts:
        text = "the folder has no .yaml, .yml or .json files: name another"
        loaded.troubles.append(Trouble(str(folder), 0, 0, text))
    return found


_RENDER = "check what it renders: `helm template CHART | grovekeeper check -`"


def _decoded(name: str, data: bytes, loaded: Loaded) -> Iterator[tuple[str, str]]:
    try:
        yield name, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = f"not UTF-8 text (byte 0x{data[error.start]:02x}): save it as UTF-8"
        loaded.troubles.append(Trouble(name, line, error.start - data.rfind(b"\n", 0, error.start), text))


def read(file: str, content: str) -> Loaded:
    """Read one text; `file` is its name in messages."""
    loaded = Loaded()
    _read(file, content, loaded)
    return loaded


def _read(file: str, content: str, loaded: Loaded) -> None:
    documents, faults = kubeyaml.documents(content)
    for document in documents:
        _take_document(file, document, loaded)
    if faults and "{{" in content:
        place = next(i for i, line in enumerate(content.splitlines(), 1) if "{{" in line)
        loaded.troubles.append(Trouble(file, place, 1, f"a template, not a manifest: {_RENDER}"))
        return
    loaded.troubles += [Trouble(file, *fault.place, fault.message) for fault in faults]
    if not documents and not faults:
        loaded.troubles.append(Trouble(file, 1, 1, "the file is empty: remove it or put a manifest into it"))


def _take_document(file: str, document: kubeyaml.Parsed, loaded: Loaded) -> None:
    value = document.value
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in _LISTS:
        _take(file, Document(file, value, document.places), loaded)
        return
    items = value.get("items")
    if not isinstance(items, list):
        line, column = document.places.get(("items",), document.place)
        loaded.troubles.append(
            Trouble(file, line, column, f"items of a {kind} must be a list, found {structural.word(items)}")
        )
        return
    if not items:
        loaded.notes.append(f"{file}:{document.place[0]}: a {kind} without items passed over")
    for index, item in enumerate(items):
        _take(file, Document(file, item, document.places, ("items", index)), loaded)


_LISTS = ("List", *(f"{kind}List" for kind in (*names.DIALECTS, names.TOPOLOGY_BINDING)))


def _take(file: str, document: Document, loaded: Loaded) -> None:
    obj = document.object
    line, column = document.places[document.at]
    if not isinstance(obj, dict):
        text = f"an object must be a mapping with apiVersion and kind, found {structural.word(obj)}"
        loaded.troubles.append(Trouble(file, line, column, text))
        return
    kind, version = obj.get("kind"), obj.get("apiVersion")
    ours = isinstance(version, str) and version.partition("/")[0] == names.GROUP
    known = ", ".join((*names.DIALECTS, names.TOPOLOGY_BINDING))
    if not isinstance(kind, str | None):
        loaded.troubles.append(Trouble(file, line, column, f"kind must be a text, found {structural.word(kind)}"))
    elif kind in (*names.DIALECTS, names.TOPOLOGY_BINDING):
        loaded.documents.append(document)
    elif kind == "ResourceClaimTemplate":
        _take_template(file, line, obj, loaded)
    elif ours and kind in _CHILDREN:
        loaded.notes.append(f"{file}:{line}: {kind} passed over: it is made from a set, keep only the set in Git")
    elif ours:
        text = f"{names.GROUP} has no kind {kind}" if kind else "kind is missing"
        loaded.troubles.append(Trouble(file, line, column, f"{text}: write one of {known}"))
    else:
        loaded.notes.append(f"{file}:{line}: {kind or 'a document without kind'} passed over")


def _take_template(file: str, line: int, obj: raw.Object, loaded: Loaded) -> None:
    metadata, spec = obj.get("metadata"), obj.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict) or not isinstance(spec.get("spec"), dict):
        text = "a ResourceClaimTemplate needs metadata.name and spec.spec: its claims could not be made"
        loaded.troubles.append(Trouble(file, line, 1, text))
        return
    loaded.claim_templates[str(metadata.get("namespace") or "default"), str(metadata.get("name"))] = spec
