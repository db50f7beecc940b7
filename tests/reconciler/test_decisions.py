"""What a PodGang says of a decision, and what is read from it."""

import pytest

from grovekeeper.api import names, raw
from grovekeeper.api.validate import syntax
from grovekeeper.placement import request
from grovekeeper.reconciler import decisions


def gang(annotations: dict[str, str]) -> raw.Object:
    return {"metadata": {"annotations": annotations}}


def clique(count: int) -> raw.Object:
    return {
        "metadata": {"name": "llama-70b-disaggregated-0-decode", "namespace": "ns", "labels": {}},
        "spec": {"replicas": count},
    }


@pytest.mark.parametrize("count", [0, 1, 64, 3000])
def test_a_decision_is_read_as_it_was_written_and_fits_into_the_annotations_of_an_object(count: int) -> None:
    name = clique(count)["metadata"]["name"]
    nodes = [
        f"gke-prod-gpu-pool-a3-highgpu-8g-{number * 2654435761 % 2**32:08x}-x{number:03x}" for number in range(count)
    ]
    decided = {f"{name}-{number * 40503 % 2**20:05x}": node for number, node in enumerate(nodes)}
    known = {f"{name}-{number}": node for number, node in enumerate(nodes)}
    found = decisions.annotations(decided, known, [clique(count)], 0.75)
    assert decisions.placement(gang(found)) == decided
    assert decisions.reserved(gang(found)) == known
    assert syntax.annotation_bytes(found) < syntax.MOST_ANNOTATIONS


def test_a_small_decision_can_be_read_by_people() -> None:
    found = decisions.annotations({"demo-0-front-abcde": "n1"}, {}, [], None)
    assert found[names.ANNOTATION_PLACEMENT] == '{"demo-0-front-abcde":"n1"}'


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "zlib:", "zlib:!", "zlib:AAAA", "zlib:eJwDAAAAAAE="])
def test_a_decision_that_cannot_be_read_counts_as_none(text: str) -> None:
    assert decisions.placement(gang({names.ANNOTATION_PLACEMENT: text})) == {}
    assert decisions.placement(None) == {}


def test_where_a_gang_went_is_said_with_the_narrowest_domain_that_it_shares() -> None:
    levels = {"block": "example.com/block", "rack": "example.com/rack", "host": "kubernetes.io/hostname"}
    domains = {"example.com/block": ("b0",), "example.com/rack": ("r1",), "kubernetes.io/hostname": ("n1", "n2")}
    two = request.Placement({"a": "n1", "b": "n2", "c": "n2"}, (), domains, 1.0)
    assert decisions.placed("g", two, levels) == "g: placed, 3 pods on 2 nodes, rack r1"
    one = request.Placement({"a": "n1"}, (), {}, 1.0)
    assert decisions.placed("g", one, {}) == "g: placed, 1 pod on 1 node"
