"""What the demo shows: the gangs as they are, and a sentence for each thing that has happened to one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.table import Table

from grovekeeper.api import names, raw
from grovekeeper.expand import plan

STAGES = ("gated", "placed", "starting", "ready")
"""Of a pod: behind the gate; released, with its node pinned; bound, waiting for its parents or its kubelet; ready."""


def stage(pod: raw.Object) -> str:
    """Return where a pod is on its way."""
    if plan.gated(pod):
        return "gated"
    if plan.ready(pod):
        return "ready"
    return "starting" if pod["spec"].get("nodeName") else "placed"


@dataclass(slots=True)
class View:
    """One look at the cluster."""

    pods: list[raw.Object]
    domains: Mapping[str, Mapping[str, str]]
    """Node name to its labels."""

    def gangs(self) -> dict[str, list[raw.Object]]:
        """Return the living pods of each gang, by name."""
        found: dict[str, list[raw.Object]] = defaultdict(list)
        for pod in self.pods:
            name = (pod["metadata"].get("labels") or {}).get(names.LABEL_PODGANG)
            if name and plan.alive(pod):
                found[name].append(pod)
        return dict(sorted(found.items()))

    def where(self, pods: Iterable[raw.Object], level: str) -> str:
        """Return the domains of a level that pods are in."""
        used = {self.domains[node][f"kubernetes.io/{level}"] for node in _nodes(pods)}
        return ", ".join(sorted(name.rpartition("-")[2] for name in used))

    def progress(self) -> Table:
        """Return the table that is shown while things move: how many pods of a gang are at which stage."""
        table = Table("gang", *STAGES, "rack")
        for column in table.columns[1:5]:
            column.justify = "right"
        for name, pods in self.gangs().items():
            counts = [sum(stage(pod) == each for pod in pods) for each in STAGES]
            style = "green" if counts[-1] == len(pods) else None
            table.add_row(name, *(str(count or "·") for count in counts), self.where(pods, "rack"), style=style)
        return table

    def result(self, phases: Mapping[str, str]) -> Table:
        """Return the table at the end: each gang, where it is, and what it runs."""
        table = Table("gang", "phase", "pods", "nodes", "rack", "block", "images", title="Gangs", title_justify="left")
        for name, pods in self.gangs().items():
            images = ", ".join(sorted({_image(pod) for pod in pods}))
            count = str(len(_nodes(pods)))
            places = (self.where(pods, "rack"), self.where(pods, "block"))
            table.add_row(name, phases.get(name, "Pending"), str(len(pods)), count, *places, images)
        return table


@dataclass(slots=True)
class Journal:
    """Tells what has changed between two looks."""

    _placed: dict[str, bool] = field(default_factory=dict)
    """Gang to whether it has its place."""
    _ready: set[str] = field(default_factory=set)
    """Cliques that have been ready with the pods that they have."""
    _members: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """Clique and index of a pod to the UID and node of who is bound there."""

    def look(self, view: View) -> Iterator[str]:
        """Yield a sentence for each thing that has happened since the last look."""
        for name, pods in view.gangs().items():
            yield from self._moves(pods)
            yield from self._gang(name, pods, view)
            yield from self._cliques(name, pods)

    def _gang(self, name: str, pods: list[raw.Object], view: View) -> Iterator[str]:
        if name not in self._placed:
            yield f"[bold]{name}[/]: its pods appear, each behind a gate"
            self._placed[name] = False
        if not self._placed[name] and all(pod["spec"].get("nodeName") for pod in pods):
            where = f"{len(_nodes(pods))} nodes, rack {view.where(pods, 'rack')}"
            yield f"[bold]{name}[/]: placed as a whole, gates gone: {len(pods)} pods, {where}"
            self._placed[name] = True

    def _cliques(self, gang: str, pods: list[raw.Object]) -> Iterator[str]:
        by_clique: dict[str, list[raw.Object]] = defaultdict(list)
        for pod in pods:
            by_clique[pod["metadata"]["labels"][names.LABEL_PODCLIQUE]].append(pod)
        for fqn, mine in by_clique.items():
            if all(stage(pod) == "ready" for pod in mine):
                if fqn not in self._ready:
                    yield f"[bold]{gang}[/]: {fqn.removeprefix(f'{gang}-')} is ready"
                self._ready.add(fqn)
            else:
                self._ready.discard(fqn)

    def _moves(self, pods: list[raw.Object]) -> Iterator[str]:
        """Yield a sentence for each pod that has taken the place of another."""
        for pod in pods:
            fqn, node = pod["metadata"]["labels"][names.LABEL_PODCLIQUE], pod["spec"].get("nodeName")
            if not node:
                continue
            key = fqn, plan.pod_index(pod)
            uid, before = self._members.get(key, (None, node))
            if uid not in (None, pod["metadata"]["uid"]):
                place = "on the node that it had" if node == before else f"on {node} instead of {before}"
                yield f"[bold]{fqn}[/]: pod {key[1]} now runs {_image(pod)}, {place}"
            self._members[key] = pod["metadata"]["uid"], node


def _nodes(pods: Iterable[raw.Object]) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}


def _image(pod: raw.Object) -> str:
    """Return the image of the first container without its registry."""
    return str(pod["spec"]["containers"][0]["image"]).rpartition("/")[2]
