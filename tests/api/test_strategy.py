import pytest

from grovekeeper.api import raw
from grovekeeper.api.validate import strategy, verdict

COHERENT = "Coherent"


@pytest.mark.parametrize(
    ("given", "path", "word"),
    [
        pytest.param({"type": "Surge"}, "type", "use one of", id="type"),
        pytest.param({"type": COHERENT, "maxUnavailable": 0}, "maxUnavailable", "raise one", id="nothing may go"),
        pytest.param({"type": COHERENT, "maxUnavailable": -1}, "maxUnavailable", "0 or more", id="negative"),
        pytest.param({"type": COHERENT, "maxSurge": -1}, "maxSurge", "0 or more", id="negative surge"),
        pytest.param({"maxUnavailable": 1}, "maxUnavailable", "only type Coherent", id="rolling counts no replicas"),
        pytest.param({"type": "OnDelete", "maxSurge": 1}, "maxSurge", "only type Coherent", id="nor on delete"),
        pytest.param({"progressDeadlineSeconds": 0}, "progressDeadlineSeconds", "1 or more", id="deadline"),
        pytest.param(
            {"type": "OnDelete", "progressDeadlineSeconds": 9}, "progressDeadlineSeconds", "wait for people", id="od"
        ),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(given: raw.Object, path: str, word: str) -> None:
    found = verdict.Verdict()
    strategy.check(found, {"updateStrategy": given})
    assert [error.path for error in found.errors] == [f"spec.updateStrategy.{path}"]
    assert word in found.errors[0].text()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"type": COHERENT},
        {"type": COHERENT, "maxUnavailable": 0, "maxSurge": 1, "progressDeadlineSeconds": 600, "paused": True},
        {"type": "RollingRecreate", "progressDeadlineSeconds": 1},
    ],
)
def test_a_strategy_that_can_be_is_not(given: raw.Object) -> None:
    found = verdict.Verdict()
    strategy.check(found, {"updateStrategy": given, "revisionHistoryLimit": 0})
    assert found.errors == []
