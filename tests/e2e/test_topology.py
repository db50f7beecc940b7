"""Grove's topology scenarios (TAS), on both targets: 28 nodes, 7 a rack, 14 a block, one zone.

Where Grove looks at KAI's PodGroup, these look at our PodGang, which carries the same constraints.
"""

import pytest

from tests import crds
from tests.e2e.topology import (
    AVAILABLE,
    Shape,
    bind,
    group,
    levels_condition,
    need,
    pack,
    podgang,
    preferring,
    scheduled_message,
    small,
    together,
    top,
    topologies,
    up,
    wait_gangs,
)
from tests.e2e.world import BINDINGS, MERGE, Object, World, refused


def test_tas2_cliques_have_constraints_of_their_own(world: World) -> None:
    bind(world)
    cliques = [
        pack(world.clique("worker-rack", 3), "rack", world),
        pack(world.clique("worker-block", 4), "block", world),
    ]
    up(world, world.set(cliques), 7)
    assert together(world.pods("worker-rack"), 3, "rack")
    assert together(world.pods("worker-block"), 4, "block")
    want = {"w-0-worker-rack": (3, need("rack")), "w-0-worker-block": (4, need("block"))}
    wait_gangs(world, {"w-0": Shape(None, want)})


@pytest.mark.slow
def test_tas3_the_whole_set_in_one_rack(world: World) -> None:
    bind(world)
    workers = group("workers", ["worker"], 2, 2)
    up(world, world.set([world.clique("worker", 1), world.clique("router", 2)], [workers], **top(world, "rack")), 4)
    assert together(world.pods(), 4, "rack")
    want = {"w-0-router": (2, None), "w-0-workers-0-worker": (1, None), "w-0-workers-1-worker": (1, None)}
    wait_gangs(world, {"w-0": Shape(need("rack"), want)})


@pytest.mark.slow
def test_tas4_each_group_replica_in_a_rack(world: World) -> None:
    bind(world)
    workers = pack(group("workers", ["worker"], 2, 2), "rack", world)
    up(world, world.set([world.clique("worker", 3), world.clique("router", 2)], [workers]), 8)
    for index in range(2):
        assert together(world.pods(f"workers-{index}-worker"), 3, "rack")
    cliques = {"w-0-router": (2, None), "w-0-workers-0-worker": (3, None), "w-0-workers-1-worker": (3, None)}
    parts = {f"w-0-workers-{index}": ([f"w-0-workers-{index}-worker"], need("rack")) for index in range(2)}
    wait_gangs(world, {"w-0": Shape(None, cliques, parts)})
    world.wait(lambda: levels_condition(world) == AVAILABLE, "the levels to be found")


@pytest.mark.slow
def test_tas5_a_clique_on_one_host(world: World) -> None:
    bind(world)
    up(world, world.set([pack(small(world.clique("worker", 2)), "host", world)]), 2)
    assert together(world.pods(), 2, "host")
    wait_gangs(world, {"w-0": Shape(None, {"w-0-worker": (2, need("host"))})})


@pytest.mark.slow
def test_tas6_a_set_in_one_zone(world: World) -> None:
    bind(world)
    up(world, world.set([world.clique("worker", 4)], **top(world, "zone")), 4)
    assert together(world.pods(), 4, "zone")
    wait_gangs(world, {"w-0": Shape(need("zone"), {"w-0-worker": (4, None)})})


@pytest.mark.slow
def test_tas7_no_constraints_at_all(world: World) -> None:
    up(world, world.set([world.clique("worker", 2)], [group("workers", ["worker"], 2, 2)]), 4)
    wait_gangs(world, {"w-0": Shape(None, {f"w-0-workers-{index}-worker": (2, None) for index in range(2)})})


def test_tas8_three_levels_inside_each_other(world: World) -> None:
    bind(world)
    names = ("prefill", "decode")
    cliques = [pack(small(world.clique(name, 2)), "host", world) for name in names]
    inference = pack(group("inference", names, 2, 2), "rack", world)
    up(world, world.set(cliques, [inference], **top(world, "block")), 8)
    assert together(world.pods(), 8, "block")
    parts = {}
    for index in range(2):
        found = [world.pods(f"{index}-{name}") for name in names]
        assert all(together(pods, 2, "host") for pods in found)
        assert together([pod for pods in found for pod in pods], 4, "rack")
        mine = [f"w-0-inference-{index}-{name}" for name in names]
        parts[f"w-0-inference-{index}"] = (mine, need("rack"))
    want = {name: (2, need("host")) for mine, _ in parts.values() for name in mine}
    wait_gangs(world, {"w-0": Shape(need("block"), want, parts)})


@pytest.mark.slow
def test_tas9_a_clique_on_a_host_of_the_sets_block(world: World) -> None:
    bind(world)
    up(world, world.set([pack(small(world.clique("worker", 2)), "host", world)], **top(world, "block")), 2)
    assert together(world.pods(), 2, "host")
    wait_gangs(world, {"w-0": Shape(need("block"), {"w-0-worker": (2, need("host"))})})


