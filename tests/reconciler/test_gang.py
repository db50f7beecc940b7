"""The placement task: whole or not at all, persisted before it is carried out, driven forward, taken back."""

import asyncio
import json

import pytest

from grovekeeper.api import names, raw
from grovekeeper.kube import errors, resources
from grovekeeper.reconciler import decisions, gang
from tests.reconciler import world
from tests.reconciler.placing import Placing, pair


class Died(BaseException):
    """The process was killed."""


async def up(here: Placing, obj: raw.Object | None = None) -> Placing:
    await here.apply(obj or pair())
    await here.settle()
    return here


def decided(here: Placing, name: str = "demo-0") -> dict[str, str]:
    found: dict[str, str] = json.loads(here.gang(name)["metadata"]["annotations"][names.ANNOTATION_PLACEMENT])
    return found


async def test_a_gang_that_fits_is_persisted_and_then_released_whole() -> None:
    here = Placing(1, 1)
    order: list[str] = []

    async def note(resource: resources.Resource, name: str, subresource: str | None) -> None:
        order.append(resource.plural)
        assert names.ANNOTATION_PLACEMENT in here.gang()["metadata"]["annotations"]

    here.api.before = note
    await up(here)
    assert sorted(filter(None, here.released().values())) == ["n0", "n1"]
    assert set(decided(here)) == {pod["metadata"]["name"] for pod in here.pods()}
    assert order.count("pods") == 2


async def test_a_healthy_gang_of_two_pods_costs_the_writes_it_is_worth() -> None:
    here = await up(Placing(1, 1))
    await here.bind()
    await here.settle()
    await here.rest()
    await here.advance(10)
    mine = {
        call: count for call, count in here.api.calls.items() if not call.startswith(("get", "create podcliquesets"))
    }
    # What this test itself wrote as scheduler and kubelet: a bind and a status for each pod.
    mine["patch pods"] -= 2
    mine["patch pods/status"] -= 2
    per_gang = {
        call: count
        for call, count in mine.items()
        if call.split()[1].split("/")[0] in ("pods", "podgangs", "podcliques")
    }
    assert {call: count for call, count in per_gang.items() if count} == {
        "create pods": 2,
        "patch pods": 2,
        "create podgangs": 1,
        "patch podgangs/status": 1,
        "create podcliques": 1,
        "patch podcliques/status": 1,
    }
    assert sum(per_gang.values()) / 2 <= 4
    status = here.gang()["status"]
    assert status["phase"] == "Running"
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Initialized": "True",
        "Scheduled": "True",
        "Ready": "True",
    }


async def test_a_gang_that_lacks_room_releases_nobody_says_why_and_goes_when_room_appears() -> None:
    here = await up(Placing(1))
    assert here.released() == {}
    assert "gang:ns/demo-0" in here.owner.turns.waiting
    scheduled = world.condition(here.gang(), "Scheduled")
    assert scheduled is not None
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert "GangUnschedulable" in {reason for _, reason, _ in here.events.said}
    here.api.node("n9")
    await here.settle()
    assert set(here.released().values()) == {"n0", "n9"}
    assert here.owner.turns.waiting == {}


async def test_two_gangs_that_compete_never_share_the_room_half_and_half() -> None:
    here = Placing(1, 1, 1)
    await here.apply(pair("one"))
    await here.apply(pair("two"))
    await here.settle()
    assert sorted(len(here.released(name)) for name in ("one-0", "two-0")) == [0, 2]


async def test_the_room_key_and_the_gangs_own_key_at_the_same_time_decide_once() -> None:
    here = await up(Placing(1))
    here.api.node("n8")
    here.api.node("n9")
    here.see()
    await asyncio.gather(here.run("room"), here.run("gang:ns/demo-0"))
    assert here.released() == {pod["spec"]["hostname"]: decided(here)[pod["metadata"]["name"]] for pod in here.pods()}
    assert len(set(here.released().values())) == 2


