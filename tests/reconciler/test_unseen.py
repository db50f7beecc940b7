"""A gang that was whole for some seconds, of which no status tells: what is left of it says so."""

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import model, parse, plan, status
from grovekeeper.kube import resources
from grovekeeper.reconciler import decisions, gang
from tests.reconciler import placing, world

T0, T1, T2 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"


def pod(name: str, created: str, *, bound: str = "", released: bool = False, going: bool = False) -> raw.Object:
    metadata: raw.Object = {"name": name, "creationTimestamp": created}
    if going:
        metadata["deletionTimestamp"] = T2
    gates = [] if bound or released else [{"name": names.GATE}]
    spec = {"schedulingGates": gates, **({"nodeName": "n"} if bound else {})}
    listed = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": bound}] if bound else []
    return {"metadata": metadata, "spec": spec, "status": {"conditions": listed}}


BOUND, LATER = pod("a", T0, bound=T1), pod("b", T2)


@pytest.mark.parametrize(
    ("why", "pods", "decided", "made", "want"),
    [
        ("one is gone and its successor waits", [BOUND, LATER], {"a"}, T0, True),
        ("the successor has the name of the one that is gone", [BOUND, LATER], {"a", "b"}, T0, True),
        ("one is gone and nothing is there for it yet", [BOUND], {"a", "b"}, T0, True),
        ("they are released one by one", [BOUND, pod("b", T0)], {"a", "b"}, T0, False),
        ("one is released and not bound", [BOUND, pod("b", T0, released=True)], {"a", "b"}, T0, False),
        ("nothing has a node", [pod("a", T0, released=True), LATER], {"a", "b"}, T0, False),
        ("what has a node is being taken back", [pod("a", T0, bound=T1, going=True), LATER], {"a", "b"}, T0, False),
        ("the decision has not been seen", [BOUND, pod("b", T0)], set(), T0, False),
        ("the clique was made again beside what runs", [BOUND, LATER], {"a"}, T2, False),
        ("another scheduler binds nothing before all are released", [BOUND, pod("b", T0)], None, T0, True),
    ],
)
def test_what_is_left_of_a_gang_tells_whether_it_was_whole(
    why: str, pods: list[raw.Object], decided: set[str] | None, made: str, want: bool
) -> None:
    clique = {"metadata": {"name": "c", "creationTimestamp": made}}
    assert decisions.was_met(clique, 2, pods, pods, decided) == want, why


async def broken_unseen(delay: str) -> placing.Placing:
    """A gang of two pods that was whole for three seconds, when one was lost for good, and everybody died."""
    here = placing.Placing(1, 1, hold="never")
    obj = placing.pair()
    obj["spec"]["template"]["terminationDelay"] = delay
    await here.apply(obj)
    await here.settle()
    await here.advance(1)
    await here.bind()
    here.see()
    here.work.due.clear()
    here.clock.moment += world.timedelta(seconds=3)
    _, lost = here.ours("demo-0")
    here.api.node(lost["spec"]["nodeName"], unschedulable=True)
    await here.api.delete(resources.PODS, lost["metadata"]["name"], "ns", grace=0)
    here.ctx.pending.clear()
    here.owner = gang.Owner(here.ctx)
    here.owner.taken.recover()
    assert status.MET not in str(here.get(resources.PODCLIQUES, "demo-0-a").get("status"))
    return here


async def test_a_loss_before_the_first_status_counts_after_a_restart_of_ours() -> None:
    here = await broken_unseen("30s")
    await here.advance(15)
    clique = here.get(resources.PODCLIQUES, "demo-0-a")
    met, breached = world.condition(clique, status.MET), world.condition(clique, status.BREACHED)
    assert met is not None
    assert breached is not None
    assert breached["status"] == "True"
    assert breached["lastTransitionTime"] > clique["metadata"]["creationTimestamp"], "the clock of the delay"
    await here.advance(40)
    again = here.get(resources.PODCLIQUES, "demo-0-a")
    assert again["metadata"]["uid"] != clique["metadata"]["uid"], "the gang is recreated"


async def test_what_is_left_after_such_a_loss_runs_on_until_the_delay_has_passed() -> None:
    here = await broken_unseen("1h")
    (kept,) = [each for each in here.ours("demo-0") if each["spec"].get("nodeName")]
    await here.advance(120)
    assert kept["metadata"]["uid"] in {each["metadata"]["uid"] for each in here.ours("demo-0") if plan.alive(each)}
    assert "GangUnbound" not in {reason for _, reason, _ in here.events.said}


@pytest.mark.parametrize("met", [True, False])
def test_a_group_whose_replicas_have_met_their_minimum_has_met_its_own(met: bool) -> None:
    w: model.Workload = parse.workload(world.podset() | {"metadata": {"name": "demo", "namespace": "ns", "uid": "u"}})
    obj = {
        "kind": names.SCALINGGROUP,
        "metadata": {"name": "demo-0-pool", "creationTimestamp": T0},
        "spec": {"replicas": 1, "minAvailable": 1},
    }
    lost = status.GroupReplica(complete=True, scheduled=False, available=False, updated=False, breached=True, met=met)
    found = status.group(w, obj, {0: lost}, T2)["conditions"]
    types = {entry["type"]: entry for entry in found}
    assert (status.MET in types) == met
    assert types[status.BREACHED]["lastTransitionTime"] == (T2 if met else T0)
