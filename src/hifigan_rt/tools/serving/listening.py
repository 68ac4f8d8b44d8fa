"""Sockets that a server listens on."""

from __future__ import annotations

import errno
import socket

from hifigan_rt.errors import ServerError

BACKLOG = 1024


def listen(host: str, port: int, option: str) -> socket.socket:
    """Bind a host and port; who connects then waits to be accepted.

    Args:
        host: name or address; "::" takes IPv4 too.
        port: 0 takes a free one.
        option: what the operator chooses another port with, for texts.

    Raises:
        ServerError: the port is taken, or the host is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        # "::" is all addresses of the machine, those of IPv4 among them wherever the system can: create_server leaves
        # them out by itself.
        both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
        # The whole address: of a link-local one of IPv6, its last part names the interface.
        return socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=False, dualstack_ipv6=both)
    except OSError as error:
        raise ServerError(_text_of(error, host, port, option)) from error


def address_of(listening: socket.socket) -> str:
    """Tell host and port as URLs have them."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text_of(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use: stop what listens there, or choose another with {option}"
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user: choose one from 1024 on with {option}"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"host {host!r} is no address of this machine: choose 127.0.0.1, or 0.0.0.0 for all of its addresses"
    return f"{host}:{port} cannot be listened on: {error.strerror}"
