"""Beginning an ownership of placement: what the last owner decided is known before anything is decided.

The watches of this process may lag behind the last owner's writes. A decision that they have not shown yet would be
made a second time, and its room given to somebody else. So decisions are read from the API server once, and with them
the pods that they name and the cache lacks or has gated. Older news of a watch never replace what was read.
See docs/decisions/0020-beginning-an-ownership.md.
"""

from collections.abc import Iterator

from grovekeeper.api import raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import children, decisions, occupancy
from grovekeeper.reconciler.context import Context


async def catch_up(ctx: Context, taken: occupancy.Occupancy) -> None:
    """Bring caches and occupancy to what was decided up to now; raise kube.errors.KubeError where reading fails.

    One list of PodGangs, and one read for each pod of a decision that is not known to be carried out.
    """
    page = await ctx.client.list(resources.PODGANGS)
    for live in page.items:
        children.observe(ctx, resources.PODGANGS, live)
    await children.together(_read(ctx, taken, *each) for live in page.items for each in _in_doubt(ctx, live))


def _in_doubt(ctx: Context, live: raw.Object) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of the decided pods that the cache lacks or has gated."""
    namespace = live["metadata"]["namespace"]
    for name in decisions.placement(live):
        known = ctx.stores.pods.get(namespace, name)
        if known is None or plan.gated(known):
            yield namespace, name


async def _read(ctx: Context, taken: occupancy.Occupancy, namespace: str, name: str) -> None:
    try:
        live = await ctx.client.get(resources.PODS, name, namespace)
    except errors.NotFound:
        return  # it is gone, and the decision about it is rewritten with the next one of its gang
    known = ctx.stores.pods.get(namespace, name)
    children.observe(ctx, resources.PODS, live)
    fresh = ctx.stores.pods.get(namespace, name)
    if fresh is not known:
        taken.on_pod(known, fresh)
