"""TLS of one connection that we opened, without its I/O: octets of the wire in and out, plain octets on the other side.

``net.streams`` puts it between a transport and its reader. Python's ``ssl`` does the work on memory BIOs, so that the
transport keeps its own rules (what is drained is with the kernel, what was received stays readable), on asyncio's and
uvloop's loops alike.

Failure: :class:`TlsError`, whose text is a private cause; then nothing may be sent or read any more.
"""

from __future__ import annotations

import ssl

_PIECE = 65_536
"""Octets decrypted at a time; a TLS record holds 16 KiB."""


class TlsError(Exception):
    """The handshake failed, or what came is no TLS."""


class Encryption:
    """The client's end. ``name``: for SNI, and for ``context`` to check the certificate against where it does."""

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.ended = False
        """Whether the peer has said that it will send no more (close_notify)."""

    def receive(self, octets: bytes) -> None:
        """What came on the wire."""
        self._incoming.write(octets)

    def to_send(self) -> bytes:
        """What must go out on the wire now; maybe nothing."""
        return self._outgoing.read()

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is over.

        Raises:
            TlsError: it failed; :meth:`to_send` may hold an alert that says why.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ValueError) as error:
            raise TlsError(str(error)) from error
        return True

    def plain(self) -> bytes:
        """All that was received and can be read by now.

        Raises:
            TlsError: it cannot be.
        """
        pieces = []
        try:
            while piece := self._tls.read(_PIECE):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TlsError(str(error)) from error
        return b"".join(pieces)

    def encrypt(self, octets: bytes) -> bytes:
        """``octets``, and what else must go out, as they go on the wire.

        Raises:
            TlsError: the connection is broken.
        """
        view = memoryview(octets)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise TlsError(str(error)) from error
        return self.to_send()

    def goodbye(self) -> bytes:
        """The octets of close_notify; nothing where it can't be said any more."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # mostly SSLWantReadError: the peer's own is not waited for
            return self.to_send()
        return self.to_send()

    @property
    def certificate(self) -> bytes:
        """The peer's certificate in DER; after the handshake."""
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def version(self) -> str:
        """Protocol and cipher, as in ``TLSv1.3 TLS_AES_256_GCM_SHA384``; after the handshake."""
        cipher = self._tls.cipher()
        return f"{self._tls.version()} {cipher[0] if cipher else ''}"
