"""Rules of the scaling groups."""

from collections.abc import Sequence

from grovekeeper.api import raw
from grovekeeper.api.validate import cliques, syntax, verdict


def check(found: verdict.Verdict, path: str, listed: Sequence[raw.Object], clique_list: Sequence[raw.Object]) -> None:
    """Add the faults of spec.template.podCliqueScalingGroups."""
    known = [clique.get("name") for clique in clique_list]
    names_seen: dict[str, int] = {}
    owner: dict[str, str] = {}
    for position, group in enumerate(listed):
        place = f"{path}[{position}]"
        name = group.get("name") or ""
        if not syntax.is_label(name):
            found.fault(f"{place}.name", "Invalid", "must be a DNS-1123 label: it becomes part of hostnames", name)
        if name in names_seen:
            found.fault(f"{place}.name", "Duplicate", f"already used by {path}[{names_seen[name]}]", name)
        names_seen.setdefault(name, position)
        _members(found, place, group, known, owner)
        _counts(found, place, group)


def _members(
    found: verdict.Verdict, place: str, group: raw.Object, known: Sequence[raw.Json], owner: dict[str, str]
) -> None:
    members = group.get("cliqueNames") or []
    if not members:
        found.fault(f"{place}.cliqueNames", "Required", "name the cliques that are scaled together")
    for index, member in enumerate(members):
        path = f"{place}.cliqueNames[{index}]"
        if member not in known:
            found.fault(path, "NotFound", f"no such clique; there are {', '.join(map(str, known))}", member)
        if member in owner:
            found.fault(
                path, "Duplicate", f"the clique is in group {owner[member]} already; one group is the limit", member
            )
        owner.setdefault(member, group.get("name") or "")


def _counts(found: verdict.Verdict, place: str, group: raw.Object) -> None:
    replicas = group.get("replicas", 1)
    minimum = group.get("minAvailable", 1)
    if replicas <= 0:
        text = "must be above 0; to run none, scale the PodCliqueScalingGroup to 0 instead"
        found.fault(f"{place}.replicas", "Invalid", text, replicas)
    if minimum <= 0:
        found.fault(f"{place}.minAvailable", "Invalid", "must be above 0", minimum)
    elif minimum > replicas > 0:
        text = f"must not be above replicas ({replicas}): lower it or raise replicas"
        found.fault(f"{place}.minAvailable", "Invalid", text, minimum)
    if group.get("scaleConfig") is not None:
        cliques.check_scale(found, f"{place}.scaleConfig", group["scaleConfig"], replicas, minimum)
