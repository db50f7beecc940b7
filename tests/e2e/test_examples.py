"""The four use cases of gitops-examples come up as they are, on both targets."""

from pathlib import Path

import pytest
import yaml

from grovekeeper.embedded.installation import nodes
from tests.e2e import statuses
from tests.e2e.world import BINDINGS, Object, World, is_ready

ROOT = Path(__file__).parents[2] / "gitops-examples" / "plain"
MANIFESTS = sorted(path for path in ROOT.rglob("*.yaml") if path.parent != ROOT)

pytestmark = pytest.mark.slow


@pytest.fixture
def datacenter(world: World) -> None:
    """28 nodes with 8 GPUs each, and the examples' topology."""
    world.post(BINDINGS, load(ROOT / "topology.yaml"))
    for node in nodes("gpu-", 28, **{"nvidia.com/gpu": "8"}):
        world.post("/api/v1/nodes", node)
        world.nodes.append(node["metadata"]["name"])


@pytest.mark.usefixtures("datacenter")
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_an_example_comes_up(world: World, path: Path) -> None:
    obj = load(path)
    obj["metadata"]["namespace"] = world.namespace
    world.apply(obj)
    name = obj["metadata"]["name"]

    def available() -> bool:
        status = statuses.of(world.get_set(name))
        return bool(
            status.get("availableReplicas", 0) == obj["spec"].get("replicas", 1) and all(map(is_ready, world.pods()))
        )

    world.wait(available, f"{name} to be available", 60)


def load(path: Path) -> Object:
    found: Object = yaml.safe_load(path.read_text())
    return found
