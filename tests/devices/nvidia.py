"""What Grovekeeper meets of NVIDIA's DRA driver: the ComputeDomain CRD, and a driver that makes claim templates.

Written from what Grove and the driver exchange; for tests only.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from grovekeeper.embedded.administrator import RefusedError
from tests.devices import published

DOMAINS = "/apis/resource.nvidia.com/v1beta1"
FINALIZER = "resource.nvidia.com/computeDomain"
NAME = "computedomains.resource.nvidia.com"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PATIENCE_SECONDS = 120
_STRING = {"type": "string"}
_TEMPLATE = {"type": "object", "properties": {"name": _STRING}, "required": ["name"]}
_SPEC = {
    "type": "object",
    "required": ["numNodes", "channel"],
    "properties": {
        "numNodes": {"type": "integer"},
        "channel": {
            "type": "object",
            "required": ["resourceClaimTemplate"],
            "properties": {"resourceClaimTemplate": _TEMPLATE},
        },
    },
}
_STATUS = {"type": "object", "properties": {"status": _STRING}}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": NAME},
    "spec": {
        "group": "resource.nvidia.com",
        "scope": "Namespaced",
        "names": {
            "plural": "computedomains",
            "singular": "computedomain",
            "kind": "ComputeDomain",
            "listKind": "ComputeDomainList",
        },
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "apiVersion": _STRING,
                            "kind": _STRING,
                            "metadata": {"type": "object"},
                            "spec": _SPEC,
                            "status": _STATUS,
                        },
                    }
                },
            }
        ],
    },
}


@contextlib.contextmanager
def installed(cluster: Any) -> Iterator[None]:
    """Have the CRD for a with block, in which it is served."""
    cluster.request("POST", _CRDS, CRD)
    try:
        # A young API server answers 404, then 429 while it sets the storage up.
        _wait(lambda: _answer(cluster, f"{DOMAINS}/computedomains") == 200, lambda: f"{NAME} is not served")
        yield
    finally:
        cluster.request("DELETE", f"{_CRDS}/{NAME}")
        _wait(lambda: _answer(cluster, f"{_CRDS}/{NAME}") == 404, lambda: f"{NAME} does not go; left: {_left(cluster)}")


def _wait(check: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


def _left(cluster: Any) -> list[Any]:
    """Return the metadata of the domains that are there: who holds them stands in their finalizers."""
    return [domain["metadata"] for domain in cluster.request("GET", f"{DOMAINS}/computedomains")["items"]]


def _answer(cluster: Any, path: str) -> int:
    try:
        cluster.request("GET", path)
    except RefusedError as error:
        return error.code
    return 200


class Driver:
    """The driver's controller for one namespace: a ResourceClaimTemplate per domain, and a finalizer of its own."""

    def __init__(self, cluster: Any, namespace: str, device_class: str) -> None:
        self._cluster = cluster
        self._domains = f"{DOMAINS}/namespaces/{namespace}/computedomains"
        self._templates = f"/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaimtemplates"
        self._class = device_class
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.trouble: list[str] = []

    def __enter__(self) -> "Driver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and leave no finalizer that nobody would take off."""
        self._end.set()
        self._thread.join(10)
        for domain in self._cluster.request("GET", self._domains)["items"]:
            self._release(domain["metadata"])

    def _run(self) -> None:
        while not self._end.wait(0.2):
            try:
                for domain in self._cluster.request("GET", self._domains)["items"]:
                    self._look_after(domain)
            except RefusedError as error:
                self.trouble.append(str(error))

    def _look_after(self, domain: dict[str, Any]) -> None:
        metadata = domain["metadata"]
        finalizers = metadata.get("finalizers") or []
        name = domain["spec"]["channel"]["resourceClaimTemplate"]["name"]
        if metadata.get("deletionTimestamp"):
            if FINALIZER in finalizers:
                self._ignoring(404, "DELETE", f"{self._templates}/{name}")
                self._release(metadata)
            return
        if FINALIZER not in finalizers:
            self._write(metadata, [*finalizers, FINALIZER])
            template = {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceClaimTemplate",
                "metadata": {"name": name},
                "spec": {"spec": published.claim_spec(self._class)},
            }
            self._ignoring(409, "POST", self._templates, template)

    def _release(self, metadata: dict[str, Any]) -> None:
        finalizers = metadata.get("finalizers") or []
        if FINALIZER in finalizers:
            self._write(metadata, [entry for entry in finalizers if entry != FINALIZER])

    def _write(self, metadata: dict[str, Any], finalizers: list[str]) -> None:
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
        path = f"{self._domains}/{metadata['name']}"
        with contextlib.suppress(RefusedError):
            self._cluster.request("PATCH", path, body, "application/merge-patch+json")

    def _ignoring(self, code: int, method: str, path: str, body: object = None) -> None:
        try:
            self._cluster.request(method, path, body)
        except RefusedError as error:
            if error.code != code:
                raise
