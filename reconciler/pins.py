"""The one patch that carries a decision out on a pod: pin it to its node and remove our gate."""

from collections.abc import Sequence

from grovekeeper.api import names, patch, raw

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def operations(pod: raw.Object, node: str) -> list[raw.PatchOp]:
    """Return the operations for a pod as it is stored; legal in one patch while the pod is gated.

    The pin goes into every term, since terms are alternatives. `matchFields metadata.name` lets kube-scheduler look
    at one node instead of all. The tests make the patch fail if the pod has been replaced or changed underneath.
    """
    return [*ungating(pod), *_affinity(pod["spec"].get("affinity"), node)]


def ungating(pod: raw.Object) -> list[raw.PatchOp]:
    """Return the operations that remove our gate and nothing else, for a pod that another scheduler places."""
    gates = pod["spec"].get("schedulingGates") or []
    position = next(index for index, gate in enumerate(gates) if gate["name"] == names.GATE)
    gate = f"/spec/schedulingGates/{position}"
    return [
        patch.test("/metadata/uid", pod["metadata"]["uid"]),
        patch.test(gate, {"name": names.GATE}),
        patch.remove(gate),
    ]


def pinned_to(pod: raw.Object) -> str | None:
    """Return the node that a pod is pinned to by us, or None."""
    node_affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}
    for term in node_affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if _pins(field):
                return str(field["values"][0])
    return None


def unpinned(spec: raw.Object) -> raw.Object:
    """Return a pod's spec without our pin; a copy, for the placement engine, never for the API server."""
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    terms = []
    for term in (node_affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ():
        fields = [field for field in term.get("matchFields") or () if not _pins(field)]
        rest = {key: value for key, value in term.items() if key != "matchFields"}
        terms.append({**rest, "matchFields": fields} if fields else rest)
    others = {key: value for key, value in node_affinity.items() if key != _REQUIRED}
    kept = [term for term in terms if term]
    inner = {**others, _REQUIRED: {"nodeSelectorTerms": kept}} if kept else others
    return {**spec, "affinity": {**affinity, "nodeAffinity": inner}}


def _pins(field: raw.Object) -> bool:
    return bool(field["key"] == "metadata.name" and field["operator"] == "In" and len(field["values"]) == 1)


def within(spec: raw.Object, key: str, values: Sequence[str]) -> raw.Object:
    """Return a copy of a pod's spec that is bound to nodes with one of these labels; for the placement engine only."""
    rule = {"key": key, "operator": "In", "values": list(values)}
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    terms = (node_affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    selector = [{**term, "matchExpressions": [*(term.get("matchExpressions") or ()), rule]} for term in terms]
    inner = {**node_affinity, _REQUIRED: {"nodeSelectorTerms": selector}}
    return {**spec, "affinity": {**affinity, "nodeAffinity": inner}}


def _affinity(affinity: raw.Object | None, node: str) -> list[raw.PatchOp]:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    selector = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    root = "/spec/affinity"
    if affinity is None:
        return [patch.add(root, {"nodeAffinity": {_REQUIRED: selector}})]
    node_affinity = affinity.get("nodeAffinity")
    if node_affinity is None:
        return [patch.add(f"{root}/nodeAffinity", {_REQUIRED: selector})]
    terms = (node_affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms")
    if not terms:
        return [patch.add(f"{root}/nodeAffinity/{_REQUIRED}", selector)]
    result = []
    for index, term in enumerate(terms):
        path = f"{root}/nodeAffinity/{_REQUIRED}/nodeSelectorTerms/{index}/matchFields"
        result.append(patch.add(f"{path}/-", field) if term.get("matchFields") else patch.add(path, [field]))
    return result
