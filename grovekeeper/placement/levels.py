"""Topology levels: found on nodes (the labels that clouds, NVIDIA's tools and Kubernetes put there), and judged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

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


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the levels of a binding mean something on the nodes that there are; Kubernetes' reason and a sentence."""

    usable: bool
    reason: str
    text: str


def judgement(name: str, bindings: Mapping[str, Mapping[str, str]], nodes: Iterable[raw.Object]) -> Judgement:
    """Return a judgement on one of these bindings, each a domain to its label key, broadest first.

    A contradiction is said of both bindings. Nodes that lack a label are allowed: they are in no domain of that level.
    O(bindings x levels^2 + levels x nodes).
    """
    labels = [node["metadata"].get("labels") or {} for node in nodes]
    mine = bindings[name]
    for other in sorted(bindings.keys() - {name}):
        text = _contradiction(mine, bindings[other])
        if text:
            return Judgement(False, "ContradictsBinding", f"{other} {text}: keep one order, or one of the bindings")
    counts = {domain: sum(1 for entry in labels if key in entry) for domain, key in mine.items()}
    missing = [f"{domain} ({mine[domain]})" for domain, count in counts.items() if not count]
    if missing:
        text = f"no node has the label of {', '.join(missing)}: label the nodes, or take the level out"
        return Judgement(False, "LabelMissing", text)
    for (outer, outer_key), (inner, inner_key) in pairwise(mine.items()):
        found = _split(labels, outer_key, inner_key)
        if found is None:
            continue
        value, places = found
        if _split(labels, inner_key, outer_key) is None:
            text = f"{outer} comes before {inner} and is the narrower of the two: put {inner} first"
            return Judgement(False, "LevelsOutOfOrder", text)
        text = (
            f"{inner} {value} is in {outer} {places[0]} and in {outer} {places[1]}: give each {inner} a name of its own"
        )
        return Judgement(False, "LevelsCutAcross", text)
    lacking = [f"{len(labels) - n} of {len(labels)} nodes are in no {domain}" for domain, n in counts.items()]
    lacking = [text for text in lacking if not text.startswith("0 ")]
    return Judgement(True, "LevelsUsable", "; ".join(lacking) or f"all {len(labels)} nodes have a place in every level")


def _contradiction(mine: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Return how two bindings contradict each other: the same two labels in opposite order."""
    position = {key: number for number, key in enumerate(theirs.values())}
    shared = [key for key in mine.values() if key in position]
    for outer, inner in combinations(shared, 2):
        if position[outer] > position[inner]:
            return f"has {inner} before {outer}, which is the other way round here"
    return ""


def _nests(labels: Sequence[Mapping[str, str]], outer: str, inner: str) -> bool:
    return _split(labels, outer, inner) is None


def _split(labels: Sequence[Mapping[str, str]], outer: str, inner: str) -> tuple[str, tuple[str, str]] | None:
    """Return an inner domain that is in two outer ones, and those; None where there is none."""
    inside: dict[str, str] = {}
    for entry in labels:
        if outer in entry and inner in entry and inside.setdefault(entry[inner], entry[outer]) != entry[outer]:
            return entry[inner], (inside[entry[inner]], entry[outer])
    return None


def binding(name: str, levels: Mapping[str, str]) -> raw.Object:
    """Return a ClusterTopologyBinding with these levels."""
    return {
        "apiVersion": "grove.io/v1alpha1",
        "kind": "ClusterTopologyBinding",
        "metadata": {"name": name},
        "spec": {"levels": [{"domain": domain, "key": key} for domain, key in levels.items()]},
    }
