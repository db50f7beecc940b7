"""Bad input as a value: one FieldError per fault, worded like the API server words its own."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from grovekeeper.api import raw

Reason = Literal[
    "Required", "Invalid", "Forbidden", "Duplicate", "NotFound", "NotSupported", "TooLong", "TooMany", "NotSupportedYet"
]

_WORDS: dict[Reason, str] = {
    "Required": "Required value",
    "Invalid": "Invalid value",
    "Forbidden": "Forbidden",
    "Duplicate": "Duplicate value",
    "NotFound": "Not found",
    "NotSupported": "Unsupported value",
    "TooLong": "Too long",
    "TooMany": "Too many",
    "NotSupportedYet": "Not supported yet",
}
_MAX_VALUE = 120


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one field.

    `path` is written as `spec.template.cliques[2].spec.replicas`; `message` says what is allowed and what to do next.
    `value` is what was found (None where nothing was).
    """

    path: str
    reason: Reason
    message: str
    value: raw.Json = None

    def text(self) -> str:
        """Return `<path>: <Reason words>: <value>: <message>`, the form of a Kubernetes field error."""
        parts = [self.path, _WORDS[self.reason]]
        if self.value is not None:
            parts.append(_shown(self.value))
        if self.message:
            parts.append(self.message)
        return ": ".join(parts)


def joined(errors: Iterable[FieldError]) -> str:
    """Return all errors as one message: alone as it is, several as `[a, b]`."""
    texts = [error.text() for error in errors]
    return texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"


def _shown(value: raw.Json) -> str:
    text = f'"{value}"' if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"
