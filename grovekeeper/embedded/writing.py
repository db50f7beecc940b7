"""The verbs that change objects: create, update, the patches, apply, delete."""

import secrets

from aiohttp import web

from grovekeeper.api import raw, structural
from grovekeeper.embedded import answers, apply, patches, preconditions, selectors, strategy
from grovekeeper.embedded import schema as schemas
from grovekeeper.embedded.call import Call
from grovekeeper.embedded.registry import Registry

_NO_METRICS = "the embedded cluster has no metrics: it keeps HorizontalPodAutoscalers and scales nothing by them"


async def create(registry: Registry, call: Call, body: raw.Object) -> web.Response:
    """Store a new object. Raises StatusError and DeniedError, as all verbs here do."""
    metadata = dict(body.get("metadata") or {})
    if call.kind.namespaced:
        metadata["namespace"] = call.namespace or metadata.get("namespace") or "default"
        if registry.storage.get(("", "namespaces"), ("", metadata["namespace"])) is None:
            missing = {"name": metadata["namespace"], "kind": "namespaces"}
            raise answers.StatusError(404, "NotFound", f'namespaces "{metadata["namespace"]}" not found', missing)
    for given in ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"):
        metadata.pop(given, None)
    prepared = strategy.prepared(call.kind, {**body, "metadata": metadata}, registry.storage)
    obj = await registry.admitted(call, prepared, None, "CREATE")
    metadata = obj["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        obj = {**obj, "metadata": {**metadata, "name": metadata["generateName"] + secrets.token_hex(3)[:5]}}
    key = (obj["metadata"].get("namespace", ""), obj["metadata"].get("name") or "")
    if not key[1]:
        raise answers.StatusError(422, "Invalid", f"{call.kind.kind} is invalid: metadata.name: Required value")
    if registry.storage.get(call.kind.collection, key) is not None:
        raise answers.StatusError(
            409, "AlreadyExists", f'{call.kind.plural} "{key[1]}" already exists', {"name": key[1]}
        )
    obj = registry.born(obj)
    obj = apply.updated(None, obj, schemas.of(call.kind), call.manager, "", registry.now())
    return _created(registry, call, obj)


async def update(registry: Registry, call: Call, body: raw.Object) -> web.Response:
    """Put a whole object, or a whole status, in the place of what is there."""
    async with registry.lock(call):
        live = registry.live(call)
        preconditions.check_version(call, body, live)
        return await _write(registry, call, live, body, owned=False)


async def patch(registry: Registry, call: Call, body: raw.Json, content: str) -> web.Response:
    """Change an object by a patch of the type that `content` names, of which apply is one; raises PatchError, too."""
    async with registry.lock(call):
        if content == patches.APPLY:
            return await _apply(registry, call, body)
        live = registry.live(call)
        new = patches.patched(call.kind.full(live), body, content, schemas.of(call.kind))
        preconditions.check_patched(call, new, live)
        return await _write(registry, call, live, new, owned=False)


async def delete(registry: Registry, call: Call, options: raw.Object) -> web.Response:
    """Delete an object if it is the one that the preconditions name, or all that are selected."""
    force = options.get("gracePeriodSeconds") == 0 or call.query.get("gracePeriodSeconds") == "0"
    if not call.name:
        matches = selectors.by_query(call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
        for obj in registry.storage.all(call.kind.collection, call.namespace):
            if matches(obj):
                await registry.admitted(call, None, obj, "DELETE")
                registry.delete(call, obj, force=force)
        return answers.json(answers.SUCCESS)
    obj = registry.live(call)
    preconditions.check_options(call, options, obj)
    await registry.admitted(call, None, obj, "DELETE")
    return answers.json(call.kind.full(registry.delete(call, obj, force=force)))


async def _apply(registry: Registry, call: Call, body: raw.Object) -> web.Response:
    live = registry.storage.get(call.kind.collection, (call.namespace, call.name))
    metadata = {**(body.get("metadata") or {}), "name": call.name}
    if live is not None:
        preconditions.check_version(call, body, live)
    if call.namespace:
        metadata["namespace"] = call.namespace
    config = {**body, "metadata": metadata}
    if call.kind.schema is not None:
        # Fields that the schema does not know are owned by nobody.
        config = {key: value for key, value in config.items() if key in call.kind.schema["properties"]}
    try:
        merged = apply.applied(
            call.kind.full(live) if live is not None else None,
            config,
            schemas.of(call.kind),
            call.manager,
            call.query.get("force") == "true",
            call.subresource,
            registry.now(),
        )
    except apply.ConflictError as error:
        causes = [
            {"reason": "FieldManagerConflict", "field": path, "message": f'conflict with "{owner}"'}
            for owner, path in error.fields
        ]
        text = f"Apply failed with {len(causes)} conflicts: " + ", ".join(c["field"] for c in causes)
        raise answers.StatusError(409, "Conflict", text, {"causes": causes}) from error
    if live is not None:
        return await _write(registry, call, live, merged, owned=True)
    fields = merged["metadata"].pop("managedFields")
    prepared = strategy.prepared(call.kind, merged, registry.storage)
    obj = registry.born(await registry.admitted(call, prepared, None, "CREATE"))
    obj["metadata"]["managedFields"] = fields
    return _created(registry, call, obj)


def _created(registry: Registry, call: Call, obj: raw.Object) -> web.Response:
    if call.kind.kind == "HorizontalPodAutoscaler":
        call.warnings.append(_NO_METRICS)
    return answers.json(call.kind.full(registry.keep(call, obj)), 201, call.warnings)


async def _write(registry: Registry, call: Call, live: raw.Object, new: raw.Object, *, owned: bool) -> web.Response:
    """Store a changed object: status by its subresource only, generation with the spec, finalizers at the end.

    `owned`: its managedFields are right already, as apply has made them.
    """
    new = _merged_parts(call, live, new)
    if call.kind.schema is not None:
        new = structural.pruned(new, call.kind.schema)
    fields = new["metadata"].get("managedFields")
    new = await registry.admitted(call, new, live, "UPDATE")
    if owned:
        new["metadata"]["managedFields"] = fields
    else:
        new = apply.updated(live, new, schemas.of(call.kind), call.manager, call.subresource, registry.now())
    if call.subresource != "status" and new.get("spec") != live.get("spec"):
        new["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
    if _same(new, live):
        return answers.json(call.kind.full(live), warnings=call.warnings)
    metadata = new["metadata"]
    if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and call.kind.kind != "Pod":
        return answers.json(call.kind.full(registry.remove(call, new)))
    return answers.json(call.kind.full(registry.keep(call, new)), warnings=call.warnings)


def _merged_parts(call: Call, live: raw.Object, new: raw.Object) -> raw.Object:
    """Keep what this write may not touch: system metadata, and status or everything but status."""
    system = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
    fixed = {key: live["metadata"][key] for key in (*system, "resourceVersion") if key in live["metadata"]}
    new = {**new, "metadata": {**new["metadata"], **fixed}}
    if call.subresource == "status":
        fields = new["metadata"].get("managedFields", [])
        metadata = {**live["metadata"], "managedFields": fields}
        return {**call.kind.full(live), "status": new.get("status"), "metadata": metadata}
    if call.kind.has_status and (call.kind.schema is not None or call.kind.kind == "Pod"):
        new = {key: value for key, value in new.items() if key != "status"}
        if "status" in live:
            new["status"] = live["status"]
    return new


def _same(new: raw.Object, live: raw.Object) -> bool:
    def metadata(obj: raw.Object) -> raw.Object:
        return {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}

    keys = {*new, *live} - {"metadata", "apiVersion", "kind"}
    return all(new.get(key) == live.get(key) for key in keys) and metadata(new) == metadata(live)
