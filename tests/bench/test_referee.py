"""The referee of the scale run has to be able to find what it looks for."""

from typing import Any

import pytest

from tests.bench import mix, referee

PLACE = mix.Place("ns", "pool")
LABELS = {node["metadata"]["name"]: node["metadata"]["labels"] for node in mix.nodes(PLACE, 60)}
RACK = mix.LEVELS["rack"]
SAME_RACK, OTHER_RACK = ("pool-n0000", "pool-n0001"), "pool-n0020"


def a_set(**more: Any) -> dict[str, Any]:
    """One gang of two pods in one rack."""
    pack = {"topologyName": "t", "pack": {"required": "rack"}}
    clique = {"name": "c", "spec": {"replicas": 2, "minAvailable": 2}, "topologyConstraint": pack}
    return {"metadata": {"name": "s"}, "spec": {"replicas": 1, "template": {"cliques": [clique], **more}}}


def pod(uid: str, node: str = "", pin: str = "", *, foreign: bool = False, **status: Any) -> dict[str, Any]:
    """A pod of clique s-0-c (or of nobody), pinned and bound as said; ready once it is bound."""
    owners = [] if foreign else [{"kind": "PodClique", "name": "s-0-c", "controller": True}]
    metadata = {"name": uid, "uid": uid, "ownerReferences": owners}
    spec: dict[str, Any] = {"containers": []}
    if not pin and not node:
        spec["schedulingGates"] = [{"name": "g"}]
    if pin:
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [pin]}]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": required}
    if node:
        spec["nodeName"] = node
        status.setdefault("conditions", [{"type": "Ready", "status": "True"}])
    return {"metadata": metadata, "spec": spec, "status": status}


def refused(uid: str, pin: str) -> dict[str, Any]:
    verdict = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient gpu"}
    return pod(uid, "", pin, conditions=[verdict])


def judged(*events: tuple[float, str, dict[str, Any]], wanted: int = 2, now: float = 10.0) -> referee.Verdict:
    seen = referee.Referee(LABELS, dict.fromkeys(LABELS, mix.gpus(1)), mix.GPU)
    seen.expect(referee.gangs(a_set(), mix.LEVELS))
    for at, kind, obj in events:
        seen.see(kind, obj, at)
    decided = {p.name: p.pin for p in seen.pods.values() if p.pin}
    return seen.verdict({"s-0-c": wanted}, decided, now)


def test_a_gang_in_one_rack_where_it_was_pinned_is_fine() -> None:
    found = judged(*((1.0, "ADDED", pod(f"p{i}", SAME_RACK[i], SAME_RACK[i])) for i in range(2)))
    assert (found.partial, found.wrong, found.stuck, found.disagreements) == ([], [], [], [])
    assert found.compared == 2


def test_a_gang_with_half_of_its_pods_on_nodes_is_partial_and_stuck() -> None:
    found = judged((1.0, "ADDED", pod("p0", SAME_RACK[0], SAME_RACK[0])), (1.0, "ADDED", pod("p1")))
    assert [text.partition(":")[0] for text in found.partial] == ["s-0"]
    assert found.longest_partial == 9.0
    assert any("p1 does not run" in text for text in found.stuck)


def test_a_gang_that_was_partial_for_long_is_partial_even_if_it_is_whole_in_the_end() -> None:
    first = (1.0, "ADDED", pod("p0", SAME_RACK[0], SAME_RACK[0]))
    soon = judged(first, (9.0, "ADDED", pod("p1", SAME_RACK[1], SAME_RACK[1])))
    late = judged(first, (90.0, "ADDED", pod("p1", SAME_RACK[1], SAME_RACK[1])), now=99.0)
    assert soon.partial == []
    assert len(late.partial) == 1


def test_pods_in_two_racks_are_in_the_wrong_domain_even_if_one_goes_later() -> None:
    stray = pod("p1", OTHER_RACK, OTHER_RACK)
    found = judged(
        (1.0, "ADDED", pod("p0", SAME_RACK[0], SAME_RACK[0])), (2.0, "ADDED", stray), (3.0, "DELETED", stray)
    )
    (said,) = found.wrong
    assert said.splitlines() == [
        f"s-0: {RACK} of its pods is ['pool-r000', 'pool-r001']",
        f"  p0 on {SAME_RACK[0]} in pool-r000: pinned to {SAME_RACK[0]} 1.0 s ago, ready",
        f"  p1 on {OTHER_RACK} in pool-r001: pinned to {OTHER_RACK} 0.0 s ago, ready",
    ]


