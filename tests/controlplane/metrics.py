"""A metrics API for the HPA controller: every pod uses as much cpu as the test says.

Registered as an APIService whose Service is an ExternalName `localhost`: the API server proxies to this machine.
"""

import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from grovekeeper.embedded.installation import wait_for
from grovekeeper.runtime import certificates
from tests.controlplane.plane import ControlPlane

GROUP_VERSION = "metrics.k8s.io/v1beta1"


class PodMetrics:
    """Serves metrics.k8s.io for as long as the with block lasts."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.milli = 0
        """What every pod uses, in thousandths of a cpu."""

    def __enter__(self) -> "PodMetrics":
        leaf = certificates.fresh(["localhost"], datetime.now(UTC)).leaf
        folder = Path(self.plane.dir)
        chain, key = folder / "metrics.crt", folder / "metrics.key"
        chain.write_bytes(leaf.certificate)
        key.write_bytes(leaf.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, name="pod-metrics", daemon=True).start()
        self._register(self._server.server_address[1])
        return self

    def __exit__(self, *_exception: object) -> None:
        self.plane.request("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io")
        self.plane.request("DELETE", "/api/v1/namespaces/default/services/pod-metrics")
        self._server.shutdown()
        self._server.server_close()

    def _register(self, port: int) -> None:
        service = {"type": "ExternalName", "externalName": "localhost"}
        metadata: dict[str, object] = {"name": "pod-metrics", "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}
        self.plane.request("POST", "/api/v1/namespaces/default/services", body)
        spec = {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {**metadata, "port": port},
        }
        body = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "spec": spec}
        body["metadata"] = {"name": "v1beta1.metrics.k8s.io"}
        self.plane.request("POST", "/apis/apiregistration.k8s.io/v1/apiservices", body)
        path = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"

        def available() -> bool:
            found = self.plane.request("GET", path)
            conditions = found.get("status", {}).get("conditions", ())  # type: ignore[attr-defined]
            return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)

        wait_for(available, "the metrics API to be available")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = json.dumps(metrics.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        return Handler

    def answer(self, path: str) -> dict[str, object]:
        """Return the discovery document or the list of PodMetrics that a path asks for."""
        url = urlsplit(path)
        parts = url.path.strip("/").split("/")
        if "namespaces" not in parts:
            resource = {"name": "pods", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": GROUP_VERSION,
                "resources": [resource],
            }
        namespace = parts[parts.index("namespaces") + 1]
        selector = quote(parse_qs(url.query).get("labelSelector", [""])[0])
        pods = self.plane.request("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")
        stamp = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "metadata": {"name": pod["metadata"]["name"], "namespace": namespace},
                "timestamp": stamp,
                "window": "1s",
                "containers": [
                    {"name": each["name"], "usage": {"cpu": f"{self.milli}m", "memory": "1Mi"}}
                    for each in pod["spec"]["containers"]
                ],
            }
            for pod in pods["items"]  # type: ignore[attr-defined]
        ]
        return {"kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items}
