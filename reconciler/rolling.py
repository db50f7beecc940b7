"""RollingRecreate, as in Grove: one set replica at a time, in it pod by pod and group replica by group replica. Pure.

Within the replica that is being updated every standalone clique gives up pods that are not ready at once and its ready
ones one by one, every scaling group its replicas likewise; a next one goes only when all others are well again.
Replicas without any scheduled pod go first, then those below their minimum, then by index. A replica that has begun is
brought to its end first.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, groups, model, naming, plan, status

Pods = Mapping[str, Sequence[raw.Object]]
"""Living and terminating pods by UID of their PodClique."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One set replica as an update sees it."""

    index: int
    cliques: tuple[raw.Object, ...]
    """Standalone PodCliques and members of scaling groups, none that is being deleted."""
    groups: tuple[raw.Object, ...]

    def standalone(self) -> list[raw.Object]:
        """Return the PodCliques outside of scaling groups."""
        return [clique for clique in self.cliques if group_of(clique) is None]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now."""

    updating: int | None
    """Index of the set replica that is being updated; None when no replica is left."""
    pods: tuple[raw.Object, ...]
    cliques: tuple[raw.Object, ...]
    """PodCliques of scaling-group replicas to move, with all of their pods."""


def decide(w: model.Workload, replicas: Sequence[Replica], pods: Pods, begun: Collection[int] = ()) -> Step:
    """Return the next step. `begun` are indexes that were being updated before. O(pods of cliques on their way)."""
    outdated = [replica for replica in replicas if is_outdated(w, replica, pods)]
    unfinished = [replica for replica in replicas if replica.index in begun and not is_finished(w, replica, pods)]
    if not outdated and not unfinished:
        return Step(None, (), ())
    chosen = next(iter(unfinished), None) or _in_progress(w, outdated, pods)
    if chosen is None:
        chosen = min(outdated, key=lambda replica: _rank(replica, pods))
    doomed: list[raw.Object] = []
    recreated: list[raw.Object] = []
    for clique in chosen.standalone():
        if cliques.is_old(w, clique):
            continue  # the newest template has not been passed on to it: its pods would be replaced for another one
        doomed += _standalone(clique, pods.get(clique["metadata"]["uid"], ()))
    for group in chosen.groups:
        members = [clique for clique in chosen.cliques if group_of(clique) == group["metadata"]["name"]]
        recreated += _group(w, chosen.index, group, members, pods)
    return Step(chosen.index, tuple(doomed), tuple(recreated))


def is_outdated(w: model.Workload, replica: Replica, pods: Pods) -> bool:
    """Return whether a PodClique or a living pod of the replica is not at the newest template."""
    return any(cliques.is_old(w, clique) or old_pods(clique, pods) for clique in replica.cliques)


def is_finished(w: model.Workload, replica: Replica, pods: Pods) -> bool:
    """Return whether the replica is at the newest template as a whole and available with it."""
    state = status.set_replica(w, replica.standalone(), replica.groups)
    return state.updated and not is_outdated(w, replica, pods)


def is_up(replica: Replica, pods: Pods) -> bool:
    """Return whether every PodClique of the replica has its minimum of ready pods."""
    return bool(replica.cliques) and _well(replica.cliques, pods)


def old_pods(clique: raw.Object, pods: Pods) -> list[raw.Object]:
    """Return the clique's living pods that have another template than the PodClique."""
    mine = cliques.mark_of(clique)
    found = pods.get(clique["metadata"]["uid"], ())
    return [pod for pod in found if plan.alive(pod) and cliques.mark_of(pod) != mine]


def is_settled(clique: raw.Object) -> bool:
    """Return whether the PodClique's status says that all of its pods have its template: nobody needs to look."""
    told = clique.get("status") or {}
    wanted = clique["spec"].get("replicas", 1)
    return bool(
        told.get("currentPodTemplateHash") == cliques.hash_of(clique)
        and told.get("observedGeneration") == clique["metadata"].get("generation")
        and told.get("updatedReplicas") == told.get("replicas") == wanted
    )


