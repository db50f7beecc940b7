"""Admission of the scale subresources: hard bounds are in the schema, here is what the schema cannot know."""

from grovekeeper.runtime import metrics
from grovekeeper.webhooks import decode, respond
from grovekeeper.webhooks.state import State


def answer(review: decode.Review, state: State) -> bytes:
    """Return a warning where a value is lifted to the minimum, and let everything else pass."""
    if review.object is None:
        return respond.allowed(review.uid)
    wanted = (review.object.get("spec") or {}).get("replicas", 0)
    found = state.find_clique(review.resource, review.namespace, review.name)
    if found is None:
        # The cache may be behind by a moment; the schema's own bounds have been looked at already.
        metrics.UNSEEN.labels("/webhooks/validate-scale").inc()
        return respond.allowed(review.uid, [f"{review.name} is not known yet: minAvailable was not looked at"])
    minimum = (found.get("spec") or {}).get("minAvailable") or 0
    if 0 < wanted < minimum:
        text = f"{review.name}: {wanted} is below minAvailable {minimum}"
        if review.resource == "podcliques":
            how = f"scale to 0 or to at least {minimum}"
            return respond.denied(review.uid, f"{text}: the gang would be terminated after its delay; {how}")
        return respond.allowed(review.uid, [f"{text}; {minimum} replicas are kept"])
    return respond.allowed(review.uid)
