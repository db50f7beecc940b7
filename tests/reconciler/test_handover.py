"""Gangs of other schedulers: nothing leaves before the gang is complete and its group exists; nothing is pinned."""

from dataclasses import dataclass
from typing import Any

import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources, store
from grovekeeper.reconciler import backends, bindings, handed, keys, kinds, pins
from grovekeeper.runtime import settings
from tests.reconciler import rollout, world
from tests.reconciler.placing import Placing, pair

KAI, VOLCANO, UPSTREAM = names.SCHEDULER_KAI, names.SCHEDULER_VOLCANO, names.SCHEDULER_UPSTREAM
RESOURCE_OF = {"scheduling.run.ai/v2alpha2": resources.KAI_PODGROUPS}


@dataclass
class Cache:
    store: store.Store
    served: bool = True


class Handing(Placing):
    """A world with other schedulers' kinds; their caches see what the API server has at once."""

    def __init__(self, *scheduler: str, served: bool = True) -> None:
        super().__init__()
        self.ctx.settings.schedulers = settings.Schedulers(profiles=list(scheduler or (KAI, VOLCANO, UPSTREAM)))
        watched = kinds.watched(self.ctx.settings.schedulers.profiles)
        self.caches = {mark: Cache(store.Store(), served) for mark in watched}
        self.ctx.foreign = kinds.Caches(dict(self.caches))

    def see(self) -> None:
        for plural, old, new in list(self.api.changes):
            obj = new or old or {}
            mark = f"{plural}.{obj.get('apiVersion', '').partition('/')[0]}"
            if mark in self.caches:
                store = self.caches[mark].store
                if new is None:
                    store.observe_deleted(obj)
                else:
                    store.observe(new)
                for key, delay in handed.MAPPERS[plural](self.ctx, old, new):
                    self.work.put(key, delay)
        super().see()

    def group(self, name: str = "demo-0") -> raw.Object:
        return self.api.of("podgroups")["ns", name]

    def gated(self, gang: str = "") -> int:
        return sum(bool(pod["spec"].get("schedulingGates")) for pod in self.ours(gang))

    def condition(self, type_: str = backends.TYPE) -> tuple[str, str]:
        found = world.condition(self.get(resources.PODCLIQUESETS, "demo"), type_)
        return (found["status"], found["reason"]) if found else ("", "")

    async def bind_all(self, gang: str = "") -> None:
        for pod in self.ours(gang):
            if not pod["spec"].get("schedulingGates") and not pod["spec"].get("nodeName"):
                await self.mark(pod, node=f"x-{pod['metadata']['name']}", ready=True)


def over(obj: raw.Object, scheduler: str = KAI) -> raw.Object:
    for clique in obj["spec"]["template"]["cliques"]:
        clique["spec"]["podSpec"]["schedulerName"] = scheduler
    obj["metadata"]["labels"] = {names.KAI_QUEUE: "q"}
    return obj


async def queue(here: Handing, resource: resources.Resource, name: str, state: str | None = None) -> None:
    status = {"status": {"state": state}} if state else {}
    body = {"apiVersion": resource.api_version, "kind": "Queue", "metadata": {"name": name}, **status}
    await here.api.create(resource, body)


async def up(here: Handing, obj: raw.Object) -> Handing:
    await here.apply(obj)
    await here.settle()
    return here


@pytest.mark.parametrize("scheduler", [KAI, VOLCANO, UPSTREAM])
async def test_the_gates_go_after_the_group_exists_and_nothing_is_pinned(scheduler: str) -> None:
    here = Handing()
    order: list[str] = []

    async def note(resource: resources.Resource, _name: str, subresource: str | None) -> None:
        if resource is resources.PODS and not subresource:
            assert ("ns", "demo-0") in here.api.of("podgroups")
            order.append("pod")

    here.api.before = note
    await up(here, over(pair(), scheduler))
    assert order == ["pod", "pod"]
    assert here.gated() == 0
    assert [pins.pinned_to(pod) for pod in here.ours()] == [None, None]
    assert here.group()["metadata"]["ownerReferences"][0]["uid"] == here.gang()["metadata"]["uid"]


