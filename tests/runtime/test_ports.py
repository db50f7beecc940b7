"""Ports are kept for the process that is started there later, and again."""

import socket

import pytest

from grovekeeper.runtime import ports


def test_a_port_is_for_servers_that_come_and_come_again_and_for_nobody_who_asks_for_any() -> None:
    found = {ports.free() for _ in range(20)}
    assert len(found) == 20
    for port in found:
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)):
                server.accept()[0].close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
