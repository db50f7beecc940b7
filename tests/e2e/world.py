"""What a scenario sees: a namespace with nodes of its own on a cluster with Grovekeeper installed."""

import copy
import itertools
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from grovekeeper.api import names
from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.embedded.installation import Installation
from tests import patience
from tests.e2e import queues, statuses

Object = dict[str, Any]
Found = TypeVar("Found")
GROVE = "/apis/grove.io/v1alpha1"
BINDINGS = f"{GROVE}/clustertopologybindings"
_NUMBERS = itertools.count(1)
MERGE = "application/merge-patch+json"
PATIENCE = patience.factor()
SLOWNESS = patience.slowness()


class World:
    """One scenario's part of the cluster: pods go only to its nodes, each of which has room for one pod."""

    def __init__(self, cluster: Any, installation: Installation) -> None:
        self.cluster = cluster
        self.installation = installation
        self.namespace = f"e2e-{next(_NUMBERS)}"
        self.nodes: list[str] = []
        self.add_namespace(self.namespace)

    def add_namespace(self, name: str) -> None:
        """Create a namespace, and wait until pods may be created in it."""
        self.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
        self.wait(lambda: self.request("GET", accounts)["items"], f"the service account of {name}")

    def post(self, path: str, body: Object) -> Object:
        return self.request("POST", path, body)

    def request(self, method: str, path: str, body: object = None, content: str = "application/json") -> Object:
        """Make one request as the administrator; raises RefusedError."""
        result: Object = self.cluster.request(method, path, body, content)
        return result

    def path(self, plural: str, name: str = "", group: str = GROVE) -> str:
        return f"{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def add_nodes(self, count: int, *, cordoned: int = 0, more: Object | None = None) -> None:
        """Add nodes of one pod each: 7 a rack, 2 racks a block; the last `cordoned` of them cordoned.

        `more` is what they offer besides.
        """
        for index in range(count):
            name = f"{self.namespace}-n{index:02}"
            offered = {"cpu": "8", "memory": "100Mi", "pods": "20", **(more or {})}
            labels = {
                "kubernetes.io/hostname": name,
                "kubernetes.io/zone": f"{self.namespace}-z",
                "kubernetes.io/block": f"{self.namespace}-b{index // 14}",
                "kubernetes.io/rack": f"{self.namespace}-r{index // 7}",
                "pool": self.namespace,
            }
            spec = {"unschedulable": True} if index >= count - cordoned else {}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}
            self.post("/api/v1/nodes", {**node, "status": {"allocatable": offered, "capacity": offered}})
            self.nodes.append(name)

    def cordon(self, name: str, on: bool = True) -> int:
        """Cordon a node or let it be used again; return its resourceVersion."""
        node = self.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": on or None}}, MERGE)
        return int(node["metadata"]["resourceVersion"])

    def uncordon(self, count: int, *, at_once: bool = True) -> None:
        """Uncordon this many of the cordoned nodes; who places pods sees all of them at once, or one by one."""
        listed = self.request("GET", f"/api/v1/nodes?labelSelector=pool%3D{self.namespace}")["items"]
        cordoned = [n["metadata"]["name"] for n in listed if n.get("spec", {}).get("unschedulable")]
        assert len(cordoned) >= count
        with self._workers_stopped() if at_once else nullcontext():
            version = max(self.cordon(name, False) for name in cordoned[:count])
            if at_once and self._has("dispatcher"):
                # A look waits for the versions that its key names: it comes after the last of these changes.
                url = self.installation.redis.url
                self.wait(lambda: queues.noted(url, "room", "nodes") >= version, "the dispatcher to note the nodes")

    def _has(self, component: str) -> bool:
        process = self.installation.components[component].process
        return process is not None and process.poll() is None

    @contextmanager
    def _workers_stopped(self) -> Iterator[None]:
        """Stop the workers' processes for a moment."""
        workers = [c.process for name, c in self.installation.components.items() if name.startswith("worker")]
        running = [process for process in workers if process is not None and process.poll() is None]
        try:
            for process in running:
                process.send_signal(signal.SIGSTOP)
            yield
        finally:
            for process in running:
                process.send_signal(signal.SIGCONT)

    def apply(self, obj: Object) -> None:
        plural = {"PodGangSet": "podgangsets", "PodCliqueSet": "podcliquesets"}[obj["kind"]]
        path = f"{self.path(plural, obj['metadata']['name'])}?fieldManager=e2e&force=true"
        self.request("PATCH", path, obj, "application/apply-patch+yaml")

    def scale(self, plural: str, name: str, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        self.request("PATCH", self.path(plural, name) + "/scale", body, MERGE)

    def pods(self, clique: str = "") -> list[Object]:
        """Return living pods of sets, of one clique by the end of its name where given."""
        found = self.request("GET", self.path("pods", group="/api/v1"))["items"]
        alive = [p for p in found if not p["metadata"].get("deletionTimestamp")]
        alive = [p for p in alive if p.get("status", {}).get("phase") not in ("Failed", "Succeeded")]
        named = [(p, (p["metadata"].get("labels") or {}).get("grove.io/podclique")) for p in alive]
        return [p for p, name in named if name is not None and name.endswith(clique)]

    def delete_pod(self, name: str) -> None:
        self.request("DELETE", self.path("pods", name, "/api/v1"), {"gracePeriodSeconds": 0})

    def kill(self, pod: Object) -> str:
        """Cordon the pod's node and delete the pod: its successor finds no room. Return the node."""
        node: str = pod["spec"]["nodeName"]
        self.cordon(node)
        self.delete_pod(pod["metadata"]["name"])
        return node

    def advance(self, seconds: float) -> None:
        """Move the clock of Grovekeeper's decisions ahead."""
        file = self.installation.clock_file
        now = float(file.read_text()) if file.exists() else 0.0
        file.write_text(str(now + seconds))
        # Whoever waits for a moment sleeps in real time: have everything looked at again.
        poke = {"metadata": {"annotations": {names.ANNOTATION_RECONCILE: str(now + seconds)}}}
        for plural in ("podgangsets", "podcliquesets"):
            for obj in self.request("GET", self.path(plural))["items"]:
                self.request("PATCH", self.path(plural, obj["metadata"]["name"]), poke, MERGE)

    def get_set(self, name: str, plural: str = "podgangsets") -> Object:
        return self.request("GET", self.path(plural, name))

    def wait(self, check: Callable[[], Found], what: str, seconds: float = 25) -> Found:
        """Poll until the check holds, and return what it has found; the error says what is there instead."""
        seconds *= PATIENCE
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := check():
                return found
            time.sleep(0.1)
        waiting = queues.picture(self.installation.redis.url)
        there = f"{self.picture()}\n{waiting}\n{self.installation.logs()}"
        raise AssertionError(f"waited {seconds:.0f} s for {what}; there is:\n{there}")

    def wait_pods(self, total: int, running: int, seconds: float = 25) -> None:
        """Wait for this many pods, of which exactly `running` are ready and the others have no node."""

        def there() -> bool:
            pods = self.pods()
            return len(pods) == total and len([p for p in pods if is_ready(p)]) == running == len(
                [p for p in pods if p["spec"].get("nodeName")]
            )

        self.wait(there, f"{total} pods, {running} of them running", seconds)

    def stays(self, check: Callable[[], object], what: str, seconds: float = 1.5) -> None:
        """Check that something goes on holding, for as long as a usual machine takes `seconds` for the same work."""
        deadline = time.monotonic() + seconds * SLOWNESS
        while time.monotonic() < deadline:
            assert check(), f"{what} no longer holds:\n{self.picture()}"
            time.sleep(0.1)

    def picture(self) -> str:
        pods = self.request("GET", self.path("pods", group="/api/v1"))["items"]
        lines = [
            f"{p['metadata']['name']} {p['status'].get('phase')} {p['spec'].get('nodeName')} "
            f"{'gated' if p['spec'].get('schedulingGates') else ''} {p['metadata'].get('deletionTimestamp', '')}"
            for p in pods
        ]
        gangs = self.request("GET", self.path("podgangs", group="/apis/scheduler.grove.io/v1alpha1"))["items"]
        lines += [f"{g['metadata']['name']} {g.get('status')}" for g in gangs]
        for plural in ("podgangsets", "podcliquesets", "podcliquescalinggroups", "podcliques"):
            found = self.request("GET", self.path(plural))["items"]
            lines += [f"{obj['metadata']['name']} {obj['spec']['replicas']} {obj.get('status')}" for obj in found]
        return "\n".join(lines)

    def gang_condition(self, gang: str, type_: str) -> str:
        """Return the message of a PodGang's condition; nothing while there is none."""
        listed = self.request("GET", self.path("podgangs", group="/apis/scheduler.grove.io/v1alpha1"))["items"]
        return next((statuses.message(obj, type_) for obj in listed if obj["metadata"]["name"] == gang), "")

    def close(self) -> None:
        """Delete the sets and what a scenario has left of its own pods; wait for all to go; then nodes and bindings.

        A scenario that has failed in its middle leaves neither a second failure nor nodes that the next one would see.
        """
        try:
            for plural in ("podgangsets", "podcliquesets"):
                for obj in self.request("GET", self.path(plural))["items"]:
                    self._remove(self.path(plural, obj["metadata"]["name"]))
            for pod in self._all_pods():
                if not pod["metadata"].get("ownerReferences"):
                    self._remove(self.path("pods", pod["metadata"]["name"], "/api/v1"))
            self.wait(lambda: not self._all_pods(), "all pods to go", 30)
        finally:
            for name in self.nodes:
                self._remove(f"/api/v1/nodes/{name}")
            for obj in self.request("GET", BINDINGS)["items"]:
                self._remove(f"{BINDINGS}/{obj['metadata']['name']}")

    def _all_pods(self) -> list[Object]:
        found: list[Object] = self.request("GET", self.path("pods", group="/api/v1"))["items"]
        return found

    def _remove(self, path: str) -> None:
        """Delete what may be gone already, without grace where it is a pod."""
        try:
            self.request("DELETE", path, {"gracePeriodSeconds": 0} if "/pods/" in path else None)
        except RefusedError as error:
            if error.code != 404:
                raise

    def clique(self, name: str, replicas: int, minimum: int | None = None, **more: Any) -> Object:
        """Return a clique whose pods fill a node each and go to this world's nodes only."""
        container = {"name": "main", "image": "example.com/app:1", "resources": {"requests": {"memory": "80Mi"}}}
        pod_spec = {"containers": [container], "nodeSelector": {"pool": self.namespace}}
        extra = {key: more.pop(key) for key in ("topologyConstraint", "annotations") if key in more}
        spec = {
            "roleName": name,
            "replicas": replicas,
            "minAvailable": minimum or replicas,
            "podSpec": pod_spec,
            **more,
        }
        return {"name": name, "spec": spec, **extra}

    def set(
        self, cliques: Sequence[Object], groups: Sequence[Object] = (), replicas: int = 1, **template: Any
    ) -> Object:
        """Return a PodGangSet `w`; unless told otherwise, its gangs are not given up where a machine is slow."""
        body = {"cliques": list(cliques), "terminationDelay": "4h", **template}
        if groups:
            body["podCliqueScalingGroups"] = list(groups)
        strategy = body.pop("updateStrategy", None)
        spec: Object = {"replicas": replicas, "template": body}
        if strategy:
            spec["updateStrategy"] = strategy
        metadata = {"name": "w", "namespace": self.namespace}
        return {"apiVersion": "grove.io/v1alpha1", "kind": "PodGangSet", "metadata": metadata, "spec": spec}

    def wl1(self, **more: Any) -> Object:
        """Ten pods that are one gang."""
        cliques = [self.clique("pc-a", 2), self.clique("pc-b", 1), self.clique("pc-c", 3)]
        return self.set(cliques, [group(2, 2)], **more)

    def wl2(self, **more: Any) -> Object:
        """Ten pods: a base gang of at least three, a scaled gang of at least two."""
        cliques = [self.clique("pc-a", 2, 1), self.clique("pc-b", 1, 1), self.clique("pc-c", 3, 1)]
        return self.set(cliques, [group(2, 1)], **more)


def group(replicas: int, minimum: int, **more: Any) -> Object:
    """Return the scaling group sg-x of pc-b and pc-c."""
    return {"name": "sg-x", "cliqueNames": ["pc-b", "pc-c"], "replicas": replicas, "minAvailable": minimum, **more}


def changed(obj: Object, *cliques: str) -> Object:
    """Return the set with another environment variable in the containers of some cliques."""
    result = copy.deepcopy(obj)
    for clique in result["spec"]["template"]["cliques"]:
        if clique["name"] in cliques:
            for container in clique["spec"]["podSpec"]["containers"]:
                container.setdefault("env", []).append({"name": "UPDATE_TRIGGER", "value": str(next(_NUMBERS))})
    return result


def is_ready(pod: Object) -> bool:
    return statuses.is_true(pod, "Ready")


def is_updated(pod: Object) -> bool:
    return any(e["name"] == "UPDATE_TRIGGER" for e in pod["spec"]["containers"][0].get("env") or ())


def uids(pods: Iterable[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Return the code and the text of a refusal."""
    try:
        call()
    except RefusedError as error:
        return error.code, str(error)
    raise AssertionError("the call was not refused")