@pytest.mark.parametrize("strategy", [names.UPDATE_ROLLING_RECREATE, names.UPDATE_COHERENT])
@pytest.mark.parametrize("scheduler", [KAI, VOLCANO, UPSTREAM])
async def test_an_update_of_what_we_do_not_place_holds_and_nominates_nothing(scheduler: str, strategy: str) -> None:
    """Successors come first as ever; where they go is the other scheduler's affair. A neighbour's room is held."""
    here = Handing()
    for index in range(2):
        here.api.node(f"n{index}", 1)
    stock = pair("stock")
    theirs = over(pair(count=3, minimum=2), scheduler)
    for obj in (stock, theirs):
        obj["spec"]["updateStrategy"] = {"type": strategy}
        await up(here, obj)
    await here.bind()
    await here.bind_all()
    await here.settle()
    await here.bind_all("demo-0")
    await here.advance(40)
    before = {pod["spec"]["hostname"]: pod["spec"]["nodeName"] for pod in here.ours("stock-0")}
    held: dict[str, int] = {"demo-0": 0, "stock-0": 0}
    for obj in (stock, theirs):
        await here.apply(rollout.changed(obj, "a"))
    for _ in range(16):
        await here.advance(1)
        for name in held:
            held[name] += sum(bool((pod.get("status") or {}).get("nominatedNodeName")) for pod in here.ours(name))
        assert all(claim.gang != "ns/demo-0" for claim in here.owner.taken.claims._claims.values())
        await here.finish()
        await here.settle()
        await here.bind()
        await here.bind_all("demo-0")
    for name in held:
        assert {pod["spec"]["containers"][0]["image"] for pod in here.ours(name)} == {"model:2"}
    assert any(plan.predecessor(pod) for pod in here.ours("demo-0")), "the successor comes first"
    assert held["demo-0"] == 0
    assert held["stock-0"] > 0
    assert {pod["spec"]["hostname"]: pod["spec"]["nodeName"] for pod in here.ours("stock-0")} == before
    assert names.ANNOTATION_RESERVED not in (here.gang()["metadata"].get("annotations") or {})
    assert [pins.pinned_to(pod) for pod in here.ours("demo-0")] == [None] * 3


async def test_an_incomplete_gang_is_not_handed_over() -> None:
    here = Handing()
    count = iter(range(100))

    def refuse(plural: str, _obj: raw.Object) -> Exception | None:
        return errors.Forbidden("quota") if plural == "pods" and next(count) >= 2 else None

    here.api.refuse = refuse
    await here.apply(over(pair(count=3)))
    await here.settle()
    assert (len(here.ours()), here.gated()) == (2, 2)
    assert not here.api.of("podgroups")
    here.api.refuse = lambda _plural, _obj: None
    await here.advance(5)
    assert (len(here.ours()), here.gated()) == (3, 0)


async def test_a_scaled_gang_waits_for_its_base_gangs_nodes() -> None:
    here = await up(Handing(), over(world.podset()))
    assert here.gated("demo-0") == 0
    assert here.gated("demo-0-pool-0") == len(here.ours("demo-0-pool-0")) > 0
    await here.bind_all("demo-0")
    await here.settle()
    assert here.gated() == 0
    assert ("ns", "demo-0-pool-0") in here.api.of("podgroups")


async def test_upstream_pods_above_the_minimum_stay_out_and_follow_the_minimum() -> None:
    here = await up(Handing(), over(pair(count=3, minimum=2), UPSTREAM))
    assert here.group()["spec"]["schedulingPolicy"]["gang"]["minCount"] == 2
    members = [bool(pod["spec"].get("schedulingGroup")) for pod in here.ours()]
    assert members == [True, True, False]
    assert [bool(pod["spec"].get("schedulingGates")) for pod in here.ours()] == [False, False, True]
    await here.bind_all()
    await here.settle()
    assert here.gated() == 0


async def test_a_kind_that_is_not_served_is_waited_for_and_found_when_it_comes() -> None:
    here = await up(Handing(served=False), over(pair()))
    await here.advance(10)
    assert here.gated() == 2
    assert here.condition() == ("True", "KindNotServed")
    assert here.condition("Stalled")[0] == "True"
    assert any(reason == backends.TYPE for _, reason, _ in here.events.said)
    assert world.condition(here.gang(), backends.HANDED_OVER)["reason"] == "KindNotServed"  # type: ignore[index]
    for cache in here.caches.values():
        cache.served = True
    await queue(here, resources.KAI_QUEUES, "q")
    for key in handed.waiting(here.ctx):
        here.work.put(key, 0)
    await here.settle()
    await here.advance(10)
    assert here.gated() == 0
    assert here.condition() == ("False", "Available")
    assert here.condition("Stalled") == ("", "")


