"""The published OpenAPI of Kubernetes, reduced (tests/tools/openapi.py makes the file)."""

import json
from functools import cache
from importlib import resources

from grovekeeper.api import raw

KUBERNETES = "1.37"
_NUMBER = r"(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
_QUANTITY = rf"^(\+|-)?({_NUMBER}(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?{_NUMBER}))?)$"


@cache
def definitions() -> dict[str, raw.Object]:
    """Return definition name (io.k8s.api.core.v1.Pod) to schema, with $ref unresolved; shared, not to be changed."""
    data = resources.files("grovekeeper.api.openapi_data").joinpath(f"kubernetes-{KUBERNETES}.json").read_bytes()
    loaded: dict[str, raw.Object] = json.loads(data)
    return loaded


def structural(name: str) -> raw.Object:
    """Return one definition as a CRD needs it: every $ref resolved, IntOrString and Quantity spelt out."""
    return _resolved({"$ref": f"#/definitions/{name}"})


def _resolved(schema: raw.Object) -> raw.Object:
    reference = schema.get("$ref")
    if reference is not None:
        return _reference(reference.rpartition("/")[2])
    result: raw.Object = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: _resolved(entry) for name, entry in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = _resolved(value)
        elif not _left_out(key, value):
            result[key] = value
    _complete_map_keys(result)
    return result


def _left_out(key: str, value: raw.Json) -> bool:
    if key in ("x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-unions"):
        return True
    return (key == "default" and value == {}) or (key == "format" and value in ("int-or-string", "double"))


def _reference(name: str) -> raw.Object:
    if name.endswith("resource.Quantity"):
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": _QUANTITY,
            "x-kubernetes-int-or-string": True,
        }
    if name.endswith("intstr.IntOrString"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    if name.endswith(("meta.v1.FieldsV1", "runtime.RawExtension")):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if name.endswith("meta.v1.ObjectMeta"):
        return {"type": "object"}
    return _resolved(definitions()[name])


def _complete_map_keys(schema: raw.Object) -> None:
    """A list map's keys must be required or defaulted: the API server demands it of CRDs."""
    if schema.get("x-kubernetes-list-type") != "map":
        return
    item = schema["items"]
    for key in schema["x-kubernetes-list-map-keys"]:
        if key not in item.get("required", ()) and "default" not in item["properties"][key]:
            item["properties"][key] = {**item["properties"][key], "default": "TCP" if key == "protocol" else ""}
