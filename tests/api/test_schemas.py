"""The schemas that people meet: `kubectl explain`, and what the API server would say of an object."""

from collections.abc import Iterator

import pytest

from grovekeeper.api import crds, raw, structural
from tests.builders import clique, podgangset

WRITTEN = [kind for kind in crds.KINDS if kind.kind in ("PodGangSet", "PodCliqueSet", "ClusterTopologyBinding")]


def fields(schema: raw.Object, path: str) -> Iterator[tuple[str, raw.Object]]:
    """Yield the fields below a schema, those of Kubernetes' own types without what is in them."""
    for name, entry in (schema.get("properties") or {}).items():
        yield f"{path}.{name}", entry
        if name not in ("podSpec", "metrics", "replicaSpreadConstraints", "templateSpec"):
            yield from fields(entry.get("items") or entry, f"{path}.{name}")


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.kind)
def test_every_field_that_people_write_says_what_it_is(kind: crds.Kind) -> None:
    found = dict(fields(crds.schema(kind)["properties"]["spec"], "spec"))
    assert len(found) > 3
    assert [path for path, entry in found.items() if not entry.get("description")] == []


@pytest.mark.parametrize(
    ("change", "want"),
    [
        pytest.param({"minAvailable": 2**31}, "minAvailable: Invalid value: 2147483648: must be at most", id="bound"),
        pytest.param({"roleName": "r" * 254}, "roleName: Too long", id="length"),
        pytest.param({"startsAfter": [None]}, "startsAfter[0]: Required value", id="an empty entry"),
        pytest.param({"replicas": True}, "replicas: Invalid value: true: must be of type integer", id="a boolean"),
        pytest.param({"podSpec": {}}, "podSpec.containers: Required value", id="required"),
        pytest.param(
            {"podSpec": {"containers": [{"name": "c", "ports": [{"containerPort": 1}, {"containerPort": 1}]}]}},
            'ports[1]: Duplicate value: {"containerPort": 1, "protocol": "TCP"}',
            id="the same key by a default",
        ),
        pytest.param(
            {"podSpec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1\n"}}}]}},
            "must be a quantity such as",
            id="a line's end after a quantity",
        ),
        pytest.param(
            {"podSpec": {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 1.5}}}]}},
            "must be of type integer or string, found a number",
            id="neither integer nor text",
        ),
    ],
)
def test_what_the_api_server_would_refuse_is_found(change: raw.Object, want: str) -> None:
    found = [fault.text() for fault in structural.faults(podgangset(clique("a", **change)), crds.schema(WRITTEN[0]))]
    assert len(found) == 1
    assert want in found[0]


def test_rules_about_what_was_there_before_are_asked_only_where_there_was_something() -> None:
    old = podgangset(clique("a"))
    old["spec"]["template"]["topologyConstraint"] = {"packDomain": "rack"}
    schema = crds.schema(WRITTEN[0])
    assert [fault.reason for fault in structural.faults(old, schema)] == ["Forbidden"]
    assert list(structural.faults(old, schema, old)) == []
