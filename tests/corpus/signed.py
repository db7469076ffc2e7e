"""Messages with a DKIM signature (RFC 6376), by a key that is made when it is first needed."""

from __future__ import annotations

import base64
import random
from functools import cache

import dkim

from tests.corpus.parts import FOREIGN, lines, message, mime, prose, text_part
from tests.corpus.sample import structure

SELECTOR, DOMAIN = "corpus", "example.org"
_FIELDS = (b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type")


def _prime(rng: random.Random, bits: int) -> int:
    """A probable prime (Miller and Rabin, 24 rounds)."""
    while True:
        candidate = rng.getrandbits(bits) | (3 << (bits - 2)) | 1
        if all(pow(p, candidate - 1, candidate) == 1 for p in (2, 3, 5, 7)) and _is_prime(rng, candidate):
            return candidate


def _is_prime(rng: random.Random, candidate: int) -> bool:
    shift = (candidate - 1 & 1 - candidate).bit_length() - 1
    for _ in range(24):
        x = pow(rng.randrange(2, candidate - 1), candidate - 1 >> shift, candidate)
        if x in (1, candidate - 1):
            continue
        if not any((x := x * x % candidate) == candidate - 1 for _ in range(shift - 1)):
            return False
    return True


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    size = bytes([length]) if length < 128 else bytes([0x82]) + length.to_bytes(2, "big")
    return bytes([tag]) + size + content


def _integers(*values: int) -> bytes:
    return _der(0x30, b"".join(_der(2, value.to_bytes(value.bit_length() // 8 + 1, "big")) for value in values))


@cache
def _key() -> tuple[bytes, bytes]:
    """A private key in PEM (RFC 8017 A.1.2) and the TXT record of its public half (RFC 6376 3.6.1)."""
    rng, e = random.Random("dkim"), 65537
    p, q = _prime(rng, 512), _prime(rng, 512)
    n, d = p * q, pow(e, -1, (p - 1) * (q - 1))
    private = base64.encodebytes(_integers(0, n, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)))
    public = base64.b64encode(_integers(n, e))
    pem = b"-----BEGIN RSA PRIVATE KEY-----\n" + private + b"-----END RSA PRIVATE KEY-----\n"
    return pem, b"v=DKIM1; k=rsa; p=" + public


def public_key(_name: bytes, timeout: float = 0) -> bytes:
    """The TXT record for any name: the resolver to give to ``dkim.verify(octets, dnsfunc=public_key)``."""
    return _key()[1]


def _sign(octets: bytes, head: bytes, body: bytes, *, length: bool = False) -> bytes:
    signature = dkim.sign(
        octets,
        SELECTOR.encode(),
        DOMAIN.encode(),
        _key()[0],
        canonicalize=(head, body),
        include_headers=_FIELDS,
        length=length,
    )
    return bytes(signature) + octets


@structure(signed=True)
def dkim_simple_simple(rng: random.Random, _n: int) -> bytes:
    return _sign(
        message(rng, prose(rng) + b"blanks  at  the end  \r\n\r\n\r\n", "X-Odd:  a \r\n\tb"), b"simple", b"simple"
    )


@structure(signed=True)
def dkim_relaxed_relaxed(rng: random.Random, _n: int) -> bytes:
    return _sign(message(rng, prose(rng, FOREIGN) + lines("  two  blanks ", "", "")), b"relaxed", b"relaxed")


@structure(signed=True)
def dkim_simple_relaxed(rng: random.Random, _n: int) -> bytes:
    return _sign(mime(rng, "mixed", [text_part(rng), text_part(rng)]), b"simple", b"relaxed")


@structure(signed=True)
def dkim_with_length(rng: random.Random, _n: int) -> bytes:
    return _sign(message(rng, prose(rng)), b"relaxed", b"simple", length=True) + lines("a list's footer")


@structure(signed=True)
def dkim_twice(rng: random.Random, _n: int) -> bytes:
    return _sign(
        _sign(message(rng, lines(".", "..dots", "") + prose(rng)), b"simple", b"simple"), b"relaxed", b"relaxed"
    )


@structure(signed=True)
def dkim_and_forged(rng: random.Random, _n: int) -> tuple[bytes, bytes]:
    kept = _sign(message(rng, prose(rng)), b"simple", b"simple")
    return lines("X-Spam-Flag: NO", "X-Mailguard-Folder: INBOX") + kept, kept
