"""Rules of resourceClaimTemplates and of resourceSharing at its three levels (Grove's 4 to 12, with indexed paths)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grovekeeper.api import names, raw
from grovekeeper.api.validate import syntax, verdict

_T = "spec.template"
_SCOPES = (names.SCOPE_ALL_REPLICAS, names.SCOPE_PER_REPLICA)
_SUBDOMAIN = "must be a DNS-1123 subdomain: it becomes part of the names of ResourceClaims"


@dataclass(frozen=True, slots=True)
class _Level:
    """One resourceSharing list, and what its filters may name; None where they may not name such children."""

    path: str
    entries: Sequence[raw.Object]
    cliques: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None


def check(found: verdict.Verdict, template: raw.Object) -> None:
    """Add the faults of everything that is about shared claims."""
    own = _templates(found, template.get("resourceClaimTemplates") or ())
    for level in _levels(template):
        seen: dict[str, int] = {}
        for position, entry in enumerate(level.entries):
            path = f"{level.path}[{position}]"
            name = entry.get("name") or ""
            _name(found, path, name)
            if name in seen:
                text = f"already shared by {level.path}[{seen[name]}]: a template is shared once at each level"
                found.fault(f"{path}.name", "Duplicate", text, name)
            seen.setdefault(name, position)
            _entry(found, path, entry, own)
            if entry.get("filter") is not None:
                _filter(found, f"{path}.filter", entry["filter"], level)


def _templates(found: verdict.Verdict, listed: Sequence[raw.Object]) -> set[str]:
    path = f"{_T}.resourceClaimTemplates"
    seen: dict[str, int] = {}
    for position, entry in enumerate(listed):
        name = entry.get("name") or ""
        _name(found, f"{path}[{position}]", name)
        if name in seen:
            found.fault(f"{path}[{position}].name", "Duplicate", f"already used by {path}[{seen[name]}]", name)
        seen.setdefault(name, position)
        spec = (entry.get("templateSpec") or {}).get("spec") or {}
        if not (spec.get("devices") or {}).get("requests"):
            where = f"{path}[{position}].templateSpec.spec.devices.requests"
            found.fault(where, "Required", "a claim needs at least one device request: name a device class")
    return set(seen)


def _levels(template: raw.Object) -> Iterator[_Level]:
    cliques = template.get("cliques") or ()
    groups = template.get("podCliqueScalingGroups") or ()
    clique_names = tuple(clique.get("name") or "" for clique in cliques)
    group_names = tuple(group.get("name") or "" for group in groups)
    yield _Level(f"{_T}.resourceSharing", template.get("resourceSharing") or (), clique_names, group_names)
    for position, group in enumerate(groups):
        path = f"{_T}.podCliqueScalingGroups[{position}].resourceSharing"
        yield _Level(path, group.get("resourceSharing") or (), tuple(group.get("cliqueNames") or ()))
    for position, clique in enumerate(cliques):
        yield _Level(f"{_T}.cliques[{position}].resourceSharing", clique.get("resourceSharing") or ())


def _name(found: verdict.Verdict, path: str, name: str) -> None:
    if not name:
        found.fault(f"{path}.name", "Required", "name the claim template")
    elif not syntax.is_subdomain(name):
        found.fault(f"{path}.name", "Invalid", _SUBDOMAIN, name)


def _entry(found: verdict.Verdict, path: str, entry: raw.Object, own: set[str]) -> None:
    namespace = entry.get("namespace")
    if namespace and entry.get("name") in own:
        text = "the name is one of resourceClaimTemplates, which has no namespace: remove it, or use another name"
        found.fault(f"{path}.namespace", "Invalid", text, namespace)
    elif namespace and not syntax.is_label(namespace):
        found.fault(f"{path}.namespace", "Invalid", "must be the name of a namespace", namespace)
    scope = entry.get("scope")
    if scope not in _SCOPES:
        found.fault(f"{path}.scope", "NotSupported", f"use one of {', '.join(_SCOPES)}", scope)


def _filter(found: verdict.Verdict, path: str, chosen: raw.Object, level: _Level) -> None:
    if level.cliques is None:
        text = "a clique has no children to choose from: remove the filter, or share at the group or the set"
        found.fault(path, "Forbidden", text)
        return
    cliques, groups = chosen.get("childCliqueNames") or (), chosen.get("childScalingGroupNames") or ()
    if groups and level.groups is None:
        text = "the children of a scaling group are cliques: use childCliqueNames"
        found.fault(f"{path}.childScalingGroupNames", "Forbidden", text)
    elif not cliques and not groups:
        text = "an empty filter would share with nobody: name children, or remove the filter to share with all"
        found.fault(path, "Required", text)
    for field, named, known in (
        ("childCliqueNames", cliques, level.cliques),
        ("childScalingGroupNames", groups, level.groups),
    ):
        for position, name in enumerate(named if known is not None else ()):
            if name not in (known or ()):
                text = f"no such child; there are {', '.join(known or ()) or 'none'}"
                found.fault(f"{path}.{field}[{position}]", "NotFound", text, name)
