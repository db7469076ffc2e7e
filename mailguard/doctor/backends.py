"""Each backend: does it answer, what does it offer, may it be told who the client is, does it take our domains' mail?

Every connection is made as the service makes them, PROXY header, XCLIENT and TLS included, and ends before DATA:
nothing is ever sent. Recipients are asked about in the name of a stranger (:mod:`mailguard.relay.open_relay`), as our
clients are, for in our own a backend may take anything: ``postmaster`` of our domains, which every domain must have
(RFC 5321 4.5.1), and one in a domain that cannot exist, which only an open relay takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from mailguard import config
from mailguard.commands import MailFrom, Path, RcptTo
from mailguard.doctor.examination import each
from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient
from mailguard.net.authorities import BadAuthorities
from mailguard.relay.answers import Answer, BackendFailed
from mailguard.relay.backend import Dialogue
from mailguard.relay.conversation import Conversation, Tls
from mailguard.relay.identity import Identity, Naming, introduce
from mailguard.relay.offer import Offer
from mailguard.relay.open_relay import PROBE, OpenRelay, takes_anybody
from mailguard.relay.tls import BackendTls

_REACH: Final = "is it running, and does its firewall let us in? mail waits at its senders meanwhile"
_NAMING: Final = {
    "proxy": "let it expect a PROXY header from this host (Exim: `hosts_proxy`), or change `client_identity`",
    "xclient": "let it take XCLIENT from this host (Postfix: `smtpd_authorized_xclient_hosts`)",
    "none": "if it expects a PROXY header from this host, write `client_identity: proxy`",
}

_HOW: Final = {"proxy": "a PROXY header", "xclient": "XCLIENT", "none": "nothing: it takes mailguard for the client"}


async def examine(patient: Patient, notes: Notes) -> None:
    """Each by itself."""
    works: dict[str, Callable[[Notes], Awaitable[None]]] = {
        backend.address: partial(_backend, patient, backend) for backend in patient.settings.backends
    }
    await each(patient, notes, works)


class _Caller:
    """Makes connections to one backend.

    Raises:
        BadAuthorities: its ``tls_ca_file`` cannot be used.
    """

    def __init__(self, patient: Patient, backend: config.Backend) -> None:
        self.backend = backend
        self._settings = patient.settings
        self._tls = BackendTls(backend) if backend.tls != "none" else None

    async def dial(
        self, identity: Identity | None = None, *, naming: Naming | None = None, tls: Tls | None = None
    ) -> Dialogue:
        """A dialogue past EHLO, in the name of ``identity`` or our own, as the settings say or otherwise.

        Raises:
            BackendFailed: there is none.
        """
        limits = self._settings.limits
        introduction = introduce(identity, self._settings.hostname, naming or self.backend.client_identity)
        talk = Conversation(introduction, tls or self.backend.tls, self.backend.ignore_extensions)
        patience = limits.backend_connect_timeout
        return await Dialogue.open(self.backend.address, talk, self._tls, limits, patience=patience)


async def _backend(patient: Patient, backend: config.Backend, notes: Notes) -> None:
    try:
        caller = _Caller(patient, backend)
    except BadAuthorities as error:
        notes.failed(backend.address, str(error), "mend `tls_ca_file`", configuration=True)
        return
    began = patient.monotonic()
    dialogue = await _reached(caller, notes)
    if dialogue is None:
        return
    seconds = patient.monotonic() - began
    dialogue.quit()
    _offer(dialogue.offer, patient.settings.limits.max_message_size, backend, seconds, notes)
    try:
        asked = await caller.dial(PROBE)
    except BackendFailed as failure:
        told = f"does not talk to us in a client's name: {failure}"
        notes.failed(f"{backend.address} client", told, _NAMING[backend.client_identity])
        return
    notes.ok(f"{backend.address} client", f"named by {_HOW[backend.client_identity]}")
    await _postmasters(asked, patient, backend, notes)
    await _anybody(caller, notes)


async def _reached(caller: _Caller, notes: Notes) -> Dialogue | None:
    """A dialogue in our own name; None where there can be none, which is noted with its reason."""
    address, wanted = caller.backend.address, caller.backend.tls
    try:
        return await caller.dial()
    except BackendFailed as failure:
        if failure.fault == "tls" and wanted == "opportunistic":
            notes.warning(f"{address} TLS", f"goes on in plain text: {failure}", "mend its certificate or its TLS")
            return await _without_tls(caller, notes)
        if failure.fault == "tls":
            notes.failed(f"{address} TLS", str(failure), "mend its certificate, or `tls_name`, `tls_fingerprints`")
        elif failure.fault == "unreachable":
            notes.failed(address, str(failure), _REACH)
        else:
            await _why(caller, failure, notes)
    return None


async def _without_tls(caller: _Caller, notes: Notes) -> Dialogue | None:
    try:
        return await caller.dial(tls="none")
    except BackendFailed as failure:
        notes.failed(caller.backend.address, str(failure), _REACH)
        return None


async def _why(caller: _Caller, failure: BackendFailed, notes: Notes) -> None:
    """What ``failure`` comes of: whether it would talk to us if we did without the PROXY header, or with one."""
    naming = caller.backend.client_identity
    other: Naming = "proxy" if naming == "none" else "none"
    try:
        dialogue = await caller.dial(naming=other, tls="none")
    except BackendFailed:
        notes.failed(caller.backend.address, str(failure), _REACH)
        return
    dialogue.quit()
    header = "without" if other == "none" else "with"
    told = f"talks to us only {header} a PROXY header: {failure}"
    notes.failed(f"{caller.backend.address} client", told, _NAMING[naming], configuration=True)


def _offer(offer: Offer, wanted: int, backend: config.Backend, seconds: float, notes: Notes) -> None:
    offered = [name for name, is_offered in _extensions(offer) if is_offered]
    told = f"offers {', '.join(offered) or 'nothing'}, greets in {seconds * 1000:.0f} ms"
    notes.ok(backend.address, told, [Measure("backend_seconds", round(seconds, 4), "s")])
    if offer.size and offer.size < wanted:
        told = f"takes {offer.size} octets a message, while we offer {wanted}"
        remedy = "let both be one: `limits.max_message_size`, and its own (Exim: `message_size_limit`)"
        notes.warning(f"{backend.address} SIZE", told, remedy)


def _extensions(offer: Offer) -> Sequence[tuple[str, bool]]:
    return (
        ("PIPELINING", offer.pipelining),
        (f"SIZE {offer.size}", offer.sized),
        ("8BITMIME", offer.eightbitmime),
        ("SMTPUTF8", offer.smtputf8),
        ("CHUNKING", offer.chunking),
        ("DSN", offer.dsn),
        ("STARTTLS", offer.starttls),
        ("XCLIENT", offer.xclient is not None),
    )


async def _postmasters(dialogue: Dialogue, patient: Patient, backend: config.Backend, notes: Notes) -> None:
    """Whether it takes mail for ``postmaster`` of our domains; that of subdomains (``.example.com``) has no name."""
    about = f"{backend.address} postmaster"
    whole = [domain for domain in patient.settings.relay_domains if not domain.startswith(".")]
    asked = whole[: patient.settings.doctor.max_recipients_asked]
    recipients = [RcptTo(Path(b"postmaster", domain.encode())) for domain in asked if domain.isascii()]
    try:
        mail, answers = await dialogue.envelope(MailFrom(Path()), recipients)
    except BackendFailed as failure:
        notes.failed(about, f"no answer to MAIL and RCPT: {failure}", _REACH)
        return
    finally:
        dialogue.quit()
    if not recipients:
        notes.skipped(about, "`relay_domains` names no domain as such")
        return
    if not mail.taken:
        notes.failed(about, f"MAIL FROM:<> is refused: {mail}", "it must take bounces (RFC 5321 6.1)")
        return
    _judge(about, list(zip(recipients, answers, strict=True)), len(whole), notes)


def _judge(about: str, answers: list[tuple[RcptTo, Answer]], domains: int, notes: Notes) -> None:
    bad = [(recipient, answer) for recipient, answer in answers if not answer.taken]
    for recipient, answer in bad:
        told = f"{recipient.path.mailbox} is refused: {answer}"
        remedy = "let it take mail for each of `relay_domains`, postmaster above all (RFC 5321 4.5.1)"
        note = notes.failed if answer.code >= 500 else notes.warning
        note(about, told, remedy)
    if not bad:
        notes.ok(about, f"is taken in {len(answers)} of {domains} domains, all that were asked about")


async def _anybody(caller: _Caller, notes: Notes) -> None:
    """Whether it takes mail for anybody."""
    about = f"{caller.backend.address} open relay"
    if not caller.backend.relay_probe:
        notes.skipped(about, "`relay_probe` is false")
        return
    try:
        open_relay = await takes_anybody(await caller.dial(PROBE))
    except BackendFailed as failure:
        notes.failed(about, f"gave no answer when it was asked: {failure}", _REACH)
        return
    if open_relay:
        told, _, remedy = str(OpenRelay(caller.backend.address)).partition(". ")
        notes.failed(about, told, remedy, configuration=True)
    else:
        notes.ok(about, "refuses a stranger's mail to elsewhere")
