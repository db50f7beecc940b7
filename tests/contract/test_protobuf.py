"""The embedded cluster reads what kubectl's typed commands send; other bytes are refused, whatever they are."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grovekeeper.embedded import protobuf

AUTOSCALE = bytes.fromhex(
    "6b3873000a290a0e6175746f7363616c696e672f76321217486f72697a6f6e74616c506f644175746f7363616c657212"
    "470a140a0473686f7012001a0022002a003200380042001229 0a250a0a506f6447616e6753657412 0473686f701a11 67"
    "726f76652e696f2f7631616c70686131 18031a04180020001a002200".replace(" ", "")
)
"""Of `kubectl autoscale pgs shop --max=3`, kubectl 1.37."""


def field(number: int, value: bytes | int) -> bytes:
    """Return a field of less than 128 bytes, or a small number."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def enveloped(version: bytes, kind: bytes, content: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, version) + field(2, kind)) + field(2, content)


def test_what_kubectl_autoscale_sends_is_read() -> None:
    target = {"apiVersion": "grove.io/v1alpha1", "kind": "PodGangSet", "name": "shop"}
    assert protobuf.decoded(AUTOSCALE) == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3},
    }


def test_maps_lists_and_zero_are_read() -> None:
    labels = field(11, field(1, b"a") + field(2, b"b")) + field(11, field(1, b"c"))
    options = field(1, 0) + field(5, b"All") + field(2, field(1, b"u"))
    found = protobuf.decoded(
        enveloped(b"policy/v1", b"Eviction", field(1, field(1, b"p") + labels) + field(2, options))
    )
    assert found["metadata"] == {"name": "p", "labels": {"a": "b", "c": ""}}
    assert found["deleteOptions"] == {"gracePeriodSeconds": 0, "dryRun": ["All"], "preconditions": {"uid": "u"}}
    assert protobuf.decoded(enveloped(b"apps/v1", b"DeleteOptions", options))["dryRun"] == ["All"]


def test_metrics_of_an_autoscaler_are_read() -> None:
    quantity = field(1, b"100m")
    metric = field(1, b"Resource") + field(4, field(1, b"cpu") + field(2, field(3, quantity) + field(4, 80)))
    body = enveloped(b"autoscaling/v2", b"HorizontalPodAutoscaler", field(2, field(4, metric)))
    target = {"averageValue": "100m", "averageUtilization": 80}
    want = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert protobuf.decoded(body)["spec"]["metrics"] == want


def test_a_kind_that_is_not_read_is_named_with_the_way_round() -> None:
    with pytest.raises(protobuf.UnknownKindError, match=r"v1 Secret as JSON only .* kubectl create -f"):
        protobuf.decoded(enveloped(b"v1", b"Secret", b""))


@given(st.binary(max_size=60), st.integers(0, len(AUTOSCALE)), st.booleans())
def test_any_bytes_are_read_or_refused(rest: bytes, kept: int, framed: bool) -> None:
    body = enveloped(b"policy/v1", b"Eviction", rest) if framed else AUTOSCALE[:kept] + rest
    with contextlib.suppress(ValueError, protobuf.UnknownKindError):
        assert isinstance(protobuf.decoded(body), dict)
