"""Schemas as apply and patches need them: what a list is, with $ref followed."""

from functools import cache

from grovekeeper.api import openapi, raw
from grovekeeper.embedded.kinds import Kind


def of(kind: Kind) -> raw.Object:
    """Return a kind's schema."""
    return kind.schema if kind.schema is not None else built_in(kind.definition)


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
