"""Kinds that are served, their objects, and the way of an object into the storage: admission, validation, CRDs."""

import asyncio
import uuid
from collections.abc import Callable

from grovekeeper.api import raw
from grovekeeper.embedded import answers, kinds, strategy
from grovekeeper.embedded.admission import Admission, Request
from grovekeeper.embedded.call import Call
from grovekeeper.embedded.storage import Collection, Storage

_CRDS = "customresourcedefinitions"


class Registry:
    """What the verbs of the API share."""

    def __init__(self, storage: Storage, now: Callable[[], str]) -> None:
        """`now` returns the time as metadata has it."""
        self.storage = storage
        self.now = now
        self.kinds = {kind.collection: kind for kind in kinds.built_in()}
        self.admission = Admission(storage)
        self._locks: dict[tuple[Collection, str, str], asyncio.Lock] = {}

    def lock(self, call: Call) -> asyncio.Lock:
        """Return what one writer of an object at a time holds."""
        return self._locks.setdefault((call.kind.collection, call.namespace, call.name), asyncio.Lock())

    def live(self, call: Call) -> raw.Object:
        """Return the object that is called for; raises StatusError."""
        obj = self.storage.get(call.kind.collection, (call.namespace, call.name))
        if obj is None:
            details = {"name": call.name, "kind": call.kind.plural}
            raise answers.StatusError(404, "NotFound", f'{call.kind.resource} "{call.name}" not found', details)
        return obj

    def born(self, obj: raw.Object) -> raw.Object:
        """Return a new object with what only the server gives it."""
        metadata = {**obj["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": self.now(), "generation": 1}
        return {**obj, "metadata": metadata}

    def plant(self, collection: Collection, obj: raw.Object) -> None:
        """Store an object of the cluster's own, unless it is there."""
        if self.storage.get(collection, (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])) is None:
            self.storage.put(collection, self.born(obj))

    async def admitted(self, call: Call, obj: raw.Object | None, old: raw.Object | None, operation: str) -> raw.Object:
        """Return the object as admission leaves it. Raises DeniedError, and StatusError for what is not valid.

        `obj` is None for a deletion, `old` for a creation.
        """
        metadata = (obj or old or {})["metadata"]
        request = Request(
            operation,
            call.kind,
            metadata.get("namespace", ""),
            metadata.get("name", "") if call.name or operation != "CREATE" else "",
            call.user,
            call.groups,
            call.kind.full(obj) if obj is not None else None,
            call.kind.full(old) if old is not None else None,
            call.subresource,
            call.dry,
        )
        admitted = await self.admission.admit(request, lambda mutated: strategy.check(call.kind, mutated, old))
        call.warnings += request.warnings
        return admitted or {}

    def keep(self, call: Call, obj: raw.Object) -> raw.Object:
        """Store an object, unless the call is a dry run; return it."""
        if call.dry:
            return obj
        stored = self.storage.put(call.kind.collection, obj)
        return self._install(stored) if call.kind.plural == _CRDS else stored

    def remove(self, call: Call, obj: raw.Object) -> raw.Object:
        """Remove an object that nothing holds any more, unless the call is a dry run; return it."""
        return obj if call.dry else self.storage.remove(call.kind.collection, obj)

    def delete(self, call: Call, obj: raw.Object, *, force: bool = False) -> raw.Object:
        """Delete an object, unless the call is a dry run; return it. `force`: without a grace period."""
        if call.dry:
            return obj
        if call.kind.plural == _CRDS:
            self._uninstall(obj)
        if force and not obj["metadata"].get("finalizers"):
            return self.storage.remove(call.kind.collection, obj)
        return self.end(call.kind.collection, obj)

    def end(self, collection: Collection, obj: raw.Object) -> raw.Object:
        """Remove an object at once, or mark it with a deletionTimestamp while finalizers or a grace period hold it."""
        metadata = obj["metadata"]
        bound_pod = collection == ("", "pods") and obj["spec"].get("nodeName")
        if not metadata.get("finalizers") and not bound_pod:
            return self.storage.remove(collection, obj)
        if metadata.get("deletionTimestamp"):
            return obj
        grace = obj["spec"].get("terminationGracePeriodSeconds", 30) if bound_pod else 0
        marked = {**metadata, "deletionTimestamp": self.now(), "deletionGracePeriodSeconds": grace}
        return self.storage.put(collection, {**obj, "metadata": marked})

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
