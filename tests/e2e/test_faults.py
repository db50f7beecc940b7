"""What goes wrong around a gang: processes that end, webhooks that are away, nodes that are lost. On both targets."""

import functools
import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.e2e import statuses
from tests.e2e.components import holder, metrics
from tests.e2e.world import GROVE, MERGE, Object, World, changed, is_ready, is_updated, refused, uids

SCHEDULER = "/apis/scheduler.grove.io/v1alpha1"


@pytest.mark.slow
def test_a_restart_of_worker_and_dispatcher_in_the_middle_loses_nothing(world: World) -> None:
    world.add_nodes(20, cordoned=11)
    world.apply(world.wl1(replicas=2))
    world.wait_pods(20, 0)
    for name in ("worker-0", "dispatcher"):
        world.installation.components[name].stop(kill=True)
    world.uncordon(11)
    for name in ("dispatcher", "worker-0"):
        world.installation.components[name].start()
        world.installation.components[name].wait_ready()
    world.wait_pods(20, 20, 90)


@pytest.mark.slow
def test_another_worker_takes_over_when_the_placement_owner_dies(world: World) -> None:
    """The second worker stands by; what the first one decided and did not carry out is carried out by it."""
    second = world.installation.add_worker()
    try:
        world.add_nodes(20, cordoned=10)
        world.apply(world.wl1(replicas=2))
        world.wait(lambda: len(world.pods()) == 20, "all pods")
        world.installation.components["worker-0"].stop(kill=True)
        world.uncordon(10)
        world.wait_pods(20, 20, 90)
    finally:
        world.installation.components["worker-0"].start()
        world.installation.components["worker-0"].wait_ready()
        world.installation.remove(second)


def test_a_rival_that_takes_the_chosen_room_before_the_binding_is_noticed_at_once(world: World) -> None:
    """A claim that is not there keeps one member unbound between our decision and its binding."""
    world.add_nodes(4)
    late = world.clique("pc-b", 1)
    late["spec"]["podSpec"]["resourceClaims"] = [{"name": "later", "resourceClaimName": "later"}]
    world.apply(world.set([world.clique("pc-a", 1), late]))
    released = lambda: [node for pod in world.pods("pc-b") if (node := pinned(pod))]  # noqa: E731
    (node,) = world.wait(released, "the gang to be released")
    container = {"name": "c", "image": "i", "resources": {"requests": {"memory": "80Mi"}}}
    rival = {"metadata": {"name": "rival"}, "spec": {"containers": [container], "nodeName": node}}
    pods = world.path("pods", group="/api/v1")
    world.post(pods, {"apiVersion": "v1", "kind": "Pod", **rival})
    # Else a scheduler that hears of the claim first would bind both to the node.
    world.wait(lambda: is_ready(world.request("GET", f"{pods}/rival")), "the rival to be seen")
    claim = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "later"}, "spec": {}}
    world.post(world.path("resourceclaims", group="/apis/resource.k8s.io/v1"), claim)

    def moved() -> bool:
        alive = [p for p in world.pods() if is_ready(p)]
        return len(alive) == 2 and node not in {p["spec"]["nodeName"] for p in alive}

    # Less than the bind timeout of 30 s, after which whatever is not bound is taken back.
    world.wait(moved, "the gang to run beside the rival", 20)
    world.request("DELETE", f"{pods}/rival", {"gracePeriodSeconds": 0})


@pytest.mark.slow
def test_a_placement_owner_that_was_stopped_and_goes_on_writes_nothing_more(world: World) -> None:
    """It is stopped for longer than its Lease lasts; the second worker takes over; then the first one goes on."""
    second = world.installation.add_worker()
    stale = world.wait(lambda: owner(world), "a worker to own placement", 40)
    process = world.installation.components[stale].process
    assert process is not None
    world.add_nodes(20, cordoned=20)
    try:
        world.apply(world.wl1(replicas=2))
        world.wait(lambda: len(world.pods()) == 20, "all pods")
        before = settled(lambda: placements(world, stale), world)
        process.send_signal(signal.SIGSTOP)
        world.wait(lambda: owner(world) not in ("", stale), "another owner", 40)
        world.uncordon(20, at_once=False)  # the stopped one stays so
        world.wait(lambda: any(p["spec"].get("nodeName") for p in world.pods()), "the new owner to place", 40)
        process.send_signal(signal.SIGCONT)
        world.wait_pods(20, 20, 90)
        world.stays(lambda: placements(world, stale) == before, "the stopped one has written nothing")
    finally:
        process.send_signal(signal.SIGCONT)
        world.installation.remove(second)
        world.wait(lambda: owner(world) in world.installation.components, "the first worker to own placement again", 40)


