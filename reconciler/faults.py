"""What a person must know of: refusals kept in a set's status.lastErrors, and problems read from its children.

The replicas of a set are reconciled by several processes; the status is where they meet.
"""

from collections.abc import Iterable, Sequence

from grovekeeper.api import conditions, raw
from grovekeeper.expand import model, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, keys
from grovekeeper.reconciler.context import Context, Result

REPLICA_FAILURE = "ReplicaFailure"
"""Condition of a PodClique whose pods the API server refuses (a quota, admission), as on a ReplicaSet."""
_AGAIN_SECONDS = 30.0
_MOST = 20
_REASONS = {
    "ERR_NAME_COLLISION": "NameCollision",
    "ERR_FORBIDDEN": "Forbidden",
    "ERR_INVALID": "Invalid",
    "ERR_GET_RESOURCE_CLAIM_TEMPLATE": "ResourceClaimTemplateNotFound",
    "ERR_RESOURCE_CLAIMS_NOT_SERVED": "ResourceClaimsNotServed",
    "ERR_COMPUTE_DOMAINS_NOT_SERVED": "ComputeDomainsNotServed",
}


class Missing(Exception):
    """Something that others provide is not there: a template, or a whole kind. The text has the next step."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def put(ctx: Context, obj: raw.Object, where: str, error: Exception) -> Result:
    """Note on the set what was refused, say so in an event, and come again in half a minute.

    `where` is the part of the set that it is about: "replica 3", or "" for what the set has once.
    """
    now = ctx.clock.stamp()
    code = _code(error)
    text = f"{_scope(where)}{error}"
    ctx.events.warning(obj, _REASONS[code], text, now)
    known = _listed(obj)
    if not any(entry["description"] == text for entry in known):
        others = [entry for entry in known if not _is_about(entry, where)]
        await _write(ctx, obj, [*others, {"code": code, "description": text, "observedAt": now}][-_MOST:])
        await ctx.enqueue(_status_key(obj))
    return Result(_AGAIN_SECONDS)


async def clear(ctx: Context, obj: raw.Object, where: str) -> None:
    """Remove what was noted about this part of the set, now that it is well."""
    known = _listed(obj)
    kept = [entry for entry in known if not _is_about(entry, where)]
    if len(kept) != len(known):
        await _write(ctx, obj, kept)
        await ctx.enqueue(_status_key(obj))


def of(obj: raw.Object) -> list[tuple[str, str]]:
    """Return (reason, message) of each refusal noted on the set."""
    return [(_REASONS[entry["code"]], entry["description"]) for entry in _listed(obj) if entry["code"] in _REASONS]


def of_children(ctx: Context, w: model.Workload) -> list[tuple[str, str]]:
    """Return (reason, message) of what keeps the set from coming up, the most telling first; at most twenty."""
    mark = f"{w.namespace}/{w.name}"
    found: list[tuple[str, str]] = []
    cliques = ctx.stores.cliques.by_index("set", mark)
    for type_ in (status.WEBHOOK_MISSING, REPLICA_FAILURE):
        found += _conditions(cliques, type_, "True")
    found += _conditions(ctx.stores.gangs.by_index("set", mark), "Scheduled", "False")
    return found[:_MOST]


def stalled(obj: raw.Object, listed: Sequence[raw.Object], reason: str, message: str, now: str) -> list[raw.Object]:
    """Return conditions that say "a person must act": Stalled instead of Reconciling, never both (kstatus).

    `listed` are the new conditions without Stalled; one that the object has already keeps its time.
    """
    known = conditions.find((obj.get("status") or {}).get("conditions"), "Stalled")
    since = known["lastTransitionTime"] if known is not None else now
    entry = conditions.condition("Stalled", True, reason, message, since)
    return conditions.merged(listed, [entry], drop=["Reconciling"])


def _conditions(objects: Iterable[raw.Object], type_: str, word: str) -> list[tuple[str, str]]:
    result = []
    for obj in objects:
        found = conditions.find((obj.get("status") or {}).get("conditions"), type_)
        if found is not None and found["status"] == word:
            result.append((found["reason"], f"{obj['kind']} {obj['metadata']['name']}: {found['message']}"))
    return sorted(result)


async def _write(ctx: Context, obj: raw.Object, entries: list[raw.Object]) -> None:
    metadata = obj["metadata"]
    # With the resourceVersion: replicas of one set may note something at the same time.
    body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": {"lastErrors": entries or None}}
    resource = resources.SETS[obj["kind"]]
    try:
        stored = await ctx.client.patch(
            resource, metadata["name"], metadata["namespace"], body, type="merge", subresource="status"
        )
    except errors.NotFound:
        return
    children.observe(ctx, resource, stored)


def _status_key(obj: raw.Object) -> str:
    return keys.set_status(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])


def _code(error: Exception) -> str:
    if isinstance(error, Missing):
        return error.code
    if isinstance(error, children.Collision):
        return "ERR_NAME_COLLISION"
    return "ERR_FORBIDDEN" if isinstance(error, errors.Forbidden) else "ERR_INVALID"


def _listed(obj: raw.Object) -> list[raw.Object]:
    return list((obj.get("status") or {}).get("lastErrors") or ())


def _scope(where: str) -> str:
    return f"{where or 'shared objects'}: "


def _is_about(entry: raw.Object, where: str) -> bool:
    return str(entry["description"]).startswith(_scope(where))
