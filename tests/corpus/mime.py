"""Messages of several parts."""

from __future__ import annotations

import random

from tests.corpus.parts import (
    FOREIGN,
    attachment,
    in_base64,
    in_quoted_printable,
    lines,
    message,
    mime,
    multipart,
    octets,
    part,
    prose,
    sentence,
    text_part,
)
from tests.corpus.sample import structure


def _html(rng: random.Random) -> bytes:
    return part(
        "text/html; charset=utf-8",
        in_quoted_printable(f"<p>{sentence(rng, FOREIGN)} =3D</p>".encode()) + b"\r\n",
        "Content-Transfer-Encoding: quoted-printable",
    )


@structure()
def alternative(rng: random.Random, _n: int) -> bytes:
    return mime(rng, "alternative", [text_part(rng), _html(rng)])


@structure()
def related(rng: random.Random, n: int) -> bytes:
    image = part("image/png", in_base64(octets(rng, 700)), "Content-Transfer-Encoding: base64", f"Content-ID: <{n}@x>")
    return mime(rng, 'related; type="text/html"', [_html(rng), image])


@structure()
def attachments(rng: random.Random, n: int) -> bytes:
    kinds = [
        ("application/pdf", "a.pdf"),
        ("application/zip", "b.zip"),
        ("image/jpeg", "c d.jpg"),
        ("text/csv", "ü.csv"),
    ]
    return mime(rng, "mixed", [text_part(rng), *(attachment(rng, *kind, octets(rng, 3000 * n + 5)) for kind in kinds)])


@structure()
def binary_parts(rng: random.Random, _n: int) -> bytes:
    content = octets(rng, 4000).translate(None, b"\r\n")
    body = lines(*(content[i : i + 333] for i in range(0, len(content), 333)))
    return mime(rng, "mixed", [part("application/octet-stream", body, "Content-Transfer-Encoding: binary")])


@structure()
def deep_nesting(rng: random.Random, n: int) -> bytes:
    inner = text_part(rng)
    for _ in range((3, 20, 100, 300)[n]):
        kind, body = multipart(rng, "mixed", [inner])
        inner = part(kind, body)
    return mime(rng, "mixed", [inner])


@structure()
def wide_multipart(rng: random.Random, n: int) -> bytes:
    return mime(rng, "mixed", [text_part(rng) for _ in range((1, 10, 100, 400)[n])])


@structure()
def preamble_and_epilogue(rng: random.Random, _n: int) -> bytes:
    kind, body = multipart(rng, "mixed", [text_part(rng)], preamble=lines("This is MIME.", ".", ""))
    return message(rng, body + lines("", "epilogue", ".", ""), "MIME-Version: 1.0", f"Content-Type: {kind}")


