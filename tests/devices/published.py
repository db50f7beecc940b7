"""Devices that every node can reach, so that the real scheduler can allocate claims: a class and a slice of them."""

import contextlib
import urllib.error
from collections.abc import Iterator
from typing import Any

_GROUP = "/apis/resource.k8s.io/v1"
_MOST = 100


@contextlib.contextmanager
def devices(cluster: Any, name: str) -> Iterator[str]:
    """Publish a hundred devices of a class; yield the name of the class."""
    driver = f"{name}.example.com"
    expression = f'device.driver == "{driver}"'
    slices = {
        "driver": driver,
        "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
        "allNodes": True,
        "devices": [{"name": f"d{index}"} for index in range(_MOST)],
    }
    _post(cluster, "deviceclasses", "DeviceClass", driver, {"selectors": [{"cel": {"expression": expression}}]})
    _post(cluster, "resourceslices", "ResourceSlice", name, slices)
    try:
        yield driver
    finally:
        for plural, each in (("resourceslices", name), ("deviceclasses", driver)):
            with contextlib.suppress(urllib.error.HTTPError):
                cluster.request("DELETE", f"{_GROUP}/{plural}/{each}")


def claim_spec(device_class: str) -> dict[str, Any]:
    """Return a ResourceClaimSpec that asks for one device."""
    return {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": device_class}}]}}


def _post(cluster: Any, plural: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    cluster.request("POST", f"{_GROUP}/{plural}", body)
