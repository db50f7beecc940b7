"""Rules of the multi-node NVLink annotations at their three levels. Only a create is judged; nothing may change."""

from collections.abc import Iterator, Mapping

from grovekeeper.api import names, nvlink, raw
from grovekeeper.api.validate import syntax, verdict

_GROUP, _BOOLEAN = names.ANNOTATION_MNNVL_GROUP, names.ANNOTATION_AUTO_MNNVL
_HOW = "cannot be changed: pods that run cannot join or leave an NVLink domain; create a set under another name"


def check(found: verdict.Verdict, obj: raw.Object, context: verdict.Context, *, created: bool) -> None:
    """Add the faults of all annotations, and of a pod's claim that would be in the way of ours."""
    if not created:
        return
    asks = False
    for path, level in _levels(obj):
        annotations = level.get("annotations") or {}
        _boolean(found, path, annotations)
        group = annotations.get(_GROUP)
        where = f"{path}.annotations[{_GROUP}]"
        if group is not None and not syntax.is_label(group):
            text = f"must be a DNS-1123 label that names the group, or {nvlink.OPT_OUT}"
            found.fault(where, "Invalid", text, group)
        wanted = nvlink.asked(annotations)
        if wanted in (None, nvlink.OPT_OUT):
            continue
        asks = True
        if context.no_nvlink is not None:
            key = _GROUP if group is not None else _BOOLEAN
            found.fault(f"{path}.annotations[{key}]", "Forbidden", context.no_nvlink, annotations[key])
    if asks:
        _claims(found, obj)


def check_update(found: verdict.Verdict, new: raw.Object, old: raw.Object) -> None:
    """Add a fault for each level whose group differs. Levels are matched by clique and group name."""
    before = {_title(path, level): nvlink.asked(level.get("annotations")) for path, level in _levels(old)}
    for path, level in _levels(new):
        title = _title(path, level)
        mine = nvlink.asked(level.get("annotations"))
        if title in before and mine != before[title]:
            key = _BOOLEAN if _BOOLEAN in {**(level.get("annotations") or {})} else _GROUP
            was = "absent" if before[title] is None else before[title]
            found.fault(f"{path}.annotations[{key}]", "Forbidden", f"{_HOW} (it was {was})", mine)


def _levels(obj: raw.Object) -> Iterator[tuple[str, raw.Object]]:
    template = (obj.get("spec") or {}).get("template") or {}
    yield "metadata", obj["metadata"]
    for field in ("podCliqueScalingGroups", "cliques"):
        for position, level in enumerate(template.get(field) or ()):
            yield f"spec.template.{field}[{position}]", level


def _title(path: str, level: raw.Object) -> tuple[str, str]:
    kind = path.partition("[")[0]
    return kind, "" if kind == "metadata" else str(level.get("name"))


def _boolean(found: verdict.Verdict, path: str, annotations: Mapping[str, str]) -> None:
    value = annotations.get(_BOOLEAN)
    if value is None:
        return
    where = f"{path}.annotations[{_BOOLEAN}]"
    if path != "metadata":
        text = f"is read on the set only: use {_GROUP} here"
        found.fault(where, "Forbidden", text, value)
    elif value not in nvlink.BOOLEAN:
        found.fault(where, "NotSupported", f"use one of {', '.join(nvlink.BOOLEAN)}, or {_GROUP}", value)
    elif _GROUP in annotations:
        found.fault(where, "Forbidden", f"{_GROUP} is there as well: give only that one", value)


def _claims(found: verdict.Verdict, obj: raw.Object) -> None:
    template = (obj.get("spec") or {}).get("template") or {}
    for index, clique in enumerate(template.get("cliques") or ()):
        spec = (clique.get("spec") or {}).get("podSpec") or {}
        for position, entry in enumerate(spec.get("resourceClaims") or ()):
            if entry.get("name") == names.MNNVL_CLAIM:
                path = f"spec.template.cliques[{index}].spec.podSpec.resourceClaims[{position}].name"
                found.fault(path, "Forbidden", "this name is the NVLink claim's: rename the claim", entry["name"])
