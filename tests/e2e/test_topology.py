"""Grove's topology scenarios (TAS), on both targets: 28 nodes, 7 a rack, 14 a block, one zone.

Where Grove looks at KAI's PodGroup, these look at our PodGang, which carries the same constraints.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.e2e.world import BINDINGS, MERGE, Object, World, refused

LEVELS = (("zone", "zone"), ("block", "block"), ("rack", "rack"), ("host", "hostname"))
AVAILABLE = ("False", "AllClusterTopologyLevelsAvailable")
KEY = {domain: f"kubernetes.io/{key}" for domain, key in LEVELS}


def test_tas2_cliques_have_constraints_of_their_own(world: World) -> None:
    bind(world)
    cliques = [
        pack(world.clique("worker-rack", 3), "rack", world),
        pack(world.clique("worker-block", 4), "block", world),
    ]
    up(world, world.set(cliques), 7)
    assert domains(world.pods("worker-rack"), 7) == 1
    assert domains(world.pods("worker-block"), 14) == 1
    gang = podgang(world)
    assert "topologyConstraint" not in gang["spec"]
    assert constraints(gang) == {
        "w-0-worker-rack": {"required": KEY["rack"]},
        "w-0-worker-block": {"required": KEY["block"]},
    }


@pytest.mark.slow
def test_tas3_the_whole_set_in_one_rack(world: World) -> None:
    bind(world)
    workers = {"name": "workers", "cliqueNames": ["worker"], "replicas": 2, "minAvailable": 2}
    up(world, world.set([world.clique("worker", 1), world.clique("router", 2)], [workers], **top(world, "rack")), 4)
    assert domains(world.pods(), 7) == 1
    gang = podgang(world)
    assert gang["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["rack"]}
    assert len(gang["spec"]["podgroups"]) == 3
    assert not gang["spec"].get("topologyConstraintGroupConfigs")


@pytest.mark.slow
def test_tas4_each_group_replica_in_a_rack(world: World) -> None:
    bind(world)
    workers = pack({"name": "workers", "cliqueNames": ["worker"], "replicas": 2, "minAvailable": 2}, "rack", world)
    up(world, world.set([world.clique("worker", 3), world.clique("router", 2)], [workers]), 8)
    for index in range(2):
        assert domains(world.pods(f"workers-{index}-worker"), 7) == 1
    assert len(podgang(world)["spec"]["topologyConstraintGroupConfigs"]) == 2
    world.wait(lambda: levels_condition(world) == AVAILABLE, "the levels to be found")


@pytest.mark.slow
def test_tas5_a_clique_on_one_host(world: World) -> None:
    bind(world)
    up(world, world.set([pack(small(world.clique("worker", 2)), "host", world)]), 2)
    assert domains(world.pods(), 1) == 1


@pytest.mark.slow
def test_tas6_a_set_in_one_zone(world: World) -> None:
    bind(world)
    up(world, world.set([world.clique("worker", 4)], **top(world, "zone")), 4)
    assert podgang(world)["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["zone"]}


@pytest.mark.slow
def test_tas7_no_constraints_at_all(world: World) -> None:
    workers = {"name": "workers", "cliqueNames": ["worker"], "replicas": 2, "minAvailable": 2}
    up(world, world.set([world.clique("worker", 2)], [workers]), 4)
    gang = podgang(world)
    assert "topologyConstraint" not in gang["spec"]
    assert constraints(gang) == {}


def test_tas8_three_levels_inside_each_other(world: World) -> None:
    bind(world)
    cliques = [pack(small(world.clique(name, 2)), "host", world) for name in ("prefill", "decode")]
    group = {"name": "inference", "cliqueNames": ["prefill", "decode"], "replicas": 2, "minAvailable": 2}
    up(world, world.set(cliques, [pack(group, "rack", world)], **top(world, "block")), 8)
    assert domains(world.pods(), 14) == 1
    for index in range(2):
        assert domains([*world.pods(f"{index}-prefill"), *world.pods(f"{index}-decode")], 7) == 1
        assert domains(world.pods(f"{index}-prefill"), 1) == domains(world.pods(f"{index}-decode"), 1) == 1


@pytest.mark.slow
def test_tas9_a_clique_on_a_host_of_the_sets_block(world: World) -> None:
    bind(world)
    up(world, world.set([pack(small(world.clique("worker", 2)), "host", world)], **top(world, "block")), 2)
    assert domains(world.pods(), 1) == 1


@pytest.mark.slow
def test_tas10_scaled_gangs_carry_their_groups_constraint(world: World) -> None:
    bind(world)
    group = pack({"name": "workers", "cliqueNames": ["worker"], "replicas": 3, "minAvailable": 1}, "rack", world)
    up(world, world.set([world.clique("worker", 2)], [group], **top(world, "block")), 6)
    for index in range(3):
        assert domains(world.pods(f"workers-{index}-worker"), 7) == 1
    base = podgang(world)
    assert base["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["block"]}
    for index in range(2):
        scaled = podgang(world, f"w-0-workers-{index}")
        assert scaled["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["rack"]}


@pytest.mark.slow
def test_tas11_a_group_in_a_rack_with_its_clique_on_a_host(world: World) -> None:
    bind(world)
    group = pack({"name": "workers", "cliqueNames": ["worker"], "replicas": 2, "minAvailable": 2}, "rack", world)
    up(world, world.set([pack(small(world.clique("worker", 2)), "host", world)], [group]), 4)
    for index in range(2):
        assert domains(world.pods(f"workers-{index}-worker"), 1) == 1


@pytest.mark.slow
def test_tas12_many_group_replicas_stay_in_the_sets_block(world: World) -> None:
    bind(world)
    group = {"name": "workers", "cliqueNames": ["worker"], "replicas": 10, "minAvailable": 3}
    cliques = [pack(small(world.clique("worker", 2)), "host", world)]
    up(world, world.set(cliques, [group], **top(world, "block")), 20)
    for index in range(10):
        assert domains(world.pods(f"workers-{index}-worker"), 1) == 1
    assert domains([p for p in world.pods() if p["metadata"]["labels"]["grove.io/podgang"] == "w-0"], 14) == 1
    for index in range(7):
        scaled = podgang(world, f"w-0-workers-{index}")
        assert scaled["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["block"]}


def test_tas13_a_gang_that_no_rack_can_hold_runs_nothing_and_says_why(world: World) -> None:
    bind(world)
    world.add_nodes(28)
    world.apply(world.set([world.clique("worker", 10)], **top(world, "rack")))
    world.wait_pods(10, 0)
    world.wait(lambda: "room for 7 of 10" in scheduled_message(world), "the reason in the gang's condition")
    world.stays(lambda: not any(p["spec"].get("nodeName") for p in world.pods()), "no pod has a node")
    assert podgang(world)["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["rack"]}


@pytest.mark.slow
def test_tas14_each_set_replica_in_a_rack(world: World) -> None:
    bind(world)
    up(world, world.set([world.clique("worker", 2)], replicas=2, **top(world, "rack")), 4)
    for index in range(2):
        assert domains(world.pods(f"w-{index}-worker"), 7) == 1


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2], ids=["tas15", "tas16"])
def test_tas15_and_tas16_disaggregated_groups_in_racks_of_a_block(world: World, replicas: int) -> None:
    bind(world)
    names = ("dworker", "dleader", "pworker", "pleader")
    cliques = [world.clique(name, 1) for name in names] + [world.clique("router", 2)]
    groups = [
        pack({"name": "decoder", "cliqueNames": list(names[:2]), "replicas": 2, "minAvailable": 1}, "rack", world),
        pack({"name": "prefill", "cliqueNames": list(names[2:]), "replicas": 2, "minAvailable": 1}, "rack", world),
    ]
    up(world, world.set(cliques, groups, replicas=replicas, **top(world, "block")), 10 * replicas)
    for index in range(replicas):
        mine = [p for p in world.pods() if p["metadata"]["name"].startswith(f"w-{index}-")]
        assert domains([p for p in mine if p["metadata"]["labels"]["grove.io/podgang"] == f"w-{index}"], 14) == 1
        for group in ("decoder", "prefill"):
            for j in range(2):
                assert domains([p for p in mine if f"-{group}-{j}-" in p["metadata"]["name"]], 7) == 1
    assert len(podgang(world)["spec"]["topologyConstraintGroupConfigs"]) == 2
    assert podgang(world, "w-0-decoder-0")["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["rack"]}


@pytest.mark.slow
def test_tas17_two_bindings_for_two_kinds_of_nodes(world: World) -> None:
    world.add_nodes(28)
    for index, name in enumerate(world.nodes[14:]):
        labels = {"kubernetes.io/rack": None, f"{world.namespace}/block": f"b{index // 7}"}
        labels |= {f"{world.namespace}/nvlink": f"d{index // 7}", "gpu": "gb200"}
        world.request("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}}, MERGE)
    first = bind(world, "h100", (("block", "kubernetes.io/rack"), ("host", "kubernetes.io/hostname")))
    nvl = (
        ("block", f"{world.namespace}/block"),
        ("rack", f"{world.namespace}/nvlink"),
        ("host", "kubernetes.io/hostname"),
    )
    second = bind(world, "gb200", nvl)
    for name, binding in (("one", first), ("two", second)):
        constraint = {"topologyName": binding, "pack": {"required": "block"}}
        obj = world.set([world.clique("worker", 2)], topologyConstraint=constraint)
        obj["metadata"]["name"] = name
        world.apply(obj)
    world.wait_pods(4, 4)
    place = {n: int(n[-2:]) for n in world.nodes}
    for name, low, high in (("one", 0, 14), ("two", 14, 28)):
        used = {place[p["spec"]["nodeName"]] for p in world.pods() if p["metadata"]["name"].startswith(f"{name}-")}
        assert all(low <= number < high for number in used)
        assert len({number // 7 for number in used}) == 1


def test_tas20_a_binding_that_goes_takes_its_constraints_with_it(world: World) -> None:
    name = bind(world)
    world.add_nodes(2)
    world.apply(world.set([world.clique("worker", 2)], replicas=0, **top(world, "rack")))
    world.wait(lambda: levels_condition(world) == AVAILABLE, "the levels to be found")
    world.request("DELETE", f"{BINDINGS}/{name}")
    world.wait(lambda: levels_condition(world) == ("Unknown", "ClusterTopologyNotFound"), "the loss to be noticed")
    world.scale("podgangsets", "w", 1)
    world.wait_pods(2, 2)
    gang = podgang(world)
    assert "topologyConstraint" not in gang["spec"]
    assert "grove.io/topology-name" not in (gang["metadata"].get("annotations") or {})
    world.scale("podgangsets", "w", 0)
    world.wait(lambda: not world.pods(), "the pods to go")
    bind(world)
    world.wait(lambda: levels_condition(world) == AVAILABLE, "the levels to be back")


@pytest.mark.slow
def test_tas21_bindings_that_contradict_themselves_are_refused(world: World) -> None:
    name = f"{world.namespace}-bad"
    kai = {"schedulerName": "kai-scheduler", "topologyReference": "t"}
    for levels, schedulers, field in (
        ((("rack", "a"), ("rack", "b")), [], "spec.levels"),
        ((("rack", "a"),), [kai, kai], "spec.schedulerTopologyBindings[1]"),
        ((("rack", "a"),), [{**kai, "schedulerName": "unheard-of"}], "spec.schedulerTopologyBindings[0]"),
        ((("rack", "a"),), [{**kai, "schedulerName": "default-scheduler"}], "spec.schedulerTopologyBindings[0]"),
    ):
        spec: Object = {"levels": [{"domain": domain, "key": key} for domain, key in levels]}
        if schedulers:
            spec["schedulerTopologyBindings"] = schedulers
        body = {"apiVersion": "grove.io/v1alpha1", "kind": "ClusterTopologyBinding", "metadata": {"name": name}}
        code, text = refused(lambda b={**body, "spec": spec}: world.post(BINDINGS, b))  # type: ignore[misc]
        assert code in (403, 422)
        assert field in text
    bind(world)
    world.add_nodes(2)
    inherits = world.clique("worker", 2)
    inherits["topologyConstraint"] = {"pack": {"required": "host"}}
    world.apply(world.set([small(inherits)], **top(world, "rack")))
    world.wait_pods(2, 2)


def test_tas22_old_and_empty_spellings_are_refused_on_create(world: World) -> None:
    name = bind(world)
    for bad in (
        {"topologyName": name, "packDomain": "rack"},
        {"topologyName": name},
        {"topologyName": name, "pack": {}},
        {"topologyName": name, "packDomain": "rack", "pack": {"required": "rack"}},
    ):
        for obj in (
            world.set([world.clique("a", 1)], topologyConstraint=bad),
            world.set([{**world.clique("a", 1), "topologyConstraint": bad}]),
            world.set([world.clique("a", 1)], [{"name": "g", "cliqueNames": ["a"], "topologyConstraint": bad}]),
        ):
            code, text = refused(lambda o=obj: world.apply(o))  # type: ignore[misc]
            assert code in (403, 422), (bad, text)
            assert "pack" in text
    world.add_nodes(1)
    preferred = {"topologyName": name, "pack": {"preferred": "rack"}}
    world.apply(world.set([world.clique("a", 1)], topologyConstraint=preferred))
    world.wait_pods(1, 1)


@pytest.mark.slow
def test_tas23_preferred_levels_at_every_level(world: World) -> None:
    name = bind(world)
    cliques = [world.clique("worker", 1), preferring(world.clique("router", 1), "host")]
    group = preferring({"name": "workers", "cliqueNames": ["worker"], "replicas": 2, "minAvailable": 1}, "host")
    whole = {"topologyName": name, "pack": {"required": "block", "preferred": "rack"}}
    up(world, world.set(cliques, [group], topologyConstraint=whole), 3)
    gang = podgang(world)
    assert gang["spec"]["topologyConstraint"]["packConstraint"] == {"required": KEY["block"], "preferred": KEY["rack"]}
    assert constraints(gang) == {"w-0-router": {"preferred": KEY["host"]}}
    scaled = podgang(world, "w-0-workers-0")
    assert scaled["spec"]["topologyConstraint"]["packConstraint"] == {"preferred": KEY["host"]}
    world.wait(lambda: levels_condition(world) == AVAILABLE, "the levels to be found")


def bind(world: World, name: str = "topology", levels: Sequence[tuple[str, str]] = ()) -> str:
    """Create a ClusterTopologyBinding of this world; return its name."""
    listed = levels or [(domain, f"kubernetes.io/{key}") for domain, key in LEVELS]
    found = f"{world.namespace}-{name}"
    spec = {"levels": [{"domain": domain, "key": key} for domain, key in listed]}
    metadata = {"name": found}
    world.post(
        BINDINGS,
        {"apiVersion": "grove.io/v1alpha1", "kind": "ClusterTopologyBinding", "metadata": metadata, "spec": spec},
    )
    return found


def top(world: World, domain: str) -> dict[str, Any]:
    return {"topologyConstraint": {"topologyName": f"{world.namespace}-topology", "pack": {"required": domain}}}


def pack(part: Object, domain: str, world: World) -> Object:
    return {**part, **top(world, domain)}


def preferring(part: Object, domain: str) -> Object:
    return {**part, "topologyConstraint": {"pack": {"preferred": domain}}}


def small(clique: Object) -> Object:
    """Two of these pods fit on one node."""
    for container in clique["spec"]["podSpec"]["containers"]:
        container["resources"] = {"requests": {"memory": "40Mi"}}
    return clique


def up(world: World, obj: Object, pods: int) -> None:
    world.add_nodes(28)
    world.apply(obj)
    world.wait_pods(pods, pods, 40)


def domains(pods: Sequence[Object], size: int) -> int:
    """Return in how many domains of `size` nodes these pods are."""
    assert pods
    return len({int(pod["spec"]["nodeName"][-2:]) // size for pod in pods})


def podgang(world: World, name: str = "w-0") -> Object:
    return world.request("GET", world.path("podgangs", name, "/apis/scheduler.grove.io/v1alpha1"))


def constraints(gang: Object) -> dict[str, Object]:
    groups = gang["spec"]["podgroups"]
    return {g["name"]: g["topologyConstraint"]["packConstraint"] for g in groups if "topologyConstraint" in g}


def scheduled_message(world: World) -> str:
    return world.gang_condition("w-0", "Scheduled")


def levels_condition(world: World) -> tuple[str, str]:
    found = (world.get_set("w").get("status") or {}).get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in found if c["type"] == "TopologyLevelsUnavailable"), ("", ""))
