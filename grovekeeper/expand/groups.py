"""PodCliqueScalingGroup objects and the PodCliques of a living group."""

from grovekeeper.api import names, raw
from grovekeeper.expand import cliques, labels, model, naming, nvlink


def group(w: model.Workload, index: int, template: model.GroupTemplate, replicas: int | None = None) -> raw.Object:
    """Return the PodCliqueScalingGroup `<set>-<i>-<group>`; `replicas` overrides the template's."""
    fqn = naming.group(w.name, index, template.name)
    marks = {
        **labels.managed(w, fqn, f"{w.dialect.component_prefix}-podcliquescalinggroup"),
        w.dialect.label_replica_index: str(index),
    }
    annotations = nvlink.inherited(w, labels.passed_on(dict(template.annotations)))
    annotations[names.ANNOTATION_TEMPLATE_REPLICAS] = str(template.replicas)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.SCALINGGROUP,
        "metadata": labels.metadata(fqn, w.namespace, marks, w.raw, annotations),
        "spec": {
            "replicas": template.replicas if replicas is None else replicas,
            "minAvailable": template.min_available,
            "cliqueNames": list(template.clique_names),
        },
    }


def effective_replicas(replicas: int, min_available: int) -> int:
    """Return how many group replicas to run: 0 is an intended idle state, less than minAvailable is lifted."""
    return replicas if replicas == 0 else max(replicas, min_available)


def members(
    w: model.Workload, index: int, template: model.GroupTemplate, owner: raw.Object, group_index: int
) -> list[raw.Object]:
    """Return the PodCliques of one replica of a living group, in the order of cliqueNames."""
    return [cliques.member(w, index, template, group_index, w.clique(name), owner) for name in template.clique_names]
