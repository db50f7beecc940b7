"""What objects say of themselves: a status comes after its object, and a condition after its status.

Whoever waits for a word reads it here, so that what has not been said yet is waited for, and is no KeyError.
"""

from typing import Any

Object = dict[str, Any]


def of(obj: Object) -> Object:
    """Return the status of an object; empty where it has none yet."""
    return obj.get("status") or {}


def condition(obj: Object, type_: str) -> Object:
    """Return a condition of an object; empty where it has none of this type yet."""
    return next((entry for entry in of(obj).get("conditions") or () if entry["type"] == type_), {})


def verdict(obj: Object, type_: str) -> tuple[str, str]:
    """Return status and reason of a condition; empty words where there is none yet."""
    found = condition(obj, type_)
    return str(found.get("status", "")), str(found.get("reason", ""))


def message(obj: Object, type_: str) -> str:
    """Return the message of a condition; nothing where there is none yet."""
    return str(condition(obj, type_).get("message", ""))


def is_true(obj: Object, type_: str) -> bool:
    return bool(condition(obj, type_).get("status") == "True")


def is_observed(obj: Object) -> bool:
    """Return whether the status has caught up with the newest spec."""
    return bool(of(obj).get("observedGeneration") == obj["metadata"]["generation"])
