"""Gangs that other schedulers place, on both targets.

Neither KAI nor Volcano can be had as a binary here: their kinds are CRDs of the tests, and a stand-in binds what a
PodGroup says may be bound.
"""

import pytest

from tests import crds
from tests.e2e import statuses
from tests.e2e.standin import StandIn
from tests.e2e.topology import TOPOLOGIES, bind, topologies
from tests.e2e.world import BINDINGS, MERGE, Object, World, is_ready, uids

KAI = "kai-scheduler"
QUEUE = {"kai.scheduler/queue": "team"}
UNAVAILABLE = "SchedulerBackendUnavailable"
KINDS = ["PodGangSet", "PodCliqueSet"]


@pytest.fixture
def kai(world: World) -> StandIn:
    crds.install_scheduler(world.cluster, "kai")
    ensure_queue(world, "/apis/scheduling.run.ai/v2", "team")
    return StandIn(world, KAI)


def ensure_queue(world: World, group_path: str, name: str) -> None:
    listed = world.request("GET", f"{group_path}/queues")["items"]
    if name not in [each["metadata"]["name"] for each in listed]:
        version = group_path.removeprefix("/apis/")
        world.post(
            f"{group_path}/queues", {"apiVersion": version, "kind": "Queue", "metadata": {"name": name}, "spec": {}}
        )


def over(obj: Object, scheduler: str, kind: str = "PodGangSet", **metadata: Object) -> Object:
    """Return the set for another scheduler."""
    for clique in obj["spec"]["template"]["cliques"]:
        clique["spec"]["podSpec"]["schedulerName"] = scheduler
    return {**obj, "kind": kind, "metadata": {**obj["metadata"], **metadata}}


def condition(world: World, plural: str = "podgangsets", type_: str = UNAVAILABLE) -> tuple[str, str, str]:
    """Return status, reason and message of a condition of the set."""
    found = world.get_set("w", plural)
    return (*statuses.verdict(found, type_), statuses.message(found, type_))


def podgang(world: World, name: str = "w-0") -> Object:
    return world.request("GET", world.path("podgangs", name, "/apis/scheduler.grove.io/v1alpha1"))


def references(world: World) -> set[str]:
    """Return the names of the pods that the PodGang refers to."""
    return {ref["name"] for each in podgang(world)["spec"]["podgroups"] for ref in each["podReferences"]}


def gates(pods: list[Object]) -> list[list[str]]:
    return [[gate["name"] for gate in pod["spec"].get("schedulingGates") or ()] for pod in pods]


@pytest.mark.parametrize("kind", KINDS)
def test_kai_gets_a_gang_whole_and_places_it(world: World, kai: StandIn, kind: str) -> None:
    plural = f"{kind.lower()}s"
    world.add_nodes(6)
    cliques = [world.clique("pc-a", 2, 1), world.clique("pc-b", 3)]
    world.apply(over(world.set(cliques), KAI, kind, labels=QUEUE))
    world.wait(lambda: gates(world.pods()) == [[]] * 5, "our gates to go")
    assert all("affinity" not in pod["spec"] for pod in world.pods()), "nothing is pinned"
    assert {pod["spec"]["schedulerName"] for pod in world.pods()} == {KAI}
    found = kai.groups()["w-0"]
    assert found["spec"]["minMember"] == 4
    assert found["spec"]["queue"] == "team"
    assert [(each["name"], each["minMember"]) for each in found["spec"]["subGroups"]] == [
        ("w-0-pc-a", 1),
        ("w-0-pc-b", 3),
    ]
    assert podgang(world)["metadata"]["labels"]["grove.io/scheduler-name"] == KAI
    world.wait(lambda: kai.step() and len([p for p in world.pods() if is_ready(p)]) == 5, "the gang to run")
    world.wait(lambda: statuses.of(podgang(world)).get("phase") == "Running", "the PodGang to say so")
    world.wait(
        lambda: references(world) == {pod["metadata"]["name"] for pod in world.pods()}, "the PodGang's references"
    )
    world.wait(lambda: condition(world, plural)[0] == "False", "the set to say that the back end is there")
    lost = world.pods("pc-b")[0]["metadata"]
    world.delete_pod(lost["name"])
    world.wait(lambda: lost["uid"] not in uids(world.pods()), "the pod to go")
    world.wait(lambda: kai.step() and len([p for p in world.pods() if is_ready(p)]) == 5, "the successor to run")
    world.wait(
        lambda: references(world) == {pod["metadata"]["name"] for pod in world.pods()}, "the PodGang's references"
    )


