"""The history of a set: one ControllerRevision per distinct template, and going back to the template of one.

Going back to an earlier template gives its revision the
highest number again, as StatefulSets do. What a replica still runs is never pruned, whatever the limit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from grovekeeper.api import names, raw
from grovekeeper.expand import cliques, history, model, parse
from grovekeeper.kube import resources
from grovekeeper.reconciler import children, ownership, progress
from grovekeeper.reconciler.context import Context


async def record(ctx: Context, w: model.Workload) -> None:
    """Have a revision of the set's template, with the highest number, and not more old ones than the set wants."""
    known = of_set(ctx, w)
    wanted = history.name(w)
    current = next((entry for entry in known if entry["metadata"]["name"] == wanted), None)
    highest = known[-1]["revision"] if known else 0
    if current is None:
        current = await children.ensure(
            ctx, resources.CONTROLLER_REVISIONS, history.controller_revision(w, highest + 1)
        )
    elif current is not known[-1]:
        metadata = current["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "revision": highest + 1}
        stored = await ctx.client.patch(
            resources.CONTROLLER_REVISIONS, metadata["name"], metadata["namespace"], body, type="merge"
        )
        children.observe(ctx, resources.CONTROLLER_REVISIONS, stored)
    known = of_set(ctx, w)
    if len(known) > w.history_limit:
        mark = f"{w.namespace}/{w.name}"
        doomed = surplus(w, known, [wanted], ctx.stores.cliques.by_index("set", mark))
        await children.together(children.delete(ctx, resources.CONTROLLER_REVISIONS, each) for each in doomed)


def of_set(ctx: Context, w: model.Workload) -> list[raw.Object]:
    """Return the set's revisions, the newest last."""
    found = [r for r in ctx.stores.revisions.by_index("owner", w.uid) if not ownership.terminating(r)]
    return sorted(found, key=number)


def number(found: raw.Object) -> tuple[int, str]:
    """Return the order of revisions: by number."""
    return int(found["revision"]), str(found["metadata"]["name"])


def surplus(
    w: model.Workload, known: Sequence[raw.Object], kept: Iterable[str], living: Sequence[raw.Object]
) -> list[raw.Object]:
    """Return the oldest revisions beyond the limit; neither `kept` ones nor those that living PodCliques run. Pure.

    `known` has the newest last. The current revision and those in use do not count against the limit.
    """
    spared = {*kept, *(found["metadata"]["name"] for found in _in_use(w, known, living))}
    old = [entry for entry in known if entry["metadata"]["name"] not in spared]
    return old[: max(0, len(old) - w.history_limit)]


def of_replica(ctx: Context, w: model.Workload, index: int) -> model.Workload:
    """Return the set as one replica is to run it now.

    A coherent update reaches a replica only when it is its turn, a paused one only those that it has begun with.
    Without a revision that fits what the replica runs (its cliques are of several) there is nothing to hold it at.
    """
    held = w.update_strategy.get("paused") or w.update_strategy.get("type") == names.UPDATE_COHERENT
    if not held or index in progress.updating(w):
        return w
    living = [
        clique
        for clique in ctx.stores.cliques.by_index("replica", f"{w.namespace}/{w.name}/{index}")
        if not ownership.terminating(clique) and cliques.template_of(w, clique) is not None
    ]
    if not any(cliques.is_old(w, clique) for clique in living):
        return w
    fitting = (as_it_was(w, found["data"]) for found in reversed(of_set(ctx, w)))
    return next((past for past in fitting if not any(cliques.is_old(past, clique) for clique in living)), w)


def as_it_was(w: model.Workload, template: raw.Object) -> model.Workload:
    """Return the set with the pods of an earlier template, and the counts and everything else of today's. Pure."""
    past = parse.workload({**w.raw, "spec": {**w.raw["spec"], "template": template}})
    before = {clique.name: clique for clique in past.cliques}
    return replace(w, priority_class=past.priority_class, cliques=tuple(_with_pods_of(c, before) for c in w.cliques))


def _with_pods_of(clique: model.CliqueTemplate, before: dict[str, model.CliqueTemplate]) -> model.CliqueTemplate:
    old = before.get(clique.name)
    if old is None:
        return clique
    return replace(
        clique, pod_spec=old.pod_spec, labels=old.labels, annotations=old.annotations, template_hash=old.template_hash
    )


def _in_use(w: model.Workload, known: Sequence[raw.Object], living: Sequence[raw.Object]) -> list[raw.Object]:
    """Return for each template that PodCliques still run the newest revision that has it."""
    found: list[raw.Object] = []
    left = [clique for clique in living if cliques.is_old(w, clique)]
    for entry in reversed(known):
        if not left:
            break
        past = as_it_was(w, entry["data"])
        rest = [clique for clique in left if cliques.is_old(past, clique)]
        if len(rest) < len(left):
            found.append(entry)
        left = rest
    return found
