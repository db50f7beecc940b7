"""Updates: how a changed template reaches running pods, one set replica at a time.

RollingRecreate, as in Grove: within the replica that is being updated every standalone clique gives up pods that are
not ready at once and its ready ones one by one, every scaling group its replicas likewise; a next one goes only when
all others are well again. Replicas without any scheduled pod go first, then those below their minimum, then by index.
OnDelete: templates are passed on, pods are left alone. What to do is a pure function of what is there: an update in the
middle of an update, scaling and restarts need no memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, groups, model, naming, plan, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import children, keys
from grovekeeper.reconciler.context import Context

Pods = Mapping[str, Sequence[raw.Object]]
"""Living and terminating pods by UID of their PodClique."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One set replica as an update sees it."""

    index: int
    cliques: tuple[raw.Object, ...]
    """Standalone PodCliques and members of scaling groups, none that is being deleted."""
    groups: tuple[raw.Object, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now."""

    updating: int | None
    """Index of the set replica that is being updated; None when no replica is left."""
    pods: tuple[raw.Object, ...]
    cliques: tuple[raw.Object, ...]
    """PodCliques of scaling-group replicas to recreate."""


def decide(w: model.Workload, replicas: Sequence[Replica], pods: Pods) -> Step:
    """Return the next step. Pure; O(pods of the set) while an update is on, O(cliques) else."""
    outdated = [replica for replica in replicas if is_outdated(w, replica, pods)]
    if not outdated:
        return Step(None, (), ())
    chosen = _in_progress(w, outdated, pods) or min(outdated, key=lambda replica: _rank(replica, pods))
    doomed: list[raw.Object] = []
    recreated: list[raw.Object] = []
    for clique in chosen.cliques:
        if names.LABEL_SCALINGGROUP not in clique["metadata"]["labels"]:
            doomed += _standalone(clique, pods.get(clique["metadata"]["uid"], ()))
    for group in chosen.groups:
        recreated += _group(w, group, [c for c in chosen.cliques if _group_of(c) == group["metadata"]["name"]])
    return Step(chosen.index, tuple(doomed), tuple(recreated))


def is_outdated(w: model.Workload, replica: Replica, pods: Pods) -> bool:
    """Return whether anything of the replica is not at the newest template, or a new pod is not there yet."""
    for clique in replica.cliques:
        if _is_old(w, clique):
            return True
        if _group_of(clique) is None and any(
            plan.alive(pod) and _hash(pod) != _hash(clique) for pod in pods.get(clique["metadata"]["uid"], ())
        ):
            return True
    return False


def _in_progress(w: model.Workload, outdated: Sequence[Replica], pods: Pods) -> Replica | None:
    """Return the replica that has new pods already: it is finished before another begins."""
    for replica in outdated:
        for clique in replica.cliques:
            found = pods.get(clique["metadata"]["uid"], ())
            standalone = _group_of(clique) is None
            fresh = any(_hash(pod) == _hash(clique) for pod in found)
            mixed = standalone and fresh and any(_hash(pod) != _hash(clique) for pod in found)
            if mixed or (
                not standalone and not _is_old(w, clique) and len(outdated) > 1 and _some_old(w, replica, clique)
            ):
                return replica
    return None


def _some_old(w: model.Workload, replica: Replica, clique: raw.Object) -> bool:
    return any(_group_of(c) == _group_of(clique) and _is_old(w, c) for c in replica.cliques)


def _rank(replica: Replica, pods: Pods) -> tuple[bool, bool, int]:
    scheduled = any(
        plan.scheduled(pod) for clique in replica.cliques for pod in pods.get(clique["metadata"]["uid"], ())
    )
    breached = any(conditions.is_true(clique, status.BREACHED) for clique in replica.cliques)
    return scheduled, not breached, replica.index


def _standalone(clique: raw.Object, pods: Sequence[raw.Object]) -> list[raw.Object]:
    """Return the pods of one standalone clique to delete now."""
    old = [pod for pod in pods if plan.alive(pod) and _hash(pod) != _hash(clique)]
    unready = [pod for pod in old if not plan.ready(pod)]
    if unready or not old:
        return unready
    wanted = clique["spec"].get("replicas", 1)
    well = sum(1 for pod in pods if plan.alive(pod) and plan.ready(pod))
    if well < wanted or any(plan.terminating(pod) for pod in pods):
        return []
    return [min(old, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))]


def _group(w: model.Workload, group: raw.Object, members: Sequence[raw.Object]) -> list[raw.Object]:
    """Return the PodCliques of one group's replicas to recreate now."""
    template = next((g for g in w.groups if group["metadata"]["name"].endswith(f"-{g.name}")), None)
    minimum = template.min_available if template else 1
    wanted = groups.effective_replicas(group["spec"].get("replicas", 1), minimum)
    by_index: dict[int, list[raw.Object]] = {}
    for clique in members:
        by_index.setdefault(int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]), []).append(clique)
    old = {j: found for j, found in by_index.items() if any(_is_old(w, clique) for clique in found)}
    broken = [clique for found in old.values() if not _well(found) for clique in found]
    if broken or not old:
        return broken
    complete = template is None or all(len(found) == len(template.clique_names) for found in by_index.values())
    if len(by_index) < wanted or not complete or not all(_well(found) for found in by_index.values()):
        return []
    return old[min(old)]


def _well(members: Sequence[raw.Object]) -> bool:
    return all(
        (clique.get("status") or {}).get("readyReplicas", 0) >= (clique["spec"].get("minAvailable") or 0)
        for clique in members
    )


def _is_old(w: model.Workload, clique: raw.Object) -> bool:
    return _hash(clique) != _template(w, clique).template_hash