def test_a_scaled_gang_follows_its_base_gang_and_takes_its_group_along(world: World, kai: StandIn) -> None:
    world.add_nodes(10)
    world.apply(over(world.wl2(), KAI, labels=QUEUE))

    def of(gang: str) -> list[Object]:
        return [pod for pod in world.pods() if pod["metadata"]["labels"]["grove.io/podgang"] == gang]

    world.wait(lambda: len(of("w-0")) == 6 and gates(of("w-0")) == [[]] * 6, "the base gang to be handed over")
    world.wait(lambda: len(of("w-0-sg-x-0")) == 4, "the scaled gang's pods")
    world.stays(lambda: all(gates(of("w-0-sg-x-0"))), "the scaled gang waits")
    world.wait(lambda: kai.step() and len([p for p in world.pods() if is_ready(p)]) == 10, "both gangs to run")
    assert set(kai.groups()) == {"w-0", "w-0-sg-x-0"}
    world.scale("podcliquescalinggroups", "w-0-sg-x", 1)
    world.wait(lambda: set(kai.groups()) == {"w-0"}, "the group to go with its gang")


def test_gates_of_others_stay_where_they_are(world: World, kai: StandIn) -> None:
    world.add_nodes(2)
    clique = world.clique("pc-a", 2)
    clique["spec"]["podSpec"]["schedulingGates"] = [{"name": "example.com/licence"}]
    world.apply(over(world.set([clique]), KAI, labels=QUEUE))
    world.wait(lambda: gates(world.pods()) == [["example.com/licence"]] * 2, "our gates to go, and only they")


def test_what_kai_says_reaches_the_sets_status_and_what_kai_owns_is_kept(world: World, kai: StandIn) -> None:
    world.add_nodes(1)
    world.apply(over(world.set([world.clique("pc-a", 2)]), KAI, labels=QUEUE))
    world.wait(lambda: "w-0" in kai.groups(), "the group")
    reason = {"reason": "OverLimit", "message": "queue team has no GPUs left"}
    said = {"type": "UnschedulableOnNodePool", "status": "True", "reasons": [reason]}
    kai.change("w-0", {"status": {"schedulingConditions": [said]}}, "/status")
    world.wait(lambda: "no GPUs left" in world.gang_condition("w-0", "Scheduled"), "the PodGang to repeat it")
    world.wait(lambda: "no GPUs left" in str(condition(world, type_="Ready")), "the set to repeat it")
    world.wait(
        lambda: [each["name"] for each in statuses.of(world.get_set("w")).get("podGangStatuses") or ()] == ["w-0"],
        "the set to tell of its gang",
    )
    theirs = {"markUnschedulable": True, "schedulingBackoff": 1, "queue": "moved", "minMember": 1}
    pool = {"labels": {"kai.scheduler/node-pool": "gold"}}
    kai.change("w-0", {"metadata": pool, "spec": theirs})
    world.wait(lambda: kai.groups()["w-0"]["spec"]["minMember"] == 2, "what is ours to be put right")
    found = kai.groups()["w-0"]
    assert {key: found["spec"][key] for key in theirs} == {**theirs, "minMember": 2}
    assert found["metadata"]["labels"]["kai.scheduler/node-pool"] == "gold"
    path = world.path("podgroups", "w-0", "/apis/scheduling.run.ai/v2alpha2")
    world.request("DELETE", path)
    world.wait(
        lambda: "w-0" in kai.groups() and kai.groups()["w-0"]["metadata"]["uid"] != found["metadata"]["uid"],
        "a new group",
    )


