"""`grovekeeper check`: what the API server and the webhooks would say, before the commit."""

import difflib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click
import jsonpatch

from grovekeeper.api import crds, defaults, errors, names, raw
from grovekeeper.api.validate import podgangset, topology, verdict
from grovekeeper.cli import manifests

_TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "integer": int, "number": (int, float)}

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
        parts = [f"{self.file}:{self.line}:{self.column}", self.object, self.message]
        return ": ".join(part for part in parts if part)


@click.command(name="check")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(paths: tuple[str, ...], output: str) -> None:
    """Validate manifests (files, folders, or - for standard input). Exit code 0: fine, 1: findings, 2: unreadable."""
    loaded = manifests.load(paths)
    found = [Finding(t.file, t.line, t.column, "", "", "Unreadable", t.message) for t in loaded.troubles]
    warnings: list[str] = []
    for document in loaded.documents:
        fresh, remarks = judge(document)
        found += fresh
        warnings += [f"{document.file}: {document.title}: {remark}" for remark in remarks]
    if output == "json":
        body = {"findings": [asdict(finding) for finding in found], "warnings": warnings, "notes": loaded.notes}
        click.echo(json.dumps(body, indent=2))
    else:
        for finding in found:
            click.echo(finding.text())
        for line in [*(f"warning: {text}" for text in warnings), *(f"note: {text}" for text in loaded.notes)]:
            click.echo(line, err=True)
        good = len(loaded.documents) - len({(f.file, f.object) for f in found if f.object})
        click.echo(f"{good} of {len(loaded.documents)} manifests are fine, {len(found)} findings", err=True)
    sys.exit(2 if loaded.troubles else 1 if found else 0)


def judge(document: manifests.Document) -> tuple[list[Finding], list[str]]:
    """Return the findings and warnings of one document: schema first, rules where the schema holds."""
    obj = document.object
    kind = next((k for k in crds.KINDS if k.kind == obj.get("kind")), None)
    expected = f"{kind.group}/{names.VERSION}" if kind else ""
    if kind is None or obj.get("apiVersion") != expected:
        fault = errors.FieldError("apiVersion", "NotSupported", f"use {expected}", obj.get("apiVersion"))
        return [_finding(document, fault)], []
    found = list(_schema_faults(obj, crds.schema(kind), ""))
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not name:
        found.append(errors.FieldError("metadata.name", "Required", "give the object a name"))
    elif not isinstance(name, str):
        text = f"must be a text, found {manifests.word(name)}: put it in quotation marks"
        found.append(errors.FieldError("metadata.name", "Invalid", text, name))
    for field in ("labels", "annotations"):
        value = metadata.get(field) if isinstance(metadata, dict) else None
        found += _schema_faults(value, _TEXTS, f"metadata.{field}")
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


def _schema_faults(value: raw.Json, schema: raw.Object, path: str) -> Iterator[errors.FieldError]:
    """Yield unknown fields, wrong types, values out of bounds. None counts as absent, as in the API."""
    if value is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield errors.FieldError(path, "Invalid", "must be an integer or a string", value)
        return
    expected = schema.get("type")
    wrong_bool = isinstance(value, bool) and expected != "boolean"
    if expected and (wrong_bool or not isinstance(value, _TYPES[expected])):  # type: ignore[arg-type]  # types
        yield errors.FieldError(path, "Invalid", f"must be of type {expected}, found {manifests.word(value)}", value)
        return
    yield from _bound_faults(value, schema, path)
    if isinstance(value, dict):
        yield from _object_faults(value, schema, path)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            if entry is None:
                yield errors.FieldError(f"{path}[{index}]", "Required", "the entry is empty: fill or remove it")
            yield from _schema_faults(entry, schema.get("items") or {}, f"{path}[{index}]")


def _object_faults(value: raw.Object, schema: raw.Object, path: str) -> Iterator[errors.FieldError]:
    known = schema.get("properties")
    for name in schema.get("required") or ():
        if value.get(name) is None:
            yield errors.FieldError(f"{path}.{name}".lstrip("."), "Required", "the field is missing")
    for name, entry in value.items():
        here = f"{path}.{name}".lstrip(".")
        if known is None:
            values = schema.get("additionalProperties")
            if isinstance(values, dict):
                yield from _schema_faults(entry, values, here)
        elif name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known)[:12])}"
            yield errors.FieldError(here, "NotSupported", f"unknown field, it would be dropped; {hint}", name)
        else:
            yield from _schema_faults(entry, known[name], here)


def _bound_faults(value: raw.Json, schema: raw.Object, path: str) -> Iterator[errors.FieldError]:
    if "enum" in schema and value not in schema["enum"]:
        yield errors.FieldError(path, "NotSupported", f"allowed are {', '.join(schema['enum'])}", value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield errors.FieldError(path, "Invalid", f"must be at least {schema['minimum']}", value)
        if value > schema.get("maximum", value):
            yield errors.FieldError(path, "Invalid", f"must be at most {schema['maximum']}", value)
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield errors.FieldError(path, "Invalid", f"must match {schema['pattern']}", value)
        if len(value) > schema.get("maxLength", len(value)):
            yield errors.FieldError(path, "TooLong", f"at most {schema['maxLength']} characters", value)
