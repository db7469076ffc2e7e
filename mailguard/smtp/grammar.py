"""Command lines and paths, bytes in, values out (RFC 5321 4.1.1, 4.1.2; RFC 6531 3.3); pure.

What is outside the grammar is refused with one precise :class:`~mailguard.replies.Reply`, carried by :class:`Refused`.
Nothing is ever decoded, repaired or unescaped: an RFC 2047 encoded word in a path is an atom like any other, and what
was read is what a backend is sent. A value from here holds no control character, so no line end can hide in it.

Deviations from RFC 5321 4.1.2, all towards tolerance: spaces after ``FROM:`` and ``TO:``, several spaces between
parameters, trailing white space (4.1.1 asks for that one), ``_`` in domains (bounce hosts use it), local parts of up to
255 octets (64 is what must be taken at the least, 4.5.3.1; return addresses that encode a recipient are longer).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NoReturn

from mailguard.commands import Extensions, MailFrom, Parameter, Path, RcptTo
from mailguard.replies import Reply, reply

MAX_LOCAL: Final = 255
"""Octets of a local part, quotes included."""
MAX_DOMAIN: Final = 255
"""Octets of a domain or EHLO name (RFC 5321 4.5.3.1.2)."""
MAX_LABEL: Final = 63
"""Octets of one label of a domain (RFC 1035 2.3.4)."""
MAX_ENVID: Final = 100
"""Octets of an ENVID (RFC 3461 4.4)."""
MAX_ORCPT: Final = 500
"""Octets of an ORCPT, address type included (RFC 3461 4.2)."""
MAX_DIGITS: Final = 20
"""Digits of a number of octets (RFC 1870 4)."""
CHUNK: Final = "BDAT octets [LAST]"
"""How BDAT is written, for the reply to one that is not."""

_ALNUM: Final = (string.ascii_letters + string.digits).encode()
_HIGH: Final = bytes(range(0x80, 0x100))  # of UTF-8 sequences, whose validity _utf8 checks first
_ASCII_ATEXT: Final = _ALNUM + b"!#$%&'*+-/=?^_`{|}~"
_ATEXT: Final = _ASCII_ATEXT + _HIGH
_LDH: Final = _ALNUM + b"-_" + _HIGH
_QUOTED: Final = bytes(range(0x20, 0x7F)) + _HIGH
_HELO_NAME: Final = re.compile(b" *([A-Za-z0-9._:\\[\\]-]{1,%d}) *" % MAX_DOMAIN)
_HEX: Final = string.hexdigits.encode()
_VALUE: Final = bytes(c for c in range(0x21, 0x7F) if c != 0x3D) + _HIGH
_KEYWORD: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]*")
_PARAMETER: Final = re.compile(b"(%b)(?:=([%b]+))?" % (_KEYWORD.pattern, re.escape(_VALUE)))
_XCHAR: Final = bytes(c for c in _VALUE if c < 0x80 and c != 0x2B)
_PRINTABLE: Final = b"\t" + bytes(range(0x20, 0x7F))
_BACKSLASH: Final = 0x5C
_QUOTE: Final = 0x22


class Refused(Exception):
    """A command line outside the grammar; ``reply`` says what is wrong with it."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(str(answer))
        self.reply: Final = answer


def split_command(line: bytes) -> tuple[str, bytes]:
    """The verb in upper case and its argument, of a ``line`` without CR LF; trailing white space is dropped.

    The verb is empty where the line does not begin with letters that a space or the end follows.
    """
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    return _word(verb), argument


@lru_cache(maxsize=64)
def _word(octets: bytes) -> str:
    return _upper(octets) if octets.isalpha() else ""


def helo_name(argument: bytes, verb: str) -> str:
    """The name given with EHLO or HELO: a domain, an address literal, or what clients send for one.

    RFC 5321 4.1.4 forbids to refuse a name that is merely wrong; one outside the characters of names is a syntax error.

    Raises:
        Refused: 501 5.5.4.
    """
    name = _HELO_NAME.fullmatch(argument)
    if name is None:
        _syntax(f"{verb} hostname")
    return name[1].decode("ascii")


def mail_from(argument: bytes, offered: Extensions) -> MailFrom:
    """The argument of MAIL: ``FROM:<reverse-path> [parameters]`` (RFC 5321 4.1.1.2).

    Raises:
        Refused: 501 5.1.7 the path, 553 5.6.7 UTF-8 without SMTPUTF8, 555 5.5.4 a parameter that was not ``offered``,
            501 5.5.4 anything else.
    """
    if plain := _PLAIN_MAIL.fullmatch(argument):
        return MailFrom(Path(plain[1], plain[2]), _parameters(plain[3], MAIL_PARAMETERS, offered))
    path, rest = _Paths("bad_sender").read(_after(b"FROM:", argument, "MAIL FROM:<address>"))
    command = MailFrom(path, _parameters(rest, MAIL_PARAMETERS, offered))
    if path.needs_smtputf8 and command.parameter("SMTPUTF8") is None:
        raise Refused(reply("non_ascii_path"))
    return command


