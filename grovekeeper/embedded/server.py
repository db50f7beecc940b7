"""The API server: HTTP in, storage out. Not here, and said in docs/architecture.md: RBAC, quotas, aggregation."""

import asyncio
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from grovekeeper.api import errors, raw, structural
from grovekeeper.embedded import answers, apply, discovery, kinds, paging, patches, pods, selectors, tables
from grovekeeper.embedded import schema as schemas
from grovekeeper.embedded.admission import Admission, DeniedError, Request
from grovekeeper.embedded.controllers import Controllers
from grovekeeper.embedded.storage import Collection, Storage, TooOldError

_BOOKMARK_SECONDS = 5.0
_CRDS = "customresourcedefinitions"
_NO_METRICS = "the embedded cluster has no metrics: it keeps HorizontalPodAutoscalers and scales nothing by them"


@dataclass(slots=True)
class Call:
    """One request, taken apart."""

    kind: kinds.Kind
    namespace: str
    name: str
    subresource: str
    query: dict[str, str]
    user: str
    groups: tuple[str, ...]
    manager: str
    warnings: list[str] = field(default_factory=list)

    @property
    def dry(self) -> bool:
        """Return whether nothing is to be stored."""
        return self.query.get("dryRun") == "All"

    def take(self, options: raw.Object) -> raw.Object:
        """Follow the options of a deletion that came as a body; return them."""
        if "All" in (options.get("dryRun") or ()):
            self.query["dryRun"] = "All"
        return options


