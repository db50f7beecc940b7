"""The life of a gang on both targets: scaling, termination, startup order, updates, topology, deletion, refusals."""

from collections.abc import Sequence

import pytest

from tests.e2e import recorder, statuses
from tests.e2e.recorder import one_at_a_time
from tests.e2e.test_updates import finished, on_delete, passed_on, replaced
from tests.e2e.world import Object, World, changed, refused, uids

PCSG = "podcliquescalinggroups"


def test_scaling_all_three_levels_up_and_down_keeps_what_stays(world: World) -> None:
    world.add_nodes(28)
    world.apply(world.wl2())
    world.wait_pods(10, 10)
    first = uids(world.pods())
    world.scale(PCSG, "w-0-sg-x", 3)
    world.wait_pods(14, 14)
    world.scale("podcliques", "w-0-pc-a", 4)
    world.wait_pods(16, 16)
    world.scale("podgangsets", "w", 2)
    world.wait_pods(26, 26)
    world.scale("podgangsets", "w", 1)
    world.scale("podcliques", "w-0-pc-a", 2)
    world.scale(PCSG, "w-0-sg-x", 2)
    world.wait_pods(10, 10)
    assert uids(world.pods()) == first

    def services() -> set[str]:
        return {s["metadata"]["name"] for s in world.request("GET", world.path("services", group="/api/v1"))["items"]}

    world.wait(lambda: "w-1" not in services(), "the Service of the second replica to go")
    assert "w-0" in services()


OF_A_REPLICA = {
    "podcliques": "/apis/grove.io/v1alpha1",
    PCSG: "/apis/grove.io/v1alpha1",
    "podgangs": "/apis/scheduler.grove.io/v1alpha1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "services": "/api/v1",
    "pods": "/api/v1",
}


@pytest.mark.slow
def test_a_set_goes_to_zero_and_back_by_scale_and_by_git_and_leaves_nothing_of_its_replicas(world: World) -> None:
    world.add_nodes(10)
    obj = world.wl1()
    world.apply(obj)
    world.wait_pods(10, 10)
    world.wait(lambda: left(world).get("poddisruptionbudgets") == 5, "a budget for each clique", 60)
    world.scale("podgangsets", "w", 0)
    world.wait(lambda: not left(world), "nothing of the replica", 60)
    world.scale("podgangsets", "w", 1)
    world.wait_pods(10, 10)
    obj["spec"]["replicas"] = 0
    world.apply(obj)
    world.wait(lambda: not left(world), "nothing of the replica", 60)
    world.wait(lambda: statuses.of(world.get_set("w")).get("replicas") == 0, "the status to say so")
    obj["spec"]["replicas"] = 1
    world.apply(obj)
    world.wait_pods(10, 10)


def left(world: World) -> dict[str, int]:
    """Return how many objects there are of each kind that a set replica has."""
    counts = {kind: len(world.request("GET", world.path(kind, group=at))["items"]) for kind, at in OF_A_REPLICA.items()}
    return {kind: count for kind, count in counts.items() if count}


@pytest.mark.slow
def test_a_single_clique_goes_to_zero_and_back_and_its_gang_lives_on(world: World) -> None:
    world.add_nodes(3)
    world.apply(world.set([world.clique("web", 2, 1), world.clique("model", 1, 1)], terminationDelay="2s"))
    world.wait_pods(3, 3)
    others = uids(world.pods("model"))
    budgets = world.path("poddisruptionbudgets", group="/apis/policy/v1")
    world.wait(lambda: len(world.request("GET", budgets)["items"]) == 2, "a budget for each clique", 60)
    world.scale("podcliques", "w-0-web", 0)
    world.wait(lambda: not world.pods("web"), "no pods of the clique")
    world.wait(lambda: len(world.request("GET", budgets)["items"]) == 1, "the budget to go with the pods")
    world.stays(lambda: uids(world.pods()) == others, "the rest of the gang, longer than the termination delay", 4)
    world.scale("podcliques", "w-0-web", 2)
    world.wait_pods(3, 3)
    assert uids(world.pods("model")) == others


def test_an_edit_of_replicas_in_git_reaches_existing_children(world: World) -> None:
    world.add_nodes(6)
    obj = world.set([world.clique("pc", 2, 1)])
    world.apply(obj)
    world.wait_pods(2, 2)
    obj["spec"]["template"]["cliques"][0]["spec"]["replicas"] = 4
    world.apply(obj)
    world.wait_pods(4, 4)


def test_a_deleted_pod_is_replaced_on_the_node_that_it_had(world: World) -> None:
    world.add_nodes(10)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    pod = world.pods("pc-a")[0]
    world.delete_pod(pod["metadata"]["name"])
    world.wait(lambda: pod["metadata"]["uid"] not in uids(world.pods()) and len(world.pods()) == 10, "a successor")
    world.wait_pods(10, 10)
    successor = next(p for p in world.pods() if p["spec"]["hostname"] == pod["spec"]["hostname"])
    assert successor["spec"]["nodeName"] == pod["spec"]["nodeName"]


