"""PodDisruptionBudgets: one a PodClique, so that evictions never take a gang below its minimum."""

from grovekeeper.api import names, raw
from grovekeeper.expand import labels, model


def wanted(w: model.Workload, *, default: bool) -> bool:
    """Return whether the set's PodCliques are to have budgets: as its annotation says, or else the default."""
    told = (w.raw["metadata"].get("annotations") or {}).get(names.ANNOTATION_BUDGET)
    return {"on": True, "off": False}.get(str(told), default)


def budget(w: model.Workload, clique: raw.Object) -> raw.Object:
    """Return the budget of a PodClique, named like it and going with it.

    A minimum of pods and no percentage: how many replicas there are does not matter. Pods that are not ready may be
    evicted at any time: they hold up no drain.
    """
    name: str = clique["metadata"]["name"]
    marks = labels.managed(w, name, f"{w.dialect.component_prefix}-disruption-budget")
    mine = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_PODCLIQUE: name}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": labels.metadata(name, w.namespace, {**marks, names.LABEL_PODCLIQUE: name}, clique),
        "spec": {
            "minAvailable": clique["spec"].get("minAvailable") or 0,
            "selector": {"matchLabels": mine},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
