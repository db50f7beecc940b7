"""Server-side apply and the bookkeeping of field ownership (metadata.managedFields, format FieldsV1).

A set of fields is a set of paths; a path is a tuple of FieldsV1 path elements: `f:name`, `k:{"name":"x"}`, `v:"y"`.
"""

import json
from dataclasses import dataclass

from grovekeeper.api import raw
from grovekeeper.embedded import schema as schemas

Path = tuple[str, ...]
_UNOWNED = {("f:apiVersion",), ("f:kind",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace")}
_SYSTEM = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")


@dataclass(frozen=True, slots=True)
class ConflictError(Exception):
    """Fields that would change are owned by others: (manager, path)."""

    fields: tuple[tuple[str, str], ...]


def applied(
    live: raw.Object | None,
    config: raw.Object,
    schema: raw.Object,
    manager: str,
    force: bool,
    subresource: str,
    now: str,
) -> raw.Object:
    """Return the live object with a configuration applied; raises ConflictError."""
    owners = _owners(live)
    mine_key = (manager, "Apply", subresource)
    wanted = paths(config, schema) - _UNOWNED
    base = dict(live or {})
    merged = _merge(base, config, schema)
    conflicts = []
    for key, owned in owners.items():
        if key == mine_key:
            continue
        clash = {path for path in owned & wanted if value_at(live, path, schema) != value_at(config, path, schema)}
        if clash and not force:
            conflicts += [(key[0], pretty(path)) for path in sorted(clash)]
        owners[key] = owned - clash
    if conflicts:
        raise ConflictError(tuple(conflicts))
    dropped = owners.get(mine_key, set()) - wanted
    kept = set().union(*(owned for key, owned in owners.items() if key != mine_key))
    # Whole list entries before their fields: an entry is found by its keys, which are among the fields.
    for path in sorted(dropped - kept, key=len):
        if not any(other[: len(path)] == path for other in wanted | kept if len(other) > len(path)):
            merged = _without(merged, path, schema)
    owners[mine_key] = wanted
    return with_owners(merged, owners, live, now)


def updated(
    live: raw.Object | None, new: raw.Object, schema: raw.Object, manager: str, subresource: str, now: str
) -> raw.Object:
    """Return the new object with ownership of what a plain write changed."""
    owners = _owners(live)
    before = paths(live, schema) if live is not None else set()
    after = paths(new, schema)
    changed = {
        path for path in after if path not in before or value_at(live, path, schema) != value_at(new, path, schema)
    }
    changed = {path for path in changed - _UNOWNED if not (path[0] == "f:metadata" and path[-1][2:] in _SYSTEM)}
    mine_key = (manager, "Update", subresource)
    for key, owned in owners.items():
        owners[key] = (owned & after) - (changed if key != mine_key else set())
    if changed:
        owners[mine_key] = owners.get(mine_key, set()) | changed
    return with_owners(new, owners, live, now)


def paths(value: raw.Json, schema: raw.Object | None, prefix: Path = ()) -> set[Path]:
    """Return the leaves of a value as paths, by the schema's list semantics."""
    result: set[Path] = set()
    if isinstance(value, dict) and (value or not prefix):
        for name, entry in value.items():
            if not prefix and name == "status" and entry is None:
                continue
            if prefix == ("f:metadata",) and name in _SYSTEM:
                continue
            result |= paths(entry, schemas.child(schema, name) if schema else None, (*prefix, f"f:{name}"))
        return result
    keys = schemas.list_keys(schema)
    if isinstance(value, list) and keys:
        for entry in value:
            element = _element(entry, keys)
            result.add((*prefix, element))
            result |= paths(entry, schemas.item(schema), (*prefix, element))
        return result
    if isinstance(value, list) and schemas.is_set(schema):
        return {(*prefix, f"v:{json.dumps(entry)}") for entry in value}
    return {prefix}


def value_at(value: raw.Json, path: Path, schema: raw.Object | None) -> raw.Json:
    """Return what is at a path, or None."""
    for element in path:
        if element.startswith("f:"):
            value = value.get(element[2:]) if isinstance(value, dict) else None
            schema = schemas.child(schema, element[2:]) if schema else None
        elif element.startswith("k:"):
            keys = json.loads(element[2:])
            found = [
                e
                for e in value or ()
                if all(e.get(k, "TCP" if k == "protocol" else None) == v for k, v in keys.items())
            ]
            value = found[0] if found else None
            schema = schemas.item(schema)
        else:
            value = json.loads(element[2:]) if json.loads(element[2:]) in (value or ()) else None
    return value


def pretty(path: Path) -> str:
    """Return a path as the API server prints it: .spec.template.cliques[name="x"].spec."""
    text = ""
    for element in path:
        if element.startswith("f:"):
            text += f".{element[2:]}"
        elif element.startswith("k:"):
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(element[2:]).items()) + "]"
        else:
            text += f"[={element[2:]}]"
    return text


def with_owners(
    obj: raw.Object, owners: dict[tuple[str, str, str], set[Path]], live: raw.Object | None, now: str
) -> raw.Object:
    """Return the object with managedFields written from sets of paths; unchanged entries keep their time."""
    old = {_entry_key(entry): entry for entry in ((live or {}).get("metadata") or {}).get("managedFields") or ()}
    entries = []
    for key, owned in owners.items():
        if not owned:
            continue
        fields = _tree(owned)
        known = old.get(key)
        if known is not None and known["fieldsV1"] == fields:
            entries.append(known)
            continue
        entry: raw.Object = {
            "manager": key[0],
            "operation": key[1],
            "apiVersion": obj["apiVersion"],
            "time": now,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        if key[2]:
            entry["subresource"] = key[2]
        entries.append(entry)
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


def _owners(live: raw.Object | None) -> dict[tuple[str, str, str], set[Path]]:
    entries = ((live or {}).get("metadata") or {}).get("managedFields") or ()
    return {_entry_key(entry): _leaves(entry["fieldsV1"]) for entry in entries}


def _entry_key(entry: raw.Object) -> tuple[str, str, str]:
    return entry["manager"], entry["operation"], entry.get("subresource", "")


def _tree(owned: set[Path]) -> raw.Object:
    root: raw.Object = {}
    for path in sorted(owned):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    return root


def _leaves(tree: raw.Object, prefix: Path = ()) -> set[Path]:
    result: set[Path] = set()
    if not tree and prefix:
        return {prefix}
    for element, sub in tree.items():
        if element == ".":
            result.add(prefix)
        else:
            result |= _leaves(sub, (*prefix, element))
    return result


def _element(entry: raw.Object, keys: list[str]) -> str:
    mark = {key: entry.get(key, "TCP") for key in keys if key in entry or key == "protocol"}
    return f"k:{json.dumps(mark, sort_keys=True, separators=(',', ':'))}"


def _merge(live: raw.Json, config: raw.Json, schema: raw.Object | None) -> raw.Json:
    if isinstance(config, dict) and isinstance(live, dict):
        result = dict(live)
        for key, value in config.items():
            sub = schemas.child(schema, key) if schema else None
            result[key] = _merge(live[key], value, sub) if key in live else value
        return result
    keys = schemas.list_keys(schema)
    if isinstance(config, list) and isinstance(live, list) and keys:
        by_mark = {_element(entry, keys): entry for entry in live}
        for entry in config:
            mark = _element(entry, keys)
            by_mark[mark] = _merge(by_mark[mark], entry, schemas.item(schema)) if mark in by_mark else entry
        return list(by_mark.values())
    if isinstance(config, list) and isinstance(live, list) and schemas.is_set(schema):
        return [*live, *(entry for entry in config if entry not in live)]
    return config


def _without(value: raw.Json, path: Path, schema: raw.Object | None) -> raw.Json:
    element, rest = path[0], path[1:]
    if element.startswith("f:") and isinstance(value, dict) and element[2:] in value:
        name = element[2:]
        if not rest:
            return {key: entry for key, entry in value.items() if key != name}
        inner = _without(value[name], rest, schemas.child(schema, name) if schema else None)
        return {**value, name: inner}
    if element.startswith("k:") and isinstance(value, list):
        keys = json.loads(element[2:])
        hit = [all(entry.get(key) == wanted for key, wanted in keys.items()) for entry in value]
        if not rest:
            return [entry for entry, is_it in zip(value, hit, strict=True) if not is_it]
        return [_without(e, rest, schemas.item(schema)) if is_it else e for e, is_it in zip(value, hit, strict=True)]
    if element.startswith("v:") and isinstance(value, list):
        return [entry for entry in value if entry != json.loads(element[2:])]
    return value
