"""ComputeDomains of NVIDIA's DRA driver: one a set replica and NVLink group.

Their finalizer is ours to take off: when the replica is scaled in and its pods are gone, when somebody has deleted the
domain (it comes back), and when the set is gone; also after the feature has been switched off (trap 37).
"""

from grovekeeper.api import names, raw
from grovekeeper.api import nvlink as words
from grovekeeper.expand import model, naming, nvlink, plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, faults, ownership
from grovekeeper.reconciler.context import Context


async def ensure(ctx: Context, w: model.Workload) -> faults.Missing | None:
    """Bring the set's domains in line with its replicas; return why they cannot be made, or None.

    O(replicas x groups) in memory; no calls where all is well.
    """
    groups = nvlink.groups(w)
    store = ctx.stores.domains
    if not store.served:
        if not groups or not ctx.settings.auto_mnnvl:
            return None
        return faults.Missing("ERR_COMPUTE_DOMAINS_NOT_SERVED", words.NO_DRIVER)
    live = {domain["metadata"]["name"]: domain for domain in store.by_index("owner", w.uid)}
    wanted = {
        naming.compute_domain(w.name, index, group): (index, group) for index in range(w.total) for group in groups
    }
    await _remove(ctx, w, live, wanted)
    if ctx.settings.auto_mnnvl:
        missing = [place for name, place in wanted.items() if name not in live]
        await children.together(_create(ctx, w, index, group) for index, group in missing)
    return None


def of_clique(ctx: Context, w: model.Workload, name: str | None) -> str | None:
    """Return the domain that new pods of a clique join: also after the feature went off, where it is still there.

    `name` is the domain that the clique asks for. Pods are not to be parted from their siblings.
    """
    if name is None or ctx.settings.auto_mnnvl:
        return name
    found = ctx.stores.domains.get(w.namespace, name)
    return name if found is not None and not ownership.terminating(found) else None


def is_in_the_way(ctx: Context, w: model.Workload, index: int) -> bool:
    """Return whether a domain of an earlier set has a name still that this replica's pods would join."""
    listed = (ctx.stores.domains.get(w.namespace, naming.compute_domain(w.name, index, g)) for g in nvlink.groups(w))
    owners = (ownership.controller(domain) for domain in listed if domain is not None)
    return any(owner is not None and owner.get("uid") != w.uid for owner in owners)


def is_orphan(domain: raw.Object, owner_kind: str, living_uid: str | None) -> bool:
    """Return whether the domain's set is gone. One that was left behind on purpose stays until somebody deletes it."""
    reference = ownership.controller(domain)
    if reference is None:
        return ownership.terminating(domain)
    return bool(reference["kind"] == owner_kind and reference.get("uid") != living_uid)


async def let_go(ctx: Context, domain: raw.Object) -> None:
    """Take our finalizer off, and delete the domain if nobody has yet."""
    stored = await _release(ctx, domain)
    if stored is not None and not ownership.terminating(stored):
        await children.delete(ctx, resources.COMPUTE_DOMAINS, stored)


async def _remove(
    ctx: Context, w: model.Workload, live: dict[str, raw.Object], wanted: dict[str, tuple[int, str]]
) -> None:
    for name, domain in live.items():
        if ownership.terminating(domain):
            if names.FINALIZER_COMPUTEDOMAIN not in (domain["metadata"].get("finalizers") or ()):
                continue
            if name in wanted:
                text = f"ComputeDomain {name} was deleted and is made again"
                if _is_used(ctx, domain):
                    text += (
                        "; its pods are no longer in one NVLink domain with new ones: delete them to bring all together"
                    )
                ctx.events.warning(w.raw, "ComputeDomainDeleted", text, ctx.clock.stamp())
            await _release(ctx, domain)
        elif name not in wanted and not _is_used(ctx, domain):
            await ownership.check_confirmed(ctx, w.raw)  # its replica may be wanted again by now
            await let_go(ctx, domain)
            ctx.events.normal(
                w.raw, "ComputeDomainDeleteSuccessful", f"deleted ComputeDomain {name}", ctx.clock.stamp()
            )


def _is_used(ctx: Context, domain: raw.Object) -> bool:
    metadata = domain["metadata"]
    users = ctx.stores.pods.by_index("claim", f"{metadata['namespace']}/template/{metadata['name']}")
    return any(not plan.finished(pod) for pod in users)


async def _create(ctx: Context, w: model.Workload, index: int, group: str) -> None:
    desired = nvlink.domain(w, index, group)
    name = desired["metadata"]["name"]
    await children.ensure(ctx, resources.COMPUTE_DOMAINS, desired)
    ctx.events.normal(w.raw, "ComputeDomainCreateSuccessful", f"created ComputeDomain {name}", ctx.clock.stamp())


async def _release(ctx: Context, domain: raw.Object) -> raw.Object | None:
    """Take our finalizer off and leave others' (the driver has its own); return what is stored, None where it is gone.

    Nothing is put in the cache: an answer without finalizers is the last state of an object that is gone.
    """
    metadata = domain["metadata"]
    left = [entry for entry in metadata.get("finalizers") or () if entry != names.FINALIZER_COMPUTEDOMAIN]
    if len(left) == len(metadata.get("finalizers") or ()):
        return domain
    body = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "finalizers": left}}
    try:
        return await ctx.client.patch(
            resources.COMPUTE_DOMAINS, metadata["name"], metadata["namespace"], body, type="merge"
        )
    except errors.NotFound:
        return None