def rcpt_to(argument: bytes, offered: Extensions, *, smtputf8: bool) -> RcptTo:
    """The argument of RCPT: ``TO:<forward-path> [parameters]`` (RFC 5321 4.1.1.3).

    ``smtputf8``: the transaction's MAIL had SMTPUTF8, without which a path is ASCII (RFC 6531 3.4).

    Raises:
        Refused: as :func:`mail_from`, the path with 501 5.1.3.
    """
    if plain := _PLAIN_RCPT.fullmatch(argument):
        return RcptTo(Path(plain[1], plain[2]), _parameters(plain[3], RCPT_PARAMETERS, offered))
    path, rest = _Paths("bad_address").read(_after(b"TO:", argument, "RCPT TO:<address>"))
    command = RcptTo(path, _parameters(rest, RCPT_PARAMETERS, offered))
    orcpt = command.parameter("ORCPT")
    raw = orcpt is not None and not (orcpt.value or b"").isascii()
    if (path.needs_smtputf8 or raw) and not smtputf8:
        raise Refused(reply("non_ascii_path"))
    return command


def chunk_size(argument: bytes) -> tuple[int, bytes]:
    """The octets that follow a BDAT command (RFC 3030 2), and what stands behind their number.

    Raises:
        Refused: 501 5.5.4; how many octets follow is not known then.
    """
    digits, _, rest = argument.strip(b" ").partition(b" ")
    if not (digits.isdigit() and len(digits) <= MAX_DIGITS):
        _syntax(CHUNK)
    return int(digits), rest.strip(b" ")


def last_or_nothing(marker: bytes) -> None:
    """Refuse what stands behind the octets of a BDAT command and is not LAST.

    Raises:
        Refused: 501 5.5.4.
    """
    if marker.upper() not in (b"", b"LAST"):
        _syntax(CHUNK)


def no_argument(argument: bytes, verb: str) -> None:
    """Refuse an argument to a command that has none (RFC 5321 4.1.1).

    Raises:
        Refused: 501 5.5.4.
    """
    if argument:
        _syntax(f"{verb} without an argument")


def an_argument(argument: bytes, verb: str, name: str) -> None:
    """Refuse a command without the argument that it must have.

    Raises:
        Refused: 501 5.5.4.
    """
    if not argument.strip(b" "):
        _syntax(f"{verb} {name}")


# --- paths ----------------------------------------------------------------------------------------------------------


_PLAIN: Final = (
    rb" *<(?=[^@>]{1,%(local)d}@)(%(atom)b(?:\.%(atom)b)*)@(?=[^>]{1,%(domain)d}>)(%(label)b(?:\.%(label)b)*)>"
    rb"([\x00-\x7f]*)"
) % {
    b"local": MAX_LOCAL,
    b"domain": MAX_DOMAIN,
    b"atom": b"[%b]+" % re.escape(_ASCII_ATEXT),
    b"label": b"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,%d}[A-Za-z0-9_])?" % (MAX_LABEL - 2),
}
"""What nearly every path is, in ASCII and without quotes, literal or route; what is none of it, ``_Paths`` judges."""
_PLAIN_MAIL: Final = re.compile(rb"[Ff][Rr][Oo][Mm]:" + _PLAIN)
_PLAIN_RCPT: Final = re.compile(rb"[Tt][Oo]:" + _PLAIN)


