"""Our processes as a scenario sees them: which of them holds a Lease, and what it has counted."""

import urllib.request

from grovekeeper.embedded.installation import NAMESPACE
from tests.e2e.world import PATIENCE, World

_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


def holder(world: World, lease: str) -> str:
    """Return the name of the running component that holds a Lease; nothing while none of ours does."""
    listed = world.request("GET", _LEASES)["items"]
    held = {each["metadata"]["name"]: each["spec"].get("holderIdentity") or "" for each in listed}
    pid = held.get(lease, "").rpartition("-")[2]
    running = {
        str(c.process.pid): name
        for name, c in world.installation.components.items()
        if c.process is not None and c.process.poll() is None
    }
    return running.get(pid, "")


def wait_holder(world: World, lease: str, seconds: float = 40) -> str:
    """Wait until one of our components holds a Lease; return its name."""
    return world.wait(lambda: holder(world, lease), f"somebody to hold {lease}", seconds)


def metrics(world: World, name: str) -> str:
    """Return the metrics of a component as text; raise OSError where it does not answer."""
    port = world.installation.components[name].metrics_port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10 * PATIENCE) as answer:
        text: str = answer.read().decode()
    return text
