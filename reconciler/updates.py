"""Updates: how a changed template reaches running pods.

RollingRecreate (`rolling`) replaces pod by pod and group replica by group replica; Coherent (`coherent`) whole set
replicas; OnDelete passes templates on and leaves pods alone. What to do is a pure function of what is there and of the
replicas that the status says have begun: an update in the middle of an update, scaling and restarts need no memory.
"""

from collections.abc import Iterable, Sequence

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import cliques, model, naming, plan, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import (
    children,
    coherent,
    creation,
    decisions,
    faults,
    keys,
    ownership,
    progress,
    revisions,
    rolling,
    succession,
)
from grovekeeper.reconciler.context import Context
from grovekeeper.reconciler.rolling import Replica

_AGAIN_SECONDS = 5.0
"""When to look again after a successor was refused."""


async def step(ctx: Context, w: model.Workload, fresh: raw.Object) -> float | None:
    """Do the next step of an update of this set, and put its progress into the status that is about to be written.

    Returns the seconds until the progress deadline would pass; None where there is none.
    """
    begun = progress.updating(w)
    replicas, pods = _look(ctx, w, begun)
    outdated = [replica for replica in replicas if rolling.is_outdated(w, replica, pods)]
    updating: Sequence[int] = [r.index for r in replicas if r.index in begun and not rolling.is_finished(w, r, pods)]
    surge = 0
    trouble: str | None = None
    strategy = w.update_strategy.get("type")
    if w.update_strategy.get("paused"):
        surge = w.surge if strategy == names.UPDATE_COHERENT else 0
    elif strategy == names.UPDATE_ON_DELETE:
        updating = ()
        await _pass_on(ctx, w, outdated, None)
    elif strategy == names.UPDATE_COHERENT:
        chosen = _choose(w, replicas, pods)
        updating, surge = chosen.updating, chosen.surge
        await _note(ctx, w, progress.fresh(w, replicas, _seen(ctx, w, updating, surge, outdated), ctx.clock.stamp()))
        trouble = await _renew(ctx, w, [replicas[index] for index in updating])
    else:
        doing = rolling.decide(w, replicas, pods, begun)
        updating = () if doing.updating is None else (doing.updating,)
        await _note(ctx, w, progress.fresh(w, replicas, _seen(ctx, w, updating, surge, outdated), ctx.clock.stamp()))
        trouble = await _roll(ctx, w, frozenset(updating))
    await ctx.enqueue(*_behind(w, replicas))
    seen = _seen(ctx, w, updating, surge, outdated)
    found = progress.fresh(w, replicas, seen, ctx.clock.stamp())
    ended = "updateEndedAt" in (found or {}) and "updateEndedAt" not in progress.noted(w)
    if ended and len(revisions.of_set(ctx, w)) > w.history_limit + 1:
        # Nobody runs the earlier templates any more: the history may shrink to its limit.
        await ctx.enqueue(keys.set_key(w.dialect.kind, w.namespace, w.name))
    left = _show(ctx, w, fresh, found, (trouble, seen.preempted)) if found is not None else None
    return left if trouble is None else min(left or _AGAIN_SECONDS, _AGAIN_SECONDS)


async def _roll(ctx: Context, w: model.Workload, begun: frozenset[int]) -> str | None:
    """Do what is to be done in the replica that is being updated; return why no pod was replaced, if so.

    What to do is decided anew after each wait: a part that was well before it may have broken meanwhile, and would be
    the second one that is missing.
    """
    replicas, doing = _decide(ctx, w, begun)
    if doing.pods:
        trouble = await _replace(ctx, w, doing.pods)
        if trouble is not None:
            return trouble
        replicas, doing = _decide(ctx, w, begun)
    return await _recreate(ctx, w, replicas, doing)


def _decide(ctx: Context, w: model.Workload, begun: frozenset[int]) -> tuple[list[Replica], rolling.Step]:
    """Return the set replicas and what to do in the one that has begun; nothing in any other, which is not noted."""
    replicas, pods = _look(ctx, w, begun)
    doing = rolling.decide(w, replicas, pods, begun)
    return replicas, doing if doing.updating in begun else rolling.Step(None, (), ())


def _look(ctx: Context, w: model.Workload, begun: frozenset[int]) -> tuple[list[Replica], rolling.Pods]:
    """Return the set replicas, and the pods of PodCliques that are on their way."""
    replicas = [_replica(ctx, w, index) for index in range(w.total)]
    pods = {
        clique["metadata"]["uid"]: _pods(ctx, clique)
        for replica in replicas
        for clique in replica.cliques
        if replica.index in begun or not rolling.is_settled(clique)
    }
    return replicas, pods


