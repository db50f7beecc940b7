"""What must be true of a set once the disturbance has stopped."""

from collections import Counter
from collections.abc import Iterator

from grovekeeper.api import names, raw
from grovekeeper.expand import parse, plan
from tests.property import claims, moves
from tests.reconciler import world


def faults(sequence: moves.Sequence) -> list[str]:
    """What is not as Git and the scaled children want it; empty when all is well."""
    fleet = sequence.fleet
    found = list(fleet.broken)
    found += [repr(fault) for process in fleet.everybody() for fault in process.faults]
    found += [f"{plural} {obj['metadata']['name']} is an orphan" for plural, obj in fleet.server.orphans()]
    obj = fleet.the_set()
    if obj is None:
        return [*found, "the set is gone"]
    found += _children(sequence, obj)
    found += _pods(sequence)
    found += _status(obj)
    found += claims.faults(fleet.server, obj)
    return found


def torn(sequence: moves.Sequence) -> list[str]:
    """Gangs of which a part is without its gate although the whole never was. While processes may have died half-way
    a part may be out; then the decision is written down and the rest follows."""
    fleet = sequence.fleet
    return [*fleet.broken, *(repr(fault) for process in fleet.everybody() for fault in process.faults)]


def _children(sequence: moves.Sequence, obj: raw.Object) -> Iterator[str]:
    server = sequence.fleet.server
    template = obj["spec"]["template"]
    least = template["podCliqueScalingGroups"][0]["minAvailable"]
    cliques, groups, gangs, services = set(), set(), set(), set()
    for index in range(obj["spec"]["replicas"]):
        base = f"demo-{index}"
        cliques.add(f"{base}-front")
        groups.add(f"{base}-pool")
        services.add(base)
        gangs.add(base)
        live = server.of("podcliquescalinggroups").get(("ns", f"{base}-pool"))
        asked = live["spec"]["replicas"] if live is not None else 0
        for j in range(max(asked, least) if asked else 0):
            cliques |= {f"{base}-pool-{j}-lead", f"{base}-pool-{j}-work"}
            gangs |= {f"{base}-pool-{j - least}"} if j >= least else set()
    wanted = {"podcliques": cliques, "podcliquescalinggroups": groups, "podgangs": gangs, "services": services}
    for plural, expected in wanted.items():
        there = {name for _, name in server.of(plural)}
        if there != expected:
            yield f"{plural}: too many {sorted(there - expected)}, too few {sorted(expected - there)}"


def _pods(sequence: moves.Sequence) -> Iterator[str]:
    server = sequence.fleet.server
    obj = sequence.fleet.the_set()
    assert obj is not None
    hashes = {clique.name: clique.template_hash for clique in parse.workload(obj).cliques}
    by_clique: dict[str, list[raw.Object]] = {}
    for pod in server.ours():
        if not plan.alive(pod):
            yield f"{pod['metadata']['name']} has not gone"
        by_clique.setdefault(pod["metadata"]["labels"][names.LABEL_PODCLIQUE], []).append(pod)
    for (_, name), clique in server.of("podcliques").items():
        pods = by_clique.get(name, [])
        if len(pods) != clique["spec"]["replicas"]:
            yield f"{name} has {len(pods)} of {clique['spec']['replicas']} pods"
        double = [index for index, count in Counter(map(plan.pod_index, pods)).items() if count > 1]
        if double:
            yield f"{name} has the indexes {double} twice"
        for pod in pods:
            if not plan.ready(pod):
                yield f"{pod['metadata']['name']} is not ready"
            if pod["metadata"]["labels"][names.LABEL_TEMPLATE_HASH] != hashes[name.rpartition("-")[2]]:
                yield f"{pod['metadata']['name']} is not up to date"


def _status(obj: raw.Object) -> Iterator[str]:
    status = obj["status"]
    replicas = obj["spec"]["replicas"]
    for field in ("replicas", "availableReplicas", "updatedReplicas"):
        if status.get(field, 0) != replicas:
            yield f"status.{field} is {status.get(field)} of {replicas}"
    ready = world.condition(obj, "Ready")
    if ready is None or ready["status"] != "True":
        yield f"the set is not Ready: {ready}"