async def test_a_kind_that_went_a_moment_ago_is_waited_for() -> None:
    here = Handing()
    here.api.refuse = lambda plural, _obj: errors.NotFound("no such kind") if plural == "podgroups" else None
    await up(here, over(pair()))
    assert here.gated() == 2
    assert world.condition(here.gang(), backends.HANDED_OVER)["reason"] == "KindNotServed"  # type: ignore[index]


async def test_a_set_whose_back_end_was_switched_off_stays_gated_with_the_reason() -> None:
    here = await up(Handing(VOLCANO), over(pair()))
    await here.advance(10)
    assert here.gated() == 2
    assert here.condition() == ("True", "SchedulerNotEnabled")


async def test_an_unknown_scheduler_is_not_placed_by_anybody() -> None:
    here = await up(Handing(), over(pair(), "slurm"))
    await here.advance(10)
    assert here.gated() == 2
    assert here.condition() == ("True", "SchedulerUnknown")


async def test_a_refused_group_is_on_gang_and_set_and_tried_again() -> None:
    here = Handing()
    here.api.refuse = lambda plural, _obj: errors.Forbidden("queue q is full") if plural == "podgroups" else None
    await up(here, over(pair()))
    await here.advance(10)
    assert here.gated() == 2
    assert world.condition(here.gang(), backends.HANDED_OVER)["message"] == "queue q is full"  # type: ignore[index]
    await here.run("setstatus:PodCliqueSet:ns/demo")
    await here.advance(5)
    assert here.condition() == ("True", "Refused")
    here.api.refuse = lambda _plural, _obj: None
    await here.advance(40)
    assert here.gated() == 0


async def test_an_old_volcano_that_drops_the_policies_gets_no_gang() -> None:
    class Old(type(Handing().api)):  # type: ignore[misc]
        async def create(self, resource: resources.Resource, obj: raw.Object, **more: Any) -> raw.Object:
            if resource is resources.VOLCANO_PODGROUPS:
                obj = {**obj, "spec": {k: v for k, v in obj["spec"].items() if k != "subGroupPolicy"}}
            return await super().create(resource, obj, **more)

    here = Handing()
    here.api.__class__ = Old
    await up(here, over(pair(), VOLCANO))
    assert here.gated() == 2
    assert world.condition(here.gang(), backends.HANDED_OVER)["reason"] == "CapabilityUnavailable"  # type: ignore[index]


async def test_a_group_of_somebody_else_is_left_alone() -> None:
    here = Handing()
    await here.api.create(
        resources.KAI_PODGROUPS,
        {
            "apiVersion": "scheduling.run.ai/v2alpha2",
            "kind": "PodGroup",
            "metadata": {"name": "demo-0", "namespace": "ns"},
            "spec": {"minMember": 9},
        },
    )
    await up(here, over(pair()))
    assert here.group()["spec"] == {"minMember": 9}
    assert here.gated() == 2
    assert "belongs to nobody of ours" in world.condition(here.gang(), backends.HANDED_OVER)["message"]  # type: ignore[index]


async def test_queues_are_judged_when_they_are_known() -> None:
    here = await up(Handing(), over(pair(), VOLCANO))
    await here.advance(10)
    assert here.condition() == ("True", "QueueNotFound")
    await queue(here, resources.VOLCANO_QUEUES, "default", "Closed")
    await here.settle()
    await here.advance(10)
    assert here.condition() == ("True", "QueueNotOpen")
    await here.api.patch(
        resources.VOLCANO_QUEUES, "default", None, {"status": {"state": "Open"}}, type="merge", subresource="status"
    )
    await here.settle()
    await here.advance(10)
    assert here.condition() == ("False", "Available")


async def test_a_set_without_kais_queue_says_so() -> None:
    obj = over(pair())
    del obj["metadata"]["labels"]
    here = await up(Handing(), obj)
    await here.advance(10)
    assert here.condition() == ("True", "QueueMissing")


