"""Everything of a sequence together: the plane, our processes, the injected time, and what is checked at each write."""

import asyncio
import contextlib
import json
import random
from datetime import datetime, timedelta
from typing import Any

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from grovekeeper.placement import shape
from grovekeeper.reconciler import caches, pins, worker
from tests.property import claims, domains, plane, processes
from tests.reconciler import world

ROUNDS = 400
RESYNC = timedelta(seconds=600)


class Fleet:
    """Two workers, of which one owns placement, and a dispatcher, on one plane."""

    def __init__(self, seed: int, **options: Any) -> None:
        self.chance = random.Random(seed)
        self.clock = world.Clock()
        self.server = plane.Plane(self.clock, self.chance)
        self.server._put("clustertopologybindings", domains.BINDING)
        self.domains = domains.Watch(self.server)
        self._options = options
        self.queues = {name: processes.Queue(name, self.clock) for name in (worker.RECONCILE, worker.PLACE)}
        self.broken: list[str] = []
        """What was found wrong at a write."""
        self.was_whole: set[str] = set()
        """Gangs of which the whole minimum was once without its gate."""
        self._heard = 0
        """How much had happened to pods when the round began."""
        self.workers = [self._worker(), self._worker()]
        self.watcher = self._watcher()
        self.leader = 0
        self._next_resync = self.clock.moment + RESYNC
        self._lead()

    def _worker(self) -> processes.Process:
        made = processes.Process(self.server, self.queues, self.chance, self._observe, **self._options)
        made.start(self.server)
        return made

    def _watcher(self) -> processes.Watcher:
        made = processes.Watcher(self.server, self.queues, self.chance, self._observe)
        made.start(self.server)
        return made

    def everybody(self) -> list[processes.Process]:
        return [*self.workers, self.watcher]

    def _lead(self) -> None:
        self._found: set[str] | None = None
        """The keys that an ownership begins with, until they are sent; None before it has begun."""

    async def _begin(self) -> None:
        leader = self.workers[self.leader]
        if self._found is None and leader.alive:
            with contextlib.suppress(processes.Died):
                self._found = await leader.owner.begin()

    def move_lead(self) -> None:
        """Have the other worker own placement, as when the Lease was lost."""
        self.leader = 1 - self.leader
        self._lead()

    def empty_redis(self) -> None:
        """Lose everything that is queued; the dispatcher notices within a second."""
        for each in self.queues.values():
            each.clear()
        self._next_resync = self.clock.moment + timedelta(seconds=1)

    async def settle(self, most: int = ROUNDS) -> None:
        """Let everybody work until nothing is due, or for so many rounds."""
        for _ in range(most):
            before = self.server.log.length, self._pending()
            await self._round()
            if before == (self.server.log.length, 0) == (self.server.log.length, self._pending()):
                return
        if most == ROUNDS:
            self.broken.append(f"no end in sight: {[each.due for each in self.queues.values()]}")

    def _pending(self) -> int:
        return sum(moment <= self.clock.moment for each in self.queues.values() for moment in each.due.values())

    async def _round(self) -> None:
        self._heard = len(self.server.log.of["pods"])
        self.server.work()
        self._raise_the_dead()
        for each in self.everybody():
            each.deliver()
            each.note_strangers()
        if self._next_resync <= self.clock.moment:
            self._next_resync = self.clock.moment + RESYNC
            self.watcher.dispatch.resync()
        await self._begin()
        leader = self.workers[self.leader]
        jobs = [each.reconcile() for each in self.workers]
        if self._found is not None:
            jobs += [leader.place(), leader.place()]
        await asyncio.gather(self._pump(), *jobs)
        await self._send()
        self._note_whole()
        self.broken += (text for text in self.domains.torn() if text not in self.broken)

    async def _pump(self) -> None:
        """Have the dispatcher hear and send while the workers are in the middle of things."""
        for _ in range(self.chance.randrange(1, 6)):
            await self._send()
            for _ in range(self.chance.randrange(12)):
                await asyncio.sleep(0)
            self.watcher.deliver()
            if self.chance.random() < 0.3:
                for _ in range(self.chance.randrange(4)):
                    self.server.crowd()
                self.server.bind()
                await self.server.land()
                for each in self.workers:
                    each.deliver()

    async def _send(self) -> None:
        try:
            await self.watcher.dispatch.flush()
            leader = self.workers[self.leader]
            if self._found and leader.alive:
                await leader.ctx.enqueue(*sorted(self._found))
                self._found = set()
        except processes.Died:
            return

    def _raise_the_dead(self) -> None:
        for position, each in enumerate(self.workers):
            if not each.alive:
                self.workers[position] = self._worker()
                if position == self.leader:
                    self.leader = self.chance.randrange(2)
                    self._lead()
        if not self.watcher.alive:
            self.watcher = self._watcher()

    async def advance(self, seconds: float) -> None:
        """Let time pass; whatever becomes due is done at its moment."""
        end = self.clock.moment + timedelta(seconds=seconds)
        await self.settle()
        while not self.broken:
            moment = min(self._moments())
            if moment > end:
                break
            self.clock.moment = max(moment, self.clock.moment + timedelta(milliseconds=1))
            await self.settle()
        self.clock.moment = max(self.clock.moment, end)
        await self.settle()

    def _moments(self) -> list[datetime]:
        found = [self._next_resync, *self.server.timers]
        for each in self.queues.values():
            found += each.next()
        return found

    def writes(self) -> int:
        """How many writes our processes have asked for."""
        return sum(n for call, n in self.server.calls.items() if not call.startswith("get"))

    # What is checked at each call of ours.

    def _observe(
        self,
        process: processes.Process,
        verb: str,
        resource: resources.Resource,
        rest: tuple[Any, ...],
        more: dict[str, Any],
    ) -> None:
        if resource is resources.PODS and verb == "create" and not more.get("dry_run"):
            self._check_created(process, rest[0])
        if resource is resources.PODS and verb == "patch" and more["type"] == "json":
            self._check_released(process, rest[0], rest[1], rest[2])

    def _check_created(self, process: processes.Process, pod: raw.Object) -> None:
        if (without := claims.lacking(self.server, pod)) and self._is_of_the_set(pod):
            self.broken.append(f"{pod['metadata']['name']} is created before its claims: {without}")
        if process.feeds["pods"].behind():
            return  # it is surplus, gated, and gone as soon as somebody sees both: `_check_released` holds that
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if key in self.server.of("pods"):
            return
        for other in self._same_index(pod):
            if plan.predecessor(pod) != other["metadata"]["uid"]:
                self.broken.append(f"{key[1]} is a second living pod of the index of {other['metadata']['name']}")

    def _is_of_the_set(self, pod: raw.Object) -> bool:
        """Whether the pod's PodClique, the set of it and its replica are there: what is of others goes as a whole."""
        clique = self.server.of("podcliques").get(("ns", pod["metadata"]["labels"][names.LABEL_PODCLIQUE]))
        obj = self.the_set()
        if clique is None or obj is None or plan.terminating(clique):
            return False
        label = names.DIALECTS[obj["kind"]].label_replica_index
        if int(pod["metadata"]["labels"][label]) >= obj["spec"]["replicas"]:
            return False
        mine = clique["metadata"]["uid"] == pod["metadata"]["ownerReferences"][0]["uid"]
        return mine and clique["metadata"]["ownerReferences"][0]["uid"] == obj["metadata"]["uid"]

    def _same_index(self, pod: raw.Object) -> list[raw.Object]:
        """Other living pods of the same PodClique that have the pod's index; successors that wait do not count."""
        owner = pod["metadata"]["ownerReferences"][0]["uid"]
        living = [p for p in plan.members(self.server.live()) if p["metadata"]["name"] != pod["metadata"]["name"]]
        mine = [p for p in living if p["metadata"]["ownerReferences"][0]["uid"] == owner]
        return [other for other in mine if plan.pod_index(other) == plan.pod_index(pod)]

    def _check_released(self, process: processes.Process, name: str, namespace: str, patch: list[raw.PatchOp]) -> None:
        pod = self.server.of("pods").get((namespace, name))
        if pod is None or pod["metadata"]["uid"] != patch[0]["value"]:
            return
        for other in self._same_index(pod):
            self.broken.append(f"{name} is released while {other['metadata']['name']} lives")
        if others := claims.users(self.server, pod):
            self.broken.append(f"{name} is released while {others} have its claim")
        gang_name = pod["metadata"]["labels"][names.LABEL_PODGANG]
        live = self.server.of("podgangs").get((namespace, gang_name))
        if live is None:
            self.broken.append(f"{name} is released and {gang_name} does not exist")
            return
        decided = json.loads(live["metadata"]["annotations"].get(names.ANNOTATION_PLACEMENT, "{}"))
        target = pinned(patch)
        if target is None or decided.get(name) != target:
            self.broken.append(f"{name} is released to {target} and decided was {decided.get(name)}")
            return
        node = self.server.of("nodes").get(("", target))
        mine = [
            p for p in self.server.live() if p is not pod and target in (p["spec"].get("nodeName"), pins.pinned_to(p))
        ]
        mine += [
            p for p in process.ctx.stores.pods.by_index("node", target) if p["metadata"]["uid"] in process.strangers
        ]
        if node is not None and sum(map(plane.cpu, [pod, *mine])) > shape.allocatable(node)["cpu"]:
            self.broken.append(f"{name} makes {target} too full beside {[p['metadata']['name'] for p in mine]}")
        base = pod["metadata"]["labels"].get(names.LABEL_BASE_PODGANG)
        # A base gang that was whole may lose a member between the look and the release: nothing can be done about it.
        before = self._short(process.ctx.stores, base, {}) if base is not None and base not in self.was_whole else []
        if before:
            self.broken.append(f"{name} is released before its base gang has its nodes: {before}")
        short = self._short(process.ctx.stores, gang_name, decided)
        if short and gang_name not in self.was_whole:
            self.broken.append(f"{name} is released and its gang is not complete: {short}")

    def _short(self, stores: caches.Stores, gang_name: str, decided: dict[str, str]) -> list[str]:
        """Cliques of a gang of which fewer pods than the minimum have a place, as a process sees them.

        A decided pod that goes while the others are being released still counts: no write spans two pods.
        """
        found = []
        going = decided.keys() & self._gone_in_this_round()
        for clique, minimum in self.members(gang_name, stores.groups.get("ns", group_of(gang_name) or "")).items():
            live = stores.cliques.get("ns", clique)
            if live is not None and live["spec"]["replicas"] == 0:
                continue
            pods = [p for p in stores.pods.by_index("clique", f"ns/{clique}") if plan.alive(p)]
            placed = sum(1 for p in pods if p["spec"].get("nodeName") or p["metadata"]["name"] in decided)
            placed += sum(name.rpartition("-")[0] == clique for name in going - {p["metadata"]["name"] for p in pods})
            if placed < minimum:
                found.append(f"{clique} has {placed} of {minimum}")
        return found

    def _gone_in_this_round(self) -> set[str]:
        news = self.server.log.of["pods"][self._heard :]
        return {e.old["metadata"]["name"] for e in news if e.old and (e.new is None or not plan.alive(e.new))}

    def the_set(self) -> raw.Object | None:
        """The set that the sequence is about, if it is there."""
        for plural in ("podcliquesets", "podgangsets"):
            if ("ns", "demo") in self.server.of(plural):
                return self.server.of(plural)["ns", "demo"]
        return None

    def members(self, gang_name: str, group: raw.Object | None = None) -> dict[str, int]:
        """PodCliques and minimum of a gang of the set `demo`: front, and pool with lead and work."""
        obj = self.the_set()
        if obj is None:
            return {}
        template = obj["spec"]["template"]
        minimum = {clique["name"]: clique["spec"]["minAvailable"] for clique in template["cliques"]}
        least = template["podCliqueScalingGroups"][0]["minAvailable"]
        if "-pool-" in gang_name:
            prefix, _, index = gang_name.rpartition("-")
            return {f"{prefix}-{int(index) + least}-{name}": minimum[name] for name in ("lead", "work")}
        result = {f"{gang_name}-front": minimum["front"]}
        live = self.server.of("podcliquescalinggroups").get(("ns", f"{gang_name}-pool")) if group is None else group
        if live is None or live["spec"]["replicas"] > 0:
            for j in range(least):
                result |= {f"{gang_name}-pool-{j}-{name}": minimum[name] for name in ("lead", "work")}
        return result

    def _note_whole(self) -> None:
        pods: dict[str, list[raw.Object]] = {}
        for pod in self.server.live():
            pods.setdefault(pod["metadata"]["labels"][names.LABEL_PODGANG], []).append(pod)
        for gang_name, listed in pods.items():
            free: dict[str, int] = {}
            for pod in listed:
                clique = pod["metadata"]["labels"][names.LABEL_PODCLIQUE]
                free[clique] = free.get(clique, 0) + (not plan.gated(pod))
            if not any(free.values()):
                self.was_whole.discard(gang_name)
            elif not self.lacking(gang_name, free):
                self.was_whole.add(gang_name)
        self.was_whole &= pods.keys()

    def lacking(self, gang_name: str, counts: dict[str, int]) -> list[str]:
        """Cliques of a gang that have fewer than their minimum of these counts, idle ones aside."""
        cliques = self.server.of("podcliques")
        return [
            name
            for name, minimum in self.members(gang_name).items()
            if counts.get(name, 0) < minimum
            and (cliques.get(("ns", name)) or {"spec": {"replicas": 1}})["spec"]["replicas"]
        ]


def group_of(gang_name: str) -> str:
    """The scaling group of a gang of the set `demo`."""
    return gang_name.rpartition("-")[0] if "-pool-" in gang_name else f"{gang_name}-pool"


def pinned(patch: list[raw.PatchOp]) -> str | None:
    """The node to which a patch pins."""
    text = json.dumps(patch)
    found = [node for op in patch[3:] for node in _values(op["value"])]
    return found[0] if found and "metadata.name" in text else None


def _values(value: raw.Json) -> list[str]:
    if isinstance(value, dict):
        if value.get("key") == "metadata.name":
            return list(value["values"])
        return [found for child in value.values() for found in _values(child)]
    return [found for child in value for found in _values(child)] if isinstance(value, list) else []
