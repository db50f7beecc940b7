"""YAML as kubectl reads it: Go's rules for scalars, duplicate keys refused, and a place for every value.

kubectl's reader is a port of libyaml with words of YAML 1.1: an unquoted `yes` is a boolean, 010 is eight.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import yaml

from grovekeeper.api import raw

_DEPTH = 200
"""Levels of nesting; a pod specification has about 20."""
_VALUES = 500_000
"""Values that a document's aliases may make of fewer; no object of a cluster has as many."""
_EXPONENT_FROM = 1e21
"""Go writes whole numbers below this without an exponent into JSON, so that they are integers there."""

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {each: True for word in ("y", "yes", "true", "on") for each in (word, word.capitalize(), word.upper())}
_WORDS |= {each: False for word in ("n", "no", "false", "off") for each in (word, word.capitalize(), word.upper())}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

Place: TypeAlias = tuple[int, int]
"""Line and column, from 1."""
Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a text, and where."""

    place: Place
    message: str


@dataclass(slots=True)
class Parsed:
    """One document: its value, and the place of everything in it. The place of a field is that of its name."""

    value: raw.Json
    place: Place
    places: dict[Path, Place] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    place: Place
    kind: str = "scalar"
    value: raw.Json = None
    """A scalar's value, a list's nodes, or the pairs of a mapping."""


class _StopError(Exception):
    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(place, message)


def documents(text: str, *, nulls: bool = False) -> tuple[list[Parsed], list[Fault]]:
    """Return the documents that are sound, without empty ones, and what is wrong with the others.

    Fields without a value are left out, as the API server drops them, unless `nulls` is set.
    """
    found: list[Parsed] = []
    faults: list[Fault] = []
    try:
        composer = _Composer(text, faults)
        for root in composer.roots():
            parsed = Parsed(None, root.place)
            writer = _Writer(parsed.places, iter(range(composer.nodes + _VALUES)), nulls)
            parsed.value = writer.written_out(root, ())
            found.append(parsed)
    except _StopError as error:
        faults.append(error.fault)
    except yaml.YAMLError as error:
        faults.append(_stopped(error, text))
    return found, faults


def _stopped(error: yaml.YAMLError, text: str) -> Fault:
    """Return where libyaml stopped in the text, and why."""
    if isinstance(error, yaml.reader.ReaderError):
        # libyaml counts bytes here, and characters in its marks.
        before = text.encode()[: error.position].decode(errors="ignore")
        why = f"not YAML: the control character U+{ord(text[len(before)]):04X} is not allowed: remove it"
        return Fault((before.count("\n") + 1, len(before) - before.rfind("\n")), why)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    why = f"not YAML: {getattr(error, 'problem', None) or getattr(error, 'context', None) or error}"
    if mark is None:
        return Fault((1, 1), why)
    lines = text.splitlines()
    tab = mark.line < len(lines) and lines[mark.line][: mark.column + 1].endswith("\t")
    return Fault((mark.line + 1, mark.column + 1), f"{why} (a tab): indent with spaces" if tab else why)


def scalar(text: str) -> raw.Json:
    """Return what an unquoted word means: None, a boolean, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    plain = text.replace("_", "") if text[0] in "+-.0123456789" else ""
    if _INTEGER.fullmatch(plain):
        digits = plain.lstrip("+-")
        number = int(digits, 8 if digits[0] == "0" and digits.isdigit() else 0)
        return -number if plain[0] == "-" else number
    if _ENDLESS.fullmatch(plain):
        return float(plain.replace(".", ""))
    if _FLOAT.fullmatch(plain):
        fraction = float(plain)
        return int(fraction) if fraction.is_integer() and abs(fraction) < _EXPONENT_FROM else fraction
    return text


