"""The rights that the chart gives are enough: a request that is denied may be tried again for ever, unseen."""

from typing import Any

import pytest

from grovekeeper.embedded.installation import Installation
from tests.controlplane import audit


@pytest.mark.parametrize("installed", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
def test_nothing_that_was_asked_for_until_now_was_denied(installed: tuple[Any, Installation]) -> None:
    found = audit.read(installed[0].dir)
    assert ("watch", "grove.io", "podcliques") in found.allowed
    assert found.denied == set()
