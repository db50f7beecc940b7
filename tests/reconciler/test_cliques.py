from datetime import timedelta

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan, status
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import arrivals, faults, statuses
from tests.reconciler import world

FRONT = "demo-0-front"


async def up(**options: object) -> world.World:
    here = world.World(**options)
    await here.apply(world.podset())
    await here.settle()
    await here.start()
    await here.advance(5)
    return here


def uids(here: world.World, clique: str = "") -> set[str]:
    return {pod["metadata"]["uid"] for pod in here.pods(clique)}


async def test_pods_are_created_gated_with_what_the_webhook_adds() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    (first, second) = here.pods(FRONT)
    assert first["spec"]["schedulingGates"] == [{"name": names.GATE}]
    assert first["spec"]["hostname"] == "demo-0-front-0"
    assert first["metadata"]["labels"][names.LABEL_PODGANG] == "demo-0"
    assert second["metadata"]["labels"][names.LABEL_POD_INDEX] == "1"


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_a_pod_that_is_over_is_replaced_at_its_index(phase: str) -> None:
    here = await up()
    victim = here.pods(FRONT)[1]
    await here.mark(victim, phase=phase)
    await here.settle()
    await here.finish()
    await here.settle()
    living = here.pods(FRONT)
    assert [pod["spec"]["hostname"] for pod in living] == ["demo-0-front-0", "demo-0-front-1"]
    assert victim["metadata"]["uid"] not in uids(here)


