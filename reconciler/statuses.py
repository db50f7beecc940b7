"""Writing status: only what changed, and not at every step of something that is coming up."""

from grovekeeper.api import raw
from grovekeeper.kube.resources import Resource
from grovekeeper.reconciler import children
from grovekeeper.reconciler.context import Context
from grovekeeper.runtime import clock

FIRST_SECONDS = 8.0
"""What is coming up gets its first status when it is settled, or when nothing has changed for this long: in a healthy
start that is one write an object, and writes are the costly part."""
SHOWN_SECONDS = 3.0
"""The same for sets, from their creation on: people watch them come up, and there are few."""
LATEST_SECONDS = 30.0
"""The age at which the first status is written whatever happens."""
NEXT_SECONDS = 1.0
YIELD_FROM = 16
"""From this many pods that are coming up, first statuses wait."""
YIELD_SECONDS = 4.0
"""For how long a first status waits at most before it looks again whether the roll-out is still under way."""
_PODS_A_SECOND = 64
"""About as many come up in a second: looking again sooner than all of them could be there is of no use."""
YIELD_LATEST_SECONDS = 60.0
"""The age at which it no longer waits for that."""
_MOST_NOTES = 20_000


def pause(
    old: raw.Object,
    new: raw.Object,
    *,
    settled: bool,
    waiting: bool,
    age: float,
    quiet: float,
    since_last: float,
    first: float = FIRST_SECONDS,
) -> float:
    """Return for how many seconds to put a status write off; 0 writes now. Pure.

    `waiting` says that the next step is not the object's own: all its pods wait for the place of their gang, and the
    PodGang says why. `age` is the object's, `quiet` counts from the last change of what would be written,
    `since_last` from the last write, all in seconds. A condition that turned is never put off once there is a
    status: the clock of gang termination starts with it.
    """
    if settled:
        return 0.0
    if old.get("observedGeneration", -1) < 0:
        latest = LATEST_SECONDS - age
        return max(0.0, latest if waiting else min(latest, first - quiet))
    if _words(old) != _words(new):
        return 0.0
    return min(max(0.0, NEXT_SECONDS - since_last), NEXT_SECONDS)


def give_way(old: raw.Object, age: float, coming: int) -> float:
    """Return for how many seconds to put off a status while `coming` pods come up: those are more urgent. Pure."""
    if old.get("observedGeneration", -1) >= 0 or coming < YIELD_FROM:
        return 0.0
    return min(max(0.0, YIELD_LATEST_SECONDS - age), coming / _PODS_A_SECOND, YIELD_SECONDS)


async def write(
    ctx: Context,
    resource: Resource,
    live: raw.Object,
    status: raw.Object,
    *,
    settled: bool = True,
    waiting: bool = False,
    by_age: bool = False,
    coming: int = 0,
) -> float | None:
    """Write a status if it differs, as a merge patch of the status subresource.

    `by_age` counts the first three seconds from the object's creation, quiet or not: people watch it come up.
    A first status is put off while many pods are `coming` up.
    Returns after how many seconds to come again where the write is put off, else None.
    """
    old = live.get("status") or {}
    if old == status:
        return None
    uid = live["metadata"]["uid"]
    now = ctx.clock.now()
    age = (now - clock.parse(live["metadata"]["creationTimestamp"])).total_seconds()
    wait = pause(
        old,
        status,
        settled=settled,
        waiting=waiting,
        age=age,
        quiet=age if by_age else _quiet(ctx, uid, status, now.timestamp()),
        since_last=now.timestamp() - ctx.written.get(uid, 0.0),
        first=SHOWN_SECONDS if by_age else FIRST_SECONDS,
    )
    wait = max(wait, give_way(old, age, coming))
    if wait > 0:
        return wait
    if len(ctx.written) > _MOST_NOTES:
        ctx.written.clear()
    await children.write_status(ctx, resource, live, status)
    ctx.written[uid] = now.timestamp()
    ctx.pending.pop(uid, None)
    return None


def unwritten(ctx: Context, uid: str, type_: str) -> bool:
    """Return whether a status that this process has put off had a condition that is True."""
    known = ctx.pending.get(uid)
    return known is not None and known[0]["conditions"].get(type_) == "True"


def _quiet(ctx: Context, uid: str, status: raw.Object, now: float) -> float:
    """Return for how many seconds this process has seen the same, times aside."""
    mark = {**{key: value for key, value in status.items() if key != "conditions"}, "conditions": _words(status)}
    known = ctx.pending.get(uid)
    if known is not None and known[0] == mark:
        return now - known[1]
    if len(ctx.pending) > _MOST_NOTES:
        ctx.pending.clear()
    ctx.pending[uid] = (mark, now)
    return 0.0


def _words(status: raw.Object) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
