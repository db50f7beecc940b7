"""Validation of sets: one row a rule, with the path and a word of the message."""

import copy
from typing import Any

import jsonpatch
import pytest

from grovekeeper.api import defaults
from grovekeeper.api.validate import podgangset, topology, verdict
from tests.builders import clique, group, worked_example
from tests.builders import podgangset as build

T = "spec.template"
LOOP = [clique("a", startsAfter=["b"]), clique("b", startsAfter=["a"])]
EXPLICIT = {"cliqueStartupType": "CliqueStartupTypeExplicit"}


def faults(obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    filled = jsonpatch.apply_patch(obj, defaults.default(obj)) if obj["spec"]["template"]["cliques"] else obj
    before = jsonpatch.apply_patch(old, defaults.default(old)) if old else None
    return [(e.path, e.text()) for e in podgangset.validate(filled, before, verdict.Context()).errors]


def test_good_sets_have_no_faults() -> None:
    assert faults(worked_example()) == []
    assert faults(worked_example("PodCliqueSet")) == []


@pytest.mark.parametrize(
    ("obj", "path", "word"),
    [
        pytest.param(build(), f"{T}.cliques", "at least one clique", id="no cliques (trap 5)"),
        pytest.param(build(clique("a.b")), f"{T}.cliques[0].name", "DNS-1123 label", id="dots (trap 6)"),
        pytest.param(build(clique("a"), clique("a")), f"{T}.cliques[1].name", "already used", id="one name twice"),
        pytest.param(build(clique("a", 0)), f"{T}.cliques[0].spec.replicas", "above 0", id="no replicas"),
        pytest.param(build(clique("a", 1, minAvailable=2)), f"{T}.cliques[0].spec.minAvailable", "lower it", id="min"),
        pytest.param(build(*LOOP, **EXPLICIT), f"{T}.cliques", "circle", id="cycle"),
        pytest.param(
            build(clique("a", startsAfter=["a"]), **EXPLICIT),
            f"{T}.cliques[0].spec.startsAfter[0]",
            "itself",
            id="self",
        ),
        pytest.param(
            build(clique("a", startsAfter=["x"]), **EXPLICIT),
            f"{T}.cliques[0].spec.startsAfter[0]",
            "no such",
            id="after",
        ),
        pytest.param(
            build(clique("a"), podCliqueScalingGroups=[group("g", "a"), group("h", "a")]),
            f"{T}.podCliqueScalingGroups[1].cliqueNames[0]",
            "in group g already",
            id="two groups",
        ),
        pytest.param(
            build(clique("a"), clique("g"), podCliqueScalingGroups=[group("g", "a")]),
            f"{T}.cliques[1].name",
            "objects of one name",
            id="clique named like a group (trap 23)",
        ),
        pytest.param(
            build(clique("a"), podCliqueScalingGroups=[group("g", "a", replicas=1, minimum=2)]),
            f"{T}.podCliqueScalingGroups[0].minAvailable",
            "above replicas",
            id="group minimum",
        ),
        pytest.param(
            build(clique("a", 2, autoScalingConfig={"maxReplicas": 1})),
            f"{T}.cliques[0].spec.autoScalingConfig.maxReplicas",
            "below",
            id="maxReplicas",
        ),
        pytest.param(build(clique("a" * 50)), f"{T}.cliques[0].name", "45 are allowed", id="name budget"),
        pytest.param(
            build(clique("a"), terminationDelay="soon"), f"{T}.terminationDelay", "not a duration", id="delay"
        ),
        pytest.param(
            build(clique("a"), schedulingPolicyConfig={"networkPackGroupConfigs": []}),
            f"{T}.schedulingPolicyConfig",
            "Not supported yet",
            id="not yet",
        ),
    ],
)
def test_a_fault_names_its_field_and_the_way_out(obj: dict[str, Any], path: str, word: str) -> None:
    found = faults(obj)
    assert any(where == path and word in text for where, text in found), found


def test_the_longest_hostname_is_computed_with_the_digits_of_the_highest_index() -> None:
    obj = build(
        clique("c" * 20, 100), replicas=10**7, podCliqueScalingGroups=[group("g" * 20, "c" * 20, replicas=10**8)]
    )
    assert any("the longest pod hostname would be" in text for _path, text in faults(obj))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"cliqueStartupType": "CliqueStartupTypeInOrder"}, f"{T}.cliqueStartupType"),
        ({"cliques": [clique("frontend", 2)]}, f"{T}.cliques"),
        ({"podCliqueScalingGroups": []}, f"{T}.podCliqueScalingGroups"),
    ],
)
def test_immutable_fields_say_what_to_do_instead(change: dict[str, Any], path: str) -> None:
    old = worked_example()
    new = copy.deepcopy(old)
    new["spec"]["template"].update(change)
    assert any(where == path and "create a set under another name" in text for where, text in faults(new, old))


def test_what_may_change_may_change_and_a_set_that_goes_is_let_go() -> None:
    old = worked_example()
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 3
    new["spec"]["template"]["cliques"][0]["spec"]["podSpec"]["containers"][0]["image"] = "example.com/app:2"
    assert faults(new, old) == []
    broken = copy.deepcopy(old)
    broken["spec"]["template"]["cliques"][0]["name"] = "Not.Valid"
    broken["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert faults(broken, old) == []


@pytest.mark.parametrize(
    ("packed", "domain", "want"),
    [
        (None, "rack", ""),
        ("block", "rack", ""),
        ("rack", "rack", f"{T}.cliques[0].topologyConstraint.spread[0].domain"),
        ("rack", "block", f"{T}.cliques[0].topologyConstraint.spread[0].domain"),
        (None, "cage", f"{T}.cliques[0].topologyConstraint.spread[0].domain"),
    ],
)
def test_a_clique_is_spread_over_a_level_inside_the_one_that_it_is_packed_into(
    packed: str | None, domain: str, want: str
) -> None:
    constraint = {"topologyName": "t", "spread": [{"domain": domain, "maxSkew": 1}]}
    more = {"topologyConstraint": {"topologyName": "t", "pack": {"required": packed}}} if packed else {}
    obj = build({**clique("a", 2), "topologyConstraint": constraint}, **more)
    filled = jsonpatch.apply_patch(obj, defaults.default(obj))
    context = verdict.Context(topologies={"t": ("block", "rack", "host")})
    found = [error.path for error in podgangset.validate(filled, None, context).errors]
    assert found == ([want] if want else [])


def test_a_topology_binding_names_each_domain_and_key_once() -> None:
    levels = [{"domain": "rack", "key": "a"}, {"domain": "rack", "key": "a"}]
    found = topology.check_binding({"spec": {"levels": levels}}, verdict.Context())
    assert [error.path for error in found.errors] == ["spec.levels[1].domain", "spec.levels[1].key"]
