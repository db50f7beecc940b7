"""Syntax of names, labels and environment variables (Kubernetes API conventions)."""

import re
from collections.abc import Mapping

from grovekeeper.api.validate import verdict

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_ENV = re.compile(r"[^=\x00-\x1f\x7f]+")
MOST_ANNOTATIONS = 262_144
"""Bytes that Kubernetes allows for all annotations of an object, keys and values."""
_FREE_ANNOTATIONS = MOST_ANNOTATIONS - 32_768
"""Less what Grovekeeper and other webhooks add to a pod."""


def is_label(text: str) -> bool:
    """Return whether the text is a DNS-1123 label: usable as part of a hostname."""
    return len(text) <= 63 and bool(_LABEL.fullmatch(text))


def is_subdomain(text: str) -> bool:
    """Return whether the text is a DNS-1123 subdomain: the name of most Kubernetes objects."""
    return len(text) <= 253 and all(_LABEL.fullmatch(part) for part in text.split("."))


def is_env_name(text: str) -> bool:
    """Return whether the text can name an environment variable: printable, without `=`."""
    return bool(_ENV.fullmatch(text))


def check_labels(found: verdict.Verdict, path: str, labels: Mapping[str, object] | None) -> None:
    """Add faults of a label map."""
    for key, value in (labels or {}).items():
        if not _is_key(key):
            found.fault(
                f"{path}[{key}]", "Invalid", "a label key is [prefix/]name of letters, digits, '-', '_', '.'", key
            )
        text = str(value)
        if len(text) > 63 or (text and not _QUALIFIED.fullmatch(text)):
            found.fault(
                f"{path}[{key}]", "Invalid", "a label value has at most 63 letters, digits, '-', '_', '.'", text
            )


def annotation_bytes(annotations: Mapping[str, object]) -> int:
    """Return what annotations count for against MOST_ANNOTATIONS."""
    return sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())


def check_annotations(found: verdict.Verdict, path: str, annotations: Mapping[str, object] | None) -> None:
    """Add faults of an annotation map."""
    for key in annotations or {}:
        if not _is_key(key.lower()):
            found.fault(f"{path}[{key}]", "Invalid", "an annotation key is [prefix/]name like a label key", key)
    size = annotation_bytes(annotations or {})
    if size > _FREE_ANNOTATIONS:
        found.fault(
            path, "TooLong", f"annotations have {size} bytes together; {_FREE_ANNOTATIONS} are allowed: shorten them"
        )


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not is_subdomain(prefix):
        return False
    return len(name) <= 63 and bool(_QUALIFIED.fullmatch(name))
