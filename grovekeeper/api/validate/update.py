"""What may not change in a set that exists (Grove's rules, with indexed paths and the way to do it)."""

from collections.abc import Mapping

from grovekeeper.api import names, raw
from grovekeeper.api.validate import verdict

_T = "spec.template"
# Never "immutable": with `force`, Flux takes that word as leave to delete the set and create it again.
_HOW = "cannot be changed: create a set under another name and delete this one"
_CLIQUE_FIELDS = ("roleName", "minAvailable", "startsAfter")
_GROUP_FIELDS = ("cliqueNames", "minAvailable", "resourceSharing")


def check(found: verdict.Verdict, new: raw.Object, old: raw.Object) -> None:
    """Add a fault for each immutable field that differs."""
    mine = (new.get("spec") or {}).get("template") or {}
    theirs = (old.get("spec") or {}).get("template") or {}
    for field in ("resourceClaimTemplates", "resourceSharing"):
        _same(found, f"{_T}.{field}", mine.get(field), theirs.get(field))
    startup = names.STARTUP_ANY_ORDER
    _same(
        found,
        f"{_T}.cliqueStartupType",
        mine.get("cliqueStartupType") or startup,
        theirs.get("cliqueStartupType") or startup,
    )
    _topology(found, f"{_T}.topologyConstraint", mine, theirs)
    _cliques(found, mine, theirs)
    _groups(found, mine, theirs)


def _cliques(found: verdict.Verdict, mine: raw.Object, theirs: raw.Object) -> None:
    old = {clique["name"]: (position, clique) for position, clique in enumerate(theirs.get("cliques") or ())}
    _composition(found, f"{_T}.cliques", mine.get("cliques") or [], old)
    ordered = mine.get("cliqueStartupType") in (names.STARTUP_IN_ORDER, names.STARTUP_EXPLICIT)
    for position, clique in enumerate(mine.get("cliques") or ()):
        if clique.get("name") not in old:
            continue
        before, previous = old[clique["name"]]
        path = f"{_T}.cliques[{position}]"
        if ordered and before != position:
            found.fault(path, "Forbidden", f"the order of cliques means a startup order and {_HOW}", clique["name"])
        spec, old_spec = clique.get("spec") or {}, previous.get("spec") or {}
        for field in _CLIQUE_FIELDS:
            _same(found, f"{path}.spec.{field}", spec.get(field), old_spec.get(field))
        scheduler = (spec.get("podSpec") or {}).get("schedulerName")
        _same(
            found,
            f"{path}.spec.podSpec.schedulerName",
            scheduler,
            (old_spec.get("podSpec") or {}).get("schedulerName"),
        )
        _same(found, f"{path}.resourceSharing", clique.get("resourceSharing"), previous.get("resourceSharing"))
        _topology(found, f"{path}.topologyConstraint", clique, previous)


def _groups(found: verdict.Verdict, mine: raw.Object, theirs: raw.Object) -> None:
    listed = theirs.get("podCliqueScalingGroups") or ()
    old = {group["name"]: (position, group) for position, group in enumerate(listed)}
    _composition(found, f"{_T}.podCliqueScalingGroups", mine.get("podCliqueScalingGroups") or [], old)
    for position, group in enumerate(mine.get("podCliqueScalingGroups") or ()):
        if group.get("name") not in old:
            continue
        previous = old[group["name"]][1]
        path = f"{_T}.podCliqueScalingGroups[{position}]"
        for field in _GROUP_FIELDS:
            _same(found, f"{path}.{field}", group.get(field), previous.get(field))
        _topology(found, f"{path}.topologyConstraint", group, previous)


def _composition(
    found: verdict.Verdict, path: str, mine: list[raw.Object], old: Mapping[str, tuple[int, raw.Object]]
) -> None:
    names_now = [entry.get("name") for entry in mine]
    for position, name in enumerate(names_now):
        if name not in old:
            found.fault(f"{path}[{position}].name", "Forbidden", f"adding or renaming {_HOW}", name)
    gone = [name for name in old if name not in names_now]
    if gone:
        found.fault(path, "Forbidden", f"removing {', '.join(gone)} {_HOW}")


def _topology(found: verdict.Verdict, path: str, mine: raw.Object, theirs: raw.Object) -> None:
    new, old = mine.get("topologyConstraint"), theirs.get("topologyConstraint")
    if _modern(new) != _modern(old):
        found.fault(path, "Forbidden", f"the topology constraint {_HOW}")


def _modern(constraint: raw.Object | None) -> raw.Object | None:
    """Read packDomain as pack.required: moving from one to the other is no change."""
    if not constraint or "packDomain" not in constraint:
        return constraint
    rest = {key: value for key, value in constraint.items() if key != "packDomain"}
    return {**rest, "pack": {**(constraint.get("pack") or {}), "required": constraint["packDomain"]}}


def _same(found: verdict.Verdict, path: str, new: raw.Json, old: raw.Json) -> None:
    if (new or None) != (old or None):
        found.fault(path, "Forbidden", _HOW, new)
