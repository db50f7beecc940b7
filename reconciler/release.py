"""Carrying out what was decided: hold, look again, pin and ungate; and taking back what does not bind in time.

See docs/decisions/0005-hold-pin-ungate.md.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, creation, decisions, gangstatus, keys, occupancy, ownership, pins, view
from grovekeeper.reconciler.context import Context

_LOG = logging.getLogger(__name__)
_HOLD_FROM = 9
"""Gangs of at least this many pods are held by nomination even where nobody competes: patching them takes a while."""
_REFUSED_SECONDS = 300.0
"""For how long a gang keeps away from a node that the scheduler refused to it after we had chosen it."""
_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class Releases:
    """What was let go to kube-scheduler, and what kube-scheduler said to it."""

    ctx: Context
    taken: occupancy.Occupancy
    sent: dict[str, float] = field(default_factory=dict)
    """UID of a pod whose gate we removed, to the monotonic time of it."""
    doubtful: dict[str, str] = field(default_factory=dict)
    """UID of a pod whose release was not answered, to the node: it may have been carried out, or may still be."""
    refused: dict[str, dict[str, float]] = field(default_factory=dict)
    """Key of a gang, to the nodes that it keeps away from, to the monotonic time until which it does."""
    _away: dict[str, dict[str, str]] = field(default_factory=dict)
    """Key of a gang, to the nodes whose kubelets have refused to run a pod of it just now, with their reasons."""
    _whole: set[str] = field(default_factory=set)
    """Keys of gangs that were seen whole; their status says so only after a while."""

    def begin(self) -> None:
        """Begin an ownership: another owner may have made the gangs anew since this one saw them whole.

        What this one was in doubt about is what was decided, or somebody else has decided it anew since.
        """
        self._whole.clear()
        decided = {
            pod["metadata"]["uid"]: node
            for live in self.ctx.stores.gangs.all()
            for name, node in (decisions.placement(live) if self.doubtful else {}).items()
            if (pod := self.ctx.stores.pods.get(live["metadata"]["namespace"], name)) is not None
        }
        self.doubtful = {uid: node for uid, node in self.doubtful.items() if decided.get(uid) == node}

    async def carry_out(self, pods: Sequence[raw.Object], nodes: Mapping[str, str]) -> None:
        """Hold where somebody could take the room, then pin and ungate every pod with one patch."""
        policy = self.ctx.settings.reconcile.hold
        if policy == "always" or (policy == "contended" and (len(pods) >= _HOLD_FROM or self.taken.contended > 0)):
            await children.together(creation.nominate(self.ctx, pod, nodes[pod["metadata"]["name"]]) for pod in pods)
            if not self.taken.has_room(pods, nodes):
                raise errors.Conflict("somebody took the room while it was being held: placing again")
        if not self.taken.are_there(pods):
            raise errors.Conflict("a member went while the gang was being placed: looking again")
        await children.together(self._release(pod, nodes[pod["metadata"]["name"]]) for pod in pods)

    def in_doubt(self, pods: Sequence[raw.Object]) -> dict[str, str]:
        """Return by pod name the nodes to which these pods may have been released already, or may still be."""
        found = ((pod["metadata"]["name"], self.doubtful.get(pod["metadata"]["uid"])) for pod in pods)
        return {name: node for name, node in found if node is not None}

    async def make_sure(self, pods: Sequence[raw.Object], nodes: Mapping[str, str]) -> None:
        """Release once more what may have been released to these nodes (by pod name): nothing is decided in doubt.

        Whichever of the two requests comes second finds the gate gone. Raises kube.errors.Conflict (look again) when
        each of them was answered, and kube.errors.Unavailable while one is not.
        """
        doubtful = [pod for pod in pods if pod["metadata"]["name"] in nodes]
        await children.together(self._release(pod, nodes[pod["metadata"]["name"]]) for pod in doubtful)
        raise errors.Conflict("whether pods of the gang had been released was not known: looking again")

    async def _release(self, pod: raw.Object, node: str) -> None:
        metadata = pod["metadata"]
        fresh = ownership.known(self.ctx, resources.PODS, pod)
        # What is not there is not charged any more, and stays so.
        if fresh is None or not plan.gated(fresh) or plan.terminating(fresh):
            self.doubtful.pop(metadata["uid"], None)
            return
        self.taken.room.assume(metadata["uid"], fresh["spec"], node)
        try:
            stored = await self.ctx.client.patch(
                resources.PODS, metadata["name"], metadata["namespace"], pins.operations(fresh, node), type="json"
            )
        except (errors.NotFound, errors.Conflict, errors.Invalid) as error:
            _LOG.info("pod %s/%s was not released: %s", metadata["namespace"], metadata["name"], error)
            await self._look_again(fresh, error)
            return
        except (errors.Unavailable, asyncio.CancelledError) as error:
            if not isinstance(error, errors.Unavailable) or error.is_in_doubt:
                self.doubtful[metadata["uid"]] = node
            raise
        self.doubtful.pop(metadata["uid"], None)
        stored["metadata"].pop("managedFields", None)
        self.sent[metadata["uid"]] = self.ctx.clock.monotonic()
        self.ctx.stores.pods.observe(stored)

    async def _look_again(self, pod: raw.Object, refusal: errors.KubeError) -> None:
        """Take in what became of a pod that could not be released: what is gone has no room, what is released has.

        One that is still to be released keeps the room that is decided for it, or its gang would be torn. Its change
        may wake nobody (a gate of somebody else's that went): raises kube.errors.Conflict, try again, or the refusal
        itself where it has not changed.
        """
        uid = pod["metadata"]["uid"]
        live = await children.reread(self.ctx, resources.PODS, pod)
        node = decisions.place_of(live) if live is not None else None
        if isinstance(refusal, errors.Invalid) or live is None or not plan.gated(live):
            self.doubtful.pop(uid, None)  # of two requests alike both are refused, or one has been carried out
        if live is not None and node is not None:
            self.taken.room.assume(uid, live["spec"], node)
        elif live is None or not plan.alive(live) or not plan.gated(live):
            self.taken.room.forget(uid)
        else:
            raise children.changed(resources.PODS, pod, live, refusal) from refusal

    def on_pod(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Take in that a pod is released, or that a kubelet has refused to run it: its room was given away twice."""
        if new is not None and not plan.gated(new):
            self.doubtful.pop(new["metadata"]["uid"], None)
        why = decisions.turned_away(new)
        gang = ((new or {}).get("metadata", {}).get("labels") or {}).get(names.LABEL_PODGANG)
        if new is not None and gang and why and not decisions.turned_away(old):
            self._away.setdefault(keys.gang(new["metadata"]["namespace"], gang), {})[new["spec"]["nodeName"]] = why

    def note_whole(self, key: str, found: view.Found) -> None:
        """Remember that a gang has its minimum on nodes, until none of its pods has one."""
        if gangstatus.scheduled(found.gang, found.pods):
            self._whole.add(key)
        elif not any(pod["spec"].get("nodeName") for pods in found.pods.values() for pod in pods if plan.alive(pod)):
            self._whole.discard(key)

    async def unwind(self, key: str, found: view.Found) -> float | None:
        """Take back pods that were released and not bound in time; return seconds until the next time runs out.

        Also those that are bound while the rest of a gang that was never whole finds no room: a part is no gang.
        """
        away = self._away.pop(key, None)
        if away is not None and await self._without_the_refused(key, found, away):
            return None
        patience = self.ctx.settings.reconcile.bind_timeout_seconds
        loose = decisions.loose(found.pods)
        late = loose or self._parted(key, found)
        if not late:
            return None
        now = self.ctx.clock.monotonic()
        sent = [self.sent.setdefault(pod["metadata"]["uid"], now) for pod in late]
        left = patience - (now - (min(sent) if loose else max(sent)))
        raced = decisions.raced(loose, self.taken.room.holds)
        refused = decisions.refused_nodes(loose)
        if left > 0 and not raced:
            # Who took the room of a pod that was refused may be seen only a moment after the refusal.
            return min(left + 0.1, _LOOK_SECONDS) if refused else left + 0.1
        doomed = decisions.doomed(found.pods, was_whole=self._was_whole(key, found))
        # A node that is full is seen to be full; the others say no for a reason that the snapshot does not know.
        avoid = dict.fromkeys(refused - decisions.refused_nodes(raced), now + _REFUSED_SECONDS)
        if avoid:
            self.refused.setdefault(key, {}).update(avoid)
        why = f"{len(loose)} pods were not bound" if loose else "a part of it has nodes and the rest found no room"
        if raced:
            why = f"{len(raced)} pods lost their room to others"
        await self._take_back(found, doomed, f"{why}, after {patience - left:.0f} s")
        return None

    async def _without_the_refused(self, key: str, found: view.Found, away: Mapping[str, str]) -> bool:
        """Keep off nodes whose kubelets refused a pod; take a gang back that has only been whole on paper, if so."""
        until = self.ctx.clock.monotonic() + _REFUSED_SECONDS
        # What a kubelet had no room for the snapshot sees, or will; the other reasons it does not know.
        avoid = {node: until for node, why in away.items() if not why.startswith(decisions.OUT_OF)}
        if avoid:
            self.refused.setdefault(key, {}).update(avoid)
        live = self.ctx.stores.gangs.get(found.w.namespace, found.gang.name) or {}
        doomed = decisions.released(found.pods)
        if not doomed or gangstatus.scheduled(found.gang, found.pods) or gangstatus.was_whole(live.get("status") or {}):
            return False
        self._whole.discard(key)
        refusals = ", ".join(f"{node}: {why}" for node, why in sorted(away.items()))
        await self._take_back(found, doomed, f"kubelets refused to run its pods ({refusals})")
        return True

    async def _take_back(self, found: view.Found, doomed: Sequence[raw.Object], why: str) -> None:
        text = f"{found.gang.name}: {why}; {len(doomed)} are replaced"
        self.ctx.events.warning(found.w.raw, "GangUnbound", text, self.ctx.clock.stamp())
        self.taken.claims.given_up |= {pod["metadata"]["uid"] for pod in doomed}
        # What has a node goes first: with the others gone before it, it would look like what is left of a whole gang.
        for bound in (True, False):
            part = [pod for pod in doomed if bool(pod["spec"].get("nodeName")) == bound]
            await children.together(map(self._delete, part))

    async def _delete(self, pod: raw.Object) -> None:
        """Delete a pod that is released; without an answer it keeps its room, where it may be bound yet."""
        await children.delete(self.ctx, resources.PODS, pod)
        self.taken.room.forget(pod["metadata"]["uid"])

    def _parted(self, key: str, found: view.Found) -> list[raw.Object]:
        """Return the pods on nodes of a gang that lacks a part of its minimum and was never whole."""
        if gangstatus.scheduled(found.gang, found.pods) or self._was_whole(key, found):
            return []
        return decisions.released(found.pods)

    def _was_whole(self, key: str, found: view.Found) -> bool:
        live = self.ctx.stores.gangs.get(found.w.namespace, found.gang.name) or {}
        told = gangstatus.was_whole(live.get("status") or {})
        return told or key in self._whole or view.left_of_whole(self.ctx, found)

    def avoided(self, key: str) -> list[str]:
        """Return the nodes that a gang keeps away from at the moment, sorted."""
        now = self.ctx.clock.monotonic()
        kept = {node: until for node, until in self.refused.get(key, {}).items() if until > now}
        if not kept:
            self.refused.pop(key, None)
        return sorted(kept)

    def forget(self, key: str) -> None:
        """Forget a gang that is gone."""
        self.refused.pop(key, None)
        self._away.pop(key, None)
        self._whole.discard(key)

    def gone(self, uid: str) -> None:
        """Forget a pod that is gone."""
        self.sent.pop(uid, None)
        self.doubtful.pop(uid, None)
