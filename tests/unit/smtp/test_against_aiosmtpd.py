"""What we take from aiosmtpd, what we replace, and that its parsing cannot be reached (decision 0011)."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from mailguard.commands import Extensions
from mailguard.smtp import grammar
from mailguard.smtp.server import Connection
from tests.unit.smtp.conftest import Server

INJECTION = "<=?utf-8?q?x=3e=0d=0aRCPT=20TO=3a=3cvictim=40y?=@c.org>"
OVERRIDDEN = [
    "_handle_client",
    "connection_made",
    "connection_lost",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
]


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_is_overridden_is_still_there_upstream_with_the_same_parameters(name: str) -> None:
    ours, theirs = getattr(Connection, name), getattr(SMTP, name)
    assert ours is not theirs
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_nothing_else_is_overridden() -> None:
    names = {name for name in dir(SMTP) if not name.startswith("__")}
    assert {name for name in names if getattr(Connection, name) is not getattr(SMTP, name)} == set(OVERRIDDEN)


async def test_a_connection_has_every_attribute_that_the_constructor_upstream_gives(server: Server) -> None:
    listener = await server.start()
    theirs = vars(SMTP(None, hostname="x", loop=asyncio.get_running_loop()))
    async with await server.connect():
        connection = next(iter(listener._connections.values()))
        assert [name for name in theirs if not hasattr(connection, name)] == []


async def test_connections_share_no_state_by_the_prototype(server: Server) -> None:
    listener = await server.start()
    one, other = listener.connection(), listener.connection()
    shared = [name for name, value in vars(one).items() if value is vars(other)[name] and _mutable(value)]
    assert set(shared) <= {"_listener", "_limits", "loop", "_loop", "_smtp_methods", "_auth_methods", "_handle_hooks"}
    assert (one._smtp_methods, one._auth_methods, one._handle_hooks) == ({}, {}, {})


def _mutable(value: Any) -> bool:
    return not (callable(value) or isinstance(value, str | int | float | bytes | tuple | type(None)))


async def test_no_parsing_of_aiosmtpd_is_reached(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []
    for name in vars(SMTP):
        if name.startswith("smtp_") or name in ("_getaddr", "_getparams", "_strip_command_keyword", "push"):
            monkeypatch.setattr(SMTP, name, lambda *_args, _name=name: reached.append(_name))
    await server.start()
    async with await server.connect() as client:
        await client.send(b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n.\r\nVRFY x\r\nQUIT\r\n")
        await client.rest()
    assert len(server.stories[0].messages) == 1
    assert reached == []


async def test_the_encoded_word_that_aiosmtpd_decodes_is_an_atom_here(server: Server) -> None:
    """Why its parser must not be reachable: upstream the address comes out with CR LF in it."""
    upstream = SMTP(None, hostname="x", loop=asyncio.get_running_loop())
    decoded, _ = upstream._getaddr(INJECTION)  # type: ignore[no-untyped-call]
    assert "\r\n" in (decoded or "")
    command = grammar.rcpt_to(b"TO:" + INJECTION.encode(), Extensions(), smtputf8=False)
    assert command.encode() == b"RCPT TO:" + INJECTION.encode()
