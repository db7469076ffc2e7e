"""Our certificate and its key, read from PEM files and checked before any client sees them (RFC 5280, RFC 7468).

What makes them unusable is a :class:`BadCertificate`, which names the setting at fault. That a certificate has run out
is none of these: senders to an MX seldom verify it (RFC 7435), so serving it harms less than serving none. Whoever
loads one looks at :attr:`Credentials.not_after` himself. Times are seconds since the epoch; "now" is never asked here.

Blocking: files are read.
"""

from __future__ import annotations

import re
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from mailguard.config import Tls

_PEM_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_PEM_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
MAX_FILE: Final = 1024 * 1024
"""Octets of a file that we read."""

Setting = Literal["certificate", "key"]


class BadCertificate(Exception):
    """Certificate and key cannot be used.

    Attributes:
        setting: the one of ``tls`` at fault.
        message: what is wrong; ``hint``: what would be right.
    """

    def __init__(self, setting: Setting, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.setting: Final = setting
        self.message: Final = message
        self.hint: Final = hint


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate with its key, ready for handshakes; ``not_before`` and ``not_after`` bound its validity."""

    context: ssl.SSLContext
    path: Path
    not_before: float
    not_after: float

    def out_of_date(self, now: float) -> str:
        """Why no client that verifies would take it at ``now``; empty where one may."""
        if now > self.not_after:
            return f"the certificate {self.path} ran out on {_day(self.not_after)}"
        if now < self.not_before:
            return f"the certificate {self.path} is not valid before {_day(self.not_before)}"
        return ""

    @property
    def expiry(self) -> str:
        """Its last day, as in ``2027-01-31``."""
        return _day(self.not_after)


def load_credentials(settings: Tls) -> Credentials | None:
    """The certificate and key that ``settings`` name, by absolute paths; None where they name none.

    Raises:
        BadCertificate: they cannot be read, do not belong together, or everybody can read the key.
    """
    if settings.certificate is None:
        return None
    certificate, key = settings.certificate, settings.key or settings.certificate
    found = _PEM_CERTIFICATE.search(_read("certificate", certificate))
    if found is None:
        hint = "name a PEM file with the certificate first, behind it those that lead to its issuer"
        raise BadCertificate("certificate", f"there is no certificate in {certificate}", hint)
    _check_key(key, "key" if settings.key else "certificate")
    not_before, not_after = _validity_of(found[0], certificate)
    return Credentials(_context(settings, certificate, key), certificate, not_before, not_after)


def _read(setting: Setting, path: Path) -> str:
    hint = "name a file that the user who runs mailguard, as this check does, may read; it is relative to this file"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadCertificate(setting, f"{path} is no regular file", hint)
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode("ascii", "replace")
    except OSError as error:
        message = f"the {setting} {path} cannot be read: {(error.strerror or str(error)).lower()}"
        raise BadCertificate(setting, message, hint) from error
    except ValueError as error:  # a NUL in the name
        raise BadCertificate(setting, "this cannot be the name of a file", hint) from error


def _check_key(path: Path, setting: Setting) -> None:
    if not _PEM_KEY.search(_read(setting, path)):
        raise BadCertificate(setting, f"there is no private key in {path}", "name a PEM file with the key in `tls.key`")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        message = f"the private key {path} is open to every user of this machine (mode {mode:04o})"
        raise BadCertificate(setting, message, f"chmod o= {path}, and think of a new key: this one may be known")


def _context(settings: Tls, certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for our side of handshakes: Python's choice of ciphers (OpenSSL's for the machine), no client asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion[settings.minimum_version.replace(".", "_")]
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make us compute for ever
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise _mismatch(error, key) from error
    except OSError as error:
        raise BadCertificate("key", f"{key} cannot be read: {error.strerror}", "look at its rights") from error
    return context


def _no_password() -> str:
    raise BadCertificate(
        "key",
        "the private key is encrypted, and nobody is there to give a password",
        "write it without one: openssl pkey -in OLD -out NEW",
    )


def _mismatch(error: ssl.SSLError, key: Path) -> BadCertificate:
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return BadCertificate(
            "key", f"the private key {key} is not that of the certificate", "name the two that are one pair"
        )
    reason = (error.reason or "it cannot be understood").lower().replace("_", " ")
    hint = "an RSA key has 2048 bits at the least; `openssl x509 -text -in FILE` shows what is there"
    return BadCertificate("certificate", f"OpenSSL refuses certificate or key: {reason}", hint)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _validity_of(pem: str, path: Path) -> tuple[float, float]:
    """From when until when the certificate is valid (RFC 5280 4.1.2.5)."""
    from cryptography import x509  # here: it takes long to import, and who has no certificate does without

    try:
        found = x509.load_pem_x509_certificate(pem.encode("ascii", "replace"))
        return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    except ValueError as error:
        hint = "make or fetch it anew; `openssl x509 -text -in FILE` shows what is there"
        raise BadCertificate("certificate", f"the certificate in {path} is damaged", hint) from error
