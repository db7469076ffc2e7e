"""Our certificate and key, read and checked before a client sees them: each fault is told with the setting at fault."""

from __future__ import annotations

import os
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.config import Tls
from mailguard.net.certificates import BadCertificate, Credentials, load_credentials
from tests.support.certificates import Pair, make, openssl, run_out, shared


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make(tmp_path)


def load(pair: Pair, **more: object) -> Credentials:
    found = load_credentials(Tls.model_validate({**pair.settings, **more}))
    assert found is not None
    return found


def refused(pair: Pair, **more: object) -> tuple[str, str]:
    """The setting at fault, and what is wrong."""
    with pytest.raises(BadCertificate) as bad:
        load(pair, **more)
    assert bad.value.hint
    return bad.value.setting, bad.value.message


def test_none_is_configured() -> None:
    assert load_credentials(Tls()) is None


def test_a_pair_that_is_well(pair: Pair) -> None:
    found = load(pair)
    assert found.path == pair.certificate
    assert found.not_before <= time.time() + 60
    assert found.not_after - found.not_before == 90 * 86400
    assert found.expiry == datetime.fromtimestamp(found.not_after, UTC).date().isoformat()
    assert found.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert found.context.verify_mode is ssl.CERT_NONE
    assert found.context.options & ssl.OP_NO_RENEGOTIATION
    assert found.context.options & ssl.OP_NO_COMPRESSION


def test_the_oldest_version_is_a_setting(pair: Pair) -> None:
    assert load(pair, minimum_version="TLSv1.3").context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_a_key_in_the_certificates_file(pair: Pair) -> None:
    pair.certificate.write_text(pair.key.read_text() + pair.certificate.read_text())
    pair.certificate.chmod(0o640)
    assert load_credentials(Tls(certificate=pair.certificate)) is not None
    pair.certificate.chmod(0o644)
    with pytest.raises(BadCertificate, match="open to every user") as bad:
        load_credentials(Tls(certificate=pair.certificate))
    assert bad.value.setting == "certificate"


def test_a_chain_behind_the_certificate(pair: Pair, tmp_path: Path) -> None:
    """The first one is ours: its validity counts."""
    other = make(tmp_path, "issuer.example", 5)
    pair.certificate.write_text("a word before\n" + pair.certificate.read_text() + other.certificate.read_text())
    found = load(pair)
    assert found.not_after - found.not_before == 90 * 86400


def test_its_time(pair: Pair) -> None:
    found = load(pair)
    assert found.out_of_date(found.not_before) == ""
    assert found.out_of_date(found.not_after) == ""
    assert f"ran out on {found.expiry}" in found.out_of_date(found.not_after + 1)
    assert "is not valid before" in found.out_of_date(found.not_before - 1)


def test_one_that_ran_out_is_loaded_all_the_same(pair: Pair) -> None:
    run_out(pair)
    assert "ran out on" in load(pair).out_of_date(time.time())


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_a_file_that_is_not_there(pair: Pair, name: str) -> None:
    path = getattr(pair, name)
    path.unlink()
    assert refused(pair) == (name, f"the {name} {path} cannot be read: no such file or directory")


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_a_folder_and_a_pipe(pair: Pair, name: str) -> None:
    path = getattr(pair, name)
    path.unlink()
    path.mkdir()
    assert refused(pair) == (name, f"{path} is no regular file")
    path.rmdir()
    os.mkfifo(path)
    assert refused(pair) == (name, f"{path} is no regular file")


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_a_name_that_is_none(pair: Pair, name: str) -> None:
    assert refused(pair, **{name: "a\0b"}) == (name, "this cannot be the name of a file")


def test_nothing_of_use_in_the_files(pair: Pair) -> None:
    assert refused(Pair(pair.key, pair.certificate)) == ("certificate", f"there is no certificate in {pair.key}")
    assert refused(Pair(pair.certificate, pair.certificate)) == (
        "key",
        f"there is no private key in {pair.certificate}",
    )


def test_two_that_do_not_belong_together(pair: Pair, tmp_path: Path) -> None:
    other = make(tmp_path, "other.example")
    assert refused(Pair(pair.certificate, other.key)) == (
        "key",
        f"the private key {other.key} is not that of the certificate",
    )


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_key_that_is_open_to_all(pair: Pair, mode: int) -> None:
    pair.key.chmod(mode)
    setting, message = refused(pair)
    assert setting == "key"
    assert message == f"the private key {pair.key} is open to every user of this machine (mode {mode:04o})"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
def test_a_key_that_a_group_shares(pair: Pair, mode: int) -> None:
    pair.key.chmod(mode)
    assert load(pair)


def test_an_encrypted_key_asks_nobody(pair: Pair) -> None:
    openssl("ec", "-in", pair.key, "-aes256", "-passout", "pass:secret", "-out", pair.key)
    setting, message = refused(pair)
    assert (setting, message) == ("key", "the private key is encrypted, and nobody is there to give a password")


def test_a_key_that_is_too_short(tmp_path: Path) -> None:
    weak = make(tmp_path, key=("-newkey", "rsa:1024", "-nodes"))
    assert refused(weak) == ("certificate", "OpenSSL refuses certificate or key: ee key too small")


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_a_damaged_file(pair: Pair, name: str) -> None:
    path = getattr(pair, name)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "AAAA", *lines[3:], ""]))
    setting, message = refused(pair)
    assert "damaged" in message or "OpenSSL refuses" in message
    assert setting == "certificate"


def test_rsa(tmp_path: Path) -> None:
    assert load(make(tmp_path, key=("-newkey", "rsa:2048", "-nodes")))


# --- the validity ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 90, 9000, 40_000])
def test_the_validity_is_what_openssl_says(tmp_path: Path, days: int) -> None:
    """Beyond 2049 the form is another one (RFC 5280 4.1.2.5)."""
    made = make(tmp_path, days=days)
    told = openssl("x509", "-in", made.certificate, "-noout", "-startdate", "-enddate")
    dates = [line.partition("=")[2] for line in told.splitlines()]
    found = load(made)
    assert [datetime.fromtimestamp(each, UTC) for each in (found.not_before, found.not_after)] == [
        _parsed(date) for date in dates
    ]


def _parsed(date: str) -> datetime:
    """``Nov 21 10:09:14 2026 GMT``."""
    month, day, clock, year, _ = date.split()
    return parsedate_to_datetime(f"{day} {month} {year} {clock} +0000")


@given(st.integers(0, 600), st.binary(max_size=20))
def test_a_damaged_certificate_is_one_clear_error_or_has_another_validity(at: int, junk: bytes) -> None:
    with TemporaryDirectory() as folder:
        pair = Pair(Path(folder) / "damaged.pem", shared().key)
        der = ssl.PEM_cert_to_DER_cert(shared().certificate.read_text())
        pair.certificate.write_text(ssl.DER_cert_to_PEM_cert(der[:at] + junk + der[at + len(junk) :]))
        try:
            found = load(pair)
        except BadCertificate as error:
            assert error.setting in ("certificate", "key")
        else:
            assert found.not_before < found.not_after
