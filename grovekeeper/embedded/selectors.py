"""Label and field selectors, as query strings and as objects."""

import re
from collections.abc import Callable, Mapping

from grovekeeper.api import raw

_SET = re.compile(r"^\s*([^\s!=]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")


def by_query(labels: str, fields: str) -> Callable[[raw.Object], bool]:
    """Return a test for the labelSelector and fieldSelector of a request."""
    tests = [_label_test(part) for part in re.split(r",(?![^(]*\))", labels) if part]
    wanted = [part.partition("!=") if "!=" in part else part.partition("=") for part in fields.split(",") if part]

    def matches(obj: raw.Object) -> bool:
        found = obj["metadata"].get("labels") or {}
        if not all(test(found) for test in tests):
            return False
        return all((_field(obj, path) == value.lstrip("=")) == (sign == "=") for path, sign, value in wanted)

    return matches


def matches_labels(selector: raw.Object, labels: Mapping[str, str]) -> bool:
    """Return whether labels match a LabelSelector object."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for entry in selector.get("matchExpressions") or ():
        found, operator = labels.get(entry["key"]), entry["operator"]
        values = entry.get("values") or ()
        ok = {
            "In": found in values,
            "NotIn": found not in values,
            "Exists": found is not None,
            "DoesNotExist": found is None,
        }[operator]
        if not ok:
            return False
    return True


def _label_test(part: str) -> Callable[[Mapping[str, str]], bool]:
    found = _SET.match(part)
    if found:
        key, operator, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        return (
            (lambda labels: labels.get(key) in values)
            if operator == "in"
            else (lambda labels: labels.get(key) not in values)
        )
    text = part.strip()
    if "!=" in text:
        name, _, value = text.partition("!=")
        return lambda labels: labels.get(name) != value
    if "=" in text:
        name, _, value = text.replace("==", "=").partition("=")
        return lambda labels: labels.get(name) == value
    if text.startswith("!"):
        return lambda labels: text[1:] not in labels
    return lambda labels: text in labels


def _field(obj: raw.Object, path: str) -> str:
    value: raw.Json = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
