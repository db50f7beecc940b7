"""What an API server may refuse, as a tree:

KubeError
├── NotFound            404
│   └── NotServed       404 without an object's name: the server does not know the kind
├── AlreadyExists       409, reason AlreadyExists
├── Conflict            409: a stale resourceVersion, another uid
│   └── ApplyConflict   409 of server-side apply; `fields` names what others own
├── Gone                410: a resourceVersion too old to watch from
├── Forbidden           403: RBAC, a quota, an admission webhook
├── Unauthorized        401
├── Invalid             422: `causes` names the fields
├── BadRequest          any other 4xx
├── Throttled           429; `retry_after` in seconds
└── Unavailable         5xx, no connection, time-out; `retry_after` in seconds
"""

import json

from grovekeeper.api import raw


class KubeError(Exception):
    """Any refusal. The text names the call and gives the server's own message."""

    retry_after: float = 0.0

    def __init__(self, message: str, status: raw.Object | None = None) -> None:
        super().__init__(message)
        self.status = status or {}


class NotFound(KubeError):
    """The object or the kind is not there."""


class NotServed(NotFound):
    """The server does not know the kind: a CustomResourceDefinition is missing, or the cluster is too old."""


class AlreadyExists(KubeError):
    """An object of this name exists."""


class Conflict(KubeError):
    """The object has changed since it was read, or is another one: read it again."""


class ApplyConflict(Conflict):
    """Another field manager owns fields that would change."""

    @property
    def fields(self) -> list[str]:
        """Return the paths of the fields in conflict."""
        return [cause.get("field", "") for cause in (self.status.get("details") or {}).get("causes") or ()]


class Gone(KubeError):
    """The resourceVersion is too old: list again."""


class Forbidden(KubeError):
    """Not allowed: by RBAC, a quota or admission."""


class Unauthorized(KubeError):
    """The credentials are not accepted."""


class Invalid(KubeError):
    """The object is not valid."""

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Return field path and message of each fault."""
        listed = (self.status.get("details") or {}).get("causes") or ()
        return [(cause.get("field", ""), cause.get("message", "")) for cause in listed]

    @property
    def is_of_another(self) -> bool:
        """Whether a patch with a uid met another object of the name: the one that it was meant for is gone."""
        return any(field == "metadata.uid" for field, _ in self.causes)


class BadRequest(KubeError):
    """The request makes no sense to the server."""


class Throttled(KubeError):
    """Too many requests, or a disruption budget says not now."""


_FROM_ETCD = ("etcdserver: ", "rpc error: ")


class Unavailable(KubeError):
    """The server does not answer, or says that it cannot."""

    @property
    def is_in_doubt(self) -> bool:
        """Whether what was asked for may have been done, or may still be.

        No answer came; or 504, a time-out; or etcd did not tell the API server what became of it, which passes etcd's
        words on with a 500.
        """
        told = str(self.status.get("message") or "").startswith(_FROM_ETCD)
        return not self.status or self.status.get("code") == 504 or told


_BY_CODE: dict[int, type[KubeError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Throttled,
}


def from_response(what: str, code: int, body: bytes, retry_after: str | None = None) -> KubeError:
    """Return the error for an HTTP status of 400 and above. `what` is "GET pods default/x"."""
    status = _status(body)
    kind = _BY_CODE.get(code, Unavailable if code >= 500 else BadRequest)
    if code == 409 and status.get("reason") == "AlreadyExists":
        kind = AlreadyExists
    elif code == 404 and not (status.get("details") or {}).get("name"):
        kind = NotServed
    elif code == 409 and any(
        cause.get("reason") == "FieldManagerConflict" for cause in (status.get("details") or {}).get("causes") or ()
    ):
        kind = ApplyConflict
    text = status.get("message") or body[:300].decode(errors="replace") or "no message"
    step = ": the credentials are not accepted, renew those of the kubeconfig" if kind is Unauthorized else ""
    error = kind(f"{what}: {code} {text}{step}", status)
    error.retry_after = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
    return error


def _status(body: bytes) -> raw.Object:
    try:
        loaded = json.loads(body)
    except ValueError:
        return {}
    return loaded if isinstance(loaded, dict) else {}
