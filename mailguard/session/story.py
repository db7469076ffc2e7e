"""ONE connection told as a story: greet, envelope, content, relay, answer (architecture.md, "The way of one message").

The SMTP face tells what the client said, and gets a reply for each; this module asks the checks, the policy, the
scanners and the backend, in that order, and decides nothing itself. Nothing is decided before RCPT, so that every
refusal can name helo, sender and recipient. Anything unexpected here is the SMTP face's 451 with our
``reference``: a bug defers.
"""

from __future__ import annotations

from typing import Final

from mailguard import message, metrics, relay
from mailguard.caseless import lowered
from mailguard.commands import Extensions, MailFrom, RcptTo
from mailguard.facts import Answer, Client, Envelope, Helo, Mailbox, TlsSession
from mailguard.reference import new_reference
from mailguard.relay import ClientGone, Identity
from mailguard.replies import Reply, named, reply
from mailguard.session import record
from mailguard.session.arrived import Arrived, origin, read, shown
from mailguard.session.judge import Judgement, judge
from mailguard.session.questions import Questions
from mailguard.session.services import Services
from mailguard.session.transaction import Accepted, Transaction
from mailguard.smtp.events import EndOfData, HeloGiven
from mailguard.smtp.story import ConnectionEnd, Peer
from mailguard.spool import SpoolError, SpoolFull, SpoolLost
from mailguard.verdict import Verdict


def is_ours(recipient: Mailbox, relay_domains: list[str]) -> bool:
    """Whether we take mail for ``recipient``: never an open relay. ``<postmaster>`` is ours (RFC 5321 4.5.1)."""
    if not recipient.domain:
        return lowered(recipient.local) == "postmaster"
    return recipient.domain in relay_domains or any(
        ours.startswith(".") and recipient.domain.endswith(ours) for ours in relay_domains
    )


_NO_HELLO: Final = HeloGiven(name="", extended=False)


class Session:
    """One connection. Implements :class:`mailguard.smtp.story.Story`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._connection = new_reference()
        self._hello = _NO_HELLO
        self._tls: TlsSession | None = None
        self._transaction: Transaction | None = None
        self._transactions = 0
        self._taken = 0
        self._known: tuple[Client, Helo, Answer[bool], TlsSession | None, int] | None = None
        self._known_of_origin: tuple[object, ...] = ()

    @property
    def reference(self) -> str:
        """What replies, log lines and headers have in common: the last transaction's, before any the connection's."""
        return f"{self._connection}-{self._transactions}" if self._transactions else self._connection

    async def connected(self, peer: Peer) -> Reply | None:
        """Start the questions about the client; their answers are awaited at RCPT."""
        self._peer = peer
        self._questions = Questions(self._services, peer.address, peer.told.reverse)
        self._questions.about_client()
        return None

    def greeting_wait(self) -> float:
        """How long to listen for an early talker, where the policy asks about one."""
        limits = self._settings.limits
        return min(limits.greeting_wait, limits.envelope_deadline) if self._services.loaded.wants_early_talker else 0.0

    async def greeting(self, early_talker: Answer[bool]) -> Reply:
        """Our 220."""
        self._questions.early_talker(early_talker)
        return named("greeting", self._settings.hostname)

    def extensions(self) -> Extensions:
        """What the backends do end to end."""
        return self._services.relay.extensions

    async def secured(self, tls: TlsSession) -> None:
        """TLS is on: what the client called itself is forgotten (RFC 3207 4.2); what lists say of it is not."""
        self._tls = tls
        self._hello = _NO_HELLO
        self._questions.forget_helo()

    async def helo(self, event: HeloGiven) -> Reply:
        """EHLO or HELO: the questions about the name begin."""
        self._hello = self._peer.told.hello(event)
        self._questions.about_helo(self._hello.name)
        return named("helo", self._settings.hostname)

    async def mail(self, command: MailFrom) -> Reply:
        """MAIL: a transaction begins; nothing is decided yet, but that a message may be too long for our disk now."""
        self._transactions += 1
        transaction = Transaction(self.reference, command)
        if lacking := self._services.spooling.lacking(transaction.declared_size):
            self._services.spooling.failed(SpoolFull(lacking), transaction.reference)
            return self._refused(transaction, reply("no_space").because(lacking)).with_reference(transaction.reference)
        self._transaction = transaction
        self._questions.about_sender(command.path)
        return reply("mail_ok")

    async def rcpt(self, command: RcptTo) -> Reply:
        """RCPT: our domain? then the envelope rules, then the backend's own word."""
        transaction = self._current()
        recipient = command.path.mailbox
        answer, verdict = self._refuse_foreign(recipient), None
        if answer is None:
            answer, verdict = await self._consider(transaction, command, recipient)
        if answer.positive:
            return answer
        decided = (self._services.policy, verdict) if verdict else None
        record.recipient_refused(self._services.recorder, transaction, recipient, answer, self._who(), decided)
        return answer.with_reference(transaction.reference)

    def _refuse_foreign(self, recipient: Mailbox) -> Reply | None:
        if is_ours(recipient, self._settings.relay_domains):
            return None
        return reply("not_our_domain", domain=recipient.domain or recipient.local)

    async def _consider(self, transaction: Transaction, command: RcptTo, recipient: Mailbox) -> tuple[Reply, Verdict]:
        policy = self._services.policy
        began = transaction.now()
        await self._questions.answered()
        transaction.spent("questions", began)
        client, envelope = self._questions.client(), self._envelope(transaction, recipient)
        verdict = policy.sampled(client, policy.envelope(client, envelope))
        record.recipient_judged(verdict)
        if verdict.reply is not None:
            return verdict.reply, verdict
        treatment = policy.treatment(recipient, verdict)
        if (apart := transaction.apart(treatment)) is not None:
            metrics.RECIPIENTS_WAITING.labels(apart.value).inc()
            return reply("other_profile").because(apart.words), verdict
        began = transaction.now()
        answer = await (transaction.onward or self._pass_on(transaction)).rcpt(command)
        transaction.spent("backend", began)
        if answer.positive:
            transaction.take(Accepted(recipient, client, envelope, verdict, treatment))
        return answer, verdict

    def _envelope(self, transaction: Transaction, recipient: Mailbox) -> Envelope:
        questions = self._questions
        return Envelope(questions.helo(), transaction.mail.path.mailbox, recipient, questions.sender_resolves())

    def _pass_on(self, transaction: Transaction) -> relay.Transaction:
        peer, hello, reverse = self._peer, self._hello, self._questions.client().reverse_dns
        identity = Identity(peer.address, peer.port, *peer.local, hello.name, hello.extended, reverse)
        transaction.onward = onward = self._services.relay.transaction(identity, transaction.mail)
        return onward

    async def data(self) -> Reply:
        """DATA: somewhere to put the content."""
        self._current().spool = self._services.spooling.begin()
        return reply("data_go")

    async def content(self, chunk: bytes) -> None:
        """A piece of the content, unstuffed; what no longer fits on the disk is answered at the end of data."""
        transaction = self._current()
        if transaction.spool is None or transaction.lost is not None:
            return
        try:
            transaction.spool.write(chunk)
        except SpoolError as error:
            transaction.lost = error
            self._services.spooling.failed(error, transaction.reference)

    async def end_of_data(self, end: EndOfData) -> Reply:
        """The message is here whole: judge it, then let the backend answer for it."""
        transaction = self._current()
        transaction.arrived = started = transaction.now()
        metrics.MESSAGE_SIZE.observe(end.size)
        try:
            return (await self._conclude(transaction, end)).with_reference(transaction.reference)
        except SpoolLost as error:  # told before the last octet went to the backend: nothing was delivered
            self._services.spooling.failed(error, transaction.reference)
            answer = self._refused(transaction, reply("no_space").because(str(error)))
            return answer.with_reference(transaction.reference)
        finally:
            metrics.MESSAGE_SECONDS.observe(transaction.now() - started)
            await self.reset()

    async def _conclude(self, transaction: Transaction, end: EndOfData) -> Reply:
        if transaction.lost is not None or transaction.spool is None:
            return self._refused(transaction, reply("no_space").because(str(transaction.lost)))
        if end.bare_line_ends and self._settings.bare_line_ends == "refuse":
            return self._refused(transaction, reply("bare_line_ends_refused"))
        with transaction.spool.finish() as content:
            arrived = await read(content, self._settings)
            if isinstance(arrived, Reply):
                return self._refused(transaction, arrived)
            return await self._judge_and_deliver(transaction, arrived)

    async def _judge_and_deliver(self, transaction: Transaction, arrived: Arrived) -> Reply:
        services, way = self._services, self._transmission(transaction)
        began = transaction.now()
        try:
            found = await shown(services, arrived, way, transaction.mail.path)
        finally:
            transaction.spent("scan", began)
        judgement = judge(services.policy, found, transaction)
        answer = judgement.refusal or await self._deliver(transaction, arrived, way, judgement)
        self._taken += answer.positive
        await self._tell(transaction, arrived, judgement, answer)
        return answer

    async def _tell(self, transaction: Transaction, arrived: Arrived, judgement: Judgement, answer: Reply) -> None:
        """Count and tell of a message; a bug in that leaves ``answer``, else one that was taken would come twice."""
        services = self._services
        try:
            await record.message_judged(
                services.recorder,
                services.policy,
                transaction,
                judgement,
                arrived.message_id,
                arrived.content,
                answer,
                self._who(),
            )
        except Exception:  # noqa: BLE001
            services.recorder.bug(transaction.reference, str(self._peer.address))

    def _transmission(self, transaction: Transaction) -> message.Transmission:
        """How the message came to us, for Received and Authentication-Results."""
        with_ = message.protocol(
            extended=self._hello.extended, tls=self._tls is not None, smtputf8=transaction.smtputf8
        )
        origin = self._came_from(transaction.accepted[0].client)
        return message.Transmission(origin, transaction.reference, with_, self._services.now())

    def _came_from(self, client: Client) -> message.Origin:
        """The same object until more is known, for what our fields say of it is made once."""
        known = client, self._hello, self._tls, self._services.policy
        if known != self._known_of_origin:  # as a rule the very same objects
            own_relay = self._questions.own_relay
            self._origin = origin(self._services, client, self._hello.name, own_relay=own_relay, tls=self._tls)
            self._known_of_origin = known
        return self._origin

    async def _deliver(
        self, transaction: Transaction, arrived: Arrived, way: message.Transmission, judgement: Judgement
    ) -> Reply:
        if transaction.onward is None:
            raise RuntimeError("a message without a transaction at the backend")
        found, folder, tags = judgement.message, judgement.folder, judgement.tags
        above = message.for_backend(arrived.stripped, way, found, folder=folder, tags=tags)
        began = transaction.now()
        try:
            with arrived.under(above) as ready:
                return await transaction.onward.deliver(ready, self._peer.gone)
        except ClientGone as error:
            return reply("client_gone").because(str(error))
        finally:
            transaction.spent("backend", began)

    def _refused(self, transaction: Transaction, refusal: Reply) -> Reply:
        record.message_refused(self._services.recorder, transaction, refusal, self._who())
        return refusal

    async def reset(self) -> None:
        """The transaction is over or dropped."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            await transaction.end()

    async def closed(self, end: ConnectionEnd) -> None:
        """The connection is over: nothing of it outlives this call but its log line."""
        await self.reset()
        try:
            record.connection(self._services.policy, self._connection, self._who(), end, self._taken)
        finally:
            self._questions.close()

    def _current(self) -> Transaction:
        if self._transaction is None:
            raise RuntimeError("no transaction is open")
        return self._transaction

    def _who(self) -> record.Who:
        """Whom a record is about: the same object until more is known, for what a record says of it is made once."""
        asked, took = self._questions, self._questions.dnsbl_seconds
        known = (asked.client(), asked.helo(), asked.sender_answer(), self._tls, len(took))
        if known != self._known:  # as a rule the very same objects, each of which is compared by identity first
            client, helo, sender, tls, _ = known
            zones, port = self._services.loaded.zones, self._peer.port
            self._about = record.Who(client, helo, sender, asked.own_relay, zones, tls, port, took)
            self._known = known
        return self._about
