"""A gang keeps its room while its pods are replaced: against others that wait, through restarts, and never for ever."""

import contextlib
import copy

from grovekeeper.api import names, raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import gang
from tests.reconciler.placing import Placing, pair


def newer(obj: raw.Object, image: str = "model:2", cpu: str | None = None, **spec: raw.Json) -> raw.Object:
    result = copy.deepcopy(obj)
    for clique in result["spec"]["template"]["cliques"]:
        container = clique["spec"]["podSpec"]["containers"][0]
        container["image"] = image
        if cpu is not None:
            container["resources"] = {"requests": {"cpu": cpu}}
        clique["spec"]["podSpec"].update(spec)
    return result


async def contended(*cpus: int, obj: raw.Object | None = None) -> Placing:
    """A full cluster: `demo` runs, `rival` waits behind it with pods of the same size."""
    here = Placing(*(cpus or (1, 1)))
    await here.apply(obj or pair())
    await here.settle()
    await here.bind()
    await here.advance(40)
    await here.apply(pair("rival", count=1))
    await here.advance(1)
    assert here.released("rival-0") == {}
    return here


def nodes(here: Placing, name: str = "demo-0") -> dict[str, str | None]:
    """Node by hostname of the pods that run."""
    found = plan.members([p for p in here.ours(name) if plan.alive(p)])
    return {p["spec"]["hostname"]: p["spec"].get("nodeName") for p in found}


def image(pod: raw.Object) -> str:
    text: str = pod["spec"]["containers"][0]["image"]
    return text


async def roll(here: Placing, rounds: int = 12) -> None:
    for _ in range(rounds):
        await here.advance(1)
        assert here.released("rival-0") == {}, "nobody gets the room between two pods"
        await here.finish()
        await here.settle()
        assert here.released("rival-0") == {}, "nobody gets the room between two pods"
        await here.bind()
        await here.settle()


async def test_a_rolling_update_keeps_every_node_while_another_gang_waits() -> None:
    here = await contended()
    before = nodes(here)
    await here.apply(newer(pair()))
    await roll(here)
    assert nodes(here) == before
    assert {image(pod) for pod in here.ours("demo-0")} == {"model:2"}


async def test_a_coherent_update_keeps_every_node_while_another_gang_waits() -> None:
    obj = pair()
    obj["spec"]["updateStrategy"] = {"type": names.UPDATE_COHERENT}
    here = await contended(obj=obj)
    before = nodes(here)
    await here.apply(newer(obj))
    await roll(here)
    assert nodes(here) == before
    assert {image(pod) for pod in here.ours("demo-0")} == {"model:2"}


async def test_the_successor_is_nominated_before_its_predecessor_is_deleted() -> None:
    here = await contended()
    seen: list[tuple[bool, str | None]] = []
    plain = here.api.delete

    async def watched(resource: resources.Resource, name: str, *rest: object, **more: object) -> None:
        if resource is resources.PODS and here.pods("demo-0-a")[0]["spec"].get("nodeName"):
            uid = here.api.of("pods")["ns", name]["metadata"]["uid"]
            heirs = [p for p in here.ours("demo-0") if plan.predecessor(p) == uid]
            seen.append((len(heirs) == 1, plan.home(heirs[0]) if heirs else None))
        await plain(resource, name, *rest, **more)  # type: ignore[arg-type]

    here.api.delete = watched  # type: ignore[method-assign, assignment]
    before = nodes(here)
    await here.apply(newer(pair()))
    await here.advance(1)
    assert len(seen) == 1
    assert seen[0][0]
    assert seen[0][1] in before.values()


async def test_a_successor_counts_nowhere_until_its_predecessor_is_gone() -> None:
    here = await contended()
    await here.apply(newer(pair()))
    await here.advance(2)
    assert len(here.ours("demo-0")) == 3
    assert here.get(resources.PODCLIQUES, "demo-0-a")["status"]["replicas"] == 1
    assert len(here.owner.cached.pods("ns", "demo-0")["demo-0-a"]) == 2


