"""Devices, so that the real scheduler can allocate claims: a class of them, and slices for all nodes or for some."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from grovekeeper.embedded.administrator import RefusedError

_GROUP = "/apis/resource.k8s.io/v1"
_MOST = 100


@contextlib.contextmanager
def devices(cluster: Any, name: str, nodes: Sequence[str] = ()) -> Iterator[str]:
    """Publish devices of a class: a hundred that every node can reach, or one on each of these nodes.

    Yields the name of the class.
    """
    driver = f"{name}.example.com"
    expression = f'device.driver == "{driver}"'
    slices = {each: _slice(driver, each, {"nodeName": each}, 1) for each in nodes}
    slices = slices or {name: _slice(driver, name, {"allNodes": True}, _MOST)}
    _post(cluster, "deviceclasses", "DeviceClass", driver, {"selectors": [{"cel": {"expression": expression}}]})
    for each, spec in slices.items():
        _post(cluster, "resourceslices", "ResourceSlice", each, spec)
    try:
        yield driver
    finally:
        made = [("resourceslices", each) for each in slices] + [("deviceclasses", driver)]
        for plural, each in made:
            with contextlib.suppress(RefusedError):
                cluster.request("DELETE", f"{_GROUP}/{plural}/{each}")


def _slice(driver: str, pool: str, where: dict[str, Any], count: int) -> dict[str, Any]:
    listed = [{"name": f"d{index}"} for index in range(count)]
    return {
        "driver": driver,
        "pool": {"name": pool, "generation": 1, "resourceSliceCount": 1},
        "devices": listed,
        **where,
    }


def claim_spec(device_class: str, request: str = "r") -> dict[str, Any]:
    """Return a ResourceClaimSpec that asks for one device, by a request of this name."""
    return {"devices": {"requests": [{"name": request, "exactly": {"deviceClassName": device_class}}]}}


def _post(cluster: Any, plural: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    cluster.request("POST", f"{_GROUP}/{plural}", body)
