"""Sets that ask for a domain of the topology: what they may ask, where nodes are, and whether pods are where they must.

Blocks have two racks each. A node in five lacks the labels: it is in no domain.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from grovekeeper.api import names, raw
from grovekeeper.placement import request, snapshot
from grovekeeper.reconciler import pins
from tests.placement import auditor
from tests.property import plane

Answer = request.Placement | request.Reasons

RACKS = 4
_NAME = "net"
BINDING: raw.Object = {
    "kind": "ClusterTopologyBinding",
    "metadata": {"name": _NAME, "uid": _NAME, "generation": 1},
    "spec": {"levels": [{"domain": "block", "key": "block"}, {"domain": "rack", "key": "rack"}]},
}
_RACK, _BLOCK, _WISH = {"required": "rack"}, {"required": "block"}, {"preferred": "rack"}
_APART = [{"domain": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]
ASKS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a rack": {"set": {"pack": _RACK}},
    "a rack a group replica": {"pool": {"pack": _RACK}},
    "a rack a clique": {"front": {"pack": _RACK}, "work": {"pack": _RACK}},
    "a block, and racks in it": {"set": {"pack": _BLOCK}, "pool": {"pack": _RACK}, "front": {"pack": _RACK}},
    "a rack if possible": {"set": {"pack": _WISH}, "front": {"pack": _RACK}},
    "replicas apart": {"set": {"pack": _RACK, "spread": _APART}},
    "groups apart": {"pool": {"pack": _RACK, "spread": _APART}},
    "pods apart": {"front": {"spread": _APART}},
}
"""Name of a shape to the constraint of the set, the group, and each clique."""


def labels(number: int) -> dict[str, str]:
    """The labels of the node of this number."""
    if number % 5 == 4:
        return {}
    rack = number % RACKS
    return {"rack": f"r{rack}", "block": f"b{rack // 2}"}


def ask(obj: raw.Object, what: str) -> None:
    """Have a set ask for domains."""
    template = obj["spec"]["template"]
    parts = {"set": template, "pool": template["podCliqueScalingGroups"][0]}
    parts |= {clique["name"]: clique for clique in template["cliques"]}
    for name, constraint in ASKS[what].items():
        parts[name]["topologyConstraint"] = {"topologyName": _NAME, **constraint}


def audited(engine: Callable[..., Answer]) -> Callable[..., Answer]:
    """Return the placement engine with every answer looked at: each pod's domain, and spread as it is when placed."""

    def place(gang: request.GangAsk, room: snapshot.Snapshot, **more: Any) -> Answer:
        answer = engine(gang, room, **more)
        kept_off = any((pod.spec.get("affinity") or {}).get("nodeAffinity") for g in gang.groups for pod in g.pods)
        if isinstance(answer, request.Placement) and not kept_off:  # the auditor does not read node affinity
            nodes = {node["metadata"]["name"]: node for node in room._nodes._all if node is not None}
            found = auditor.Audit(nodes, (), gang, answer.nodes).domain_faults()
            assert not found, found
        return answer

    return place


class Watch:
    """Looks at the pods that have a place, over and over."""

    def __init__(self, server: plane.Plane) -> None:
        self._server = server

    def torn(self) -> Iterator[str]:
        """What is in several domains of a level that it has to share, or in none."""
        members: dict[tuple[str, str, str], dict[str, str | None]] = defaultdict(dict)
        for pod, node in placed(self._server):
            for scope, level in self._scopes(pod):
                found = node["metadata"]["labels"].get(level)
                members[scope][f"{pod['metadata']['name']} on {node['metadata']['name']}"] = found
        for (what, name, level), there in members.items():
            if len({*there.values()}) > 1 or None in there.values():
                yield f"{what} {name} is not in one {level}: {there}"

    def _scopes(self, pod: raw.Object) -> Iterator[tuple[tuple[str, str, str], str]]:
        """What a pod is a part of that has to be in one domain, with the level."""
        marks = pod["metadata"]["labels"]
        obj = self._set_of(marks)
        if obj is None:
            return
        template = obj["spec"]["template"]
        clique = marks[names.LABEL_PODCLIQUE]
        role = next(each for each in template["cliques"] if clique.endswith(f"-{each['name']}"))
        group = marks.get(names.LABEL_SCALINGGROUP)
        whole = level_of(template)
        if group is not None:
            mine = level_of(template["podCliqueScalingGroups"][0])
            if mine is not None:
                index = f"{group}-{marks[names.LABEL_SCALINGGROUP_INDEX]}"
                yield ("group replica", index, mine), mine
        if whole is not None:
            yield ("gang", marks[names.LABEL_PODGANG], whole), whole
        level = level_of(role)
        if level is not None:
            yield ("clique", clique, level), level

    def _set_of(self, marks: dict[str, str]) -> raw.Object | None:
        found = (self._server.of(each).get(("ns", marks[names.LABEL_PART_OF])) for each in plane.SETS)
        return next((obj for obj in found if obj is not None), None)


def level_of(part: raw.Object) -> str | None:
    """The level that a part of a set requires."""
    found: str | None = ((part.get("topologyConstraint") or {}).get("pack") or {}).get("required")
    return found


def placed(server: plane.Plane) -> Iterator[tuple[raw.Object, raw.Object]]:
    """Yield our living pods that are on a node or pinned to one, with it. Not those of a PodClique that is gone."""
    for pod in server.live():
        name = pod["spec"].get("nodeName") or pins.pinned_to(pod)
        node = server.of("nodes").get(("", name or ""))
        if node is not None and server.is_current(pod):
            yield pod, node
