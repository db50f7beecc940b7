"""The client of Redis that our loops use: a task that waits for an answer ends when it is cancelled.

redis-py sends with `asyncio.wait_for`, and that of Python 3.11 forgets a cancellation that comes as the sending ends:
the task goes on for ever, and so does whoever waits for its end.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)


class _Cancellable(AbstractConnection):
    """Looks after each sending whether its task has been cancelled meanwhile."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send; raises CancelledError also where a cancellation was forgotten."""
        await super().send_packed_command(command, check_health)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # Nobody reads the answer: the connection cannot be used again.
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


class _Tcp(_Cancellable, Connection):
    """redis://"""


class _Tls(_Cancellable, SSLConnection):
    """rediss://"""


class _Unix(_Cancellable, UnixDomainSocketConnection):
    """unix://"""


_OF: dict[type[AbstractConnection], type[_Cancellable]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


def of(url: str, *, socket_timeout: float | None = None) -> Redis:
    """Return a client of the Redis at this URL, with seconds for each answer; raises ValueError for other URLs."""
    found: dict[str, Any] = {"socket_timeout": socket_timeout, **parse_url(url)}
    kind = found.pop("connection_class", Connection)
    return Redis.from_pool(ConnectionPool(connection_class=_OF[kind], **found))
