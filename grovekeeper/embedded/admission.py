"""Admission: the webhook configurations that are stored, called over HTTPS as a kube-apiserver calls them."""

import ssl
import uuid
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import jsonpatch
import orjson

from grovekeeper.api import raw, rules
from grovekeeper.embedded.kinds import Kind
from grovekeeper.embedded.selectors import matches_labels
from grovekeeper.embedded.storage import Storage

_GROUP = "admissionregistration.k8s.io"


class DeniedError(Exception):
    """Admission said no, or could not be asked; `code` and `reason` go into the answer."""

    def __init__(
        self, message: str, code: int = 403, reason: str = "Forbidden", details: raw.Object | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}


@dataclass(slots=True)
class Request:
    """One write on its way through admission."""

    operation: str
    kind: Kind
    namespace: str
    name: str
    user: str
    groups: tuple[str, ...]
    object: raw.Object | None
    old: raw.Object | None
    subresource: str = ""
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    """What the webhooks warn of, once they have been asked."""


class Admission:
    """Calls mutating webhooks in order of their names, validating ones after."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close the connections to the webhooks."""
        for session in self._sessions.values():
            await session.close()

    async def admit(self, request: Request, check: Callable[[raw.Object], None] | None = None) -> raw.Object | None:
        """Return the object after mutation; raises DeniedError. Warnings are collected in the request.

        `check` is the kind's own validation, which comes between the two sorts of webhooks, and raises what it finds.
        """
        changed_by: list[str] = []
        hooks = self._hooks("mutatingwebhookconfigurations", request)
        for hook in hooks:
            changed_by += await self._mutate(hook, request)
        if changed_by:
            for hook in hooks:
                if hook.get("reinvocationPolicy") == "IfNeeded" and changed_by != [hook["name"]]:
                    await self._mutate(hook, request)
        if check is not None and request.object is not None:
            check(request.object)
        for hook in self._hooks("validatingwebhookconfigurations", request):
            await self._call(hook, request)
        return request.object

    async def _mutate(self, hook: raw.Object, request: Request) -> list[str]:
        answer = await self._call(hook, request)
        if not answer.get("patch"):
            return []
        operations = orjson.loads(b64decode(answer["patch"]))
        try:
            request.object = jsonpatch.apply_patch(request.object, operations)
        except jsonpatch.JsonPatchException as error:
            raise DeniedError(
                f"webhook {hook['name']} sent a patch that fails: {error}", 500, "InternalError"
            ) from error
        return [hook["name"]]

    def _hooks(self, plural: str, request: Request) -> list[raw.Object]:
        if request.kind.group == _GROUP:
            return []
        found = []
        for configuration in self._storage.all((_GROUP, plural)):
            found += [hook for hook in configuration.get("webhooks") or () if self._applies(hook, request)]
        return found

    def _applies(self, hook: raw.Object, request: Request) -> bool:
        if not any(_rule(rule, request) for rule in hook.get("rules") or ()):
            return False
        selector = hook.get("objectSelector") or {}
        candidates = [obj for obj in (request.object, request.old) if obj is not None]
        if selector and not any(matches_labels(selector, obj["metadata"].get("labels") or {}) for obj in candidates):
            return False
        context = {
            "object": request.object,
            "oldObject": request.old,
            "request": {
                "userInfo": {"username": request.user, "groups": list(request.groups)},
                "operation": request.operation,
            },
        }
        return all(rules.evaluate(entry["expression"], context) for entry in hook.get("matchConditions") or ())

    async def _call(self, hook: raw.Object, request: Request) -> raw.Object:
        uid = str(uuid.uuid4())
        body = orjson.dumps(_review(uid, request))
        client = hook["clientConfig"]
        try:
            session = self._session(client.get("caBundle") or "")
            timeout = aiohttp.ClientTimeout(total=hook.get("timeoutSeconds", 10))
            headers = {"Content-Type": "application/json"}
            async with session.post(client["url"], data=body, headers=headers, timeout=timeout) as answer:
                received = orjson.loads(await answer.read()) if answer.status == 200 else {}
                response: raw.Object = received.get("response") or {}
                if response.get("uid") != uid:
                    raise ValueError(f"HTTP {answer.status}")
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, ssl.SSLError) as error:
            if hook.get("failurePolicy", "Fail") == "Ignore":
                return {}
            text = f'failed calling webhook "{hook["name"]}": {error!r}'
            raise DeniedError(f"Internal error occurred: {text}", 500, "InternalError") from error
        request.warnings += response.get("warnings") or []
        if not response.get("allowed"):
            status = response.get("status") or {}
            text = (
                f'admission webhook "{hook["name"]}" denied the request: {status.get("message", "without explanation")}'
            )
            raise DeniedError(text, status.get("code", 403), status.get("reason", "Forbidden"), status.get("details"))
        return response

    def _session(self, bundle: str) -> aiohttp.ClientSession:
        known = self._sessions.get(bundle)
        if known is None:
            context = ssl.create_default_context(cadata=b64decode(bundle).decode()) if bundle else True
            known = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=64))
            self._sessions[bundle] = known
        return known


def _rule(rule: raw.Object, request: Request) -> bool:
    resource = request.kind.plural + (f"/{request.subresource}" if request.subresource else "")
    return (
        request.operation in rule["operations"]
        and request.kind.group in rule["apiGroups"]
        and request.kind.version in rule["apiVersions"]
        and resource in rule["resources"]
    )


def _review(uid: str, request: Request) -> raw.Object:
    kind = {"group": request.kind.group, "version": request.kind.version, "kind": request.kind.kind}
    if request.subresource == "scale":
        kind = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    resource = {"group": request.kind.group, "version": request.kind.version, "resource": request.kind.plural}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": kind,
            "resource": resource,
            "subResource": request.subresource,
            "namespace": request.namespace,
            "name": request.name,
            "operation": request.operation,
            "userInfo": {"username": request.user, "groups": list(request.groups)},
            "object": request.object,
            "oldObject": request.old,
            "dryRun": request.dry_run,
        },
    }
