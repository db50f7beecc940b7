"""Names of generated objects (Grove's user guide, "pod and resource naming conventions")."""


def replica(set_name: str, index: int) -> str:
    """Return `<set>-<i>`: the base PodGang, the headless Service and the pods' subdomain of a set replica."""
    return f"{set_name}-{index}"


def clique(set_name: str, index: int | str, clique_name: str) -> str:
    """Return `<set>-<i>-<clique>`: a standalone PodClique."""
    return f"{set_name}-{index}-{clique_name}"


def group(set_name: str, index: int, group_name: str) -> str:
    """Return `<set>-<i>-<group>`: a PodCliqueScalingGroup."""
    return f"{set_name}-{index}-{group_name}"


def member(group_fqn: str, group_index: int | str, clique_name: str) -> str:
    """Return `<group fqn>-<j>-<clique>`: a PodClique that belongs to a scaling group's replica."""
    return f"{group_fqn}-{group_index}-{clique_name}"


def scaled_gang(group_fqn: str, group_index: int, min_available: int) -> str:
    """Return `<group fqn>-<j - minAvailable>`: the PodGang of a group replica above the group's minimum."""
    return f"{group_fqn}-{group_index - min_available}"


def claim(owner: str, index: int | None, name: str) -> str:
    """Return `<owner>-all-<name>` or `<owner>-<index>-<name>`: a ResourceClaim of a set, group or clique."""
    return f"{owner}-{'all' if index is None else index}-{name}"


def compute_domain(set_name: str, index: int, group: str) -> str:
    """Return `<set>-<i>-<group>`: a ComputeDomain, and the ResourceClaimTemplate that the driver makes of it."""
    return f"{set_name}-{index}-{group}"


def hostname(clique_fqn: str, pod_index: int) -> str:
    """Return `<clique fqn>-<pod index>`."""
    return f"{clique_fqn}-{pod_index}"


def service_address(set_name: str, index: int, namespace: str) -> str:
    """Return the in-cluster DNS name of a set replica's headless Service."""
    return f"{replica(set_name, index)}.{namespace}.svc.cluster.local"
