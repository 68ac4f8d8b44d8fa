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


@pytest.mark.parametrize(("host", "able", "both"), [("::", True, True), ("::", False, False), ("::1", True, False)])
def test_all_addresses_hold_those_of_ipv4(monkeypatch: pytest.MonkeyPatch, host: str, able: bool, both: bool) -> None:
    """Whether this machine has IPv6 is not for a test to know."""
    made: list[bool] = []
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: able)
    monkeypatch.setattr(socket, "create_server", lambda _, **how: made.append(how.get("dualstack_ipv6", False)))
    listening.listen(host, 8004, "--port")
    assert made == [both]
