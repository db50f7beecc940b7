"""Keeping the PodDisruptionBudgets of PodCliques: from when a clique has been up for a moment, while it is to have one.

A clique whose pods somebody else's budget selects has none of ours: the eviction API refuses pods with two. A node that
has been cordoned for long is not held up for ever: budgets of cliques with pods on it give way.
"""

from collections.abc import Sequence

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import budgets, model, plan
from grovekeeper.kube import errors, resources
from grovekeeper.placement import shape
from grovekeeper.reconciler import children
from grovekeeper.reconciler.context import Context
from grovekeeper.runtime import clock

_UP_SECONDS = 10.0
"""What has just come up is not protected yet: the writes of a big roll-out come first."""
_LATEST_SECONDS = 60.0
"""For so long at most a budget waits until nothing of ours is coming up."""
_AGAIN_SECONDS = 5.0


async def keep(ctx: Context, w: model.Workload, clique: raw.Object, pods: Sequence[raw.Object]) -> float | None:
    """Have the clique's budget, or none; return when to look again, in seconds. `pods` are those that count."""
    metadata = clique["metadata"]
    known = ctx.stores.budgets.get(metadata["namespace"], metadata["name"])
    if known is not None and not is_ours(known):
        return None  # it has the name: our own would be in its way
    left = _drained(ctx, pods)
    # at zero replicas it would only be a budget that cannot be kept, which people have alerts for
    wanted = clique["spec"].get("replicas") != 0 and budgets.wanted(
        w, default=ctx.settings.reconcile.disruption_budgets
    )
    if not wanted or _is_covered(ctx, pods) or (left is not None and left <= 0):
        await _drop(ctx, known)
        return None
    if known is None:
        now = ctx.clock.now().timestamp()
        age = _up_for(pods, clique, now)
        if age is None:
            return left
        if age < _UP_SECONDS or (age < _LATEST_SECONDS and ctx.coming.count(now) > 0):
            return max(_UP_SECONDS - age, _AGAIN_SECONDS)
    elif known["metadata"]["ownerReferences"][0]["uid"] != metadata["uid"]:
        await _drop(ctx, known)  # of an earlier clique of the same name
        return 1.0
    await children.ensure(ctx, resources.PDBS, budgets.budget(w, clique))
    return left


def protects(ctx: Context, pod: raw.Object) -> bool:
    """Return whether a budget of ours covers the pod; then none of anybody else's does."""
    metadata = pod["metadata"]
    found = ctx.stores.budgets.get(metadata["namespace"], metadata["labels"][names.LABEL_PODCLIQUE])
    return found is not None and is_ours(found)


def refusal(ctx: Context, pods: Sequence[raw.Object]) -> str | None:
    """Return which budget of somebody else's does not allow all of these pods to go together. O(budgets x pods)."""
    running = [pod for pod in pods if plan.alive(pod) and plan.ready(pod)]
    for namespace in sorted({pod["metadata"]["namespace"] for pod in running}):
        for budget in ctx.stores.budgets.by_index("namespace", namespace):
            allowed = (budget.get("status") or {}).get("disruptionsAllowed")
            selector = budget["spec"].get("selector")
            mine = [p for p in running if p["metadata"]["namespace"] == namespace]
            count = sum(shape.selects(selector, pod["metadata"].get("labels") or {}) for pod in mine)
            if allowed is not None and not is_ours(budget) and count > allowed:
                name = f"{namespace}/{budget['metadata']['name']}"
                return f"PodDisruptionBudget {name} allows {allowed} disruptions, and {count} of its pods would go"
    return None


def is_ours(budget: raw.Object) -> bool:
    """Return whether we made the budget."""
    return bool((budget["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.MANAGED_BY)


async def _drop(ctx: Context, known: raw.Object | None) -> None:
    if known is not None and not plan.terminating(known):
        try:
            await children.delete_unchanged(ctx, resources.PDBS, known)
        except errors.NotFound:
            return


def _is_covered(ctx: Context, pods: Sequence[raw.Object]) -> bool:
    """Return whether a budget of somebody else's selects the pods (they are alike). O(budgets of the namespace)."""
    if not pods:
        return False
    metadata = pods[0]["metadata"]
    others = (each for each in ctx.stores.budgets.by_index("namespace", metadata["namespace"]) if not is_ours(each))
    return any(shape.selects(each["spec"].get("selector"), metadata.get("labels") or {}) for each in others)


def _up_for(pods: Sequence[raw.Object], clique: raw.Object, now: float) -> float | None:
    """Return for how many seconds the clique's minimum has been ready; None where it is not."""
    since = []
    for pod in pods:
        found = conditions.find((pod.get("status") or {}).get("conditions"), "Ready")
        if plan.alive(pod) and found is not None and found["status"] == "True":
            since.append(clock.parse(str(found.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])))
    minimum = clique["spec"].get("minAvailable") or 0
    if not since or len(since) < minimum:
        return None
    return now - max(since).timestamp()


def _drained(ctx: Context, pods: Sequence[raw.Object]) -> float | None:
    """Return the seconds until a node with pods of the clique has been cordoned for too long; None: none is."""
    patience = ctx.settings.reconcile.drain_patience_seconds
    if patience is None:
        return None
    names_ = {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}
    now = ctx.clock.now().timestamp()
    left = []
    for name in names_:
        node = ctx.stores.nodes.get(None, name)
        if node is None or not (node.get("spec") or {}).get("unschedulable"):
            ctx.cordoned.pop(name, None)
            continue
        left.append(ctx.cordoned.setdefault(name, now) + patience - now)
    return min(left, default=None)
