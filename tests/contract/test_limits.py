"""What the embedded cluster does not do is said in words, and as a Status."""

import json
from collections.abc import Iterator

import pytest

from grovekeeper.embedded.administrator import RefusedError
from grovekeeper.embedded.cluster import EmbeddedCluster

PODS = "/api/v1/namespaces/default/pods"
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
PROTOBUF = "application/vnd.kubernetes.protobuf"

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as found:
        yield found


def refused(cluster: EmbeddedCluster, *call: object) -> tuple[int, str]:
    """Return the code and message of a Status that is a failure."""
    with pytest.raises(RefusedError) as caught:
        cluster.request(*call)  # type: ignore[arg-type]  # method, path, body, content type
    status = json.loads(caught.value.answer)
    assert status["kind"] == "Status"
    return caught.value.code, status["message"]


def test_logs_and_shells_of_fake_pods_are_refused_in_words(cluster: EmbeddedCluster) -> None:
    cluster.request("POST", PODS, POD)
    for subresource in ("log", "exec", "portforward"):
        code, message = refused(cluster, "GET", f"{PODS}/p/{subresource}")
        assert (code, "run no containers" in message) == (404, True)


def test_a_body_that_is_not_what_it_says_is_a_bad_request(cluster: EmbeddedCluster) -> None:
    code, message = refused(cluster, "POST", PODS, POD, PROTOBUF)
    assert (code, "the body is not protobuf of Kubernetes" in message) == (400, True)


def test_events_have_the_columns_that_people_read(cluster: EmbeddedCluster) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "R", "message": "m"}
    cluster.request("POST", "/api/v1/namespaces/default/events", {**event, "type": "Normal"})
    found = cluster.request("GET", "/api/v1/events", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert found["rows"][0]["cells"][:6] == ["e", "Normal", "R", "Pod", "p", "m"]
