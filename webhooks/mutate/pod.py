"""Injection into the pods of gangs: only CREATE, only pods that carry our intent."""

from grovekeeper.expand import injection
from grovekeeper.webhooks import decode, respond
from grovekeeper.webhooks.state import State

_MIRROR = "kubernetes.io/config.mirror"


def answer(review: decode.Review, state: State) -> bytes:
    """Return the pod's patch. Anything that is not the creation of a pod passes untouched."""
    pod = review.object
    if review.operation != "CREATE" or review.kind != "Pod" or review.subresource or pod is None:
        return respond.allowed(review.uid)
    if _MIRROR in (pod["metadata"].get("annotations") or {}):
        return respond.allowed(review.uid)
    try:
        return respond.patched(review.uid, injection.operations(pod, state.injection))
    except ValueError as error:
        # A pod that claims to be ours and cannot be understood must not run ungated.
        return respond.denied(review.uid, f"pod {review.namespace}/{review.name}: {error}")
