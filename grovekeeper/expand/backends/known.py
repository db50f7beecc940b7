"""The back ends by name, and how a PodGroup that exists is brought in line without touching what is not ours."""

import json
from collections.abc import Mapping

from grovekeeper.api import names, patch, raw
from grovekeeper.expand import gangs, labels, model, plan, revision
from grovekeeper.expand.backends import backend, kai, upstream, volcano

BACKENDS = {found.name: found for found in (kai.KAI, volcano.VOLCANO, upstream.UPSTREAM)}
"""Without our own placement, which needs no PodGroup."""
_OURS = ("grove.io/", "grovekeeper.io/")


def of(w: model.Workload) -> backend.Backend | None:
    """Return the back end that a set's gangs are handed over to; None for our own placement (or an unknown name)."""
    return BACKENDS.get(w.scheduler)


def gang_annotations(found: backend.Backend, w: model.Workload, levels: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations of a PodGang that is handed over: the set's own, so that the scheduler can read them."""
    mine = labels.passed_on(w.raw["metadata"].get("annotations") or {})
    mirrored = {key: value for key, value in mine.items() if not key.startswith(_OURS)}
    return {**mirrored, **dict(found.gang_annotations), **gangs.topology_annotation(w, levels)}


def group(found: backend.Backend, w: model.Workload, podgang: raw.Object, topology: str | None = None) -> raw.Object:
    """Return the PodGroup to create for a PodGang, with the mark of what was wanted."""
    result = found.group(w, podgang, topology)
    annotations = {**(result["metadata"].get("annotations") or {}), names.ANNOTATION_HANDED_OVER: _mark(result)}
    result["metadata"]["annotations"] = dict(sorted(annotations.items()))
    return result


def operations(found: backend.Backend, live: raw.Object, desired: raw.Object) -> list[raw.PatchOp]:
    """Return what brings a living PodGroup in line; empty where it is.

    The mark tells that something wanted has changed (also that it is gone), the comparison that somebody else has
    changed what is ours. Defaults that the server filled in are neither.
    """
    spec, labels = _merged(found, live, desired)
    annotations = desired["metadata"]["annotations"]
    old = live["metadata"]
    pruned = {found.needed} if is_pruned(found, live, desired) else set()
    compared = {key: spec[key] for key in found.owned if key in spec and key not in pruned}
    same = not plan.differs(compared, live["spec"]) and not plan.differs(labels, old.get("labels") or {})
    if same and not plan.differs(annotations, old.get("annotations") or {}):
        return []
    return [
        patch.replace("/metadata/resourceVersion", old["resourceVersion"]),
        patch.add("/metadata/labels", labels),
        patch.add("/metadata/annotations", {**(old.get("annotations") or {}), **annotations}),
        patch.replace("/spec", spec),
    ]


def is_pruned(found: backend.Backend, live: raw.Object, desired: raw.Object) -> bool:
    """Return whether the server dropped a field that the gang's promise needs: the kind is older than it."""
    return bool(found.needed and desired["spec"].get(found.needed) and not live["spec"].get(found.needed))


def _merged(found: backend.Backend, live: raw.Object, desired: raw.Object) -> tuple[raw.Object, dict[str, str]]:
    kept = {key: live["spec"][key] for key in found.kept if live["spec"].get(key)}
    theirs = {key: value for key, value in live["spec"].items() if key not in found.owned}
    mine = {key: value for key, value in desired["spec"].items() if key in found.owned}
    old = live["metadata"].get("labels") or {}
    kept_labels = {key: old[key] for key in found.kept_labels if key in old}
    return {**theirs, **mine, **kept}, {**old, **desired["metadata"]["labels"], **kept_labels}


def _mark(desired: raw.Object) -> str:
    return revision.short(json.dumps(desired["spec"], sort_keys=True), 10)