def _template(w: model.Workload, clique: raw.Object) -> model.CliqueTemplate:
    labels = clique["metadata"]["labels"]
    index = labels[w.dialect.label_replica_index]
    group = labels.get(names.LABEL_SCALINGGROUP)
    prefix = f"{group}-{labels[names.LABEL_SCALINGGROUP_INDEX]}-" if group else f"{w.name}-{index}-"
    return w.clique(clique["metadata"]["name"].removeprefix(prefix))


def _group_of(clique: raw.Object) -> str | None:
    found: str | None = clique["metadata"]["labels"].get(names.LABEL_SCALINGGROUP)
    return found


def _hash(obj: raw.Object) -> str | None:
    found: str | None = (obj["metadata"].get("labels") or {}).get(names.LABEL_TEMPLATE_HASH)
    return found


async def step(ctx: Context, w: model.Workload, fresh: raw.Object) -> None:
    """Do the next step of an update of this set, and put its progress into the status that is about to be written."""
    replicas = [_replica(ctx, w, index) for index in range(w.replicas)]
    pods: dict[str, list[raw.Object]] = {}
    for replica in replicas:
        for clique in replica.cliques:
            uid = clique["metadata"]["uid"]
            pods[uid] = ctx.stores.pods.by_index("owner", uid)
    outdated = [replica for replica in replicas if is_outdated(w, replica, pods)]
    chosen: Step = Step(None, (), ())
    if w.update_strategy.get("type") == names.UPDATE_ON_DELETE:
        await _pass_on(ctx, w, outdated)
    elif not w.update_strategy.get("paused"):
        chosen = decide(w, replicas, pods)
        await children.together(children.delete(ctx, resources.PODS, pod) for pod in chosen.pods)
        await children.together(children.delete(ctx, resources.PODCLIQUES, clique) for clique in chosen.cliques)
    await ctx.enqueue(*_behind(w, replicas))
    _progress(w, fresh, replicas, chosen, len(outdated), ctx.clock.stamp())


def _behind(w: model.Workload, replicas: Sequence[Replica]) -> list[str]:
    """Return keys of children that are at the newest template but have not said so: theirs did not change."""
    found = []
    for replica in replicas:
        for clique in replica.cliques:
            known = (clique.get("status") or {}).get(w.dialect.generation_hash_field)
            if known not in (None, w.generation_hash) and not _is_old(w, clique):
                found.append(keys.clique(w.namespace, clique["metadata"]["name"]))
        for group in replica.groups:
            known = (group.get("status") or {}).get(w.dialect.generation_hash_field)
            if known not in (None, w.generation_hash):
                found.append(keys.group(w.namespace, group["metadata"]["name"]))
    return found


def _replica(ctx: Context, w: model.Workload, index: int) -> Replica:
    mark = f"{w.namespace}/{w.name}/{index}"
    stores = ctx.stores
    return Replica(
        index,
        tuple(clique for clique in stores.cliques.by_index("replica", mark) if not plan.terminating(clique)),
        tuple(group for group in stores.groups.by_index("replica", mark) if not plan.terminating(group)),
    )


async def _pass_on(ctx: Context, w: model.Workload, outdated: Sequence[Replica]) -> None:
    """Write the new template into the members of scaling groups; standalone cliques have it already."""
    jobs = []
    for replica in outdated:
        for clique in replica.cliques:
            group = next((g for g in replica.groups if g["metadata"]["name"] == _group_of(clique)), None)
            if group is None or not _is_old(w, clique):
                continue
            template = next(
                g for g in w.groups if naming.group(w.name, replica.index, g.name) == group["metadata"]["name"]
            )
            j = int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX])
            count = clique["spec"].get("replicas", 1)
            desired = cliques.member(w, replica.index, template, j, _template(w, clique), group, count)
            jobs.append(children.ensure(ctx, resources.PODCLIQUES, desired))
    await children.together(jobs)


def _progress(
    w: model.Workload, fresh: raw.Object, replicas: Sequence[Replica], chosen: Step, outdated: int, now: str
) -> None:
    """Set the progress field, with Grove's names; it appears with the first update and stays after its end."""
    field = w.dialect.progress_field
    old: raw.Object = (w.raw.get("status") or {}).get(field) or {}
    known: str | None = (w.raw.get("status") or {}).get("currentGenerationHash")
    if (known is None and outdated) or (known is not None and known != w.generation_hash):
        # Without a status yet, the template was changed in the set's first moments.
        old = {"updateStartedAt": now}
    if not old:
        return
    standalone = [c for replica in replicas for c in replica.cliques if _group_of(c) is None]
    members = [group for replica in replicas for group in replica.groups]
    hashes = [(entry.get("status") or {}).get(w.dialect.generation_hash_field) for entry in (*standalone, *members)]
    done = [found == w.generation_hash for found in hashes]
    progress: raw.Object = {
        "updateStartedAt": old.get("updateStartedAt", now),
        "updatedPodCliquesCount": sum(done[: len(standalone)]),
        "totalPodCliquesCount": len(standalone),
        "updatedPodCliqueScalingGroupsCount": sum(done[len(standalone) :]),
        "totalPodCliqueScalingGroupsCount": len(members),
    }
    if chosen.updating is not None:
        progress["currentlyUpdating"] = [{"replicaIndex": chosen.updating, "updateStartedAt": now}]
        before = (old.get("currentlyUpdating") or [{}])[0]
        if before.get("replicaIndex") == chosen.updating:
            progress["currentlyUpdating"] = old["currentlyUpdating"]
    elif not outdated or w.update_strategy.get("type") == names.UPDATE_ON_DELETE:
        progress["updateEndedAt"] = old.get("updateEndedAt", now)
    fresh[field] = progress
