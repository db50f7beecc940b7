"""Fields that the schema has and nothing acts upon yet: refused with a word, not ignored."""

from collections.abc import Iterator

from grovekeeper.api import raw
from grovekeeper.api.validate import verdict


def check(found: verdict.Verdict, obj: raw.Object, context: verdict.Context) -> None:
    """Add a fault for everything asked for that would silently not happen."""
    for path, text, value in _asked(obj, context):
        found.fault(path, "NotSupportedYet", text, value)


def _asked(obj: raw.Object, context: verdict.Context) -> Iterator[tuple[str, str, raw.Json]]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    if template.get("schedulingPolicyConfig"):
        yield "spec.template.schedulingPolicyConfig", "remove it; use topologyConstraint.pack on groups", None
    yield from _levels(template, context)


def _levels(template: raw.Object, context: verdict.Context) -> Iterator[tuple[str, str, raw.Json]]:
    levels = [("spec.template", template)]
    levels += [(f"spec.template.cliques[{i}]", c) for i, c in enumerate(template.get("cliques") or ())]
    groups = template.get("podCliqueScalingGroups") or ()
    levels += [(f"spec.template.podCliqueScalingGroups[{i}]", g) for i, g in enumerate(groups)]
    for path, level in levels:
        scheduler = ((level.get("spec") or {}).get("podSpec") or {}).get("schedulerName")
        if scheduler and scheduler not in context.schedulers:
            text = f"use one of {', '.join(context.schedulers)} or leave it out"
            yield f"{path}.spec.podSpec.schedulerName", text, scheduler
