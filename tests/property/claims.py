"""Sets whose pods share ResourceClaims at every level: which claims there are to be, and who may use them."""

from collections.abc import Iterator

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from tests.property import plane

_SPEC = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "d"}}]}}


def share(obj: raw.Object) -> None:
    """Have set, group and clique share devices, one claim a replica each, and the set and group one for all."""
    template = obj["spec"]["template"]
    both = [{"name": "own", "scope": "PerReplica"}, {"name": "wide", "scope": "AllReplicas"}]
    template["resourceClaimTemplates"] = [{"name": each["name"], "templateSpec": {"spec": _SPEC}} for each in both]
    template["resourceSharing"] = both
    template["podCliqueScalingGroups"][0]["resourceSharing"] = both
    template["cliques"][0]["resourceSharing"] = both[:1]


def named(pod: raw.Object) -> list[str]:
    """The claims that a pod names."""
    return [entry["resourceClaimName"] for entry in pod["spec"].get("resourceClaims") or ()]


def lacking(server: plane.Plane, pod: raw.Object) -> list[str]:
    """The claims that a pod names and that are not there."""
    return [name for name in named(pod) if ("ns", name) not in server.of("resourceclaims")]


def users(server: plane.Plane, pod: raw.Object) -> list[str]:
    """Other pods without their gate that have a claim which belongs to one pod at a time, and the pod names it, too."""
    claims = server.of("resourceclaims")
    mine = {
        name
        for name in named(pod)
        if ("ns", name) in claims and names.LABEL_POD_INDEX in claims["ns", name]["metadata"]["labels"]
    }
    return [
        other["metadata"]["name"]
        for other in server.ours()
        if other is not pod and not plan.gated(other) and not plan.finished(other) and mine & {*named(other)}
    ]


def faults(server: plane.Plane, obj: raw.Object) -> Iterator[str]:
    """Claims that are missing, and those that nobody wants."""
    if "resourceSharing" not in obj["spec"]["template"]:
        return
    least = obj["spec"]["template"]["podCliqueScalingGroups"][0]["minAvailable"]
    wanted = {"demo-all-wide"}
    for index in range(obj["spec"]["replicas"]):
        group = f"demo-{index}-pool"
        live = server.of("podcliquescalinggroups").get(("ns", group))
        asked = live["spec"]["replicas"] if live is not None else 0
        wanted |= {f"demo-{index}-own", f"{group}-all-wide"}
        wanted |= {f"{group}-{j}-own" for j in range(max(asked, least) if asked else 0)}
    for pod in server.ours():
        clique = pod["metadata"]["labels"][names.LABEL_PODCLIQUE]
        if clique.endswith("-front"):
            wanted.add(f"{clique}-{plan.pod_index(pod)}-own")
        if without := lacking(server, pod):
            yield f"{pod['metadata']['name']} lacks {without}"
    there = {name for _, name in server.of("resourceclaims")}
    if there != wanted:
        yield f"resourceclaims: too many {sorted(there - wanted)}, too few {sorted(wanted - there)}"
