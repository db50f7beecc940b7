"""What the demo shows: the gangs as they are, and a sentence for each thing that has happened to one."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.table import Table

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.reconciler import decisions

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
    podgangs: list[raw.Object]
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

    def phases(self) -> dict[str, str]:
        """Return the phase of each PodGang, by name."""
        return {gang["metadata"]["name"]: (gang.get("status") or {}).get("phase", "Pending") for gang in self.podgangs}

    def where(self, nodes: Iterable[str], level: str) -> str:
        """Return the domains of a level that nodes are in."""
        used = {self.domains[node][f"kubernetes.io/{level}"] for node in nodes}
        return ", ".join(sorted(name.rpartition("-")[2] for name in used))

    def progress(self) -> Table:
        """Return the table that is shown while things move: how many pods of a gang are at which stage."""
        table = Table("gang", *STAGES, "rack")
        for column in table.columns[1:5]:
            column.justify = "right"
        for name, pods in self.gangs().items():
            counts = [sum(stage(pod) == each for pod in pods) for each in STAGES]
            style = "green" if counts[-1] == len(pods) else None
            table.add_row(name, *(str(count or "·") for count in counts), self.where(_nodes(pods), "rack"), style=style)
        return table

    def result(self) -> Table:
        """Return the table at the end: each gang, where it is, and what it runs."""
        table = Table("gang", "phase", "pods", "nodes", "rack", "block", "images", title="Gangs", title_justify="left")
        phases = self.phases()
        for name, pods in self.gangs().items():
            images = ", ".join(sorted({_image(pod) for pod in pods}))
            nodes = _nodes(pods)
            counts = (str(len(pods)), str(len(nodes)))
            places = (self.where(nodes, "rack"), self.where(nodes, "block"))
            table.add_row(name, phases.get(name, "Pending"), *counts, *places, images)
        return table


@dataclass(slots=True)
class Journal:
    """Tells what has changed between two looks."""

    _gated: set[str] = field(default_factory=set)
    _released: set[str] = field(default_factory=set)
    """Gangs by how far they have come."""
    _ready: set[str] = field(default_factory=set)
    """Cliques that have been ready with the pods that they have."""
    _members: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """Clique and index of a pod to the UID and node of who is bound there."""

    def look(self, view: View) -> Iterator[str]:
        """Yield a sentence for each thing that has happened since the last look."""
        decided = {gang["metadata"]["name"]: decisions.placement(gang) for gang in view.podgangs}
        for name, pods in view.gangs().items():
            yield from self._moves(pods)
            yield from self._gang(name, pods, decided.get(name, {}), view)
            yield from self._cliques(pods)

    def _gang(self, name: str, pods: list[raw.Object], decided: Mapping[str, str], view: View) -> Iterator[str]:
        if name not in self._gated:
            self._gated.add(name)
            yield f"[bold]{name}[/]: its pods appear, each behind a gate"
        gated = {pod["metadata"]["name"] for pod in pods if plan.gated(pod)}
        if name not in self._released and decided and not gated & decided.keys():
            self._released.add(name)
            nodes = set(decided.values())
            more = f"; {len(gated)} above the minimum" if gated else ""
            where = f"{_counted(nodes, 'node')}, rack {view.where(nodes, 'rack')}"
            yield f"[bold]{name}[/]: placed whole, gates gone: {_counted(decided, 'pod')}, {where}{more}"

    def _cliques(self, pods: list[raw.Object]) -> Iterator[str]:
        by_clique: dict[str, list[raw.Object]] = defaultdict(list)
        for pod in pods:
            by_clique[pod["metadata"]["labels"][names.LABEL_PODCLIQUE]].append(pod)
        for fqn, mine in by_clique.items():
            if not all(stage(pod) == "ready" for pod in mine):
                self._ready.discard(fqn)
            elif fqn not in self._ready:
                self._ready.add(fqn)
                yield f"{fqn} is ready: {_counted(mine, 'pod')}"

    def _moves(self, pods: list[raw.Object]) -> Iterator[str]:
        """Yield a sentence for each pod that has taken the place of another."""
        for pod in pods:
            fqn, node = pod["metadata"]["labels"][names.LABEL_PODCLIQUE], pod["spec"].get("nodeName")
            if not node:
                continue
            key = fqn, plan.pod_index(pod)
            uid, before = self._members.get(key, (None, node))
            if uid not in (None, pod["metadata"]["uid"]):
                place = "node kept" if node == before else f"{before} left for {node}"
                yield f"{fqn}-{key[1]}: {_image(pod)}, {place}"
            self._members[key] = pod["metadata"]["uid"], node


def _counted(things: Collection[object], what: str) -> str:
    return f"{len(things)} {what}" + ("" if len(things) == 1 else "s")


def _nodes(pods: Iterable[raw.Object]) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}


def _image(pod: raw.Object) -> str:
    """Return the image of the first container without its registry."""
    return str(pod["spec"]["containers"][0]["image"]).rpartition("/")[2]