def test_what_is_said_of_a_wrong_domain_tells_the_state_of_every_pod_of_the_gang() -> None:
    first = pod("p0", SAME_RACK[0], SAME_RACK[0])
    evicted = pod("p2", SAME_RACK[0], SAME_RACK[0], conditions=[{"type": "DisruptionTarget", "status": "True"}])
    evicted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    events = [(1.0, "ADDED", first), (2.0, "MODIFIED", evicted), (3.0, "ADDED", refused("p3", SAME_RACK[1]))]
    found = judged(*events, (4.0, "ADDED", pod("p4")), (5.0, "ADDED", pod("p1", OTHER_RACK)))
    (said,) = found.wrong
    assert said.splitlines()[1:] == [
        f"  p0 on {SAME_RACK[0]} in pool-r000: pinned to {SAME_RACK[0]} 4.0 s ago, ready",
        f"  p1 on {OTHER_RACK} in pool-r001: not pinned, ready",
        f"  p2 on {SAME_RACK[0]} in pool-r000: pinned to {SAME_RACK[0]} 3.0 s ago, being deleted, evicted",
        f"  p3 without a node: pinned to {SAME_RACK[1]} 2.0 s ago, Insufficient gpu",
        "  p4 without a node: not pinned",
    ]


@pytest.mark.parametrize(("pin", "why"), [(SAME_RACK[0], "bound elsewhere"), ("", "without a pin")])
def test_a_binding_that_is_not_the_pin_is_an_unexplained_disagreement(pin: str, why: str) -> None:
    found = judged((1.0, "ADDED", pod("p0", SAME_RACK[1], pin)), wanted=1)
    assert why in found.unexplained[0].reason


def test_a_pod_that_lost_its_room_to_another_is_explained_and_so_is_its_gang() -> None:
    rival = pod("rival", SAME_RACK[0], foreign=True)
    events = [(1.0, "ADDED", pod("p0", "", SAME_RACK[0])), (1.0, "ADDED", pod("p1", "", SAME_RACK[1]))]
    events += [(2.0, "ADDED", rival), (3.0, "MODIFIED", refused("p0", SAME_RACK[0]))]
    events += [(4.0, "DELETED", refused("p0", SAME_RACK[0])), (4.0, "DELETED", pod("p1", "", SAME_RACK[1]))]
    found = judged(*events, wanted=0)
    assert len(found.disagreements) == 2
    assert found.unexplained == []
    assert "rival took the room" in found.disagreements[0].reason


def test_a_refusal_that_nobody_caused_is_not_explained() -> None:
    long_there = pod("long there", SAME_RACK[0], foreign=True)
    events = [(1.0, "ADDED", long_there), (2.0, "ADDED", pod("elsewhere", SAME_RACK[1], foreign=True))]
    events += [(20.0, "ADDED", pod("p0", "", SAME_RACK[0])), (23.0, "MODIFIED", refused("p0", SAME_RACK[0]))]
    events += [(24.0, "DELETED", long_there)]
    found = judged(*events, wanted=0)
    first, *company = found.unexplained[0].reason.splitlines()
    assert first == "nothing that was seen explains it (Insufficient gpu)"
    assert company == ["  long there asks for 0: -19.0 s to +4.0 s"]


def test_a_pod_that_is_taken_away_by_the_load_explains_itself() -> None:
    seen = referee.Referee(LABELS, dict.fromkeys(LABELS, mix.gpus(1)), mix.GPU)
    seen.expect(referee.gangs(a_set(), mix.LEVELS))
    seen.dismiss(["s-0-c"])
    seen.see("ADDED", pod("p0", "", SAME_RACK[0]), 1.0)
    seen.see("DELETED", pod("p0", "", SAME_RACK[0]), 2.0)
    found = seen.verdict({}, {}, 3.0)
    assert [each.explained for each in found.disagreements] == [True]


