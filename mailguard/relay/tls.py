"""TLS towards a backend (RFC 3207): when to ask for it, and which certificate to take.

    =================  =================================================================================================
    ``tls``            what happens
    =================  =================================================================================================
    ``none``           never asked for
    ``opportunistic``  used where offered, whatever the certificate (RFC 7435); where it then fails, the same connection
                       is never used on, but a new one may be, without TLS
    ``required``       without it the backend is passed over, and no other left means 451. The certificate is one that
                       the authorities in ``tls_ca_file``, or of the system, vouch for under ``tls_name``; or one of
                       ``tls_fingerprints``; or, where neither is set, any: then nobody can listen, but somebody could
                       stand in between
    =================  =================================================================================================

A fingerprint is the SHA-256 of the certificate or of its public key, either will do, as in Postfix: the key's stays
when the certificate is renewed.
"""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path

from mailguard import config
from mailguard.net.authorities import load_authorities
from mailguard.relay.answers import BackendFailed


class BackendTls:
    """How TLS is spoken with one backend.

    Attributes:
        context: for handshakes.
        name: for SNI, and for the certificate where it is verified by name; None where there is none.

    Raises:
        BadAuthorities: ``tls_ca_file`` cannot be read, or holds none.
    """

    def __init__(self, backend: config.Backend) -> None:
        self.name = backend.tls_name or _host(backend.address)
        self.context = _context(verified=backend.tls_name is not None, authorities=backend.tls_ca_file)
        self._wanted = frozenset(each.replace(":", "").lower() for each in backend.tls_fingerprints)
        if self._wanted:  # else it is not imported, which would take longer than most modules do
            from mailguard.relay.fingerprints import fingerprints

            self._fingerprints = fingerprints

    def check(self, certificate: bytes) -> None:
        """Whether ``certificate``, in DER, has one of the fingerprints, where any are configured.

        Raises:
            BackendFailed: it has none.
        """
        if not self._wanted:
            return
        try:
            found = self._fingerprints(certificate)
        except ValueError as error:
            raise BackendFailed(f"a certificate that cannot be read: {error}", "tls") from error
        if self._wanted.isdisjoint(found):
            raise BackendFailed(
                f"none of tls_fingerprints: the certificate has {found[0]}, its public key {found[1]}", "tls"
            )


def _context(*, verified: bool, authorities: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False  # RFC 9525 2: a name is what subjectAltName says
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities is None:
        context.load_default_certs()
    else:
        load_authorities(context, authorities)
    return context


def _host(address: str) -> str | None:
    """The host of a ``config.SocketAddress`` where it is a name."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        ip_address(host)
    except ValueError:
        return None if address.startswith("unix:") else host
    return None
