"""All nodes' kubelets: init containers in order, the startup gate for real, then Running and Ready.

Annotations steer it, the same that steer the fake kubelets of the real control plane (tests/controlplane/stages.yaml):
embedded.grovekeeper.io/ready-after, /fail, /crash-loop, /stuck-terminating on pods and /lost on nodes.
"""

import asyncio
import contextlib
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import grovekeeper
from grovekeeper.api import conditions, duration, names, raw
from grovekeeper.embedded.storage import Collection, Storage

_PODS: Collection = ("", "pods")
_NODES: Collection = ("", "nodes")
_SECRETS: Collection = ("", "secrets")
_PREFIX = "embedded.grovekeeper.io/"
READY_AFTER = 0.02
"""Seconds that a started pod takes to become ready, unless its annotation says otherwise."""
GATE = Path(grovekeeper.__file__).parent / "initgate.py"


class Kubelet:
    """Brings bound pods up and takes deleted ones away."""

    def __init__(self, storage: Storage, url: str, now: Callable[[], str], ready_after: float = READY_AFTER) -> None:
        self._storage = storage
        self._url = url
        self._now = now
        self._ready_after = ready_after
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._dir = tempfile.TemporaryDirectory(prefix="grovekeeper-kubelet-")
        storage.listeners.append(self._on_event)

    async def stop(self) -> None:
        """End everything that runs."""
        for task in list(self._tasks.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._dir.cleanup()

    def _on_event(self, collection: Collection, kind: str, obj: raw.Object, _old: raw.Object | None) -> None:
        if collection == _NODES and kind != "DELETED":
            self._node(obj)
        if collection != _PODS:
            return
        uid = obj["metadata"]["uid"]
        if kind == "DELETED":
            task = self._tasks.pop(uid, None)
            if task is not None:
                task.cancel()
        elif obj["metadata"].get("deletionTimestamp"):
            self._spawn(f"{uid}/end", self._end(obj))
        elif obj["spec"].get("nodeName") and uid not in self._tasks:
            self._spawn(uid, self._start(obj))
        elif uid in self._tasks and _annotated(obj, "crash-loop", "fail") and self._tasks[uid].done():
            self._spawn(uid, self._break(obj))

    def _node(self, node: raw.Object) -> None:
        lost = (node["metadata"].get("annotations") or {}).get(f"{_PREFIX}lost")
        current = conditions.find((node.get("status") or {}).get("conditions"), "Ready")
        wanted = None if lost else True
        if current is None or current["status"] != ("Unknown" if lost else "True"):
            reason = "NodeStatusUnknown" if lost else "KubeletReady"
            fresh = conditions.condition("Ready", wanted, reason, "", self._now())
            status = {**(node.get("status") or {}), "conditions": [fresh]}
            asyncio.get_running_loop().call_soon(self._put_node, node["metadata"]["name"], status)

    def _put_node(self, name: str, status: raw.Object) -> None:
        node = self._storage.get(_NODES, ("", name))
        if node is not None:
            self._storage.put(_NODES, {**node, "status": status})

    def _spawn(self, key: str, work: "asyncio.coroutines.Coroutine[object, object, None]") -> None:  # type: ignore[name-defined]
        if key in self._tasks and not self._tasks[key].done():
            work.close()
            return
        self._tasks[key] = asyncio.get_running_loop().create_task(work)

    async def _start(self, pod: raw.Object) -> None:
        for container in pod["spec"].get("initContainers") or ():
            if container["name"] == names.INIT_GATE_CONTAINER and not await self._gate(pod, container):
                return
        after = (pod["metadata"].get("annotations") or {}).get(f"{_PREFIX}ready-after")
        await asyncio.sleep(duration.seconds(after) if after else self._ready_after)
        if _annotated(pod, "fail", "crash-loop"):
            await self._break(pod)
            return
        now = self._now()
        ready = [
            conditions.condition(kind, True, "", "", now)
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        containers = [
            {
                "name": c["name"],
                "image": c.get("image", ""),
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for c in pod["spec"]["containers"]
        ]
        self._status(pod, {"phase": "Running", "conditions": ready, "containerStatuses": containers, "startTime": now})

    async def _break(self, pod: raw.Object) -> None:
        now = self._now()
        unready = [
            conditions.condition("PodScheduled", True, "", "", now),
            conditions.condition("Ready", False, "", "", now),
        ]
        if _annotated(pod, "fail"):
            self._status(pod, {"phase": "Failed", "reason": "Evicted", "conditions": unready})
            return
        ended = {"exitCode": 1, "reason": "Error", "finishedAt": now, "startedAt": now}
        containers = [
            {
                "name": c["name"],
                "image": c.get("image", ""),
                "ready": False,
                "started": False,
                "restartCount": 3,
                "lastState": {"terminated": ended},
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            }
            for c in pod["spec"]["containers"]
        ]
        self._status(pod, {"phase": "Running", "conditions": unready, "containerStatuses": containers})

    async def _gate(self, pod: raw.Object, container: raw.Object) -> bool:
        """Run the real startup gate as a child process; return whether it let the pod through."""
        metadata = pod["metadata"]
        folder = Path(self._dir.name) / metadata["uid"]
        (folder / "token").mkdir(parents=True, exist_ok=True)
        (folder / "info").mkdir(exist_ok=True)
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        secret_name = volumes[names.INIT_GATE_TOKEN_VOLUME]["secret"]["secretName"]
        while True:
            secret = self._storage.get(_SECRETS, (metadata["namespace"], secret_name))
            if secret is not None and (secret.get("data") or {}).get("token"):
                break
            await asyncio.sleep(0.05)
        for key, value in secret["data"].items():
            (folder / "token" / key).write_bytes(b64decode(value))
        (folder / "info" / "namespace").write_text(metadata["namespace"])
        (folder / "info" / "podgangname").write_text(metadata["labels"].get(names.LABEL_PODGANG, ""))
        options = ["--api-server", self._url, "--token-dir", str(folder / "token"), "--info-dir", str(folder / "info")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(GATE), *container["args"], *options, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            return await process.wait() == 0
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise

    async def _end(self, pod: raw.Object) -> None:
        await asyncio.sleep(0.02)
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        live = self._storage.get(_PODS, key)
        if live is None or live["metadata"]["uid"] != pod["metadata"]["uid"] or _annotated(live, "stuck-terminating"):
            return
        if not live["metadata"].get("finalizers"):
            self._storage.remove(_PODS, live)

    def _status(self, pod: raw.Object, status: raw.Object) -> None:
        metadata = pod["metadata"]
        live = self._storage.get(_PODS, (metadata["namespace"], metadata["name"]))
        if live is None or live["metadata"]["uid"] != metadata["uid"]:
            return
        self._storage.put(_PODS, {**live, "status": {**(live.get("status") or {}), **status}})


def _annotated(obj: raw.Object, *words: str) -> bool:
    annotations = obj["metadata"].get("annotations") or {}
    return any(f"{_PREFIX}{word}" in annotations for word in words)