def dumped(value: raw.Json) -> str:
    """Return block YAML that kubectl, and readers of YAML 1.2, read back as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: raw.Json) -> bool:
        return True


def _represented(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    style = "|" if "\n" in data else None if isinstance(scalar(data), str) else "'"
    if not data.replace("\n", "").replace("\t", "").isprintable():
        style = '"'  # the only one with escapes: readers take U+0085 and U+2028 for ends of lines
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _represented)


class _Composer:
    """Makes nodes of libyaml's events; aliases become the nodes that they name."""

    def __init__(self, text: str, faults: list[Fault]) -> None:
        # All but the starts and ends of documents, which `roots` takes, are of nodes.
        self._events = cast(Iterator[yaml.NodeEvent], yaml.parse(text, Loader=yaml.CSafeLoader))
        self._anchors: dict[str, _Node | None] = {}
        self._faults = faults
        self.nodes = 0
        """Nodes so far, an alias being one."""

    def roots(self) -> Iterator[_Node]:
        """Yield the root of each document that has something in it and no fault."""
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                before = len(self._faults)
                root = self._node(next(self._events), 0)
                if len(self._faults) == before and (root.kind != "scalar" or root.value is not None):
                    yield root

    def _node(self, event: yaml.NodeEvent, depth: int) -> _Node:
        mark = event.start_mark
        node = _Node((mark.line + 1, mark.column + 1) if mark else (1, 1))
        self.nodes += 1
        if depth > _DEPTH:
            raise _StopError(node.place, f"nested deeper than {_DEPTH} levels, as nothing in Kubernetes is: flatten it")
        if isinstance(event, yaml.AliasEvent):
            return self._anchored(event.anchor or "", node.place)
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            _mean(event, node)
        elif isinstance(event, yaml.SequenceStartEvent):
            node.kind, node.value = "list", list(self._until(yaml.SequenceEndEvent, depth))
        else:
            entries = self._until(yaml.MappingEndEvent, depth)
            node.kind, node.value = "mapping", [(key, next(entries)) for key in entries]
            self._faults += _key_faults(node)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _until(self, end: type[yaml.Event], depth: int) -> Iterator[_Node]:
        while not isinstance(event := next(self._events), end):
            yield self._node(event, depth + 1)

    def _anchored(self, name: str, place: Place) -> _Node:
        node = self._anchors.get(name)
        if node is None:
            why = "contains itself" if name in self._anchors else f"is not there: write &{name} before it"
            raise _StopError(place, f"the anchor of alias *{name} {why}")
        return _Node(place, node.kind, node.value)


def _mean(event: yaml.ScalarEvent, node: _Node) -> None:
    node.value = event.value
    if event.implicit[0] and event.tag is None:
        node.kind, node.value = ("merge", "<<") if event.value == "<<" else ("scalar", scalar(event.value))
    elif event.tag == "tag:yaml.org,2002:binary":
        try:
            node.value = base64.b64decode(event.value).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _StopError(node.place, f"!!binary must be the base64 of a text: {error}") from error


def _key_faults(node: _Node) -> Iterator[Fault]:
    """Yield keys that are no texts, and keys that are there twice, with the lines of both."""
    first: dict[str, int] = {}
    for key, _value in node.value:
        name = _name(key)
        if name is None:
            yield Fault(key.place, "a key must be a text: put it in quotation marks")
        elif name in first:
            text = f'duplicate key "{name}", on line {first[name]}, too: only one would count; remove one'
            yield Fault(key.place, text)
        else:
            first[name] = key.place[0]


def _name(key: _Node) -> str | None:
    if key.kind == "merge":
        return "<<"
    if key.kind != "scalar" or key.value is None:
        return None
    return key.value if isinstance(key.value, str) else json.dumps(key.value)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes nodes out as values of JSON, and notes where each stands."""

    places: dict[Path, Place]
    left: Iterator[int]
    """How many values may come still."""
    nulls: bool

    def written_out(self, node: _Node, path: Path) -> raw.Json:
        if next(self.left, None) is None or len(path) > _DEPTH:
            raise _StopError(node.place, f"aliases make more than {_VALUES} values or {_DEPTH} levels: write them out")
        self.places.setdefault(path, node.place)
        if node.kind == "list":
            return [self.written_out(entry, (*path, index)) for index, entry in enumerate(node.value)]
        if node.kind != "mapping":
            return node.value
        result: raw.Object = {}
        for key, value in _merged(node, 0):
            name = str(_name(key))
            if (*path, name) not in self.places:
                self.places[(*path, name)] = key.place
                entry = self.written_out(value, (*path, name))
                if entry is not None or self.nulls:
                    result[name] = entry
        return result


def _merged(node: _Node, depth: int) -> Iterator[tuple[_Node, _Node]]:
    """Yield the pairs of a mapping, its own before those that it merges."""
    merges: list[_Node] = []
    for key, value in node.value:
        if key.kind == "merge":
            merges += value.value if value.kind == "list" else [value]
        else:
            yield key, value
    for each in merges:
        if each.kind != "mapping" or depth > _DEPTH:
            raise _StopError(each.place, "<< takes a mapping or a list of mappings: name an anchor of one")
        yield from _merged(each, depth + 1)
