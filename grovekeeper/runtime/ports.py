"""Ports of loopback for processes that we start, and may start again."""

import socket


def free() -> int:
    """Return a port of loopback that nobody listens on, and that is given to nobody else until this process ends.

    A socket that is bound and does not listen keeps it: a server, which binds with SO_REUSEADDR, may listen there at
    any time, while whoever asks the system for any port gets another one.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    port: int = kept.getsockname()[1]
    # From here on it is the process's, and closed with it.
    kept.detach()
    return port
