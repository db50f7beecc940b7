"""Lists in pages: the token names the last object of the page before, as etcd's keys do."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence

from grovekeeper.api import raw


def page(found: Sequence[raw.Object], query: Mapping[str, str]) -> tuple[list[raw.Object], raw.Object]:
    """Return one page of sorted objects, and what the list's metadata says of the rest. Raises ValueError."""
    begin = 0
    token = query.get("continue")
    if token:
        after = _decoded(token)
        begin = next((number for number, obj in enumerate(found) if _key(obj) > after), len(found))
    limit = int(query.get("limit") or 0)
    left = found[begin:]
    if not limit or len(left) <= limit:
        return list(left), {}
    shown = list(left[:limit])
    return shown, {"continue": _encoded(_key(shown[-1])), "remainingItemCount": len(left) - limit}


def _key(obj: raw.Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _encoded(key: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _decoded(token: str) -> tuple[str, str]:
    try:
        namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"continue key is not valid: {error}") from error
    return namespace, name
