"""Room that pods left behind for their successors: the placement owner's memory of it, by hostname.

Where a successor exists and is nominated, its nomination holds the room, and nothing is needed here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from grovekeeper.api import names, raw
from grovekeeper.expand import groups, plan
from grovekeeper.placement import snapshot
from grovekeeper.reconciler.context import Context

_PREFIX = "reserved/"


@dataclass(frozen=True, slots=True)
class Claim:
    """Room on a node that waits for a pod of this hostname."""

    gang: str
    """namespace/name."""
    node: str
    left: raw.Object
    """Metadata of the pod that left it."""
    until: float
    """Seconds of the injected clock."""


@dataclass(slots=True)
class Reservations:
    """Claims, each with a charge in the snapshot. All of it can be rebuilt from nominations and PodGangs."""

    ctx: Context
    room: snapshot.Snapshot
    given_up: set[str] = field(default_factory=set)
    """UIDs of pods that go without leaving anything behind: our victims, and what did not bind in time."""
    _claims: dict[str, Claim] = field(default_factory=dict)
    _heirs: dict[str, str] = field(default_factory=dict)
    """UID of a pod to that of its successor."""

    def vanished(self, pod: raw.Object) -> bool:
        """Take in that a pod is gone: what it was charged with becomes a claim, where a successor is to come.

        Returns whether it has: then the pod's charge is no longer its own.
        """
        metadata = pod["metadata"]
        uid = metadata["uid"]
        node, leaves = self.room.node_of(uid), self.leaves(pod)
        heir = self._heirs.pop(uid, None)
        self.given_up.discard(uid)
        if node is None or not leaves:
            return False
        if heir is not None and self.room.node_of(heir) is not None:
            return False  # the room is the successor's already
        gang = f"{metadata['namespace']}/{metadata['labels'][names.LABEL_PODGANG]}"
        mark = mark_of(pod)
        self.room.hand_over(uid, mark)
        self._claims[mark] = Claim(gang, node, metadata, self._now() + self.ctx.settings.reconcile.reservation_seconds)
        return True

    def leaves(self, pod: raw.Object) -> bool:
        """Return whether a pod that has room leaves it to a successor when it goes, and not to anybody."""
        metadata = pod["metadata"]
        if metadata["uid"] in self.given_up or self.room.node_of(metadata["uid"]) is None:
            return False
        return not plan.disrupted(pod) and _is_firm(pod) and self._is_wanted(metadata)

    def appeared(self, pod: raw.Object) -> None:
        """Take in a pod as it is now: one that is charged itself needs no claim."""
        before = plan.predecessor(pod)
        if before is not None and not plan.terminating(pod):
            self._heirs[before] = pod["metadata"]["uid"]
        if self._claims and self.room.node_of(pod["metadata"]["uid"]) is not None:
            self.release(mark_of(pod))

    def rebuild(self, gang: str, left: raw.Object, node: str, spec: raw.Object) -> None:
        """Make the claim again that an earlier owner had: `left` has the namespace, name, labels of the pod to come."""
        mark = f"{_PREFIX}{left['namespace']}/{left['name']}"
        if mark not in self._claims and self._is_wanted(left):
            self.room.assume(mark, spec, node)
            until = self._now() + self.ctx.settings.reconcile.reservation_seconds
            self._claims[mark] = Claim(gang, node, left, until)

    def release(self, mark: str) -> bool:
        """Let a claim go; return whether there was one."""
        if self._claims.pop(mark, None) is None:
            return False
        self.room.remove_pod(mark)
        return True

    def expire(self) -> bool:
        """Let go of what nobody wants any more, or has waited too long; return whether that made room. O(claims)."""
        if not self._claims:
            return False
        now = self._now()
        gone = [mark for mark, claim in self._claims.items() if now >= claim.until or not self._is_wanted(claim.left)]
        for mark in gone:
            self.release(mark)
        return bool(gone)

    def of_pods(self, pods: Iterable[raw.Object]) -> dict[str, str]:
        """Return the nodes that are held for these pods, by pod name: by their nomination, or by a claim."""
        found = {}
        for pod in pods:
            claim = self._claims.get(mark_of(pod)) if self._claims else None
            node = plan.home(pod) or (claim.node if claim is not None else None)
            if node is not None:
                found[pod["metadata"]["name"]] = node
        return found

    def next_end(self, gang: str) -> float | None:
        """Return the seconds until the first claim of a gang ends; None where it has none."""
        ends = [claim.until for claim in self._claims.values() if claim.gang == gang]
        return max(0.0, min(ends) - self._now()) + 0.05 if ends else None

    def clear(self) -> None:
        """Forget all claims, for a new ownership."""
        for mark in list(self._claims):
            self.release(mark)

    def _now(self) -> float:
        return self.ctx.clock.now().timestamp()

    def _is_wanted(self, left: raw.Object) -> bool:
        """Return whether a pod of this hostname is still to be: set, replica, group replica and index exist. O(1)."""
        marks = left.get("labels") or {}
        owner = self.ctx.set_of({"metadata": left})
        if owner is None:
            return False
        w = self.ctx.workload(owner)
        if w.scheduler != names.SCHEDULER_STOCK or int(marks[w.dialect.label_replica_index]) >= w.total:
            return False  # another scheduler's successor may go anywhere
        namespace = left["namespace"]
        group = marks.get(names.LABEL_SCALINGGROUP)
        if group is not None:
            live = self.ctx.stores.groups.get(namespace, group)
            if live is not None:
                wanted = groups.effective_replicas(
                    live["spec"].get("replicas", 1), live["spec"].get("minAvailable") or 1
                )
                if int(marks[names.LABEL_SCALINGGROUP_INDEX]) >= wanted:
                    return False
        clique = self.ctx.stores.cliques.get(namespace, marks[names.LABEL_PODCLIQUE])
        if clique is None or plan.terminating(clique):
            return True  # it is being made again
        spec = clique["spec"]
        count = groups.effective_replicas(spec.get("replicas", 1), spec.get("minAvailable") or 0)
        return int(marks.get(names.LABEL_POD_INDEX, -1)) < count


def mark_of(pod: raw.Object) -> str:
    """Return the key under which a pod's claim is charged: hostnames are unique in a namespace."""
    return f"{_PREFIX}{pod['metadata'].get('namespace')}/{pod['spec'].get('hostname')}"


def _is_firm(pod: raw.Object) -> bool:
    """Return whether the pod is a gang's and had more than a wish: a node, or a decision, or a predecessor's place."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    ours = labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY and names.LABEL_PODGANG in labels
    return ours and bool(pod["spec"].get("hostname")) and _has_place(pod)


def _has_place(pod: raw.Object) -> bool:
    return plan.home(pod) is not None or not plan.gated(pod)
