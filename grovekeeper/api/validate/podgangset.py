"""Validation of PodGangSet and PodCliqueSet: a new and an old object in, a verdict out.

Source of the rules: Grove's admission, with its faults put right (indexed paths; names that work as hostnames and
Services; collisions; empty cliques; cycles named as a path). An update that leaves spec and NVLink annotations as
they were (with a warning where the set would not be accepted any more), or of an object that is being deleted, is
always allowed.
"""

from collections import Counter
from collections.abc import Sequence

from grovekeeper.api import duration, names, raw
from grovekeeper.api.validate import (
    cliques,
    groups,
    naming,
    nvlink,
    schedulers,
    sharing,
    startup,
    strategy,
    syntax,
    topology,
    unsupported,
    update,
    verdict,
)

_T = "spec.template"


def validate(new: raw.Object, old: raw.Object | None, context: verdict.Context) -> verdict.Verdict:
    """Return faults and warnings of a create (`old` is None) or an update."""
    if old is None:
        return _judged(new, None, context)
    if new["metadata"].get("deletionTimestamp"):
        return verdict.Verdict()
    if new.get("spec") == old.get("spec"):
        # What was let in once stays in, else its labels and finalizers could not be changed; it is only said.
        stale = _judged(new, None, context, stored=True)
        found = verdict.Verdict(warnings=[f"not accepted today: {error.text()}" for error in stale.errors])
        nvlink.check_update(found, new, old)
        return found
    return _judged(new, old, context)


def _judged(
    new: raw.Object, old: raw.Object | None, context: verdict.Context, *, stored: bool = False
) -> verdict.Verdict:
    found = verdict.Verdict()
    spec = new.get("spec") or {}
    template = spec.get("template") or {}
    listed = template.get("cliques") or []
    if not listed:
        found.fault(f"{_T}.cliques", "Required", "a set needs at least one clique: add one with a name and a podSpec")
        return found
    _budget(found, new)
    _replicas(found, spec)
    strategy.check(found, spec)
    _delay(found, template)
    group_list = template.get("podCliqueScalingGroups") or []
    members = {name for group in group_list for name in group.get("cliqueNames") or ()}
    for position, clique in enumerate(listed):
        cliques.check(found, f"{_T}.cliques[{position}]", clique, in_group=clique.get("name") in members)
    _unique(found, f"{_T}.cliques", "name", [clique.get("name") for clique in listed])
    _unique_roles(found, listed)
    groups.check(found, f"{_T}.podCliqueScalingGroups", group_list, listed)
    startup.check(found, template)
    naming.check(found, new, listed, group_list)
    topology.check_constraints(found, template, context, created=old is None and not stored)
    sharing.check(found, template)
    unsupported.check(found, new)
    schedulers.check(found, new, old, context)
    nvlink.check(found, new, context, created=old is None)
    if old is not None:
        update.check(found, new, old)
        nvlink.check_update(found, new, old)
    return found


def _budget(found: verdict.Verdict, obj: raw.Object) -> None:
    told = (obj["metadata"].get("annotations") or {}).get(names.ANNOTATION_BUDGET)
    if told not in (None, "on", "off"):
        text = 'must be "on" or "off": whether its PodCliques get PodDisruptionBudgets'
        found.fault(f"metadata.annotations[{names.ANNOTATION_BUDGET}]", "NotSupported", text, told)


def _replicas(found: verdict.Verdict, spec: raw.Object) -> None:
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        found.fault("spec.replicas", "Invalid", "must be 0 or more", replicas)


def _delay(found: verdict.Verdict, template: raw.Object) -> None:
    delays = [(f"{_T}.terminationDelay", template.get("terminationDelay"))]
    delays += [
        (f"{_T}.podCliqueScalingGroups[{position}].terminationDelay", group.get("terminationDelay"))
        for position, group in enumerate(template.get("podCliqueScalingGroups") or ())
    ]
    for path, text in delays:
        if text is None:
            continue
        try:
            if duration.seconds(text) > 0:
                continue
            found.fault(path, "Invalid", "must be above 0; to switch it off set gangTermination: Disabled", text)
        except ValueError as error:
            found.fault(path, "Invalid", str(error), text)


def _unique(found: verdict.Verdict, path: str, field: str, values: Sequence[raw.Json]) -> None:
    first: dict[raw.Json, int] = {}
    for position, value in enumerate(values):
        if value in first and value is not None:
            found.fault(f"{path}[{position}].{field}", "Duplicate", f"already used by {path}[{first[value]}]", value)
        first.setdefault(value, position)


def _unique_roles(found: verdict.Verdict, listed: Sequence[raw.Object]) -> None:
    """Roles are unique where they are given; cliques without one do not collide (Grove: trap 4)."""
    roles = [(clique.get("spec") or {}).get("roleName") or None for clique in listed]
    if any(count > 1 for role, count in Counter(roles).items() if role):
        _unique(found, f"{_T}.cliques", "spec.roleName", roles)


def metadata(found: verdict.Verdict, obj: raw.Object) -> None:
    """Check namespace, labels and annotations of the set: only the command line needs to, the API server does it."""
    namespace = obj["metadata"].get("namespace")
    if namespace is not None and not syntax.is_label(namespace):
        found.fault("metadata.namespace", "Invalid", "must be a DNS label of a-z, 0-9 and '-'", namespace)
    syntax.check_labels(found, "metadata.labels", obj["metadata"].get("labels"))
    syntax.check_annotations(found, "metadata.annotations", obj["metadata"].get("annotations"))


KINDS = tuple(names.DIALECTS)
