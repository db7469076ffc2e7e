"""Mail that the tables of pages speak of: who sends what, how a server is broken for a row that says "while".

A row's first cell is a key of :data:`TRAFFIC`. Clients are what they are, by their own address: the tests that use this
run where all of 198.18.0.0/15 is local (tests/in_namespace.sh).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mailguard.lab import Lab, world
from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import INBOX, Delivered, Exim
from mailguard.lab.server import Server
from mailguard.lab.unbound import Unbound
from tests.support.client import Client
from tests.support.filtering_exim import OWN_HOSTS
from tests.support.mail import EICAR, GTUBE, mail, transaction

BY_A_THIRD_PARTY = "a text that a third party's signature knows"
FOUR_POINTS = "a text worth four points"
SIX_POINTS = "a text worth six points"
_SPANS = ("03_06", "06_12", "12_24", "24_48", "48_96", "96_XX", "96_Q")
_NO_DATES = "".join(f"score DATE_IN_{way}_{span} 0\n" for way in ("PAST", "FUTURE") for span in _SPANS)
_SPAM_RULES = f"""{_NO_DATES}
body LAB_FOUR_POINTS /{FOUR_POINTS}/
score LAB_FOUR_POINTS 4
body LAB_SIX_POINTS /{SIX_POINTS}/
score LAB_SIX_POINTS 6
header LAB_DIALUP Received =~ /dialup\\.example\\.net/
score LAB_DIALUP 14
"""
"""What a message is worth must not depend on when the test runs: the dates of all of them are the same."""
FROM_A_DIALUP = (
    "Received: from dialup.example.net (dialup.example.net [198.18.9.1])\r\n"
    "\tby smtp.example.org with ESMTPSA id 1;\r\n\tSat, 21 Nov 2026 09:58:00 +0000"
)
A_PROGRAM = (
    "MIME-Version: 1.0",
    "Content-Type: application/octet-stream; name=setup.exe",
    "Content-Disposition: attachment; filename=setup.exe",
)


@dataclass(frozen=True)
class Traffic:
    """A message, and who sends it: a client of its own each where none is named, by its true EHLO name.

    ``messages`` of one connection are sent; the last one counts. ``broken`` makes something fail meanwhile.
    """

    client: str = ""
    helo: str = ""
    sender: str = "sender@example.org"
    recipient: str = "alice@example.com"
    body: str = "Hello, this is a plain text."
    headers: tuple[str, ...] = ()
    messages: int = 1
    broken: Callable[[Lab], AbstractContextManager[None]] | None = None


def failing(zone: str, fault: str) -> Callable[[Lab], AbstractContextManager[None]]:
    @contextmanager
    def broken(lab: Lab) -> Iterator[None]:
        lab.dns().break_zone(zone, fault)
        lab.dns().forget(zone)
        yield
        lab.dns().heal_zone(zone)

    return broken


def down(server: Callable[[Lab], Server]) -> Callable[[Lab], AbstractContextManager[None]]:
    @contextmanager
    def broken(lab: Lab) -> Iterator[None]:
        server(lab).stop()
        yield
        server(lab).start()

    return broken


LISTED_TWICE = Traffic(world.LISTED_TWICE)
LISTED_AND_WELCOME = Traffic(world.LISTED_AND_WELCOME)
OF_OUR_LIST = Traffic(sender="spammer@example.net")
DIALUP = Traffic("198.18.7.10")
POSTMASTER = "postmaster@example.com"
CAROL = "carol@example.com"
PARTNER, NOT_THE_PARTNER = world.LISTED_SBL, "198.18.7.9"
_PARTNERS = (
    "mail.partner.example. 300 IN A " + PARTNER,
    "2.7.18.198.in-addr.arpa. 300 IN PTR mail.partner.example.",
    "9.7.18.198.in-addr.arpa. 300 IN PTR mail.partner.example.",
)

TRAFFIC = {
    "a client on no list": Traffic(),
    "a client on zen and SpamCop": LISTED_TWICE,
    "a client on SpamCop alone": Traffic(world.LISTED_BY_SPAMCOP),
    "a client on zen alone": Traffic(world.LISTED_SBL),
    "a client on zen, SpamCop and DNSWL": LISTED_AND_WELCOME,
    "the same two lists, to postmaster": replace(LISTED_TWICE, recipient=POSTMASTER),
    "a client with an answer that no table knows": Traffic("198.18.7.99"),
    "a client on no list, while zen refuses our resolver": Traffic(broken=failing(world.ZEN, "blocked")),
    "a client on no list, while zen lists everybody": Traffic(broken=failing(world.ZEN, "everything")),
    "the same three, while DNSWL gives no answer": replace(LISTED_AND_WELCOME, broken=failing(world.DNSWL, "refused")),
    "a client on zen as a dial-up address": DIALUP,
    "a client without a name": Traffic("198.18.2.9", helo="mail.example.org"),
    "a client whose name leads elsewhere": Traffic("198.18.3.9", helo="mail.example.org"),
    "a client whose reverse zone gives no answer": Traffic(str(world.UNANSWERED[9]), helo="mail.example.org"),
    "a client with the EHLO name of another host": Traffic(helo="mail.example.org"),
    "a client with an EHLO name that does not exist": Traffic(helo="nowhere.example.org"),
    "a sender in a domain that does not exist": Traffic(sender="somebody@nowhere.example"),
    "a sender in a domain with a null MX": Traffic(sender="somebody@nullmx.example"),
    "a sender in a domain whose servers fail": Traffic(sender=f"somebody@{world.fault_zone(world.SERVFAIL)}"),
    "a sender in our domain who does not exist": Traffic(sender="nobody@example.com"),
    "a bounce": Traffic(sender=""),
    "a sender that is listed": OF_OUR_LIST,
    "a sender in a domain that is listed": Traffic(sender="offers@bulk.example"),
    "a sender below a domain that is listed": Traffic(sender="offers@news.bulk.example"),
    "a host in a network that is listed": Traffic("198.18.30.7", helo="mail.example.org"),
    "a sender that is listed, from a welcome host": replace(OF_OUR_LIST, client="198.18.1.210"),
    "a sender that is listed, to postmaster": replace(OF_OUR_LIST, recipient=POSTMASTER),
    "a host of our own that is listed": Traffic(OWN_HOSTS[1]),
    "its neighbour, which is listed too": Traffic("198.18.66.7"),
    "a host of our own, to elsewhere": Traffic(OWN_HOSTS[0], recipient="somebody@example.org"),
    "a message without a fault": Traffic(),
    "a message with a virus": Traffic(body=EICAR),
    "a message with a virus, to postmaster": Traffic(body=EICAR, recipient=POSTMASTER),
    "a message with a third party's signature": Traffic(body=BY_A_THIRD_PARTY),
    "a message without a fault, while clamd is down": Traffic(broken=down(Lab.clamd)),
    "a message of 6 points for what it says": Traffic(body=SIX_POINTS),
    "a message of 1000 points for what it says": Traffic(body=GTUBE),
    "a message of 1000 points, to postmaster": Traffic(body=GTUBE, recipient=POSTMASTER),
    "a message of 14 points for a Received header": Traffic(headers=(FROM_A_DIALUP,)),
    "a message of 1000 points, while spamd is down": Traffic(body=GTUBE, broken=down(Lab.spamd)),
    "a host of the partner's that is listed": Traffic(PARTNER),
    "a host that is listed and calls itself the partner's": Traffic(NOT_THE_PARTNER),
    "a welcome host on zen and SpamCop": LISTED_AND_WELCOME,
    "a message of 4 points": Traffic(body=FOUR_POINTS),
    "a message of 4 points, to who wants it strict": Traffic(body=FOUR_POINTS, recipient=CAROL),
    "a message of 4 points, from a dial-up address": replace(DIALUP, body=FOUR_POINTS),
    "a recipient whom the next server does not know": Traffic(recipient="nobody@test.invalid"),
    "a message with a program": Traffic(headers=A_PROGRAM),
    "the fourth message within the hour": Traffic(messages=4),
}

_CLIENTS = (world.CLEAN[number] for number in itertools.count(30))


def make_lab(lab: Lab) -> Lab:
    """``lab`` as the tables want it: its resolver has port 53, its scanners know the texts, the partner has names."""
    dns = lab.server("unbound", Unbound, lambda folder: Unbound(folder, lab.lists().address, port=53))
    for record in _PARTNERS:
        dns.add_record(record)
    lab.server("clamd", Clamd, _clamd)
    lab.spamd(rules=_SPAM_RULES)
    return lab


def _clamd(folder: Path) -> Clamd:
    made = Clamd(folder)
    (folder / "db/third.ndb").write_text(f"Third.Party:0:*:{BY_A_THIRD_PARTY.encode().hex()}\n")
    return made


@dataclass(frozen=True)
class Became:
    """What became of one message: in words ("550 at RCPT", "inbox", a folder, "taken"), and where it lies, if here."""

    words: str
    delivered: Delivered | None = None

    def header(self, name: str) -> str:
        """What the field ``name`` of the delivered message says; empty where there is none."""
        line = rf"^{name}: (.*)$".encode()
        found = re.search(line, self.delivered.read(), re.MULTILINE) if self.delivered else None
        return found[1].decode() if found else ""


async def become(port: int, sent: Traffic, store: Exim) -> Became:
    """Send it to the server on ``port``, before ``store``."""
    client = sent.client or str(next(_CLIENTS))
    async with await Client.connect("127.0.0.1", port, local=client) as connection:
        if not (greeting := await connection.reply())[-1].startswith(b"220 "):
            return Became(f"{greeting[-1][:3].decode()} at connect")
        await connection.command(b"EHLO " + (sent.helo or world.host_name(client)).encode())
        for _ in range(sent.messages):
            message = mail(sent.body, headers=sent.headers)
            outcome = await transaction(connection, message.octets, sent.recipient, sender=sent.sender)
    for stage, said in (("MAIL", outcome.mail), ("RCPT", outcome.rcpt[0]), ("the end", outcome.content)):
        if not said.startswith(b"250"):
            return Became(f"{said[:3].decode()} at {stage}")
    if not sent.recipient.endswith(world.DOMAINS):
        return Became("taken")
    [found] = store.find(message.message_id, 30)
    return Became("inbox" if found.folder == INBOX else found.folder, found)
