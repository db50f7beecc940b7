"""What the placement owner knows to be taken: nodes and pods with what was decided, claims, who could be evicted.

Kept from the events of nodes and pods, on the loop that decides. All of it can be rebuilt from the caches.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grovekeeper.api import raw
from grovekeeper.expand import plan
from grovekeeper.kube import resources
from grovekeeper.placement import snapshot
from grovekeeper.reconciler import decisions, ownership, reservations
from grovekeeper.reconciler.context import Context


@dataclass(slots=True)
class Occupancy:
    """The snapshot, and what goes with it."""

    ctx: Context
    room: snapshot.Snapshot = field(default_factory=snapshot.Snapshot)
    claims: reservations.Reservations = field(init=False)
    landed: int = 0
    """How often a pod of ours has got a node: gangs of higher priority could evict it from then on."""
    _priorities: Counter[int] = field(default_factory=Counter)
    """Number of our pods on nodes by priority: tells at once that there is nobody to preempt."""
    _held: dict[str, int] = field(default_factory=dict)
    """UID of each of these pods to its priority: what was counted, whatever the cache has known before an event."""
    _looking: set[str] = field(default_factory=set)
    """UIDs of pods of others that look for a node."""
    _ending: dict[str, tuple[raw.Object, float]] = field(default_factory=dict)
    """Pods on nodes that are being deleted, by UID, with the monotonic time by which their grace period is over: the
    clock of the API server, whose times they carry, may differ from ours."""

    def __post_init__(self) -> None:
        self.claims = reservations.Reservations(self.ctx, self.room)

    @property
    def contended(self) -> int:
        """Number of pods of others that look for a node."""
        return len(self._looking)

    def on_node(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Keep the snapshot's nodes."""
        if new is not None:
            self.room.upsert_node(new)
        elif old is not None:
            self.room.remove_node(old["metadata"]["name"])

    def on_pod(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Keep the snapshot's pods, and count pods of others that look for a node."""
        uid = (new or old or {})["metadata"]["uid"]
        self._count(uid, decisions.held_priority(new))
        if decisions.competes(new):
            self._looking.add(uid)
        else:
            self._looking.discard(uid)
        if new is not None and new["spec"].get("nodeName") and plan.terminating(new) and not plan.finished(new):
            left = new["metadata"].get("deletionGracePeriodSeconds") or 0
            over = self._ending[uid][1] if uid in self._ending else self.ctx.clock.monotonic() + left
            self._ending[uid] = new, over
        else:
            self._ending.pop(uid, None)
        ended = new is not None and plan.finished(new) and plan.terminating(new)
        gone = new if ended else old if new is None else None
        if gone is not None:
            self.claims.vanished(gone)
        if new is not None:
            self.room.upsert_pod(new, firm=decisions.succeeds(new))
            self.claims.appeared(new)
        elif old is not None:
            self.room.remove_pod(old["metadata"]["uid"])

    def _count(self, uid: str, priority: int | None) -> None:
        """Count a pod of ours on a node by its priority; None: it has no node, or is gone."""
        before = self._held.pop(uid, None)
        if before is not None:
            self._priorities[before] -= 1
        if priority is not None:
            self._held[uid] = priority
            self._priorities[priority] += 1
            self.landed += before is None

    def ending(self, patience: float) -> dict[str, raw.Object]:
        """Return by UID the pods whose room is about to be free for anybody. O(pods that are being deleted).

        Not those whose grace period has been over for more than `patience` seconds, counted from when this process has
        seen that they are being deleted.
        """
        now = self.ctx.clock.monotonic()
        return {
            uid: pod
            for uid, (pod, over) in self._ending.items()
            if over + patience > now and not self.claims.leaves(pod)
        }

    def are_there(self, pods: Sequence[raw.Object]) -> bool:
        """Return whether all pods still are what was decided about: what came between took its time."""
        fresh = (ownership.known(self.ctx, resources.PODS, pod) for pod in pods)
        return all(each is not None and plan.alive(each) for each in fresh)

    def take_back(self, pods: Sequence[raw.Object]) -> None:
        """Take back what was assumed for pods; what a successor among them holds by its nomination is charged again."""
        for pod in pods:
            self.room.forget(pod["metadata"]["uid"])
            fresh = ownership.known(self.ctx, resources.PODS, pod)
            # One that went meanwhile is not charged any more, and nobody would ever take a charge back again.
            if fresh is not None and plan.home(fresh) is not None:
                self.room.upsert_pod(fresh, firm=True)

    def recover(self) -> None:
        """Have what any owner has decided and nobody has bound yet take its room, and nothing else that was assumed."""
        self.claims.clear()
        self.room.forget_all()
        for live in self.ctx.stores.gangs.all():
            metadata = live["metadata"]
            decided = decisions.placement(live)
            for pod in self.ctx.stores.pods.by_index("gang", f"{metadata['namespace']}/{metadata['name']}"):
                # What is released goes where it is pinned: an earlier owner's write may have come late.
                node = decisions.place_of(pod) or decided.get(pod["metadata"]["name"])
                if node is not None and plan.alive(pod) and not pod["spec"].get("nodeName"):
                    self.room.assume(pod["metadata"]["uid"], pod["spec"], node)
            self._rebuild_claims(live)

    def _rebuild_claims(self, live: raw.Object) -> None:
        """Keep room for those pods of a gang that had a node, and of which nothing is there now. O(its pods)."""
        reserved = decisions.reserved(live)
        if not reserved:
            return
        mark = f"{live['metadata']['namespace']}/{live['metadata']['name']}"
        there = {pod["spec"].get("hostname") for pod in self.ctx.stores.pods.by_index("gang", mark)}
        for clique in self.ctx.stores.cliques.by_index("gang", mark):
            for host, left in decisions.places(clique):
                if host in reserved and host not in there:
                    self.claims.rebuild(mark, left, reserved[host], clique["spec"]["podSpec"])

    def lowest_priority(self) -> int | None:
        """Return the lowest priority of our pods on nodes; None where there are none."""
        return min((priority for priority, count in self._priorities.items() if count > 0), default=None)

    def has_room(self, pods: Sequence[raw.Object], nodes: Mapping[str, str]) -> bool:
        """Return whether each of these pods, which are charged already, has its room on its node (by pod name)."""
        return all(self.room.holds(pod["spec"], nodes[pod["metadata"]["name"]]) for pod in pods)