def test_a_queue_that_is_missing_is_named_until_it_is_there(world: World, kai: StandIn) -> None:
    queue = f"{world.namespace}-queue"
    world.apply(over(world.set([world.clique("pc-a", 1)]), KAI, labels={"kai.scheduler/queue": queue}))
    world.wait(lambda: condition(world)[:2] == ("True", "QueueNotFound"), "the condition")
    assert queue in condition(world)[2]
    ensure_queue(world, "/apis/scheduling.run.ai/v2", queue)
    world.wait(lambda: condition(world)[0] == "False", "the condition to clear")
    kai.world.request("DELETE", f"/apis/scheduling.run.ai/v2/queues/{queue}")


def test_volcano_is_waited_for_without_a_restart_and_then_places_the_gang(world: World) -> None:
    world.add_nodes(4)
    queue = {"scheduling.grove.io/volcano-queue": "gold"}
    world.apply(over(world.set([world.clique("pc-a", 2), world.clique("pc-b", 2, 1)]), "volcano", annotations=queue))
    if not served(world, "/apis/scheduling.volcano.sh/v1beta1/podgroups"):
        world.wait(lambda: condition(world)[:2] == ("True", "KindNotServed"), "the condition")
        assert "install Volcano" in condition(world)[2]
        world.wait(lambda: condition(world, type_="Stalled")[0] == "True", "the set to be stalled")
        world.wait(lambda: len(world.pods()) == 4, "the pods")
        world.stays(lambda: all(gates(world.pods())), "the gates stay")
    crds.install_scheduler(world.cluster, "volcano")
    volcano = StandIn(world, "volcano")
    world.wait(lambda: condition(world)[:2] == ("True", "QueueNotFound"), "the queue to be missed")
    ensure_queue(world, "/apis/scheduling.volcano.sh/v1beta1", "gold")
    path = "/apis/scheduling.volcano.sh/v1beta1/queues/gold/status"
    world.request("PATCH", path, {"status": {"state": "Closed"}}, MERGE)
    world.wait(lambda: condition(world)[:2] == ("True", "QueueNotOpen"), "the queue to be closed")
    world.request("PATCH", path, {"status": {"state": "Open"}}, MERGE)
    world.wait(lambda: condition(world)[0] == "False", "the condition to clear")
    world.wait(lambda: volcano.step() and len([p for p in world.pods() if is_ready(p)]) == 4, "the gang to run")
    spec = volcano.groups()["w-0"]["spec"]
    assert (spec["minMember"], spec["queue"]) == (3, "gold")
    assert [(each["name"], each["subGroupSize"]) for each in spec["subGroupPolicy"]] == [
        ("w-0-pc-a", 2),
        ("w-0-pc-b", 1),
    ]


def served(world: World, path: str) -> bool:
    try:
        world.request("GET", path)
    except Exception:
        return False
    return True


def test_a_stock_cluster_says_that_it_has_no_podgroups(world: World) -> None:
    world.apply(over(world.set([world.clique("pc-a", 1)]), "podgroup"))
    world.wait(lambda: condition(world)[:2] == ("True", "KindNotServed"), "the condition")
    assert "GenericWorkload" in condition(world)[2]
    world.wait(lambda: len(world.pods()) == 1, "the pod")
    world.stays(lambda: all(gates(world.pods())), "the gate stays")


def drift(world: World, name: str) -> tuple[str, str]:
    return statuses.verdict(world.request("GET", f"{BINDINGS}/{name}"), "SchedulerTopologyDrift")


def topology(world: World, name: str) -> list[str]:
    return topologies(world).get(name, [])


