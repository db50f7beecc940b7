"""metav1.Condition lists: one entry per type, lastTransitionTime moves only with the status."""

from collections.abc import Sequence

from grovekeeper.api import raw


def find(conditions: Sequence[raw.Object] | None, type_: str) -> raw.Object | None:
    """Return the condition of this type, or None."""
    return next((condition for condition in conditions or () if condition.get("type") == type_), None)


def is_true(obj: raw.Object, type_: str) -> bool:
    """Return whether the object's status has this condition with status True."""
    found = find((obj.get("status") or {}).get("conditions"), type_)
    return found is not None and found.get("status") == "True"


def condition(type_: str, status: bool | None, reason: str, message: str, now: str) -> raw.Object:
    """Return a condition; None means Unknown; `now` is RFC 3339."""
    word = "Unknown" if status is None else "True" if status else "False"
    return {"type": type_, "status": word, "reason": reason, "message": message, "lastTransitionTime": now}


def merged(old: Sequence[raw.Object] | None, new: Sequence[raw.Object], drop: Sequence[str] = ()) -> list[raw.Object]:
    """Return `old` with `new` in place: order kept, transition times kept where the status did not change."""
    result = {entry["type"]: entry for entry in old or () if entry["type"] not in drop}
    for entry in new:
        known = result.get(entry["type"])
        kept = known is not None and known["status"] == entry["status"]
        result[entry["type"]] = (
            {**entry, "lastTransitionTime": known["lastTransitionTime"]} if known and kept else entry
        )
    return list(result.values())
