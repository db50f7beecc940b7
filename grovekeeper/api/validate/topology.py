"""Rules of topology: constraints of a set, and ClusterTopologyBinding objects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grovekeeper.api import names, raw
from grovekeeper.api.validate import verdict

_T = "spec.template"


@dataclass(frozen=True, slots=True)
class Placed:
    """A topologyConstraint with its path, and the path of the one that it inherits from."""

    path: str
    constraint: raw.Object
    parent: "Placed | None"

    def name(self) -> str | None:
        """Return the effective topologyName: its own or inherited."""
        own: str | None = self.constraint.get("topologyName")
        return own or (self.parent.name() if self.parent else None)

    def domain(self, word: str) -> str | None:
        """Return pack.required or pack.preferred, packDomain read as required."""
        pack = self.constraint.get("pack") or {}
        found: str | None = pack.get(word)
        return found or (self.constraint.get("packDomain") if word == "required" else None)


def placed(template: raw.Object) -> Iterator[Placed]:
    """Yield every topologyConstraint of a set: its own, the groups', the cliques'."""
    top = template.get("topologyConstraint")
    root = Placed(f"{_T}.topologyConstraint", top, None) if top else None
    if root:
        yield root
    of_group: dict[str, Placed | None] = {}
    for position, group in enumerate(template.get("podCliqueScalingGroups") or ()):
        own = group.get("topologyConstraint")
        entry = Placed(f"{_T}.podCliqueScalingGroups[{position}].topologyConstraint", own, root) if own else root
        for name in group.get("cliqueNames") or ():
            of_group[name] = entry
        if own and entry:
            yield entry
    for position, clique in enumerate(template.get("cliques") or ()):
        own = clique.get("topologyConstraint")
        if own:
            parent = of_group.get(clique.get("name"), root)
            yield Placed(f"{_T}.cliques[{position}].topologyConstraint", own, parent)


def check_constraints(found: verdict.Verdict, template: raw.Object, context: verdict.Context, *, created: bool) -> None:
    """Add faults of all topology constraints. Bindings that the caller does not know are not judged."""
    entries = list(placed(template))
    used = {entry.name() for entry in entries} - {None}
    for entry in entries:
        if entry.name() is None:
            text = "name a ClusterTopologyBinding here or at a level above"
            found.fault(f"{entry.path}.topologyName", "Required", text)
        elif len(used) > 1 and entry.constraint.get("topologyName"):
            text = f"a set uses one topology; found {', '.join(sorted(str(name) for name in used))}"
            found.fault(f"{entry.path}.topologyName", "Invalid", text, entry.name())
    tied = list(_tied(template))
    for path, domain in tied if not used else ():
        text = "no level is known without a topology: name one in spec.template.topologyConstraint.topologyName"
        found.fault(path, "Invalid", text, domain)
    if created and context.topologies is not None and len(used) == 1:
        name = str(next(iter(used)))
        if name not in context.topologies:
            # Git tools apply a binding and the sets that name it together, in any order, and our cache may be a moment
            # behind: the reconciler says ClusterTopologyNotFound for as long as it is true.
            text = f"{entries[0].path}.topologyName: no ClusterTopologyBinding {name} yet: packing waits for it"
            found.warnings.append(text)
        else:
            _check_domains(found, entries, context.topologies[name], name)
            for path, domain in tied:
                if domain not in context.topologies[name]:
                    text = f"{name} has the domains {', '.join(context.topologies[name])}"
                    found.fault(path, "NotFound", text, domain)


def _tied(template: raw.Object) -> Iterator[tuple[str, str]]:
    """Yield path and domain of every group whose scaled gangs are bound to their base gang's domain."""
    for position, group in enumerate(template.get("podCliqueScalingGroups") or ()):
        if group.get("baseDomain"):
            yield f"{_T}.podCliqueScalingGroups[{position}].baseDomain", group["baseDomain"]


def _check_domains(found: verdict.Verdict, entries: Sequence[Placed], levels: tuple[str, ...], name: str) -> None:
    for entry in entries:
        for word in ("required", "preferred"):
            domain = entry.domain(word)
            if domain and domain not in levels:
                text = f"{name} has the domains {', '.join(levels)}"
                found.fault(f"{entry.path}.pack.{word}", "NotFound", text, domain)
        for position, rule in enumerate(entry.constraint.get("spread") or ()):
            if rule.get("domain") not in levels:
                text = f"{name} has the domains {', '.join(levels)}"
                found.fault(f"{entry.path}.spread[{position}].domain", "NotFound", text, rule.get("domain"))
            elif ".cliques[" in entry.path:
                _check_room_to_spread(found, entry, position, levels)
        _check_hierarchy(found, entry, levels)
        required, preferred = entry.domain("required"), entry.domain("preferred")
        if required in levels and preferred in levels and levels.index(preferred) < levels.index(required):
            found.warnings.append(f"{entry.path}: preferred {preferred} is broader than required {required}: no effect")


def _check_room_to_spread(found: verdict.Verdict, entry: Placed, position: int, levels: tuple[str, ...]) -> None:
    """Add a fault where a clique's pods are to be spread over a level that they are packed into one domain of."""
    above: Placed | None = entry
    domain = (entry.constraint.get("spread") or ())[position]["domain"]
    while above is not None:
        required = above.domain("required")
        if required in levels and levels.index(domain) <= levels.index(required):
            text = f"{above.path} packs the pods into one {required}: spread them over a level that is narrower"
            found.fault(f"{entry.path}.spread[{position}].domain", "Invalid", text, domain)
            return
        above = above.parent


def _check_hierarchy(found: verdict.Verdict, entry: Placed, levels: tuple[str, ...]) -> None:
    parent = entry.parent
    if parent is None:
        return
    for word in ("required", "preferred"):
        mine, theirs = entry.domain(word), parent.domain(word)
        if mine in levels and theirs in levels and levels.index(mine) < levels.index(theirs):
            text = f"{theirs} is narrower than {mine} asked for at {entry.path}: a part cannot be wider than the whole"
            found.fault(f"{parent.path}.pack.{word}", "Invalid", text, theirs)


def check_binding(obj: raw.Object, context: verdict.Context) -> verdict.Verdict:
    """Return the verdict on a ClusterTopologyBinding."""
    found = verdict.Verdict()
    spec = obj.get("spec") or {}
    for field in ("domain", "key"):
        seen: dict[str, int] = {}
        for position, level in enumerate(spec.get("levels") or ()):
            value = level.get(field) or ""
            if value in seen:
                text = f"already used by spec.levels[{seen[value]}]: every level needs its own"
                found.fault(f"spec.levels[{position}].{field}", "Duplicate", text, value)
            seen.setdefault(value, position)
    known: set[str] = set()
    for position, binding in enumerate(spec.get("schedulerTopologyBindings") or ()):
        path = f"spec.schedulerTopologyBindings[{position}].schedulerName"
        scheduler = binding.get("schedulerName") or ""
        if scheduler in known:
            found.fault(path, "Duplicate", "one binding per scheduler", scheduler)
        known.add(scheduler)
        if scheduler != names.SCHEDULER_KAI:
            found.fault(path, "Invalid", f"only {names.SCHEDULER_KAI} has topology objects of its own", scheduler)
        elif scheduler not in context.schedulers:
            found.fault(path, "Invalid", f"not enabled; enabled are {', '.join(context.schedulers)}", scheduler)
    return found
