"""SIGTERM under load: what was answered 250 is at the backend once, and all processes are gone within the bound."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.soak.failure import require
from tests.soak.figures import Figures
from tests.soak.link import GO_AHEAD, Link
from tests.soak.place import CLIENTS, Place
from tests.soak.traffic import HELO, RECIPIENTS, SENDER, Traffic

_DRAIN, _CLOSE, _GRACE = 10.0, 5.0, 5.0
"""Settings: ``drain_timeout``, ``close_timeout``, ``stop_grace``."""
_LONG_DRAIN = 600.0
_LIMITS = {"drain_timeout": _DRAIN, "close_timeout": _CLOSE}
_MARGIN = 30.0
"""Beyond the bound: for a machine on which nothing comes to its turn. Seconds, as all here."""
_STUCK = 5
_BEFORE = 10
"""Messages of each sender, before the end."""
SERVICE_CLOSING = 421


async def ending(place: Place, drains: int, senders: int) -> Figures:
    """``drains`` times SIGTERM under load; then SIGTERM twice, while messages are under way that never end.

    Raises:
        SoakFailed: a message was lost or doubled, or a process lives on.
    """
    traffic = place.traffic()
    ends = [await _drain(place, traffic, senders) for _ in range(drains)]
    account = await place.settled(traffic)
    figures = Figures()
    figures.tell("SIGTERM under load", f"{drains} times; all processes gone within {max(ends):.1f} s")
    figures.tell("allowed", f"{_DRAIN + _CLOSE + _GRACE:g} s")
    figures.tell("messages", account.told())
    hurried = place.traffic()
    seconds = await _hurry(place, hurried, senders)
    account = await place.settled(hurried)
    figures.tell("a second SIGTERM", f"all processes gone {seconds:.1f} s later, of {_LONG_DRAIN:g} s for messages")
    figures.tell("messages then", account.told())
    return figures


async def _drain(place: Place, traffic: Traffic, senders: int) -> float:
    """SIGTERM; seconds until all have ended."""
    await place.start(limits=_LIMITS, processes={"stop_grace": _GRACE})
    async with traffic.flowing(senders):
        await traffic.more(_BEFORE * senders)
        place.serving.process.signal(signal.SIGTERM)
        took = await place.gone(place.pid, _DRAIN + _CLOSE + _GRACE + _MARGIN)
    _ended_well(place)
    return took


def _ended_well(place: Place) -> None:
    status = place.serving.process.wait(_MARGIN)
    require(status == os.EX_OK, f"`mailguard serve` ended with status {status}")


async def _hurry(place: Place, traffic: Traffic, senders: int) -> float:
    """SIGTERM, and another one once it drains; seconds from that one until all have ended."""
    patient = {"min_data_rate_grace": _LONG_DRAIN}  # content that does not go on is to end by the signal alone
    await place.start(limits={"drain_timeout": _LONG_DRAIN, "close_timeout": _CLOSE, **patient})
    async with traffic.flowing(senders):
        await traffic.more(_BEFORE * senders)
        stuck = [await _in_content(place) for _ in range(_STUCK)]
        place.serving.process.signal(signal.SIGTERM)
        await traffic.until(lambda: traffic.attempts[-1].fault == "refused", "nobody listens")
        await asyncio.sleep(1)
        require(place.serving.running, "it ended while messages were under way")
        place.serving.process.signal(signal.SIGTERM)
        took = await place.gone(place.pid, _CLOSE + _GRACE + _MARGIN)
    _ended_well(place)
    for link in stuck:
        require(await _given_up(link), f"half a message was answered {link.lines}")
    return took


async def _given_up(link: Link) -> bool:
    """Whether the client heard 421, or nothing."""
    try:
        return await link.reply() == SERVICE_CLOSING
    except ConnectionError:
        return True
    finally:
        link.close()


async def _in_content(place: Place) -> Link:
    """A client in the middle of a message, which never ends."""
    link = await Link.to(place.serving.proxy_port, next(CLIENTS))
    await link.greet(HELO)
    code = await link.envelope(SENDER, RECIPIENTS[:1])
    require(code == GO_AHEAD, f"DATA was answered {link.lines}")
    link.send(b"Subject: Half a message\r\n\r\nand the rest nev")
    return link
