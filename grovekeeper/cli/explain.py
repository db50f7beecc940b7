"""`grovekeeper explain`: why the pods of a set are where they are, or nowhere yet."""

import asyncio
from pathlib import Path

import click
from rich.console import Console
from rich.tree import Tree

from grovekeeper.api import conditions, names, raw
from grovekeeper.cli import cluster
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from grovekeeper.reconciler import decisions


@click.command(name="explain")
@click.argument("name")
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--kubeconfig", type=click.Path(path_type=Path))
def command(name: str, namespace: str, kubeconfig: Path | None) -> None:
    """Say for each gang of a set what it waits for, level by level, and what each gated pod waits for."""
    Console().print(asyncio.run(_explained(name, namespace, kubeconfig)))


async def _explained(name: str, namespace: str, kubeconfig: Path | None) -> Tree:
    async with cluster.connected(kubeconfig) as client:
        found = await cluster.find_set(client, name, namespace)
        labels = f"{names.LABEL_PART_OF}={name}"
        gangs = (await client.list(resources.PODGANGS, namespace, labels=labels)).items
        pods = (await client.list(resources.PODS, namespace, labels=labels)).items
    return drawn(found, gangs, pods)


def drawn(found: raw.Object, gangs: list[raw.Object], pods: list[raw.Object]) -> Tree:
    """Return the explanation: the set's conditions that are not well, its gangs, their gated pods."""
    root = Tree(f"[bold]{found['kind']} {found['metadata']['name']}[/]")
    for entry in (found.get("status") or {}).get("conditions") or ():
        if (entry["type"], entry["status"]) in _UNWELL:
            root.add(f"{entry['type']}: {entry['reason']}: {entry.get('message', '')}")
    by_gang: dict[str, list[raw.Object]] = {}
    for pod in pods:
        by_gang.setdefault((pod["metadata"].get("labels") or {}).get(names.LABEL_PODGANG, "?"), []).append(pod)
    for gang in sorted(gangs, key=lambda each: str(each["metadata"]["name"])):
        _gang(root, gang, by_gang.pop(gang["metadata"]["name"], []))
    placed = {gang["metadata"]["name"] for gang in gangs if conditions.is_true(gang, "Scheduled")}
    for name, mine in sorted(by_gang.items()):
        root.add(f"gang {name}: {_unwritten(mine, placed)}")
    return root


def _unwritten(pods: list[raw.Object], placed: set[str]) -> str:
    """Return what a gang waits for that has no PodGang: one is written when its pods are complete and it is its turn.

    `placed` are the gangs whose minimum has its nodes.
    """
    base = next(filter(None, ((pod["metadata"].get("labels") or {}).get(names.LABEL_BASE_PODGANG) for pod in pods)), "")
    if base and base not in placed:
        return f"{len(pods)} pods exist and wait until the base gang {base} has its nodes"
    return (
        f"{len(pods)} pods exist: its minimum is not complete yet (see the PodCliques' conditions), "
        "or the placement owner is behind or away"
    )


_UNWELL = {
    ("Ready", "False"),
    ("Stalled", "True"),
    ("TopologyLevelsUnavailable", "True"),
    ("TopologyLevelsUnavailable", "Unknown"),
}


def _gang(root: Tree, gang: raw.Object, pods: list[raw.Object]) -> None:
    status = gang.get("status") or {}
    scheduled = conditions.find(status.get("conditions"), "Scheduled") or {}
    score = f", placement score {status['placementScore']}" if "placementScore" in status else ""
    again = f", recreated {status['recreations']} times" if status.get("recreations") else ""
    branch = root.add(f"gang {gang['metadata']['name']}: {status.get('phase', 'Pending')}{score}{again}")
    why = scheduled.get("message") or "waits for its pods, or for its turn"
    if scheduled.get("status") != "True":
        for part in why.split("; "):
            branch.add(part)
    decided = decisions.placement(gang)
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
        text = _pod(pod, decided, placed=scheduled.get("status") == "True")
        if text:
            branch.add(f"pod {pod['metadata']['name']}: {text}")


def _pod(pod: raw.Object, decided: dict[str, str], *, placed: bool) -> str:
    """Return what a pod waits for; nothing for one that is well. `placed` says that its gang has its minimum."""
    name = pod["metadata"]["name"]
    if plan.terminating(pod) or plan.ready(pod):
        return ""
    if plan.gated(pod):
        above = ", above the minimum: waits for room" if placed else ""
        held = f", a node is held for it: {decided[name]}" if name in decided else above
        others = plan.foreign_gates(pod["spec"])
        return f"gated{held}" + (f"; gates of others: {', '.join(others)}" if others else "")
    scheduled = conditions.find((pod.get("status") or {}).get("conditions"), "PodScheduled") or {}
    if not pod["spec"].get("nodeName"):
        return f"released for {decided.get(name, 'a node')}, not bound yet: {scheduled.get('message', '')}".rstrip(": ")
    waiting = [
        (entry.get("state") or {}).get("waiting") or {}
        for entry in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    reasons = sorted({entry["reason"] for entry in waiting if entry.get("reason")})
    return f"on {pod['spec']['nodeName']}, not ready" + (f": {', '.join(reasons)}" if reasons else "")
