"""Our own certificate: is it usable, is it of our name, does it last, would a sender that verifies take it?

Whether it would be taken is tried: a handshake in memory, with the certificate's own context on one side and one that
trusts the system's authorities on the other. Few senders verify (RFC 7435), but those that do by MTA-STS (RFC 8461)
want a name that matches and a chain without a gap. Blocking: files are read.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection
from typing import Final

from cryptography import x509

from mailguard.config import Tls
from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient
from mailguard.net.certificates import BadCertificate, Credentials, load_credentials

DAY: Final = 86400.0
_RENEW: Final = "put a new one in its place, then `mailguard reload` or SIGHUP"
_OUT_OF_DATE: Final = frozenset((9, 10))
"""X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED (OpenSSL's x509_vfy.h): told by the dates already."""
_SELF_SIGNED: Final = frozenset((18, 19))
"""X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT and _SELF_SIGNED_CERT_IN_CHAIN."""


def examine(patient: Patient, notes: Notes) -> None:
    """All that is to be said of ``tls``."""
    settings = patient.settings.tls
    try:
        credentials = load_credentials(settings)
    except BadCertificate as bad:
        notes.failed(f"tls.{bad.setting}", bad.message, bad.hint)
        return
    if credentials is None:
        notes.skipped("", "`tls.certificate` names none: STARTTLS is not offered")
        return
    notes.ok("key", "is that of the certificate, and closed to others")
    _time(credentials, settings, patient.now(), notes)
    _name(credentials, patient.settings.hostname, notes)
    _chain(credentials, notes)


def _time(credentials: Credentials, settings: Tls, now: float, notes: Notes) -> None:
    left = credentials.not_after - now
    measure = [Measure("certificate_left", round(left), "s", f"{settings.expiry_warning * DAY:.0f}:", "0:")]
    if why := credentials.out_of_date(now):
        notes.failed("time", why, _RENEW, measure)
    elif left < settings.expiry_warning * DAY:
        notes.warning("time", f"runs out on {credentials.expiry}, in {left / DAY:.0f} days", _RENEW, measure)
    else:
        notes.ok("time", f"until {credentials.expiry}", measure)


def _name(credentials: Credentials, hostname: str, notes: Notes) -> None:
    names = _names(credentials)
    if any(matches(name, hostname) for name in names):
        notes.ok("name", f"is for {hostname}")
    else:
        told = f"is for {', '.join(sorted(names)) or 'no name at all'}, not for {hostname}, which `hostname` says"
        notes.warning("name", told, "have it made for the name that your MX record has, in subjectAltName")


def _names(credentials: Credentials) -> Collection[str]:
    """The DNS names of the certificate: those in subjectAltName, the only ones that count (RFC 9525 2)."""
    certificate = x509.load_pem_x509_certificate(credentials.path.read_bytes())
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return found.value.get_values_for_type(x509.DNSName)


def matches(pattern: str, hostname: str) -> bool:
    """Whether a certificate's ``pattern`` is ``hostname``; a ``*`` stands for its whole first label (RFC 9525 6.3)."""
    pattern, hostname = pattern.lower().rstrip("."), hostname.lower()
    if pattern.startswith("*."):
        _, _, parent = hostname.partition(".")
        return bool(parent) and parent == pattern[2:]
    return pattern == hostname


def _chain(credentials: Credentials, notes: Notes) -> None:
    error = refusal(credentials.context)
    if error is None:
        notes.ok("chain", "leads to an authority of this system")
    elif error.verify_code in _SELF_SIGNED:
        notes.ok("chain", "vouched for by no authority of this system, as most senders do not mind")
    elif error.verify_code not in _OUT_OF_DATE:
        remedy = "put the certificates that lead to its issuer behind it in the same file (`fullchain.pem`)"
        notes.warning("chain", f"a sender that verifies refuses it: {error.verify_message}", remedy)


def refusal(server: ssl.SSLContext) -> ssl.SSLCertVerificationError | None:
    """Why a client that trusts the system's authorities does not take what ``server`` shows; None where it does."""
    verifying = ssl.create_default_context()
    verifying.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = verifying.wrap_bio(to_client, to_server)
    done = 0
    while done < 2:  # each turn gives the other side more to read, or is that side's last
        done = 0
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error
    return None
