"""The world with nodes, the placement owner, and a scheduler that a test turns on."""

import copy
from typing import Any

import jsonpatch

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import gang, keys, mapping, pins
from tests.reconciler import world


class Api(world.Api):
    """Refuses a JSON patch whose tests fail the way an API server does, and can run something before a call."""

    before: Any = None

    async def patch(self, resource: resources.Resource, name: str, *rest: Any, **more: Any) -> raw.Object:
        if self.before is not None:
            await self.before(resource, name, more.get("subresource"))
        try:
            return await super().patch(resource, name, *rest, **more)
        except jsonpatch.JsonPatchTestFailed as error:
            raise errors.Invalid(str(error)) from error

    def node(self, name: str, cpu: int = 1, rack: str = "r1", *, unschedulable: bool = False) -> None:
        self.node_in(name, cpu, {"rack": rack}, unschedulable=unschedulable)

    def node_in(self, name: str, cpu: int, labels: dict[str, str], *, unschedulable: bool = False) -> None:
        """Add a node with these labels."""
        room = {"cpu": str(cpu), "pods": "110"}
        status = {"allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}
        spec = {"unschedulable": True} if unschedulable else {}
        self._put("nodes", {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status})

    def foreign(self, name: str, node: str | None = None, cpu: str = "1", **metadata: Any) -> None:
        """A pod that is not ours: bound, or looking for a node."""
        container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
        spec = {"containers": [container], **({"nodeName": node} if node else {})}
        found = {"name": name, "namespace": "else", "uid": name, "labels": {}, **metadata}
        self._put("pods", {"metadata": found, "spec": spec, "status": {"phase": "Pending"}})


class Placing(world.World):
    """A world in which gangs are placed. `bind` stands for the scheduler, `waking` for the owner's queue."""

    def __init__(self, *cpus: int, **options: Any) -> None:
        super().__init__(**options)
        self.api: Api = Api(self.clock)
        self.ctx.client = self.api  # type: ignore[assignment]
        self.ctx.placement = self.work  # type: ignore[assignment]
        self.owner = gang.Owner(self.ctx)
        for index, cpu in enumerate(cpus):
            self.api.node(f"n{index}", cpu)

    def see(self) -> None:
        for plural, old, new in list(self.api.changes):
            if plural == "nodes":
                self.owner.taken.on_node(old, new)
            elif plural == "pods":
                self.owner.on_pod(copy.deepcopy(old), copy.deepcopy(new))
            if plural in ("nodes", "pods"):
                for key, delay in mapping.MAPPERS[plural](old, new):
                    if key == keys.ROOM or key.startswith("gang:"):
                        self.work.put(key, 0 if key == keys.ROOM else delay)
        super().see()

    async def run(self, key: str) -> None:
        if not key.startswith("gang:") and key != keys.ROOM:
            await super().run(key)
            return
        self.work.due.pop(key, None)
        self.runs[key.partition(":")[0]] += 1
        try:
            result = await self.owner.reconcile(keys.parse(key))
        except errors.Conflict:
            self.work.put(key, 0.05)
            return
        if result.requeue_after is not None:
            self.work.put(key, result.requeue_after)

    async def arrive(self) -> None:
        """Let the pods of all sets exist, without anybody placing them."""
        for _ in range(10):
            self.see()
            for key in [key for key in self.work.due if not key.startswith("gang:") and key != keys.ROOM]:
                await self.run(key)

    def meddle_once(self) -> None:
        """Have somebody annotate the first pod that is written to just before, so that the write is refused."""
        hit: list[str] = []

        async def meddle(resource: resources.Resource, name: str, subresource: str | None) -> None:
            if resource is resources.PODS and not hit:
                hit.append(name)
                live = self.get(resources.PODS, name)
                annotations = {**live["metadata"]["annotations"], "example.com/seen": ""}
                self.api._put("pods", {**live, "metadata": {**live["metadata"], "annotations": annotations}})
                raise errors.Conflict("the object has been modified")

        self.api.before = meddle

    def inherit(self, gang_name: str, node: str) -> raw.Object:
        """Make the first pod of a gang a successor that is nominated to a node; return it."""
        heir = copy.deepcopy(self.ours(gang_name)[0])
        heir["metadata"].setdefault("annotations", {})[names.ANNOTATION_SUCCEEDS] = "gone"
        heir["status"] = {"nominatedNodeName": node}
        self.api._put("pods", heir)
        self.see()
        return heir

    async def bind(self, *, ready: bool = True) -> None:
        """Bind what is released and pinned, as a scheduler does, and start it."""
        for pod in self.ours():
            node = pins.pinned_to(pod)
            if node and not pod["spec"].get("nodeName") and not pod["spec"].get("schedulingGates"):
                await self.mark(pod, node=node, ready=ready)

    async def rest(self, name: str = "demo-0") -> None:
        """Let a gang that runs have been at rest for long enough that its status is written."""
        self.owner.writer._phases[self.gang(name)["metadata"]["uid"]] = "Running", self.clock.monotonic() - 60
        await self.run(f"gang:ns/{name}")
        self.see()

    def ours(self, gang_name: str = "") -> list[raw.Object]:
        found = [p for p in self.api.of("pods").values() if names.LABEL_PODGANG in p["metadata"]["labels"]]
        found = [p for p in found if gang_name in ("", p["metadata"]["labels"][names.LABEL_PODGANG])]
        return sorted(found, key=lambda pod: str(pod["spec"].get("hostname")))

    def released(self, gang_name: str = "") -> dict[str, str | None]:
        """Hostname to pinned node of the pods without our gate."""
        return {
            p["spec"]["hostname"]: pins.pinned_to(p)
            for p in self.ours(gang_name)
            if not p["spec"].get("schedulingGates")
        }

    def gang(self, name: str = "demo-0") -> raw.Object:
        return self.get(resources.PODGANGS, name)


def pair(name: str = "demo", count: int = 2, minimum: int | None = None, cpu: str = "1", **more: Any) -> raw.Object:
    """A set of one clique whose pods fill a node each."""
    obj = world.podset(name=name, **more)
    container = {"name": "main", "image": "model:1", "resources": {"requests": {"cpu": cpu}}}
    spec = {"roleName": "a", "replicas": count, "minAvailable": count if minimum is None else minimum}
    obj["spec"]["template"]["cliques"] = [{"name": "a", "spec": {**spec, "podSpec": {"containers": [container]}}}]
    obj["spec"]["template"]["podCliqueScalingGroups"] = []
    return obj