@pytest.mark.slow
def test_tas10_scaled_gangs_carry_their_groups_constraint(world: World) -> None:
    bind(world)
    workers = pack(group("workers", ["worker"], 3, 1), "rack", world)
    up(world, world.set([world.clique("worker", 2)], [workers], **top(world, "block")), 6)
    for index in range(3):
        assert together(world.pods(f"workers-{index}-worker"), 2, "rack")
    first = "w-0-workers-0-worker"
    want = {"w-0": Shape(need("block"), {first: (2, None)}, {"w-0-workers-0": ([first], need("rack"))})}
    for index in range(2):
        want[f"w-0-workers-{index}"] = Shape(need("rack"), {f"w-0-workers-{index + 1}-worker": (2, None)})
    wait_gangs(world, want)


@pytest.mark.slow
def test_tas11_a_group_in_a_rack_with_its_clique_on_a_host(world: World) -> None:
    bind(world)
    workers = pack(group("workers", ["worker"], 2, 2), "rack", world)
    up(world, world.set([pack(small(world.clique("worker", 2)), "host", world)], [workers]), 4)
    for index in range(2):
        assert together(world.pods(f"workers-{index}-worker"), 2, "host")
    parts = {f"w-0-workers-{index}": ([f"w-0-workers-{index}-worker"], need("rack")) for index in range(2)}
    want = {name: (2, need("host")) for (name,), _ in parts.values()}
    wait_gangs(world, {"w-0": Shape(None, want, parts)})


@pytest.mark.slow
def test_tas12_many_group_replicas_stay_in_the_sets_block(world: World) -> None:
    bind(world)
    cliques = [pack(small(world.clique("worker", 2)), "host", world)]
    up(world, world.set(cliques, [group("workers", ["worker"], 10, 3)], **top(world, "block")), 20)
    for index in range(10):
        assert together(world.pods(f"workers-{index}-worker"), 2, "host")
    assert together(world.pods(), 20, "block"), "the scaled gangs are where their base gang is"
    on_hosts = [{f"w-0-workers-{index}-worker": (2, need("host"))} for index in range(10)]
    want = {"w-0": Shape(need("block"), on_hosts[0] | on_hosts[1] | on_hosts[2])}
    wait_gangs(world, want | {f"w-0-workers-{index}": Shape(need("block"), on_hosts[index + 3]) for index in range(7)})


def test_tas13_a_gang_that_no_rack_can_hold_runs_nothing_and_says_why(world: World) -> None:
    bind(world)
    world.add_nodes(28)
    world.apply(world.set([world.clique("worker", 10)], **top(world, "rack")))
    world.wait_pods(10, 0)
    world.wait(lambda: "room for 7 of 10" in scheduled_message(world), "the reason in the gang's condition")
    world.wait(lambda: any("room for 7 of 10" in text for text in events(world, "GangUnschedulable")), "an event")
    world.stays(
        lambda: [(p["status"]["phase"], p["spec"].get("nodeName")) for p in world.pods()] == [("Pending", None)] * 10,
        "ten pending pods, none of them with a node",
    )
    wait_gangs(world, {"w-0": Shape(need("rack"), {"w-0-worker": (10, None)})})


def events(world: World, reason: str) -> list[str]:
    """Return the messages of all events of this reason."""
    listed = world.request("GET", world.path("events", group="/api/v1"))["items"]
    return [str(event["message"]) for event in listed if event["reason"] == reason]


@pytest.mark.slow
def test_tas14_each_set_replica_in_a_rack(world: World) -> None:
    bind(world)
    up(world, world.set([world.clique("worker", 2)], replicas=2, **top(world, "rack")), 4)
    for index in range(2):
        assert together(world.pods(f"w-{index}-worker"), 2, "rack")
    wait_gangs(world, {f"w-{index}": Shape(need("rack"), {f"w-{index}-worker": (2, None)}) for index in range(2)})


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2], ids=["tas15", "tas16"])
def test_tas15_and_tas16_disaggregated_groups_in_racks_of_a_block(world: World, replicas: int) -> None:
    """TAS16 has two set replicas, and a host as constraint of the prefill workers; a block has no room for both."""
    bind(world)
    parts = {"decoder": ("dworker", "dleader"), "prefill": ("pworker", "pleader")}
    alone = {"pworker": need("host")} if replicas == 2 else {}
    cliques = {name: world.clique(name, 1) for names in parts.values() for name in names}
    for name in alone:
        cliques[name] = pack(cliques[name], "host", world)
    groups = [pack(group(part, names, 2, 1), "rack", world) for part, names in parts.items()]
    listed = [*cliques.values(), world.clique("router", 2)]
    up(world, world.set(listed, groups, replicas=replicas, **top(world, "block")), 10 * replicas)
    want = {}
    for index in range(replicas):
        base = f"w-{index}"
        mine = [p for p in world.pods() if p["metadata"]["name"].startswith(f"{base}-")]
        assert together(mine, 10, "block"), "the scaled gangs are where their base gang is"
        for part in parts:
            for j in range(2):
                assert together([p for p in mine if f"-{part}-{j}-" in p["metadata"]["name"]], 2, "rack")
        members = {(part, j): [f"{base}-{part}-{j}-{name}" for name in parts[part]] for part in parts for j in range(2)}
        least = {key: {name: (1, alone.get(name.rpartition("-")[2])) for name in members[key]} for key in members}
        first = least["decoder", 0] | least["prefill", 0] | {f"{base}-router": (2, None)}
        configs = {f"{base}-{part}-0": (members[part, 0], need("rack")) for part in parts}
        want[base] = Shape(need("block"), first, configs)
        want |= {f"{base}-{part}-0": Shape(need("rack"), least[part, 1]) for part in parts}
    wait_gangs(world, want)


