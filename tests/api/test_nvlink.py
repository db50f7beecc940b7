"""Rules of the NVLink annotations, one row each."""

import copy
from typing import Any

import pytest

from grovekeeper.api import nvlink
from grovekeeper.api.validate import podgangset, verdict
from tests.builders import clique, group
from tests.builders import podgangset as build

GROUP, BOOLEAN = "grove.io/mnnvl-group", "grove.io/auto-mnnvl"
C, G, M = "spec.template.cliques[0]", "spec.template.podCliqueScalingGroups[0]", "metadata"
OFF = "multi-node NVLink is switched off"


def annotated(kind: str = "PodGangSet", **levels: dict[str, str]) -> dict[str, Any]:
    """A set of clique `a` in group `g`, with annotations of set, group and clique."""
    one = clique("a")
    if "clique" in levels:
        one["annotations"] = levels["clique"]
    more = {"annotations": levels["group"]} if "group" in levels else {}
    obj = build(one, kind=kind, podCliqueScalingGroups=[group("g", "a", **more)])
    if "set" in levels:
        obj["metadata"]["annotations"] = levels["set"]
    return obj


def faults(new: dict[str, Any], old: dict[str, Any] | None = None, no_nvlink: str | None = None) -> dict[str, str]:
    found = podgangset.validate(new, old, verdict.Context(no_nvlink=no_nvlink))
    return {error.path: error.text() for error in found.errors}


@pytest.mark.parametrize(
    ("annotations", "want"),
    [
        ({}, None),
        ({GROUP: "x"}, "x"),
        ({GROUP: "none"}, "none"),
        ({BOOLEAN: "enabled"}, "auto"),
        ({BOOLEAN: "true"}, "auto"),
        ({BOOLEAN: "disabled"}, "none"),
        ({BOOLEAN: "false"}, "none"),
        ({BOOLEAN: "enabled", GROUP: "x"}, "x"),
        ({BOOLEAN: "maybe"}, None),
    ],
)
def test_both_spellings_ask_for_a_group(annotations: dict[str, str], want: str | None) -> None:
    assert nvlink.asked(annotations) == want


@pytest.mark.parametrize(
    ("obj", "path", "word"),
    [
        pytest.param(annotated(set={GROUP: ""}), f"{M}.annotations[{GROUP}]", "DNS-1123 label", id="empty"),
        pytest.param(annotated(group={GROUP: "A.b"}), f"{G}.annotations[{GROUP}]", "DNS-1123 label", id="no label"),
        pytest.param(annotated(clique={GROUP: "a_b"}), f"{C}.annotations[{GROUP}]", "or none", id="underscore"),
        pytest.param(annotated(set={BOOLEAN: "yes"}), f"{M}.annotations[{BOOLEAN}]", "enabled, true", id="word"),
        pytest.param(annotated(clique={BOOLEAN: "true"}), f"{C}.annotations[{BOOLEAN}]", f"use {GROUP}", id="level"),
        pytest.param(
            annotated(set={BOOLEAN: "true", GROUP: "x"}), f"{M}.annotations[{BOOLEAN}]", "only that one", id="both"
        ),
    ],
)
def test_a_fault_names_the_annotation_and_the_way_out(obj: dict[str, Any], path: str, word: str) -> None:
    found = faults(obj)
    assert list(found) == [path]
    assert word in found[path]


@pytest.mark.parametrize("kind", ["PodGangSet", "PodCliqueSet"])
@pytest.mark.parametrize(
    ("level", "annotations", "path"),
    [
        ("set", {GROUP: "x"}, f"{M}.annotations[{GROUP}]"),
        ("set", {BOOLEAN: "enabled"}, f"{M}.annotations[{BOOLEAN}]"),
        ("group", {GROUP: "x"}, f"{G}.annotations[{GROUP}]"),
        ("clique", {GROUP: "x"}, f"{C}.annotations[{GROUP}]"),
    ],
)
def test_a_group_is_refused_with_a_word_while_the_feature_is_off(
    kind: str, level: str, annotations: dict[str, str], path: str
) -> None:
    obj = annotated(kind, **{level: annotations})
    assert faults(obj) == {}
    found = faults(obj, no_nvlink=OFF)
    assert list(found) == [path]
    assert OFF in found[path]


@pytest.mark.parametrize("annotations", [{GROUP: "none"}, {BOOLEAN: "disabled"}])
def test_opting_out_is_always_accepted(annotations: dict[str, str]) -> None:
    assert faults(annotated(set=annotations), no_nvlink=OFF) == {}


@pytest.mark.parametrize("level", ["set", "group", "clique"])
@pytest.mark.parametrize(
    ("before", "after"), [({}, {GROUP: "x"}), ({GROUP: "x"}, {}), ({GROUP: "x"}, {GROUP: "y"}), ({}, {GROUP: "none"})]
)
def test_a_group_cannot_be_added_removed_or_changed(level: str, before: dict[str, str], after: dict[str, str]) -> None:
    found = faults(annotated(**{level: after}), annotated(**{level: before}))
    path = {"set": M, "group": G, "clique": C}[level]
    assert list(found) == [f"{path}.annotations[{GROUP}]"]
    assert "create a set under another name" in found[f"{path}.annotations[{GROUP}]"]


def test_another_spelling_of_the_same_is_no_change_and_a_set_stays_editable_when_the_feature_goes_off() -> None:
    old = annotated(set={BOOLEAN: "enabled"})
    new = annotated(set={GROUP: "auto"})
    new["spec"]["replicas"] = 5
    assert faults(new, old, no_nvlink=OFF) == {}


def test_a_claim_of_the_pods_own_must_not_have_our_name() -> None:
    obj = annotated(set={GROUP: "x"})
    spec = obj["spec"]["template"]["cliques"][0]["spec"]["podSpec"]
    spec["resourceClaims"] = [{"name": "mnnvl-claim", "resourceClaimTemplateName": "mine"}]
    assert list(faults(obj)) == [f"{C}.spec.podSpec.resourceClaims[0].name"]
    plain = copy.deepcopy(obj)
    del plain["metadata"]["annotations"]
    assert faults(plain) == {}
