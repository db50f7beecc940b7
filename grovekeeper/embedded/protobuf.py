"""What kubectl's typed commands send: a few kinds of Kubernetes' protobuf, read as the JSON that they would be.

`kubectl autoscale`, `drain` and `create namespace` know no other encoding. Messages are read by the tables below; a
field that is in none of them is one that these commands never set, and is left out. Numbers: Kubernetes' own .proto.
"""

from collections.abc import Iterator
from typing import Any

from grovekeeper.api import raw

CONTENT = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

_Table = dict[int, tuple[str, Any]]
"""Field number to its name and what it holds: one of the words below, the table of a message, or a list of either."""
_TEXT, _NUMBER, _FLAG, _TEXTS_BY_KEY = "text", "number", "flag", "map"

_METADATA: _Table = {
    1: ("name", _TEXT),
    2: ("generateName", _TEXT),
    3: ("namespace", _TEXT),
    11: ("labels", _TEXTS_BY_KEY),
    12: ("annotations", _TEXTS_BY_KEY),
}
_DELETE_OPTIONS: _Table = {
    1: ("gracePeriodSeconds", _NUMBER),
    2: ("preconditions", {1: ("uid", _TEXT), 2: ("resourceVersion", _TEXT)}),
    3: ("orphanDependents", _FLAG),
    4: ("propagationPolicy", _TEXT),
    5: ("dryRun", [_TEXT]),
}
_QUANTITY: _Table = {1: ("", _TEXT)}
_TARGET: _Table = {
    1: ("type", _TEXT),
    2: ("value", _QUANTITY),
    3: ("averageValue", _QUANTITY),
    4: ("averageUtilization", _NUMBER),
}
_SCALING: _Table = {
    1: ("scaleTargetRef", {1: ("kind", _TEXT), 2: ("name", _TEXT), 3: ("apiVersion", _TEXT)}),
    2: ("minReplicas", _NUMBER),
    3: ("maxReplicas", _NUMBER),
    4: ("metrics", [{1: ("type", _TEXT), 4: ("resource", {1: ("name", _TEXT), 2: ("target", _TARGET)})}]),
}
_KINDS: dict[tuple[str, str], _Table] = {
    ("v1", "Namespace"): {1: ("metadata", _METADATA)},
    ("v1", "ServiceAccount"): {1: ("metadata", _METADATA)},
    ("v1", "ConfigMap"): {1: ("metadata", _METADATA), 2: ("data", _TEXTS_BY_KEY)},
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {1: ("metadata", _METADATA), 2: ("spec", _SCALING)},
    ("policy/v1", "Eviction"): {1: ("metadata", _METADATA), 2: ("deleteOptions", _DELETE_OPTIONS)},
}


class UnknownKindError(Exception):
    """A kind that is not read from protobuf; the text says which are, and what to do."""


def decoded(body: bytes) -> raw.Object:
    """Return the object in a body. Raises ValueError for what is no protobuf of Kubernetes, and UnknownKindError."""
    if not body.startswith(_MAGIC):
        raise ValueError("it does not begin as Kubernetes' protobuf does")
    envelope = _message(body[len(_MAGIC) :], {1: ("type", {1: ("apiVersion", _TEXT), 2: ("kind", _TEXT)})})
    words = envelope.get("type") or {}
    version, kind = str(words.get("apiVersion", "")), str(words.get("kind", ""))
    # Options go by the group of what is deleted.
    table = _DELETE_OPTIONS if kind == "DeleteOptions" else _KINDS.get((version, kind))
    if table is None:
        known = ", ".join(sorted(name for _version, name in _KINDS))
        raise UnknownKindError(
            f"the embedded cluster reads {version} {kind} as JSON only (from protobuf: {known}): write the object to a "
            "file and use kubectl create -f"
        )
    content = next((value for number, value in _fields(body[len(_MAGIC) :]) if number == 2), b"")
    if not isinstance(content, bytes):
        raise ValueError("its content is not a message")
    return {"apiVersion": version, "kind": kind, **_message(content, table)}


def _message(data: bytes, table: _Table) -> raw.Object:
    """Return a message as JSON has it: texts that are empty and messages without fields are left out."""
    result: raw.Object = {}
    for number, value in _fields(data):
        if number not in table:
            continue
        name, holds = table[number]
        read = _value(value, holds[0] if isinstance(holds, list) else holds)
        if read in ("", {}):
            continue
        if isinstance(holds, list):
            result.setdefault(name, []).append(read)
        elif holds == _TEXTS_BY_KEY:
            result.setdefault(name, {}).update(read)
        else:
            result[name] = read
    return result


def _value(value: int | bytes, holds: str | _Table) -> raw.Json:
    if holds in (_NUMBER, _FLAG):
        if not isinstance(value, int):
            raise ValueError("a text stands where a number is to be")
        # A number below zero is written as if it had 64 bits without a sign.
        signed = value - 2**64 if value >= 2**63 else value
        return bool(value) if holds == _FLAG else signed
    if not isinstance(value, bytes):
        raise ValueError("a number stands where a text is to be")
    if isinstance(holds, str):
        if holds == _TEXT:
            return value.decode()
        entry = _message(value, {1: ("key", _TEXT), 2: ("value", _TEXT)})
        return {entry.get("key", ""): entry.get("value", "")}
    read = _message(value, holds)
    # A Quantity is a message of one text, and a text in JSON.
    return read.get("", "") if holds is _QUANTITY else read


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; raise ValueError where the data ends too early."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, form = tag >> 3, tag & 7
        if form == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if form == _BYTES:
            size, at = _varint(data, at)
        elif form in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if form == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of form {form}")
        if at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place after it."""
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends in the middle of a number")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise ValueError("a number of more than ten bytes")
