"""A stand-in for a scheduler that cannot be had here: it binds a gang's pods once their PodGroup can be had whole.

It reads what the real one reads (PodGroup, the pods' marks) and writes what it writes (bindings, the group's status).
"""

from collections import Counter
from dataclasses import dataclass

from tests.e2e.world import MERGE, Object, World

GROUPS = {
    "kai-scheduler": "/apis/scheduling.run.ai/v2alpha2",
    "volcano": "/apis/scheduling.volcano.sh/v1beta1",
    "default-scheduler": "/apis/scheduling.k8s.io/v1beta1",
}


@dataclass(frozen=True)
class StandIn:
    """One scheduler in one world, in which every node takes one pod."""

    world: World
    scheduler: str

    def groups(self) -> dict[str, Object]:
        listed = self.world.request("GET", self.world.path("podgroups", group=GROUPS[self.scheduler]))["items"]
        return {group["metadata"]["name"]: group for group in listed}

    def change(self, name: str, body: Object, subresource: str = "") -> None:
        path = self.world.path("podgroups", name, GROUPS[self.scheduler])
        self.world.request("PATCH", path + subresource, body, MERGE)

    def step(self) -> bool:
        """Bind every group that fits whole, pods above the minimum as far as room goes; return True."""
        for name, group in self.groups().items():
            mine = [pod for pod in self.world.pods() if self._group_of(pod) == name]
            open_ = [p for p in mine if not p["spec"].get("nodeName") and not p["spec"].get("schedulingGates")]
            bound = Counter(self._part(pod) for pod in mine if pod["spec"].get("nodeName"))
            here = bound + Counter(self._part(pod) for pod in open_)
            wanted = self._minimums(group)
            enough = all(here[part] >= least for part, least in wanted.items())
            first, rest = self._split(open_, bound, wanted)
            free = self._free()
            if enough and len(first) <= len(free):
                for pod, node in zip([*first, *rest], free, strict=False):
                    self._bind(pod, node)
        return True

    def _group_of(self, pod: Object) -> str:
        marks = pod["metadata"].get("annotations") or {}
        if pod["spec"]["schedulerName"] != self.scheduler:
            return ""
        key = "pod-group-name" if self.scheduler == "kai-scheduler" else "scheduling.volcano.sh/group-name"
        return str(marks.get(key, ""))

    def _part(self, pod: Object) -> str:
        kai = self.scheduler == "kai-scheduler"
        return str(pod["metadata"]["labels"]["kai.scheduler/subgroup-name" if kai else "grove.io/podclique"])

    def _minimums(self, group: Object) -> dict[str, int]:
        spec = group["spec"]
        if self.scheduler == "kai-scheduler":
            found = {each["name"]: each["minMember"] for each in spec["subGroups"] if "minMember" in each}
        else:
            found = {each["name"]: each["subGroupSize"] for each in spec["subGroupPolicy"]}
        assert sum(found.values()) == spec["minMember"]
        return found

    @staticmethod
    def _labelled(pod: Object) -> str:
        return str(pod["metadata"]["name"])

    def _split(
        self, pods: list[Object], bound: Counter[str], wanted: dict[str, int]
    ) -> tuple[list[Object], list[Object]]:
        have = Counter(bound)
        first, rest = [], []
        for pod in sorted(pods, key=self._labelled):
            part = self._part(pod)
            (first if have[part] < wanted.get(part, 0) else rest).append(pod)
            have[part] += 1
        return first, rest

    def _free(self) -> list[str]:
        used = {pod["spec"].get("nodeName") for pod in self.world.pods()}
        listed = self.world.request("GET", f"/api/v1/nodes?labelSelector=pool%3D{self.world.namespace}")["items"]
        open_ = [node["metadata"]["name"] for node in listed if not node.get("spec", {}).get("unschedulable")]
        return [name for name in open_ if name not in used]

    def _bind(self, pod: Object, node: str) -> None:
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        self.world.post(self.world.path("pods", f"{name}/binding", "/api/v1"), body)
