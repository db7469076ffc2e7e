"""Addresses to listen on: which clash, and what is said about one that cannot be had."""

from __future__ import annotations

import errno
import socket

import pytest

from mailguard.net.local import CannotListen, is_own, look_up


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1:25", "127.0.0.1:25", True),
        ("127.0.0.1:25", "127.0.0.1:26", False),
        ("127.0.0.1:25", "127.0.0.2:25", False),
        ("127.0.0.1:25", "0.0.0.0:25", True),
        ("[::]:25", "0.0.0.0:25", False),
        ("[::]:25", "[::1]:25", True),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_which_addresses_clash(one: str, other: str, clash: bool) -> None:
    assert look_up(one).meets(look_up(other)) is clash
    assert look_up(other).meets(look_up(one)) is clash


@pytest.mark.parametrize(
    ("here", "there", "answers"),
    [
        ("0.0.0.0:25", "127.0.0.3:25", True),
        ("0.0.0.0:25", "203.0.113.99:25", False),
        ("127.0.0.1:25", "127.0.0.1:25", True),
        ("127.0.0.1:25", "127.0.0.2:25", False),
    ],
)
def test_where_a_connection_comes_out(here: str, there: str, answers: bool) -> None:
    assert look_up(here).answers(look_up(there)) is answers


def test_an_address_of_this_machine() -> None:
    assert is_own(look_up("127.0.0.1:1"))
    assert not is_own(look_up("203.0.113.99:1"))


@pytest.mark.parametrize("name", ["a..b:25", "x" * 64 + ":25"])
def test_what_is_no_name_is_an_oserror(name: str) -> None:
    with pytest.raises(OSError, match="no name of a host"):
        look_up(name)


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("0.0.0.0:25", errno.EACCES, "Permission denied; a port under 1024 takes CAP_NET_BIND_SERVICE (systemd: "),
        ("0.0.0.0:2525", errno.EACCES, "Permission denied; a security module "),
        ("0.0.0.0:25", errno.EADDRINUSE, "Address already in use; something listens there already: `ss -ltnp`"),
        ("198.18.0.9:25", errno.EADDRNOTAVAIL, "Cannot assign requested address; no interface of this machine has "),
        ("[::1]:25", errno.EAFNOSUPPORT, "Address family not supported by protocol; this machine has no "),
        ("0.0.0.0:25", errno.ENFILE, "Too many open files in system"),
    ],
)
def test_a_failure_names_address_setting_and_remedy(address: str, error: int, said: str) -> None:
    told = str(CannotListen("entry 2 of `listen`", address, OSError(error, "asyncio's own words")))
    assert told.startswith(f"cannot listen on {address} (entry 2 of `listen`): {said}")
    assert "asyncio" not in told


def test_a_name_that_is_unknown() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert str(CannotListen("`admin.address`", "mx:25", error)) == (
        "cannot listen on mx:25 (`admin.address`): Name or service not known"
    )
