"""Protection of managed children: they are changed by editing the set, not by hand.

Allowed are our own components, the cluster's controllers, everything while the set is gone or opted out, deletion of
pods, and the subresources that other controllers live from.
"""

from grovekeeper.api import names
from grovekeeper.webhooks import decode, respond
from grovekeeper.webhooks.state import State

_CONTROLLERS = frozenset(
    {
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "system:serviceaccount:kube-system:namespace-controller",
        "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        "system:serviceaccount:kube-system:node-controller",
        "system:serviceaccount:kube-system:pod-garbage-collector",
        "system:serviceaccount:kube-system:tokens-controller",
        "system:serviceaccount:kube-system:resource-claim-controller",
        "system:serviceaccount:kube-system:disruption-controller",
        "system:apiserver",
    }
)


def answer(review: decode.Review, state: State) -> bytes:
    """Return whether this user may change this child of a set."""
    if not state.protection or _is_exempt(review, state) or review.subresource or review.operation == "CONNECT":
        return respond.allowed(review.uid)
    if review.kind == "Pod" and review.operation == "DELETE":
        return respond.allowed(review.uid)
    obj = review.object if review.operation == "CREATE" else review.old
    metadata = (obj or {}).get("metadata") or {}
    owner = (metadata.get("labels") or {}).get(names.LABEL_PART_OF)
    if owner is None:
        return respond.allowed(review.uid, [f"{review.kind} {review.name} has no label {names.LABEL_PART_OF}"])
    found = state.find_set(review.namespace, owner)
    if found is None or _opted_out(found.get("metadata") or {}):
        return respond.allowed(review.uid)
    if metadata.get("deletionTimestamp"):
        return respond.allowed(review.uid)
    how = f"edit {owner} instead, or annotate it with {names.ANNOTATION_DISABLE_PROTECTION}=true"
    return respond.denied(
        review.uid,
        f"{review.operation.lower()} of {review.resource} {review.namespace}/{review.name} by {review.user} is not "
        f"allowed: Grovekeeper keeps it for {owner}; {how}",
    )


def _is_exempt(review: decode.Review, state: State) -> bool:
    return (
        review.user == state.own_user
        or review.user in _CONTROLLERS
        or review.user in state.exempt
        or "system:nodes" in review.groups
    )


def _opted_out(metadata: dict[str, object]) -> bool:
    annotations = metadata.get("annotations")
    return isinstance(annotations, dict) and annotations.get(names.ANNOTATION_DISABLE_PROTECTION) == "true"