def test_tas1_a_binding_becomes_a_topology_of_kais(world: World, kai: StandIn) -> None:
    world.add_nodes(28)
    name = bind(world)
    world.wait(lambda: topology(world, name), "the Topology")
    keys = [f"kubernetes.io/{key}" for key in ("zone", "block", "rack", "hostname")]
    assert topology(world, name) == keys
    made = world.request("GET", f"{TOPOLOGIES}/{name}")
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ClusterTopologyBinding", name, True)
    for node in world.request("GET", f"/api/v1/nodes?labelSelector=pool%3D{world.namespace}")["items"]:
        assert set(keys) <= node["metadata"]["labels"].keys()
    world.wait(lambda: drift(world, name) == ("False", "InSync"), "the status")
    world.request("DELETE", f"{TOPOLOGIES}/{name}")
    world.wait(lambda: topology(world, name) == keys, "a Topology that somebody deleted to be back")
    world.request("DELETE", f"{BINDINGS}/{name}")
    world.wait(lambda: not topology(world, name), "the Topology to go with the binding")


def test_tas18_a_binding_to_a_missing_topology_says_so(world: World, kai: StandIn) -> None:
    name = bind(world)
    world.wait(lambda: drift(world, name) == ("False", "InSync"), "the first status")
    other = f"{name}-other"
    entry = {"schedulerName": KAI, "topologyReference": other}
    world.request("PATCH", f"{BINDINGS}/{name}", {"spec": {"schedulerTopologyBindings": [entry]}}, MERGE)
    world.wait(lambda: drift(world, name) == ("True", "Drift"), "the drift")
    (found,) = world.request("GET", f"{BINDINGS}/{name}")["status"]["schedulerTopologyStatuses"]
    assert (found["schedulerName"], found["topologyReference"], found["inSync"]) == (KAI, other, False)
    body = {"apiVersion": "kai.scheduler/v1alpha1", "kind": "Topology", "metadata": {"name": other}}
    levels = [{"nodeLabel": key} for key in topology(world, name)]
    world.post(TOPOLOGIES, {**body, "spec": {"levels": levels}})
    world.wait(lambda: drift(world, name) == ("False", "InSync"), "the Topology to be found")
    world.request("DELETE", f"{TOPOLOGIES}/{other}")
    world.wait(lambda: drift(world, name) == ("True", "Drift"), "its loss to be noticed")


def test_tas19_changed_levels_make_the_topology_anew(world: World, kai: StandIn) -> None:
    name = bind(world, "tas19", (("zone", "kubernetes.io/zone"), ("host", "kubernetes.io/hostname")))
    world.wait(lambda: drift(world, name) == ("False", "InSync"), "the first status")
    assert topology(world, name) == ["kubernetes.io/zone", "kubernetes.io/hostname"]
    three = [
        {"domain": word, "key": f"kubernetes.io/{key}"}
        for word, key in (("zone", "zone"), ("rack", "rack"), ("host", "hostname"))
    ]
    world.request("PATCH", f"{BINDINGS}/{name}", {"spec": {"levels": three}}, MERGE)
    world.wait(lambda: len(topology(world, name)) == 3, "three levels")
    assert topology(world, name) == [level["key"] for level in three]
    world.stays(lambda: drift(world, name) == ("False", "InSync"), "the status says that all is well")


def test_a_topology_of_somebody_else_is_left_alone(world: World, kai: StandIn) -> None:
    name = f"{world.namespace}-topology"
    body = {"apiVersion": "kai.scheduler/v1alpha1", "kind": "Topology", "metadata": {"name": name}}
    world.post(TOPOLOGIES, {**body, "spec": {"levels": [{"nodeLabel": "theirs"}]}})
    assert bind(world) == name
    world.wait(lambda: drift(world, name) == ("True", "Drift"), "the drift")
    assert topology(world, name) == ["theirs"]
    (found,) = world.request("GET", f"{BINDINGS}/{name}")["status"]["schedulerTopologyStatuses"]
    assert "belongs to" in found["message"]
    world.request("DELETE", f"{TOPOLOGIES}/{name}")
    world.wait(lambda: drift(world, name) == ("False", "InSync"), "ours to be made")
