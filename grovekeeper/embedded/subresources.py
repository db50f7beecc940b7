"""Subresources that are more than a part of their object: scale, and a pod's binding and eviction, and tokens.

A status is such a part: `reading` and `writing` have it.
"""

from aiohttp import web

from grovekeeper.api import raw
from grovekeeper.embedded import answers, apply, patches, pods, preconditions, strategy
from grovekeeper.embedded import schema as schemas
from grovekeeper.embedded.admission import Request
from grovekeeper.embedded.call import Call
from grovekeeper.embedded.registry import Registry
from grovekeeper.embedded.tokens import Tokens


def get(registry: Registry, call: Call) -> web.Response:
    """Answer with an object's scale; raises StatusError for what is not served."""
    obj = registry.live(call)
    if call.subresource == "scale":
        return answers.json(_scale(call, obj))
    text = f"{call.subresource} is not served: the kubelets of the embedded cluster run no containers"
    raise answers.StatusError(404, "NotFound", text)


async def put_scale(registry: Registry, call: Call, body: raw.Object) -> web.Response:
    """Set an object's replicas by its scale. Raises StatusError and DeniedError."""
    async with registry.lock(call):
        live = registry.live(call)
        preconditions.check_version(call, body, live)
        return await _scaled(registry, call, live, body)


async def patch_scale(registry: Registry, call: Call, body: raw.Json, content: str) -> web.Response:
    """Set an object's replicas by a patch of its scale; raises StatusError, DeniedError and PatchError.

    kube-apiserver cannot apply the scale of a custom resource either, and answers with these words.
    """
    if content == patches.APPLY:
        text = (
            f"failed to convert new object ({call.namespace}/{call.name}; autoscaling/v1, Kind=Scale) to proper version"
        )
        raise answers.StatusError(500, "InternalError", text)
    async with registry.lock(call):
        live = registry.live(call)
        return await _scaled(registry, call, live, patches.patched(_scale(call, live), body, content, {}))


def create(registry: Registry, tokens: Tokens, call: Call, body: raw.Object) -> web.Response:
    """Issue a token, bind a pod, or evict it; raises StatusError."""
    obj = registry.live(call)
    if call.subresource == "token":
        token = tokens.issue(call.namespace, call.name)
        return answers.json({**body, "status": {"token": token, "expirationTimestamp": registry.now()}}, 201)
    if call.subresource == "binding":
        return _bind(registry, call, obj, body)
    if call.subresource == "eviction":
        return _evict(registry, call, obj, body)
    raise answers.StatusError(404, "NotFound", f"there is no subresource {call.subresource}")


def _bind(registry: Registry, call: Call, pod: raw.Object, body: raw.Object) -> web.Response:
    fault = pods.binding_fault(pod)
    if fault:
        raise preconditions.conflict(call, fault)
    registry.keep(call, pods.bound(pod, body["target"]["name"], registry.now()))
    return answers.json(answers.SUCCESS, 201)


def _evict(registry: Registry, call: Call, pod: raw.Object, body: raw.Object) -> web.Response:
    options = call.take(body.get("deleteOptions") or {})
    preconditions.check_options(call, options, pod)
    budgets = registry.storage.all(("policy", "poddisruptionbudgets"), call.namespace)
    if pod["spec"].get("nodeName") and len(pods.covering(pod, budgets)) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise answers.StatusError(500, "InternalError", text)
    if pods.protected(pod, budgets, registry.storage.all(call.kind.collection, call.namespace)):
        text = "Cannot evict pod as it would violate the pod's disruption budget."
        raise answers.StatusError(429, "TooManyRequests", text)
    registry.delete(call, registry.keep(call, pods.evicted(pod, registry.now())))
    return answers.json(answers.SUCCESS, 201)


async def _scaled(registry: Registry, call: Call, live: raw.Object, scale: raw.Object) -> web.Response:
    if call.kind.scale is None:
        raise answers.StatusError(404, "NotFound", "there is no scale subresource")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    new = {**live, "spec": {**live["spec"], "replicas": replicas}}
    strategy.check(call.kind, new, live)
    request = Request(
        "UPDATE", call.kind, call.namespace, call.name, call.user, call.groups, scale, None, "scale", call.dry
    )
    await registry.admission.admit(request)
    new = apply.updated(live, new, schemas.of(call.kind), call.manager, "scale", registry.now())
    if new["spec"] != live["spec"]:
        new["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
        new = registry.keep(call, new)
    return answers.json(_scale(call, new), warnings=request.warnings)


def _scale(call: Call, obj: raw.Object) -> raw.Object:
    status = obj.get("status") or {}
    selector = (call.kind.scale or {}).get("labelSelectorPath", "").rpartition(".")[2]
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
