"""What every reconciler works with: the client, the caches, the queues, the clock."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from grovekeeper.api import names, raw
from grovekeeper.expand import model, parse
from grovekeeper.kube import events, informer, resources
from grovekeeper.kube.http import HttpClient
from grovekeeper.reconciler import arrivals, keys, kinds
from grovekeeper.runtime import queue
from grovekeeper.runtime.clock import Clock
from grovekeeper.runtime.settings import Settings

MANAGED = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconcile wants next: to be run again after so many seconds, or nothing."""

    requeue_after: float | None = None


class Permanent(Exception):
    """Trouble that trying again cannot mend; logged once, woken by the next event."""


@dataclass(slots=True)
class Stores:
    """The caches, by kind."""

    sets: informer.Store
    clique_sets: informer.Store
    cliques: informer.Store
    groups: informer.Store
    gangs: informer.Store
    pods: informer.Store
    nodes: informer.Store
    services: informer.Store
    service_accounts: informer.Store
    roles: informer.Store
    role_bindings: informer.Store
    hpas: informer.Store
    topologies: informer.Store
    revisions: informer.Store
    claims: informer.Store
    claim_templates: informer.Store
    domains: informer.Store
    budgets: informer.Store

    def of(self, resource: resources.Resource) -> informer.Store:
        """Return the cache of a kind."""
        found: informer.Store = getattr(self, FIELDS[resource.plural])
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
SET_RESOURCES = {names.PODGANGSET: resources.PODGANGSETS, names.PODCLIQUESET: resources.PODCLIQUESETS}
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


def label_index(*labels: str) -> informer.Index:
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


INDEXES: dict[str, dict[str, informer.Index]] = {
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


@dataclass(slots=True)
class Context:
    """Everything that a reconciler may use."""

    client: HttpClient
    stores: Stores
    work: queue.Queue
    placement: queue.Queue
    clock: Clock
    events: events.Recorder
    settings: Settings
    foreign: kinds.Caches = field(default_factory=kinds.Caches)
    """Caches of the kinds of other schedulers."""
    written: dict[str, float] = field(default_factory=dict)
    """Time (seconds) of this process's last status write, by UID: what is coming up is not written at every step."""
    pending: dict[str, tuple[raw.Object, float]] = field(default_factory=dict)
    """What was not written yet, and since when it has been the same, by UID."""
    coming: arrivals.Arrivals = field(default_factory=arrivals.Arrivals)
    tokens: dict[str, float] = field(default_factory=dict)
    """Time (seconds) at which a set's token Secret was last created or found there, by UID of the set."""
    cordoned: dict[str, float] = field(default_factory=dict)
    """Time (seconds) at which a cordoned node was first seen so, by name."""
    _workloads: dict[str, tuple[str, model.Workload]] = field(default_factory=dict)

    def workload(self, obj: raw.Object) -> model.Workload:
        """Return the parsed set; parsed once per resourceVersion of its spec."""
        metadata = obj["metadata"]
        mark = f"{metadata.get('generation')}/{metadata.get('resourceVersion')}"
        known = self._workloads.get(metadata["uid"])
        if known is not None and known[0] == mark:
            return known[1]
        workload = parse.workload(obj)
        if len(self._workloads) > 5000:
            self._workloads.clear()
        self._workloads[metadata["uid"]] = (mark, workload)
        return workload

    def find_set(self, kind: str, namespace: str, name: str) -> raw.Object | None:
        """Return a set from the cache."""
        return self.stores.of(SET_RESOURCES[kind]).get(namespace, name)

    def set_of(self, obj: raw.Object) -> raw.Object | None:
        """Return the living set that a child belongs to, by its labels; None while it is gone or going."""
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        part_of = labels.get(names.LABEL_PART_OF)
        if part_of is None:
            return None
        for dialect in names.DIALECTS.values():
            if dialect.label_replica_index in labels:
                found = self.find_set(dialect.kind, metadata["namespace"], part_of)
                if found is not None and not found["metadata"].get("deletionTimestamp"):
                    return found
        return None

    async def enqueue(self, *wanted: str, delay: float = 0.0) -> None:
        """Put keys in the queue that their kind belongs to."""
        mine = [queue.Addition(key, delay) for key in wanted if not _is_placement(key)]
        theirs = [queue.Addition(key, delay) for key in wanted if _is_placement(key)]
        await self.work.add(mine)
        await self.placement.add(theirs)


Reconcile = Callable[[Context, keys.Key], Awaitable[Result]]


def _is_placement(key: str) -> bool:
    return key == keys.ROOM or key.startswith("gang:")
