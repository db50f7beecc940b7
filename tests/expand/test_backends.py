"""What other schedulers get: groups in the shapes of Grove's topology scenarios, pods, and what an update keeps."""

from typing import Any

import jsonpatch
import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import gangs, injection, model, parse, whole
from grovekeeper.expand.backends import kai, known, volcano

LEVELS = {"zone": "k/zone", "block": "k/block", "rack": "k/rack", "host": "k/host"}
BINDING: raw.Object = {
    "apiVersion": names.API_VERSION,
    "kind": names.TOPOLOGY_BINDING,
    "metadata": {"name": "topo", "uid": "b1"},
    "spec": {"levels": [{"domain": domain, "key": key} for domain, key in LEVELS.items()]},
}
KINDS = [names.PODGANGSET, names.PODCLIQUESET]


def need(required: str | None = None, preferred: str | None = None) -> raw.Object:
    pack = {word: value for word, value in (("required", required), ("preferred", preferred)) if value}
    return {"topologyConstraint": {"topologyName": "topo", "pack": pack}}


def clique(
    name: str, replicas: int = 1, minimum: int | None = None, scheduler: str = "kai-scheduler", **more: Any
) -> raw.Object:
    pod_spec = {"containers": [{"name": "c"}], "schedulerName": scheduler}
    spec = {"replicas": replicas, "minAvailable": replicas if minimum is None else minimum, "podSpec": pod_spec}
    return {"name": name, "spec": spec, **more}


def group(name: str, cliques: list[str], replicas: int, minimum: int, **more: Any) -> raw.Object:
    return {"name": name, "cliqueNames": cliques, "replicas": replicas, "minAvailable": minimum, **more}


def podset(cliques: list[raw.Object], groups: list[raw.Object] = [], kind: str = KINDS[1], **more: Any) -> raw.Object:  # noqa: B006 - not changed
    metadata = more.pop("metadata", {"labels": {names.KAI_QUEUE: "team"}})
    template = {"cliques": cliques, "podCliqueScalingGroups": groups, **more}
    metadata = {"name": "w", "namespace": "ns", "uid": "s1", **metadata}
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": {"replicas": 1, "template": template},
    }


def groups_of(obj: raw.Object, live: model.Live | None = None) -> dict[str, raw.Object]:
    w = parse.workload(obj)
    found = known.of(w)
    assert found is not None
    result = {}
    for gang in gangs.of_replica(w, 0, live or model.Live()):
        podgang = gangs.podgang(w, gang, {}, LEVELS, known.gang_annotations(found, w, LEVELS))
        result[gang.name] = known.group(found, w, podgang, "topo")
    return result


def level(constraint: raw.Object | None) -> tuple[str | None, str | None] | None:
    """Return (required, preferred) without the prefix, having checked the topology's name."""
    if constraint is None:
        return None
    assert constraint["topology"] == "topo"
    words = (constraint.get(word) for word in ("requiredTopologyLevel", "preferredTopologyLevel"))
    required, preferred = (word and word.removeprefix("k/") for word in words)
    return required, preferred


def tree(found: raw.Object) -> dict[str, Any]:
    """Return a KAI group as {top, min, subgroup name without w-0-: (least, parent, level)}."""
    spec = found["spec"]
    result: dict[str, Any] = {"top": level(spec.get("topologyConstraint")), "min": spec["minMember"]}
    for each in spec.get("subGroups", ()):
        least = each["minSubGroup"] if "minSubGroup" in each else each["minMember"]
        assert ("minSubGroup" in each) != ("minMember" in each)
        parent = each.get("parent", "").removeprefix("w-0-") or None
        result[each["name"].removeprefix("w-0-")] = (least, parent, level(each.get("topologyConstraint")))
    return result


