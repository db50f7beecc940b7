"""RFC 6902 operations, built by hand: comparing two documents to find them costs ten times the work itself.

Status is small, and is written as a merge patch (RFC 7386) of what differs.
"""

from collections.abc import Mapping

from grovekeeper.api import raw


def escape(key: str) -> str:
    """Return a key as one JSON pointer token (RFC 6901: ~ becomes ~0, / becomes ~1)."""
    return key.replace("~", "~0").replace("/", "~1")


def add(path: str, value: raw.Json) -> raw.PatchOp:
    """Return an add operation: creates a member, replaces one that exists, or inserts into a list."""
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: raw.Json) -> raw.PatchOp:
    """Return a replace operation: the path must exist."""
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> raw.PatchOp:
    """Return a remove operation: the path must exist."""
    return {"op": "remove", "path": path}


def test(path: str, value: raw.Json) -> raw.PatchOp:
    """Return a test operation: the whole patch fails unless the value is there."""
    return {"op": "test", "path": path, "value": value}


def merge_map(path: str, current: Mapping[str, str] | None, wanted: Mapping[str, str]) -> list[raw.PatchOp]:
    """Return what makes the map at `path` hold `wanted`: whole where it is absent, else key by key, only changes."""
    if current is None:
        return [add(path, dict(wanted))] if wanted else []
    return [add(f"{path}/{escape(key)}", value) for key, value in wanted.items() if current.get(key) != value]


def merge(old: raw.Object, new: raw.Object) -> raw.Object:
    """Return the merge patch (RFC 7386) that turns `old` into `new`; empty where they are equal. Lists are whole."""
    result: raw.Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        known = old.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            inner = merge(known, value)
            if inner:
                result[key] = inner
        elif key not in old or known != value:
            result[key] = value
    return result
