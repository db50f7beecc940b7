"""Requests as a cluster's administrator, for what installs, demonstrates and tries Grovekeeper.

It waits for each answer: the components of Grovekeeper have a client of their own.
"""

from pathlib import Path

import orjson
import urllib3

from grovekeeper.api import raw

_CONNECTIONS = 4


class RefusedError(Exception):
    """The API server's answer is no."""

    def __init__(self, code: int, asked: str, answer: str) -> None:
        """`asked` is method and path, `answer` the body: a Status as JSON."""
        super().__init__(f"{asked}: {code}: {answer[:2000]}")
        self.code = code
        self.answer = answer


class Administrator:
    """One API server; connections are kept, since a handshake costs both sides more than most requests."""

    def __init__(self, url: str, ca_file: Path, token: str, timeout_seconds: float = 60) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        # Threads share it: a connection is kept for each of the few there are.
        self._pool = urllib3.PoolManager(
            ca_certs=str(ca_file), timeout=timeout_seconds, retries=False, maxsize=_CONNECTIONS
        )

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> raw.Object:
        """Make one request; raises RefusedError for an answer that is no, ConnectionError where there is none."""
        data = None if body is None else orjson.dumps(body)
        headers = {**self._headers, "Content-Type": content, "Accept": accept}
        try:
            answer = self._pool.request(method, f"{self._url}{path}", body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionError(f"{method} {path}: {error}") from error
        if answer.status >= 400:
            raise RefusedError(answer.status, f"{method} {path}", answer.data.decode(errors="replace"))
        found: raw.Object = orjson.loads(answer.data)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
