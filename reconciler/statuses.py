"""Writing status: only what changed, and not at every step of something that is coming up."""

from grovekeeper.api import raw
from grovekeeper.kube.resources import Resource
from grovekeeper.reconciler import children
from grovekeeper.reconciler.context import Context
from grovekeeper.runtime import clock

FIRST_SECONDS = 3.0
"""What is coming up gets its first status when it is settled, or at this age: writes are the costly part."""
NEXT_SECONDS = 1.0
_MOST_NOTES = 20_000


def pause(old: raw.Object, new: raw.Object, *, settled: bool, age: float, since_last: float) -> float:
    """Return for how many seconds to put a status write off; 0 writes now. Pure.

    `age` is the object's, `since_last` counts from the last write (both in seconds). A condition that turned is
    never put off: the clock of gang termination starts with it.
    """
    if settled:
        return 0.0
    if old.get("observedGeneration", -1) < 0:
        return max(0.0, FIRST_SECONDS - age)
    if _turned(old, new):
        return 0.0
    return min(max(0.0, NEXT_SECONDS - since_last), NEXT_SECONDS)


async def write(
    ctx: Context, resource: Resource, live: raw.Object, status: raw.Object, *, settled: bool = True
) -> float | None:
    """Write a status if it differs, as a merge patch of the status subresource.

    Returns after how many seconds to come again where the write is put off, else None.
    """
    old = live.get("status") or {}
    if old == status:
        return None
    metadata = live["metadata"]
    now = ctx.clock.now()
    age = (now - clock.parse(metadata["creationTimestamp"])).total_seconds()
    since_last = now.timestamp() - ctx.written.get(metadata["uid"], 0.0)
    wait = pause(old, status, settled=settled, age=age, since_last=since_last)
    if wait > 0:
        return wait
    if len(ctx.written) > _MOST_NOTES:
        ctx.written.clear()
    ctx.written[metadata["uid"]] = now.timestamp()
    await children.write_status(ctx, resource, live, status)
    return None


def _turned(old: raw.Object, new: raw.Object) -> bool:
    return _words(old) != _words(new)


def _words(status: raw.Object) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
