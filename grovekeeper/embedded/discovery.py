"""What clients ask before they ask for objects: versions, kinds, and enough of OpenAPI for kubectl.

kubectl reads the OpenAPI document of a group for two things: whether a request may carry `fieldValidation`, and the
schema that `explain` prints.
"""

from collections.abc import Iterable

from grovekeeper.api import raw
from grovekeeper.embedded import tables
from grovekeeper.embedded.kinds import Kind


def document(parts: list[str], kinds: Iterable[Kind]) -> raw.Object | None:
    """Return the document at a path that is no object's, or None where there is none."""
    served = list(kinds)
    if parts == ["version"]:
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.0-grovekeeper.embedded"}
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if parts == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups(served)}
    if parts[:2] == ["openapi", "v3"]:
        return _openapi(parts[2:], served)
    return _resources(parts, served)


def _groups(kinds: list[Kind]) -> list[raw.Object]:
    versions = sorted({(kind.group, kind.version) for kind in kinds if kind.group})
    return [
        {
            "name": g,
            "versions": [{"groupVersion": f"{g}/{v}", "version": v}],
            "preferredVersion": {"groupVersion": f"{g}/{v}", "version": v},
        }
        for g, v in versions
    ]


def _resources(parts: list[str], kinds: list[Kind]) -> raw.Object | None:
    found = _of_path(parts, kinds)
    if not found:
        return None
    listed = [entry for kind in found for entry in tables.resources(kind)]
    version = found[0].api_version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed}


def _of_path(parts: list[str], kinds: list[Kind]) -> list[Kind]:
    if len(parts) == 2 and parts[0] == "api":
        group, version = "", parts[1]
    elif len(parts) == 3 and parts[0] == "apis":
        group, version = parts[1], parts[2]
    else:
        return []
    return [kind for kind in kinds if kind.group == group and kind.version == version]


def _openapi(parts: list[str], kinds: list[Kind]) -> raw.Object | None:
    if not parts:
        places = sorted({_place(kind) for kind in kinds})
        return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in places}}
    found = _of_path(parts, kinds)
    if not found:
        return None
    paths: raw.Object = {}
    schemas: raw.Object = {}
    for kind in found:
        mark = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        parameters = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
        operation = {"parameters": parameters, "responses": {}, "x-kubernetes-group-version-kind": mark}
        scope = "namespaces/{namespace}/" if kind.namespaced else ""
        path = f"/{_place(kind)}/{scope}{kind.plural}"
        paths[path] = {"post": operation}
        paths[f"{path}/{{name}}"] = {"get": operation, "put": operation, "patch": operation}
        if kind.schema is not None:
            schemas[f"{kind.group}.{kind.version}.{kind.kind}"] = {
                **kind.schema,
                "x-kubernetes-group-version-kind": [mark],
            }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "embedded"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _place(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
