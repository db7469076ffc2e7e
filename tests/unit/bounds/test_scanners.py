"""A scanner that is too slow for a message is asked for a sign of life, which has a share of the time that there is."""

from __future__ import annotations

import pytest

from mailguard import config
from mailguard.facts import Answer, Cause, Unknown, VirusResult
from mailguard.scanners.clamav import Clamav
from mailguard.spool import Content
from tests.unit.bounds.waiting import Clock
from tests.unit.scanners import test_clamav as clamav
from tests.unit.scanners import test_spamassassin as spamassassin
from tests.unit.scanners.conftest import Fake, Script, content, deadline, fake, hang_up, silent

__all__ = ["content", "fake"]
MakeContent = clamav.MakeContent


async def scanned(address: str, message: Content, seconds: float = 100.0) -> Answer[VirusResult]:
    with message:
        return await Clamav(config.Clamav(address=address), clamav.clock).scan(message, deadline(seconds))


@pytest.mark.parametrize(
    ("ping", "cause", "seconds"),
    [
        (clamav.PONG, Cause.UNSCANNABLE, 29.0),
        (silent, Cause.DOWN, 30.0),
        (hang_up, Cause.DOWN, 29.0),
    ],
)
async def test_clamd(fake: Fake, content: MakeContent, ping: Script, cause: Cause, seconds: float) -> None:
    server, clock = await fake(silent, ping), Clock()
    answer = await scanned(server.address, content(b"x"))
    assert isinstance(answer, Unknown)
    assert (answer.cause, clock.seconds) == (cause, pytest.approx(seconds, abs=0.1))
    assert server.connections == 2


async def test_the_callers_deadline_holds_too(fake: Fake, content: MakeContent) -> None:
    server, clock = await fake(silent, clamav.PONG), Clock()
    answer = await scanned(server.address, content(b"x"), 20.0)
    assert isinstance(answer, Unknown)
    assert (answer.cause, clock.seconds) == (Cause.UNSCANNABLE, pytest.approx(19.0, abs=0.1))


@pytest.mark.parametrize(
    ("ping", "cause", "seconds"), [(spamassassin.PONG, Cause.UNSCANNABLE, 29.0), (silent, Cause.DOWN, 30.0)]
)
async def test_spamd(fake: Fake, content: MakeContent, ping: Script, cause: Cause, seconds: float) -> None:
    server, clock = await fake(silent, ping), Clock()
    with content(b"end") as message:
        spamd = spamassassin.scorer(server.address, timeout=30)
        answer = await spamd.score(message, deadline(100.0), spamassassin.CLIENT)
    assert isinstance(answer, Unknown)
    assert (answer.cause, clock.seconds) == (cause, pytest.approx(seconds, abs=0.1))
