"""What an API server makes of an object by its structural schema: unknown fields go, defaults come."""

from grovekeeper.api import raw


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
