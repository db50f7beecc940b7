"""Whether a set's back end can take its gangs: enabled, served, with a queue that is open. Reads caches only."""

from grovekeeper.api import conditions, names, queues, raw
from grovekeeper.expand import model
from grovekeeper.expand.backends import known
from grovekeeper.reconciler import kinds
from grovekeeper.reconciler.context import Context

TYPE = "SchedulerBackendUnavailable"
HANDED_OVER = "HandedOver"
"""Condition of a PodGang that another scheduler places: whether that scheduler has the group."""
_REFUSED = "Refused"
Trouble = tuple[str, str]
"""Reason and message."""


def blocking(ctx: Context, w: model.Workload) -> Trouble | None:
    """Return why a set's gangs cannot be handed over at all."""
    found = known.of(w)
    if found is None:
        return "SchedulerUnknown", f"schedulerName {w.scheduler} is no back end: use {', '.join(names.SCHEDULERS)}"
    if found.name not in ctx.settings.schedulers.profiles:
        text = "is not enabled any more: add it to schedulers.profiles of the chart, or delete the set"
        return "SchedulerNotEnabled", f"{found.name} {text}; its pods stay gated"
    if ctx.foreign.of(kinds.GROUPS[found.name]) is None:
        text = f"PodGroup of {found.api_version} is not served: {found.next_step}; until then pods stay gated"
        return "KindNotServed", text
    return None


def trouble(ctx: Context, w: model.Workload) -> Trouble | None:
    """Return what a person must see to, blocking or not: the kinds, what a gang was refused, the queue.

    Nothing for sets that we place ourselves.
    """
    if w.scheduler == names.SCHEDULER_STOCK:
        return None
    return blocking(ctx, w) or _refusal(ctx, w) or _queue_trouble(ctx, w)


def condition(w: model.Workload, found: Trouble | None, now: str) -> list[raw.Object]:
    """Return the set's condition; nothing for sets that we place ourselves."""
    if w.scheduler == names.SCHEDULER_STOCK:
        return []
    if found is None:
        return [conditions.condition(TYPE, False, "Available", f"{w.scheduler} takes the set's gangs", now)]
    return [conditions.condition(TYPE, True, *found, now)]


def _queue_trouble(ctx: Context, w: model.Workload) -> Trouble | None:
    resource = kinds.QUEUES.get(w.scheduler)
    cache = ctx.foreign.of(resource) if resource is not None else None
    if cache is None:
        return None
    is_kai = w.scheduler == names.SCHEDULER_KAI
    name = queues.kai(w.raw) if is_kai else queues.volcano(w.raw)
    if name is None:
        text = f"{w.scheduler} schedules nothing without a queue: set the label {names.KAI_QUEUE} on the set"
        return "QueueMissing", text
    queue = cache.store.get(None, name)
    if queue is None:
        return "QueueNotFound", f"Queue {name} does not exist: create it, or name another one on the set"
    state = (queue.get("status") or {}).get("state") or "Open"
    if not is_kai and state != "Open":
        return "QueueNotOpen", f"Queue {name} is {state}: open it, or name another one on the set"
    return None


def _refusal(ctx: Context, w: model.Workload) -> Trouble | None:
    for live in ctx.stores.gangs.by_index("set", f"{w.namespace}/{w.name}"):
        found = conditions.find((live.get("status") or {}).get("conditions"), HANDED_OVER)
        if found is not None and found["status"] == "False" and found["reason"] == _REFUSED:
            return _REFUSED, f"PodGang {live['metadata']['name']}: {found['message']}"
    return None


def handed_over(problem: Trouble | None, scheduler: str, now: str) -> raw.Object:
    """Return a PodGang's condition."""
    reason, text = problem or ("Accepted", f"{scheduler} has the PodGroup")
    return conditions.condition(HANDED_OVER, problem is None, reason, text[:1024], now)


def refused(text: str) -> Trouble:
    """Return the trouble of a PodGroup that the API server (or a webhook of the other scheduler) does not take."""
    return _REFUSED, text