async def test_an_index_stays_taken_while_its_pod_terminates() -> None:
    here = await up()
    victim = here.pods(FRONT)[0]
    await here.api.delete(resources.PODS, victim["metadata"]["name"], "ns", uid=victim["metadata"]["uid"])
    await here.settle()
    counting = plan.members(here.pods(FRONT))
    assert victim["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in counting}
    assert [pod["spec"]["hostname"] for pod in counting] == ["demo-0-front-0", "demo-0-front-1"]
    await here.finish()
    await here.settle()
    assert len(here.pods(FRONT)) == 2
    assert victim["metadata"]["uid"] not in uids(here)


async def test_scaling_in_removes_the_highest_index_first() -> None:
    here = await up()
    await here.edit(resources.PODCLIQUES, FRONT, {"spec": {"replicas": 1}})
    await here.settle()
    await here.finish()
    await here.settle()
    assert [pod["spec"]["hostname"] for pod in here.pods(FRONT)] == ["demo-0-front-0"]


async def test_a_worker_with_an_older_cache_creates_no_pod_twice() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    stale = here.ctx.stores.pods
    for pod in stale.by_index("owner", here.get(resources.PODCLIQUES, FRONT)["metadata"]["uid"]):
        stale._put(("ns", pod["metadata"]["name"]), pod, None)
    before = here.api.calls["create pods"]
    await here.run(f"clique:ns/{FRONT}")
    assert here.api.calls["create pods"] == before + 2, "it tried the same names"
    assert len(here.pods(FRONT)) == 2
    assert len(stale.by_index("owner", here.get(resources.PODCLIQUES, FRONT)["metadata"]["uid"])) == 2


async def test_pods_without_the_webhook_are_not_kept_and_the_condition_says_so() -> None:
    here = world.World()
    here.api.webhook = False
    await here.apply(world.podset())
    await here.advance(30)
    assert here.pods() == []
    found = world.condition(here.get(resources.PODCLIQUES, FRONT), "WebhookMissing")
    assert found is not None
    assert found["status"] == "True"
    assert "MutatingWebhookConfiguration" in found["message"]
    assert here.api.calls["create pods"] <= 8, "asked with dry runs after the first time"
    ready = world.condition(here.get(resources.PODCLIQUESETS, "demo"), "Ready")
    assert ready is not None
    assert ready["reason"] == "NotInjected"

    here.api.webhook = True
    await here.advance(70)
    assert len(here.pods()) == 8
    assert world.condition(here.get(resources.PODCLIQUES, FRONT), "WebhookMissing") is None


async def test_a_pod_that_came_without_the_webhook_and_could_not_be_deleted_is_no_member() -> None:
    here = world.World()
    await here.apply(world.podset())
    here.see()
    here.api.webhook = False
    delete = here.api.delete

    async def away(*_: object, **__: object) -> None:
        raise errors.Unavailable("no answer")

    here.api.delete = away  # type: ignore[method-assign]
    with pytest.raises(errors.Unavailable):
        await here.settle()
    here.api.delete = delete  # type: ignore[method-assign]
    here.api.webhook = True
    here.see()
    strays = {pod["metadata"]["uid"] for pod in here.api.of("pods").values() if not plan.injected(pod)}
    assert strays
    for clique in here.names(resources.PODCLIQUES):
        here.work.put(f"clique:ns/{clique}", 0)  # as the worker does after an error
    await here.advance(70)
    assert not strays & {pod["metadata"]["uid"] for pod in here.pods()}
    assert all(map(plan.injected, here.pods()))
    assert len(here.pods()) == 8


async def test_a_quota_that_refuses_pods_is_shown_and_tried_ever_less_often() -> None:
    here = world.World()
    here.api.refuse = lambda plural, obj: errors.Forbidden("exceeded quota: gpus") if plural == "pods" else None
    await here.apply(world.podset())
    await here.advance(10)
    early = here.api.calls["create pods"]
    found = world.condition(here.get(resources.PODCLIQUES, FRONT), faults.REPLICA_FAILURE)
    assert found is not None
    assert "exceeded quota: gpus" in found["message"]
    await here.advance(600)
    assert here.api.calls["create pods"] - early < 8 * 25
    assert (FRONT, "PodCreateFailed") in {(name, reason) for name, reason, _ in here.events.said}
    here.api.refuse = lambda plural, obj: None
    await here.advance(61)
    assert len(here.pods()) == 8
    assert world.condition(here.get(resources.PODCLIQUES, FRONT), faults.REPLICA_FAILURE) is None


async def test_a_foreign_pod_of_the_name_is_left_alone() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    theirs = here.pods(FRONT)[0]
    await here.edit(resources.PODS, theirs["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    here.see()
    await here.run(f"clique:ns/{FRONT}")
    await here.advance(2)
    found = world.condition(here.get(resources.PODCLIQUES, FRONT), faults.REPLICA_FAILURE)
    assert found is not None
    assert found["reason"] == "NameCollision"
    assert theirs["metadata"]["uid"] in uids(here)


async def test_a_pod_stuck_on_a_lost_node_is_let_go_after_the_configured_patience() -> None:
    here = await up(stuck_terminating_seconds=30.0)
    unknown = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    await here.api.patch(resources.NODES, "n1", None, unknown, type="merge", subresource="status")
    here.see()
    victim = here.pods(FRONT)[0]
    await here.api.delete(resources.PODS, victim["metadata"]["name"], "ns", uid=victim["metadata"]["uid"])
    await here.advance(29)
    assert victim["metadata"]["uid"] in uids(here)
    await here.advance(2)
    assert victim["metadata"]["uid"] not in uids(here), "although its clique has been replaced with the whole gang"
    assert len([pod for pod in here.pods(FRONT) if "deletionTimestamp" not in pod["metadata"]]) == 2


async def test_a_pod_stuck_on_a_healthy_node_is_never_forced() -> None:
    here = await up(stuck_terminating_seconds=30.0)
    victim = here.pods(FRONT)[0]
    await here.api.delete(resources.PODS, victim["metadata"]["name"], "ns", uid=victim["metadata"]["uid"])
    await here.advance(600)
    assert victim["metadata"]["uid"] in uids(here)


async def test_pods_of_a_node_that_is_not_ready_are_not_ready_whatever_they_say_of_themselves() -> None:
    here = await up()
    for answer, ready, breached in (("Unknown", 0, "True"), ("True", 2, "False")):
        conditions = {"status": {"conditions": [{"type": "Ready", "status": answer}]}}
        await here.api.patch(resources.NODES, "n1", None, conditions, type="merge", subresource="status")
        here.see()
        await here.run(f"clique:ns/{FRONT}")
        await here.advance(2)
        clique = here.get(resources.PODCLIQUES, FRONT)
        assert clique["status"]["readyReplicas"] == ready
        found = world.condition(clique, status.BREACHED)
        assert found is not None
        assert found["status"] == breached
    assert len(here.pods(FRONT)) == 2


async def test_a_pod_on_a_node_that_the_cache_does_not_have_yet_counts_as_it_says_itself() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    await here.start("demo-0-front")
    # The watch of pods is ahead of that of nodes, whose coming wakes no clique.
    here.api.changes = [change for change in here.api.changes if change[0] != "nodes"]
    await here.advance(40)
    assert here.ctx.stores.nodes.all() == []
    told = here.get(resources.PODCLIQUES, "demo-0-front")["status"]
    assert (told["readyReplicas"], told["scheduledReplicas"]) == (2, 2)
    assert len(here.pods("demo-0-front")) == 2


async def test_pods_of_a_node_that_is_gone_are_replaced_at_once() -> None:
    here = await up()
    old = uids(here, FRONT)
    for node in list(here.api.of("nodes")):
        await here.api.delete(resources.NODES, node[1], None)
    here.see()
    await here.run(f"clique:ns/{FRONT}")
    await here.settle()
    assert not old & uids(here, FRONT)
    assert len(here.pods(FRONT)) == 2


async def test_pods_of_a_clique_that_is_gone_go_at_once() -> None:
    here = await up()
    old = uids(here, FRONT)
    await here.api.delete(resources.PODCLIQUES, FRONT, "ns")
    await here.settle()
    assert all("deletionTimestamp" in pod["metadata"] for pod in here.pods(FRONT) if pod["metadata"]["uid"] in old)
    await here.finish()
    await here.advance(5)
    assert len(here.pods(FRONT)) == 2
    assert not old & uids(here)


async def test_losing_every_scheduled_pod_is_said_once() -> None:
    here = await up()
    for pod in here.pods(FRONT):
        await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    await here.advance(3)
    reasons = [(name, reason) for name, reason, _ in here.events.said]
    assert reasons.count((FRONT, "AllScheduledReplicasLost")) == 1


async def test_the_work_for_one_pod_does_not_grow_with_the_cluster() -> None:
    small, large = world.World(), world.World()
    await small.apply(world.podset(replicas=1))
    await large.apply(world.podset(replicas=30))
    costs = []
    for here in (small, large):
        await here.settle()
        await here.start()
        await here.advance(5)
        runs, calls = here.runs.total(), here.api.calls.total()
        victim = here.pods(FRONT)[0]
        await here.mark(victim, phase="Failed")
        await here.settle()
        await here.finish()
        await here.settle()
        costs.append((here.runs.total() - runs, here.api.calls.total() - calls))
    assert costs[0] == costs[1]


NONE: raw.Object = {"observedGeneration": -1}
KNOWN: raw.Object = {"observedGeneration": 1, "conditions": [{"type": "A", "status": "False"}]}
TURNED: raw.Object = {"conditions": [{"type": "A", "status": "True"}]}


@pytest.mark.parametrize(
    ("old", "new", "state", "age", "quiet", "since_last", "want"),
    [
        pytest.param(NONE, KNOWN, "settled", 0, 0, 0, 0, id="settled"),
        pytest.param({}, KNOWN, "", 1, 1, 99, 7, id="coming up"),
        pytest.param(NONE, KNOWN, "", 0, 0, 99, 8, id="just created"),
        pytest.param(NONE, KNOWN, "", 20, 0.5, 99, 7.5, id="slow, but something happens"),
        pytest.param(NONE, KNOWN, "", 20, 8, 99, 0, id="slow, and nothing happens"),
        pytest.param(NONE, KNOWN, "", 29, 0, 99, 1, id="long enough"),
        pytest.param(NONE, KNOWN, "", 30, 0, 99, 0, id="too long"),
        pytest.param(NONE, KNOWN, "waiting", 10, 9, 99, 20, id="waiting for the gang's place"),
        pytest.param(NONE, KNOWN, "waiting", 31, 9, 99, 0, id="waiting for long"),
        pytest.param(KNOWN, KNOWN, "", 99, 0, 0.25, 0.75, id="again too soon"),
        pytest.param(KNOWN, KNOWN, "", 99, 0, 2, 0, id="again"),
        pytest.param(KNOWN, KNOWN, "", 99, 0, -3600, 1, id="the clock went back"),
        pytest.param(KNOWN, TURNED, "", 99, 0, 0, 0, id="a condition turned"),
    ],
)
def test_status_writes_are_put_off_while_things_come_up(
    old: raw.Object, new: raw.Object, state: str, age: float, quiet: float, since_last: float, want: float
) -> None:
    found = statuses.pause(
        old, new, settled=state == "settled", waiting=state == "waiting", age=age, quiet=quiet, since_last=since_last
    )
    assert found == want


@pytest.mark.parametrize(
    ("age", "coming", "want"), [(2.0, 1000, 4.0), (2.0, 32, 0.5), (2.0, 15, 0.0), (58.0, 1000, 2.0), (61.0, 1000, 0.0)]
)
def test_a_first_status_gives_way_to_a_big_roll_out_but_not_for_ever(age: float, coming: int, want: float) -> None:
    assert statuses.give_way({}, age, coming) == want
    assert statuses.give_way({"observedGeneration": 1}, age, coming) == 0.0


def test_pods_count_as_arriving_until_they_are_ready_gone_or_old() -> None:
    seen = arrivals.Arrivals()
    pods = [_pod(index, 0) for index in range(3)]
    for pod in pods:
        seen.see(None, pod)
        seen.see(pod, pod)
    assert seen.count(1.0) == 3
    seen.see(pods[0], None)
    assert seen.count(1.0) == 2
    young = _pod(4, 30)
    seen.see(young, young)  # what a process creates is in its cache before the event comes
    assert seen.count(31.0) == 3
    seen.see(pods[1], {**pods[1], "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    seen.see(None, _pod(5, 30, managed=False))
    assert seen.count(31.0) == 2
    assert seen.count(61.0) == 1


async def test_a_minimum_that_was_met_before_the_first_status_is_not_forgotten() -> None:
    here = world.World()
    await here.apply(world.podset())
    await here.settle()
    before = here.get(resources.PODCLIQUES, FRONT)["metadata"]
    for index in range(statuses.YIELD_FROM * 4):
        pod = _pod(index, 0)
        pod["metadata"]["creationTimestamp"] = before["creationTimestamp"]
        here.ctx.coming.see(None, pod)
    await here.start(FRONT)
    await here.advance(3)
    assert here.get(resources.PODCLIQUES, FRONT)["status"]["observedGeneration"] == -1
    for pod in here.pods(FRONT):
        await here.mark(pod, node="n1", ready=False, phase="Failed")
    await here.settle()
    await here.advance(70)
    # The first status says that the minimum was lost, not that it was never met: the gang is terminated.
    assert here.get(resources.PODCLIQUES, FRONT)["metadata"]["uid"] != before["uid"]


def _pod(index: int, created: int, *, managed: bool = True) -> raw.Object:
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY} if managed else {}
    metadata = {"uid": str(index), "labels": labels, "creationTimestamp": f"1970-01-01T00:00:{created:02}Z"}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Pending"}}


async def test_a_big_clique_that_comes_up_slowly_writes_its_status_once_a_second() -> None:
    here = world.World()
    obj = world.podset(podCliqueScalingGroups=[])
    obj["spec"]["template"]["cliques"] = obj["spec"]["template"]["cliques"][:1]
    obj["spec"]["template"]["cliques"][0]["spec"].update(replicas=100, minAvailable=100)
    await here.apply(obj)
    await here.settle()
    for pod in here.pods(FRONT):
        await here.mark(pod, node="n1", ready=False, phase="Pending")
    await here.settle()
    for pod in here.pods(FRONT):
        here.clock.moment += timedelta(milliseconds=100)
        await here.mark(pod, node="n1", ready=True)
        await here.advance(0)
    await here.advance(2)
    assert here.get(resources.PODCLIQUES, FRONT)["status"]["readyReplicas"] == 100
    assert here.api.calls["patch podcliques/status"] <= 12