NAMES = ["dworker", "dleader", "pworker", "pleader"]
DISAGGREGATED = podset(
    [*(clique(name) for name in NAMES), clique("router", 2)],
    [group("decoder", NAMES[:2], 2, 1, **need("rack")), group("prefill", NAMES[2:], 2, 1, **need("rack"))],
    **need("block"),
)
SHAPES: dict[str, tuple[raw.Object, dict[str, dict[str, Any]]]] = {
    "tas2": (
        podset([clique("rack", 3, **need("rack")), clique("block", 4, **need("block"))]),
        {"w-0": {"top": None, "min": 7, "rack": (3, None, ("rack", None)), "block": (4, None, ("block", None))}},
    ),
    "tas3": (
        podset([clique("worker"), clique("router", 2)], [group("workers", ["worker"], 2, 2)], **need("rack")),
        {
            "w-0": {
                "top": ("rack", None), "min": 4,
                "workers-0-worker": (1, None, None), "workers-1-worker": (1, None, None), "router": (2, None, None),
            }
        },
    ),
    "tas4": (
        podset([clique("worker", 3), clique("router", 2)], [group("workers", ["worker"], 2, 2, **need("rack"))]),
        {
            "w-0": {
                "top": None, "min": 8,
                "workers-0": (1, None, ("rack", None)), "workers-1": (1, None, ("rack", None)),
                "workers-0-worker": (3, "workers-0", None), "workers-1-worker": (3, "workers-1", None),
                "router": (2, None, None),
            }
        },
    ),
    "tas5": (
        podset([clique("worker", 2, **need("host"))]),
        {"w-0": {"top": None, "min": 2, "worker": (2, None, ("host", None))}},
    ),
    "tas6": (
        podset([clique("worker", 4)], **need("zone")),
        {"w-0": {"top": ("zone", None), "min": 4, "worker": (4, None, None)}},
    ),
    "tas7": (
        podset([clique("worker", 2)], [group("workers", ["worker"], 2, 2)]),
        {"w-0": {"top": None, "min": 4, "workers-0-worker": (2, None, None), "workers-1-worker": (2, None, None)}},
    ),
    "tas8": (
        podset(
            [clique("prefill", 2, **need("host")), clique("decode", 2, **need("host"))],
            [group("inf", ["prefill", "decode"], 2, 2, **need("rack"))],
            **need("block"),
        ),
        {
            "w-0": {
                "top": ("block", None), "min": 8,
                "inf-0": (2, None, ("rack", None)), "inf-1": (2, None, ("rack", None)),
                "inf-0-prefill": (2, "inf-0", ("host", None)), "inf-0-decode": (2, "inf-0", ("host", None)),
                "inf-1-prefill": (2, "inf-1", ("host", None)), "inf-1-decode": (2, "inf-1", ("host", None)),
            }
        },
    ),
    "tas9": (
        podset([clique("worker", 2, **need("host"))], **need("block")),
        {"w-0": {"top": ("block", None), "min": 2, "worker": (2, None, ("host", None))}},
    ),
    "tas10": (
        podset([clique("worker", 2)], [group("workers", ["worker"], 3, 1, **need("rack"))], **need("block")),
        {
            "w-0": {
                "top": ("block", None), "min": 2,
                "workers-0": (1, None, ("rack", None)), "workers-0-worker": (2, "workers-0", None),
            },
            "w-0-workers-0": {"top": ("rack", None), "min": 2, "workers-1-worker": (2, None, None)},
            "w-0-workers-1": {"top": ("rack", None), "min": 2, "workers-2-worker": (2, None, None)},
        },
    ),
    "tas11": (
        podset([clique("worker", 2, **need("host"))], [group("workers", ["worker"], 2, 2, **need("rack"))]),
        {
            "w-0": {
                "top": None, "min": 4,
                "workers-0": (1, None, ("rack", None)), "workers-1": (1, None, ("rack", None)),
                "workers-0-worker": (2, "workers-0", ("host", None)),
                "workers-1-worker": (2, "workers-1", ("host", None)),
            }
        },
    ),
    "tas12": (
        podset([clique("worker", 2, **need("host"))], [group("workers", ["worker"], 10, 3)], **need("block")),
        {
            "w-0": {
                "top": ("block", None), "min": 6,
                **{f"workers-{j}-worker": (2, None, ("host", None)) for j in range(3)},
            },
            **{
                f"w-0-workers-{j}": {
                    "top": ("block", None), "min": 2, f"workers-{j + 3}-worker": (2, None, ("host", None)),
                }
                for j in range(7)
            },
        },
    ),
    "tas13": (
        podset([clique("worker", 10)], **need("rack")),
        {"w-0": {"top": ("rack", None), "min": 10, "worker": (10, None, None)}},
    ),
    "tas14": (
        podset([clique("worker", 2)], **need("rack")),
        {"w-0": {"top": ("rack", None), "min": 2, "worker": (2, None, None)}},
    ),
    "tas15 and tas16": (
        DISAGGREGATED,
        {
            "w-0": {
                "top": ("block", None), "min": 6,
                "decoder-0": (2, None, ("rack", None)), "prefill-0": (2, None, ("rack", None)),
                "decoder-0-dworker": (1, "decoder-0", None), "decoder-0-dleader": (1, "decoder-0", None),
                "prefill-0-pworker": (1, "prefill-0", None), "prefill-0-pleader": (1, "prefill-0", None),
                "router": (2, None, None),
            },
            "w-0-decoder-0": {
                "top": ("rack", None), "min": 2,
                "decoder-1-dworker": (1, None, None), "decoder-1-dleader": (1, None, None),
            },
            "w-0-prefill-0": {
                "top": ("rack", None), "min": 2,
                "prefill-1-pworker": (1, None, None), "prefill-1-pleader": (1, None, None),
            },
        },
    ),
    "tas23": (
        podset(
            [clique("worker"), clique("router", **need(None, "host"))],
            [group("workers", ["worker"], 2, 1, **need(None, "host"))],
            **need("block", "rack"),
        ),
        {
            "w-0": {
                "top": ("block", "rack"), "min": 2,
                "workers-0": (1, None, (None, "host")), "workers-0-worker": (1, "workers-0", None),
                "router": (1, None, (None, "host")),
            },
            "w-0-workers-0": {"top": (None, "host"), "min": 1, "workers-1-worker": (1, None, None)},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_kai_gets_the_tree_of_a_topology_scenario(name: str, kind: str) -> None:
    obj, want = SHAPES[name]
    found = groups_of({**obj, "kind": kind})
    assert {gang: tree(each) for gang, each in found.items()} == want


def test_a_kai_group_has_queue_priority_owner_and_the_podgangs_marks() -> None:
    obj = podset(
        [clique("a")],
        metadata={"annotations": {names.KAI_QUEUE: "team", "x": "y"}, "labels": {"l": "m"}},
        priorityClassName="high",
    )
    found = groups_of(obj)["w-0"]
    assert found["spec"]["queue"] == "team"
    assert found["spec"]["priorityClassName"] == "high"
    metadata = found["metadata"]
    assert (
        metadata["labels"] | {"l": "m", names.KAI_QUEUE: "team", names.LABEL_SCHEDULER: "kai-scheduler"}
        == metadata["labels"]
    )
    assert metadata["annotations"]["x"] == "y"
    assert metadata["annotations"][names.ANNOTATION_KAI_SKIP] == "true"
    assert [(ref["kind"], ref["name"], ref["controller"]) for ref in metadata["ownerReferences"]] == [
        ("PodGang", "w-0", True)
    ]


def test_a_clique_at_zero_has_no_subgroup_and_an_empty_parent_is_left_out() -> None:
    obj = podset([clique("a", 2), clique("b", 1)], [group("g", ["b"], 1, 1, **need("rack"))])
    found = groups_of(obj, model.Live(cliques={"w-0-g-0-b": 0}))
    assert tree(found["w-0"]) == {"top": None, "min": 2, "a": (2, None, None)}


def test_a_clique_without_a_queue_takes_the_first_that_names_one() -> None:
    obj = podset([clique("a"), clique("b", labels={names.KAI_QUEUE: "q"})], metadata={})
    assert groups_of(obj)["w-0"]["spec"]["queue"] == "q"


def test_volcano_gets_one_policy_a_clique_with_pods() -> None:
    obj = podset(
        [clique("a", 2, 1, "volcano"), clique("b", 3, scheduler="volcano")], priorityClassName="high", metadata={}
    )
    assert groups_of(obj, model.Live(cliques={"w-0-b": 0}))["w-0"]["spec"]["minMember"] == 1
    assert groups_of(obj)["w-0"]["spec"] == {
        "minMember": 4,
        "queue": "default",
        "priorityClassName": "high",
        "subGroupPolicy": [
            {
                "name": f"w-0-{name}",
                "labelSelector": {"matchLabels": {names.LABEL_PODCLIQUE: f"w-0-{name}"}},
                "matchLabelKeys": [names.LABEL_PODCLIQUE],
                "subGroupSize": size,
                "minSubGroups": 1,
            }
            for name, size in (("a", 1), ("b", 3))
        ],
    }
    named = podset([clique("a", scheduler="volcano")], metadata={"annotations": {names.ANNOTATION_VOLCANO_QUEUE: "q"}})
    assert groups_of(named)["w-0"]["spec"]["queue"] == "q"


def test_kube_scheduler_gets_one_number_and_the_pods_priority() -> None:
    obj = podset(
        [clique("a", 3, 2, "podgroup"), clique("b", 1, scheduler="podgroup")], metadata={}, priorityClassName="high"
    )
    found = groups_of(obj)["w-0"]
    assert found["apiVersion"] == "scheduling.k8s.io/v1beta1"
    assert found["spec"] == {
        "schedulingPolicy": {"gang": {"minCount": 3}},
        "disruptionMode": {"all": {}},
        "priorityClassName": "high",
    }


def expanded(obj: raw.Object, kind: str = "Pod") -> list[raw.Object]:
    found = whole.objects(
        obj, injection.Settings("gate"), jsonpatch.apply_patch, LEVELS, topology=kai.topology_name(BINDING)
    )
    return [each for each in found if each["kind"] == kind]


@pytest.mark.parametrize(
    ("scheduler", "want"),
    [
        ("kai-scheduler", ("kai-scheduler", {names.ANNOTATION_KAI_SKIP: "true", names.ANNOTATION_KAI_GROUP: "w-0"})),
        ("volcano", ("volcano", dict.fromkeys(names.ANNOTATIONS_VOLCANO_GROUP, "w-0"))),
        ("podgroup", ("default-scheduler", {})),
        ("grovekeeper", ("default-scheduler", {})),
    ],
)
def test_expand_prints_pods_as_their_scheduler_gets_them(scheduler: str, want: tuple[str, dict[str, str]]) -> None:
    found = expanded(podset([clique("a", 2, 1, scheduler)]))
    assert len(found) == 2
    for pod in found:
        assert pod["spec"]["schedulerName"] == want[0]
        assert pod["spec"]["schedulingGates"] == [{"name": names.GATE}]
        assert want[1].items() <= pod["metadata"]["annotations"].items()
        subgroup = pod["metadata"]["labels"].get(names.LABEL_KAI_SUBGROUP)
        assert subgroup == ("w-0-a" if scheduler == "kai-scheduler" else None)
    joined = [pod["spec"].get("schedulingGroup") for pod in found]
    assert joined == ([{"podGroupName": "w-0"}, None] if scheduler == "podgroup" else [None, None])


def test_expand_prints_the_group_after_its_podgang_with_a_bindings_levels() -> None:
    found = expanded(SHAPES["tas10"][0], "PodGroup")
    assert [tree(each) for each in found] == list(SHAPES["tas10"][1].values())
    gangs_ = expanded(SHAPES["tas10"][0], "PodGang")
    assert {each["metadata"]["labels"][names.LABEL_SCHEDULER] for each in gangs_} == {"kai-scheduler"}
    assert {each["metadata"]["annotations"][names.ANNOTATION_TOPOLOGY] for each in gangs_} == {"topo"}
    assert kai.topology_name(None) is None
    assert expanded(podset([clique("a", scheduler="")]), "PodGroup") == []


def test_a_binding_kept_by_somebody_else_is_named_in_constraints() -> None:
    other = {
        **BINDING,
        "spec": {
            **BINDING["spec"],
            "schedulerTopologyBindings": [{"schedulerName": "kai-scheduler", "topologyReference": "theirs"}],
        },
    }
    found = whole.objects(
        SHAPES["tas6"][0], injection.Settings("gate"), jsonpatch.apply_patch, LEVELS, topology=kai.topology_name(other)
    )
    spec = next(each["spec"] for each in found if each["kind"] == "PodGroup")
    assert spec["topologyConstraint"] == {"topology": "theirs", "requiredTopologyLevel": "k/zone"}


def test_a_topology_has_the_bindings_keys_in_order_and_belongs_to_it() -> None:
    found = kai.topology(BINDING)
    assert kai.level_keys(found) == list(LEVELS.values())
    assert found["metadata"]["name"] == "topo"
    assert found["metadata"]["ownerReferences"][0]["uid"] == "b1"


def stored(found: raw.Object, **spec: Any) -> raw.Object:
    metadata = {**found["metadata"], "resourceVersion": "7"}
    return {**found, "metadata": metadata, "spec": {**found["spec"], **spec}}


def after(live: raw.Object, desired: raw.Object) -> raw.Object | None:
    """Return what an update makes of a living group; None where there is nothing to do."""
    found = known.BACKENDS["kai-scheduler"]
    operations = known.operations(found, live, desired)
    return jsonpatch.apply_patch(live, operations) if operations else None


def test_a_group_in_line_is_left_alone_whatever_its_scheduler_added() -> None:
    desired = groups_of(SHAPES["tas8"][0])["w-0"]
    live = stored(desired, markUnschedulable=True, schedulingBackoff=1, queue="moved")
    live["metadata"]["labels"] = {
        **live["metadata"]["labels"],
        names.KAI_QUEUE: "moved",
        names.LABEL_KAI_NODE_POOL: "p",
    }
    assert after(live, desired) is None


def test_an_update_keeps_what_is_the_schedulers_and_takes_away_what_left_the_gang() -> None:
    desired = groups_of(SHAPES["tas9"][0])["w-0"]
    live = stored(
        groups_of(SHAPES["tas8"][0])["w-0"],
        markUnschedulable=True,
        schedulingBackoff=1,
        queue="moved",
        priorityClassName="x",
    )
    live["metadata"]["labels"] = {
        **live["metadata"]["labels"],
        names.LABEL_KAI_NODE_POOL: "p",
        names.KAI_QUEUE: "moved",
    }
    changed = after(live, desired)
    assert changed is not None
    assert changed["spec"] == {**desired["spec"], "markUnschedulable": True, "schedulingBackoff": 1, "queue": "moved"}
    assert changed["metadata"]["labels"][names.LABEL_KAI_NODE_POOL] == "p"
    assert changed["metadata"]["labels"][names.KAI_QUEUE] == "moved"
    assert after(changed, desired) is None


def test_a_group_that_somebody_changed_is_put_right() -> None:
    desired = groups_of(SHAPES["tas2"][0])["w-0"]
    changed = after(stored(desired, minMember=1), desired)
    assert changed is not None
    assert changed["spec"]["minMember"] == 7


def test_a_volcano_without_subgroup_policies_is_found_out_and_not_written_again() -> None:
    obj = podset([clique("a", 2, scheduler="volcano")], metadata={})
    desired = groups_of(obj)["w-0"]
    live = stored(desired)
    assert not known.is_pruned(volcano.VOLCANO, live, desired)
    del live["spec"]["subGroupPolicy"]
    assert known.is_pruned(volcano.VOLCANO, live, desired)
    assert known.operations(volcano.VOLCANO, live, desired) == []


KAI_SAYS = {"schedulingConditions": [{"status": "True", "reasons": [{"reason": "R", "message": "no  GPUs\nleft"}]}]}
VOLCANO_SAYS = {
    "conditions": [{"type": "Unschedulable", "status": "True", "message": "2/3 tasks in gang unschedulable"}]
}
UPSTREAM_SAYS = {
    "conditions": [
        {"type": "PodGroupInitiallyScheduled", "status": "False", "reason": "Unschedulable", "message": "minCount (3)"}
    ]
}


@pytest.mark.parametrize(
    ("name", "status", "want"),
    [
        ("kai-scheduler", KAI_SAYS, "no GPUs left"),
        ("kai-scheduler", {"schedulingConditions": [{"status": "True", "message": "old words"}]}, "old words"),
        ("kai-scheduler", {"schedulingConditions": [{"status": "False", "message": "gone"}]}, None),
        ("volcano", VOLCANO_SAYS, "2/3 tasks in gang unschedulable"),
        ("volcano", {"conditions": [*VOLCANO_SAYS["conditions"], {"type": "Scheduled", "status": "True"}]}, None),
        ("volcano", {"conditions": [{"type": "Other", "status": "True"}]}, None),
        ("podgroup", UPSTREAM_SAYS, "minCount (3)"),
        ("podgroup", {"conditions": [{**UPSTREAM_SAYS["conditions"][0], "message": ""}]}, "Unschedulable"),
        ("podgroup", {"conditions": [{**UPSTREAM_SAYS["conditions"][0], "status": "True"}]}, None),
        ("podgroup", None, None),
    ],
)
def test_what_a_scheduler_says_of_a_group_is_read(name: str, status: raw.Object | None, want: str | None) -> None:
    assert known.BACKENDS[name].why_not({"status": status}) == want