class _Paths:
    """Reads paths; ``refusal`` names the reply to a bad one and so tells reverse-paths from forward-paths."""

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal

    def read(self, text: bytes) -> tuple[Path, bytes]:
        """The path at the beginning of ``text``, and what follows its ``>``."""
        if not text.startswith(b"<"):
            self._bad("it must stand in < >")
        self._utf8(text)
        special = self._special(text)
        if special is not None:
            return special
        start = self._source_route_end(text)
        at = self._local_end(text, start)
        end = text.find(b">", at)
        if end < 0:
            self._bad("no closing >")
        path = Path(self._local(text[start:at]), self._domain(text[at + 1 : end]))
        return path, text[end + 1 :]

    def _bad(self, problem: str) -> NoReturn:
        raise Refused(reply(self._refusal, problem=problem))

    def _utf8(self, text: bytes) -> None:
        """Refuse what is not UTF-8, and the control characters U+0080 to U+009F that UTF-8 can carry."""
        if text.isascii():
            return
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            self._bad("not valid UTF-8")
        if any("\x80" <= c <= "\x9f" for c in decoded):
            self._bad("a control character")

    def _special(self, text: bytes) -> tuple[Path, bytes] | None:
        """``<>`` where a sender is due (RFC 5321 4.5.5), ``<postmaster>`` where a recipient is (4.1.1.3)."""
        end = text.find(b">")
        inside = text[1:end] if end > 0 else None
        if inside == b"":
            if self._refusal == "bad_address":
                self._bad("a recipient cannot be <>")
            return Path(), text[end + 1 :]
        if inside is not None and inside.lower() == b"postmaster" and self._refusal == "bad_address":
            return Path(local=inside), text[end + 1 :]
        return None

    def _source_route_end(self, text: bytes) -> int:
        """Where the mailbox begins: behind ``@one,@two:``, which is checked and dropped (RFC 5321 4.1.2, C)."""
        if not text.startswith(b"<@"):
            return 1
        colon = text.find(b":")
        if colon < 0:
            self._bad("a source route ends in :")
        for hop in text[1:colon].split(b","):
            if not hop.startswith(b"@"):
                self._bad("each host of a source route begins with @")
            self._domain(hop[1:])
        return colon + 1

    def _local_end(self, text: bytes, start: int) -> int:
        """Where the ``@`` behind the local part stands, which may hold one itself if quoted."""
        at = self._quoted_end(text, start) if text.startswith(b'"', start) else text.find(b"@", start)
        if at < 0 or text[at : at + 1] != b"@":
            self._bad("no domain")
        return at

    def _quoted_end(self, text: bytes, start: int) -> int:
        """The position behind the closing quote of the Quoted-string at ``start``."""
        i = start + 1
        while i < len(text) and text[i] != _QUOTE:
            i += 2 if text[i] == _BACKSLASH else 1
        if i >= len(text):
            self._bad("no closing quote")
        return i + 1

    def _local(self, local: bytes) -> bytes:
        """``local`` if it is a Dot-string or a Quoted-string; its end quotes are known to match."""
        if not local or len(local) > MAX_LOCAL:
            self._bad("the local part is too long" if local else "no local part")
        if local.startswith(b'"'):
            if not _only(local, _QUOTED):
                self._bad("a control character")
        elif not all(atom and _only(atom, _ATEXT) for atom in local.split(b".")):
            self._bad("the local part needs quotes")
        return local

    def _domain(self, domain: bytes) -> bytes:
        """``domain`` if it is a Domain (RFC 5321 4.1.2, RFC 6531 3.3) or an address literal (4.1.3)."""
        if domain.startswith(b"["):
            if not _is_literal(domain):
                self._bad("not an address literal")
        elif not 0 < len(domain) <= MAX_DOMAIN or not all(map(_is_label, domain.split(b"."))):
            self._bad("not a domain")
        return domain


def _is_label(label: bytes) -> bool:
    return 0 < len(label) <= MAX_LABEL and _only(label, _LDH) and label[:1] != b"-" and label[-1:] != b"-"


def _is_literal(domain: bytes) -> bool:
    """``[198.18.0.1]`` or ``[IPv6:2001:db8::1]``; no other tag is registered (RFC 5321 4.1.3), no zone id stands."""
    if not domain.endswith(b"]") or not domain.isascii() or b"%" in domain:
        return False
    text = domain[1:-1].decode("ascii")
    try:
        if text[:5].lower() == "ipv6:":
            IPv6Address(text[5:])
        else:
            IPv4Address(text)
    except AddressValueError:
        return False
    return True