async def test_a_gang_whose_write_is_refused_does_not_keep_the_others_that_wait_from_the_room() -> None:
    here = Placing()
    await here.apply(pair("one"))
    await here.apply(pair("two"))
    await here.settle()
    assert len(here.owner.turns.waiting) == 2
    plain = here.api.apply

    async def refusing(resource: resources.Resource, obj: raw.Object, *, manager: str) -> raw.Object:
        if obj["metadata"]["name"] == "one-0":
            raise errors.Forbidden("no")
        return await plain(resource, obj, manager=manager)

    here.api.apply = refusing  # type: ignore[method-assign]
    for index in range(4):
        here.api.node(f"n{index}")
    here.see()
    await here.run("room")
    assert here.released("one-0") == {}
    assert len(here.released("two-0")) == 2
    assert "gang:ns/one-0" in here.work.due


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_crash_in_the_middle_is_driven_forward_and_not_solved_again(cut: int) -> None:
    here = Placing(1, 1, 1, 1, hold="never")
    await here.apply(pair(count=3))
    calls = 0

    async def dies(resource: resources.Resource, name: str, subresource: str | None) -> None:
        nonlocal calls
        calls += resource is resources.PODS
        if calls >= cut and resource is resources.PODS:
            raise Died

    here.api.before = dies
    with pytest.raises(Died):
        await here.settle()
    before = decided(here)
    here.api.before = None
    here.see()
    # Another gang wants room before the new owner has looked at the one that was cut off.
    successor = gang.Owner(here.ctx)
    for node in here.api.of("nodes").values():
        successor.taken.on_node(None, node)
    for pod in here.pods():
        successor.on_pod(None, pod)
    await successor.begin()
    here.owner = successor
    await here.apply(pair("late", count=2))
    here.work.due = {key: due for key, due in here.work.due.items() if key != "gang:ns/demo-0"}
    for key in ("set:PodCliqueSet:ns/late", "replica:PodCliqueSet:ns/late/0", "clique:ns/late-0-a", "gang:ns/late-0"):
        here.see()
        await here.run(key)
    assert here.released("late-0") == {}
    here.work.put("gang:ns/demo-0", 0)
    await here.settle()
    assert decided(here) == before
    assert sorted(filter(None, here.released("demo-0").values())) == sorted(before.values())


async def test_a_decided_node_that_was_lost_is_replaced_and_the_released_pods_stay() -> None:
    here = Placing(1, 1, hold="never")
    await here.apply(pair())
    released = 0

    async def dies(resource: resources.Resource, name: str, subresource: str | None) -> None:
        nonlocal released
        if resource is resources.PODS:
            released += 1
            if released == 2:
                raise errors.Unavailable("gone", {"code": 500})

    here.api.before = dies
    with pytest.raises(errors.Unavailable):
        await here.settle()
    here.api.before = None
    (kept,) = here.released().values()
    lost = next(node for node in decided(here).values() if node != kept)
    here.api.node(lost, unschedulable=True)
    here.api.node("n9")
    here.work.put("gang:ns/demo-0", 0)
    await here.settle()
    assert set(here.released().values()) == {kept, "n9"}


async def test_a_pod_that_changed_underneath_is_released_at_the_next_look() -> None:
    here = Placing(1, 1)
    here.meddle_once()
    await up(here)
    await here.advance(1)
    assert len(here.released()) == 2


@pytest.mark.parametrize(
    ("hold", "rivals", "nominations"), [("contended", 0, 0), ("contended", 1, 2), ("always", 0, 2), ("never", 1, 0)]
)
async def test_the_hold_is_used_where_the_settings_and_the_rivals_ask_for_it(
    hold: str, rivals: int, nominations: int
) -> None:
    here = Placing(1, 1, hold=hold)
    for index in range(rivals):
        here.api.foreign(f"rival-{index}", cpu="9")
    await up(here)
    assert here.api.calls["patch pods/status"] == nominations
    assert len(here.released()) == 2


async def test_room_that_was_taken_during_the_hold_is_noticed_before_any_pod_is_released() -> None:
    here = Placing(1, 1, hold="always")
    done = []

    async def rival(resource: resources.Resource, name: str, subresource: str | None) -> None:
        if subresource == "status" and resource is resources.PODS and not done:
            done.append(name)
            here.api.foreign("rival", node=decided(here)[name])
            here.owner.on_pod(None, here.api.of("pods")["else", "rival"])

    here.api.before = rival
    await up(here)
    assert done
    assert here.released() == {}
    here.api.node("n9")
    await here.advance(1)  # after an error it comes again by itself
    taken = here.api.of("pods")["else", "rival"]["spec"]["nodeName"]
    assert set(here.released().values()) == {"n0", "n1", "n9"} - {taken}


async def test_nobody_is_released_when_a_member_goes_while_the_gang_is_being_placed() -> None:
    here = Placing(1, 1, hold="always")
    gone = []

    async def goes(resource: resources.Resource, name: str, subresource: str | None) -> None:
        if subresource == "status" and resource is resources.PODS and not gone:
            gone.append(name)
            await here.api.delete(resources.PODS, name, "ns", grace=0)
            here.see()

    here.api.before = goes
    await here.apply(pair())
    await here.settle()
    assert gone
    here.api.before = None
    assert here.api.calls["patch pods"] in (0, 2), "nobody, or the whole with the successor"
    await here.settle()
    assert sorted(filter(None, here.released().values())) == ["n0", "n1"]


