"""Writing PodGangs: the decision with the spec, in one write, and the status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import gangs, labels, model, plan
from grovekeeper.kube import resources
from grovekeeper.reconciler import asks, children, decisions, gangstatus, recreations, statuses, view
from grovekeeper.reconciler.context import Context
from grovekeeper.runtime import clock

_SETTLE_SECONDS = 30.0
_REST_SECONDS = 3.0


@dataclass(slots=True)
class Writer:
    """Writes PodGangs, and knows which of their statuses can wait."""

    ctx: Context
    _phases: dict[str, tuple[str, float]] = field(default_factory=dict)
    """UID of a PodGang without a status yet, to its phase and the monotonic time since which it is in it."""

    def check_name(self, found: view.Found) -> None:
        """Raise children.Collision where the PodGang of this name is somebody else's: it says nothing of this gang."""
        live = self.ctx.stores.gangs.get(found.w.namespace, found.gang.name)
        if live is not None:
            wanted = {"metadata": {"ownerReferences": [labels.owner(found.w.raw)]}}
            children.check_owner(resources.PODGANGS, live, wanted)

    async def persist(
        self, found: view.Found, levels: Mapping[str, str], nodes: Mapping[str, str], score: float | None = None
    ) -> None:
        """Persist the decision with the PodGang in one write; decisions of released pods that live on are kept.

        One about a gated pod goes with the next decision about its gang, which may be for another domain: a pod that
        this one leaves out is not to be released by an older one.
        """
        w, gang = found.w, found.gang
        references = {fqn: [p["metadata"]["name"] for p in pods if plan.alive(p)] for fqn, pods in found.pods.items()}
        alive = {name for listed in references.values() for name in listed}
        gated = {p["metadata"]["name"] for pods in found.pods.values() for p in pods if nodes and plan.gated(p)}
        live = self.ctx.stores.gangs.get(w.namespace, gang.name)
        before = {name: node for name, node in decisions.placement(live).items() if name not in gated}
        decided = {name: node for name, node in {**before, **nodes}.items() if name in alive}
        cliques = [self.ctx.stores.cliques.get(w.namespace, member.fqn) for member in gang.members]
        hosts = {p["metadata"]["name"]: p["spec"].get("hostname") or "" for pods in found.pods.values() for p in pods}
        known = {**decisions.reserved(live), **{hosts[name]: node for name, node in decided.items()}}
        annotations = decisions.annotations(decided, known, [clique for clique in cliques if clique is not None], score)
        if nodes and decisions.preempted(live):
            annotations[names.ANNOTATION_PREEMPTED] = ""  # it has room again
        await children.ensure(self.ctx, resources.PODGANGS, gangs.podgang(w, gang, references, levels, annotations))

    def levels(self, w: model.Workload) -> dict[str, str]:
        """Return the node label of each level of the set's topology; empty where it has none."""
        topology = gangs.topology_name(w)
        return asks.levels_of(self.ctx.stores.topologies.get(None, topology) if topology else None)

    async def _restored(self, found: view.Found) -> raw.Object | None:
        """Write the PodGang of a gang that runs without one again, from where its pods are: somebody deleted it."""
        nodes = {p["metadata"]["name"]: decisions.place_of(p) for pods in found.pods.values() for p in pods}
        there = {name: node for name, node in nodes.items() if node is not None}
        if not there:
            return None
        await self.persist(found, self.levels(found.w), there)
        return self.ctx.stores.gangs.get(found.w.namespace, found.gang.name)

    async def _refresh_references(self, found: view.Found, live: raw.Object) -> None:
        listed = {ref["name"] for group in live["spec"]["podgroups"] for ref in group["podReferences"]}
        alive = {p["metadata"]["name"] for pods in found.pods.values() for p in pods if plan.alive(p)}
        if listed != alive:
            await self.persist(found, self.levels(found.w), {})

    async def announce(self, found: view.Found, why: str) -> None:
        """Say what a gang waits for that is not asked about yet: by an event, and on a PodGang that can tell it."""
        self.ctx.events.warning(found.w.raw, "GangHeld", f"{found.gang.name}: {why}", self.ctx.clock.stamp())
        if self.ctx.stores.gangs.get(found.w.namespace, found.gang.name) is None:
            await self.persist(found, self.levels(found.w), {})

    async def write_status(
        self, found: view.Found, why_not: str | None, extra: Sequence[raw.Object] = (), *, base_is_placed: bool = True
    ) -> float | None:
        """Write the PodGang's status; while all goes well the first write waits for the gang to be ready."""
        live = self.ctx.stores.gangs.get(found.w.namespace, found.gang.name) or await self._restored(found)
        if live is None:
            return None
        live = await self._preempted(found, live)
        known, now, preempted = live.get("status") or {}, self.ctx.clock.stamp(), decisions.preempted(live)
        if preempted:
            preempted = f"made room for {preempted}"
        fresh = gangstatus.status(
            known,
            found.gang,
            found.pods,
            why_not,
            now,
            base_is_placed=base_is_placed,
            preempted=preempted,
            whole=view.left_of_whole(self.ctx, found),
        )
        fresh["conditions"] = conditions.merged(fresh["conditions"], extra)
        score = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_SCORE)
        if score is not None:
            fresh["placementScore"] = float(score)
        count = recreations.count(
            found.gang.name, live, self.ctx.stores.groups.get(found.w.namespace, found.gang.group or "")
        )
        if count:
            fresh["recreations"] = count
        later = self._later(live, fresh, why_not)
        if later > 0:
            return later
        if fresh["phase"] == "Running" and (live.get("status") or {}).get("phase") != "Running":
            await self._refresh_references(found, live)
        await children.write_status(self.ctx, resources.PODGANGS, live, fresh)
        return None

    async def _preempted(self, found: view.Found, live: raw.Object) -> raw.Object:
        """Note on the PodGang that another scheduler has preempted its pods, or (of one that it places) placed them."""
        whole, noted = gangstatus.scheduled(found.gang, found.pods), decisions.preempted(live)
        gone = any(plan.preempted(pod) for pods in found.pods.values() for pod in pods)
        if gone and not whole and not noted:
            value = decisions.BY_OTHERS
        elif whole and noted and found.w.scheduler != names.SCHEDULER_STOCK:
            value = ""
        else:
            return live
        return await children.annotate(self.ctx, resources.PODGANGS, live, {names.ANNOTATION_PREEMPTED: value}) or live

    def _later(self, live: raw.Object, fresh: raw.Object, why_not: str | None) -> float:
        """Return for how many seconds to put the status off: while all goes well it is written once, when at rest."""
        old = live.get("status") or {}
        if why_not is not None or old == fresh or "conditions" in old:
            self._phases.pop(live["metadata"]["uid"], None)
            return 0.0
        now = self.ctx.clock.monotonic()
        phase, since = self._phases.setdefault(live["metadata"]["uid"], (fresh["phase"], now))
        if phase != fresh["phase"]:
            since = now
            self._phases[live["metadata"]["uid"]] = (fresh["phase"], now)
        age = (self.ctx.clock.now() - clock.parse(live["metadata"]["creationTimestamp"])).total_seconds()
        pause = _REST_SECONDS - (now - since) if fresh["phase"] == "Running" else _SETTLE_SECONDS - age
        way = statuses.give_way(old, age, self.ctx.coming.count(self.ctx.clock.now().timestamp()))
        return max(0.0, pause, way)