async def test_what_the_scheduler_says_is_the_gangs_reason() -> None:
    here = await up(Handing(), over(pair()))
    said = {"schedulingConditions": [{"status": "True", "message": "no GPUs"}]}
    await here.api.patch(resources.KAI_PODGROUPS, "demo-0", "ns", {"status": said}, type="merge", subresource="status")
    await here.settle()
    scheduled = world.condition(here.gang(), "Scheduled")
    assert scheduled is not None
    assert (scheduled["reason"], scheduled["message"]) == ("Unschedulable", "no GPUs")


async def test_without_a_word_about_the_group_a_pods_own_reason_is_told() -> None:
    here = await up(Handing(), over(pair()))
    pod = here.ours()[0]
    entry = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes"}
    name = pod["metadata"]["name"]
    await here.api.patch(
        resources.PODS, name, "ns", {"status": {"conditions": [entry]}}, type="merge", subresource="status"
    )
    await here.settle()
    assert world.condition(here.gang(), "Scheduled")["message"] == f"{name}: 0/4 nodes"  # type: ignore[index]


async def test_a_gang_at_rest_costs_no_writes_and_is_not_placed_by_us() -> None:
    here = await up(Handing(), over(pair()))
    await here.bind_all()
    await here.settle()
    await here.rest()
    await here.advance(60)
    before = dict(here.api.calls)
    for key in (*handed.waiting(here.ctx), "gang:ns/demo-0"):
        await here.run(key)
    assert dict(here.api.calls) == before
    assert names.ANNOTATION_PLACEMENT not in here.gang()["metadata"]["annotations"]
    assert here.gang()["status"]["phase"] == "Running"


async def test_pod_references_follow_the_pods() -> None:
    here = await up(Handing(), over(pair(count=3, minimum=2)))
    await here.bind_all()
    await here.settle()
    victim = here.ours()[2]
    await here.api.delete(resources.PODS, victim["metadata"]["name"], "ns", grace=0)
    await here.settle()
    listed = {ref["name"] for each in here.gang()["spec"]["podgroups"] for ref in each["podReferences"]}
    assert listed == {pod["metadata"]["name"] for pod in here.ours()}


def binding(*domains: str, reference: str = "") -> raw.Object:
    spec: raw.Object = {"levels": [{"domain": domain, "key": f"k/{domain}"} for domain in domains]}
    if reference:
        spec["schedulerTopologyBindings"] = [{"schedulerName": KAI, "topologyReference": reference}]
    return {"apiVersion": names.API_VERSION, "kind": names.TOPOLOGY_BINDING, "metadata": {"name": "t"}, "spec": spec}


async def judged(here: Handing, obj: raw.Object | None = None) -> tuple[str, str, raw.Object]:
    if obj is not None:
        await here.api.create(resources.TOPOLOGY_BINDINGS, obj)
    here.see()
    await bindings.reconcile(here.ctx, keys.parse(keys.binding("t")))
    here.see()
    status = here.api.of("clustertopologybindings")["", "t"].get("status") or {}
    found = next((c for c in status.get("conditions", ()) if c["type"] == bindings.DRIFT), {"status": "", "reason": ""})
    return found["status"], found["reason"], status


async def test_a_binding_makes_kais_topology_once() -> None:
    here = Handing()
    assert (await judged(here, binding("zone", "host")))[:2] == ("False", "InSync")
    made = here.api.of("topologies")["", "t"]
    assert [level["nodeLabel"] for level in made["spec"]["levels"]] == ["k/zone", "k/host"]
    before = dict(here.api.calls)
    await judged(here)
    assert dict(here.api.calls) == before
    assert [reason for _, reason, _ in here.events.said] == ["TopologyInSync"]


async def test_changed_levels_delete_and_create() -> None:
    here = Handing()
    await judged(here, binding("zone", "host"))
    await here.api.patch(
        resources.TOPOLOGY_BINDINGS, "t", None, {"spec": binding("zone", "rack", "host")["spec"]}, type="merge"
    )
    assert (await judged(here))[:2] == ("False", "InSync")
    assert len(here.api.of("topologies")["", "t"]["spec"]["levels"]) == 3
    assert here.api.calls["delete topologies"] == 1


