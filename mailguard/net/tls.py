"""TLS on a connection that we accepted in plain text (RFC 3207).

The octets that came before the handshake cannot get behind it: a connection in TLS has a wire of its own, which never
held any. asyncio knows no half-closed TLS: once the client has said ``close_notify``, or ended without it, nothing more
reaches it. Units: seconds. Failure: :class:`TlsFailed`, after which the connection is cut.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from mailguard.facts import TlsSession
from mailguard.net.deadlines import Deadlines
from mailguard.net.wire import Wire


class TlsFailed(Exception):
    """There was no handshake; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Secured:
    """A connection in TLS."""

    wire: Wire
    facts: TlsSession


class _Inner(Wire):
    """The wire of a connection in TLS; ``over`` is called once the client will send no more."""

    __slots__ = ("_over",)

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, over: Callable[[], None]) -> None:
        super().__init__(loop, deadlines)
        self._over = over

    def eof_received(self) -> bool:
        super().eof_received()
        self._over()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._over()


async def secure(
    transport: asyncio.Transport,
    context: ssl.SSLContext,
    deadlines: Deadlines,
    ended: Callable[[], None],
    *,
    handshake: float,
    shutdown: float,
) -> Secured:
    """Shake hands with the client behind ``transport``, which is of no use afterwards but to be cut.

    Args:
        deadlines: see :class:`~mailguard.net.wire.Wire`.
        ended: called, perhaps twice, once the client will send no more.
        handshake: bound of the handshake; a caller with a bound of its own gives a larger one.
        shutdown: bound of the exchange of ``close_notify``.

    Raises:
        TlsFailed: the client refuses what we have, talks no TLS, or is gone.
        TimeoutError: it took too long.
    """
    if transport.is_closing():
        raise TlsFailed("the client left")
    loop = asyncio.get_running_loop()
    wire = _Inner(loop, deadlines, ended)
    try:
        upgraded = await loop.start_tls(
            transport,
            wire,
            context,
            server_side=True,
            ssl_handshake_timeout=handshake,
            ssl_shutdown_timeout=shutdown,
        )
    except TimeoutError:
        raise
    except ConnectionAbortedError as error:  # how both event loops tell that the handshake took too long
        raise TimeoutError from error
    except ssl.SSLError as error:
        raise TlsFailed((error.reason or str(error)).lower().replace("_", " ")) from error
    except OSError as error:
        raise TlsFailed(f"the client left: {error.strerror or type(error).__name__}") from error
    session = upgraded.get_extra_info("ssl_object") if upgraded is not None else None
    if upgraded is None or session is None:  # lost between the handshake and now
        raise TlsFailed("the client left")
    wire.connection_made(upgraded)
    return Secured(wire, _facts(session))


def _facts(session: ssl.SSLObject) -> TlsSession:
    cipher, _, bits = session.cipher() or ("", "", 0)
    return TlsSession(session.version() or "", cipher, bits)