def _seen(
    ctx: Context, w: model.Workload, updating: Sequence[int], surge: int, outdated: Sequence[Replica]
) -> progress.Observed:
    marks = (f"{w.namespace}/{w.name}/{index}" for index in updating)
    gangs = (gang for mark in marks for gang in ctx.stores.gangs.by_index("replica", mark))
    preempted = sorted(gang["metadata"]["name"] for gang in gangs if decisions.preempted(gang))
    return progress.Observed(updating, surge, len(outdated), preempted)


def _show(
    ctx: Context, w: model.Workload, fresh: raw.Object, found: raw.Object, why: tuple[str | None, Sequence[str]]
) -> float | None:
    """Put progress and its condition into the status; say once that the deadline has passed.

    `why` is what the API server says where it takes no pods, and the gangs that were preempted.
    """
    trouble, preempted = why
    fresh[w.dialect.progress_field] = found
    now = ctx.clock.now()
    verdict, left = progress.condition(w, found, now, preempted)
    if trouble is not None:
        verdict = {**verdict, "message": f"{verdict['message']}; nothing is replaced while pods are refused: {trouble}"}
    fresh["conditions"] = conditions.merged(fresh["conditions"], [verdict])
    if verdict["reason"] == progress.EXCEEDED:
        known = conditions.find((w.raw.get("status") or {}).get("conditions"), progress.PROGRESSING)
        if known is None or known["reason"] != progress.EXCEEDED:
            ctx.events.warning(w.raw, progress.EXCEEDED, verdict["message"], ctx.clock.stamp())
        fresh["conditions"] = faults.stalled(
            w.raw, fresh["conditions"], progress.EXCEEDED, verdict["message"], ctx.clock.stamp()
        )
    # A moment later than exactly: the stamps have whole seconds.
    return None if left is None else left + 0.05


def _choose(w: model.Workload, replicas: Sequence[Replica], pods: rolling.Pods) -> coherent.Step:
    states = []
    for replica in replicas:
        if not replica.cliques and not replica.groups:
            continue  # it is about to be made
        state = status.set_replica(w, replica.standalone(), replica.groups)
        outdated = rolling.is_outdated(w, replica, pods)
        # Old pods under a new template: a change in the set's first moments, before there was a revision to hold it at.
        new_here = outdated and replica.index not in progress.updating(w)
        old = new_here or any(cliques.is_old(w, clique) for clique in replica.cliques)
        finished = state.updated and not outdated
        # Statuses may not have been written yet: what its pods say counts as well, or a healthy one would look broken.
        available = state.available or (state.exists and rolling.is_up(replica, pods))
        states.append(coherent.State(replica.index, old, finished, available))
    unavailable, surge = coherent.limits(w)
    return coherent.decide(w.replicas, unavailable, surge, states, progress.updating(w), w.surge)


async def _note(ctx: Context, w: model.Workload, found: raw.Object | None) -> None:
    """Write down which replicas are about to move, before they do, against exactly the status that was read.

    Raises kube.errors.Conflict (try again) where the cache is behind: nothing is taken down on old knowledge.
    """
    known = progress.noted(w)
    watched = ("currentlyUpdating", "surgeReplicas")
    if found is None or all(found.get(field) == known.get(field) for field in watched):
        return
    metadata = w.raw["metadata"]
    gone = {key: None for key in (w.raw.get("status") or {}).get(w.dialect.progress_field) or {} if key not in found}
    body = {
        "metadata": {"resourceVersion": metadata["resourceVersion"]},
        "status": {w.dialect.progress_field: {**found, **gone}, "currentGenerationHash": w.generation_hash},
    }
    resource = resources.SETS[w.dialect.kind]
    stored = await ctx.client.patch(
        resource, metadata["name"], metadata["namespace"], body, type="merge", subresource="status"
    )
    children.observe(ctx, resource, stored)


async def _renew(ctx: Context, w: model.Workload, moving: Sequence[Replica]) -> str | None:
    """Give all PodCliques of these replicas the newest template, then replace every pod from before.

    Cliques whose template did not change move, too. They are marked first: while one of the others is old, all of this
    is done again should it be cut short. Returns why no pod was replaced, if so.
    """
    old = [replica for replica in moving if any(cliques.is_old(w, clique) for clique in replica.cliques)]
    await children.together(
        _mark(ctx, w, clique) for replica in old for clique in replica.cliques if not cliques.is_old(w, clique)
    )
    await _pass_on(ctx, w, old, w.generation_hash)
    known = {clique["metadata"]["uid"] for replica in moving for clique in replica.cliques}
    fresh = [
        clique
        for replica in moving
        for clique in _replica(ctx, w, replica.index).cliques
        if clique["metadata"]["uid"] in known and not cliques.is_old(w, clique)
    ]
    doomed = [p for clique in fresh for p in rolling.old_pods(clique, {clique["metadata"]["uid"]: _pods(ctx, clique)})]
    return await _replace(ctx, w, doomed)