def test_a_decision_that_says_another_node_than_the_binding_is_a_disagreement() -> None:
    seen = referee.Referee(LABELS, dict.fromkeys(LABELS, mix.gpus(1)), mix.GPU)
    seen.expect(referee.gangs(a_set(), mix.LEVELS))
    seen.see("ADDED", pod("p0", SAME_RACK[0], SAME_RACK[0]), 1.0)
    found = seen.verdict({"s-0-c": 1}, {"p0": SAME_RACK[1]}, 2.0)
    assert f"the PodGang says {SAME_RACK[1]}" in found.unexplained[0].reason


def test_too_many_pods_and_pods_that_do_not_end_are_stuck() -> None:
    ending = pod("p2", SAME_RACK[0], SAME_RACK[0])
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    running = [(1.0, "ADDED", pod(f"p{i}", SAME_RACK[i], SAME_RACK[i])) for i in range(2)]
    found = judged(*running, (1.0, "ADDED", ending), wanted=1)
    assert found.stuck == ["p2 is still terminating", "s-0-c runs 2 of 1 pods"]


@pytest.mark.parametrize(("filled", "stuck"), [(20, False), (19, True)])
def test_a_pod_above_the_minimum_may_wait_only_while_its_rack_is_full(filled: int, stuck: bool) -> None:
    obj = a_set()
    obj["spec"]["template"]["cliques"][0]["spec"]["minAvailable"] = 1
    seen = referee.Referee(LABELS, dict.fromkeys(LABELS, mix.gpus(1)), mix.GPU)
    seen.expect(referee.gangs(obj, mix.LEVELS))
    seen.see("ADDED", pod("p0", SAME_RACK[0], SAME_RACK[0]), 1.0)
    extra = pod("p1")
    extra["spec"]["containers"] = [{"resources": {"requests": {mix.GPU: "1"}}}]
    seen.see("ADDED", extra, 1.0)
    for number in range(filled):
        other = pod(f"o{number}", f"pool-n{number:04}", foreign=True)
        other["spec"]["containers"] = [{"resources": {"requests": {mix.GPU: "8"}}}]
        seen.see("ADDED", other, 1.0)
    assert bool(seen.restless({"s-0-c": 2})) is stuck


def test_groups_above_their_minimum_are_gangs_of_their_own_and_inherit_the_sets_level() -> None:
    cliques = [{"name": name, "spec": {"replicas": 2, "minAvailable": 1}} for name in ("alone", "lead", "work")]
    group = {"name": "g", "cliqueNames": ["lead", "work"], "replicas": 3, "minAvailable": 2}
    pack = {"topologyName": "t", "pack": {"required": "block"}}
    obj = a_set(cliques=cliques, podCliqueScalingGroups=[group], topologyConstraint=pack)
    found = {gang.name: gang for gang in referee.gangs(obj, mix.LEVELS)}
    assert set(found) == {"s-0", "s-0-g-0"}
    base = {"s-0-alone", "s-0-g-0-lead", "s-0-g-0-work", "s-0-g-1-lead", "s-0-g-1-work"}
    assert set(found["s-0"].minimum) == base
    assert found["s-0"].scopes == (referee.Scope(mix.LEVELS["block"], frozenset(base)),)
    assert found["s-0-g-0"].scopes == (referee.Scope(mix.LEVELS["block"], frozenset({"s-0-g-2-lead", "s-0-g-2-work"})),)


def test_the_load_is_of_the_size_that_was_asked_for_and_the_same_each_time() -> None:
    sets = mix.sets(PLACE, 500, 3, prefix="x", priority="low", largest=16)
    assert sum(map(mix.count, sets)) == 500
    assert sets == mix.sets(PLACE, 500, 3, prefix="x", priority="low", largest=16)
    sizes = {sum(gang.minimum.values()) for obj in sets for gang in referee.gangs(obj, mix.LEVELS)}
    assert min(sizes) == 1
    assert max(sizes) <= 16
    assert sum(map(mix.gpu_demand, sets)) > 500