async def unbound(here: Placing, verdict: raw.Object | None, seconds: float = 60) -> None:
    """Let the patience with the released pods of the gang run out; one of them has this PodScheduled condition."""
    pod = next(p for p in here.ours() if not p["spec"].get("nodeName"))
    if verdict is not None:
        status = {"status": {"conditions": [{"type": "PodScheduled", **verdict}]}}
        name = pod["metadata"]["name"]
        await here.api.patch(resources.PODS, name, "ns", status, type="merge", subresource="status")
    here.see()
    here.owner.releases.sent = {uid: since - seconds for uid, since in here.owner.releases.sent.items()}
    await here.run("gang:ns/demo-0")


async def test_a_gang_that_was_never_whole_and_is_not_bound_in_time_is_taken_back_whole() -> None:
    here = await up(Placing(1, 1))
    uids = {pod["metadata"]["uid"] for pod in here.pods()}
    await unbound(here, None, seconds=1)
    assert {pod["metadata"]["uid"] for pod in here.pods()} == uids
    await unbound(here, None)
    await here.settle()
    assert uids.isdisjoint({pod["metadata"]["uid"] for pod in here.pods()})
    assert "GangUnbound" in {reason for _, reason, _ in here.events.said}
    # Nobody refused the nodes (the scheduler was away), so they are taken again.
    assert set(here.released().values()) == {"n0", "n1"}


async def test_a_node_that_the_scheduler_refused_is_not_chosen_again_for_a_while() -> None:
    here = await up(Placing(1, 1))
    first = next(p for p in here.ours() if not p["spec"].get("nodeName"))
    refused = here.released()[first["spec"]["hostname"]]
    await unbound(here, {"status": "False", "reason": "Unschedulable"})
    await here.settle()
    assert here.released() == {}
    here.api.node("n9")
    await here.settle()
    assert set(here.released().values()) == {"n0", "n1", "n9"} - {refused}


