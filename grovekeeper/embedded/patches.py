"""JSON patch, merge patch, and the strategic merge patch of built-in kinds."""

import jsonpatch
import jsonpointer

from grovekeeper.api import raw
from grovekeeper.embedded import schema as schemas

APPLY = "application/apply-patch+yaml"
"""Content type of server-side apply, which is no patch of these three: `apply` has it."""


class PatchError(Exception):
    """A patch that cannot be applied to this object."""


def patched(live: raw.Object, body: raw.Json, content: str, schema: raw.Object) -> raw.Object:
    """Return the object after a patch of one of the three types; raises PatchError."""
    if content == "application/json-patch+json":
        try:
            result: raw.Object = jsonpatch.apply_patch(live, body)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
            raise PatchError(str(error)) from error
        return result
    if not isinstance(body, dict):
        raise PatchError("the patch must be an object")
    strategic = content == "application/strategic-merge-patch+json"
    merged: raw.Object = _merged(live, body, schema if strategic else None)
    return merged


def _merged(live: raw.Json, change: raw.Json, schema: raw.Object | None) -> raw.Json:
    if not isinstance(change, dict):
        key = schemas.merge_key(schema)
        if isinstance(change, list) and isinstance(live, list) and key:
            return _merged_list(live, change, schema, key)
        return change
    result = dict(live) if isinstance(live, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            sub = schemas.child(schema, name) if schema is not None else None
            result[name] = _merged(result.get(name), value, sub)
    return result


def _merged_list(live: list[raw.Json], change: list[raw.Json], schema: raw.Object | None, key: str) -> list[raw.Json]:
    result = list(live)
    for entry in change:
        position = next((i for i, known in enumerate(result) if known.get(key) == entry.get(key)), None)
        if entry.get("$patch") == "delete":
            if position is not None:
                del result[position]
        elif position is None:
            result.append(entry)
        else:
            result[position] = _merged(result[position], entry, schemas.item(schema))
    return result
