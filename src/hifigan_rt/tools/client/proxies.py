"""Choice of the proxy to a server, one rule for requests and live streams.

The system names proxies as it does for Python's own clients: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, on macOS and
Windows also the settings of the network; for live streams `WS_PROXY`, `WSS_PROXY` and `SOCKS_PROXY` come first. None is
used to a server on this machine, whatever they say, nor to what `NO_PROXY` lists: hosts and the domains below them,
addresses and networks, each with a port or without, or `*`. What an error shows of a proxy has no password.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from hifigan_rt.errors import ServerUnreachable
from hifigan_rt.system.addresses import Address, parse_address

_REQUEST_KINDS = ("http", "https", "socks5", "socks5h")
_STREAM_KINDS = (*_REQUEST_KINDS, "socks4", "socks4a")

_REQUEST_NAMES = {"http": ("http", "all"), "https": ("https", "all")}
_STREAM_NAMES = {"http": ("ws", "socks", "https", "http", "all"), "https": ("wss", "socks", "https", "all")}


@dataclass(frozen=True)
class ProxyAddress:
    """Address of a proxy."""

    url: str
    """Address with user and password, if it has them."""
    shown: str
    """Address without them."""
    way_around: str
    """Setting that leaves the proxy out."""


def is_this_machine(host: str) -> bool:
    """Whether a host, by name or address, is the machine that asks."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def choose_proxy(server: SplitResult, *, streamed: bool) -> ProxyAddress | None:
    """Choose the proxy of requests to a server, or of live streams; None goes there directly.

    Raises:
        ServerUnreachable: what the system names is no proxy that the client knows.
    """
    names, kinds = (_STREAM_NAMES, _STREAM_KINDS) if streamed else (_REQUEST_NAMES, _REQUEST_KINDS)
    host = server.hostname or ""
    proxies = getproxies()
    name = next((name for name in names[server.scheme] if proxies.get(name)), None)
    if name is None or is_this_machine(host):
        return None
    port = server.port or (443 if server.scheme == "https" else 80)
    if proxy_bypass(host) or any(_excepts(entry, host, port) for entry in re.split(r"[,\s]+", proxies.get("no", ""))):
        return None
    text = proxies[name].strip()
    if "://" not in text:
        text = f"http://{text}"
    if name == "socks" and text.startswith("http://"):  # as macOS tells a SOCKS proxy
        text = f"socks5h://{text.removeprefix('http://')}"
    return _parsed(name, text, kinds, f"NO_PROXY={host}")


def _parsed(name: str, text: str, kinds: Sequence[str], way_around: str) -> ProxyAddress:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise ServerUnreachable(f"the proxy that {name}_proxy names is no address: it looks like http://HOST:PORT")
    place = f"[{host}]" if ":" in host else host
    if port is not None:
        place += f":{port}"
    shown = f"{parts.scheme}://{place}"
    if parts.scheme not in kinds:
        raise ServerUnreachable(
            f"the proxy {shown} of {name}_proxy is of no kind that is known: {', '.join(kinds)} are"
        )
    user, at, _ = parts.netloc.rpartition("@")
    if at and ":" not in user:
        user += ":"
    return ProxyAddress(f"{parts.scheme}://{user}{at}{place}", shown, way_around)


def _excepts(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY stands for a server."""
    entry = entry.lower().partition("://")[2] or entry.lower()
    if entry in ("", "*"):
        return entry == "*"
    place, _, own_port = entry.rpartition(":")
    if place and own_port.isdecimal() and (":" not in place or place.endswith("]")):
        if int(own_port) != port:
            return False
        entry = place
    entry = entry.strip("[]")
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.replace("]", ""), strict=False)
        except ValueError:
            return False
    domain = entry.removeprefix("*").strip(".")
    name = host.lower().rstrip(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


def _address(host: str) -> Address | None:
    address = parse_address(host)
    if address is not None:
        return address
    try:
        # Short forms, such as 127.1, which systems take.
        return ipaddress.IPv4Address(socket.inet_aton(host)) if re.match(r"\d", host) else None
    except OSError:
        return None