# --- parameters -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One ESMTP parameter that we know.

    Attributes:
        expected: how it is written, for the reply to one that is not.
        offered: whether its extension is among those offered in EHLO.
        valid: whether a value, None for none, is right.
        source: the RFC.
    """

    expected: str
    offered: Callable[[Extensions], bool]
    valid: Callable[[bytes | None], bool]
    source: str


def _is_xtext(value: bytes) -> bool:
    """Whether ``value`` is xtext (RFC 3461 4) that stands for printable ASCII (4.2, 4.4): no line end can hide in it.

    Hex digits may be of either case, which is more than the RFC has.
    """
    plain, *escapes = value.split(b"+")
    return _only(plain, _XCHAR) and all(_is_escape(escape[:2]) and _only(escape[2:], _XCHAR) for escape in escapes)


def _is_escape(digits: bytes) -> bool:
    return len(digits) == 2 and _only(digits, _HEX) and int(digits, 16) in _PRINTABLE


def _is_notify(value: bytes) -> bool:
    """NEVER, or what to tell about (RFC 3461 4.1)."""
    words = value.upper().split(b",")
    return words == [b"NEVER"] or all(word in (b"SUCCESS", b"FAILURE", b"DELAY") for word in words)


def _is_original_recipient(value: bytes) -> bool:
    """``addr-type;address`` (RFC 3461 4.2), the address in UTF-8 where its type says so (RFC 6533 3).

    That the whole line is UTF-8 was checked with its path.
    """
    kind, _, address = value.partition(b";")
    if not (kind and address and _only(kind, _ATEXT) and kind.isascii()):
        return False
    if address.isascii():
        return _is_xtext(address)
    return kind.lower() == b"utf-8" and _only(address, _XCHAR + _HIGH)


MAIL_PARAMETERS: Final[Mapping[str, ParameterSpec]] = {
    "SIZE": ParameterSpec(
        "SIZE=octets",
        lambda offered: offered.size > 0,
        lambda value: value is not None and value.isdigit() and len(value) <= MAX_DIGITS,
        "RFC 1870 4",
    ),
    "BODY": ParameterSpec(
        "BODY=7BIT or BODY=8BITMIME",
        lambda offered: offered.eightbitmime,
        lambda value: value is not None and value.upper() in (b"7BIT", b"8BITMIME"),
        "RFC 6152 3",
    ),
    "SMTPUTF8": ParameterSpec(
        "SMTPUTF8 without a value", lambda offered: offered.smtputf8, lambda value: value is None, "RFC 6531 3.4"
    ),
    "RET": ParameterSpec(
        "RET=FULL or RET=HDRS",
        lambda offered: offered.dsn,
        lambda value: value is not None and value.upper() in (b"FULL", b"HDRS"),
        "RFC 3461 4.3",
    ),
    "ENVID": ParameterSpec(
        f"ENVID=xtext of at most {MAX_ENVID} octets",
        lambda offered: offered.dsn,
        lambda value: value is not None and len(value) <= MAX_ENVID and _is_xtext(value),
        "RFC 3461 4.4",
    ),
}
"""The parameters of MAIL by keyword; any other is 555 5.5.4 (RFC 5321 4.1.1.11)."""

RCPT_PARAMETERS: Final[Mapping[str, ParameterSpec]] = {
    "NOTIFY": ParameterSpec(
        "NOTIFY=NEVER or a list of SUCCESS, FAILURE, DELAY",
        lambda offered: offered.dsn,
        lambda value: value is not None and _is_notify(value),
        "RFC 3461 4.1",
    ),
    "ORCPT": ParameterSpec(
        f"ORCPT=type;xtext of at most {MAX_ORCPT} octets",
        lambda offered: offered.dsn,
        lambda value: value is not None and len(value) <= MAX_ORCPT and _is_original_recipient(value),
        "RFC 3461 4.2",
    ),
}
"""The parameters of RCPT by keyword."""


def _parameters(text: bytes, known: Mapping[str, ParameterSpec], offered: Extensions) -> tuple[Parameter, ...]:
    """The parameters behind a path: each known, offered, valid, and given once."""
    if not text:
        return ()
    if not text.startswith(b" "):
        _syntax("a space between the address and its parameters")
    found: dict[str, Parameter] = {}
    for word in filter(None, text.split(b" ")):
        parameter = _parameter(word)
        spec = known.get(parameter.keyword)
        if spec is None or not spec.offered(offered):
            raise Refused(reply("bad_parameter", parameter=parameter.keyword))
        if not spec.valid(parameter.value):
            _syntax(spec.expected)
        if parameter.keyword in found:
            _syntax(f"{parameter.keyword} once")
        found[parameter.keyword] = parameter
    return tuple(found.values())


def _parameter(word: bytes) -> Parameter:
    """``KEYWORD`` or ``KEYWORD=value`` (RFC 5321 4.1.2, esmtp-param)."""
    found = _PARAMETER.fullmatch(word)
    if found is None:
        keyword = _KEYWORD.fullmatch(word.partition(b"=")[0])
        _syntax(f"{_upper(keyword[0])}=value" if keyword else "parameters as KEYWORD or KEYWORD=value")
    return Parameter(_upper(found[1]), found[2])


# --- helpers --------------------------------------------------------------------------------------------------------


def _upper(octets: bytes) -> str:
    return octets.upper().decode("ascii")


def _only(octets: bytes, allowed: bytes) -> bool:
    return not octets.translate(None, allowed)


def _after(prefix: bytes, argument: bytes, expected: str) -> bytes:
    """What follows ``prefix``, compared without case, and the spaces behind it."""
    if argument[: len(prefix)].upper() != prefix:
        _syntax(expected)
    return argument[len(prefix) :].lstrip(b" ")


def _syntax(expected: str) -> NoReturn:
    raise Refused(reply("syntax", expected=expected))
