"""Bodies in and out: what a request carries, and the Status that says why not."""

import orjson
from aiohttp import web

from grovekeeper.api import raw
from grovekeeper.embedded import protobuf

SUCCESS = {"kind": "Status", "apiVersion": "v1", "status": "Success"}


class StatusError(Exception):
    """An answer that is a failure Status."""

    def __init__(self, code: int, reason: str, message: str, details: raw.Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
            **({"details": details} if details else {}),
        }


async def decoded(request: web.Request) -> raw.Json:
    """Return the body as JSON, also where it is protobuf. Raises StatusError."""
    body = await request.read()
    try:
        return protobuf.decoded(body) if request.content_type == protobuf.CONTENT else orjson.loads(body or b"null")
    except protobuf.UnknownKindError as error:
        raise StatusError(415, "UnsupportedMediaType", str(error)) from error
    except orjson.JSONDecodeError as error:
        raise StatusError(400, "BadRequest", f"the body is not JSON: {error}") from error
    except ValueError as error:
        raise StatusError(400, "BadRequest", f"the body is not protobuf of Kubernetes: {error}") from error


def json(body: raw.Json, code: int = 200, warnings: list[str] | None = None) -> web.Response:
    """Return an answer, with warnings that kubectl prints."""
    response = web.Response(body=orjson.dumps(body), status=code, content_type="application/json")
    for text in warnings or ():
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def failed(error: StatusError) -> web.Response:
    """Return the answer that says why not."""
    return json(error.body, error.code)
