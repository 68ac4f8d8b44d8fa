"""Who a client is: the address that a request comes from, or what a proxy named by the operator says."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.types import Scope

from hifigan_rt.system.addresses import Address, client_at, parse_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read addresses, or networks such as 10.0.0.0/8.

    Raises:
        ValueError: one is neither.
    """
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def client_of(scope: Scope, proxies: Sequence[Network]) -> str:
    """Name the client of a request: its address, of IPv6 the first 64 bits.

    X-Forwarded-For counts only in requests of the proxies, from its end up to the first address that is none of them: a
    client can write whatever it likes before what the proxy appends.
    """
    peer = (scope.get("client") or ("",))[0]
    address = parse_address(peer)
    if address is None or not _is_one_of(address, proxies):
        return client_at(peer)
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for text in reversed(b",".join(values).decode("latin-1").split(",")):
        forwarded = parse_address(_without_port(text.strip()))
        if forwarded is None:
            break
        address = forwarded
        if not _is_one_of(address, proxies):
            break
    return client_at(str(address))


def _without_port(text: str) -> str:
    """Leave out what some proxies append: 1.2.3.4:5678, [2001:db8::1]:5678."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_one_of(address: Address, proxies: Sequence[Network]) -> bool:
    return any(address in proxy for proxy in proxies)
