"""spamd: is it there, does it find what it must, whom does it trust, and do we know its rules?

The service's own client asks, with messages that tell:

- GTUBE, for which every SpamAssassin gives a thousand points;
- a message that came from a stranger through nobody else: SpamAssassin must take that stranger for the last external
  relay (``deploy/spamassassin/mailguard.cf`` makes it say whom it took). If it takes another, or nobody,
  ``trusted_networks`` holds more than it may, and its rules about clients look past the client;
- one from a stranger through each of ``own_relays``: here the stranger must be seen, and not our own relay.

The taint list (docs/spamassassin-taint.md) must be of the very rules that spamd runs; else every rule counts as
tainted, and spam is hardly refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from mailguard import config
from mailguard.doctor import letters
from mailguard.doctor.examination import alive, each
from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient
from mailguard.facts import ClientAddress, Known, SpamResult, Unknown
from mailguard.net.aside import Aside
from mailguard.scanners.exchange import ScannerDown
from mailguard.scanners.spam_output import Output, from_headers
from mailguard.scanners.spamassassin import Spamassassin, ask
from mailguard.scanners.spamd_protocol import BadReply
from mailguard.scanners.taint_source import load_taint
from mailguard.spamrules.taint import TaintList
from mailguard.spool import Spool

STRANGERS: Final = (ClientAddress.parse("203.0.113.77"), ClientAddress.parse("198.51.100.77"))
"""Of TEST-NET-3 and TEST-NET-2 (RFC 5737): nobody's, and in nobody's trusted_networks, but in those that hold all."""
MAX_RELAYS: Final = 4
"""Networks of ``own_relays`` that are asked about, each by its first address."""
GTUBE_POINTS: Final = 999
_START: Final = (
    "is spamd running, and may this host ask it? `systemctl status spamd`; of another host: --listen, --allowed-ips, "
    "and our name in /etc/hosts there"
)
_WHOLE: Final = "something answers PING there: is it spamd, and not overloaded? `systemctl status spamd`"
_INSTALL: Final = (
    "copy deploy/spamassassin/mailguard.cf to /etc/spamassassin/ and restart spamd: see spamassassin-taint.md"
)
_TRUST: Final = "trusted_networks and internal_networks in local.cf: your own relays and loopback, nothing else"


async def examine(patient: Patient, notes: Notes) -> None:
    """All that can be asked; nothing but that it is down, where it is."""
    settings = patient.settings.spamassassin
    if settings.address is None:
        notes.skipped("", "`spamassassin.address` names none")
        return
    taint = await Aside("taint").run(lambda: load_taint(settings), patient.settings.doctor.timeout)
    client = Spamassassin(settings, taint, patient.monotonic)
    if not await alive(client.alive(), settings.timeout):
        notes.failed(settings.address, "does not answer PING", _START)
        return
    works: dict[str, Callable[[Notes], Awaitable[None]]] = {
        "GTUBE": partial(_gtube, patient, client),
        "mailguard.cf": partial(_settings_and_rules, patient, settings, settings.address, taint),
    }
    for stranger in STRANGERS:
        works[f"trust in {stranger}"] = partial(_stranger, patient, settings.address, stranger)
    for network in patient.settings.own_relays[:MAX_RELAYS]:
        works[f"trust in {network}"] = partial(_own_relay, patient, settings.address, network)
    await each(patient, notes, works)


async def _gtube(patient: Patient, client: Spamassassin, notes: Notes) -> None:
    hostname, timeout = patient.settings.hostname, patient.settings.spamassassin.timeout
    began = patient.monotonic()
    spool = Spool(1 << 20)
    spool.write(letters.relayed(_now(patient), hostname, [STRANGERS[0]], letters.SPAM))
    with spool.finish() as content:
        answer = await client.score(content, asyncio.get_running_loop().time() + timeout, STRANGERS[0])
    seconds = patient.monotonic() - began
    match answer:
        case Known(SpamResult(score=score)) if score >= GTUBE_POINTS:
            measure = Measure("spamd_seconds", round(seconds, 3), "s", f"{timeout / 2:g}", f"{timeout:g}")
            notes.ok("GTUBE", f"has {score:g} points, after {seconds:.1f} s", [measure])
        case Known(SpamResult(score=score)):
            told = f"has {score:g} points, not a thousand"
            notes.failed("GTUBE", told, "has spamd its rules? `spamassassin --lint`, `sa-update`")
        case Unknown(why):
            notes.failed("GTUBE", f"no answer: {why}", _WHOLE)


async def _output(patient: Patient, address: str, clients: list[ClientAddress]) -> Output | None:
    """What spamd shows of a message that came through ``clients``; None where mailguard.cf is not in force.

    Raises:
        ScannerDown: it is not there, or has not answered within ``spamassassin.timeout``.
        BadReply: what it says is no answer.
    """
    settings = patient.settings.spamassassin
    message = letters.relayed(_now(patient), patient.settings.hostname, clients)
    try:
        async with asyncio.timeout(settings.timeout):
            scored = await ask(address, "HEADERS", message, settings.user)
    except TimeoutError:
        raise ScannerDown(f"nothing whole within `spamassassin.timeout`, {settings.timeout:g} s") from None
    return from_headers(scored.body)


async def _settings_and_rules(
    patient: Patient, settings: config.Spamassassin, address: str, taint: TaintList, notes: Notes
) -> None:
    try:
        output = await _output(patient, address, [STRANGERS[0]])
    except (ScannerDown, BadReply) as error:
        notes.failed("mailguard.cf", f"no answer: {error}", _WHOLE)
        return
    if output is None:
        told = "is not in force: points are rounded, and rules about the client are trusted by nobody"
        notes.warning("mailguard.cf", told, _INSTALL)
    else:
        notes.ok("mailguard.cf", f"is in force, SpamAssassin {output.version}")
    _rules(settings, taint, output, notes)


def _rules(settings: config.Spamassassin, taint: TaintList, output: Output | None, notes: Notes) -> None:
    """Whether the taint list is of the rules that spamd runs."""
    runs = f"SpamAssassin {output.version}, rules {output.rules_version or 'of no version'}" if output else "unknown"
    if output is None:
        holds = bool(taint.rules) and not taint.spamassassin
    else:
        holds = taint.fits(output.version, output.rules_version)
    if holds:
        notes.ok("taint list", f"of {len(taint.rules)} rules, as spamd runs them")
        return
    if settings.rule_dirs and not taint.rules:
        remedy = "let this user read `spamassassin.rule_dirs`; the log says what could not be read"
    elif settings.rule_dirs:
        remedy = "restart spamd, so that it runs the rules that lie in `spamassassin.rule_dirs`"
    else:
        remedy = "name spamd's folders in `spamassassin.rule_dirs`, so that the list is made of its live rules"
    told = f"not of the rules that spamd runs ({runs}): every rule counts as tainted, and refuses nothing"
    notes.warning("taint list", told, remedy)


async def _stranger(patient: Patient, address: str, stranger: ClientAddress, notes: Notes) -> None:
    about = f"trust in {stranger}"
    seen = await _last_external(patient, address, [stranger], about, notes)
    if seen is None:
        return
    if seen == str(stranger):
        notes.ok(about, "none: it is seen as the client, as it must")
    else:
        told = (
            f"SpamAssassin takes {seen} for the client: it trusts this address of nobody, or cannot read our Received"
        )
        notes.failed(about, told, f"look at {_TRUST}")


async def _own_relay(patient: Patient, address: str, network: config.Network, notes: Notes) -> None:
    """``network`` of ``own_relays``: what it hands on came from somebody else."""
    about = f"trust in {network}"
    relay = ClientAddress(network[0] if network.num_addresses == 1 else network[1])
    seen = await _last_external(patient, address, [STRANGERS[1], relay], about, notes)
    if seen is None:
        return
    if seen == str(STRANGERS[1]):
        notes.ok(about, "as our own relay: who handed mail to it is seen as the client")
    else:
        told = f"of `own_relays`: of mail that came through it, SpamAssassin takes {seen} for the client"
        notes.warning(about, told, f"add it to {_TRUST}")


async def _last_external(
    patient: Patient, address: str, clients: list[ClientAddress], about: str, notes: Notes
) -> str | None:
    """Whom SpamAssassin takes for the client of a message that came through ``clients``; None where it does not say."""
    try:
        output = await _output(patient, address, clients)
    except (ScannerDown, BadReply) as error:
        notes.failed(about, f"no answer: {error}", _WHOLE)
        return None
    if output is None:
        notes.skipped(about, "cannot be seen without mailguard.cf")
        return None
    return str(output.relay or "nobody")


def _now(patient: Patient) -> datetime:
    return datetime.fromtimestamp(patient.now(), UTC)
