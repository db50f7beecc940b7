"""Who waits for whom: the parents of a clique, by fully qualified name, inside its own gang."""

from grovekeeper.api import names
from grovekeeper.expand import model, naming


def parents(
    w: model.Workload, index: int, template: model.CliqueTemplate, group: model.GroupTemplate | None, group_index: int
) -> dict[str, int]:
    """Return parent PodClique FQN to the number of pods that must be ready there.

    In the base gang a parent inside a scaling group stands for all group replicas below minAvailable; in a scaled gang
    only parents of the same group replica count, since the base gang has been scheduled before.
    """
    scaled = group is not None and group_index >= group.min_available
    result: dict[str, int] = {}
    for parent in _parent_templates(w, template, group if scaled else None):
        parent_group = w.group_of(parent.name)
        if scaled and group is not None:
            if parent_group is group:
                fqn = naming.member(naming.group(w.name, index, group.name), group_index, parent.name)
                result[fqn] = parent.min_available
        elif parent_group is None:
            result[naming.clique(w.name, index, parent.name)] = parent.min_available
        else:
            group_fqn = naming.group(w.name, index, parent_group.name)
            for j in range(parent_group.min_available):
                result[naming.member(group_fqn, j, parent.name)] = parent.min_available
    return result


def _parent_templates(
    w: model.Workload, template: model.CliqueTemplate, scaled_group: model.GroupTemplate | None
) -> list[model.CliqueTemplate]:
    if w.startup == names.STARTUP_EXPLICIT:
        return [w.clique(name) for name in template.starts_after]
    if w.startup != names.STARTUP_IN_ORDER:
        return []
    before = w.cliques[: template.position]
    if scaled_group is not None:
        # Grove looks only at the previous entry of the list and finds no parent when that one is outside the group.
        before = tuple(entry for entry in before if entry.name in scaled_group.clique_names)
    return list(before[-1:])
