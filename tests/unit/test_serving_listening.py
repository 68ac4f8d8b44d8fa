"""Sockets that a server listens on."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from hifigan_rt.tools.serving import listening


def test_a_link_local_address_keeps_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this machine has one, and of which interface, is not for a test to know."""
    bound: list[Any] = []
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 8004, 0, 3))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_server", lambda address, **_: bound.append(address))
    listening.listen("fe80::1%eth0", 8004, "--port")
    assert bound == [("fe80::1", 8004, 0, 3)]