async def _recreate(ctx: Context, w: model.Workload, replicas: Sequence[Replica], doing: rolling.Step) -> str | None:
    """Move replicas of scaling groups, each as a whole; their PodCliques stay, so that nobody gets their room."""
    parts: dict[tuple[str | None, str], list[raw.Object]] = {}
    for clique in doing.cliques:
        index = clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX]
        parts.setdefault((rolling.group_of(clique), index), []).append(clique)
    if doing.updating is None or not parts:
        return None
    groups = replicas[doing.updating].groups
    return await _renew(ctx, w, [Replica(doing.updating, tuple(found), groups) for found in parts.values()])


async def _replace(ctx: Context, w: model.Workload, doomed: Sequence[raw.Object]) -> str | None:
    """Replace pods by successors that hold their nodes; return why the API server takes no successors, if so.

    Raises kube.errors.Conflict (try again) where the set has changed since, and this may not be wanted any more.
    """
    ownership.check_current(ctx, w.raw)
    try:
        await succession.replace(ctx, w, doomed)
    except creation.Refused as refused:
        ctx.events.warning(w.raw, "PodCreateFailed", str(refused), ctx.clock.stamp())
        return str(refused)
    return None


def _pods(ctx: Context, clique: raw.Object) -> list[raw.Object]:
    """Return the pods of a PodClique that count."""
    return plan.members(ctx.stores.pods.by_index("owner", clique["metadata"]["uid"]))


def _behind(w: model.Workload, replicas: Sequence[Replica]) -> list[str]:
    """Return keys of children that are at the newest template but have not said so: theirs did not change."""
    found = []
    for replica in replicas:
        for clique in replica.cliques:
            known = (clique.get("status") or {}).get(w.dialect.generation_hash_field)
            if known not in (None, w.generation_hash) and not cliques.is_old(w, clique):
                found.append(keys.clique(w.namespace, clique["metadata"]["name"]))
        for group in replica.groups:
            known = (group.get("status") or {}).get(w.dialect.generation_hash_field)
            if known not in (None, w.generation_hash):
                found.append(keys.group(w.namespace, group["metadata"]["name"]))
    return found


def _replica(ctx: Context, w: model.Workload, index: int) -> Replica:
    mark = f"{w.namespace}/{w.name}/{index}"
    stores = ctx.stores
    found = stores.cliques.by_index("replica", mark)
    return Replica(
        index,
        tuple(c for c in found if not plan.terminating(c) and cliques.template_of(w, c) is not None),
        tuple(group for group in stores.groups.by_index("replica", mark) if not plan.terminating(group)),
    )


async def _mark(ctx: Context, w: model.Workload, clique: raw.Object) -> None:
    metadata = clique["metadata"]
    if (metadata.get("annotations") or {}).get(names.ANNOTATION_MOVED) == w.generation_hash:
        return
    body = {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "annotations": {names.ANNOTATION_MOVED: w.generation_hash},
        }
    }
    stored = await ctx.client.patch(resources.PODCLIQUES, metadata["name"], metadata["namespace"], body, type="merge")
    children.observe(ctx, resources.PODCLIQUES, stored)


async def _pass_on(ctx: Context, w: model.Workload, replicas: Iterable[Replica], moved: str | None) -> None:
    """Write the newest template into the PodCliques of these replicas. Their replica counts stay.

    `moved` is written into them as the update that recreates them as a whole, where it is one.
    """
    jobs = []
    for replica in replicas:
        owners = {group["metadata"]["name"]: group for group in replica.groups}
        for clique in replica.cliques:
            template = cliques.template_of(w, clique)
            if template is None or not cliques.is_old(w, clique):
                continue
            count = clique["spec"].get("replicas", 1)
            group = rolling.group_of(clique)
            if group is None:
                desired = cliques.standalone(w, replica.index, template, count)
            else:
                configured = next((g for g in w.groups if naming.group(w.name, replica.index, g.name) == group), None)
                if configured is None or group not in owners:
                    continue
                j = int(clique["metadata"]["labels"][names.LABEL_SCALINGGROUP_INDEX])
                desired = cliques.member(w, replica.index, configured, j, template, owners[group], count)
            if moved is not None:
                desired["metadata"]["annotations"][names.ANNOTATION_MOVED] = moved
            kept = children.keeping(desired, clique)
            jobs.append(children.ensure_of(ctx, w.raw, resources.PODCLIQUES, kept))
    await children.together(jobs)
