"""What the controller manager does in a real cluster: service accounts, their tokens, garbage collection."""

import asyncio
from base64 import b64encode

from grovekeeper.api import raw
from grovekeeper.embedded.registry import Registry
from grovekeeper.embedded.storage import Collection
from grovekeeper.embedded.tokens import Tokens

_SECRETS: Collection = ("", "secrets")
_ACCOUNTS: Collection = ("", "serviceaccounts")
_NAMESPACES: Collection = ("", "namespaces")


class Controllers:
    """Listens to the storage; acts a moment later, as controllers do."""

    def __init__(self, registry: Registry, tokens: Tokens, authority: str) -> None:
        """`authority` is the PEM text that clients trust."""
        self._registry = registry
        self._storage = registry.storage
        self._authority = authority
        self._tokens = tokens
        self._orphaned: asyncio.Queue[str] = asyncio.Queue()
        self._dependents: dict[str, set[tuple[Collection, tuple[str, str]]]] = {}
        self._storage.listeners.append(self._on_event)

    async def run(self) -> None:
        """Collect garbage until cancelled."""
        while True:
            uid = await self._orphaned.get()
            for collection, key in list(self._dependents.pop(uid, ())):
                obj = self._storage.get(collection, key)
                if obj is not None and any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences") or ()):
                    self._registry.end(collection, obj)
            await asyncio.sleep(0)

    def _on_event(self, collection: Collection, kind: str, obj: raw.Object, _old: raw.Object | None) -> None:
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if kind == "DELETED":
            self._orphaned.put_nowait(metadata["uid"])
            return
        for ref in metadata.get("ownerReferences") or ():
            self._dependents.setdefault(ref["uid"], set()).add((collection, key))
        if kind == "ADDED" and collection == _NAMESPACES:
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": key[1]},
            }
            self._registry.plant(_ACCOUNTS, account)
        empty = collection == _SECRETS and not (obj.get("data") or {}).get("token")
        if empty and obj.get("type") == "kubernetes.io/service-account-token":
            asyncio.get_running_loop().call_soon(self._fill, key)

    def _fill(self, key: tuple[str, str]) -> None:
        secret = self._storage.get(_SECRETS, key)
        if secret is None:
            return
        account = (secret["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name", "default")
        token = self._tokens.issue(key[0], account)
        data = {"token": token, "namespace": key[0], "ca.crt": self._authority}
        encoded = {name: b64encode(text.encode()).decode() for name, text in data.items()}
        self._storage.put(_SECRETS, {**secret, "data": encoded})
