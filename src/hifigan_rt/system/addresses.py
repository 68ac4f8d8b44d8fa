"""Tells clients apart by the addresses that they come from."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_IPV6_PREFIX = 64
"""Leading bits of an IPv6 address that tell customers apart: each has all that follow."""


def parse_address(text: str) -> Address | None:
    """Read an address, without the zone; one of IPv4 that IPv6 carries is IPv4's. None if it is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def client_at(peer: str) -> str:
    """Name the client at an address: the address, of IPv6 the first 64 bits; what is no address stays as it is."""
    address = parse_address(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return peer if address is None else str(address)
