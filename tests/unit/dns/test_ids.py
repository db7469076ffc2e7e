"""Ids of queries come of the kernel's generator, each once."""

from __future__ import annotations

import os

import pytest

from mailguard.dns.ids import Ids


def test_every_octet_that_was_drawn_is_of_one_id_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bytes] = []
    urandom = os.urandom

    def counted(size: int) -> bytes:
        drawn.append(urandom(size))
        return drawn[-1]

    monkeypatch.setattr("mailguard.dns.ids.os.urandom", counted)
    ids = Ids()
    given = [ids.draw() for _ in range(600)]
    octets = b"".join(drawn)
    everything = [octets[at : at + 2] for at in range(0, len(octets), 2)]
    assert len(drawn) == 3
    assert sorted(given[:512]) == sorted(everything[:512])
    assert set(given[512:]) <= set(everything[512:])
