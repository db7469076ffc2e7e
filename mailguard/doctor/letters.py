"""The messages that are shown to scanners: made afresh each time, of constant text, without a secret.

Units: octets.
"""

from __future__ import annotations

import io
import zipfile
from base64 import encodebytes
from collections.abc import Iterator
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from mailguard.facts import ClientAddress
from mailguard.message.compose import Origin, Transmission
from mailguard.scanners.patterns import EICAR, GTUBE

NESTED: Final = 110
"""Archives within each other: more than clamd's MaxRecursion can be (100), so that it must reach a limit."""
_BOUNDARY: Final = b"doctor-of-mailguard"
_LINE: Final = b"This line is here so that the message is long.".ljust(76, b".") + b"\r\n"
_REFERENCE: Final = "DOCTOR"


def _head(now: datetime, more: bytes) -> bytes:
    date = format_datetime(now).encode("ascii")
    return (
        b"From: <postmaster@doctor.invalid>\r\nTo: <postmaster@doctor.invalid>\r\n"
        b"Subject: a test by mailguard doctor\r\nDate: %b\r\nMessage-ID: <test@doctor.invalid>\r\n"
        b"MIME-Version: 1.0\r\n%b\r\n\r\n" % (date, more)
    )


def _mixed(now: datetime) -> bytes:
    return _head(now, b'Content-Type: multipart/mixed; boundary="%b"' % _BOUNDARY) + (
        b"--%b\r\nContent-Type: text/plain\r\n\r\n" % _BOUNDARY
    )


def _attachment(name: bytes, content: bytes) -> bytes:
    return (
        b"\r\n--%b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="%b"\r\n\r\n%b--%b--\r\n'
        % (_BOUNDARY, name, encodebytes(content).replace(b"\n", b"\r\n"), _BOUNDARY)
    )


def infected(now: datetime, size: int = 0) -> Iterator[bytes]:
    """A message with the EICAR test file attached, at its very end; filled up to ``size`` octets."""
    head, end = _mixed(now), _attachment(b"eicar.com", EICAR)
    yield head
    lines = max(1, (size - len(head) - len(end)) // len(_LINE))
    while lines:
        piece = min(lines, 1000)
        yield _LINE * piece
        lines -= piece
    yield end


def nested(now: datetime) -> bytes:
    """A message with archives in one another, more than clamd opens."""
    content, name = EICAR, "eicar.com"
    for depth in range(NESTED):
        octets = io.BytesIO()
        with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        content, name = octets.getvalue(), f"{depth}.zip"
    return _mixed(now) + _LINE + _attachment(b"nested.zip", content)


def relayed(now: datetime, hostname: str, clients: list[ClientAddress], text: str = "Hello.") -> bytes:
    """A message as SpamAssassin is shown it: through ``clients``, of which the last one connected to us.

    ``hostname`` is our name. The text may be :data:`GTUBE`.
    """
    lines = [b"Return-Path: <postmaster@doctor.invalid>\r\n"]
    by = hostname
    for client in reversed(clients):
        lines.append(Transmission(Origin(by, client, "relay.doctor.invalid"), _REFERENCE, "ESMTP", now).received())
        by = "relay.doctor.invalid"
    return b"".join(lines) + _head(now, b"Content-Type: text/plain") + text.encode("ascii") + b"\r\n"


SPAM: Final = GTUBE
"""What :func:`relayed` takes for a text of a thousand points."""
