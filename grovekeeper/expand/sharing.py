"""Hierarchical resource sharing: which ResourceClaims a set, group or clique has, and which of them a pod names.

Source: Grove's GREP-390. Claims are owned by the set, the PodCliqueScalingGroup or the PodClique that shares them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grovekeeper.api import names, raw
from grovekeeper.expand import labels, model, naming, revision

API_VERSION = "resource.k8s.io/v1"
KIND = "ResourceClaim"
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Wanted:
    """One claim that is to exist."""

    name: str
    entry: model.Sharing
    index: int | None
    """Replica of the level that it is for; None where all replicas share it."""
    marks: tuple[tuple[str, str], ...]
    """Labels that say which level and replica it belongs to."""


def of_set(w: model.Workload, indexes: Iterable[int]) -> list[Wanted]:
    """Return the claims of the set's own level for these set replicas."""
    return _wanted(w.sharing, w.name, {}, w.dialect.label_replica_index, indexes)


def of_group(group: model.GroupTemplate, fqn: str, indexes: Iterable[int]) -> list[Wanted]:
    """Return the claims of a scaling group for these replicas of it."""
    marks = {names.LABEL_SCALINGGROUP: fqn}
    return _wanted(group.sharing, fqn, marks, names.LABEL_SCALINGGROUP_INDEX, indexes)


def of_clique(clique: model.CliqueTemplate, fqn: str, indexes: Iterable[int]) -> list[Wanted]:
    """Return the claims of a PodClique for these pod indexes."""
    return _wanted(clique.sharing, fqn, {names.LABEL_PODCLIQUE: fqn}, names.LABEL_POD_INDEX, indexes)


def claim(w: model.Workload, wanted: Wanted, owner: raw.Object, template: raw.Object | None) -> raw.Object:
    """Return the ResourceClaim; without a `template` only what may change in one that exists (a spec never does).

    `template` is {metadata, spec} as in a ResourceClaimTemplate. Grove drops the metadata (trap 9); here its labels
    and annotations reach the claim, as Kubernetes itself does it.
    """
    extra = (template or {}).get("metadata") or {}
    marks = {
        **labels.passed_on(extra.get("labels") or {}),
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_PART_OF: w.name,
        names.LABEL_COMPONENT: "resource-claim",
        **dict(wanted.marks),
    }
    annotations = labels.passed_on(extra.get("annotations") or {})
    result: raw.Object = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": labels.metadata(wanted.name, w.namespace, marks, owner, annotations),
    }
    if template is not None:
        result["spec"] = template["spec"]
    return result


def of_pod(w: model.Workload, clique: raw.Object, template: str, group_index: int | None, index: int) -> list[str]:
    """Return the claims that a pod names, in Grove's order: set, group, clique; for all replicas before per replica.

    `clique` is the PodClique object, `template` the name of its template, `index` the pod's.
    """
    marks = clique["metadata"]["labels"]
    replica = int(marks[w.dialect.label_replica_index])
    group = w.group_of(template)
    mine = [s for s in w.sharing if _shares(s, template, group.name if group else None)]
    found = _named(mine, w.name, replica)
    if group is not None and group_index is not None:
        inner = [s for s in group.sharing if _shares(s, template, None)]
        found += _named(inner, naming.group(w.name, replica, group.name), group_index)
    return found + _named(w.clique(template).sharing, clique["metadata"]["name"], index)


def injected(spec: raw.Object, claims: Sequence[str]) -> raw.Object:
    """Return a pod's spec with these claims for the pod and for every container and init container of the user's."""
    if not claims:
        return spec
    listed = [{"name": _pod_name(claim), "resourceClaimName": claim} for claim in claims]
    result = {**spec, "resourceClaims": [*(spec.get("resourceClaims") or ()), *listed]}
    for field in ("initContainers", "containers"):
        if spec.get(field):
            result[field] = [with_claims(entry, [each["name"] for each in listed]) for entry in spec[field]]
    return result


def with_claims(container: raw.Object, claims: Iterable[str]) -> raw.Object:
    """Return a container that uses these claims of its pod."""
    limits = container.get("resources") or {}
    known = limits.get("claims") or []
    fresh = [{"name": name} for name in claims if all(entry.get("name") != name for entry in known)]
    return {**container, "resources": {**limits, "claims": [*known, *fresh]}}


def external(w: model.Workload) -> set[tuple[str, str]]:
    """Return namespace and name of every ResourceClaimTemplate object that the set refers to."""
    levels = [w.sharing, *(g.sharing for g in w.groups), *(c.sharing for c in w.cliques)]
    return {(s.namespace, s.name) for level in levels for s in level if s.template is None}


def _wanted(
    entries: Iterable[model.Sharing], owner: str, marks: dict[str, str], index_label: str, indexes: Iterable[int]
) -> list[Wanted]:
    result = []
    listed = list(indexes)
    for entry in entries:
        for index in listed if entry.per_replica else [None]:
            mine = marks if index is None else {**marks, index_label: str(index)}
            name = naming.claim(owner, index, entry.name)
            result.append(Wanted(name, entry, index, tuple(mine.items())))
    return result


def _shares(entry: model.Sharing, clique: str, group: str | None) -> bool:
    return not entry.filtered or clique in entry.cliques or (group is not None and group in entry.groups)


def _named(entries: Sequence[model.Sharing], owner: str, index: int) -> list[str]:
    everywhere = [naming.claim(owner, None, entry.name) for entry in entries if not entry.per_replica]
    return everywhere + [naming.claim(owner, index, entry.name) for entry in entries if entry.per_replica]


def _pod_name(claim: str) -> str:
    """Return the claim's name within the pod: a DNS label, while claims have longer names with dots."""
    if len(claim) <= _LONGEST_NAME and "." not in claim:
        return claim
    return f"{claim[: _LONGEST_NAME - 6].replace('.', '-')}-{revision.short(claim, 5)}"
