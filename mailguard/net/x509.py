"""The fields of a certificate (RFC 5280 4.1), by a small walk over its DER (X.690); pure.

The ``ssl`` module shows what it verified, and nothing of a certificate that it did not verify, or of our own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

VALIDITY: Final = 3
"""Place of the validity among :func:`fields`."""
PUBLIC_KEY: Final = 5
"""Place of the SubjectPublicKeyInfo."""
_VERSION: Final = 0xA0
"""The tag of the one field that may be left out (RFC 5280 4.1.2.1)."""


def fields(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and contents of each field of the certificate ``der``, from the serial number on.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        (_, certificate), *_ = elements(der)
        (_, to_be_signed), *_ = elements(certificate)
        found = list(elements(to_be_signed))
    except IndexError as error:
        raise ValueError("cut short") from error
    return found[1:] if found and found[0][0] == _VERSION else found


def elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and contents of each element; tags of one octet, lengths of up to four (X.690 8.1).

    Raises:
        ValueError, IndexError: there is less than an element says.
    """
    at = 0
    while at < len(octets):
        tag, length, at = octets[at], octets[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(octets[at : at + size], "big"), at + size
        if at + length > len(octets):
            raise ValueError("cut short")
        yield tag, octets[at : at + length]
        at += length


def fingerprints(der: bytes) -> tuple[str, str]:
    """SHA-256 of the certificate ``der`` and of its public key, in lower-case hexadecimal.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        tag, key = fields(der)[PUBLIC_KEY]
    except IndexError as error:
        raise ValueError("cut short") from error
    encoded = bytes((tag,)) + _length(len(key)) + key
    return hashlib.sha256(der).hexdigest(), hashlib.sha256(encoded).hexdigest()


def _length(length: int) -> bytes:
    """A length as DER has it (X.690 10.1): as short as can be."""
    if length < 0x80:
        return bytes((length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets
