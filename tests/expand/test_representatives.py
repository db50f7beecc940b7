"""The pods that stand for a replica in an HPA's count: one a replica, and no pod for two levels."""

from collections import Counter

import jsonpatch
import pytest

from grovekeeper.api import names, raw
from grovekeeper.expand import injection, whole
from tests.builders import clique, group, podgangset, worked_example


def members(obj: raw.Object) -> list[raw.Object]:
    found = whole.objects(obj, injection.Settings("gate:1"), jsonpatch.apply_patch, {})
    return [each["metadata"] for each in found if each["kind"] == "Pod"]


@pytest.mark.parametrize(
    ("obj", "want"),
    [
        pytest.param(worked_example(), {"set": 2, "group": 6}, id="single cliques and groups"),
        pytest.param(podgangset(clique("a", 3), clique("b", 2)), {"set": 2}, id="single cliques"),
        pytest.param(
            podgangset(clique("a", 3), podCliqueScalingGroups=[group("g", "a", replicas=2)]),
            {"set": 2, "group": 2},
            id="one group that nobody scales",
        ),
        pytest.param(
            podgangset(
                clique("a", 3),
                podCliqueScalingGroups=[group("g", "a", replicas=2, scaleConfig={"maxReplicas": 4})],
            ),
            {"group": 4},
            id="one group that an HPA scales",
        ),
        pytest.param(
            podgangset(
                clique("a"),
                clique("b", 2),
                podCliqueScalingGroups=[group("g", "a", "b", replicas=2, scaleConfig={"maxReplicas": 4})],
            ),
            {"set": 2, "group": 4},
            id="one group of two cliques that an HPA scales",
        ),
    ],
)
def test_each_replica_of_a_level_is_shown_once(obj: raw.Object, want: dict[str, int]) -> None:
    obj["spec"]["replicas"] = 2
    found = members(obj)
    marks = Counter(each["labels"].get(names.LABEL_REPRESENTATIVE) for each in found)
    marks.pop(None, None)
    assert marks == want
    groups = Counter(
        (each["labels"][names.LABEL_SCALINGGROUP], each["labels"].get("grove.io/podcliquescalinggroup-replica-index"))
        for each in found
        if each["labels"].get(names.LABEL_REPRESENTATIVE) == "group"
    )
    assert set(groups.values()) <= {1}


SCALED = {"autoScalingConfig": {"maxReplicas": 5}}


@pytest.mark.parametrize(
    ("obj", "want"),
    [
        pytest.param(podgangset(clique("a", **SCALED), clique("b")), "b", id="the next single clique"),
        pytest.param(
            podgangset(
                clique("a", **SCALED),
                clique("b"),
                clique("c"),
                podCliqueScalingGroups=[group("g", "b", "c", replicas=2, scaleConfig={"maxReplicas": 4})],
            ),
            "c",
            id="the follower in a group",
        ),
        pytest.param(
            podgangset(clique("a"), clique("b"), podCliqueScalingGroups=[group("g", "a", "b", replicas=2)]),
            "a",
            id="the leader of a group that nobody scales",
        ),
        pytest.param(podgangset(clique("a", **SCALED)), "a", id="the only clique, though it is scaled"),
    ],
)
def test_the_set_is_shown_by_a_clique_that_no_other_hpa_of_the_manifest_looks_at(obj: raw.Object, want: str) -> None:
    found = [each for each in members(obj) if each["labels"].get(names.LABEL_REPRESENTATIVE) == "set"]
    assert [each["labels"][names.LABEL_PODCLIQUE].rsplit("-", 1)[1] for each in found] == [want]
