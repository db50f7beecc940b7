"""What the caches say of a gang and of what is around it. Reads only; O(pods of the gang and of its siblings)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from grovekeeper.api import names, raw
from grovekeeper.expand import gangs, model, naming, plan
from grovekeeper.reconciler import asks, decisions, gangstatus, keys, ownership
from grovekeeper.reconciler.context import Context

Pods = dict[str, list[raw.Object]]


@dataclass(frozen=True, slots=True)
class Found:
    """A gang with everything that a decision about it needs."""

    w: model.Workload
    gang: gangs.Gang
    pods: Pods
    """Pods by PodClique FQN."""


class View:
    """Gangs as the caches have them."""

    def __init__(self, ctx: Context, node_of: Callable[[str], str | None]) -> None:
        self._ctx = ctx
        self._stores = ctx.stores
        self._node_of = node_of
        """From a pod's UID to the node that it has or is about to have."""

    def find(self, key: keys.Key) -> Found | None:
        """Return the gang by its name, if its set still wants it. O(cliques of the set replica)."""
        mark = f"{key.namespace}/{key.name}"
        clique = next(iter(self._stores.cliques.by_index("gang", mark)), None)
        owner = self._ctx.set_of(clique) if clique is not None else None
        if clique is None or owner is None:
            return None
        w = self._ctx.workload(owner)
        index = int(clique["metadata"]["labels"][w.dialect.label_replica_index])
        if index >= w.total:
            return None
        live = self.live(w, index)
        gang = next((each for each in gangs.of_replica(w, index, live) if each.name == key.name), None)
        return None if gang is None else Found(w, gang, self.pods(w.namespace, gang.name))

    def unwanted(self, key: keys.Key) -> raw.Object | None:
        """Return the PodGang of this name if its set lives and has no such gang (any more); None in doubt."""
        live = self._stores.gangs.get(key.namespace, key.name)
        owner = ownership.owner(self._ctx, live) if live is not None else None
        if live is None or owner is None:
            return None
        w = self._ctx.workload(owner)
        text = live["metadata"]["labels"].get(w.dialect.label_replica_index, "")
        if not text.isdigit():
            return None
        index = int(text)
        if index < w.total and any(each.name == key.name for each in gangs.of_replica(w, index, self.live(w, index))):
            return None
        return live

    def live(self, w: model.Workload, index: int) -> model.Live:
        """Return the replica counts of a set replica's living children."""
        mark = f"{w.namespace}/{w.name}/{index}"
        cliques, groups = self._stores.cliques, self._stores.groups
        return model.Live(
            {c["metadata"]["name"]: c["spec"].get("replicas", 1) for c in cliques.by_index("replica", mark)},
            {g["metadata"]["name"]: g["spec"].get("replicas", 1) for g in groups.by_index("replica", mark)},
        )

    def pods(self, namespace: str, gang: str) -> Pods:
        """Return a gang's pods by PodClique FQN, terminating ones included; no successors before their time.

        Pods of an earlier PodClique of the same name are about to be deleted and make no gang complete.
        """
        result: Pods = {}
        for pod in plan.members(self._stores.pods.by_index("gang", f"{namespace}/{gang}")):
            fqn = pod["metadata"]["labels"][names.LABEL_PODCLIQUE]
            clique, owner = self._stores.cliques.get(namespace, fqn), ownership.controller(pod)
            if clique is not None and owner is not None and owner.get("uid") == clique["metadata"]["uid"]:
                result.setdefault(fqn, []).append(pod)
        return result

    def base_is_placed(self, found: Found) -> bool:
        """Return whether a scaled gang's base gang has the nodes of its minimum; True for a base gang."""
        if found.gang.base is None:
            return True
        base = gangs.base(found.w, found.gang.index, self.live(found.w, found.gang.index))
        return gangstatus.scheduled(base, self.pods(found.w.namespace, base.name))

    def scaled_and_gated(self, found: Found) -> list[str]:
        """Return the keys of a base gang's scaled gangs that have gated pods."""
        scaled = gangs.of_replica(found.w, found.gang.index, self.live(found.w, found.gang.index))[1:]
        return [
            keys.gang(found.w.namespace, gang.name)
            for gang in scaled
            if any(plan.gated(pod) for pods in self.pods(found.w.namespace, gang.name).values() for pod in pods)
        ]

    def around(
        self,
        found: Found,
        reserved: Mapping[str, str],
        avoid: Sequence[str],
        closed: frozenset[str],
        homes: Mapping[str, str],
        *,
        minimum_only: bool,
    ) -> asks.Around:
        """Return what a gang's placement depends on besides its own pods. `homes` is nodes held for them, by name."""
        base = found.gang.base
        near = self._nodes(found.w.namespace, "gang", [base]) if base is not None else ()
        near = tuple(dict.fromkeys([*homes.values(), *near]))
        peers = self._replicas(found), self._groups(found)
        within = self._base_domain(found)
        late = self._followers(found)
        return asks.Around(near, reserved, tuple(avoid), closed, homes, minimum_only, *peers, late, within)

    def _followers(self, found: Found) -> list[gangs.Gang]:
        """Return the scaled gangs of a base gang that have no place yet, those that have no pods yet among them."""
        w, gang = found.w, found.gang
        if gang.base is not None:
            return []
        scaled = gangs.of_replica(w, gang.index, self.live(w, gang.index))[1:]
        return [each for each in scaled if not self._nodes(w.namespace, "gang", [each.name])]

    def _base_domain(self, found: Found) -> asks.Within | None:
        """Return the node label and its values that a scaled gang must share with its base gang, where it must."""
        w, gang = found.w, found.gang
        topology = gangs.topology_name(w)
        if gang.base_domain is None or gang.base is None or topology is None:
            return None
        key = asks.levels_of(self._stores.topologies.get(None, topology)).get(gang.base_domain)
        if key is None:
            return None  # the set's condition TopologyLevelsUnavailable says so
        nodes = (self._stores.nodes.get(None, name) for name in self._nodes(w.namespace, "gang", [gang.base]))
        labels = ((node["metadata"].get("labels") or {}).get(key) for node in nodes if node is not None)
        return key, tuple(sorted({value for value in labels if value is not None}))

    def _replicas(self, found: Found) -> asks.Peers:
        w, gang = found.w, found.gang
        if not gang.spread or gang.group is not None:
            return ()
        others = (naming.replica(w.name, index) for index in range(w.total) if index != gang.index)
        return tuple(self._nodes(w.namespace, "gang", [name]) for name in others)

    def _groups(self, found: Found) -> dict[str, asks.Peers]:
        w, gang = found.w, found.gang
        spread = {sub.group for sub in gang.subgangs if sub.spread}
        if gang.spread and gang.group is not None:
            spread.add(gang.group)
        mine = {member.fqn for member in gang.members}
        result = {}
        for template in w.groups if spread else ():
            fqn = naming.group(w.name, gang.index, template.name)
            if fqn in spread:
                count = self.live(w, gang.index).groups.get(fqn, template.replicas)
                members = [[naming.member(fqn, j, name) for name in template.clique_names] for j in range(count)]
                others = [cliques for cliques in members if not mine & {*cliques}]
                result[fqn] = tuple(self._nodes(w.namespace, "clique", cliques) for cliques in others)
        return result

    def _nodes(self, namespace: str, index: str, marks: Sequence[str]) -> tuple[str, ...]:
        """Return the nodes of living pods: bound, or decided a moment ago."""
        found = set()
        for mark in marks:
            for pod in self._stores.pods.by_index(index, f"{namespace}/{mark}"):
                node = pod["spec"].get("nodeName") or self._node_of(pod["metadata"]["uid"])
                if node and plan.alive(pod):
                    found.add(node)
        return tuple(sorted(found))


def left_of_whole(ctx: Context, found: Found) -> bool:
    """Return whether the pods of a gang whose PodGang tells nothing yet are what is left of a whole one."""
    w, gang = found.w, found.gang
    live = ctx.stores.gangs.get(w.namespace, gang.name)
    if "conditions" in ((live or {}).get("status") or {}):
        return False
    decided = decisions.placement(live) if w.scheduler == names.SCHEDULER_STOCK else None
    everybody = [pod for pods in found.pods.values() for pod in pods]
    made = ((member, ctx.stores.cliques.get(w.namespace, member.fqn)) for member in gang.members)
    return any(
        decisions.was_met(clique, member.minimum, found.pods.get(member.fqn, ()), everybody, decided)
        for member, clique in made
        if clique is not None
    )
