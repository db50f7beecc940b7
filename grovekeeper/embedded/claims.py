"""Dynamic resource allocation without devices: claims of templates, reservations, protection while pods use them.

What the claim controller and kube-scheduler's plugin do in a real cluster, except that every claim can be allocated
everywhere: a claim holds a pod back only while it does not exist or is being deleted.
"""

import asyncio
import secrets
from collections.abc import Callable

from grovekeeper.api import raw
from grovekeeper.embedded.storage import Collection, Storage

CLAIMS: Collection = ("resource.k8s.io", "resourceclaims")
TEMPLATES: Collection = ("resource.k8s.io", "resourceclaimtemplates")
_PODS: Collection = ("", "pods")
_PROTECTION = "resource.kubernetes.io/delete-protection"


class Claims:
    """Listens to the storage; acts a moment later, as controllers do."""

    def __init__(self, storage: Storage, create: Callable[[Collection, raw.Object], None]) -> None:
        self._storage = storage
        self._create = create
        storage.listeners.append(self._on_event)

    def lacking(self, pod: raw.Object) -> str | None:
        """Return what a pod waits for before it can have a node, or None."""
        for entry in pod["spec"].get("resourceClaims") or ():
            name = _claim_of(pod, entry)
            claim = self._storage.get(CLAIMS, (pod["metadata"]["namespace"], name)) if name else None
            if claim is None:
                return f"waiting for resource claim {name or entry['name']}"
            if claim["metadata"].get("deletionTimestamp"):
                return f"resource claim {name} is being deleted"
        return None

    def reserve(self, pod: raw.Object) -> None:
        """Allocate and reserve a pod's claims: it has a node now."""
        metadata = pod["metadata"]
        user = {"resource": "pods", "name": metadata["name"], "uid": metadata["uid"]}
        for claim in self._of(pod):
            status = claim.get("status") or {}
            users = status.get("reservedFor") or []
            if user not in users:
                kept = [entry for entry in claim["metadata"].get("finalizers") or () if entry != _PROTECTION]
                self._storage.put(
                    CLAIMS,
                    {
                        **claim,
                        "metadata": {**claim["metadata"], "finalizers": [*kept, _PROTECTION]},
                        "status": {**status, "allocation": {}, "reservedFor": [*users, user]},
                    },
                )

    def _release(self, pod: raw.Object) -> None:
        for claim in self._of(pod):
            users = (claim.get("status") or {}).get("reservedFor") or []
            left = [user for user in users if user["uid"] != pod["metadata"]["uid"]]
            if left == users:
                continue
            metadata = claim["metadata"]
            if not left:
                metadata = {**metadata, "finalizers": [e for e in metadata["finalizers"] if e != _PROTECTION]}
            status = {"allocation": {}, "reservedFor": left} if left else {}
            fresh = {**claim, "metadata": metadata, "status": status}
            if metadata.get("deletionTimestamp") and not metadata["finalizers"]:
                self._storage.remove(CLAIMS, fresh)
            else:
                self._storage.put(CLAIMS, fresh)

    def _of(self, pod: raw.Object) -> list[raw.Object]:
        names = [_claim_of(pod, entry) for entry in pod["spec"].get("resourceClaims") or ()]
        found = [self._storage.get(CLAIMS, (pod["metadata"]["namespace"], name)) for name in names if name]
        return [claim for claim in found if claim is not None]

    def _on_event(self, collection: Collection, kind: str, obj: raw.Object, _old: raw.Object | None) -> None:
        soon = asyncio.get_running_loop().call_soon
        namespace = obj["metadata"].get("namespace", "")
        if collection == TEMPLATES and kind == "ADDED":
            for pod in self._storage.all(_PODS, namespace):
                soon(self._generate, (namespace, pod["metadata"]["name"]))
        elif collection == _PODS and obj["spec"].get("resourceClaims"):
            if kind == "DELETED" or (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                soon(self._release, obj)
            elif kind == "ADDED":
                soon(self._generate, (namespace, obj["metadata"]["name"]))

    def _generate(self, key: tuple[str, str]) -> None:
        """Make the claims of a pod's templates, as far as the templates are there."""
        pod = self._storage.get(_PODS, key)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return
        listed = list((pod.get("status") or {}).get("resourceClaimStatuses") or ())
        known = {entry["name"] for entry in listed}
        for entry in pod["spec"].get("resourceClaims") or ():
            template = self._storage.get(TEMPLATES, (key[0], entry.get("resourceClaimTemplateName", "")))
            if template is not None and entry["name"] not in known:
                name = f"{key[1]}-{entry['name']}-{secrets.token_hex(3)[:5]}"
                self._create(CLAIMS, _generated(pod, name, template))
                listed.append({"name": entry["name"], "resourceClaimName": name})
        if len(listed) > len(known):
            self._storage.put(_PODS, {**pod, "status": {**(pod.get("status") or {}), "resourceClaimStatuses": listed}})


def _claim_of(pod: raw.Object, entry: raw.Object) -> str | None:
    listed = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    made = (each["resourceClaimName"] for each in listed if each["name"] == entry["name"])
    found: str | None = entry.get("resourceClaimName") or next(made, None)
    return found


def _generated(pod: raw.Object, name: str, template: raw.Object) -> raw.Object:
    metadata = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
    more = template["spec"].get("metadata") or {}
    labels = {key: more[key] for key in ("labels", "annotations") if key in more}
    own = {"name": name, "namespace": metadata["namespace"], "ownerReferences": [owner], **labels}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": own,
        "spec": template["spec"]["spec"],
    }
