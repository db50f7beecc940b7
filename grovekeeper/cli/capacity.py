"""Nodes and pods for what-if questions: from files, or from the cluster that a kubeconfig names."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grovekeeper.api import kubeyaml, raw
from grovekeeper.kube import errors, http, resources
from grovekeeper.placement import levels, snapshot
from grovekeeper.reconciler import asks


class CapacityError(Exception):
    """Nodes or pods cannot be read; the text says which file and what to do."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is."""

    nodes: list[raw.Object]
    pods: list[raw.Object]
    bindings: dict[str, dict[str, str]]
    """Name of a ClusterTopologyBinding to its levels: domain to label key, broadest first."""

    def room(self) -> snapshot.Snapshot:
        """Return the snapshot for the placement engine."""
        result = snapshot.Snapshot()
        for node in self.nodes:
            result.upsert_node(node)
        for pod in self.pods:
            result.upsert_pod(pod)
        return result

    def levels_of(self, name: str | None) -> dict[str, str]:
        """Return the levels of a binding; of the labels that are found where there is no such binding."""
        return self.bindings.get(name or "") or levels.detected(self.nodes)


def from_files(nodes: Path, pods: Path | None) -> Capacity:
    """Read `kubectl get nodes -o json` (or YAML), and pods alike. Raises CapacityError."""
    found = _items(nodes, "Node")
    if not found:
        raise CapacityError(f"{nodes}: there is no Node in it: write it with `kubectl get nodes -o json`")
    for node in found:
        # A file written by hand need not say that nodes are well.
        node.setdefault("status", {}).setdefault("conditions", [{"type": "Ready", "status": "True"}])
    return Capacity(found, _items(pods, "Pod") if pods else [], {})


async def from_cluster(kubeconfig: Path | None) -> Capacity:
    """Read a cluster. Raises errors.KubeError."""
    client = http.HttpClient(await http.credentials(kubeconfig), "cli")
    try:
        nodes = (await client.list(resources.NODES)).items
        pods = (await client.list(resources.PODS)).items
        try:
            listed = (await client.list(resources.TOPOLOGY_BINDINGS)).items
        except errors.NotServed:
            # What-if is asked before anything is installed, too: labels are found without bindings.
            listed = []
    finally:
        await client.close()
    return Capacity(nodes, pods, bindings(listed))


async def with_sets(kubeconfig: Path | None) -> tuple[Capacity, list[raw.Object]]:
    """Read a cluster and its sets. Raises errors.KubeError."""
    room = await from_cluster(kubeconfig)
    client = http.HttpClient(await http.credentials(kubeconfig), "cli")
    try:
        kinds = (resources.PODGANGSETS, resources.PODCLIQUESETS)
        found = [item for kind in kinds for item in (await client.list(kind)).items]
    finally:
        await client.close()
    return room, found


def bindings(objects: Iterable[raw.Object]) -> dict[str, dict[str, str]]:
    """Return levels by name of ClusterTopologyBinding objects."""
    return {obj["metadata"]["name"]: asks.levels_of(obj) for obj in objects}


def _items(path: Path, kind: str) -> list[raw.Object]:
    try:
        text = path.read_text(encoding="utf-8")
        documents = [json.loads(text)] if text.lstrip()[:1] == "{" else _documents(text)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise CapacityError(
            f"{path}: cannot be read ({why}): write it with `kubectl get {kind.lower()}s -o json`"
        ) from error
    found = [item for each in documents if isinstance(each, dict) for item in each.get("items") or [each]]
    return [item for item in found if isinstance(item, dict) and item.get("kind", kind) == kind and "metadata" in item]


def _documents(text: str) -> list[raw.Json]:
    found, faults = kubeyaml.documents(text)
    if faults:
        raise ValueError(f"line {faults[0].place[0]}: {faults[0].message}")
    return [each for parsed in found for each in (parsed.value if isinstance(parsed.value, list) else [parsed.value])]
