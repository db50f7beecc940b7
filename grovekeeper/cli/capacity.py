"""Nodes and pods for what-if questions: from files, or from the cluster that a kubeconfig names."""

import collections
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from grovekeeper.api import kubeyaml, names, openapi, raw, structural
from grovekeeper.cli import cluster, ending
from grovekeeper.kube import errors, resources
from grovekeeper.kube.http import HttpClient
from grovekeeper.placement import levels, shape, snapshot
from grovekeeper.reconciler import asks


class CapacityError(ending.UnusableError):
    """Nodes or pods cannot be read; the text says which file or option and what to do."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is."""

    nodes: list[raw.Object]
    pods: list[raw.Object]
    bindings: dict[str, dict[str, str]]
    """Name of a ClusterTopologyBinding to its levels: domain to label key, broadest first."""

    def room(self) -> snapshot.Snapshot:
        """Return the snapshot for the placement engine; raise CapacityError for nodes and pods of odd shapes."""
        result = snapshot.Snapshot()
        for kind, objects, put in (("Node", self.nodes, result.upsert_node), ("Pod", self.pods, result.upsert_pod)):
            for obj in objects:
                try:
                    put(obj)
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise CapacityError(_odd(kind, obj)) from error
        return result

    def without(self, sets: Iterable[raw.Object]) -> "Capacity":
        """Return this without the pods of these sets: they would be placed a second time."""
        asked = {(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in sets}
        return replace(self, pods=[pod for pod in self.pods if _set_of(pod) not in asked])

    def notes(self) -> list[str]:
        """Return what is counted as nothing, since it is no quantity: a what-if must not pass over it in silence."""
        offers = (("Node", node, shape.allocatable, "it offers nothing here") for node in self.nodes)
        asks_ = (("Pod", pod, _requests, "it counts as a pod that asks for nothing") for pod in self.pods)
        found = []
        for kind, obj, read, means in (*offers, *asks_):
            try:
                read(obj)
            except ValueError as error:
                found.append(f"{kind} {obj['metadata']['name']}: {error}; {means}")
        return found

    def levels_of(self, name: str | None) -> dict[str, str]:
        """Return the levels of a binding; of the labels that are found where there is no such binding."""
        return self.bindings.get(name or "") or levels.detected(self.nodes)

    def within(self, domain: str | None, levels_: Mapping[str, str], held: Iterable[str]) -> asks.Within | None:
        """Return what binds a scaled gang to the domain of its base gang, which is on the nodes `held`."""
        key = levels_.get(domain or "")
        if key is None:
            return None
        there = {*held}
        labels = (node["metadata"].get("labels") or {} for node in self.nodes if node["metadata"]["name"] in there)
        return key, tuple(sorted({found[key] for found in labels if key in found}))

    def main_levels(self) -> dict[str, str]:
        """Return the levels that say most of this cluster: of the binding whose labels nodes carry most, else detected.

        A question about the cluster as a whole names no binding, and of several some may be of other clusters' labels.
        """
        count = collections.Counter(key for node in self.nodes for key in node["metadata"].get("labels") or ())
        worth = {name: sum(count[key] for key in found.values()) for name, found in self.bindings.items()}
        best = max(sorted(worth), key=worth.__getitem__, default="")
        return self.levels_of(best if worth.get(best) else None)

    def keys_of(self, domain: str) -> list[str]:
        """Return the label keys by which the bindings and the nodes know a level's name, of those that nodes carry."""
        carried = {key for node in self.nodes for key in node["metadata"].get("labels") or ()}
        known = [*self.bindings.values(), self.main_levels()]
        return sorted({found[domain] for found in known if domain in found} & carried)


def _set_of(pod: raw.Object) -> tuple[str, str] | None:
    """Return namespace and name of the set that a pod is of; None for a pod that is not ours."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY:
        return None
    return metadata.get("namespace", "default"), labels.get(names.LABEL_PART_OF, "")


def offered(node: raw.Object) -> shape.Requests:
    """Return what a node offers, as the snapshot counts it: nothing where a quantity is none."""
    try:
        return shape.allocatable(node)
    except ValueError:
        return {}


def asked(pod: raw.Object) -> shape.Requests:
    """Return what a pod asks for, as the snapshot counts it: nothing where a quantity is none."""
    try:
        return _requests(pod)
    except ValueError:
        return {}


def _requests(pod: raw.Object) -> shape.Requests:
    return shape.requests(pod["spec"])


def check_sources(nodes: Path | None, pods: Path | None, kubeconfig: Path | None) -> None:
    """Raise CapacityError for options of which one would do nothing."""
    if nodes and kubeconfig:
        raise CapacityError("--nodes and --kubeconfig name two clusters: give one of them")
    if pods and not nodes:
        raise CapacityError("--pods needs --nodes: give both, or neither to ask the cluster")


def from_files(nodes: Path, pods: Path | None) -> Capacity:
    """Read `kubectl get nodes -o json` (or YAML), and pods alike. Raises CapacityError."""
    found = _items(nodes, "Node")
    if not found:
        raise CapacityError(f"{nodes}: there is no Node in it: write it with `kubectl get nodes -o json`")
    for node in found:
        # A file written by hand need not say that nodes are well.
        node["status"] = {"conditions": [{"type": "Ready", "status": "True"}], **(node.get("status") or {})}
    listed = _items(pods, "Pod") if pods else []
    for pod in listed:
        metadata = pod["metadata"]
        metadata.setdefault("uid", f"{metadata.get('namespace', 'default')}/{metadata['name']}")
    return Capacity(found, listed, {})


def _odd(kind: str, obj: raw.Object) -> str:
    """Return what is wrong with an object that the snapshot could not take."""
    fault = next(structural.faults(obj, openapi.structural(f"io.k8s.api.core.v1.{kind}")), None)
    why = fault.text() if fault else "its shape is not that of Kubernetes"
    return f"{kind} {obj['metadata']['name']}: {why}: write it with `kubectl get {kind.lower()}s -o json`"


async def from_cluster(kubeconfig: Path | None) -> Capacity:
    """Read a cluster. Raises errors.KubeError."""
    async with cluster.connected(kubeconfig) as client:
        return await _listed(client)


async def with_sets(kubeconfig: Path | None) -> tuple[Capacity, list[raw.Object]]:
    """Read a cluster and its sets. Raises errors.KubeError."""
    async with cluster.connected(kubeconfig) as client:
        room = await _listed(client)
        found = [item for kind in resources.SETS.values() for item in (await client.list(kind)).items]
    return room, found


async def _listed(client: HttpClient) -> Capacity:
    nodes = (await client.list(resources.NODES)).items
    pods = (await client.list(resources.PODS)).items
    try:
        listed = (await client.list(resources.TOPOLOGY_BINDINGS)).items
    except errors.NotServed:
        # What-if is asked before anything is installed, too: labels are found without bindings.
        listed = []
    return Capacity(nodes, pods, bindings(listed))


def bindings(objects: Iterable[raw.Object]) -> dict[str, dict[str, str]]:
    """Return levels by name of ClusterTopologyBinding objects."""
    return {obj["metadata"]["name"]: asks.levels_of(obj) for obj in objects}


def _items(path: Path, kind: str) -> list[raw.Object]:
    try:
        text = path.read_text(encoding="utf-8")
        documents = [json.loads(text)] if text.lstrip()[:1] == "{" else _documents(text)
    except (OSError, ValueError) as error:
        why = _why(error)
        raise CapacityError(
            f"{path}: cannot be read ({why}): write it with `kubectl get {kind.lower()}s -o json`"
        ) from error
    listed = [each.get("items", [each]) if isinstance(each, dict) else [each] for each in documents]
    found = [item for items in listed for item in (items if isinstance(items, list) else [items])]
    return [item for item in found if _is_one(item, kind, path)]


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    strerror: str | None = getattr(error, "strerror", None)
    return strerror.lower() if strerror else " ".join(str(error).split())


def _is_one(item: raw.Json, kind: str, path: Path) -> bool:
    """Return whether an item is of the kind; raise CapacityError for one without a name or with parts of odd shapes."""
    if not isinstance(item, dict) or item.get("kind", kind) != kind:
        return False
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    parts = [item.get(part) or {} for part in ("spec", "status")] + [metadata]
    if not isinstance(name, str) or not all(isinstance(part, dict) for part in parts):
        text = f"a {kind} needs metadata.name, and spec and status must be mappings"
        raise CapacityError(f"{path}: {text}: write it with `kubectl get {kind.lower()}s -o json`")
    why = _misread(item, kind)
    if why:
        raise CapacityError(f"{path}: {kind} {name}: {why}: write it with `kubectl get {kind.lower()}s -o json`")
    return True


def _misread(item: raw.Object, kind: str) -> str:
    """Return what is wrong with the parts of an object that are read long after it; empty where nothing is.

    Labels without a value count as none.
    """
    metadata = item["metadata"]
    metadata["labels"] = labels = metadata.get("labels") or {}
    if not isinstance(labels, dict):
        return "metadata.labels must be a mapping"
    odd = next((f"{key}: {value}" for key, value in labels.items() if not isinstance(value, str)), "")
    if odd:
        return f"metadata.labels: {odd} must be text: put the value in quotes"
    if kind != "Node":
        return ""
    read = {
        "spec": {"taints": (item.get("spec") or {}).get("taints") or []},
        "status": {"conditions": (item.get("status") or {}).get("conditions") or []},
    }
    fault = next(structural.faults(read, openapi.structural("io.k8s.api.core.v1.Node")), None)
    return fault.text() if fault else ""


def _documents(text: str) -> list[raw.Json]:
    found, faults = kubeyaml.documents(text)
    if faults:
        raise ValueError(f"line {faults[0].place[0]}: {faults[0].message}")
    return [each for parsed in found for each in (parsed.value if isinstance(parsed.value, list) else [parsed.value])]
