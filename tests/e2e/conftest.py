"""Both targets of the end-to-end suite, each started once: the embedded cluster and the real control plane."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from grovekeeper.embedded import registration
from grovekeeper.embedded.cluster import EmbeddedCluster
from grovekeeper.embedded.installation import Installation
from tests.chart import helm
from tests.e2e.world import PATIENCE, World

TIMEOUT_SECONDS = 150


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scenarios wait for a cluster: they get more time than unit tests."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS * PATIENCE))


TARGETS = [pytest.param("embedded", marks=pytest.mark.embedded), pytest.param("real", marks=pytest.mark.real)]
PROFILES = ("default-scheduler", "kai-scheduler", "volcano", "podgroup")
SCHEDULERS = f"schedulers.profiles={{{','.join(PROFILES)}}}"
"""Every back end is enabled, and nothing of any is installed until a scenario does it."""


@pytest.fixture(scope="session", params=TARGETS)
def installed(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Installation]]:
    """Grovekeeper on a cluster; on the real one exactly as the chart renders it."""
    with ExitStack() as stack:
        if request.param == "embedded":
            cluster: Any = stack.enter_context(EmbeddedCluster())
            settings = {"GROVEKEEPER_SCHEDULERS__PROFILES": ",".join(PROFILES)}
            yield cluster, stack.enter_context(Installation(cluster, settings))
            return
        from tests.controlplane.initgates import InitGates
        from tests.controlplane.plane import ControlPlane, Options

        user = f"system:serviceaccount:{registration.NAMESPACE}:grovekeeper"
        plane = stack.enter_context(ControlPlane(Options(audited=user)))
        stack.enter_context(InitGates(plane))
        yield plane, stack.enter_context(Installation(plane, rendered=helm.template(SCHEDULERS)))


@pytest.fixture
def world(installed: tuple[Any, Installation]) -> Iterator[World]:
    """A namespace with nodes of its own; nothing is left of it afterwards."""
    result = World(*installed)
    yield result
    result.close()