def test_an_emptied_redis_loses_nothing(world: World) -> None:
    import redis

    world.add_nodes(10)
    client = redis.Redis.from_url(world.installation.redis.url)
    world.apply(world.wl1())
    client.flushall()
    client.close()
    world.wait_pods(10, 10, 40)


@pytest.mark.slow
def test_pods_wait_for_the_webhook_and_none_gets_in_ungated(world: World) -> None:
    """While the webhook is away pods of gangs are refused, other pods of the cluster are not."""
    world.add_nodes(10)
    webhook = world.installation.components["webhook"]
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    webhook.stop(kill=True)
    try:
        for pod in world.pods("pc-a"):
            world.delete_pod(pod["metadata"]["name"])
        bystander = {"metadata": {"name": "bystander"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        world.post(world.path("pods", group="/api/v1"), {"apiVersion": "v1", "kind": "Pod", **bystander})
        world.request("DELETE", world.path("pods", "bystander", "/api/v1"), {"gracePeriodSeconds": 0})
        world.stays(
            lambda: all(
                p["spec"].get("nodeName") or p["spec"].get("schedulingGates") or "grove.io/podclique" not in labels(p)
                for p in world.request("GET", world.path("pods", group="/api/v1"))["items"]
            ),
            "no member is in without its gate",
        )
    finally:
        webhook.start()
        webhook.wait_ready()
    world.wait_pods(10, 10, 60)


@pytest.mark.slow
def test_pods_of_a_lost_node_are_replaced_without_waiting_for_the_node_controller(world: World) -> None:
    world.add_nodes(11)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    lost = world.pods("pc-a")[0]
    node = lost["spec"]["nodeName"]
    world.request("DELETE", f"/api/v1/nodes/{node}")
    world.nodes.remove(node)
    world.wait(lambda: lost["metadata"]["uid"] not in uids(world.pods()), "the pod of the lost node to be replaced", 90)
    world.wait_pods(10, 10, 60)


@pytest.mark.slow
def test_a_node_that_falls_silent_is_seen_by_its_own_condition(world: World) -> None:
    """The pods' conditions say nothing of it yet; on the embedded cluster, which has no node controller, never."""
    world.add_nodes(10)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    before = uids(world.pods())
    node = world.pods("pc-a")[0]["spec"]["nodeName"]
    clique = world.path("podcliques", "w-0-pc-a")

    def count() -> tuple[int, bool]:
        found = world.request("GET", clique)
        return statuses.of(found).get("readyReplicas", 0), statuses.is_true(found, "MinAvailableBreached")

    world.wait(lambda: count() == (2, False), "the clique's status to say that it is whole")
    silent(world, node, True)
    world.wait(lambda: count() == (1, True), "the clique to be below its minimum")
    silent(world, node, False)
    world.wait(lambda: count() == (2, False), "the clique to be whole")
    assert uids(world.pods()) == before


def silent(world: World, node: str, on: bool) -> None:
    """Let the node's agent fall silent as the node controller would note it, or speak again."""
    path = f"/api/v1/nodes/{node}"
    mark = {"metadata": {"annotations": {"embedded.grovekeeper.io/lost": "true" if on else None}}}
    world.request("PATCH", path, mark, MERGE)
    kept = [c for c in statuses.of(world.request("GET", path)).get("conditions") or () if c["type"] != "Ready"]
    ready = {"type": "Ready", "status": "Unknown" if on else "True", "reason": "NodeStatusUnknown" if on else "Ready"}
    world.request("PATCH", f"{path}/status", {"status": {"conditions": [*kept, ready]}}, MERGE)


def test_a_failed_pod_is_replaced(world: World) -> None:
    world.add_nodes(10)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    pod = world.pods("pc-a")[0]
    status = {"status": {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}}
    world.request("PATCH", world.path("pods", pod["metadata"]["name"], "/api/v1") + "/status", status, MERGE)
    world.wait(lambda: pod["metadata"]["uid"] not in uids(world.pods()), "the evicted pod to be replaced")
    world.wait_pods(10, 10, 40)


def test_an_update_that_no_node_can_take_keeps_the_rest_running_and_says_why(world: World) -> None:
    world.add_nodes(10)
    obj = world.wl1()
    world.apply(obj)
    world.wait_pods(10, 10)
    greedy = changed(obj, "pc-a")
    container = greedy["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["containers"][0]
    container["resources"] = {"requests": {"memory": "999Gi"}}
    world.apply(greedy)
    world.wait_pods(10, 9)
    world.stays(lambda: sum(map(is_updated, world.pods())) == 1, "one pod waits, the others run on", 3)
    world.wait(lambda: "memory" in reason(world), "the reason in the gang's condition")
    world.apply(obj)  # a revert in Git
    world.wait_pods(10, 10, 40)


@pytest.mark.slow
def test_a_set_deleted_in_the_middle_of_everything_leaves_nothing(world: World) -> None:
    world.add_nodes(20, cordoned=4)
    obj = world.wl2(replicas=2)
    world.apply(obj)
    world.wait(lambda: len(world.pods()) >= 5, "some pods")
    world.scale("podgangsets", "w", 3)
    world.apply(changed(obj, "pc-a", "pc-c"))
    world.request("DELETE", world.path("podgangsets", "w"))

    def left() -> list[str]:
        kinds = [("podcliques", ""), ("podcliquescalinggroups", ""), ("pods", "/api/v1"), ("services", "/api/v1")]
        kinds += [("podgangs", "/apis/scheduler.grove.io/v1alpha1"), ("controllerrevisions", "/apis/apps/v1")]
        kinds += [("poddisruptionbudgets", "/apis/policy/v1"), ("secrets", "/api/v1")]
        found = []
        for plural, where in kinds:
            path = world.path(plural, group=where) if where else world.path(plural)
            found += [item["metadata"]["name"] for item in world.request("GET", path)["items"]]
        return [name for name in found if name.startswith("w-")]

    # The collector of a new cluster learns of new kinds every thirty seconds.
    world.wait(lambda: not left(), "everything to go", 75)
    world.stays(lambda: not left(), "nothing comes back", 3)


def test_a_gang_waits_for_gates_of_others_and_goes_where_they_steer_it(world: World) -> None:
    """As Kueue does it: a gate of its own, which it takes away together with a node selector."""
    world.add_nodes(6)
    clique = world.clique("worker", 2)
    clique["spec"]["podSpec"]["schedulingGates"] = [{"name": "example.com/quota"}]
    world.apply(world.set([clique]))
    world.wait(lambda: len(world.pods()) == 2, "its pods")

    def said() -> str:
        found = world.request("GET", world.path("podgangs", group=SCHEDULER))["items"]
        mine = (obj for obj in found if obj["metadata"]["name"] == "w-0")
        return " ".join(c["message"] for obj in mine for c in statuses.of(obj).get("conditions") or ())

    world.wait(lambda: "example.com/quota" in said(), "its PodGang to say what it waits for")
    chosen = world.nodes[4:]
    path = world.path("pods", world.pods()[0]["metadata"]["name"], group="/api/v1")
    ours = {"metadata": {"labels": {"grove.io/podgang": "another"}}}
    assert refused(lambda: world.request("PATCH", path, ours, MERGE))[0] == 403, "their gate is theirs, no more"
    for number, pod in enumerate(world.pods()):
        assert not any(each["spec"].get("nodeName") for each in world.pods()), number
        gates = [gate for gate in pod["spec"]["schedulingGates"] if gate["name"] != "example.com/quota"]
        steer = {**(pod["spec"].get("nodeSelector") or {}), "kubernetes.io/hostname": chosen[number]}
        body = {"spec": {"schedulingGates": gates, "nodeSelector": steer}}
        world.request("PATCH", world.path("pods", pod["metadata"]["name"], group="/api/v1"), body, MERGE)
    world.wait_pods(2, 2)
    assert {pod["spec"]["nodeName"] for pod in world.pods()} == set(chosen)


def test_a_scale_below_the_minimum_is_refused_or_lifted(world: World) -> None:
    """A clique says so; a group keeps its minimum, so that an autoscaler is not stuck on an error."""
    world.add_nodes(10)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    code, text = refused(lambda: world.scale("podcliques", "w-0-pc-a", 1))
    assert code in (403, 422)
    assert "minAvailable 2" in text
    scalable = {"podcliques": "w-0-pc-a", "podcliquescalinggroups": "w-0-sg-x", "podgangsets": "w"}
    for plural, name in scalable.items():
        code, text = refused(functools.partial(world.scale, plural, name, -1))
        assert code == 422, text
    body = {"spec": {"replicas": -1}}
    code, text = refused(lambda: world.request("PATCH", world.path("podgangsets", "w"), body, MERGE))
    assert code == 422, text
    assert "spec.replicas: Invalid value: -1: " in text, "the schema comes before the validating webhook"
    world.scale("podcliquescalinggroups", "w-0-sg-x", 1)
    world.stays(lambda: len(world.pods()) == 10, "the group's minimum")


@pytest.mark.slow
def test_a_set_at_rest_costs_no_writes(world: World) -> None:
    # Writes are counted for all sets together.
    world.wait(lambda: not others(world), "what earlier scenarios had to be gone", 75)
    world.add_nodes(10)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    world.wait(lambda: statuses.of(world.get_set("w")).get("availableReplicas") == 1, "the set to be available")
    world.advance(15)
    budgets = world.path("poddisruptionbudgets", group="/apis/policy/v1")
    world.wait(lambda: len(world.request("GET", budgets)["items"]) == 5, "the budgets, which are the last to come")
    settled: list[Counter[str]] = []

    def rests() -> bool:
        settled.append(writes(world))
        return len(settled) > 40 and settled[-40] == settled[-1]

    world.wait(rests, "four seconds without a write", 40)
    before = writes(world)

    def unchanged() -> bool:
        more = writes(world) - before
        assert not more, f"it was written: {more}"
        return True

    poke = {"metadata": {"annotations": {"grove.io/reconcile-trigger": "look"}}}
    world.request("PATCH", world.path("podgangsets", "w"), poke, MERGE)
    world.stays(unchanged, "a full look at a set at rest writes nothing", 4)


def pinned(pod: Object) -> str | None:
    """Return the node that a released pod is pinned to."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms") or ()
    return next((str(f["values"][0]) for term in terms for f in term.get("matchFields") or ()), None)


def owner(world: World) -> str:
    """Return the name of the component that holds the Lease of placement; nothing while nobody of ours does."""
    return holder(world, "grovekeeper-placement")


def settled(count: Callable[[], float], world: World) -> float:
    """Return a count once it has not changed for two seconds."""
    seen: list[float] = []

    def rests() -> bool:
        seen.append(count())
        return len(seen) > 20 and seen[-20] == seen[-1]

    world.wait(rests, "two seconds without a write", 40)
    return seen[-1]


def placements(world: World, name: str) -> float:
    """Return how many writes to PodGangs and existing pods a process has made."""
    pattern = r'^grovekeeper_kube_requests_total\{resource="(\S+)",verb="(\w+)"\} (\S+)$'
    found = re.findall(pattern, metrics(world, name), re.M)
    kinds = ("podgangs", "podgangs/status", "pods", "pods/status")
    return sum(float(count) for kind, verb, count in found if kind in kinds and verb in ("PATCH", "APPLY"))


def others(world: World) -> list[str]:
    """Return the objects of sets in other namespaces; the collector may take a while to them."""
    paths = [f"{GROVE}/{plural}" for plural in ("podcliques", "podcliquescalinggroups")]
    listed = [obj for path in [*paths, f"{SCHEDULER}/podgangs"] for obj in world.request("GET", path)["items"]]
    found = [(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in listed]
    return [f"{namespace}/{name}" for namespace, name in found if namespace != world.namespace]


def writes(world: World) -> Counter[str]:
    """Return how many writes our processes have made, Leases left out, by process, verb and resource."""
    total = Counter[str]()
    for name in ("dispatcher", "worker-0"):
        for labels, count in re.findall(r"^grovekeeper_kube_requests_total\{(.*)\} (.*)$", metrics(world, name), re.M):
            verb = re.search(r'verb="(\w+)"', labels)
            if verb and verb[1].lower() not in ("get", "list", "watch") and 'leases"' not in labels:
                total[f"{name} {labels}"] += int(float(count))
    return total


def reason(world: World) -> str:
    return world.gang_condition("w-0", "Scheduled")


def labels(pod: dict[str, dict[str, dict[str, str]]]) -> dict[str, str]:
    return pod["metadata"].get("labels") or {}
