"""Protection of managed children: they are changed by editing the set, not by hand.

Allowed are our own components, the cluster's controllers, everything while the set is gone or opted out, deletion of
pods, the subresources that other controllers live from, and the removal of a scheduling gate by whoever put it there.
"""

from grovekeeper.api import names, raw
from grovekeeper.webhooks import decode, respond
from grovekeeper.webhooks.state import State

_DOMAINS = ("grove.io", "grovekeeper.io", "app.kubernetes.io")
"""Of gates, labels and annotations that are ours alone, with all domains below them."""
_STEERING = frozenset({"schedulingGates", "nodeSelector", "tolerations"})
"""What a gate's owner may write with the removal: quota controllers say so which nodes the quota is of. The API server
lets them only add, and a node selector only while a pod is gated."""
_NOTES = ("labels", "annotations")
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
    if review.kind == "Pod" and (review.operation == "DELETE" or opens_foreign_gates(review.old, review.object)):
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


def opens_foreign_gates(old: raw.Object | None, new: raw.Object | None) -> bool:
    """Return whether an update of a pod removes gates of others, leaves ours, and does nothing else that is ours. Pure.

    With the removal its owner may add labels and annotations of domains that are not ours, and what steers the pod.
    """
    if old is None or new is None:
        return False
    before, after = _gates(old), _gates(new)
    removed = [name for name in before if name not in after]
    if not removed or any(map(_is_ours, removed)) or [name for name in before if name in after] != after:
        return False
    kept = all(old["metadata"].get(key) == new["metadata"].get(key) for key in ("ownerReferences", "finalizers"))
    added = all(_adds_only_theirs(old["metadata"].get(key), new["metadata"].get(key)) for key in _NOTES)
    return kept and added and _rest(old) == _rest(new)


def _gates(pod: raw.Object) -> list[str]:
    return [gate["name"] for gate in (pod.get("spec") or {}).get("schedulingGates") or ()]


def _rest(pod: raw.Object) -> raw.Object:
    return {key: value for key, value in (pod.get("spec") or {}).items() if key not in _STEERING}


def _adds_only_theirs(old: dict[str, str] | None, new: dict[str, str] | None) -> bool:
    before, after = old or {}, new or {}
    return before.items() <= after.items() and not any(map(_is_ours, after.keys() - before.keys()))


def _is_ours(name: str) -> bool:
    domain = name.partition("/")[0]
    return any(domain == ours or domain.endswith(f".{ours}") for ours in _DOMAINS)