@pytest.mark.slow
def test_tas17_two_bindings_for_two_kinds_of_nodes(world: World) -> None:
    crds.install_scheduler(world.cluster, "kai")
    world.add_nodes(28)
    for index, name in enumerate(world.nodes[14:]):
        labels = {"kubernetes.io/rack": None, f"{world.namespace}/block": f"b{index // 7}"}
        labels |= {f"{world.namespace}/nvlink": f"d{index // 7}", "gpu": "gb200"}
        world.request("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}}, MERGE)
    levels = {
        "h100": (("block", "kubernetes.io/rack"), ("host", "kubernetes.io/hostname")),
        "gb200": (
            ("block", f"{world.namespace}/block"),
            ("rack", f"{world.namespace}/nvlink"),
            ("host", "kubernetes.io/hostname"),
        ),
    }
    bindings = {name: bind(world, name, listed) for name, listed in levels.items()}
    topologies_wanted = {bindings[name]: [key for _, key in listed] for name, listed in levels.items()}
    world.wait(lambda: topologies_wanted.items() <= topologies(world).items(), "KAI's Topologies")
    for name, binding in bindings.items():
        constraint = {"topologyName": binding, "pack": {"required": "block"}}
        obj = world.set([world.clique("worker", 2)], topologyConstraint=constraint)
        obj["metadata"]["name"] = name
        world.apply(obj)
    world.wait_pods(4, 4)
    for name, segment in (("h100", world.nodes[:14]), ("gb200", world.nodes[14:])):
        mine = [pod for pod in world.pods() if pod["metadata"]["name"].startswith(f"{name}-")]
        assert {pod["spec"]["nodeName"] for pod in mine} <= set(segment)
        assert together(mine, 2, "rack"), "of the node labels; the bindings call these domains blocks"
        block = {"required": dict(levels[name])["block"]}
        assert podgang(world, f"{name}-0")["spec"]["topologyConstraint"]["packConstraint"] == block
        assert podgang(world, f"{name}-0")["metadata"]["annotations"]["grove.io/topology-name"] == bindings[name]


def test_tas20_a_binding_that_goes_takes_its_constraints_with_it(world: World) -> None:
    name = bind(world)
    world.add_nodes(2)
    world.apply(world.set([world.clique("worker", 2)], replicas=0, **top(world, "rack")))
    world.wait(lambda: levels_condition(world) == AVAILABLE, "the levels to be found")
    world.request("DELETE", f"{BINDINGS}/{name}")
    world.wait(lambda: levels_condition(world) == ("Unknown", "ClusterTopologyNotFound"), "the loss to be noticed")
    world.scale("podgangsets", "w", 1)
    world.wait_pods(2, 2)
    wait_gangs(world, {"w-0": Shape(None, {"w-0-worker": (2, None)})})
    for obj in (podgang(world), world.request("GET", world.path("podcliques", "w-0-worker"))):
        assert "grove.io/topology-name" not in (obj["metadata"].get("annotations") or {})
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
    wait_gangs(world, {"w-0": Shape(need("rack"), {"w-0-worker": (2, need("host"))})})


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
    workers = preferring(group("workers", ["worker"], 2, 1), "host")
    whole = {"topologyName": name, "pack": {"required": "block", "preferred": "rack"}}
    up(world, world.set(cliques, [workers], topologyConstraint=whole), 3)
    host, first = need(preferred="host"), "w-0-workers-0-worker"
    base = {"w-0-router": (1, host), first: (1, None)}
    want = {"w-0": Shape(need("block", "rack"), base, {"w-0-workers-0": ([first], host)})}
    wait_gangs(world, want | {"w-0-workers-0": Shape(host, {"w-0-workers-1-worker": (1, None)})})
    world.wait(lambda: levels_condition(world) == AVAILABLE, "the levels to be found")
