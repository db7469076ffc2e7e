"""Certificates for tests, made by ``openssl``: self-signed, on a curve (quick), each in files of its own."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        """The section ``tls`` that names them."""
        return {"certificate": str(self.certificate), "key": str(self.key)}


def openssl(*arguments: str | Path) -> str:
    """Run openssl; what it says."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(
    folder: Path, name: str = "mx.example.com", days: int = 90, *, other_name: str = "", key: tuple[str, ...] = _EC
) -> Pair:
    """A new pair in ``folder``, valid for ``days`` from now, for ``name`` or as subjectAltName ``other_name`` says."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    more = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={other_name or f'DNS:{name}'}")
    openssl("req", "-x509", *key, "-keyout", pair.key, "-out", pair.certificate, "-days", str(days), *more)
    return pair


def run_out(pair: Pair) -> None:
    """Put in the place of the certificate one for the same key that ran out yesterday."""
    request = pair.key.with_suffix(".csr")
    openssl("req", "-new", "-key", pair.key, "-subj", "/CN=old.example", "-out", request)
    openssl("x509", "-req", "-in", request, "-signkey", pair.key, "-days", "-1", "-out", pair.certificate)


@cache
def shared() -> Pair:
    """A pair that nobody changes."""
    return make(Path(mkdtemp(prefix="mailguard-certificate-")))


def serving(pair: Pair) -> ssl.SSLContext:
    """A server's context that shows the certificate of ``pair``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def trusting(pair: Pair | None = None, **versions: ssl.TLSVersion) -> ssl.SSLContext:
    """A client's context: it verifies the certificate of ``pair``, or none; ``versions`` as ``maximum_version``."""
    context = ssl.create_default_context(cafile=str(pair.certificate) if pair else None)
    if pair is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    return context