def group_of(clique: raw.Object) -> str | None:
    """Return the name of the scaling group that a PodClique belongs to."""
    found: str | None = clique["metadata"]["labels"].get(names.LABEL_SCALINGGROUP)
    return found


def _in_progress(w: model.Workload, outdated: Sequence[Replica], pods: Pods) -> Replica | None:
    """Return the replica that has new pods already: it is finished before another begins."""
    for replica in outdated:
        for clique in replica.cliques:
            found = pods.get(clique["metadata"]["uid"], ())
            if group_of(clique) is not None:
                if len(outdated) > 1 and not cliques.is_old(w, clique) and _has_old_sibling(w, replica, clique):
                    return replica
            elif old_pods(clique, pods) and any(cliques.mark_of(pod) == cliques.mark_of(clique) for pod in found):
                return replica
    return None


def _has_old_sibling(w: model.Workload, replica: Replica, clique: raw.Object) -> bool:
    return any(group_of(other) == group_of(clique) and cliques.is_old(w, other) for other in replica.cliques)


def _rank(replica: Replica, pods: Pods) -> tuple[bool, bool, int]:
    scheduled = any(
        (clique.get("status") or {}).get("scheduledReplicas", 0) > 0
        or any(plan.scheduled(pod) for pod in pods.get(clique["metadata"]["uid"], ()))
        for clique in replica.cliques
    )
    breached = any(conditions.is_true(clique, status.BREACHED) for clique in replica.cliques)
    return scheduled, not breached, replica.index


def _standalone(clique: raw.Object, pods: Sequence[raw.Object]) -> list[raw.Object]:
    """Return the pods of one standalone clique to delete now."""
    old = [pod for pod in pods if plan.alive(pod) and cliques.mark_of(pod) != cliques.mark_of(clique)]
    unready = [pod for pod in old if not plan.ready(pod)]
    if unready or not old:
        return unready
    wanted = clique["spec"].get("replicas", 1)
    well = sum(1 for pod in pods if plan.alive(pod) and plan.ready(pod))
    if well < wanted or any(plan.terminating(pod) for pod in pods):
        return []
    return [min(old, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))]


def _group(
    w: model.Workload, index: int, group: raw.Object, members: Sequence[raw.Object], pods: Pods
) -> list[raw.Object]:
    """Return the PodCliques of one group's replicas to recreate now."""
    name = group["metadata"]["name"]
    template = next((g for g in w.groups if naming.group(w.name, index, g.name) == name), None)
    if template is None:
        return []
    wanted = groups.effective_replicas(group["spec"].get("replicas", 1), template.min_available)
    by_index: dict[int, list[raw.Object]] = {}
    for clique in members:
        by_index.setdefault(int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]), []).append(clique)
    old = {
        j: found
        for j, found in by_index.items()
        if any(cliques.is_old(w, clique) or old_pods(clique, pods) for clique in found)
    }
    broken = [clique for found in old.values() if not _well(found, pods) for clique in found]
    if broken or not old:
        return broken
    complete = all(len(found) == len(template.clique_names) for found in by_index.values())
    if len(by_index) < wanted or not complete or not all(_well(found, pods) for found in by_index.values()):
        return []
    return old[min(old)]


def _well(members: Sequence[raw.Object], pods: Pods) -> bool:
    return all(_ready(clique, pods) >= (clique["spec"].get("minAvailable") or 0) for clique in members)


def _ready(clique: raw.Object, pods: Pods) -> int:
    """Return how many pods are ready: what the pods say where they are known, for the status may be from before."""
    found = pods.get(clique["metadata"]["uid"])
    if found is not None:
        return sum(1 for pod in found if plan.alive(pod) and plan.ready(pod))
    told: int = (clique.get("status") or {}).get("readyReplicas", 0)
    return told
