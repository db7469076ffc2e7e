"""What is known of a client, an envelope and a message, and the declaration of every fact that a policy may name.

An answer from outside is :class:`Known` or :class:`Unknown`; nothing ever turns the second into the first (invariant
"doubt is for the sender", architecture.md). :data:`FACTS` declares name, type, unit, stage, provenance, what
Received lines do to it, benign value and help of each fact: the compiler, the cases, the reference page and the
editors' schema all read it and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, IntEnum, StrEnum, auto
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Generic, TypeAlias, TypeVar

from mailguard.secret import Secret
from mailguard.value import value

T = TypeVar("T")


class Cause(StrEnum):
    """Why an answer is unknown, as far as a policy's ``unavailable`` tells apart."""

    DOWN = "down"
    """The one asked is dead, unreachable, too slow to answer, or talks nonsense: asking later may help."""
    UNSCANNABLE = "unscannable"
    """The one asked is alive but cannot judge this message (over a limit, too slow while up): later is no better."""


@value(frozen=True, slots=True)
class Known(Generic[T]):
    """An answer that was given."""

    value: T


@value(frozen=True, slots=True)
class Unknown:
    """No answer; ``why`` is one short private sentence for log and journal."""

    why: str
    cause: Cause = Cause.DOWN


Answer: TypeAlias = Known[T] | Unknown


@value(frozen=True, slots=True)
class ClientAddress:
    """The address of the connecting client, an IPv4-mapped IPv6 address made IPv4 (RFC 4291 2.5.5.2).

    This type is all that ``checks.dnsbl`` can be asked about: a header never becomes one (architecture.md, invariants).

    Attributes:
        ip: the address.
        text: as it is written; log, journal and rules write it many times a session, and it is compared by that.
        client_key: one number for a client: an IPv6 customer has at least a /64 (RFC 6177), whose addresses count as
            one.
    """

    ip: IPv4Address | IPv6Address = field(compare=False)
    text: str = field(init=False, repr=False)
    client_key: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.ip, IPv6Address) and self.ip.ipv4_mapped is not None:
            object.__setattr__(self, "ip", self.ip.ipv4_mapped)
        number, is_ipv4 = int(self.ip), isinstance(self.ip, IPv4Address)
        object.__setattr__(self, "text", str(self.ip))
        object.__setattr__(self, "client_key", number if is_ipv4 else (number >> 64) + (1 << 32))

    @classmethod
    def parse(cls, text: str) -> ClientAddress:
        """The address written ``text``, without a zone id.

        Raises:
            ValueError: not an IPv4 or IPv6 address.
        """
        return _client_at(text.partition("%")[0])

    @property
    def literal(self) -> str:
        """As an RFC 5321 4.1.3 address literal: ``[198.18.1.10]``, ``[IPv6:2001:db8::1]``."""
        return f"[{self.text}]" if isinstance(self.ip, IPv4Address) else f"[IPv6:{self.text}]"

    def __str__(self) -> str:
        return self.text


@lru_cache(4096)
def _client_at(text: str) -> ClientAddress:
    """Parsed once for a client that comes again, and for all that names it within a session."""
    return ClientAddress(_parsed(text))


_OCTETS: Final = {str(number): number for number in range(256)}


def _parsed(text: str) -> IPv4Address | IPv6Address:
    """As :func:`ipaddress.ip_address` reads it, which takes ten times as much for the usual four numbers.

    Raises:
        ValueError: not an IPv4 or IPv6 address.
    """
    octets = [_OCTETS.get(word, -1) for word in text.split(".")]
    return IPv4Address(bytes(octets)) if len(octets) == 4 and min(octets) >= 0 else ip_address(text)


Codes: TypeAlias = frozenset[IPv4Address]
"""The A records that a DNSBL gave for a client (RFC 5782 2.1); empty means not listed."""

NOT_LISTED: Final[Known[Codes]] = Known(frozenset())
"""What nearly every list answers: one object, which who compares answers finds at once."""


@dataclass(frozen=True, slots=True)
class DnsblZone:
    """One list to ask about the client.

    Attributes:
        name: the policy's.
        zone: its DNS zone, as everybody may know it.
        ipv6: whether it does IPv6.
        key: of ours with its operator, the label before ``zone`` in the name that is asked; None where there is none.
    """

    name: str
    zone: str
    ipv6: bool = False
    key: Secret | None = None

    @property
    def asked(self) -> str:
        """The zone to ask, which holds the key: for questions to the DNS, and to be shown nowhere."""
        return self.zone if self.key is None else f"{self.key.revealed()}.{self.zone}"


@value(frozen=True, slots=True)
class ReverseDns:
    """The client's name by PTR, empty where it has none; ``confirmed`` where it leads back (iprev, RFC 8601 3)."""

    name: str
    confirmed: bool


