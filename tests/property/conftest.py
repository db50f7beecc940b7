"""How many sequences are tried for each kind and strategy: forty, or 120 where HYPOTHESIS_PROFILE=long says so.

Every answer of the placement engine goes before the auditor on its way.
"""

import os

import hypothesis
import pytest

from grovekeeper.placement import place
from tests.property import domains

QUICK = hypothesis.settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile("quick", QUICK)
hypothesis.settings.register_profile("long", QUICK, max_examples=120, phases=list(hypothesis.Phase))
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def _audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "place", domains.audited(place.place))
