"""The gang as a tree: shapes inside a clique, and what pods are to each other."""

from dataclasses import replace
from typing import Any

import pytest

from grovekeeper.placement import parts, place, request
from tests.placement.test_place import cluster, gang, group, node, spec


def pod(name: str, body: dict[str, Any], **labels: str) -> request.PodAsk:
    return request.PodAsk(name, name, body, labels)


def test_a_clique_with_pods_of_two_templates_is_counted_by_shape() -> None:
    big, small = spec(4), spec(1)
    pods = (pod("w-0", small), pod("w-1", big), pod("w-2", big))
    ask = gang(request.GroupAsk("w", pods, 3), required="rack")
    room = cluster(8)
    for index in (0, 1):  # r0 has two free nodes and two with one GPU left
        room.assume(f"busy-{index}", spec(3), f"n00{index}")
    found = place.place(ask, room)
    assert isinstance(found, request.Placement)
    assert {found.nodes["w-1"], found.nodes["w-2"]} == {"n002", "n003"}
    assert found.nodes["w-0"] in {"n000", "n001"}


def test_two_templates_that_do_not_fit_together_wait_and_the_text_names_the_larger() -> None:
    pods = (pod("w-0", spec(1)), pod("w-1", spec(4)), pod("w-2", spec(4)))
    room = cluster(4)
    for index in range(3):
        room.assume(f"busy-{index}", spec(2), f"n00{index}")
    found = place.place(gang(request.GroupAsk("w", pods, 3), required="rack"), room)
    assert isinstance(found, request.Reasons)
    assert "room for 1 of 2 w pods: 1 short of nvidia.com/gpu" in found.summary
    assert not found.never


def test_pods_that_differ_only_in_what_placement_does_not_read_are_one_part() -> None:
    bodies = [{**spec(1), "hostname": f"w-{i}"} for i in range(4)]
    for index, body in enumerate(bodies):
        body["containers"] = [{**body["containers"][0], "env": [{"name": "INDEX", "value": str(index)}]}]
    ask = gang(request.GroupAsk("w", tuple(pod(f"w-{i}", body) for i, body in enumerate(bodies)), 3))
    root = parts.tree(ask, cluster(2))
    assert isinstance(root, parts.Unit)
    assert [(len(part.pods), part.need) for part in root.leaves()] == [(4, 3)]


def test_a_clique_in_the_middle_of_an_update_keeps_its_rack() -> None:
    pods = (pod("w-0", spec(4)), pod("w-1", spec(2)), pod("w-2", spec(2)), pod("w-3", spec(4)))
    own = request.GroupAsk("w", pods, 4, request.Constraint("rack"))
    other = group("x", 1, 4)
    found = place.place(gang(own, other, required="block"), cluster(16))
    assert isinstance(found, request.Placement)
    assert len({int(found.nodes[each.name][1:]) // 4 for each in pods}) == 1


def port(number: int, **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "ports": [{"containerPort": number, "hostPort": number, **more}]}]}


def test_a_host_port_that_a_pod_of_others_has_is_not_offered() -> None:
    room = cluster(3)
    room.upsert_pod({"metadata": {"uid": "other"}, "spec": {**port(8080), "nodeName": "n001"}})
    pods = tuple(pod(f"w-{i}", port(8080)) for i in range(2))
    found = place.place(gang(request.GroupAsk("w", pods, 2)), room)
    assert isinstance(found, request.Placement)
    assert set(found.nodes.values()) == {"n000", "n002"}
    more = tuple(pod(f"w-{i}", port(8080)) for i in range(3))
    again = place.place(gang(request.GroupAsk("w", more, 3)), room)
    assert isinstance(again, request.Reasons)
    assert "1 short of hostPort/8080/TCP" in again.summary
    udp = place.place(
        gang(request.GroupAsk("w", tuple(replace(p, spec=port(8080, protocol="UDP")) for p in more), 3)), room
    )
    assert isinstance(udp, request.Placement)


def test_on_the_hosts_network_every_port_is_a_host_port_and_nodes_that_come_later_have_it_too() -> None:
    body = {"hostNetwork": True, "containers": [{"name": "c", "ports": [{"containerPort": 29500}]}]}
    room = cluster(1)
    ask = gang(request.GroupAsk("w", (pod("a", body), pod("b", body)), 2))
    assert isinstance(place.place(ask, room), request.Reasons)
    room.upsert_node(node(1))
    assert isinstance(place.place(ask, room), request.Placement)


