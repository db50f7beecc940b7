"""Seeded questions for the quality of placement, and the independent checker of answers.

Three shapes of clusters, 50 to 300 nodes at 0 to 95 % load; a gang of one to three parts with pods of one size each, of
sizes that need not divide each other, in the manifest's order; with or without a required level.
"""

import random
from dataclasses import dataclass
from typing import Any

from grovekeeper.placement import place, request, snapshot
from tests.bench import peers

LEVELS = ("block", "rack", "kubernetes.io/hostname")
GPU = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of cluster: nodes a rack, racks a block, GPUs a node (drawn from)."""

    name: str
    rack: int
    block: int
    gpus: tuple[int, ...]


SHAPES = (
    Shape("two-level, 8 GPUs", 16, 1, (8,)),
    Shape("NVL72", 18, 4, (4,)),
    Shape("three-level, mixed", 12, 4, (2, 4, 8)),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer costs; an earlier field outweighs all later ones."""

    blocks: int
    racks: int
    whole_blocks: int
    """Blocks that had nothing on them before."""
    whole_racks: int
    nodes: int
    whole_nodes: int

    def domains(self) -> int:
        """Return the domains used."""
        return self.blocks + self.racks

    def opened(self) -> int:
        """Return domains used and whole domains opened."""
        return self.domains() + self.whole_blocks + self.whole_racks

    def on_nodes(self) -> int:
        """Return nodes used and whole nodes opened."""
        return self.nodes + self.whole_nodes


@dataclass(slots=True)
class Case:
    """One question: GPUs per node, offered and free, and a gang of one to three parts of equal pods."""

    shape: Shape
    capacity: list[int]
    free: list[int]
    parts: list[tuple[int, int]]
    """Pods and GPUs a pod."""
    required: str | None

    def rack(self, node: int) -> int:
        """Return a node's rack."""
        return node // self.shape.rack

    def block(self, node: int) -> int:
        """Return a node's block."""
        return self.rack(node) // self.shape.block

    def whole(self, level: str) -> set[int]:
        """Return the numbers of the racks, or blocks, with nothing on them."""
        number = self.rack if level == "rack" else self.block
        busy = {number(i) for i, (total, free) in enumerate(zip(self.capacity, self.free, strict=True)) if free < total}
        return {number(i) for i in range(len(self.free))} - busy


def case(seed: int) -> Case:
    """Return the case of a seed."""
    chance = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    nodes = chance.randrange(50, 301)
    capacity = [chance.choice(shape.gpus) for _ in range(nodes)]
    load = chance.uniform(0, 0.95)
    free = _filled(capacity, load, shape, chance)
    sizes = [g for g in (1, 2, 3, 4, 5, 6, 8) if g <= max(shape.gpus)]
    count = chance.choice((1, 1, 2, 3))
    parts = [(chance.randrange(2, 65 // count), gpus) for gpus in chance.sample(sizes, min(count, len(sizes)))]
    return Case(shape, capacity, free, parts, chance.choice(["rack", "block", None]))


def _filled(capacity: list[int], load: float, shape: Shape, chance: random.Random) -> list[int]:
    """Return what is free at a load: GPUs taken one by one anywhere, or rack by rack as a packing scheduler does."""
    if chance.random() < 0.5:
        return [c - sum(chance.random() < load for _ in range(c)) for c in capacity]
    racks = list(range(-(-len(capacity) // shape.rack)))
    chance.shuffle(racks)
    left = round(sum(capacity) * load)
    free = list(capacity)
    for rack in racks:
        for node in range(rack * shape.rack, min(len(capacity), (rack + 1) * shape.rack)):
            taken = min(left, chance.choice((capacity[node], capacity[node], chance.randint(0, capacity[node]))))
            free[node] -= taken
            left -= taken
    return free


def check(c: Case, found: peers.Found) -> Cost:
    """Check a placement on its own terms and return its cost; raises AssertionError."""
    load: dict[int, int] = {}
    for where, gpus in found:
        load[where] = load.get(where, 0) + gpus
    assert sorted(gpus for _node, gpus in found) == sorted(gpus for pods, gpus in c.parts for _ in range(pods))
    assert all(amount <= c.free[index] for index, amount in load.items())
    racks = {c.rack(index) for index in load}
    blocks = {c.block(index) for index in load}
    assert c.required != "rack" or len(racks) == 1
    assert c.required != "block" or len(blocks) == 1
    whole_nodes = sum(c.free[index] == c.capacity[index] for index in load)
    opened = len(blocks & c.whole("block")), len(racks & c.whole("rack"))
    return Cost(len(blocks), len(racks), *opened, len(load), whole_nodes)


def engine(c: Case) -> peers.Found | None:
    """Ask the engine; return node and GPUs of every pod, or None."""
    room = snapshot.Snapshot()
    for index, gpus in enumerate(c.capacity):
        room.upsert_node(node(index, gpus, c.shape))
        if gpus > c.free[index]:
            room.assume(f"busy-{index}", spec(gpus - c.free[index]), name(index))
    groups = []
    for number, (pods, gpus) in enumerate(c.parts):
        asks = tuple(request.PodAsk(f"{number}-{i}", f"{number}-{i}", spec(gpus)) for i in range(pods))
        groups.append(request.GroupAsk(str(number), asks, pods))
    ask = request.GangAsk("ns", "g", tuple(groups), request.Constraint(c.required), levels=LEVELS)
    found = place.place(ask, room)
    if isinstance(found, request.Reasons):
        return None
    return [(int(where[1:]), c.parts[int(pod.partition("-")[0])][1]) for pod, where in found.nodes.items()]


def node(index: int, gpus: int, shape: Shape) -> dict[str, Any]:
    """Return a Node object."""
    rack = index // shape.rack
    labels = {"kubernetes.io/hostname": name(index), "rack": f"r{rack:04}", "block": f"b{rack // shape.block:04}"}
    status = {"allocatable": {GPU: str(gpus), "pods": "110"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name(index), "labels": labels}, "spec": {}, "status": status}


def name(index: int) -> str:
    """Return a node's name."""
    return f"n{index:05}"


def spec(gpus: int) -> dict[str, Any]:
    """Return a PodSpec that asks for GPUs."""
    return {"containers": [{"name": "c", "resources": {"limits": {GPU: gpus}}}]}


def gang(sizes: list[tuple[int, int]], required: str | None, *, preferred: str | None = None) -> request.GangAsk:
    """Return a gang of parts (pods, GPUs a pod). Every pod has a spec of its own, as from an informer."""
    groups = []
    for number, (pods, gpus) in enumerate(sizes):
        asks = tuple(request.PodAsk(f"{number}-{i}", f"{number}-{i}", spec(gpus)) for i in range(pods))
        groups.append(request.GroupAsk(str(number), asks, pods))
    return request.GangAsk("ns", "g", tuple(groups), request.Constraint(required, preferred), levels=LEVELS)
