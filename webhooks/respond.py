"""Answers to admission requests. A denial is allowed: false inside HTTP 200; its message is for a person."""

from base64 import b64encode
from collections.abc import Sequence

import orjson

from grovekeeper.api import errors, raw

_MAX_MESSAGE = 4000
_MAX_WARNING = 120
_MAX_WARNINGS = 4000
_HEAD = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":'
_DIRECTION = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Marks, embeddings, overrides and isolates that change the order in which a text is shown."""
_CONTROL = dict.fromkeys((*range(32), *range(127, 160), *_DIRECTION, 0x2028, 0x2029), " ")


class Denial(bytes):
    """The encoded answer of a refusal: told from an admission without decoding it again."""


def allowed(uid: str, warnings: Sequence[str] = ()) -> bytes:
    """Return an admission, with warnings for the user where there are any."""
    if not warnings:
        return _HEAD + orjson.dumps(uid) + b',"allowed":true}}'
    return _answer({"uid": uid, "allowed": True, "warnings": _warnings(warnings)})


def patched(uid: str, operations: list[raw.PatchOp]) -> bytes:
    """Return an admission with a patch; without operations there is no patch at all (no second pass for others)."""
    if not operations:
        return allowed(uid)
    encoded = b64encode(orjson.dumps(operations))
    return _HEAD + orjson.dumps(uid) + b',"allowed":true,"patchType":"JSONPatch","patch":"' + encoded + b'"}}'


def denied(
    uid: str, message: str, warnings: Sequence[str] = (), *, code: int = 403, reason: str = "Forbidden"
) -> Denial:
    """Return a denial with a reason that a person can act on."""
    status: raw.Object = {"code": code, "reason": reason, "message": sanitised(message)[:_MAX_MESSAGE]}
    answer: raw.Object = {"uid": uid, "allowed": False, "status": status}
    if warnings:
        answer["warnings"] = _warnings(warnings)
    return Denial(_answer(answer))


def refused(uid: str, faults: Sequence[errors.FieldError], warnings: Sequence[str] = ()) -> Denial:
    """Return a denial for faults of fields. 403, never 422: see docs/decisions/0009-denials.md."""
    status: raw.Object = {
        "code": 403,
        "reason": "Forbidden",
        "message": sanitised(errors.joined(faults))[:_MAX_MESSAGE],
        "details": {
            "causes": [
                {
                    "field": sanitised(fault.path),
                    "reason": f"FieldValue{fault.reason}",
                    "message": sanitised(fault.text()),
                }
                for fault in faults[:50]
            ]
        },
    }
    answer: raw.Object = {"uid": uid, "allowed": False, "status": status}
    if warnings:
        answer["warnings"] = _warnings(warnings)
    return Denial(_answer(answer))


def sanitised(text: str) -> str:
    """Return the text without control characters and direction overrides: it ends up in headers and terminals."""
    return text.translate(_CONTROL)


def _warnings(warnings: Sequence[str]) -> list[str]:
    result: list[str] = []
    room = _MAX_WARNINGS
    for text in warnings:
        short = sanitised(text)
        short = short if len(short) <= _MAX_WARNING else short[: _MAX_WARNING - 1] + "…"
        room -= len(short)
        if room < 0:
            break
        result.append(short)
    return result


def _answer(response: raw.Object) -> bytes:
    return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
