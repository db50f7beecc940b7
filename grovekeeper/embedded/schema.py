"""Structural schemas: validation, and the list semantics that apply and patches need."""

import re
from collections.abc import Iterator
from functools import cache

import cel

from grovekeeper.api import openapi, raw

Fault = tuple[str, str, str]
"""Field path, reason, message."""
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "object": dict,
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


@cache
def built_in(definition: str) -> raw.Object:
    """Return a built-in kind's schema; $ref is followed by `child`."""
    return openapi.definitions()[definition]


def child(schema: raw.Object | None, name: str) -> raw.Object | None:
    """Return the schema of a property, or of the values of a map."""
    schema = _followed(schema)
    if schema is None:
        return None
    found = (schema.get("properties") or {}).get(name)
    if found is None and isinstance(schema.get("additionalProperties"), dict):
        found = schema["additionalProperties"]
    return _followed(found)


def item(schema: raw.Object | None) -> raw.Object | None:
    """Return the schema of a list's items."""
    schema = _followed(schema)
    return _followed(schema.get("items")) if schema else None


def list_keys(schema: raw.Object | None) -> list[str] | None:
    """Return the keys of a list map, or None for other lists."""
    schema = _followed(schema) or {}
    if schema.get("x-kubernetes-list-type") == "map":
        found: list[str] = schema["x-kubernetes-list-map-keys"]
        return found
    return None


def is_set(schema: raw.Object | None) -> bool:
    """Return whether a list is a set."""
    return (_followed(schema) or {}).get("x-kubernetes-list-type") == "set"


def merge_key(schema: raw.Object | None) -> str | None:
    """Return the key by which a strategic merge patch merges a list."""
    found: str | None = (_followed(schema) or {}).get("x-kubernetes-patch-merge-key")
    return found


def _followed(schema: raw.Object | None) -> raw.Object | None:
    if schema is not None and "$ref" in schema:
        return {
            **openapi.definitions()[schema["$ref"].rpartition("/")[2]],
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    return schema


def unknown(value: raw.Json, schema: raw.Object | None, path: str = "") -> Iterator[str]:
    """Yield the paths of fields that a structural schema does not know."""
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
                yield where
            else:
                yield from unknown(entry, schema["properties"][name], where)
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for name, entry in value.items():
            yield from unknown(entry, schema["additionalProperties"], f"{path}.{name}")


def faults(value: raw.Json, schema: raw.Object | None, old: raw.Json = None, path: str = "") -> Iterator[Fault]:
    """Yield what is wrong with a value, CEL rules included."""
    if schema is None or value is None:
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str):
            yield path, "FieldValueTypeInvalid", f"must be an integer or a string, found {type(value).__name__}"
        return
    expected = schema.get("type")
    if expected and not (
        isinstance(value, _TYPES[expected]) and not (expected in ("integer", "number") and value is True)
    ):
        yield path, "FieldValueTypeInvalid", f"must be of type {expected}: {value!r}"
        return
    yield from _bounds(value, schema, path)
    if isinstance(value, dict):
        yield from _object_faults(value, schema, old, path)
    elif isinstance(value, list):
        yield from _list_faults(value, schema, path)
    yield from _rules(value, schema, old, path)


def _object_faults(value: raw.Object, schema: raw.Object, old: raw.Json, path: str) -> Iterator[Fault]:
    for name in schema.get("required") or ():
        if name not in value:
            yield f"{path}.{name}".lstrip("."), "FieldValueRequired", "Required value"
    for name, entry in value.items():
        if path or name not in ("metadata", "apiVersion", "kind"):
            before = old.get(name) if isinstance(old, dict) else None
            yield from faults(entry, child(schema, name), before, f"{path}.{name}".lstrip("."))


def _bounds(value: raw.Json, schema: raw.Object, path: str) -> Iterator[Fault]:
    if "enum" in schema and value not in schema["enum"]:
        yield path, "FieldValueNotSupported", f"Unsupported value: {value!r}: supported values: {schema['enum']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            yield path, "FieldValueInvalid", f"Invalid value: {value}: should be at least {schema['minimum']}"
        if "maximum" in schema and value > schema["maximum"]:
            yield path, "FieldValueInvalid", f"Invalid value: {value}: should be at most {schema['maximum']}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield path, "FieldValueInvalid", f"Invalid value: {value!r}: should match {schema['pattern']}"
        if len(value) > schema.get("maxLength", len(value)):
            yield path, "FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} characters"
        if len(value) < schema.get("minLength", 0):
            yield path, "FieldValueInvalid", f"should be at least {schema['minLength']} characters"


def _list_faults(value: list[raw.Json], schema: raw.Object, path: str) -> Iterator[Fault]:
    if len(value) > schema.get("maxItems", len(value)):
        yield path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
    if len(value) < schema.get("minItems", 0):
        yield path, "FieldValueInvalid", f"should have at least {schema['minItems']} items"
    keys = list_keys(schema)
    seen = set()
    for index, entry in enumerate(value):
        if keys and isinstance(entry, dict):
            mark = tuple(str(entry.get(key)) for key in keys)
            if mark in seen:
                yield (
                    f"{path}[{index}]",
                    "FieldValueDuplicate",
                    f"Duplicate value: {dict(zip(keys, mark, strict=True))}",
                )
            seen.add(mark)
        yield from faults(entry, item(schema), None, f"{path}[{index}]")


def _rules(value: raw.Json, schema: raw.Object, old: raw.Json, path: str) -> Iterator[Fault]:
    for rule in schema.get("x-kubernetes-validations") or ():
        expression: str = rule["rule"]
        if rule.get("optionalOldSelf"):
            if old is not None:
                continue  # our rules of this kind all read "on create only"
            expression = expression.removeprefix("oldSelf.hasValue() || ")
        elif "oldSelf" in expression and old is None:
            continue
        if not cel.evaluate(expression, {"self": value, "oldSelf": old}):
            where = f"{path}{rule.get('fieldPath', '')}".lstrip(".")
            yield where, rule.get("reason", "FieldValueInvalid"), rule.get("message", f"failed rule: {expression}")
