"""Defaults of PodGangSet and PodCliqueSet."""

from grovekeeper.api import defaults
from grovekeeper.webhooks import decode, respond
from grovekeeper.webhooks.state import State


def answer(review: decode.Review, state: State) -> bytes:
    """Return the operations that fill what is absent; nothing for an object that is being deleted."""
    obj = review.object
    if obj is None or review.subresource or obj["metadata"].get("deletionTimestamp"):
        return respond.allowed(review.uid)
    chosen = defaults.schedulers(obj, review.old, state.default_scheduler)
    return respond.patched(review.uid, defaults.default(obj) + chosen)
