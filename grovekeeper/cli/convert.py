"""`grovekeeper convert`: manifests from one spelling of the top kind to the other.

The text is edited where the words stand, so that comments, order and layout stay, and there and back is byte for byte
what was there before.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from grovekeeper.api import names
from grovekeeper.cli import check, manifests

_ONLY = {
    names.PODGANGSET: {
        "spec.replicaSpreadConstraints": "use spec.template.topologyConstraint.spread",
        "spec.template.schedulingPolicyConfig": "use topologyConstraint.pack on scaling groups",
    },
    names.PODCLIQUESET: {},
}
"""Fields that only one of Grove's spellings has, with what to write instead."""


@dataclass(slots=True)
class Converted:
    """A file's new text, what stands against it, and what else a person should look at."""

    text: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    count: int = 0
    """Sets that were rewritten."""


@click.command(name="convert")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--to", "kind", type=click.Choice(list(names.DIALECTS)), required=True)
@click.option("-w", "--write", is_flag=True, help="Change the files instead of printing.")
def command(paths: tuple[str, ...], kind: str, write: bool) -> None:
    """Rewrite PodGangSets as PodCliqueSets or back; other kinds pass untouched. Exit code 1: refused, 2: unreadable."""
    loaded = manifests.Loaded()
    done = list(_read(paths, names.DIALECTS[kind], loaded))
    for trouble in loaded.troubles:
        click.echo(check.printable(trouble.text()), err=True)
    for name, result in done:
        for text in (*result.faults, *result.notes):
            click.echo(f"{name}:{text}", err=True)
    if loaded.troubles:
        sys.exit(2)
    if any(result.faults for _, result in done):
        sys.exit(1)
    try:
        _put(done, write=write)
    except OSError as error:
        if not error.filename:
            raise  # standard output: said by `main`
        why = (error.strerror or str(error)).lower()
        click.echo(f"{error.filename}: cannot be written ({why}): check the file's rights, and ask again", err=True)
        sys.exit(2)


def _read(paths: Iterable[str], target: names.Dialect, loaded: manifests.Loaded) -> Iterator[tuple[str, Converted]]:
    for path in paths:
        for name, text in manifests.contents(path, loaded):
            troubles = manifests.read(name, text).troubles
            loaded.troubles += troubles
            if not troubles:
                yield name, convert(text, target)


def _put(done: Sequence[tuple[str, Converted]], *, write: bool) -> None:
    for position, (name, result) in enumerate(done):
        if write and name != "<stdin>":
            if result.count:
                Path(name).write_bytes(result.text.encode())
            continue
        if position and not result.text.startswith("---"):
            click.echo("---")
        click.echo(result.text, nl=False)


def convert(text: str, target: names.Dialect) -> Converted:
    """Return the text with its sets in the target's spelling; raise yaml.YAMLError for what is not YAML. Pure."""
    source = next(dialect for dialect in names.DIALECTS.values() if dialect is not target)
    words = dict(zip(_words(source), _words(target), strict=True))
    result = Converted(text)
    edits: list[tuple[int, int, str]] = []
    for node in _objects(text):
        kind = _at(node, "kind")
        if not isinstance(kind, ScalarNode) or kind.value != source.kind:
            if kind is None or kind.value not in tuple(names.DIALECTS):
                result.notes += _mentions(node, source)
            continue
        result.count += 1
        result.faults += _unsayable(node, source, target)
        edits += _edits(text, node, words)
    for start, end, new in sorted(edits, reverse=True):
        result.text = result.text[:start] + new + result.text[end:]
    return result


def _words(dialect: names.Dialect) -> tuple[str, ...]:
    return (
        dialect.kind,
        dialect.label_replica_index,
        dialect.env_name,
        dialect.env_index,
        dialect.generation_hash_field,
        dialect.progress_field,
        dialect.progress_hash_field,
    )


def _objects(text: str) -> Iterator[MappingNode]:
    for node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
        if not isinstance(node, MappingNode):
            continue
        items = _at(node, "items")
        if _value(node, "kind").endswith("List") and isinstance(items, SequenceNode):
            yield from (item for item in items.value if isinstance(item, MappingNode))
        else:
            yield node


def _at(node: Node | None, path: str) -> Node | None:
    for name in path.split("."):
        if not isinstance(node, MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == name), None)
    return node


def _value(node: Node, path: str) -> str:
    found = _at(node, path)
    return str(found.value) if isinstance(found, ScalarNode) else ""


def _scalars(node: Node) -> Iterator[ScalarNode]:
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _scalars(key)
            yield from _scalars(value)
    elif isinstance(node, SequenceNode):
        for entry in node.value:
            yield from _scalars(entry)


def _edits(text: str, node: Node, words: dict[str, str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and new text of every scalar that changes; one that is reached by two aliases once."""
    seen = set()
    for scalar in _scalars(node):
        start, end = scalar.start_mark.index, scalar.end_mark.index
        old = new = text[start:end]
        for mine, theirs in words.items():
            new = new.replace(mine, theirs)
        if new != old and start not in seen:
            seen.add(start)
            yield start, end, new


def _unsayable(node: MappingNode, source: names.Dialect, target: names.Dialect) -> Iterator[str]:
    title = f"{source.kind} {_value(node, 'metadata.name')}"
    for path, instead in _ONLY[source.kind].items():
        found = _at(node, path)
        if found is not None:
            text = f"{path} of {title} has no counterpart in {target.kind}: {instead}"
            yield f"{found.start_mark.line + 1}: {text}"
    for scalar in _scalars(node):
        for word in _words(target):
            if word in scalar.value:
                text = f"{title} speaks of {word}, which only a {target.kind} has: correct it first"
                yield f"{scalar.start_mark.line + 1}: {text}"


def _mentions(node: MappingNode, source: names.Dialect) -> Iterator[str]:
    for scalar in _scalars(node):
        if scalar.value in _words(source):
            title = f"{_value(node, 'kind')} {_value(node, 'metadata.name')}"
            yield f"{scalar.start_mark.line + 1}: {title} speaks of {scalar.value} and is left as it is: look at it"
