"""`grovekeeper tree`: a set with its gangs, cliques and pods."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.tree import Tree

from grovekeeper.api import conditions, names, raw
from grovekeeper.cli import cluster
from grovekeeper.expand import plan
from grovekeeper.kube import resources


@click.command(name="tree")
@click.argument("name")
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--kubeconfig", type=click.Path(path_type=Path))
def command(name: str, namespace: str, kubeconfig: Path | None) -> None:
    """Show a set, its gangs, cliques and pods with state and node."""
    Console().print(asyncio.run(_tree(name, namespace, kubeconfig)))


async def _tree(name: str, namespace: str, kubeconfig: Path | None) -> Tree:
    async with cluster.connected(kubeconfig) as client:
        found = await cluster.find_set(client, name, namespace)
        labels = f"{names.LABEL_PART_OF}={name}"
        gangs = (await client.list(resources.PODGANGS, namespace, labels=labels)).items
        cliques = (await client.list(resources.PODCLIQUES, namespace, labels=labels)).items
        pods = (await client.list(resources.PODS, namespace, labels=labels)).items
    return drawn(found, gangs, cliques, pods)


def drawn(
    found: raw.Object, gangs: Iterable[raw.Object], cliques: Iterable[raw.Object], pods: Iterable[raw.Object]
) -> Tree:
    """Return the tree of a set."""
    status = found.get("status") or {}
    ready = conditions.find(status.get("conditions"), "Ready") or {}
    tree = Tree(f"[bold]{found['kind']} {found['metadata']['name']}[/]  {ready.get('message', 'no status yet')}")
    state = {gang["metadata"]["name"]: gang.get("status") or {} for gang in gangs}
    by_gang: dict[str, list[raw.Object]] = {}
    for clique in cliques:
        by_gang.setdefault(clique["metadata"]["labels"].get(names.LABEL_PODGANG, "?"), []).append(clique)
    by_clique: dict[str, list[raw.Object]] = {}
    for pod in pods:
        by_clique.setdefault(pod["metadata"]["labels"].get(names.LABEL_PODCLIQUE, "?"), []).append(pod)
    for gang, members in sorted(by_gang.items()):
        branch = tree.add(f"gang {gang}  {_gang_text(state.get(gang, {}))}")
        for clique in sorted(members, key=lambda each: str(each["metadata"]["name"])):
            name = clique["metadata"]["name"]
            counts = clique.get("status") or {}
            text = f"{counts.get('readyReplicas', 0)}/{clique['spec'].get('replicas', 1)} ready"
            leaf = branch.add(f"clique {name}  {text}")
            for pod in sorted(by_clique.get(name, ()), key=plan.pod_index):
                leaf.add(f"{pod['metadata']['name']}  {_pod_text(pod)}")
    return tree


def _gang_text(status: raw.Object) -> str:
    scheduled = conditions.find(status.get("conditions"), "Scheduled") or {}
    phase = status.get("phase", "not placed yet")
    return phase if phase == "Running" else f"{phase}: {scheduled.get('message', 'waiting for its pods')}"


def _pod_text(pod: raw.Object) -> str:
    node = pod["spec"].get("nodeName") or "no node"
    if plan.terminating(pod):
        return f"terminating on {node}"
    if plan.gated(pod):
        return "gated"
    return f"{'ready' if plan.ready(pod) else (pod.get('status') or {}).get('phase', 'Pending').lower()} on {node}"
