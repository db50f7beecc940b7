"""What an API server makes of an object by its structural schema: faults, unknown fields, defaults."""

import json
import re
from collections.abc import Collection, Iterator
from typing import get_args

from grovekeeper.api import errors, raw, rules

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "object": dict,
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def pruned(value: raw.Json, schema: raw.Object | None, root: bool = True) -> raw.Json:
    """Return the value without fields that the schema does not know, with the schema's defaults."""
    if schema is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, list):
        return [pruned(entry, schema.get("items"), False) for entry in value]
    if not isinstance(value, dict) or "properties" not in schema:
        if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
            return {key: pruned(entry, schema["additionalProperties"], False) for key, entry in value.items()}
        return value
    known = schema["properties"]
    # An object always has these, whether a CRD's schema names them or not.
    result = {key: entry for key, entry in value.items() if root and key in ("metadata", "apiVersion", "kind")}
    result |= {
        key: pruned(entry, known[key], False)
        for key, entry in value.items()
        if key not in result and key in known and not (entry is None and not known[key].get("nullable"))
    }
    for key, sub in known.items():
        if key not in result and "default" in sub:
            result[key] = pruned(sub["default"], sub, False)
    return result


def unknown(value: raw.Json, schema: raw.Object | None, path: str = "") -> Iterator[tuple[str, Collection[str]]]:
    """Yield the path of each field that a structural schema does not know, and the names that it knows there."""
    if schema is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from unknown(entry, schema.get("items"), f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in schema:
        for name, entry in value.items():
            where = f"{path}.{name}".lstrip(".")
            if not path and name in ("metadata", "apiVersion", "kind"):
                continue
            if name not in schema["properties"]:
                yield where, schema["properties"]
            else:
                yield from unknown(entry, schema["properties"][name], where)
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for name, entry in value.items():
            yield from unknown(entry, schema["additionalProperties"], f"{path}.{name}")


def faults(
    value: raw.Json, schema: raw.Object | None, old: raw.Json = None, path: str = ""
) -> Iterator[errors.FieldError]:
    """Yield what is wrong with a value, CEL rules included. None counts as absent, as the API server prunes it."""
    if schema is None or value is None:
        return
    expected = "integer or string" if schema.get("x-kubernetes-int-or-string") else schema.get("type")
    types = (int, str) if expected == "integer or string" else _TYPES.get(expected or "", object)
    if not isinstance(value, types) or (isinstance(value, bool) and expected not in ("boolean", None)):
        text = f"must be of type {expected}, found {word(value)}"
        if expected == "string" and isinstance(value, bool | int | float):
            text += ": put it in quotation marks"
        yield errors.FieldError(path, "Invalid", text, value)
        return
    found = list(_bounds(value, schema, path))
    if isinstance(value, dict):
        found += _object_faults(value, schema, old, path)
    elif isinstance(value, list):
        found += _list_faults(value, schema, path)
    yield from found
    if not found:
        # As in the API server: rules are for values that have the shape which they expect.
        yield from _rules(value, schema, old, path)


def word(value: raw.Json) -> str:
    """Return what a person calls a value of JSON."""
    kinds = {bool: "a boolean", int: "an integer", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
    return next((text for kind, text in kinds.items() if isinstance(value, kind)), "nothing")


def _object_faults(value: raw.Object, schema: raw.Object, old: raw.Json, path: str) -> Iterator[errors.FieldError]:
    for name in schema.get("required") or ():
        if value.get(name) is None:
            yield errors.FieldError(f"{path}.{name}".lstrip("."), "Required", "the field is missing")
    known = schema.get("properties") or {}
    for name, entry in value.items():
        if path or name not in ("metadata", "apiVersion", "kind"):
            before = old.get(name) if isinstance(old, dict) else None
            sub = known.get(name) or schema.get("additionalProperties")
            if isinstance(sub, dict):
                yield from faults(entry, sub, before, f"{path}.{name}".lstrip("."))


def _bounds(value: raw.Json, schema: raw.Object, path: str) -> Iterator[errors.FieldError]:
    if "enum" in schema and value not in schema["enum"]:
        yield errors.FieldError(path, "NotSupported", f"allowed are {', '.join(map(str, schema['enum']))}", value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not value >= schema.get("minimum", value):
            yield errors.FieldError(path, "Invalid", f"must be at least {schema['minimum']}", value)
        if not value <= schema.get("maximum", value):
            yield errors.FieldError(path, "Invalid", f"must be at most {schema['maximum']}", value)
    if isinstance(value, str):
        # Python's $ matches before a last newline, too; that of the API server does not.
        if "pattern" in schema and not re.search(re.sub(r"\$$", r"\\Z", schema["pattern"]), value):
            quantity = "x-kubernetes-int-or-string" in schema
            text = "must be a quantity such as 100m, 4 or 2Gi" if quantity else f"must match {schema['pattern']}"
            yield errors.FieldError(path, "Invalid", text, value)
        if len(value) > schema.get("maxLength", len(value)):
            text = f"at most {schema['maxLength']} characters are allowed, found {len(value)}"
            yield errors.FieldError(path, "TooLong", text, value)
        if len(value) < schema.get("minLength", 0):
            yield errors.FieldError(path, "Invalid", f"must have at least {schema['minLength']} characters", value)


def _list_faults(value: list[raw.Json], schema: raw.Object, path: str) -> Iterator[errors.FieldError]:
    if len(value) > schema.get("maxItems", len(value)):
        text = f"at most {schema['maxItems']} entries are allowed: remove some"
        yield errors.FieldError(path, "TooMany", text, len(value))
    if len(value) < schema.get("minItems", 0):
        text = f"at least {schema['minItems']} entries are needed: add some"
        yield errors.FieldError(path, "Invalid", text, len(value))
    items = schema.get("items") or {}
    keys = schema["x-kubernetes-list-map-keys"] if schema.get("x-kubernetes-list-type") == "map" else ()
    first: dict[str, int] = {}
    for index, entry in enumerate(value):
        here = f"{path}[{index}]"
        if entry is None:
            yield errors.FieldError(here, "Required", "the entry is empty: fill or remove it")
        if keys and isinstance(entry, dict):
            mark = {key: _key(entry, items, key) for key in keys}
            before = first.setdefault(json.dumps(mark), index)
            if before != index:
                yield errors.FieldError(here, "Duplicate", f"entry {before} has the same: remove or rename one", mark)
        yield from faults(entry, items, None, here)


def _key(entry: raw.Object, items: raw.Object, key: str) -> raw.Json:
    return entry.get(key, (items.get("properties") or {}).get(key, {}).get("default"))


def _rules(value: raw.Json, schema: raw.Object, old: raw.Json, path: str) -> Iterator[errors.FieldError]:
    for rule in schema.get("x-kubernetes-validations") or ():
        expression: str = rule["rule"]
        if rule.get("optionalOldSelf"):
            if old is not None:
                continue  # our rules of this kind all read "on create only"
            expression = expression.removeprefix("oldSelf.hasValue() || ")
        elif "oldSelf" in expression and old is None:
            continue
        if not rules.evaluate(expression, {"self": value, "oldSelf": old}):
            where = f"{path}{rule.get('fieldPath', '')}".lstrip(".")
            reason = rule.get("reason", "").removeprefix("FieldValue")
            known: errors.Reason = reason if reason in get_args(errors.Reason) else "Invalid"
            yield errors.FieldError(where, known, rule.get("message", f"failed rule: {expression}"))
