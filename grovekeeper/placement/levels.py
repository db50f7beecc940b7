"""Topology levels found on nodes: the labels that clouds, NVIDIA's tools and Kubernetes put there, broadest first."""

from collections.abc import Iterable, Mapping, Sequence

from grovekeeper.api import raw

WELL_KNOWN: Sequence[tuple[str, tuple[str, ...]]] = (
    ("region", ("topology.kubernetes.io/region",)),
    ("zone", ("topology.kubernetes.io/zone", "kubernetes.io/zone")),
    ("datacenter", ("network.topology.nvidia.com/datacenter",)),
    (
        "block",
        (
            "cloud.google.com/gce-topology-block",
            "topology.k8s.aws/network-node-layer-2",
            "network.topology.nvidia.com/spine",
            "cloud.provider.com/topology-block",
            "kubernetes.io/block",
        ),
    ),
    (
        "rack",
        (
            "cloud.google.com/gce-topology-subblock",
            "topology.k8s.aws/network-node-layer-3",
            "network.topology.nvidia.com/block",
            "cloud.provider.com/topology-rack",
            "topology.kubernetes.io/rack",
            "kubernetes.io/rack",
        ),
    ),
    ("nvlinkdomain", ("nvidia.com/gpu.clique", "network.topology.nvidia.com/accelerator")),
    ("host", ("kubernetes.io/hostname",)),
)


def detected(nodes: Iterable[raw.Object]) -> dict[str, str]:
    """Return domain to label key of the levels that most nodes carry and that nest into each other, broadest first.

    A level whose domains cut across those of a broader one is left out: packing into it would mean nothing. O(nodes).
    """
    labels = [node["metadata"].get("labels") or {} for node in nodes]
    result: dict[str, str] = {}
    for domain, keys in WELL_KNOWN:
        counts = {key: sum(1 for entry in labels if key in entry) for key in keys}
        key = max(keys, key=lambda each: counts[each])
        if counts[key] * 2 > len(labels) and all(_nests(labels, outer, key) for outer in result.values()):
            result[domain] = key
    return result


def _nests(labels: Sequence[Mapping[str, str]], outer: str, inner: str) -> bool:
    inside: dict[str, str] = {}
    for entry in labels:
        if outer in entry and inner in entry and inside.setdefault(entry[inner], entry[outer]) != entry[outer]:
            return False
    return True


def binding(name: str, levels: Mapping[str, str]) -> raw.Object:
    """Return a ClusterTopologyBinding with these levels."""
    return {
        "apiVersion": "grove.io/v1alpha1",
        "kind": "ClusterTopologyBinding",
        "metadata": {"name": name},
        "spec": {"levels": [{"domain": domain, "key": key} for domain, key in levels.items()]},
    }
