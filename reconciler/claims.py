"""ResourceClaims that pods share: made before what names them, deleted when no pod names them any more.

The levels are alike; each owner (set, PodCliqueScalingGroup, PodClique) brings its own claims in line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grovekeeper.api import raw
from grovekeeper.expand import model, plan, sharing
from grovekeeper.kube import resources
from grovekeeper.reconciler import children, faults, ownership
from grovekeeper.reconciler.context import Context

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What could not be made now. Whatever needs one of these claims must not be made either."""

    everything: bool = False
    """A claim for all replicas of the level is missing."""
    indexes: frozenset[int] = frozenset()
    """Replicas of the level that lack a claim of their own."""
    problem: faults.Missing | None = None
    """What a person must do; None where only an earlier claim of the same name has to go first."""

    def blocks(self, index: int) -> bool:
        """Return whether this replica of the level has to wait."""
        return self.everything or index in self.indexes


READY = Outcome()


async def ensure(ctx: Context, w: model.Workload, owner: raw.Object, wanted: Sequence[sharing.Wanted]) -> Outcome:
    """Make the claims that are missing. O(claims of the level), in memory where all are there.

    Raises children.Collision and kube.errors.Forbidden, Invalid as the server's refusals.
    """
    if not wanted:
        return READY
    if not ctx.stores.claims.served:
        text = "resource.k8s.io/v1 ResourceClaims are not served: shared claims need Kubernetes 1.34 with DRA"
        return Outcome(everything=True, problem=faults.Missing("ERR_RESOURCE_CLAIMS_NOT_SERVED", text))
    waiting: list[sharing.Wanted] = []
    lacking: list[sharing.Wanted] = []
    jobs = []
    for each in wanted:
        live = ctx.stores.claims.get(w.namespace, each.name)
        if live is not None and _is_in_the_way(live, owner):
            waiting.append(each)
            continue
        template = None
        if live is None:
            template = _template(ctx, each.entry)
            if template is None:
                lacking.append(each)
                continue
        desired = sharing.claim(w, each, owner, template)
        jobs.append(children.ensure(ctx, resources.RESOURCE_CLAIMS, desired))
    await children.together(jobs)
    blocked = [*waiting, *lacking]
    if not blocked:
        return READY
    everything = any(each.index is None for each in blocked)
    return Outcome(everything, frozenset(e.index for e in blocked if e.index is not None), _problem(lacking))


async def prune(ctx: Context, owner: raw.Object, wanted: Sequence[sharing.Wanted]) -> None:
    """Delete the owner's claims that are not wanted and that no pod names; the last pod's end brings us back.

    `wanted` was read off `owner`, and what it did not ask for then may be wanted by now: another worker may have made
    it a moment ago. Raises kube.errors.Conflict (try again) where the owner or a claim has changed since.
    """
    kept = {each.name for each in wanted}
    surplus = [
        claim
        for claim in ctx.stores.claims.by_index("owner", owner["metadata"]["uid"])
        if claim["metadata"]["name"] not in kept and not ownership.terminating(claim) and not is_used(ctx, claim)
    ]
    if surplus:
        await ownership.check_confirmed(ctx, owner)
        unused = [claim for claim in surplus if not is_used(ctx, claim)]
        await children.together(children.delete_unchanged(ctx, resources.RESOURCE_CLAIMS, each) for each in unused)


def is_used(ctx: Context, claim: raw.Object) -> bool:
    """Return whether a pod that has not finished names the claim."""
    metadata = claim["metadata"]
    users = ctx.stores.pods.by_index("claim", f"{metadata['namespace']}/{metadata['name']}")
    return any(not plan.finished(pod) for pod in users)


def _is_in_the_way(live: raw.Object, owner: raw.Object) -> bool:
    """Return whether a claim of an earlier owner of the same name has the name still: its end wakes us."""
    found = ownership.controller(live)
    if found is None or found.get("uid") == owner["metadata"]["uid"]:
        return False
    mine = owner["kind"], owner["metadata"]["name"]
    return (found["kind"], found["name"]) == mine or ownership.terminating(live)


def _template(ctx: Context, entry: model.Sharing) -> raw.Object | None:
    if entry.template is not None:
        return entry.template
    found = ctx.stores.claim_templates.get(entry.namespace, entry.name)
    return None if found is None else found["spec"]


def _problem(lacking: Sequence[sharing.Wanted]) -> faults.Missing | None:
    if not lacking:
        return None
    templates = sorted({f"{each.entry.namespace}/{each.entry.name}" for each in lacking})
    claims = [each.name for each in lacking]
    more = f" and {len(claims) - _SHOWN} more" if len(claims) > _SHOWN else ""
    text = (
        f"ResourceClaimTemplate {', '.join(templates)} does not exist and ResourceClaims "
        f"{', '.join(claims[:_SHOWN])}{more} are to be made from it: create it, and what waits goes on by itself"
    )
    return faults.Missing("ERR_GET_RESOURCE_CLAIM_TEMPLATE", text)
