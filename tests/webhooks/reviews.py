"""AdmissionReviews as an API server sends them, and pods as the reconciler creates them."""

from typing import Any

from grovekeeper.expand import injection, parse, pods, whole
from tests.builders import clique, podgangset

OWN_USER = "system:serviceaccount:gk:grovekeeper"
SETTINGS = injection.Settings("gate:1")
POD = "/webhooks/mutate-pod"
DEFAULT = "/webhooks/default-podgangset"
VALIDATE = "/webhooks/validate-podgangset"
PROTECT = "/webhooks/authorizer-webhook"
SCALE = "/webhooks/validate-scale"


def review(obj: Any = None, old: Any = None, operation: str = "CREATE", **more: Any) -> dict[str, Any]:
    given = obj or old or {}
    kind = {"group": "", "version": "v1", "kind": given.get("kind", "Pod")}
    request = {
        "uid": "u1",
        "operation": operation,
        "kind": kind,
        "resource": {"group": "", "version": "v1", "resource": f"{kind['kind'].lower()}s"},
        "userInfo": {"username": "somebody", "groups": ["system:authenticated"]},
        "object": obj,
        "oldObject": old,
        "namespace": "default",
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def created_pod(**spec: Any) -> dict[str, Any]:
    """Return a gang's pod as the reconciler sends it: with identity and intent, before any webhook."""
    obj = podgangset(clique("a"), clique("b", startsAfter=["a"]), cliqueStartupType="CliqueStartupTypeExplicit")
    obj["spec"]["template"]["cliques"][1]["spec"]["podSpec"].update(spec)
    w = parse.workload(obj)
    owner = next(
        each
        for each in whole.objects(obj, SETTINGS, lambda o, _operations: o, {})
        if each["kind"] == "PodClique" and each["metadata"]["name"] == "demo-0-b"
    )
    result: dict[str, Any] = pods.created(w, owner, 0, "demo-0-b-xxxxx")
    return result
