"""File descriptors: the process takes all that it is allowed, and no more connections than those are enough for.

A service is often started with a soft limit of 1024 (for programs that use ``select(2)``, which mailguard does not)
below a much higher hard one, so the soft limit is raised first. Where even the hard limit is too low, connections
beyond what fits would fail anywhere in the middle: a client without a backend for it, a message without a spool, a
question to a list without a socket, each of which defers mail. A lower ``limits.max_connections`` says 421 at the door
instead. What is counted is what all may have at the same time, and no more (docs/decisions/0225).
"""

from __future__ import annotations

import resource
from fractions import Fraction
from typing import Final

from mailguard.config import Settings
from mailguard.log import logger

CLIENT: Final = 1
"""Descriptors of a connection: the client's socket."""
SPOOL: Final = 1
"""Of a message that is too long for memory, besides: its file."""
SCAN: Final = 2
"""Descriptors of a scan: the scanner's socket, and for clamd a copy of the message."""
SPARE: Final = 64
"""Standard streams, event loop, listeners, admin pages, probes, policy files, clients that are being turned away, and a
file that is opened once more to be read."""


def fitted(settings: Settings) -> Settings:
    """``settings``, with fewer connections where this process may not have descriptors for all; a warning says so."""
    allowed = raise_limit()
    fits = connections_within(settings, allowed)
    if settings.limits.max_connections <= fits:
        return settings
    logger.warning(
        "too few file descriptors",
        error=f"`limits.max_connections` is {settings.limits.max_connections}, and the {allowed} file descriptors that "
        f"this process may open are enough for {fits}: that many are taken (raise LimitNOFILE or `ulimit -Hn`)",
        count=fits,
    )
    return settings.model_copy(update={"limits": settings.limits.model_copy(update={"max_connections": fits})})


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_within(settings: Settings, descriptors: int) -> int:
    """Connections that ``descriptors`` are enough for beside what all share; at least one."""
    return max(1, int((descriptors - _shared(settings)) / _of_a_connection(settings)))


def _shared(settings: Settings) -> int:
    """What bounds of its own have: questions, scans, and connections to backends, however few clients there are."""
    scans = settings.clamav.connections + settings.spamassassin.connections
    backends = sum(backend.connections for backend in settings.backends)
    return SPARE + settings.dns.max_questions + SCAN * scans + backends


def _of_a_connection(settings: Settings) -> Fraction:
    """What each client may take at the same time as all others (:mod:`mailguard.smtp.admission`)."""
    limits, taken = settings.limits, Fraction(CLIENT)
    if limits.max_message_size > limits.max_message_memory:
        taken += SPOOL
    if any(listener.proxy_protocol_from for listener in settings.listen):
        taken += Fraction(limits.reserved_share) / 100 * CLIENT  # those whose header is still to come
    return taken
