"""Quantities, durations, conditions, patches, defaults and CRDs."""

import json
from pathlib import Path

import jsonpatch
import pytest

from grovekeeper.api import conditions, crds, defaults, duration, patch, quantity, raw
from tests import builders

CRDS = Path(__file__).parents[2] / "charts" / "grovekeeper" / "crds"


@pytest.mark.parametrize(
    ("resource", "text", "want"),
    [
        ("cpu", "100m", 100),
        ("cpu", "2", 2000),
        ("cpu", "1n", 1),
        ("memory", "1Ki", 1024),
        ("memory", "1.5Gi", 1610612736),
        ("memory", "2e3", 2000),
        ("memory", "100m", 1),
        ("nvidia.com/gpu", "8", 8),
        ("pods", 110, 110),
    ],
)
def test_quantities_are_exact_integers_rounded_up(resource: str, text: str, want: int) -> None:
    assert quantity.amount(resource, text) == want


@pytest.mark.parametrize("text", ["", "NaN", "1 Gi", "1gb", "--1", "1e", "Infinity"])
def test_what_is_no_quantity_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.exact(text)


@pytest.mark.parametrize(
    ("text", "want"), [("4h0m0s", 14400), ("1.5h", 5400), ("250ms", 0.25), ("90s", 90), ("0", 0), ("-5s", -5)]
)
def test_durations_are_read_as_go_writes_them(text: str, want: float) -> None:
    assert duration.seconds(text) == pytest.approx(want)


@pytest.mark.parametrize("text", ["", "5", "5 m", "1d", "s", "5sx"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration.seconds(text)


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = conditions.merged(None, [conditions.condition("Ready", False, "A", "", "t1")])
    same = conditions.merged(first, [conditions.condition("Ready", False, "B", "", "t2")])
    turned = conditions.merged(same, [conditions.condition("Ready", True, "C", "", "t3")])
    assert [c[0]["lastTransitionTime"] for c in (first, same, turned)] == ["t1", "t1", "t3"]
    assert same[0]["reason"] == "B"


def test_pointers_are_escaped_and_absent_maps_added_whole() -> None:
    assert patch.merge_map("/m", None, {"a/b": "1"}) == [patch.add("/m", {"a/b": "1"})]
    assert patch.merge_map("/m", {"x": "1"}, {"a/b~c": "1", "x": "1"}) == [patch.add("/m/a~1b~0c", "1")]


@pytest.mark.parametrize("kind", ["PodGangSet", "PodCliqueSet"])
def test_defaults_fill_what_is_absent_and_nothing_else(kind: str) -> None:
    obj = builders.podgangset(builders.clique("a", None), builders.clique("b", 3, minAvailable=2), kind=kind)
    filled = jsonpatch.apply_patch(obj, defaults.default(obj))
    template = filled["spec"]["template"]
    assert [(c["spec"]["replicas"], c["spec"]["minAvailable"]) for c in template["cliques"]] == [(1, 1), (3, 2)]
    assert template["terminationDelay"] == "4h0m0s"
    assert template["headlessServiceConfig"] == {"publishNotReadyAddresses": True}
    assert defaults.default(filled) == []


@pytest.mark.parametrize("kind", crds.KINDS, ids=lambda kind: kind.kind)
def test_the_committed_crds_are_what_the_models_say(kind: crds.Kind) -> None:
    text = (CRDS / f"{kind.plural}.{kind.group}.yaml").read_text()
    assert json.loads(text) == json.loads(json.dumps(crds.definition(kind)))


@pytest.mark.parametrize(
    ("old", "new", "want"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"p": {"s": 1, "e": 2}}, {"p": {"s": 3}}, {"p": {"s": 3, "e": None}}),
        ({"p": {"s": 1}}, {"p": {"s": 1}}, {}),
        ({"l": [{"x": 1}]}, {"l": [{"x": 2}]}, {"l": [{"x": 2}]}),
        ({"p": {"s": 1}}, {}, {"p": None}),
        ({"p": 1}, {"p": {"s": 1}}, {"p": {"s": 1}}),
    ],
)
def test_a_merge_patch_takes_away_what_vanished_at_every_depth(
    old: raw.Object, new: raw.Object, want: raw.Object
) -> None:
    assert patch.merge(old, new) == want
