"""What stands beside a set replica's cliques: the headless Service and the HorizontalPodAutoscalers."""

from grovekeeper.api import names, raw
from grovekeeper.expand import labels, model, naming


def service(w: model.Workload, index: int) -> raw.Object:
    """Return the headless Service of a set replica: it gives the pods their DNS names."""
    name = naming.replica(w.name, index)
    replica_index = {w.dialect.label_replica_index: str(index)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labels.metadata(
            name,
            w.namespace,
            {**labels.managed(w, name, f"{w.dialect.component_prefix}-headless-service"), **replica_index},
            w.raw,
        ),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": w.publish_not_ready,
            "selector": {
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_PART_OF: w.name,
                **replica_index,
            },
        },
    }


def autoscalers(w: model.Workload, index: int) -> list[raw.Object]:
    """Return one HorizontalPodAutoscaler per standalone clique and scaling group that has a scale configuration."""
    result = [
        _autoscaler(w, index, names.PODCLIQUE, naming.clique(w.name, index, clique.name), clique.scale, clique.replicas)
        for clique in w.standalone()
        if clique.scale
    ]
    for group in w.groups:
        if group.scale:
            fqn = naming.group(w.name, index, group.name)
            result.append(_autoscaler(w, index, names.SCALINGGROUP, fqn, group.scale, group.replicas))
    return result


def _autoscaler(w: model.Workload, index: int, kind: str, target: str, scale: raw.Object, replicas: int) -> raw.Object:
    spec: raw.Object = {
        "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": kind, "name": target},
        "minReplicas": scale.get("minReplicas") or replicas,
        "maxReplicas": scale["maxReplicas"],
    }
    if scale.get("metrics"):
        spec["metrics"] = scale["metrics"]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": labels.metadata(
            target,
            w.namespace,
            {
                **labels.managed(w, target, f"{w.dialect.component_prefix}-hpa"),
                w.dialect.label_replica_index: str(index),
            },
            w.raw,
        ),
        "spec": spec,
    }
