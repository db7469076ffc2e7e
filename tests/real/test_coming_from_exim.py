"""docs/coming-from-exim.md: what becomes of mail before and after is what its tables say.

Each part's ACLs stand in a real Exim that faces its clients, each part's policy in a mailguard before a plain Exim, and
the same messages go from the same addresses to both. All of it is taken from the page: ACLs, files, policies, settings,
and the outcomes in the tables. What stands here is who the tables' first column speaks of, and how a server is broken
for a row that says "while".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.config import Settings
from mailguard.lab import Lab, world
from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import INBOX, Exim
from mailguard.lab.server import Server
from mailguard.lab.unbound import Unbound
from mailguard.policy.schema import PolicyFile
from tests.real.conftest import StartMailguard
from tests.support.client import Client
from tests.support.filtering_exim import OWN_HOSTS, FilteringExim, impossible
from tests.support.mail import EICAR, GTUBE, mail, transaction
from tests.support.pages import ROOT, blocks, sections, table

SECTIONS = sections((ROOT / "docs/coming-from-exim.md").read_text())
AROUND = SECTIONS["What stands around them"]
COMPARED = {name: text for name, text in SECTIONS.items() if table(text) and "Exim" in table(text)[0]}
DEFAULT_POLICY = yaml.safe_load((ROOT / "policies/default.yaml").read_text())

BY_A_THIRD_PARTY = "a text that a third party's signature knows"
SIX_POINTS = "a text worth six points"
SPAM_RULES = f"""
body LAB_SIX_POINTS /{SIX_POINTS}/
score LAB_SIX_POINTS 6
header LAB_DIALUP Received =~ /dialup\\.example\\.net/
score LAB_DIALUP 14
"""
FROM_A_DIALUP = (
    "Received: from dialup.example.net (dialup.example.net [198.18.9.1])\r\n"
    "\tby smtp.example.org with ESMTPSA id 1;\r\n\tSat, 21 Nov 2026 09:58:00 +0000"
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
POSTMASTER = "postmaster@example.com"

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
    "a recipient whom the next server does not know": Traffic(recipient="nobody@test.invalid"),
    "the fourth message within the hour": Traffic(messages=4),
}

_CLIENTS = (world.CLEAN[number] for number in itertools.count(30))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Servers of this page alone: its resolver has port 53, its scanners know the texts that the tables speak of."""
    if reason := impossible():
        pytest.skip(reason)
    with Lab() as servers:
        servers.server("unbound", Unbound, lambda folder: Unbound(folder, servers.lists().address, port=53))
        servers.server("clamd", Clamd, _clamd)
        servers.spamd(rules=SPAM_RULES)
        yield servers


def _clamd(folder: Path) -> Clamd:
    made = Clamd(folder)
    (folder / "db/third.ndb").write_text(f"Third.Party:0:*:{BY_A_THIRD_PARTY.encode().hex()}\n")
    return made


def acls(section: str, kind: str) -> str:
    """The three ACLs: what the section shows of each, and below it what stands around."""
    [ours] = [_statements(block.text) for block in blocks(section, *kind.split())]
    [around] = [_statements(block.text) for block in blocks(AROUND, "exim") if block.text.startswith("acl_")]
    assert ours.keys() <= around.keys()
    return "\n".join(f"{name}:\n{ours.get(name, '')}{text}" for name, text in around.items())


def _statements(text: str) -> dict[str, str]:
    """What stands below the name of each ACL."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            name = line.removesuffix(":")
            found[name] = ""
        else:
            found[name] += f"{line}\n"
    return found


def filtering_exim(lab: Lab, folder: str, section: str, kind: str) -> FilteringExim:
    """An Exim with the ACLs of a section, and the page's router that files."""
    [router] = [block.text for block in blocks(AROUND, "exim") if not block.text.startswith("acl_")]
    files = [(block.language, block.text) for block in blocks(section) if block.language.startswith("local_")]
    return lab.server(
        folder,
        FilteringExim,
        lambda path: FilteringExim(
            path, acls(section, kind), router, files, clamd=lab.clamd(), spamd=lab.spamd(), next_server=lab.exim()
        ),
    )


def shown(section: str, keys: set[str]) -> dict[str, Any]:
    """The section's YAML that is part of a policy, or of settings, whichever ``keys`` are."""
    parts = [yaml.safe_load(block.text) for block in blocks(section, "yaml")]
    return {key: value for part in parts if part.keys() <= keys for key, value in part.items()}


def policy_of(section: str, folder: Path) -> Path:
    """The section's policy: its parts in place of those of the default policy, whose cases are about its own rules."""
    base = {key: value for key, value in DEFAULT_POLICY.items() if key != "cases"}
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(base | shown(section, set(PolicyFile.model_fields)), sort_keys=False, width=1000))
    return path


async def become(port: int, sent: Traffic, stores: list[Exim]) -> str:
    """What becomes of ``sent`` at the server on ``port``, in the words of the tables."""
    client = sent.client or str(next(_CLIENTS))
    async with await Client.connect("127.0.0.1", port, local=client) as connection:
        if not (greeting := await connection.reply())[-1].startswith(b"220 "):
            return f"{greeting[-1][:3].decode()} at connect"
        await connection.command(b"EHLO " + (sent.helo or world.host_name(client)).encode())
        for _ in range(sent.messages):
            message = mail(sent.body, headers=sent.headers)
            outcome = await transaction(connection, message.octets, sent.recipient, sender=sent.sender)
    for stage, said in (("MAIL", outcome.mail), ("RCPT", outcome.rcpt[0]), ("the end", outcome.content)):
        if not said.startswith(b"250"):
            return f"{said[:3].decode()} at {stage}"
    if not sent.recipient.endswith(world.DOMAINS):
        return "taken"
    [found] = [found for store in stores for found in store.find(message.message_id, 10)]
    return "inbox" if found.folder == INBOX else found.folder


def test_the_tables_speak_of_all_that_is_here_and_of_nothing_else() -> None:
    rows = [row["from"] for section in COMPARED.values() for row in table(section)]
    assert len(COMPARED) >= 10
    assert set(rows) == set(TRAFFIC)


@pytest.mark.parametrize("name", list(COMPARED))
async def test_both_do_what_the_table_says(
    name: str, lab: Lab, start_mailguard: StartMailguard, tmp_path: Path
) -> None:
    section = COMPARED[name]
    stays = bool(list(blocks(section, "exim", "behind")))
    number, kind = list(COMPARED).index(name), "exim behind" if stays else "exim"
    before = filtering_exim(lab, f"exim-{number}", section, kind)
    behind = filtering_exim(lab, f"exim-{number}-behind", section, kind) if stays else lab.exim()
    settings = {"backends": [{"address": behind.address}], **shown(section, set(Settings.model_fields) - {"policy"})}
    told = []
    for row in table(section):
        sent = TRAFFIC[row["from"]]
        # A service for each row: nothing that it learnt of a broken part is left for the next one.
        with sent.broken(lab) if sent.broken else nullcontext():
            service = await start_mailguard(lab, policy_of(section, tmp_path), **settings)
            at_exim = await become(before.port, sent, [before])
            at_mailguard = await become(service.port, sent, [behind])
        told.append(row | {"Exim": at_exim, "mailguard": at_mailguard})
    assert told == table(section)
