"""STARTTLS towards a backend: when mail goes in TLS, to whom, and when it does not go at all."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailguard import config
from mailguard.positions import Problems, parse, validate
from mailguard.positions.problem import Text
from mailguard.relay import Relay
from mailguard.relay.fingerprints import fingerprints
from tests.support.certificates import Pair, make, serving, shared
from tests.support.sink import CHUNKING, CLOSE, RESET, Sink, Stall, Step
from tests.unit.relay.conftest import ALICE, HOSTNAME, MESSAGE, PROMPT, Setup

NAME = "mx.example.com"
"""In the certificate."""


def found(pair: Pair) -> tuple[str, str]:
    return fingerprints(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text()))


@pytest.fixture
async def secure() -> AsyncIterator[Sink]:
    async with Sink(extensions=CHUNKING, tls=serving(shared())) as sink:
        yield sink


def towards(sink: Sink, tls: str = "required", **settings: Any) -> Setup:
    return Setup(sink, settings={"tls": tls, **settings}, backend_retry=1000.0)


async def arrives(setup: Setup) -> bool:
    """Whether one message does; if not, its sender is told 451."""
    transaction = setup.transaction()
    answer = await transaction.rcpt(ALICE)
    if answer.code != 250:
        assert str(answer) == "451 4.3.0 Mail server not reachable, try again later"
        return False
    assert await setup.deliver(transaction) == "250 2.0.0 taken"
    return True


def in_plain(sink: Sink) -> set[str]:
    """All that was said outside TLS."""
    return {verb for connection in sink.connections if not connection.tls for verb in connection.verbs}


async def test_all_is_said_in_tls_and_ehlo_again(secure: Sink) -> None:
    assert await arrives(towards(secure))
    [connection] = secure.connections
    await secure.seen("end")
    assert connection.tls == "TLSv1.3"
    assert connection.verbs == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "BDAT", "QUIT"]
    assert connection.proxied is not None
    assert secure.messages[0].content == MESSAGE


async def test_only_modern_versions(secure: Sink) -> None:
    assert secure.tls is not None
    secure.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await arrives(towards(secure))
    assert secure.connections[0].tls == "TLSv1.2"


# -- which certificate


@pytest.mark.parametrize("which", [0, 1], ids=["certificate", "public key"])
@pytest.mark.parametrize("written", [str, str.upper, lambda text: ":".join(text[i : i + 2] for i in range(0, 64, 2))])
async def test_a_fingerprint_that_fits(secure: Sink, which: int, written: Any) -> None:
    assert await arrives(towards(secure, tls_fingerprints=["ab" * 32, written(found(shared())[which])]))


async def test_no_fingerprint_that_fits(secure: Sink) -> None:
    setup = towards(secure, tls_fingerprints=["ab" * 32])
    answer = await setup.transaction().rcpt(ALICE)
    assert answer.code == 451
    assert all(one in answer.cause for one in found(shared())), "it says what would have fitted"
    assert secure.connections[0].verbs == ["EHLO", "STARTTLS"]


async def test_a_name_that_authorities_vouch_for(secure: Sink) -> None:
    assert await arrives(towards(secure, tls_name=NAME, tls_ca_file=str(shared().certificate)))


@pytest.mark.parametrize(
    ("name", "known"), [("other.example.com", True), (NAME, False)], ids=["another name", "nobody vouches"]
)
async def test_a_name_that_they_do_not_vouch_for(secure: Sink, name: str, known: bool, tmp_path: Path) -> None:
    authorities = shared().certificate if known else make(tmp_path, NAME).certificate
    setup = towards(secure, tls_name=name, tls_ca_file=str(authorities))
    answer = await setup.transaction().rcpt(ALICE)
    assert answer.code == 451
    assert "certificate verify failed" in answer.cause
    assert in_plain(secure) <= {"EHLO", "STARTTLS"}
    assert secure.messages == []


async def test_a_common_name_is_no_name(tmp_path: Path) -> None:
    """RFC 9525 2: without a subjectAltName of its kind a certificate is for no host, whatever its subject says."""
    pair = make(tmp_path, NAME, other_name="email:postmaster@example.com")
    async with Sink(tls=serving(pair)) as sink:
        answer = await towards(sink, tls_name=NAME, tls_ca_file=str(pair.certificate)).transaction().rcpt(ALICE)
        await sink.seen("end")
    assert answer.code == 451
    assert "certificate verify failed" in answer.cause


async def test_the_authorities_of_the_system_do_not_know_it(secure: Sink) -> None:
    assert not await arrives(towards(secure, tls_name=NAME))


# -- no TLS to be had


async def test_required_and_not_offered(sink: Sink) -> None:
    assert not await arrives(towards(sink))
    assert in_plain(sink) == {"EHLO"}


FAILING: list[tuple[Step, ...]] = [
    (b"220 go on", CLOSE),
    (b"220 go on", RESET),
    (b"220 go on", b"this is no TLS" * 100),
    (b"220 go on\r\n250 injected\r\n",),
    (b"220 go on\r\n2",),
    (b"421 4.3.2 down", CLOSE),
    (b"250 what",),
]


@pytest.mark.parametrize("steps", FAILING, ids=lambda steps: str(steps[-1])[:20])
async def test_required_and_failing_is_never_plain(secure: Sink, steps: tuple[Step, ...]) -> None:
    secure.on("STARTTLS", *steps)
    setup = towards(secure)
    assert not await arrives(setup)
    assert not await arrives(setup)
    assert in_plain(secure) <= {"EHLO", "STARTTLS"}
    assert secure.messages == []


@pytest.mark.parametrize("answer", [b"454 4.7.0 TLS not available", b"501 5.5.4 no"])
async def test_required_and_refused(secure: Sink, answer: bytes) -> None:
    secure.on("STARTTLS", answer)
    assert not await arrives(towards(secure))
    assert in_plain(secure) == {"EHLO", "STARTTLS"}


async def test_a_handshake_has_its_bound(secure: Sink) -> None:
    secure.on("STARTTLS", b"220 go on", Stall())
    setup = Setup(secure, settings={"tls": "required"}, backend_reply_timeout=0.05)
    assert not await arrives(setup)
    await secure.seen("end")


async def test_another_backend_may_have_it(secure: Sink, sink: Sink) -> None:
    setup = Setup(sink, secure, settings={"tls": "required"})
    assert await arrives(setup)
    assert (len(sink.messages), len(secure.messages)) == (0, 1)


async def test_probes_open_the_breaker_for_want_of_tls(sink: Sink) -> None:
    setup = towards(sink)
    for _ in range(3):
        assert not await setup.relay.probe()
    assert not setup.relay.available
    assert "left alone" in (await setup.transaction().rcpt(ALICE)).cause


# -- opportunistic


async def test_opportunistic_takes_tls_with_any_certificate(secure: Sink) -> None:
    assert await arrives(towards(secure, "opportunistic"))
    assert secure.connections[0].tls


async def test_opportunistic_goes_without_where_it_is_not_offered(sink: Sink) -> None:
    assert await arrives(towards(sink, "opportunistic"))
    assert sink.connections[0].verbs[:3] == ["EHLO", "MAIL", "RCPT"]


async def test_opportunistic_goes_on_where_starttls_is_refused(secure: Sink) -> None:
    secure.on("STARTTLS", b"454 4.7.0 not now")
    assert await arrives(towards(secure, "opportunistic"))
    assert len(secure.connections) == 1
    assert secure.connections[0].verbs[:3] == ["EHLO", "STARTTLS", "MAIL"]


@pytest.mark.parametrize("steps", FAILING[:5], ids=lambda steps: str(steps[-1])[:20])
async def test_opportunistic_never_goes_on_where_a_handshake_failed(secure: Sink, steps: tuple[Step, ...]) -> None:
    """A new connection does without, and so do those of the next while: none pays for a handshake that fails."""
    secure.on("STARTTLS", *steps)
    setup = towards(secure, "opportunistic")
    assert await arrives(setup)
    assert await arrives(setup)
    await secure.until(lambda sink: all(connection.end for connection in sink.connections))
    failed, first, second = secure.connections
    assert failed.verbs == ["EHLO", "STARTTLS"]
    assert first.verbs == second.verbs == ["EHLO", "MAIL", "RCPT", "BDAT", "QUIT"]


async def test_after_a_while_tls_is_tried_again(secure: Sink) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    backend = config.Backend(address=secure.address, tls="opportunistic", relay_probe=False)
    relay = Relay([backend], config.Limits(**PROMPT, backend_retry=30.0), HOSTNAME, clock)
    secure.once("STARTTLS", b"220 go on", CLOSE)
    await relay.probe()
    clock.now = 29.0
    await relay.probe()
    clock.now = 31.0
    await relay.probe()
    assert [connection.tls for connection in secure.connections] == ["", "", "", "TLSv1.3"]


async def test_a_connection_in_tls_is_used_again_where_no_client_is_named() -> None:
    async with Sink(proxy=False, tls=serving(shared())) as sink:
        setup = Setup(sink, settings={"client_identity": "none"})
        for _ in range(3):
            assert await arrives(setup)
        await setup.relay.finish()
        await sink.seen("end")
        assert [connection.end for connection in sink.connections] == ["quit"]
        assert len(sink.messages) == 3


# -- settings


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("tls_name: a.example", "`tls_name` has no use with `tls: none`"),
        ("tls: opportunistic, tls_fingerprints: ['" + "ab" * 32 + "']", "`tls_fingerprints` has no use with"),
        ("tls: required, tls_ca_file: ca.pem", "`tls_ca_file` has no use without `tls_name`"),
        ("tls: required, tls_name: a.example, tls_fingerprints: ['" + "ab" * 32 + "']", "by `tls_name` or by"),
        ("tls: required, tls_fingerprints: ['abc']", "is no SHA-256"),
        ("tls: always", "tls"),
        ("ignore_extensions: [STARTTLS]", "ignore_extensions"),
    ],
)
def test_settings_that_say_nothing_are_refused(settings: str, problem: str) -> None:
    document = parse(Text("mailguard.yaml", f"{{address: '127.0.0.1:25', {settings}}}"))
    with pytest.raises(Problems, match=problem):
        validate(document, config.Backend)