def test_ru7_a_changed_clique_is_rolled_pod_by_pod(world: World) -> None:
    world.add_nodes(10)
    obj = world.wl1()
    world.apply(obj)
    world.wait_pods(10, 10)
    others = uids(world.pods()) - uids(world.pods("pc-a"))
    roll = one_at_a_time(world.pods())

    def fault(pods: Sequence[Object]) -> str:
        serve = len(list(filter(recorder.up, pods)))
        return roll(pods) or ("more than one pod is missing" if serve < 9 else "")

    recorder.follow(world, lambda: world.apply(changed(obj, "pc-a")), fault, lambda: finished(world, 10), 30)
    assert others < uids(world.pods())


def test_ru8_a_changed_group_is_rolled_replica_by_replica(world: World) -> None:
    world.add_nodes(10)
    obj = world.wl1()
    world.apply(obj)
    world.wait_pods(10, 10)
    before, others = uids(world.pods()), uids(world.pods("pc-a"))
    roll = one_at_a_time(world.pods())
    recorder.follow(world, lambda: world.apply(changed(obj, "pc-b")), roll, lambda: finished(world, 10), 30)
    assert uids(world.pods()) & before == others, "replicas of the group go as a whole, and nobody else"


@pytest.mark.slow
def test_od1_and_od2_on_delete_leaves_pods_alone_until_somebody_deletes_them(world: World) -> None:
    world.add_nodes(10)
    obj = on_delete(world)
    world.apply(obj)
    world.wait_pods(10, 10)
    first = uids(world.pods())
    world.apply(changed(obj, "pc-a"))
    passed_on(world)
    world.stays(lambda: uids(world.pods()) == first, "no pod is replaced", 3)
    replaced(world, world.pods("pc-a")[:1])
    clique = world.path("podcliques", "w-0-pc-a")
    told = lambda: statuses.of(world.request("GET", clique)).get("updatedReplicas")  # noqa: E731
    world.wait(lambda: told() == 1, "its PodClique to say so")


def test_a_gang_that_cannot_fit_says_why_and_runs_nothing(world: World) -> None:
    world.add_nodes(3)
    world.apply(world.set([world.clique("pc", 5)]))
    world.wait_pods(5, 0)
    world.wait(lambda: "room for 3 of 5" in world.gang_condition("w-0", "Scheduled"), "the reason in the condition")


def test_cascade_delete_leaves_nothing(world: World) -> None:
    world.add_nodes(10)
    world.apply(world.wl1())
    world.wait_pods(10, 10)
    world.request("DELETE", world.path("podgangsets", "w"))
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    lists = [("podcliques", ""), (PCSG, ""), ("podgangs", "/apis/scheduler.grove.io/v1alpha1"), ("pods", "/api/v1")]
    lists += [("services", "/api/v1"), ("secrets", "/api/v1"), ("roles", rbac), ("rolebindings", rbac)]

    def left() -> list[str]:
        return [
            item["metadata"]["name"]
            for plural, where in lists
            for item in world.request("GET", world.path(plural, group=where or "/apis/grove.io/v1alpha1"))["items"]
            if (item["metadata"].get("labels") or {}).get("app.kubernetes.io/part-of") == "w"
        ]

    # The collector of a new cluster learns of new kinds every thirty seconds.
    world.wait(lambda: not left(), "everything to go", 75)


def test_a_managed_child_cannot_be_changed_by_hand_and_immutable_fields_say_so(world: World) -> None:
    world.add_nodes(10)
    obj = world.wl1()
    world.apply(obj)
    world.wait_pods(10, 10)
    merge = "application/merge-patch+json"
    body = {"spec": {"replicas": 1}}
    code, text = refused(lambda: world.request("PATCH", world.path("podcliques", "w-0-pc-a"), body, merge))
    assert code == 403
    assert "edit w instead" in text
    obj["spec"]["template"]["cliques"][0]["spec"]["minAvailable"] = 1
    code, text = refused(lambda: world.apply(obj))
    assert code == 403
    assert "spec.template.cliques[0].spec.minAvailable" in text
    assert "cannot be changed" in text


@pytest.mark.slow
def test_a_few_events_tell_why_many_gangs_wait_and_where_they_went(world: World) -> None:
    def said(reason: str) -> list[Object]:
        listed = world.request("GET", world.path("events", group="/api/v1"))["items"]
        return [event for event in listed if event["reason"] == reason and event["involvedObject"]["name"] == "w"]

    world.add_nodes(12, cordoned=12)
    world.apply(world.set([world.clique("pc-a", 1)], replicas=12))
    world.wait_pods(12, 0)
    gangs = world.path("podgangs", group="/apis/scheduler.grove.io/v1alpha1")
    told = lambda: [bool(statuses.message(each, "Scheduled")) for each in world.request("GET", gangs)["items"]]  # noqa: E731
    world.wait(lambda: told() == [True] * 12, "every gang to say that it waits")
    world.wait(lambda: said("GangUnschedulable"), "the event of why")
    # How many gangs come within one second, and are told of in one Event, is up to the machine.
    assert len(said("GangUnschedulable")) < 12
    assert said("GangPlaced") == []
    world.uncordon(12)
    world.wait_pods(12, 12)
    world.wait(lambda: said("GangPlaced"), "the event of where gangs went")
    assert len(said("GangPlaced")) < 12
    assert "placed, 1 pod on 1 node" in said("GangPlaced")[0]["message"]
