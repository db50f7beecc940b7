"""What `kubectl get` prints: discovery entries and tables with each kind's columns."""

import re
from datetime import UTC, datetime

from grovekeeper.api import conditions, raw
from grovekeeper.embedded.kinds import Kind

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_FILTER = re.compile(r"\[\?\(@\.type==\"([^\"]+)\"\)\]")


def resources(kind: Kind) -> list[raw.Object]:
    """Return the discovery entries of a kind and its subresources."""
    entry: raw.Object = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _VERBS,
        "shortNames": list(kind.short),
    }
    if kind.categories:
        entry["categories"] = list(kind.categories)
    entries = [entry]
    sub = {"singularName": "", "namespaced": kind.namespaced, "verbs": ["get", "patch", "update"]}
    if kind.has_status:
        entries.append({**sub, "name": f"{kind.plural}/status", "kind": kind.kind})
    if kind.kind == "Pod":
        # kubectl drain looks for it, and deletes pods where it is not there.
        eviction = {"name": "pods/eviction", "kind": "Eviction", "group": "policy", "version": "v1"}
        entries.append({**sub, **eviction, "verbs": ["create"]})
    if kind.scale is not None:
        scale = {"name": f"{kind.plural}/scale", "kind": "Scale", "group": "autoscaling", "version": "v1"}
        entries.append({**sub, **scale})
    return entries


def table(kind: Kind, objects: list[raw.Object], version: str) -> raw.Object:
    """Return a meta.k8s.io/v1 Table."""
    if kind.kind == "Pod":
        columns, rows = _POD_COLUMNS, [_pod(obj) for obj in objects]
    elif kind.kind == "Node":
        columns, rows = _NODE_COLUMNS, [_node(obj) for obj in objects]
    else:
        listed = kind.columns or ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)
        columns = [_column("Name", "string", 0)]
        columns += [_column(c["name"], c["type"], c.get("priority", 0)) for c in listed]
        rows = [[obj["metadata"]["name"], *(_cell(obj, c) for c in listed)] for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": columns,
        "rows": [
            {
                "cells": cells,
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": obj["metadata"],
                },
            }
            for cells, obj in zip(rows, objects, strict=True)
        ],
    }


def _column(name: str, type_: str, priority: int) -> raw.Object:
    kind = "string" if type_ == "date" else type_
    return {
        "name": name,
        "type": kind,
        "format": "name" if name == "Name" else "",
        "description": "",
        "priority": priority,
    }


_POD_COLUMNS = [
    _column(name, "string", priority)
    for name, priority in (
        ("Name", 0),
        ("Ready", 0),
        ("Status", 0),
        ("Restarts", 0),
        ("Age", 0),
        ("IP", 1),
        ("Node", 1),
    )
]
_NODE_COLUMNS = [_column(name, "string", 0) for name in ("Name", "Status", "Roles", "Age", "Version")]


def _pod(obj: raw.Object) -> list[raw.Json]:
    status = obj.get("status") or {}
    containers = status.get("containerStatuses") or []
    ready = sum(1 for entry in containers if entry.get("ready"))
    text = status.get("phase", "Pending")
    if obj["metadata"].get("deletionTimestamp"):
        text = "Terminating"
    elif obj["spec"].get("schedulingGates"):
        text = "SchedulingGated"
    elif text == "Pending" and obj["spec"].get("initContainers") and obj["spec"].get("nodeName"):
        text = "Init:0/" + str(len(obj["spec"]["initContainers"]))
    restarts = str(sum(entry.get("restartCount", 0) for entry in containers))
    node = obj["spec"].get("nodeName") or "<none>"
    return [
        obj["metadata"]["name"],
        f"{ready}/{len(obj['spec']['containers'])}",
        text,
        restarts,
        _age(obj),
        "<none>",
        node,
    ]


def _node(obj: raw.Object) -> list[raw.Json]:
    ready = conditions.is_true(obj, "Ready")
    text = ("Ready" if ready else "NotReady") + (
        ",SchedulingDisabled" if (obj.get("spec") or {}).get("unschedulable") else ""
    )
    return [obj["metadata"]["name"], text, "<none>", _age(obj), "embedded"]


def _cell(obj: raw.Object, column: raw.Object) -> raw.Json:
    if column["type"] == "date":
        return _age(obj)
    value = _at(obj, column["jsonPath"])
    return "" if value is None and column["type"] == "string" else value


def _at(obj: raw.Json, path: str) -> raw.Json:
    found = _FILTER.search(path)
    if found:
        listed = _at(obj, path[: found.start()]) or ()
        hit = next((entry for entry in listed if entry.get("type") == found.group(1)), None)
        return _at(hit, path[found.end() :]) if hit else None
    for part in path.strip(".").split("."):
        if part.endswith("[*]"):
            listed = obj.get(part[:-3]) or [] if isinstance(obj, dict) else []
            rest = path.partition("[*]")[2]
            return ",".join(str(_at(entry, rest)) for entry in listed)
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _age(obj: raw.Object) -> str:
    created = obj["metadata"].get("creationTimestamp")
    if not created:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())
    return f"{seconds}s" if seconds < 120 else f"{seconds // 60}m"
