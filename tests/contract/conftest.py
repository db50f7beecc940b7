"""The API server twice: ours in this process' neighbour, and the real one. Both must behave alike."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.embedded.cluster import EmbeddedCluster
from grovekeeper.embedded.installation import wait_for
from grovekeeper.kube import credentials
from grovekeeper.kube.http import HttpClient
from tests import crds, patience

PATIENCE = patience.factor()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever comes first waits for a control plane."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(60 * PATIENCE))


TARGETS = [pytest.param("embedded", marks=pytest.mark.embedded), pytest.param("real", marks=pytest.mark.real)]


@pytest.fixture(scope="session", params=TARGETS)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cluster with our CRDs, without scheduler and kubelets of its own where it is the real one."""
    with ExitStack() as stack:
        if request.param == "embedded":
            cluster: Any = stack.enter_context(EmbeddedCluster())
        else:
            from tests.controlplane.plane import ControlPlane, Options

            cluster = stack.enter_context(ControlPlane(Options(scheduler=False, kubelets=False)))
        crds.install(cluster)

        def served() -> bool:
            try:
                for plural in ("podgangsets", "podcliques", "podcliquescalinggroups"):
                    cluster.request("GET", f"/apis/grove.io/v1alpha1/{plural}")
            except RefusedError:
                return False
            return True

        wait_for(served, "our kinds to be served")
        yield cluster


@pytest.fixture
async def client(server: Any) -> AsyncIterator[HttpClient]:
    found = HttpClient(await credentials.load(server.kubeconfig_for(server.token, "contract")), "contract")
    yield found
    await found.close()


@pytest.fixture
def namespace(server: Any, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = f"c{abs(hash(request.node.name)) % 10**9}"
    server.request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    if hasattr(server, "processes"):
        path = f"/api/v1/namespaces/{name}/serviceaccounts/default"

        def there() -> bool:
            try:
                server.request("GET", path)
            except RefusedError:
                return False
            return True

        wait_for(there, "the namespace's service account")
    return name
