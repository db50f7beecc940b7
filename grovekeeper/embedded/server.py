"""The API server: HTTP in, storage out. Not here, and said in docs/architecture.md: RBAC, quotas, aggregation.

Here is who asks and for what; the verbs are in `reading`, `writing` and `subresources`.
"""

from collections.abc import Callable

from aiohttp import web

from grovekeeper.embedded import answers, discovery, patches, reading, strategy, subresources, writing
from grovekeeper.embedded.admission import DeniedError
from grovekeeper.embedded.call import Call
from grovekeeper.embedded.controllers import Controllers
from grovekeeper.embedded.registry import Registry
from grovekeeper.embedded.storage import Storage
from grovekeeper.embedded.tokens import Tokens

_NOT_SERVED = "the server could not find the requested resource"


class ApiServer:
    """Serves the kinds of a small Kubernetes."""

    def __init__(self, storage: Storage, now: Callable[[], str], admin_token: str, authority: str) -> None:
        """`authority` is the PEM text that clients trust, for the Secrets of service accounts."""
        self.registry = Registry(storage, now)
        self.tokens = Tokens(admin_token)
        self.controllers = Controllers(self.registry, self.tokens, authority)

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        try:
            if len(parts) < 3 or parts[0] not in ("api", "apis") or (parts[0] == "apis" and len(parts) < 4):
                return self._discovery(parts)
            call = self._call(request, parts)
            return await (self._read(request, call) if request.method == "GET" else self._change(request, call))
        except answers.StatusError as error:
            return answers.failed(error)
        except DeniedError as error:
            return answers.failed(answers.StatusError(error.code, error.reason, str(error), error.details))
        except patches.PatchError as error:
            text = f"the server rejected our request: {error}"
            return answers.failed(answers.StatusError(422, "Invalid", text))

    def _discovery(self, parts: list[str]) -> web.Response:
        if parts in (["readyz"], ["healthz"], ["livez"]):
            return web.Response(text="ok")
        found = discovery.document(parts, self.registry.kinds.values())
        if found is None:
            raise answers.StatusError(404, "NotFound", _NOT_SERVED)
        return answers.json(found)

    def _call(self, request: web.Request, parts: list[str]) -> Call:
        """Take /api/<version>/... or /apis/<group>/<version>/... apart."""
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = ""
        if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in ("status", "finalize")):
            namespace, rest = rest[1], rest[2:]
        kind = self.registry.kinds.get((group, rest[0]))
        if kind is None or kind.version != version:
            raise answers.StatusError(404, "NotFound", _NOT_SERVED)
        asking = self.tokens.user(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if asking is None:
            raise answers.StatusError(401, "Unauthorized", "Unauthorized")
        agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
        query = dict(request.query)
        name = rest[1] if len(rest) > 1 else ""
        sub = rest[2] if len(rest) > 2 else ""
        return Call(kind, namespace, name, sub, query, *asking, query.get("fieldManager") or agent)

    async def _read(self, request: web.Request, call: Call) -> web.StreamResponse:
        if not call.name:
            return await reading.collection(self.registry, request, call)
        if call.subresource in ("", "status"):
            return reading.get(self.registry, request, call)
        return subresources.get(self.registry, call)

    async def _change(self, request: web.Request, call: Call) -> web.Response:
        body = await answers.decoded(request)
        if request.method in ("POST", "PUT", "PATCH") and isinstance(body, dict) and not call.subresource:
            strategy.check_fields(call, body, request.content_type)
        scale = call.subresource == "scale"
        match request.method:
            case "POST" if call.subresource:
                return subresources.create(self.registry, self.tokens, call, body)
            case "POST":
                return await writing.create(self.registry, call, body)
            case "PUT" if scale:
                return await subresources.put_scale(self.registry, call, body)
            case "PUT":
                return await writing.update(self.registry, call, body)
            case "PATCH" if scale:
                return await subresources.patch_scale(self.registry, call, body, request.content_type)
            case "PATCH":
                return await writing.patch(self.registry, call, body, request.content_type)
            case "DELETE":
                return await writing.delete(self.registry, call, call.take(body or {}))
        raise answers.StatusError(405, "MethodNotAllowed", f"{request.method} is not supported")
