"""How many pods of ours are coming up: first statuses give way to creating, placing and binding while there are many.

The API server is what a big roll-out waits for, and a status that is written later holds nobody up.
"""

from grovekeeper.api import names, raw
from grovekeeper.expand import plan

MANY = 64
"""From this many pods on the way, first statuses wait."""
FRESH_SECONDS = 60.0
"""A pod that is not ready after this long no longer counts: it waits for room, or crashes."""


class Arrivals:
    """Pods of ours that were seen first not long ago and are not ready. Every call is O(1), amortized."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        """UID to the monotonic second at which the pod stops to count, oldest first."""

    def see(self, old: raw.Object | None, new: raw.Object | None, now: float) -> None:
        """Take in a change of a pod of anybody."""
        if new is None or plan.ready(new) or not plan.alive(new):
            gone = new or old
            if gone is not None:
                self._until.pop(gone["metadata"]["uid"], None)
            return
        labels = new["metadata"].get("labels") or {}
        if old is None and labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY:
            self._until[new["metadata"]["uid"]] = now + FRESH_SECONDS

    def many(self, now: float) -> bool:
        """Return whether a big roll-out is under way."""
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]
        return len(self._until) >= MANY
