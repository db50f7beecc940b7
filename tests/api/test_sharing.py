"""Rules of shared claims, one row each."""

import copy
from typing import Any

import pytest

from grovekeeper.api.validate import podgangset, verdict
from tests.builders import clique, group
from tests.builders import podgangset as build

T = "spec.template"
KINDS = ["PodGangSet", "PodCliqueSet"]


def template(name: str = "gpu") -> dict[str, Any]:
    request = {"name": "r", "exactly": {"deviceClassName": "d"}}
    return {"name": name, "templateSpec": {"spec": {"devices": {"requests": [request]}}}}


def share(name: str = "gpu", scope: str = "AllReplicas", **more: Any) -> dict[str, Any]:
    return {"name": name, "scope": scope, **more}


def shared(kind: str = "PodGangSet", **levels: Any) -> dict[str, Any]:
    """A set of clique `a` and group `g` of clique `b`; `levels` gives resourceSharing of set, group and clique."""
    one, other = clique("a"), clique("b")
    if "clique" in levels:
        one["resourceSharing"] = levels["clique"]
    more = {"resourceSharing": levels["group"]} if "group" in levels else {}
    return build(
        one,
        other,
        kind=kind,
        podCliqueScalingGroups=[group("g", "b", **more)],
        resourceClaimTemplates=levels.get("templates", [template()]),
        resourceSharing=levels.get("set", []),
    )


def faults(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    found = podgangset.validate(new, old, verdict.Context())
    return [(error.path, error.text()) for error in found.errors]


@pytest.mark.parametrize("kind", KINDS)
def test_all_levels_scopes_and_filters_are_accepted(kind: str) -> None:
    both = {"childCliqueNames": ["a", "b"], "childScalingGroupNames": ["g"]}
    obj = shared(
        kind,
        templates=[template("gpu"), template("nic")],
        set=[share(), share("nic", "PerReplica", filter=both), share("theirs", namespace="infra")],
        group=[share(scope="PerReplica", filter={"childCliqueNames": ["b"]})],
        clique=[share(scope="PerReplica")],
    )
    assert faults(obj) == []


@pytest.mark.parametrize(
    ("obj", "path", "word"),
    [
        pytest.param(
            shared(templates=[template("")]), f"{T}.resourceClaimTemplates[0].name", "Required", id="4 no name"
        ),
        pytest.param(
            shared(templates=[{"name": "x", "templateSpec": {"spec": {"devices": {"requests": []}}}}]),
            f"{T}.resourceClaimTemplates[0].templateSpec.spec.devices.requests",
            "at least one device request",
            id="5 no request",
        ),
        pytest.param(
            shared(templates=[template(), template()]),
            f"{T}.resourceClaimTemplates[1].name",
            "already used by spec.template.resourceClaimTemplates[0]",
            id="6 twice",
        ),
        pytest.param(shared(set=[share("")]), f"{T}.resourceSharing[0].name", "Required", id="7 no name"),
        pytest.param(
            shared(group=[share(), share(scope="PerReplica")]),
            f"{T}.podCliqueScalingGroups[0].resourceSharing[1].name",
            "shared once at each level",
            id="7 twice in a list, scopes differ",
        ),
        pytest.param(
            shared(clique=[share(namespace="other")]),
            f"{T}.cliques[0].resourceSharing[0].namespace",
            "has no namespace",
            id="8 namespace of an own template",
        ),
        pytest.param(
            shared(set=[share("x", namespace="Not_One")]), f"{T}.resourceSharing[0].namespace", "namespace", id="no ns"
        ),
        pytest.param(
            shared(set=[share(scope="Some")]),
            f"{T}.resourceSharing[0].scope",
            "use one of AllReplicas, PerReplica",
            id="9 scope",
        ),
        pytest.param(
            shared(set=[share(filter={})]), f"{T}.resourceSharing[0].filter", "share with nobody", id="10 empty filter"
        ),
        pytest.param(
            shared(set=[share(filter={"childCliqueNames": ["a", "c"]})]),
            f"{T}.resourceSharing[0].filter.childCliqueNames[1]",
            "there are a, b",
            id="11 clique",
        ),
        pytest.param(
            shared(set=[share(filter={"childScalingGroupNames": ["h"]})]),
            f"{T}.resourceSharing[0].filter.childScalingGroupNames[0]",
            "there are g",
            id="11 group",
        ),
        pytest.param(
            shared(group=[share(filter={"childCliqueNames": []})]),
            f"{T}.podCliqueScalingGroups[0].resourceSharing[0].filter",
            "share with nobody",
            id="12 empty",
        ),
        pytest.param(
            shared(group=[share(filter={"childCliqueNames": ["a"]})]),
            f"{T}.podCliqueScalingGroups[0].resourceSharing[0].filter.childCliqueNames[0]",
            "there are b",
            id="12 a clique of another group",
        ),
        pytest.param(
            shared(group=[share(filter={"childCliqueNames": ["b"], "childScalingGroupNames": ["g"]})]),
            f"{T}.podCliqueScalingGroups[0].resourceSharing[0].filter.childScalingGroupNames",
            "use childCliqueNames",
            id="groups in a group",
        ),
        pytest.param(
            shared(clique=[share(filter={"childCliqueNames": ["a"]})]),
            f"{T}.cliques[0].resourceSharing[0].filter",
            "no children to choose from",
            id="filter of a clique",
        ),
        pytest.param(
            shared(set=[share("a_b")]), f"{T}.resourceSharing[0].name", "DNS-1123 subdomain", id="name of a claim"
        ),
    ],
)
def test_a_fault_names_its_field_and_the_way_out(obj: dict[str, Any], path: str, word: str) -> None:
    found = faults(obj)
    assert [where for where, _ in found] == [path], found
    assert word in found[0][1]


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("set", f"{T}.resourceSharing"),
        ("group", f"{T}.podCliqueScalingGroups[0].resourceSharing"),
        ("clique", f"{T}.cliques[0].resourceSharing"),
    ],
)
@pytest.mark.parametrize("change", ["added", "removed", "changed"])
@pytest.mark.parametrize("kind", KINDS)
def test_sharing_cannot_change_at_any_level(kind: str, change: str, where: str, path: str) -> None:
    without, with_one = shared(kind), shared(kind, **{where: [share()]})
    other = shared(kind, **{where: [share(scope="PerReplica")]})
    old, new = {"added": (without, with_one), "removed": (with_one, without), "changed": (with_one, other)}[change]
    found = faults(new, old)
    assert [each for each, _ in found] == [path]
    assert "create a set under another name" in found[0][1]


def test_claim_templates_cannot_change_and_everything_else_can() -> None:
    old = shared(set=[share()])
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 3
    assert faults(new, old) == []
    new["spec"]["template"]["resourceClaimTemplates"].append(template("nic"))
    assert [path for path, _ in faults(new, old)] == [f"{T}.resourceClaimTemplates"]
