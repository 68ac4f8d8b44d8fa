"""Who a client is, and what part of a limit it gets."""

from __future__ import annotations

import pytest

from hifigan_rt.errors import ConfigError
from hifigan_rt.tools.serving.clients import client_of, networks
from hifigan_rt.tools.serving.scheduling.clients import WINDOW_SECONDS, ClientUse, has_room, reserve_of
from hifigan_rt.tools.serving.settings import ServerSettings

PROXIES = networks(["10.0.0.0/8", "::1"])


def named(peer: str | None, *forwarded: str, proxies=PROXIES) -> str:
    headers = [(b"host", b"x"), *((b"x-forwarded-for", text.encode("latin-1")) for text in forwarded)]
    return client_of({"client": None if peer is None else (peer, 1234), "headers": headers}, proxies)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # no proxy: it writes what it likes
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1%eth0", [], "2001:db8:1:2::/64"),
        (None, ["198.51.100.7"], ""),
        ("/run/socket", [], "/run/socket"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["1.2.3.4", "198.51.100.7 , 10.9.9.9"], "198.51.100.7"),
        ("::1", ["2001:db8::9"], "2001:db8::/64"),
        ("10.1.2.3", ["1.2.3.4, 198.51.100.7:5678"], "198.51.100.7"),
        ("10.1.2.3", ["[2001:db8::9]:80"], "2001:db8::/64"),
        ("10.1.2.3", ["[2001:db8::9]"], "2001:db8::/64"),
        ("10.1.2.3", [":80"], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.7, nonsense"], "10.1.2.3"),
        ("10.1.2.3", ["\xff, "], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.7, , 10.2.2.2"], "10.2.2.2"),
        ("10.1.2.3", [",".join(["10.2.2.2"] * 1000)], "10.2.2.2"),
    ],
)
def test_a_client_is_its_address_or_what_a_named_proxy_says(peer, forwarded, client) -> None:
    assert named(peer, *forwarded) == client


def test_without_named_proxies_no_header_counts() -> None:
    assert named("127.0.0.1", "198.51.100.7", proxies=()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", ""])
def test_proxies_that_are_no_addresses(text) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        ServerSettings(trusted_proxies=(text,))


def test_a_lone_client_gets_all_but_the_reserve_and_later_ones_their_share() -> None:
    most, reserve = 512, reserve_of(512)
    held = {"first": 0}

    def come(client: str) -> bool:
        own, clients = held.get(client, 0) + 1, len({client, *held})
        if not has_room(own, sum(held.values()) + 1, clients, most, reserve):
            return False
        held[client] = own
        return True

    while come("first"):
        pass
    assert held["first"] == 480
    for number in range(32):
        assert come(f"client {number % 4}")
    assert not come("client 0")
    held["first"] -= 100  # and it does not get them back
    assert not come("first")
    while sum(come(f"client {number}") for number in range(4)):
        pass
    assert all(held[f"client {number}"] == 33 for number in range(4))


def test_small_limits_have_no_reserve() -> None:
    assert has_room(1, 1, 1, 1, reserve_of(1))
    assert not has_room(1, 2, 2, 1, reserve_of(1))
    assert has_room(1, 3, 3, 3, reserve_of(3))


def test_use_fades_and_is_forgotten() -> None:
    use = ClientUse()
    for second in range(60):
        use.book("busy", 0.5, float(second))
        use.book(f"once {second}", 0.01, float(second))
    assert use.seconds("busy", 59.0) == pytest.approx(WINDOW_SECONDS / 2, rel=0.15)
    assert use.beyond_share("busy", 3, 59.0)
    assert not use.beyond_share("busy", 1, 59.0)
    assert not use.beyond_share("busy", 3, 59.0, least=0.6)
    for number in range(5000):
        use.book(f"address {number}", 0.01, 100.0 + number)
    assert len(use._booked) <= 1001
    assert use.seconds("busy", 5100.0) == 0.0
