"""Fingerprints of a backend's certificate and key, against what openssl says of the same."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest

from mailguard.relay.fingerprints import fingerprints
from tests.support.certificates import make, openssl

KEYS = {
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
    "rsa": ("-newkey", "rsa:2048", "-nodes"),
    "ed25519": ("-newkey", "ed25519", "-nodes"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_fingerprints_are_those_of_openssl(kind: str, tmp_path: Path) -> None:
    pair = make(tmp_path, key=KEYS[kind])
    der = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    certificate, key = fingerprints(der)
    said = openssl("x509", "-in", pair.certificate, "-noout", "-fingerprint", "-sha256")
    assert said.strip().partition("=")[2].replace(":", "").lower() == certificate
    openssl("pkey", "-in", pair.key, "-pubout", "-outform", "der", "-out", tmp_path / "key.der")
    assert hashlib.sha256((tmp_path / "key.der").read_bytes()).hexdigest() == key


def test_what_is_cut_short_is_no_certificate(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(make(tmp_path).certificate.read_text())
    for length in range(0, len(der), 7):
        with pytest.raises(ValueError):
            fingerprints(der[:length])