def affine(kind: str, key: str, **labels: str) -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return spec(1, affinity={kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})


def resident(uid: str, where: str, body: dict[str, Any], namespace: str = "ns", **labels: str) -> dict[str, Any]:
    metadata = {"uid": uid, "name": uid, "namespace": namespace, "labels": labels}
    return {"metadata": metadata, "spec": {**body, "nodeName": where}}


@pytest.mark.parametrize(("key", "want"), [("kubernetes.io/hostname", 4), ("rack", 4), ("block", 2)])
def test_pods_that_repel_each_other_get_a_domain_each(key: str, want: int) -> None:
    body = affine("podAntiAffinity", key, app="w")
    pods = tuple(pod(f"w-{i}", body, app="w") for i in range(6))
    found = place.place(gang(request.GroupAsk("w", pods, 2)), cluster(16))
    assert isinstance(found, request.Placement)
    size = {"block": 8, "rack": 4}.get(key, 1)
    domains = [int(name[1:]) // size for name in found.nodes.values()]
    assert len(domains) == len(set(domains)) == min(6, 16 // size)
    assert len(domains) >= want, "pods above the minimum keep apart as well"


def test_anti_affinity_counts_in_both_directions_and_only_in_its_namespace() -> None:
    room = cluster(12)
    room.upsert_pod(resident("shy", "n000", affine("podAntiAffinity", "rack", app="w")))
    room.upsert_pod(resident("foreign", "n004", affine("podAntiAffinity", "rack", app="w"), namespace="elsewhere"))
    room.upsert_pod(resident("plain", "n008", spec(1), app="noisy"))
    body = affine("podAntiAffinity", "rack", app="noisy")
    found = place.place(gang(request.GroupAsk("w", (pod("w-0", body, app="w"),), 1)), room)
    assert isinstance(found, request.Placement)
    assert found.domains["rack"] == ("r1",)


def test_cliques_of_one_gang_that_repel_each_other_are_kept_apart() -> None:
    one = request.GroupAsk("a", (pod("a-0", affine("podAntiAffinity", "rack", app="b"), app="a"),), 1)
    two = request.GroupAsk("b", (pod("b-0", spec(1), app="b"),), 1)
    for groups in ((one, two), (two, one)):
        found = place.place(gang(*groups), cluster(8))
        assert isinstance(found, request.Placement)
        assert int(found.nodes["a-0"][1:]) // 4 != int(found.nodes["b-0"][1:]) // 4


def test_affinity_goes_where_the_peer_is_and_waits_where_there_is_none() -> None:
    room = cluster(12)
    ask = gang(request.GroupAsk("w", (pod("w-0", affine("podAffinity", "rack", app="cache"), app="w"),), 1))
    assert isinstance(place.place(ask, room), request.Reasons)
    room.upsert_pod(resident("cache", "n009", spec(1), app="cache"))
    found = place.place(ask, room)
    assert isinstance(found, request.Placement)
    assert found.domains["rack"] == ("r2",)


def test_pods_with_affinity_to_each_other_share_a_domain_and_a_peer_in_the_gang_will_do() -> None:
    room = cluster(12)
    for index in range(12):
        room.assume(f"busy-{index}", spec(2), f"n{index:03}")
    mates = tuple(pod(f"w-{i}", affine("podAffinity", "rack", app="w"), app="w") for i in range(8))
    guest = pod("g-0", affine("podAffinity", "rack", app="w"), app="g")
    ask = gang(request.GroupAsk("g", (guest,), 0), request.GroupAsk("w", mates, 8))
    found = place.place(ask, room)
    assert isinstance(found, request.Placement)
    assert len({int(found.nodes[each.name][1:]) // 4 for each in mates}) == 1
    seven = gang(request.GroupAsk("g", (guest,), 1), request.GroupAsk("w", mates[:7], 7))
    found = place.place(seven, room)
    assert isinstance(found, request.Placement)
    assert len({int(name[1:]) // 4 for name in found.nodes.values()}) == 1