async def test_a_pod_that_somebody_deletes_leaves_its_room_to_its_successor() -> None:
    here = await contended()
    before = nodes(here)
    pod = here.ours("demo-0")[0]
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    here.see()
    await here.run("room")  # the queue is faster than the PodClique
    assert here.released("rival-0") == {}
    await here.settle()
    await here.bind()
    assert nodes(here) == before
    assert here.owner.taken.claims._claims == {}


async def test_a_pod_that_is_terminating_has_its_successor_nominated_at_once() -> None:
    here = await contended()
    pod = here.ours("demo-0")[0]
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns")
    await here.settle()
    heir = next(p for p in here.ours("demo-0") if plan.predecessor(p) == pod["metadata"]["uid"])
    assert plan.home(heir) == pod["spec"]["nodeName"]
    assert plan.gated(heir)
    await here.finish()
    await here.settle()
    assert here.released("rival-0") == {}
    assert here.released("demo-0")[heir["spec"]["hostname"]] == pod["spec"]["nodeName"]


async def test_an_evicted_pod_leaves_its_room_to_whoever_waits() -> None:
    here = await contended()
    pod = here.ours("demo-0")[0]
    target = {"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}
    await here.api.patch(resources.PODS, pod["metadata"]["name"], "ns", target, type="merge", subresource="status")
    here.see()
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    here.see()
    await here.run("room")
    assert here.released("rival-0") != {}


async def test_a_successor_lets_go_of_a_node_from_which_its_predecessor_is_evicted() -> None:
    here = await contended()
    await here.apply(newer(pair()))
    await here.advance(1)
    (heir,) = [pod for pod in here.ours("demo-0") if plan.home(pod) and plan.gated(pod)]
    before = next(pod for pod in here.ours("demo-0") if pod["metadata"]["uid"] == plan.predecessor(heir))
    target = {"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}
    await here.api.patch(resources.PODS, before["metadata"]["name"], "ns", target, type="merge", subresource="status")
    here.work.put("clique:ns/demo-0-a", 0)  # whatever wakes it next
    await here.settle()
    assert [plan.home(pod) for pod in here.ours("demo-0") if plan.gated(pod)] == [None]


async def test_what_is_scaled_away_leaves_nothing() -> None:
    here = await contended(obj=pair(minimum=1))
    await here.edit(resources.PODCLIQUES, "demo-0-a", {"spec": {"replicas": 1}})
    await here.settle()
    await here.finish()
    await here.advance(1)
    assert here.released("rival-0") != {}
    assert here.owner.taken.claims._claims == {}


async def test_a_set_that_is_deleted_leaves_nothing() -> None:
    here = await contended()
    await here.api.delete(resources.PODCLIQUESETS, "demo", "ns")
    await here.settle()
    await here.finish()
    await here.advance(1)
    assert here.released("rival-0") != {}
    assert here.owner.taken.claims._claims == {}


async def test_a_new_owner_holds_what_the_old_one_held() -> None:
    here = await contended()
    before = nodes(here)
    pod = here.ours("demo-0")[0]
    await here.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)
    here.see()
    old, here.owner = here.owner, gang.Owner(here.ctx)
    for node in here.ctx.stores.nodes.all():
        here.owner.taken.on_node(None, node)
    for each in here.ctx.stores.pods.all():
        here.owner.on_pod(None, each)
    await here.owner.begin()
    here.owner.turns.waiting.update(old.turns.waiting)
    await here.run("room")
    assert here.released("rival-0") == {}
    await here.settle()
    await here.bind()
    assert nodes(here) == before


async def test_larger_pods_that_fit_nowhere_let_go_after_a_while() -> None:
    here = await contended()
    await here.apply(newer(pair(), cpu="2"))
    await here.advance(2)
    await here.finish()
    await here.advance(200)
    assert here.released("rival-0") == {}, "there is time to go back"
    await here.advance(300)
    assert here.released("rival-0") != {}
    assert {plan.home(pod) for pod in here.ours("demo-0") if plan.gated(pod)} == {None}


async def test_an_unsatisfiable_update_that_is_taken_back_in_time_finds_its_room() -> None:
    here = await contended()
    before = nodes(here)
    await here.apply(newer(pair(), cpu="2"))
    await here.advance(2)
    await here.finish()
    await here.advance(60)
    await here.apply(pair())
    await roll(here)
    assert nodes(here) == before


async def test_a_successor_that_must_go_elsewhere_gives_its_old_room_away() -> None:
    here = await contended(1, 1)
    here.api.node("n9", 2)
    await here.settle()
    await here.bind()  # the rival has found room; nobody waits
    await here.apply(pair("third", count=1, cpu="2"))
    here.api.node("n5", 2, unschedulable=True)
    await here.settle()
    first = nodes(here)["demo-0-a-0"]
    there = {"key": "metadata.name", "operator": "NotIn", "values": [first]}
    required = {"nodeSelectorTerms": [{"matchFields": [there]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    await here.apply(newer(pair(), affinity=affinity))
    for _ in range(8):
        await here.advance(1)
        await here.finish()
        await here.settle()
        await here.bind()
    assert first not in nodes(here).values()
    await here.apply(pair("late", count=1))
    await here.settle()
    assert set(here.released("late-0").values()) == {first}


async def test_while_no_successor_can_be_made_the_old_pods_stay_and_the_status_says_why() -> None:
    here = await contended()
    before = {pod["metadata"]["uid"] for pod in here.ours("demo-0")}
    here.api.refuse = lambda plural, obj: errors.Forbidden("a policy says no") if plural == "pods" else None
    await here.apply(newer(pair()))
    await here.advance(20)
    assert {pod["metadata"]["uid"] for pod in here.ours("demo-0") if plan.alive(pod)} == before
    said = here.get(resources.PODCLIQUESETS, "demo")["status"]["conditions"]
    assert any("a policy says no" in entry["message"] for entry in said)
    here.api.refuse = lambda plural, obj: None
    await here.advance(10)
    await roll(here)
    assert {image(pod) for pod in here.ours("demo-0")} == {"model:2"}


async def test_where_a_quota_has_no_room_for_one_more_the_old_pod_goes_first() -> None:
    here = await contended()
    before = nodes(here)
    full = errors.Forbidden("pods is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2")

    def counted(plural: str, obj: raw.Object) -> Exception | None:
        mine = [p for p in here.ours("demo-0") if plan.alive(p)]
        return full if plural == "pods" and len(mine) >= 2 else None

    here.api.refuse = counted
    await here.apply(newer(pair()))
    await roll(here)
    assert nodes(here) == before
    assert {image(pod) for pod in here.ours("demo-0")} == {"model:2"}


async def test_a_replacement_that_was_cut_short_is_carried_on_from_the_successor() -> None:
    here = await contended()
    plain = here.api.delete

    async def dying(resource: resources.Resource, *rest: object, **more: object) -> None:
        if resource is resources.PODS:
            raise errors.Unavailable("the process dies here")
        await plain(resource, *rest, **more)  # type: ignore[arg-type]

    here.api.delete = dying  # type: ignore[method-assign, assignment]
    await here.apply(newer(pair()))
    with contextlib.suppress(errors.Unavailable):
        await here.advance(2)
    assert len(here.ours("demo-0")) == 3
    here.api.delete = plain  # type: ignore[method-assign]
    here.work.put("clique:ns/demo-0-a", 0)
    await here.settle()
    assert [plan.terminating(p) for p in here.ours("demo-0")].count(True) == 1


async def test_a_successor_that_the_template_has_overtaken_goes_and_the_old_pod_stays() -> None:
    here = await contended()
    pod = here.ours("demo-0")[0]
    heir = copy.deepcopy(pod)
    heir["metadata"].update(name="early", annotations={**pod["metadata"]["annotations"]})
    heir["metadata"]["annotations"][names.ANNOTATION_SUCCEEDS] = pod["metadata"]["uid"]
    heir["metadata"]["labels"][names.LABEL_TEMPLATE_HASH] = "other"
    heir["spec"].pop("nodeName")
    heir["spec"]["schedulingGates"] = [{"name": names.GATE}]
    await here.api.create(resources.PODS, heir)
    await here.settle()
    assert ("ns", "early") not in here.api.of("pods")
    assert here.api.of("pods")["ns", pod["metadata"]["name"]]["metadata"].get("deletionTimestamp") is None
