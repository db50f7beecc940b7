"""Rules of names: every computed child must be a legal hostname, Service or object name, and no two may be equal."""

from collections.abc import Sequence

from grovekeeper.api import names, raw
from grovekeeper.api.validate import syntax, verdict

_HOSTNAME = 63


def check(
    found: verdict.Verdict, obj: raw.Object, clique_list: Sequence[raw.Object], group_list: Sequence[raw.Object]
) -> None:
    """Add faults of the set's own name and of what will be derived from it."""
    name = obj["metadata"].get("name") or ""
    if not syntax.is_label(name) or not name[:1].isalpha():
        text = "must be a DNS label that begins with a letter: it names the headless Services <set>-<i>"
        found.fault("metadata.name", "Invalid", text, name)
    members = {member: group for group in group_list for member in group.get("cliqueNames") or ()}
    for position, clique in enumerate(clique_list):
        path = f"spec.template.cliques[{position}].name"
        _budget(found, path, name, clique.get("name") or "", members.get(clique.get("name")))
        _hostname(found, path, obj, clique, members.get(clique.get("name")))
    _collisions(found, clique_list, group_list, members)


def _budget(found: verdict.Verdict, path: str, set_name: str, clique: str, group: raw.Object | None) -> None:
    group_name = (group or {}).get("name") or ""
    used = len(set_name) + len(clique) + len(group_name)
    if used > names.NAME_BUDGET:
        parts = f"{set_name!r}, {group_name!r} and {clique!r}" if group else f"{set_name!r} and {clique!r}"
        text = f"{parts} have {used} characters together; {names.NAME_BUDGET} are allowed: shorten one of them"
        found.fault(path, "TooLong", text, clique)


def _hostname(found: verdict.Verdict, path: str, obj: raw.Object, clique: raw.Object, group: raw.Object | None) -> None:
    longest = longest_hostname(obj, clique, group)
    if len(longest) > _HOSTNAME:
        text = f"the longest pod hostname would be {longest} ({len(longest)} characters; {_HOSTNAME} are allowed)"
        found.fault(path, "TooLong", f"{text}: shorten the names or the replica counts", clique.get("name"))


def longest_hostname(obj: raw.Object, clique: raw.Object, group: raw.Object | None) -> str:
    """Return the longest hostname that a pod of the clique can get, with the digits of the highest indices."""
    spec = obj.get("spec") or {}
    clique_spec = clique.get("spec") or {}
    parts = [obj["metadata"].get("name") or "", str(max(0, spec.get("replicas", 1) - 1))]
    if group is not None:
        high = max(group.get("replicas", 1), (group.get("scaleConfig") or {}).get("maxReplicas", 0))
        parts += [group.get("name") or "", str(max(0, high - 1))]
    pods = max(clique_spec.get("replicas", 1), (clique_spec.get("autoScalingConfig") or {}).get("maxReplicas", 0))
    return "-".join([*parts, clique.get("name") or "", str(max(0, pods - 1))])


def _collisions(
    found: verdict.Verdict,
    clique_list: Sequence[raw.Object],
    group_list: Sequence[raw.Object],
    members: dict[str, raw.Object],
) -> None:
    """Refuse a standalone clique and a group, or a clique and a group member, that compute to one name (trap 23)."""
    group_names = {group.get("name"): index for index, group in enumerate(group_list)}
    for position, clique in enumerate(clique_list):
        name = clique.get("name") or ""
        path = f"spec.template.cliques[{position}].name"
        if name in members:
            continue
        if name in group_names:
            text = f"a standalone clique and podCliqueScalingGroups[{group_names[name]}] would have objects of one name"
            found.fault(path, "Duplicate", f"{text}: rename one", name)
        for member, group in members.items():
            prefix = f"{group.get('name')}-"
            number, _, rest = name.removeprefix(prefix).partition("-")
            if name.startswith(prefix) and number.isdigit() and rest == member:
                text = f"would have the name of clique {member} in replica {number} of group {group.get('name')}"
                found.fault(path, "Duplicate", f"{text}: rename one", name)
