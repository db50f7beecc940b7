"""Settings of the back ends that sets may choose."""

import pytest

from grovekeeper.runtime import settings


def test_profiles_come_as_a_list_or_as_one_text_and_the_stock_scheduler_is_always_among_them() -> None:
    found = settings.load(None, {"GROVEKEEPER_SCHEDULERS__PROFILES": "kai-scheduler, volcano"})
    assert found.schedulers.profiles == ["default-scheduler", "kai-scheduler", "volcano"]
    assert settings.load(None, {}).schedulers.profiles == ["default-scheduler"]


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"GROVEKEEPER_SCHEDULERS__PROFILES": "slurm"}, "slurm unknown; known are default-scheduler, kai-scheduler"),
        ({"GROVEKEEPER_SCHEDULERS__DEFAULT": "volcano"}, "volcano is not among the profiles"),
    ],
)
def test_unknown_or_disabled_back_ends_are_named(environment: dict[str, str], word: str) -> None:
    with pytest.raises(settings.SettingsError, match=word):
        settings.load(None, environment)
