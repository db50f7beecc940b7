"""Fields that the schema has and nothing acts upon yet: refused with a word, not ignored."""

from collections.abc import Iterator

from grovekeeper.api import names, raw
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
    for field in ("resourceClaimTemplates", "resourceSharing"):
        if template.get(field):
            yield f"spec.template.{field}", "remove it; give the pods claims of their own in podSpec", None
    yield from _levels(template, context)
    for key in (names.ANNOTATION_MNNVL_GROUP, names.ANNOTATION_AUTO_MNNVL):
        value = (obj["metadata"].get("annotations") or {}).get(key)
        if value not in (None, "none", "disabled", "false"):
            yield f"metadata.annotations[{key}]", "remove it", value


def _levels(template: raw.Object, context: verdict.Context) -> Iterator[tuple[str, str, raw.Json]]:
    levels = [("spec.template", template)]
    levels += [(f"spec.template.cliques[{i}]", c) for i, c in enumerate(template.get("cliques") or ())]
    groups = template.get("podCliqueScalingGroups") or ()
    levels += [(f"spec.template.podCliqueScalingGroups[{i}]", g) for i, g in enumerate(groups)]
    for path, level in levels:
        if path != "spec.template" and level.get("resourceSharing"):
            yield f"{path}.resourceSharing", "remove it; give the pods claims of their own in podSpec", None
        group = (level.get("annotations") or {}).get(names.ANNOTATION_MNNVL_GROUP)
        if group not in (None, "none"):
            yield f"{path}.annotations[{names.ANNOTATION_MNNVL_GROUP}]", "remove it", group
        scheduler = ((level.get("spec") or {}).get("podSpec") or {}).get("schedulerName")
        if scheduler and scheduler not in context.schedulers:
            text = f"use one of {', '.join(context.schedulers)} or leave it out"
            yield f"{path}.spec.podSpec.schedulerName", text, scheduler
