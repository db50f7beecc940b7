"""`grovekeeper check`: what the API server and the webhooks would say, before the commit."""

import difflib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import click
import jsonpatch

from grovekeeper.api import crds, defaults, errors, names, raw, structural
from grovekeeper.api.validate import podgangset, topology, verdict
from grovekeeper.cli import manifests

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
"""Schema of labels and annotations: the CRDs leave metadata to the API server."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault with its place."""

    file: str
    line: int
    column: int
    object: str
    path: str
    reason: str
    message: str

    def text(self) -> str:
        """Return `file:line:column: object: field: reason: message`."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.object, self.message) if part)


@click.command(name="check")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(paths: tuple[str, ...], output: str) -> None:
    """Validate manifests (files, folders, or - for standard input). Exit code 0: fine, 1: findings, 2: unreadable."""
    loaded = manifests.load(paths)
    found = [Finding(t.file, t.line, t.column, "", "", "Unreadable", t.message) for t in loaded.troubles]
    warnings = list(_twice(loaded.documents))
    for document in loaded.documents:
        fresh, remarks = judge(document)
        found += fresh
        warnings += [f"{document.file}:{document.line_of('')[0]}: {document.title}: {remark}" for remark in remarks]
    if output == "json":
        body = {"findings": [asdict(finding) for finding in found], "warnings": warnings, "notes": loaded.notes}
        click.echo(json.dumps(body, indent=2))
    else:
        for finding in found:
            click.echo(printable(finding.text()))
        for line in [*(f"warning: {text}" for text in warnings), *(f"note: {text}" for text in loaded.notes)]:
            click.echo(printable(line), err=True)
        good = len(loaded.documents) - len({(f.file, f.object) for f in found if f.object})
        findings = "1 finding" if len(found) == 1 else f"{len(found)} findings"
        click.echo(f"{good} of {len(loaded.documents)} manifests fine, {findings}", err=True)
    sys.exit(2 if loaded.troubles else 1 if found else 0)


def printable(text: str) -> str:
    """Return the text with control characters and direction overrides spelt out: manifests are strangers' text."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _twice(documents: Iterable[manifests.Document]) -> Iterator[str]:
    """Yield a remark for each set whose name another has: one would overwrite the other, or take its children."""
    first: dict[tuple[str, ...], str] = {}
    for document in documents:
        metadata = document.object.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
            cluster = document.object["kind"] == names.TOPOLOGY_BINDING
            key = (str(cluster), "" if cluster else str(metadata.get("namespace", "")), metadata["name"])
            here = f"{document.file}:{document.line_of('')[0]}"
            if first.setdefault(key, here) != here:
                text = f"the name is used at {first[key]}, too: never apply both to one cluster"
                yield f"{here}: {document.title}: {text}"


def judge(document: manifests.Document) -> tuple[list[Finding], list[str]]:
    """Return the findings and warnings of one document: schema first, rules where the schema holds."""
    obj = document.object
    kind = next(k for k in crds.KINDS if k.kind == obj["kind"])
    expected = f"{kind.group}/{names.VERSION}"
    if obj.get("apiVersion") != expected:
        reason: errors.Reason = "NotSupported" if "apiVersion" in obj else "Required"
        fault = errors.FieldError("apiVersion", reason, f"use {expected}", obj.get("apiVersion"))
        return [_finding(document, fault)], []
    found = [*_unknown(obj, crds.schema(kind)), *structural.faults(obj, crds.schema(kind))]
    found += _metadata_faults(obj.get("metadata"), kind)
    if found:
        return [_finding(document, fault) for fault in found], []
    if kind.kind == names.TOPOLOGY_BINDING:
        answer = topology.check_binding(obj, verdict.Context())
    else:
        filled = jsonpatch.apply_patch(obj, defaults.default(obj))
        answer = podgangset.validate(filled, None, verdict.Context())
        podgangset.metadata(answer, obj)
    return [_finding(document, fault) for fault in answer.errors], answer.warnings


def _finding(document: manifests.Document, fault: errors.FieldError) -> Finding:
    line, column = document.line_of(fault.path)
    return Finding(document.file, line, column, document.title, fault.path, fault.reason, fault.text())


def _unknown(obj: raw.Object, schema: raw.Object) -> Iterator[errors.FieldError]:
    for path, known in structural.unknown(obj, schema):
        name = path.rpartition(".")[2]
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known)[:12])}"
        yield errors.FieldError(path, "NotSupported", f"unknown field, it would be dropped; {hint}", name)


def _metadata_faults(metadata: raw.Json, kind: crds.Kind) -> Iterator[errors.FieldError]:
    """Yield what the API server would say of metadata, which the CRDs leave to it."""
    if not isinstance(metadata, dict | None):
        text = f"must be of type object, found {structural.word(metadata)}"
        yield errors.FieldError("metadata", "Invalid", text, metadata)
        return
    given = metadata or {}
    name = given.get("name")
    if name is None or name == "":
        yield errors.FieldError("metadata.name", "Required", "give the object a name")
    for field in ("name", "namespace"):
        value = given.get(field)
        if not isinstance(value, str | None):
            text = f"must be a text, found {structural.word(value)}: put it in quotation marks"
            yield errors.FieldError(f"metadata.{field}", "Invalid", text, value)
    for field in ("labels", "annotations"):
        yield from structural.faults(given.get(field), _TEXTS, path=f"metadata.{field}")
