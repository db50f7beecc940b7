"""Admission of PodGangSet and PodCliqueSet."""

from grovekeeper.api.validate import podgangset
from grovekeeper.webhooks import decode, respond
from grovekeeper.webhooks.state import State


def answer(review: decode.Review, state: State) -> bytes:
    """Return the verdict on a create or update; DELETE always passes."""
    if review.object is None or review.subresource:
        return respond.allowed(review.uid)
    found = podgangset.validate(review.object, review.old, state.context())
    if found.errors:
        return respond.refused(review.uid, found.errors, found.warnings)
    return respond.allowed(review.uid, found.warnings)
