"""The caches of a process: which kinds are watched, what of them, and by what they are looked up."""

from collections.abc import Iterable
from dataclasses import dataclass

from grovekeeper.api import names, raw
from grovekeeper.kube import resources, store

MANAGED = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"


@dataclass(slots=True)
class Stores:
    """The caches, by kind."""

    sets: store.Store
    clique_sets: store.Store
    cliques: store.Store
    groups: store.Store
    gangs: store.Store
    pods: store.Store
    nodes: store.Store
    services: store.Store
    service_accounts: store.Store
    roles: store.Store
    role_bindings: store.Store
    hpas: store.Store
    topologies: store.Store
    revisions: store.Store
    claims: store.Store
    claim_templates: store.Store
    domains: store.Store
    budgets: store.Store

    def of(self, resource: resources.Resource) -> store.Store:
        """Return the cache of a kind."""
        found: store.Store = getattr(self, FIELDS[resource.plural])
        return found


FIELDS = {
    "podgangsets": "sets",
    "podcliquesets": "clique_sets",
    "podcliques": "cliques",
    "podcliquescalinggroups": "groups",
    "podgangs": "gangs",
    "pods": "pods",
    "nodes": "nodes",
    "services": "services",
    "serviceaccounts": "service_accounts",
    "roles": "roles",
    "rolebindings": "role_bindings",
    "horizontalpodautoscalers": "hpas",
    "clustertopologybindings": "topologies",
    "controllerrevisions": "revisions",
    "resourceclaims": "claims",
    "resourceclaimtemplates": "claim_templates",
    "computedomains": "domains",
    "poddisruptionbudgets": "budgets",
}
WATCHED = {
    "podgangsets": (resources.PODGANGSETS, ""),
    "podcliquesets": (resources.PODCLIQUESETS, ""),
    "podcliques": (resources.PODCLIQUES, ""),
    "podcliquescalinggroups": (resources.SCALINGGROUPS, ""),
    "podgangs": (resources.PODGANGS, ""),
    "pods": (resources.PODS, ""),
    "nodes": (resources.NODES, ""),
    "services": (resources.SERVICES, MANAGED),
    "serviceaccounts": (resources.SERVICE_ACCOUNTS, MANAGED),
    "roles": (resources.ROLES, MANAGED),
    "rolebindings": (resources.ROLE_BINDINGS, MANAGED),
    "horizontalpodautoscalers": (resources.HPAS, MANAGED),
    "clustertopologybindings": (resources.TOPOLOGY_BINDINGS, ""),
    "controllerrevisions": (resources.CONTROLLER_REVISIONS, MANAGED),
    "resourceclaims": (resources.RESOURCE_CLAIMS, MANAGED),
    "resourceclaimtemplates": (resources.RESOURCE_CLAIM_TEMPLATES, ""),
    "computedomains": (resources.COMPUTE_DOMAINS, MANAGED),
    # Of everybody: pods that somebody else's budget selects get none of ours.
    "poddisruptionbudgets": (resources.PDBS, ""),
}
OPTIONAL = frozenset({"resourceclaims", "resourceclaimtemplates", "computedomains"})
"""Kinds that a cluster may lack: watched where discovery shows them, empty caches elsewhere."""


def label_index(*labels: str) -> store.Index:
    """Return an index by `namespace/value` of any of these labels."""

    def values(obj: raw.Object) -> Iterable[str]:
        metadata = obj["metadata"]
        found = metadata.get("labels") or {}
        return [f"{metadata.get('namespace', '')}/{found[label]}" for label in labels if label in found]

    return values


def replica_index(obj: raw.Object) -> Iterable[str]:
    """Index by `namespace/set/replica index`."""
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    part_of = labels.get(names.LABEL_PART_OF)
    index = next((labels[key] for key in names.REPLICA_INDEX_LABELS if key in labels), None)
    return [f"{metadata.get('namespace', '')}/{part_of}/{index}"] if part_of and index is not None else []


def owner_index(obj: raw.Object) -> Iterable[str]:
    """Index by the UID of the controlling owner."""
    return [ref["uid"] for ref in obj["metadata"].get("ownerReferences") or () if ref.get("controller")]


def node_index(obj: raw.Object) -> Iterable[str]:
    """Index pods by their node."""
    node = obj["spec"].get("nodeName")
    return [node] if node else []


def claim_index(pod: raw.Object) -> Iterable[str]:
    """Index pods by `namespace/claim` of each ResourceClaim that they name, and `namespace/template/name`."""
    namespace = pod["metadata"].get("namespace", "")
    found = []
    for entry in pod["spec"].get("resourceClaims") or ():
        if "resourceClaimName" in entry:
            found.append(f"{namespace}/{entry['resourceClaimName']}")
        elif "resourceClaimTemplateName" in entry:
            found.append(f"{namespace}/template/{entry['resourceClaimTemplateName']}")
    return found


def template_index(obj: raw.Object) -> Iterable[str]:
    """Index sets by `namespace/name` of each ResourceClaimTemplate object that they may refer to."""
    template = (obj.get("spec") or {}).get("template") or {}
    levels = [template, *(template.get("podCliqueScalingGroups") or ()), *(template.get("cliques") or ())]
    own = {entry["name"] for entry in template.get("resourceClaimTemplates") or ()}
    namespace = obj["metadata"].get("namespace", "")
    shared = [entry for level in levels for entry in level.get("resourceSharing") or ()]
    return {f"{entry.get('namespace') or namespace}/{entry['name']}" for entry in shared if entry["name"] not in own}


def namespace_index(obj: raw.Object) -> Iterable[str]:
    """Index by namespace."""
    return [obj["metadata"].get("namespace", "")]


INDEXES: dict[str, dict[str, store.Index]] = {
    "podgangsets": {"template": template_index},
    "podcliquesets": {"template": template_index},
    "podcliques": {
        "owner": owner_index,
        "replica": replica_index,
        "set": label_index(names.LABEL_PART_OF),
        "group": label_index(names.LABEL_SCALINGGROUP),
        "gang": label_index(names.LABEL_PODGANG),
    },
    "podcliquescalinggroups": {
        "owner": owner_index,
        "replica": replica_index,
        "set": label_index(names.LABEL_PART_OF),
    },
    "podgangs": {"replica": replica_index, "set": label_index(names.LABEL_PART_OF)},
    "pods": {
        "owner": owner_index,
        "clique": label_index(names.LABEL_PODCLIQUE),
        "gang": label_index(names.LABEL_PODGANG),
        "node": node_index,
        "claim": claim_index,
    },
    "services": {"replica": replica_index, "set": label_index(names.LABEL_PART_OF)},
    "horizontalpodautoscalers": {"replica": replica_index, "set": label_index(names.LABEL_PART_OF)},
    "controllerrevisions": {"owner": owner_index, "set": label_index(names.LABEL_PART_OF)},
    "resourceclaims": {
        "owner": owner_index,
        "set": label_index(names.LABEL_PART_OF),
        "group": label_index(names.LABEL_SCALINGGROUP),
        "clique": label_index(names.LABEL_PODCLIQUE),
    },
    "computedomains": {"owner": owner_index, "set": label_index(names.LABEL_PART_OF)},
    "poddisruptionbudgets": {"namespace": namespace_index},
}
