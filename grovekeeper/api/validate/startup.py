"""Rules of the startup order."""

from collections.abc import Mapping, Sequence

from grovekeeper.api import names, raw
from grovekeeper.api.validate import verdict

_PATH = "spec.template.cliques"


def check(found: verdict.Verdict, template: raw.Object) -> None:
    """Add the faults of startsAfter; it is read only where the startup type is Explicit."""
    listed = template.get("cliques") or []
    explicit = template.get("cliqueStartupType") == names.STARTUP_EXPLICIT
    after = {clique.get("name"): list((clique.get("spec") or {}).get("startsAfter") or ()) for clique in listed}
    if not explicit:
        if any(after.values()):
            found.warnings.append(
                f"startsAfter has no effect: set cliqueStartupType: {names.STARTUP_EXPLICIT} for it to be honoured"
            )
        return
    for position, clique in enumerate(listed):
        _entries(found, f"{_PATH}[{position}].spec.startsAfter", clique.get("name") or "", after)
    cycle = find_cycle(after)
    if cycle:
        text = "cliques wait for each other in a circle: remove one of the dependencies"
        found.fault(_PATH, "Invalid", text, " -> ".join(cycle))


def _entries(found: verdict.Verdict, path: str, name: str, after: Mapping[str, Sequence[str]]) -> None:
    seen: set[str] = set()
    for index, parent in enumerate(after[name]):
        if not parent:
            found.fault(f"{path}[{index}]", "Required", "name a clique")
        elif parent == name:
            found.fault(f"{path}[{index}]", "Invalid", "a clique cannot wait for itself: remove the entry", parent)
        elif parent not in after:
            found.fault(f"{path}[{index}]", "NotFound", f"no such clique; there are {', '.join(after)}", parent)
        if parent in seen:
            found.fault(f"{path}[{index}]", "Duplicate", "listed before", parent)
        seen.add(parent)


def find_cycle(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one cycle of two or more names as a path that ends where it began, or an empty list. O(edges)."""
    state: dict[str, int] = {}
    for start in after:
        path: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, position = stack.pop()
            if position == 0:
                if state.get(name) == 2:
                    continue
                state[name] = 1
                path.append(name)
            parents = [parent for parent in after.get(name, ()) if parent in after and parent != name]
            if position < len(parents):
                stack.append((name, position + 1))
                parent = parents[position]
                if state.get(parent) == 1:
                    return [*path[path.index(parent) :], parent]
                if state.get(parent) is None:
                    stack.append((parent, 0))
            else:
                state[name] = 2
                path.pop()
    return []