class ApiServer:
    """Serves the kinds of a small Kubernetes."""

    def __init__(self, storage: Storage, now: Callable[[], str], admin_token: str, authority: str) -> None:
        self.storage = storage
        self.now = now
        self.tokens = {admin_token: "kubernetes-admin"}
        self.kinds = {kind.collection: kind for kind in kinds.built_in()}
        self.admission = Admission(storage)
        self.controllers = Controllers(storage, self.tokens, authority, self._plant)
        self._locks: dict[tuple[Collection, str, str], asyncio.Lock] = {}

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    def _plant(self, collection: Collection, obj: raw.Object) -> None:
        """Store an object of the server's own."""
        if self.storage.get(collection, (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])) is None:
            self.storage.put(collection, self._born(obj))

    def _born(self, obj: raw.Object) -> raw.Object:
        metadata = {**obj["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": self.now(), "generation": 1}
        return {**obj, "metadata": metadata}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            answer = await self._route(request)
        except answers.StatusError as error:
            return answers.json(error.body, error.code)
        except DeniedError as error:
            return answers.json(
                answers.StatusError(error.code, error.reason, str(error), error.details).body, error.code
            )
        return answer

    async def _route(self, request: web.Request) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        if len(parts) < 3 or parts[0] not in ("api", "apis") or (parts[0] == "apis" and len(parts) < 4):
            return self._discovery(parts)
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        call = self._call(request, group, version, rest)
        if request.method == "GET":
            return await self._read(request, call)
        body = await answers.decoded(request)
        if request.method in ("POST", "PUT", "PATCH") and isinstance(body, dict) and not call.subresource:
            self._check_fields(call, body, request.content_type)
        if request.method == "POST":
            return await self._create(call, body)
        if request.method == "PUT":
            return await self._put(call, body)
        if request.method == "PATCH":
            return await self._patch(call, body, request.content_type)
        if request.method == "DELETE":
            return await self._delete(call, call.take(body or {}))
        raise answers.StatusError(405, "MethodNotAllowed", f"{request.method} is not supported")

    def _check_fields(self, call: Call, body: raw.Object, content: str) -> None:
        """Refuse unknown fields, or warn of them, as `fieldValidation` asks; apply always refuses them."""
        unknown = [path for path, _known in structural.unknown(body, call.kind.schema)]
        if not unknown or call.query.get("fieldValidation") == "Ignore":
            return
        if content == "application/apply-patch+yaml":
            text = f"failed to create typed patch object: .{unknown[0]}: field not declared in schema"
            raise answers.StatusError(400, "BadRequest", text)
        texts = [f'unknown field "{path}"' for path in unknown]
        if call.query.get("fieldValidation") == "Strict":
            raise answers.StatusError(400, "BadRequest", f"strict decoding error: {', '.join(texts)}")
        call.warnings.extend(texts)

    def _call(self, request: web.Request, group: str, version: str, rest: list[str]) -> Call:
        namespace = ""
        if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in ("status", "finalize")):
            namespace, rest = rest[1], rest[2:]
        kind = self.kinds.get((group, rest[0]))
        if kind is None or kind.version != version:
            raise answers.StatusError(404, "NotFound", "the server could not find the requested resource")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        user = self.tokens.get(token)
        if user is None:
            raise answers.StatusError(401, "Unauthorized", "Unauthorized")
        groups = ("system:masters",) if user == "kubernetes-admin" else ("system:serviceaccounts",)
        agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
        query = dict(request.query)
        name = rest[1] if len(rest) > 1 else ""
        sub = rest[2] if len(rest) > 2 else ""
        return Call(kind, namespace, name, sub, query, user, groups, query.get("fieldManager") or agent)

    def _discovery(self, parts: list[str]) -> web.Response:
        if parts in (["readyz"], ["healthz"], ["livez"]):
            return web.Response(text="ok")
        found = discovery.document(parts, self.kinds.values())
        if found is None:
            raise answers.StatusError(404, "NotFound", "the server could not find the requested resource")
        return answers.json(found)

    async def _read(self, request: web.Request, call: Call) -> web.StreamResponse:
        if call.name:
            obj = self._stored(call)
            if call.subresource == "scale":
                return answers.json(_scale_of(call.kind, obj))
            if call.subresource not in ("", "status"):
                text = f"{call.subresource} is not served: the kubelets of the embedded cluster run no containers"
                raise answers.StatusError(404, "NotFound", text)
            return self._shown(request, call, [self._full(call.kind, obj)], single=True)
        matches = selectors.by_query(call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))

        def mine(obj: raw.Object) -> bool:
            return (not call.namespace or obj["metadata"].get("namespace") == call.namespace) and matches(obj)

        if call.query.get("watch") in ("true", "1"):
            return await self._watch(request, call, mine)
        found = [self._full(call.kind, obj) for obj in self.storage.all(call.kind.collection) if mine(obj)]
        return self._shown(request, call, found, single=False)

    def _shown(self, request: web.Request, call: Call, found: list[raw.Object], *, single: bool) -> web.Response:
        if "as=Table" in request.headers.get("Accept", ""):
            return answers.json(tables.table(call.kind, found, str(self.storage.version)))
        if single:
            return answers.json(found[0])
        try:
            shown, rest = paging.page(found, call.query)
        except ValueError as error:
            raise answers.StatusError(400, "BadRequest", str(error)) from error
        body = {
            "kind": f"{call.kind.kind}List",
            "apiVersion": call.kind.api_version,
            "metadata": {"resourceVersion": str(self.storage.version), **rest},
            "items": shown,
        }
        return answers.json(body)

    async def _watch(self, request: web.Request, call: Call, mine: Callable[[raw.Object], bool]) -> web.StreamResponse:
        since = int(call.query.get("resourceVersion") or 0)
        try:
            watch = self.storage.watch(call.kind.collection, since, mine)
        except TooOldError as error:
            raise answers.StatusError(410, "Expired", f"too old resource version: {since}") from error
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        end = asyncio.get_running_loop().time() + float(call.query.get("timeoutSeconds") or 300)
        as_table = "as=Table" in request.headers.get("Accept", "")
        try:
            while asyncio.get_running_loop().time() < end:
                lines = await self._next_lines(watch.queue, call, as_table=as_table)
                await response.write(b"".join(lines))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.storage.close(watch)
        return response

    async def _next_lines(
        self, events: "asyncio.Queue[tuple[str, raw.Object]]", call: Call, *, as_table: bool
    ) -> list[bytes]:
        try:
            batch = [await asyncio.wait_for(events.get(), _BOOKMARK_SECONDS)]
        except TimeoutError:
            metadata = {"resourceVersion": str(self.storage.version), "name": ""}
            obj: raw.Object = {"kind": call.kind.kind, "apiVersion": call.kind.api_version, "metadata": metadata}
            return [orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"]
        while not events.empty() and len(batch) < 200:
            batch.append(events.get_nowait())
        lines = []
        for kind, stored in batch:
            full = self._full(call.kind, stored)
            shown = tables.table(call.kind, [full], "") if as_table else full
            lines.append(orjson.dumps({"type": kind, "object": shown}) + b"\n")
        return lines

    def _full(self, kind: kinds.Kind, obj: raw.Object) -> raw.Object:
        return {"apiVersion": kind.api_version, "kind": kind.kind, **obj}

    def _stored(self, call: Call) -> raw.Object:
        obj = self.storage.get(call.kind.collection, (call.namespace, call.name))
        if obj is None:
            resource = f"{call.kind.plural}.{call.kind.group}" if call.kind.group else call.kind.plural
            raise answers.StatusError(
                404, "NotFound", f'{resource} "{call.name}" not found', {"name": call.name, "kind": call.kind.plural}
            )
        return obj

    def _lock(self, call: Call) -> asyncio.Lock:
        return self._locks.setdefault((call.kind.collection, call.namespace, call.name), asyncio.Lock())

    def _schema(self, kind: kinds.Kind) -> raw.Object:
        return kind.schema if kind.schema is not None else schemas.built_in(kind.definition)

    async def _create(self, call: Call, body: raw.Object) -> web.Response:
        if call.subresource:
            return self._create_sub(call, body)
        metadata = dict(body.get("metadata") or {})
        if call.kind.namespaced:
            metadata["namespace"] = call.namespace or metadata.get("namespace") or "default"
            if self.storage.get(("", "namespaces"), ("", metadata["namespace"])) is None:
                missing = {"name": metadata["namespace"], "kind": "namespaces"}
                raise answers.StatusError(404, "NotFound", f'namespaces "{metadata["namespace"]}" not found', missing)
        for given in ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"):
            metadata.pop(given, None)
        obj = self._without_status(call.kind, {**body, "metadata": metadata})
        obj = await self._admitted(call, self._defaulted(call.kind, obj), None, "CREATE")
        metadata = obj["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            obj = {**obj, "metadata": {**metadata, "name": metadata["generateName"] + secrets.token_hex(3)[:5]}}
        key = (obj["metadata"].get("namespace", ""), obj["metadata"].get("name") or "")
        if not key[1]:
            raise answers.StatusError(422, "Invalid", f"{call.kind.kind} is invalid: metadata.name: Required value")
        if self.storage.get(call.kind.collection, key) is not None:
            raise answers.StatusError(
                409, "AlreadyExists", f'{call.kind.plural} "{key[1]}" already exists', {"name": key[1]}
            )
        obj = self._born(obj)
        obj = apply.updated(None, obj, self._schema(call.kind), call.manager, "", self.now())
        return self._keep(call, obj, 201)

    def _create_sub(self, call: Call, body: raw.Object) -> web.Response:
        obj = self._stored(call)
        if call.subresource == "token":
            token = self.controllers.token_for(call.namespace, call.name)
            return answers.json({**body, "status": {"token": token, "expirationTimestamp": self.now()}}, 201)
        if call.subresource == "binding":
            fault = pods.binding_fault(obj)
            if fault:
                raise answers.StatusError(
                    409, "Conflict", f'Operation cannot be fulfilled on pods "{call.name}": {fault}'
                )
            if not call.dry:
                self.storage.put(call.kind.collection, pods.bound(obj, body["target"]["name"], self.now()))
            return answers.json({"kind": "Status", "apiVersion": "v1", "status": "Success"}, 201)
        if call.subresource == "eviction":
            call.take(body.get("deleteOptions") or {})
            wanted = (body.get("deleteOptions") or {}).get("preconditions") or {}
            if (wanted.get("uid") or obj["metadata"]["uid"]) != obj["metadata"]["uid"]:
                raise self._conflict(call)
            budgets = self.storage.all(("policy", "poddisruptionbudgets"), call.namespace)
            if obj["spec"].get("nodeName") and len(pods.covering(obj, budgets)) > 1:
                text = (
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                )
                raise answers.StatusError(500, "InternalError", text)
            if pods.protected(obj, budgets, self.storage.all(call.kind.collection, call.namespace)):
                text = "Cannot evict pod as it would violate the pod's disruption budget."
                raise answers.StatusError(429, "TooManyRequests", text)
            if not call.dry:
                marked = self.storage.put(call.kind.collection, pods.evicted(obj, self.now()))
                self.controllers.delete(call.kind.collection, marked)
            return answers.json({"kind": "Status", "apiVersion": "v1", "status": "Success"}, 201)
        raise answers.StatusError(404, "NotFound", f"there is no subresource {call.subresource}")

    def _without_status(self, kind: kinds.Kind, obj: raw.Object) -> raw.Object:
        if kind.schema is not None and kind.has_status:
            return {key: value for key, value in obj.items() if key != "status"}
        return obj

    def _defaulted(self, kind: kinds.Kind, obj: raw.Object) -> raw.Object:
        if kind.schema is not None:
            found: raw.Object = structural.pruned(obj, kind.schema)
            return found
        if kind.kind == "Pod":
            priority_class = self.storage.get(
                ("scheduling.k8s.io", "priorityclasses"), ("", obj["spec"].get("priorityClassName") or "")
            )
            return pods.defaulted(obj, (priority_class or {}).get("value", 0))
        return obj

    async def _admitted(self, call: Call, obj: raw.Object | None, old: raw.Object | None, operation: str) -> raw.Object:
        metadata = (obj or old or {})["metadata"]
        request = Request(
            operation,
            call.kind,
            metadata.get("namespace", ""),
            metadata.get("name", "") if call.name or operation != "CREATE" else "",
            call.user,
            call.groups,
            self._full(call.kind, obj) if obj is not None else None,
            self._full(call.kind, old) if old is not None else None,
            call.subresource,
            call.dry,
        )
        admitted = await self.admission.admit(request)
        if admitted is None or call.subresource == "scale":
            return obj or {}
        self._check(call.kind, admitted, old)
        return admitted

    def _check(self, kind: kinds.Kind, obj: raw.Object, old: raw.Object | None) -> None:
        found = list(structural.faults(obj, kind.schema, old))
        if kind.kind == "Pod":
            fault = pods.creation_fault(obj) if old is None else pods.update_fault(obj, old)
            if fault:
                found.append(errors.FieldError(fault[0], "Forbidden", fault[1]))
        if found:
            name = obj["metadata"].get("name", "")
            causes = [
                {
                    "field": each.path,
                    "reason": f"FieldValue{each.reason}",
                    "message": each.text().removeprefix(f"{each.path}: "),
                }
                for each in found
            ]
            text = errors.joined(found)
            full = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
            raise answers.StatusError(
                422, "Invalid", f'{full} "{name}" is invalid: {text}', {"name": name, "causes": causes}
            )

    async def _put(self, call: Call, body: raw.Object) -> web.Response:
        async with self._lock(call):
            live = self._stored(call)
            version = (body.get("metadata") or {}).get("resourceVersion")
            if version and version != live["metadata"]["resourceVersion"]:
                raise self._conflict(call)
            if call.subresource == "scale":
                return await self._scaled(call, live, body)
            return await self._write(call, live, body, apply_owner=False)

    def _conflict(self, call: Call) -> answers.StatusError:
        text = "the object has been modified; please apply your changes to the latest version and try again"
        return answers.StatusError(
            409, "Conflict", f'Operation cannot be fulfilled on {call.kind.plural} "{call.name}": {text}'
        )

    async def _patch(self, call: Call, body: raw.Json, content: str) -> web.Response:
        async with self._lock(call):
            if content == "application/apply-patch+yaml":
                return await self._apply(call, body)
            live = self._stored(call)
            if call.subresource == "scale":
                scale = patches.patched(_scale_of(call.kind, live), body, content, {})
                return await self._scaled(call, live, scale)
            try:
                new = patches.patched(self._full(call.kind, live), body, content, self._schema(call.kind))
            except patches.PatchError as error:
                raise answers.StatusError(422, "Invalid", f"the server rejected our request: {error}") from error
            if new["metadata"].get("uid") != live["metadata"]["uid"]:
                raise self._conflict(call)
            if new["metadata"].get("resourceVersion") not in (None, live["metadata"]["resourceVersion"]):
                raise self._conflict(call)
            return await self._write(call, live, new, apply_owner=False)

    async def _apply(self, call: Call, body: raw.Object) -> web.Response:
        live = self.storage.get(call.kind.collection, (call.namespace, call.name))
        metadata = {**(body.get("metadata") or {}), "name": call.name}
        version = metadata.get("resourceVersion")
        if live is not None and version and version != live["metadata"]["resourceVersion"]:
            raise self._conflict(call)
        if call.namespace:
            metadata["namespace"] = call.namespace
        config = {**body, "metadata": metadata}
        if call.kind.schema is not None:
            config = _without_defaults(config, call.kind.schema)
        try:
            merged = apply.applied(
                self._full(call.kind, live) if live is not None else None,
                config,
                self._schema(call.kind),
                call.manager,
                call.query.get("force") == "true",
                call.subresource,
                self.now(),
            )
        except apply.ConflictError as error:
            causes = [
                {"reason": "FieldManagerConflict", "field": path, "message": f'conflict with "{owner}"'}
                for owner, path in error.fields
            ]
            text = f"Apply failed with {len(causes)} conflicts: " + ", ".join(c["field"] for c in causes)
            raise answers.StatusError(409, "Conflict", text, {"causes": causes}) from error
        if live is not None:
            return await self._write(call, live, merged, apply_owner=True)
        fields = merged["metadata"].pop("managedFields")
        obj = self._without_status(call.kind, merged)
        obj = await self._admitted(call, self._defaulted(call.kind, obj), None, "CREATE")
        obj = self._born(obj)
        obj["metadata"]["managedFields"] = fields
        return self._keep(call, obj, 201)

    async def _write(self, call: Call, live: raw.Object, new: raw.Object, *, apply_owner: bool) -> web.Response:
        """Store a changed object: status by its subresource only, generation with the spec, finalizers at the end."""
        new = self._merged_parts(call, live, new)
        if call.kind.schema is not None:
            new = structural.pruned(new, call.kind.schema)
        fields = new["metadata"].get("managedFields")
        new = await self._admitted(call, new, live, "UPDATE")
        if apply_owner:
            new["metadata"]["managedFields"] = fields
        else:
            new = apply.updated(live, new, self._schema(call.kind), call.manager, call.subresource, self.now())
        if call.subresource != "status" and new.get("spec") != live.get("spec"):
            new["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
        if _same(new, live):
            return answers.json(self._full(call.kind, live), warnings=call.warnings + self.admission.warnings)
        if (
            new["metadata"].get("deletionTimestamp")
            and not new["metadata"].get("finalizers")
            and call.kind.kind != "Pod"
        ):
            return answers.json(self._full(call.kind, self.storage.remove(call.kind.collection, new)))
        return self._keep(call, new, 200)

    def _merged_parts(self, call: Call, live: raw.Object, new: raw.Object) -> raw.Object:
        """Keep what this write may not touch: system metadata, and status or everything but status."""
        fixed = {
            key: live["metadata"][key] for key in ("uid", "creationTimestamp", "generation") if key in live["metadata"]
        }
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            if key in live["metadata"]:
                fixed[key] = live["metadata"][key]
        fixed["resourceVersion"] = live["metadata"]["resourceVersion"]
        new = {**new, "metadata": {**new["metadata"], **fixed}}
        if call.subresource == "status":
            new = {
                **self._full(call.kind, live),
                "status": new.get("status"),
                "metadata": {**live["metadata"], "managedFields": new["metadata"].get("managedFields", [])},
            }
        elif call.kind.has_status and (call.kind.schema is not None or call.kind.kind == "Pod"):
            new = {key: value for key, value in new.items() if key != "status"}
            if "status" in live:
                new["status"] = live["status"]
        return new

    async def _scaled(self, call: Call, live: raw.Object, scale: raw.Object) -> web.Response:
        if call.kind.scale is None:
            raise answers.StatusError(404, "NotFound", "there is no scale subresource")
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        new = {**live, "spec": {**live["spec"], "replicas": replicas}}
        self._check(call.kind, new, live)
        await self.admission.admit(
            Request(
                "UPDATE", call.kind, call.namespace, call.name, call.user, call.groups, scale, None, "scale", call.dry
            )
        )
        new = apply.updated(live, new, self._schema(call.kind), call.manager, "scale", self.now())
        if new["spec"] != live["spec"]:
            new["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
            if not call.dry:
                new = self.storage.put(call.kind.collection, new)
        return answers.json(_scale_of(call.kind, new))

    async def _delete(self, call: Call, options: raw.Object) -> web.Response:
        if not call.name:
            matches = selectors.by_query(call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
            for obj in self.storage.all(call.kind.collection, call.namespace):
                if matches(obj):
                    await self._delete_one(call, obj, options)
            return answers.json({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        obj = self._stored(call)
        wanted = options.get("preconditions") or {}
        if any((wanted.get(key) or obj["metadata"][key]) != obj["metadata"][key] for key in ("uid", "resourceVersion")):
            raise self._conflict(call)
        return answers.json(self._full(call.kind, await self._delete_one(call, obj, options)))

    async def _delete_one(self, call: Call, obj: raw.Object, options: raw.Object) -> raw.Object:
        await self._admitted(call, None, obj, "DELETE")
        if call.dry:
            return obj
        if call.kind.plural == _CRDS:
            self._uninstall(obj)
        force = options.get("gracePeriodSeconds") == 0 or call.query.get("gracePeriodSeconds") == "0"
        if force and not obj["metadata"].get("finalizers"):
            return self.storage.remove(call.kind.collection, obj)
        return self.controllers.delete(call.kind.collection, obj)

    def _keep(self, call: Call, obj: raw.Object, code: int) -> web.Response:
        warnings = call.warnings + self.admission.warnings
        if code == 201 and call.kind.kind == "HorizontalPodAutoscaler":
            warnings.append(_NO_METRICS)
        if call.dry:
            return answers.json(self._full(call.kind, {**obj}), code, warnings)
        stored = self.storage.put(call.kind.collection, obj)
        if call.kind.plural == _CRDS:
            stored = self._install(stored)
        return answers.json(self._full(call.kind, stored), code, warnings)

    def _install(self, crd: raw.Object) -> raw.Object:
        """Serve the kinds of a CRD at once."""
        for kind in kinds.of_definition(crd):
            self.kinds[kind.collection] = kind
        condition = {
            "type": "Established",
            "status": "True",
            "reason": "InitialNamesAccepted",
            "message": "",
            "lastTransitionTime": self.now(),
        }
        return self.storage.put(("apiextensions.k8s.io", _CRDS), {**crd, "status": {"conditions": [condition]}})

    def _uninstall(self, crd: raw.Object) -> None:
        """Serve the kinds of a CRD no more; their objects go with them."""
        for kind in kinds.of_definition(crd):
            for obj in self.storage.all(kind.collection):
                self.storage.remove(kind.collection, obj)
            self.kinds.pop(kind.collection, None)


def _same(new: raw.Object, live: raw.Object) -> bool:
    keys = {*new, *live} - {"metadata", "apiVersion", "kind"}
    if any(new.get(key) != live.get(key) for key in keys):
        return False
    skipped = ("resourceVersion",)
    return {k: v for k, v in new["metadata"].items() if k not in skipped} == {
        k: v for k, v in live["metadata"].items() if k not in skipped
    }


def _without_defaults(config: raw.Object, schema: raw.Object) -> raw.Object:
    """Return an applied configuration without fields that the schema does not know: they are owned by nobody."""
    return {key: value for key, value in config.items() if key in schema["properties"]}


def _scale_of(kind: kinds.Kind, obj: raw.Object) -> raw.Object:
    status = obj.get("status") or {}
    selector = (kind.scale or {}).get("labelSelectorPath", "").rpartition(".")[2]
    metadata = {
        key: obj["metadata"].get(key) for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {"replicas": status.get("replicas", 0), "selector": status.get(selector, "")},
    }