NOT_ASKED: Final = Unknown("not asked")


@value(frozen=True, slots=True, eq=False)
class Client:
    """The connecting client (provenance: connection). ``dnsbl`` maps the policy's name of a list to its answer.

    One that comes again is the same object while the same is known of it (``clients``), and found by that.
    """

    address: ClientAddress
    early_talker: Answer[bool] = NOT_ASKED
    reverse_dns: Answer[ReverseDns] = NOT_ASKED
    dnsbl: Mapping[str, Answer[Codes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TlsSession:
    """TLS on the client's connection, as the handshake agreed: ``TLSv1.3``, ``TLS_AES_256_GCM_SHA384``, 256."""

    version: str
    cipher: str
    bits: int


@value(frozen=True, slots=True)
class Helo:
    """What the client called itself, as sent (RFC 5321 4.1.1.1); ``resolves``: has it an A, AAAA or MX record."""

    name: str
    is_address: bool = False
    resolves: Answer[bool] = NOT_ASKED


_ATOM: Final = r"[^\x00-\x20\x22(),.:;<>@\[\\\]\x7f]+"
_DOT_STRING: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
"""A local part that needs no quotes (RFC 5321 4.1.2, with RFC 6531 3.3)."""
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(?:@(.*))?', re.DOTALL)
"""A mailbox whose local part stands in quotes: that, with its backslashes, and the domain."""


@value(frozen=True, slots=True)
class Mailbox:
    """An address in two parts: both empty for ``<>`` (RFC 5321 4.5.5), ``domain`` alone empty for ``<postmaster>``."""

    local: str
    domain: str

    @classmethod
    def parse(cls, written: str) -> Mailbox:
        """The mailbox that ``str`` wrote as ``written``, as the journal has it; empty for ``""`` and ``<>``."""
        if written in ("", "<>"):
            return cls("", "")
        if quoted := _QUOTED.fullmatch(written):
            return cls(re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL), quoted[2] or "")
        local, _, domain = written.partition("@")
        return cls(local, domain)

    @property
    def is_null(self) -> bool:
        """Whether this is the null reverse-path."""
        return not self.local and not self.domain

    @property
    def unquoted(self) -> str:
        """What conditions and lists compare with: the local part as it is meant, without quotes."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    def __str__(self) -> str:
        """As it is written (RFC 5321 4.1.2): a local part that is no Dot-string stands in quotes."""
        if _DOT_STRING.fullmatch(self.local):
            return f"{self.local}@{self.domain}" if self.domain else self.local
        if self.is_null:
            return ""
        quoted = '"' + self.local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{quoted}@{self.domain}" if self.domain else quoted


NOTHING_HIDDEN: Final[frozenset[str]] = frozenset()


@value(frozen=True, slots=True)
class Envelope:
    """What the client said before the content, for one recipient (provenance: envelope).

    Attributes:
        sender_resolves: has the sender's domain an MX, A or AAAA record and no null MX (RFC 5321 5.1, RFC 7505).
        hidden: names of facts, the client's too, that a record keeps under a pseudonym: what they are is unknown.
    """

    helo: Helo
    sender: Mailbox
    recipient: Mailbox
    sender_resolves: Answer[bool] = NOT_ASKED
    hidden: frozenset[str] = NOTHING_HIDDEN


@dataclass(frozen=True, slots=True)
class VirusResult:
    """clamd's word on a message: ``name`` is the signature, empty where clean."""

    name: str = ""

    @property
    def infected(self) -> bool:
        """Whether a signature matched."""
        return bool(self.name)


@dataclass(frozen=True, slots=True)
class SpamResult:
    """spamd's word on a message, in SpamAssassin's points.

    Attributes:
        score: the total, as spamd says it.
        content_score: ``score`` without the positive points of rules tainted by Received evidence (policy.md).
        required: spamd's own threshold (``required_score``), for X-Spam-Status.
        rules: points by rule name.
        tainted: the names in ``rules`` that may look at Received evidence.
        truncated: spamd did not see the whole message.
    """

    score: float
    content_score: float
    required: float = 5.0
    rules: Mapping[str, float] = field(default_factory=dict)
    tainted: frozenset[str] = frozenset()
    truncated: bool = False

    @property
    def received_score(self) -> float:
        """The points that ``content_score`` leaves out."""
        return round(self.score - self.content_score, 3)


@value(frozen=True, slots=True)
class Message:
    """The message after its content is here (provenance: content, but for what ``FACTS`` marks as received).

    ``size``: octets as it came, but for its Received fields.
    """

    size: int
    virus: Answer[VirusResult] = NOT_ASKED
    spam: Answer[SpamResult] = NOT_ASKED


class Stage(IntEnum):
    """From when on a fact exists."""

    ENVELOPE = 1
    CONTENT = 2


class Provenance(IntEnum):
    """Where a fact comes from."""

    CONNECTION = 1
    ENVELOPE = 2
    CONTENT = 3
    RECEIVED = 4


class Direction(Flag):
    """Where Received evidence may move a value, or the truth of a condition, from what it is without: any of two ways.

    Received evidence may acquit, never convict (architecture.md, invariants): what refuses must not rise with it. The
    union of two directions is ``|``. See ``policy.direction``.
    """

    FREE = 0
    """It stays as it is."""
    FALLS = auto()
    """It becomes less or stays: true may become false."""
    RISES = auto()
    """It becomes more or stays: false may become true."""
    ANY = FALLS | RISES
    """It may become anything."""

    @property
    def turned(self) -> Direction:
        """The direction of the opposite: of ``not``, or of a threshold that is compared with."""
        return {Direction.FALLS: Direction.RISES, Direction.RISES: Direction.FALLS}.get(self, self)


class FactType(StrEnum):
    """The types of the policy language."""

    BOOLEAN = "true or false"
    NUMBER = "number"
    TEXT = "text"
    TEXTS = "list of texts"
    ADDRESS = "IP address"


class Source(StrEnum):
    """Who is asked for a fact: the keys of a policy's ``unavailable``."""

    DNSBL = "dnsbl"
    REVERSE_DNS = "reverse_dns"
    HELO = "helo"
    SENDER = "sender"
    CLAMAV = "clamav"
    SPAMASSASSIN = "spamassassin"


FactValue: TypeAlias = bool | float | str | tuple[str, ...] | IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class FactSpec:
    """The declaration of one fact.

    Attributes:
        name: as a policy writes it.
        type: its type in conditions.
        stage: from which stage on it exists.
        provenance: where it comes from.
        benign: its value in a case that does not give it.
        help: one sentence for the reference page.
        unit: of a number, or empty.
        source: who is asked for it, where it can be unknown.
        weighable: whether ``weights`` may name it.
        values: all that a text can be, where they are few.
        moves: where Received evidence may move it.
        why: why they may, to follow the fact's name in a sentence; empty for ``Direction.FREE``.
        certain: those of ``values`` that Received evidence may hide, and never bring about. Where one of them is the
            answer, all else that ``source`` says belongs to it and is as certain.
    """

    name: str
    type: FactType
    stage: Stage
    provenance: Provenance
    benign: FactValue
    help: str
    unit: str = ""
    source: Source | None = None
    weighable: bool = False
    values: tuple[str, ...] = ()
    moves: Direction = Direction.FREE
    why: str = ""
    certain: tuple[str, ...] = ()


def _fact(
    name: str, type_: FactType, provenance: Provenance, benign: FactValue, help_: str, **more: object
) -> FactSpec:
    stage = Stage.ENVELOPE if provenance <= Provenance.ENVELOPE else Stage.CONTENT
    if provenance is Provenance.RECEIVED:
        more["moves"] = Direction.ANY
    return FactSpec(name, type_, stage, provenance, benign, help_, **more)  # type: ignore[arg-type]


_CON, _ENV, _CNT, _RCV = Provenance.CONNECTION, Provenance.ENVELOPE, Provenance.CONTENT, Provenance.RECEIVED

FACTS: Final[Mapping[str, FactSpec]] = {
    spec.name: spec
    for spec in (
        _fact("client.ip", FactType.ADDRESS, _CON, IPv4Address("198.18.0.1"), "the connecting client's address"),
        _fact("client.score", FactType.NUMBER, _ENV, 0.0, "`dnsbl.score` and `weights` together", unit="weight"),
        _fact("early_talker", FactType.BOOLEAN, _CON, False, "the client spoke before the greeting", weighable=True),
        _fact(
            "dnsbl.score",
            FactType.NUMBER,
            _CON,
            0.0,
            "weights of all lists that answered",
            unit="weight",
            source=Source.DNSBL,
        ),
        _fact(
            "dnsbl.listed_by",
            FactType.NUMBER,
            _CON,
            0.0,
            "how many lists of positive weight list the client",
            unit="lists",
            source=Source.DNSBL,
        ),
        _fact(
            "dnsbl.zones",
            FactType.TEXTS,
            _CON,
            (),
            "DNS zones of the lists that list the client with a positive weight",
            source=Source.DNSBL,
        ),
        _fact(
            "dnsbl.labels", FactType.TEXTS, _CON, (), "`name/label` of every answer that counted", source=Source.DNSBL
        ),
        _fact(
            "dnsbl.help",
            FactType.TEXT,
            _CON,
            "",
            "where a blocked sender can ask: the `help` of the heaviest list",
            source=Source.DNSBL,
        ),
        _fact(
            "reverse_dns.name",
            FactType.TEXT,
            _CON,
            "client.example.org",
            "the client's name by PTR, empty where there is none",
            source=Source.REVERSE_DNS,
        ),
        _fact(
            "reverse_dns.missing",
            FactType.BOOLEAN,
            _CON,
            False,
            "the client has no PTR record",
            source=Source.REVERSE_DNS,
            weighable=True,
        ),
        _fact(
            "reverse_dns.unconfirmed",
            FactType.BOOLEAN,
            _CON,
            False,
            "the client's name does not lead back to it",
            source=Source.REVERSE_DNS,
            weighable=True,
        ),
        _fact("helo.name", FactType.TEXT, _ENV, "client.example.org", "what the client called itself in EHLO or HELO"),
        _fact(
            "helo.is_address",
            FactType.BOOLEAN,
            _ENV,
            False,
            "the EHLO name is an address, literal or bare",
            weighable=True,
        ),
        _fact(
            "helo.unresolvable",
            FactType.BOOLEAN,
            _ENV,
            False,
            "the EHLO name has no A, AAAA or MX record",
            source=Source.HELO,
            weighable=True,
        ),
        _fact("sender.address", FactType.TEXT, _ENV, "sender@example.org", "the reverse-path, empty for `<>`"),
        _fact("sender.local", FactType.TEXT, _ENV, "sender", "the sender's local part"),
        _fact("sender.domain", FactType.TEXT, _ENV, "example.org", "the sender's domain"),
        _fact("sender.is_null", FactType.BOOLEAN, _ENV, False, "the reverse-path is `<>`: a bounce"),
        _fact(
            "sender.unresolvable",
            FactType.BOOLEAN,
            _ENV,
            False,
            "the sender's domain takes no mail: no MX, A or AAAA record, or a null MX",
            source=Source.SENDER,
            weighable=True,
        ),
        _fact("recipient.address", FactType.TEXT, _ENV, "user@example.com", "the forward-path of this recipient"),
        _fact("recipient.local", FactType.TEXT, _ENV, "user", "the recipient's local part"),
        _fact("recipient.domain", FactType.TEXT, _ENV, "example.com", "the recipient's domain"),
        _fact(
            "message.size",
            FactType.NUMBER,
            _CNT,
            2048.0,
            "size of the message as it came, its Received fields not counted",
            unit="octets",
        ),
        _fact(
            "virus.status",
            FactType.TEXT,
            _RCV,
            "clean",
            "`clean` or `infected`; content where the same condition says `virus.kind == 'malware'` or `'pua'`",
            source=Source.CLAMAV,
            values=("clean", "infected"),
            why="may speak of a heuristic or unofficial signature, which may look at headers",
        ),
        _fact(
            "virus.name",
            FactType.TEXT,
            _RCV,
            "",
            "clamd's signature name, empty where clean; provenance as for `virus.status`",
            source=Source.CLAMAV,
            why="may name a heuristic or unofficial signature, which may look at headers",
        ),
        _fact(
            "virus.kind",
            FactType.TEXT,
            _RCV,
            "",
            "`malware`, `heuristic`, `pua`, `unofficial`, or empty where clean; `malware` and `pua` are content",
            source=Source.CLAMAV,
            values=("", "malware", "heuristic", "pua", "unofficial"),
            why="may be heuristic or unofficial: such signatures may look at headers",
            certain=("malware", "pua"),
        ),
        _fact(
            "spam.score",
            FactType.NUMBER,
            _RCV,
            0.0,
            "SpamAssassin's total",
            unit="points",
            source=Source.SPAMASSASSIN,
            why="holds the points of SpamAssassin rules that look at Received headers",
        ),
        _fact(
            "spam.content_score",
            FactType.NUMBER,
            _CNT,
            0.0,
            "the total without positive points of rules that may look at Received",
            unit="points",
            source=Source.SPAMASSASSIN,
            moves=Direction.FALLS,
            why="keeps the negative points of SpamAssassin rules that look at Received headers, which can lower it",
        ),
        _fact(
            "spam.received_score",
            FactType.NUMBER,
            _RCV,
            0.0,
            "the points that `spam.content_score` leaves out",
            unit="points",
            source=Source.SPAMASSASSIN,
            why="is the points of SpamAssassin rules that look at Received headers",
        ),
        _fact(
            "spam.rules",
            FactType.TEXTS,
            _RCV,
            (),
            "names of the SpamAssassin rules that hit",
            source=Source.SPAMASSASSIN,
            why="names SpamAssassin rules that look at Received headers too",
        ),
    )
}
"""Every fact by name."""
