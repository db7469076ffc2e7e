r"""Reads and plays a dialogue: what a client sends, what it must be told, what must arrive behind mailguard.

The folder of a file is its group. A file is lines of these kinds; blank lines and those with ``#`` in front mean
nothing.

    about: RFC 5321 4.5.2; one sentence      what it shows; the source stands first
    limits: max_errors=3 max_data_line=1000  settings under ``limits``
    settings: bare_line_ends=refuse          other settings
    port: trusted                            another port than the plain one, of ``worlds.LISTENERS``
    packet: one                              what is sent at once must be one packet: never octet by octet
    only: mailguard                          not for the SMTP face alone: the answer is the session's
    sink: Exim adds a domain                 not before a real Exim, and why

    -> EHLO client.example                   the client sends this and CR LF
    => a\n.\r\n                              the client sends exactly this
    +> Subject: x\r\n                        the client sends this as a chunk, BDAT with its size in front
    +| \r\nx\r\n                             likewise, as the last one
    <- 250 * PIPELINING *                    one whole reply, its lines joined by spaces; ``*`` is anything
    -- closed                                the server has closed, having said nothing more
    -- half-close                            the client says that it will send no more
    -- tls                                   a TLS handshake, the certificate verified

    == delivered                             then, for each message that must arrive, in order:
    MAIL FROM:<a@b.example>                  the command as the backend got it, but SIZE, BODY and SMTPUTF8
    RCPT TO:<u@example.com>                  every recipient
    .. Subject: x\r\n                        its content, pieces in order; header fields of ours may precede
    == nothing delivered
    == never victim                          no command to the backend holds these octets

In what is sent and delivered ``\r \n \t \0 \\ \xNN`` are octets and ``{x*70}`` is ``x`` seventy times. What the client
sends between two replies goes out in one write, or octet by octet: every dialogue must come out the same both ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.support.certificates import shared, trusting
from tests.support.client import Client

FOLDER = Path(__file__).parent
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass(frozen=True)
class Send:
    octets: bytes


@dataclass(frozen=True)
class Expect:
    pattern: str
    line: int


@dataclass(frozen=True)
class Closed:
    line: int


@dataclass(frozen=True)
class HalfClose:
    pass


@dataclass(frozen=True)
class Handshake:
    pass


Step = Send | Expect | Closed | HalfClose | Handshake


@dataclass
class Message:
    """A message as it must arrive; ``content`` is its end."""

    mail: bytes
    rcpts: list[bytes] = field(default_factory=list)
    content: bytes = b""


@dataclass
class Dialogue:
    """A file, read."""

    name: str
    about: str = ""
    port: str = "plain"
    packet: str = ""
    only: str = ""
    sink: str = ""
    group: str = ""
    limits: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    delivered: list[Message] = field(default_factory=list)
    never: list[bytes] = field(default_factory=list)
    says_what_arrives: bool = False


def octets(text: str) -> bytes:
    """What ``text`` of a file stands for."""
    raw = re.sub(r"\{(.+?)\*(\d+)\}", lambda found: found[1] * int(found[2]), text).encode()
    return re.sub(
        rb"\\(x[0-9a-fA-F]{2}|.)",
        lambda found: bytes.fromhex(found[1][1:].decode()) if len(found[1]) == 3 else _ESCAPES[found[1]],
        raw,
        flags=re.DOTALL,
    )


def chunk(content: bytes, marker: bytes = b"") -> bytes:
    """``content`` as a BDAT command and what follows it (RFC 3030 2)."""
    return b"BDAT %d%b\r\n%b" % (len(content), marker, content)


def read_all() -> list[Dialogue]:
    """Every dialogue, by group and name.

    Raises:
        ValueError: a file that is none.
    """
    return [read(path) for path in sorted(FOLDER.glob("*/*.txt"))]


def read(path: Path) -> Dialogue:
    """The dialogue in ``path``.

    Raises:
        ValueError: a line that is none of the kinds, or the file says nothing of what must arrive.
    """
    dialogue = Dialogue(path.stem, group=path.parent.name)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            _line(dialogue, line, number)
    if not dialogue.about or not dialogue.says_what_arrives or not dialogue.steps:
        raise ValueError(f"{path.name}: no about, no steps, or nothing about what must arrive")
    return dialogue


def _line(dialogue: Dialogue, line: str, number: int) -> None:
    mark, _, rest = line.partition(" ")
    if mark in ("about:", "port:", "packet:", "only:", "sink:"):
        setattr(dialogue, mark[:-1], rest)
    elif mark in ("limits:", "settings:"):
        getattr(dialogue, mark[:-1]).update(pair.split("=") for pair in rest.split())
    elif mark in ("==", "MAIL", "RCPT", ".."):
        _arrival(dialogue, mark, line, rest)
    else:
        dialogue.steps.append(_step(f"{dialogue.name}.txt:{number}", mark, rest, number))


def _step(where: str, mark: str, rest: str, number: int) -> Step:
    match mark, rest:
        case "->", _:
            return Send(octets(rest) + b"\r\n")
        case "=>", _:
            return Send(octets(rest))
        case "+>", _:
            return Send(chunk(octets(rest)))
        case "+|", _:
            return Send(chunk(octets(rest), b" LAST"))
        case "<-", _:
            return Expect(rest, number)
        case "--", "closed":
            return Closed(number)
        case "--", "half-close":
            return HalfClose()
        case "--", "tls":
            return Handshake()
    raise ValueError(f"{where}: what is {mark} {rest}?")


def _arrival(dialogue: Dialogue, mark: str, line: str, rest: str) -> None:
    if mark == "MAIL":
        dialogue.delivered.append(Message(octets(line)))
    elif mark == "RCPT":
        dialogue.delivered[-1].rcpts.append(octets(line))
    elif mark == "..":
        dialogue.delivered[-1].content += octets(rest)
    elif rest.startswith("never "):
        dialogue.never.append(octets(rest.removeprefix("never ")))
    elif rest in ("delivered", "nothing delivered"):
        dialogue.says_what_arrives = True
    else:
        raise ValueError(f"{dialogue.name}.txt: what is == {rest}?")


def whole(sent: bytes) -> Iterable[bytes]:
    """One write."""
    return (sent,) if sent else ()


def octet_by_octet(sent: bytes) -> Iterable[bytes]:
    """Writes of one octet each; the middle of what is long goes in writes of 997."""
    if len(sent) <= 4000:
        return (sent[i : i + 1] for i in range(len(sent)))
    middle = [sent[i : i + 997] for i in range(500, len(sent) - 500, 997)]
    return [*octet_by_octet(sent[:500]), *middle, *octet_by_octet(sent[500 + 997 * len(middle) :])]


Cut: TypeAlias = Callable[[bytes], Iterable[bytes]]


async def play(dialogue: Dialogue, client: Client, cut: Cut = whole, *, own_words: bool = True) -> None:
    """Be the client of ``dialogue``; ``cut`` makes writes of what is to be sent at once.

    Without ``own_words`` a backend of another kind speaks: of what it took the code alone must be as it stands there.

    Raises:
        AssertionError: a reply is not as it must be; names file and line.
    """
    waiting = b""
    for step in dialogue.steps:
        if isinstance(step, Send):
            waiting += step.octets
            continue
        for piece in (whole if dialogue.packet == "one" else cut)(waiting):
            await client.send(piece)
        waiting = b""
        if isinstance(step, HalfClose):
            client.writer.write_eof()
        elif isinstance(step, Handshake):
            await client.shake_hands(trusting(shared()))
        else:
            await _check(dialogue, client, step, own_words=own_words)
    assert not waiting, f"{dialogue.name}.txt ends with something sent and no reply expected"


async def _check(dialogue: Dialogue, client: Client, step: Expect | Closed, *, own_words: bool) -> None:
    where = f"{dialogue.name}.txt:{step.line}"
    lines = await client.reply()
    if isinstance(step, Closed):
        assert lines == [], f"{where}: not closed, but {lines}"
        return
    assert lines, f"{where}: closed instead of {step.pattern!r}"
    said = " ".join([lines[-1][:3].decode(), *(line[4:].decode() for line in lines)])
    pattern = step.pattern if own_words or not step.pattern.startswith("250 2.") else "250 *"
    wanted = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert re.fullmatch(wanted, said), f"{where}: {said!r} instead of {pattern!r}"
