"""From the bytes of a request to a Review; everything else is refused as a bad request, never as a denial."""

from dataclasses import dataclass

import orjson

from grovekeeper.api import raw

API_VERSION = "admission.k8s.io/v1"
MAX_BODY = 8 * 1024 * 1024


class BadReviewError(Exception):
    """The body is no AdmissionReview that we can answer; `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Review:
    """One admission request."""

    uid: str
    operation: str
    kind: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    groups: tuple[str, ...]
    dry_run: bool
    object: raw.Object | None
    old: raw.Object | None


def review(body: bytes) -> Review:
    """Return the request; raise BadReviewError with what was found and what is allowed."""
    try:
        loaded = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReviewError(f"the body is not JSON: {error}; send an AdmissionReview of {API_VERSION}") from error
    if not isinstance(loaded, dict) or loaded.get("kind") != "AdmissionReview":
        raise BadReviewError(f"the body is not an AdmissionReview; send one of {API_VERSION}")
    if loaded.get("apiVersion") != API_VERSION:
        raise BadReviewError(f"apiVersion is {loaded.get('apiVersion')!r}; only {API_VERSION} is answered")
    request = loaded.get("request")
    uid = request.get("uid") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(uid, str) or not uid:
        raise BadReviewError("request.uid is missing or not a text; an answer needs it")
    return _from_request(request, uid)


def _from_request(request: raw.Object, uid: str) -> Review:
    resource = request.get("resource") or {}
    user = request.get("userInfo") or {}
    new, old = request.get("object"), request.get("oldObject")
    metadata = (old or new or {}).get("metadata") or {}
    return Review(
        uid=uid,
        operation=request.get("operation") or "",
        kind=(request.get("kind") or {}).get("kind") or "",
        resource=resource.get("resource") or "",
        subresource=request.get("subResource") or "",
        namespace=request.get("namespace") or "",
        name=request.get("name") or metadata.get("name") or metadata.get("generateName") or "",
        user=user.get("username") or "",
        groups=tuple(user.get("groups") or ()),
        dry_run=bool(request.get("dryRun")),
        object=new if isinstance(new, dict) else None,
        old=old if isinstance(old, dict) else None,
    )