async def test_a_reference_is_compared_and_never_made() -> None:
    here = Handing()
    state, reason, status = await judged(here, binding("zone", reference="other"))
    assert (state, reason) == ("True", "Drift")
    (entry,) = status["schedulerTopologyStatuses"]
    assert (entry["topologyReference"], entry["inSync"]) == ("other", False)
    other = {"apiVersion": "kai.scheduler/v1alpha1", "kind": "Topology", "metadata": {"name": "other"}}
    await here.api.create(resources.KAI_TOPOLOGIES, {**other, "spec": {"levels": [{"nodeLabel": "k/x"}]}})
    assert (
        "has the levels k/x; the binding has k/zone"
        in (await judged(here))[2]["schedulerTopologyStatuses"][0]["message"]
    )
    assert here.work.due[keys.binding("t")]


async def test_without_kais_kinds_nothing_can_be_said() -> None:
    assert (await judged(Handing(served=False), binding("zone")))[:2] == ("Unknown", "TopologyNotFound")
    assert (await judged(Handing(VOLCANO), binding("zone", reference="other")))[:2] == ("Unknown", "TopologyNotFound")


async def test_a_binding_that_is_of_no_back_end_has_no_status() -> None:
    here = Handing()
    await judged(here, binding("zone"))
    here.ctx.settings.schedulers = settings.Schedulers()
    assert (await judged(here))[0] == ""
    assert "schedulerTopologyStatuses" not in here.api.of("clustertopologybindings")["", "t"]["status"]


async def test_a_topology_of_somebody_else_is_left_alone() -> None:
    here = Handing()
    theirs = {"apiVersion": "kai.scheduler/v1alpha1", "kind": "Topology", "metadata": {"name": "t"}}
    await here.api.create(resources.KAI_TOPOLOGIES, {**theirs, "spec": {"levels": [{"nodeLabel": "theirs"}]}})
    state, reason, status = await judged(here, binding("zone"))
    assert (state, reason) == ("True", "Drift")
    assert "belongs to" in status["schedulerTopologyStatuses"][0]["message"]
    assert here.api.of("topologies")["", "t"]["spec"]["levels"] == [{"nodeLabel": "theirs"}]


async def test_a_deleted_podgang_of_a_gang_that_lost_members_is_written_again() -> None:
    here = await up(Handing(), over(pair(count=3)))
    await here.bind_all()
    await here.settle()
    here.api.refuse = lambda plural, _obj: errors.Forbidden("quota") if plural == "pods" else None
    await here.api.delete(resources.PODS, here.ours()[2]["metadata"]["name"], "ns", grace=0)
    await here.api.delete(resources.PODGANGS, "demo-0", "ns")
    await here.api.delete(resources.KAI_PODGROUPS, "demo-0", "ns")
    await here.settle()
    assert names.ANNOTATION_PLACEMENT not in here.gang()["metadata"]["annotations"]
    assert here.group()["metadata"]["ownerReferences"][0]["uid"] == here.gang()["metadata"]["uid"]


async def test_a_successor_of_another_scheduler_is_nominated_nowhere() -> None:
    here = await up(Handing(), over(pair(count=3, minimum=2)))
    await here.bind_all()
    await here.settle()
    changed = over(pair(count=3, minimum=2))
    changed["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["containers"][0]["image"] = "model:2"
    await here.apply(changed)
    for _ in range(10):
        await here.advance(2)
        await here.finish()
        assert [pod["status"] for pod in here.ours() if (pod.get("status") or {}).get("nominatedNodeName")] == []
        await here.bind_all()
    await here.settle()
    images = {pod["spec"]["containers"][0]["image"] for pod in here.ours()}
    assert images == {"model:2"}
    assert here.gated() == 0


async def test_a_pod_that_changed_while_it_was_released_is_looked_at_again() -> None:
    here = Handing()
    await here.apply(over(pair()))
    await here.arrive()
    hit: list[str] = []

    async def meddle(resource: resources.Resource, name: str, subresource: str | None) -> None:
        if resource is resources.PODS and not hit:
            hit.append(name)
            live = here.get(resources.PODS, name)
            gates = [{"name": "example.com/other"}, *live["spec"]["schedulingGates"]]
            here.api._put("pods", {**live, "spec": {**live["spec"], "schedulingGates": gates}})

    here.api.before = meddle
    await here.run("gang:ns/demo-0")
    assert here.gated() == 1
    assert "gang:ns/demo-0" in here.work.due
    await here.run("gang:ns/demo-0")
    gates = [[gate["name"] for gate in pod["spec"].get("schedulingGates") or ()] for pod in here.ours()]
    assert sorted(gates) == [[], ["example.com/other"]]
