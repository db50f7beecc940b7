"""The Secret in which the certificates are kept: its bytes to a State and back. Pure."""

from base64 import b64decode, b64encode
from datetime import datetime

from grovekeeper.api import raw
from grovekeeper.runtime import certificates
from grovekeeper.runtime.clock import parse, rfc3339

_NEXT_PUBLISHED = "grovekeeper.io/next-authority-published"
_CERT_MANAGER = ("cert-manager.io/", "controller.cert-manager.io/")


def state(secret: raw.Object | None) -> certificates.State | None:
    """Return what the Secret holds, or None where it is not ours to use (absent, broken, or made by cert-manager)."""
    data = (secret or {}).get("data") or {}
    try:
        parts = {name: b64decode(text) for name, text in data.items()}
        following = certificates.Pair(parts["next-ca.crt"], parts["next-ca.key"]) if "next-ca.crt" in parts else None
        return certificates.State(
            certificates.Pair(parts["ca.crt"], parts["ca.key"]),
            certificates.Pair(parts["tls.crt"], parts["tls.key"]),
            following,
            _published(secret) if following else None,
        )
    except (KeyError, ValueError):
        return None


def secret(old: raw.Object | None, new: certificates.State, name: str, namespace: str) -> raw.Object:
    """Return the Secret that holds a state, in the place of `old` where there is one: cert-manager's marks go."""
    metadata: raw.Object = {"name": name, "namespace": namespace}
    if old is not None:
        metadata = {**old["metadata"]}
        for field in ("annotations", "labels"):
            kept = {k: v for k, v in (metadata.get(field) or {}).items() if not k.startswith(_CERT_MANAGER)}
            metadata[field] = {k: v for k, v in kept.items() if k != _NEXT_PUBLISHED}
        metadata.pop("managedFields", None)
    if new.next_published is not None:
        annotations = metadata.get("annotations") or {}
        metadata["annotations"] = {**annotations, _NEXT_PUBLISHED: rfc3339(new.next_published)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata,
        "data": _data(new),
    }


def _data(new: certificates.State) -> dict[str, str]:
    parts = {
        "tls.crt": new.leaf.certificate,
        "tls.key": new.leaf.key,
        "ca.crt": new.authority.certificate,
        "ca.key": new.authority.key,
    }
    if new.next_authority is not None:
        parts["next-ca.crt"] = new.next_authority.certificate
        parts["next-ca.key"] = new.next_authority.key
    return {name: b64encode(value).decode() for name, value in parts.items()}


def _published(given: raw.Object | None) -> datetime | None:
    text = (((given or {}).get("metadata") or {}).get("annotations") or {}).get(_NEXT_PUBLISHED)
    return parse(text) if text else None