@structure()
def unterminated_multipart(rng: random.Random, n: int) -> bytes:
    whole = mime(rng, "mixed", [text_part(rng), _html(rng)])
    return whole[: whole.rindex(b"\r\n--") + (0, 12)[n % 2]] + b"\r\n" * (n // 2 + 1)


@structure()
def boundary_lookalikes(rng: random.Random, _n: int) -> bytes:
    kind, body = multipart(rng, "mixed", [part("text/plain", lines("--", "----", "--=_", "--=_x--")), text_part(rng)])
    return message(rng, body, "MIME-Version: 1.0 (a comment)", f"Content-Type:\r\n {kind};\r\n\tx=y")


@structure()
def message_rfc822(rng: random.Random, n: int) -> bytes:
    inner = message(rng, prose(rng), "X-Spam-Flag: YES", "X-Mailguard-Folder: Junk")
    for _ in range(n):
        inner = mime(rng, "mixed", [part("message/rfc822", inner)])
    return mime(rng, "mixed", [text_part(rng), part("message/rfc822", inner)])


@structure()
def digest(rng: random.Random, _n: int) -> bytes:
    return mime(rng, "digest", [b"\r\n" + message(rng, prose(rng)) for _ in range(4)])


@structure()
def delivery_report(rng: random.Random, n: int) -> bytes:
    status = lines(
        "Reporting-MTA: dns; out.example.org", "", "Final-Recipient: rfc822; x@example.net", "Action: failed"
    )
    kind = "message/global-delivery-status" if n % 2 else "message/delivery-status"
    returned = part(
        "text/rfc822-headers", lines("Received: from x by y; Fri, 20 Nov 2026 10:00:00 +0000", "X-Spam-Level: *")
    )
    report = part(kind, status + lines("Status: 5.1.1", "Diagnostic-Code: smtp; 550 5.1.1 unknown"))
    return mime(
        rng, "report; report-type=delivery-status", [text_part(rng), report, returned], "Auto-Submitted: auto-replied"
    )


@structure()
def read_receipt(rng: random.Random, _n: int) -> bytes:
    note = lines("Final-Recipient: rfc822;bob@example.com", "Disposition: manual-action/MDN-sent-manually; displayed")
    parts = [text_part(rng), part("message/disposition-notification", note)]
    return mime(rng, "report; report-type=disposition-notification", parts)


@structure()
def abuse_report(rng: random.Random, _n: int) -> bytes:
    feedback = part("message/feedback-report", lines("Feedback-Type: abuse", "User-Agent: x/1", "Version: 1"))
    original = part("message/rfc822", message(rng, prose(rng), "X-Spam-Status: Yes, score=9.9"))
    return mime(rng, "report; report-type=feedback-report", [text_part(rng), feedback, original])


@structure()
def calendar(rng: random.Random, n: int) -> bytes:
    event = lines(
        *("BEGIN:VCALENDAR", "VERSION:2.0", "METHOD:REQUEST", "BEGIN:VEVENT", f"UID:{n}@example.org"),
        *("DTSTART:20261120T100000Z", f"SUMMARY:{sentence(rng, FOREIGN)}", " folded on"),
        *("END:VEVENT", "END:VCALENDAR"),
    )
    return mime(rng, "alternative", [text_part(rng), part("text/calendar; method=REQUEST; charset=utf-8", event)])


@structure()
def external_and_partial(rng: random.Random, n: int) -> bytes:
    if n % 2:
        return message(rng, prose(rng), f'Content-Type: message/partial; id="x@y"; number={n}; total=9')
    body = part(
        'message/external-body; access-type=URL; URL="http://example.org/x"', lines("Content-Type: text/plain", "")
    )
    return mime(rng, "mixed", [body])


@structure()
def winmail_dat(rng: random.Random, _n: int) -> bytes:
    tnef = b"\x78\x9f\x3e\x22" + octets(rng, 900)
    return mime(rng, "mixed", [text_part(rng), attachment(rng, "application/ms-tnef", "winmail.dat", tnef)])


@structure()
def smime(rng: random.Random, n: int) -> bytes:
    if n % 2:
        kind = 'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"'
        return message(rng, in_base64(octets(rng, 1500)), kind, "Content-Transfer-Encoding: base64")
    signature = attachment(rng, "application/pkcs7-signature", "smime.p7s", octets(rng, 900))
    subtype = 'signed; protocol="application/pkcs7-signature"; micalg=sha-256'
    return mime(rng, subtype, [part("text/plain", prose(rng) + b"two blanks at the end  \r\n"), signature])


@structure()
def pgp_mime(rng: random.Random, n: int) -> bytes:
    armour = lines("-----BEGIN PGP MESSAGE-----", "") + in_base64(octets(rng, 600)) + lines("-----END PGP MESSAGE-----")
    if n % 2:
        parts = [part("application/pgp-encrypted", lines("Version: 1")), part("application/octet-stream", armour)]
        return mime(rng, 'encrypted; protocol="application/pgp-encrypted"', parts)
    signed = [part("text/plain", prose(rng) + b"-- \r\n\t\r\n"), part("application/pgp-signature", armour)]
    return mime(rng, 'signed; micalg=pgp-sha512; protocol="application/pgp-signature"', signed)
