"""Fields that the schema has and nothing acts upon yet: refused with a word, not ignored."""

from collections.abc import Iterator

from grovekeeper.api import raw
from grovekeeper.api.validate import verdict


def check(found: verdict.Verdict, obj: raw.Object) -> None:
    """Add a fault for everything asked for that would silently not happen."""
    for path, text, value in _asked(obj):
        found.fault(path, "NotSupportedYet", text, value)


def _asked(obj: raw.Object) -> Iterator[tuple[str, str, raw.Json]]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    if template.get("schedulingPolicyConfig"):
        yield "spec.template.schedulingPolicyConfig", "remove it; use topologyConstraint.pack on groups", None
