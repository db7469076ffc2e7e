"""Fingerprints of certificates, as an administrator writes them in ``tls_fingerprints``: SHA-256 in hexadecimal."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def fingerprints(der: bytes) -> tuple[str, str]:
    """SHA-256 of the certificate ``der`` and of its public key (SubjectPublicKeyInfo), in lower-case hexadecimal.

    Raises:
        ValueError: it is no certificate, or its key is of a kind that is not known.
    """
    certificate = x509.load_der_x509_certificate(der)
    try:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    return certificate.fingerprint(hashes.SHA256()).hex(), hashlib.sha256(key).hexdigest()