async def test_room_that_was_taken_after_the_release_is_found_at_once_and_the_gang_goes_elsewhere() -> None:
    here = await up(Placing(1, 1, 1, 1))
    first = next(p for p in here.ours() if not p["spec"].get("nodeName"))
    lost = here.released()[first["spec"]["hostname"]]
    here.api.foreign("rival", node=lost)
    await unbound(here, {"status": "False", "reason": "Unschedulable"}, seconds=0)
    await here.settle()
    assert first["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in here.ours()}
    assert len(here.released()) == 2
    assert lost not in here.released().values()
    assert here.owner.releases.refused == {}, "the node is full, and not one to keep away from"
    assert any("lost their room to others" in text for _, reason, text in here.events.said if reason == "GangUnbound")


async def test_a_pod_that_somebody_elses_gate_holds_has_not_been_refused() -> None:
    here = await up(Placing(1, 1))
    await unbound(here, {"status": "False", "reason": "SchedulingGated"}, seconds=0)
    assert decisions.refused_nodes(here.ours()) == set()


async def test_a_refusal_that_the_scheduler_is_mending_by_preemption_is_waited_for() -> None:
    here = await up(Placing(1, 1, 1, 1))
    first = next(p for p in here.ours() if not p["spec"].get("nodeName"))
    lost = here.released()[first["spec"]["hostname"]]
    here.api.foreign("rival", node=lost)
    name = first["metadata"]["name"]
    nominated = {"status": {"nominatedNodeName": lost}}
    await here.api.patch(resources.PODS, name, "ns", nominated, type="merge", subresource="status")
    await unbound(here, {"status": "False", "reason": "Unschedulable"}, seconds=0)
    assert first["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in here.ours()}


async def test_a_pod_that_was_bound_elsewhere_than_it_was_pinned_counts_where_it_is() -> None:
    here = await up(Placing(1, 1, 1))
    first = next(p for p in here.ours() if not p["spec"].get("nodeName"))
    spare = next(f"n{number}" for number in range(3) if f"n{number}" not in here.released().values())
    left = here.released()[first["spec"]["hostname"]]
    await here.mark(first, node=spare)
    await here.bind()
    await here.apply(pair("late", count=1))
    await here.settle()
    assert set(here.released("late-0").values()) == {left}


@pytest.mark.parametrize("restarted", [False, True])
async def test_of_a_gang_that_was_whole_only_the_pods_without_a_node_are_taken_back(restarted: bool) -> None:
    here = await up(Placing(1, 1, 1), pair(count=3))
    await here.bind()
    await here.settle()
    await here.rest()
    victim = here.pods()[0]
    stay = {pod["metadata"]["uid"] for pod in here.pods()[1:]}
    await here.api.delete(resources.PODS, victim["metadata"]["name"], "ns", grace=0)
    await here.settle()
    # The successor goes back to the node of its predecessor, and only it is taken back.
    assert here.released()[victim["spec"]["hostname"]] == victim["spec"]["nodeName"]
    if restarted:
        here.owner.releases._whole.clear()
    await unbound(here, None)
    await here.settle()
    assert stay <= {pod["metadata"]["uid"] for pod in here.pods()}
    lost = world.condition(here.gang(), "Scheduled")
    assert lost is not None
    assert (lost["status"], lost["reason"]) == ("False", "MembersLost")
    assert here.api.calls["delete pods"] == 2


async def test_a_gated_pod_above_the_minimum_never_holds_the_gang_and_comes_when_there_is_room() -> None:
    here = await up(Placing(1), pair(count=2, minimum=1))
    assert len(here.released()) == 1
    await here.bind()
    await here.settle()
    assert said(here) == "1 of 1 pods have a node; pods above the minimum are gated until there is room for them"
    here.api.node("n9")
    await here.settle()
    assert set(here.released().values()) == {"n0", "n9"}
    await here.bind()
    await here.settle()
    assert said(here) == "1 of 1 pods have a node"


def said(here: Placing) -> str:
    found = world.condition(here.gang(), "Scheduled")
    assert found is not None
    return str(found["message"])


async def test_a_scaled_gang_waits_until_its_base_has_its_nodes() -> None:
    here = Placing(64)
    await up(here, world.podset())
    assert here.released("demo-0-pool-0") == {}
    await here.bind()
    await here.advance(1)  # the pod above the minimum comes in the next turn
    assert len(here.released("demo-0-pool-0")) == 3


def test_waiting_gangs_are_tried_minimum_first_then_by_priority_base_age_and_size() -> None:
    def pods(priority: int, created: str, count: int = 1) -> dict[str, list[raw.Object]]:
        return {"c": [{"metadata": {"creationTimestamp": created}, "spec": {"priority": priority}}] * count}

    asked = {
        "young": (pods(0, "2026-01-02"), None),
        "old": (pods(0, "2026-01-01"), None),
        "large": (pods(0, "2026-01-01", 3), None),
        "scaled": (pods(0, "2025-01-01"), "base"),
        "urgent": (pods(9, "2026-01-03"), "base"),
        "extras": (pods(9, "2024-01-01"), None),
    }
    order = sorted(asked, key=lambda name: decisions.order(*asked[name], name, has_minimum=name == "extras"))
    assert order == ["urgent", "large", "old", "young", "scaled", "extras"]


async def test_pods_above_the_minimum_come_after_the_minimum_of_gangs_that_wait() -> None:
    here = Placing(1)
    await here.apply(pair("wide", count=4, minimum=2))
    await here.apply(pair("pair"))
    await here.settle()
    assert not here.released()
    for number in range(3):
        here.api.node(f"late{number}")
    await here.settle()
    await here.bind()
    await here.settle()
    assert [len(here.released(name)) for name in ("wide-0", "pair-0")] == [2, 2]


async def test_a_big_gang_that_waits_is_not_starved_by_small_ones_behind_it() -> None:
    """After its patience a domain is kept for it: small gangs that come later go elsewhere, or wait."""
    here = Placing(1, 1, 1, 1)
    here.api.foreign("busy", "n0")
    await here.apply(pair("big", count=4))
    await here.settle()
    await here.apply(pair("early", count=1))
    await here.settle()
    assert len(here.released("early-0")) == 1, "nothing is kept yet"
    await here.api.delete(resources.PODCLIQUESETS, "early", "ns")
    await here.advance(5)
    await here.advance(200)
    await here.run("gang:ns/big-0")
    await here.apply(pair("late", count=1))
    await here.settle()
    assert not here.released("late-0"), "the room is kept for the big one"
    assert "kept for a gang" in here.owner.turns.waiting["gang:ns/late-0"]
    await here.api.delete(resources.PODS, "busy", "else", grace=0)
    await here.settle()
    assert len(here.released("big-0")) == 4


async def test_a_domain_in_which_nothing_ends_is_not_kept_for_ever() -> None:
    here = Placing(1, 1, 1, 1, reserve_window_seconds=1000)
    for number in range(2):
        here.api.foreign(f"busy{number}", f"n{number}")
    await here.apply(pair("big", count=4))
    await here.settle()
    await here.advance(600)
    await here.apply(pair("late", count=1))
    await here.settle()
    assert not here.released("late-0"), "the room is kept for the big one"
    await here.api.delete(resources.PODS, "busy1", "else", grace=0)
    await here.advance(900)
    assert not here.released("late-0"), "a pod has ended in the window: there is hope"
    await here.advance(300)
    assert len(here.released("late-0")) == 1, "the other one does not end"
    await here.advance(1000)
    await here.apply(pair("later", count=1))
    await here.settle()
    assert not here.released("later-0"), "its turn comes again"


async def test_an_owner_that_begins_knows_how_long_a_gang_has_waited() -> None:
    here = Placing(1, 1)
    here.api.foreign("busy", "n0")
    await here.apply(pair("big", count=2))
    await here.advance(300)
    here.owner.turns._kept.clear()  # as in a process that has just begun
    here.owner._cycle._refusals.forget("gang:ns/big-0")
    await here.run("gang:ns/big-0")
    await here.apply(pair("late", count=1))
    await here.settle()
    assert not here.released("late-0")


async def test_a_gang_that_can_never_fit_blocks_nobody_and_says_what_fits() -> None:
    here = Placing(1, 1)
    await here.apply(pair("huge", count=9))
    await here.settle()
    await here.advance(500)
    await here.run("gang:ns/huge-0")
    assert "at most 2 of 9" in here.owner.turns.waiting["gang:ns/huge-0"]
    await here.apply(pair("late"))
    await here.settle()
    assert len(here.released("late-0")) == 2


async def test_a_gang_is_placed_only_when_no_member_of_its_minimum_has_a_gate_of_somebody_else() -> None:
    """Released beside such a gate, the rest would run without it."""
    here = Placing(1, 1, 1)
    obj = pair(minimum=2, count=3)
    obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["schedulingGates"] = [{"name": "example.com/quota"}]
    await up(here, obj)
    assert here.released() == {}
    said = world.condition(here.gang(), "Scheduled") or {}
    assert said["message"] == (
        "3 pods have scheduling gates of others (example.com/quota): the gang is placed when they are gone"
    )
    assert ("demo", "GangHeld", f"demo-0: {said['message']}") in here.events.said
    for number, released in ((0, 0), (1, 2), (2, 3)):
        pod = here.ours()[number]
        await here.edit(resources.PODS, pod["metadata"]["name"], {"spec": {"schedulingGates": [{"name": names.GATE}]}})
        await here.settle()
        assert len(here.released()) == released


async def test_a_gang_that_others_hold_up_stands_in_nobodys_way() -> None:
    here = Placing(1, 1)
    held = pair("held", 1)
    held["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["schedulingGates"] = [{"name": "example.com/quota"}]
    await up(here, held)
    await here.apply(pair("extras", 2, minimum=1))
    await here.settle()
    await here.bind()
    await here.advance(1)
    assert len(here.released("extras-0")) == 2


async def test_a_gang_that_is_looked_at_by_itself_takes_no_new_room_before_those_that_lack_their_minimum() -> None:
    here = Placing(1)
    await up(here, pair("extras", 2, minimum=1))
    await here.bind()
    await here.settle()
    await up(here, pair("late", 1))
    assert {*here.released("extras-0"), *here.released("late-0")} == {"extras-0-a-0"}
    here.api.node("n1")
    here.see()
    await here.run("gang:ns/extras-0")
    assert len(here.released("extras-0")) == 1
    await here.settle()
    assert here.released("late-0") == {"late-0-a-0": "n1"}
    here.api.node("n2")
    await here.settle()
    assert len(here.released("extras-0")) == 2


async def test_room_that_a_pod_gives_back_in_place_is_used_at_once() -> None:
    here = Placing(2)
    here.api.foreign("large", "n0", cpu="2")
    await here.apply(pair("waits", count=1))
    await here.settle()
    assert here.released() == {}
    begin = here.clock.moment
    here.api.foreign("large", "n0", cpu="3")
    await here.settle()
    here.api.foreign("large", "n0", cpu="1")
    await here.settle()
    assert here.clock.moment == begin
    assert here.released() == {"waits-0-a-0": "n0"}
