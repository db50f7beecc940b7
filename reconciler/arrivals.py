"""How many pods of ours are coming up: first statuses give way to creating, placing and binding while there are many.

The API server is what a big roll-out waits for, and a status that is written later holds nobody up.
"""

from datetime import datetime

from grovekeeper.api import names, raw
from grovekeeper.expand import plan

FRESH_SECONDS = 60.0
"""A pod that is not ready after this long no longer counts: it waits for room, or crashes."""


class Arrivals:
    """Pods of ours that were created not long ago and are not ready. Every call is O(1), amortized."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        """UID to the second (of the epoch) at which the pod stops to count, oldest first."""

    def see(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Take in a change of a pod of anybody."""
        if new is None or plan.ready(new) or not plan.alive(new):
            gone = new or old
            if gone is not None:
                self._until.pop(gone["metadata"]["uid"], None)
            return
        metadata = new["metadata"]
        if (metadata.get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.MANAGED_BY:
            # Not "old is None": what this process has created is in its cache before the event comes.
            self._until.setdefault(metadata["uid"], _seconds(metadata["creationTimestamp"]) + FRESH_SECONDS)

    def count(self, now: float) -> int:
        """Return how many pods are coming up at this second of the epoch."""
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]
        return len(self._until)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
