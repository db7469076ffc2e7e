"""MAIL and RCPT as values: what policy sees of them, and what goes on the wire."""

import pytest

from mailguard.commands import MailFrom, Parameter, Path, RcptTo


@pytest.mark.parametrize(
    ("path", "local", "domain", "wire"),
    [
        (Path(b"user", b"Example.COM"), "user", "example.com", b"<user@Example.COM>"),
        (Path(b'"a b"', b"c.org"), "a b", "c.org", b'<"a b"@c.org>'),
        (Path(b'"post\\master"', b"c.org"), "postmaster", "c.org", b'<"post\\master"@c.org>'),
        (Path(b'"a\\"b\\\\"', b"c.org"), 'a"b\\', "c.org", b'<"a\\"b\\\\"@c.org>'),
        (
            Path("jürgen".encode(), "bücher.example".encode()),
            "jürgen",
            "bücher.example",
            "<jürgen@bücher.example>".encode(),
        ),
        (Path(b"a", "EXAMPLE.\u212aIM".encode()), "a", "example.\u212aim", "<a@EXAMPLE.\u212aIM>".encode()),
        (Path(), "", "", b"<>"),
        (Path(b"Postmaster"), "Postmaster", "", b"<Postmaster>"),
    ],
)
def test_a_path(path: Path, local: str, domain: str, wire: bytes) -> None:
    assert (path.mailbox.local, path.mailbox.domain) == (local, domain)
    assert path.encode() == wire


def test_the_command_lines() -> None:
    mail = MailFrom(Path(b"a", b"b.c"), (Parameter("SIZE", b"17"), Parameter("SMTPUTF8")))
    assert mail.encode() == b"MAIL FROM:<a@b.c> SIZE=17 SMTPUTF8"
    assert RcptTo(Path(b"d", b"e.f")).encode() == b"RCPT TO:<d@e.f>"
    assert mail.parameter("SMTPUTF8") is not None
    assert mail.parameter("BODY") is None
