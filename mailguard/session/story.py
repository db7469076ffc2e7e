"""ONE connection told as a story: greet, envelope, content, relay, answer (architecture.md, "The way of one message").

The SMTP face tells what the client said, and gets a reply for each; this module asks the checks, the policy, the
scanners and the backend, in that order, and decides nothing itself. Nothing is decided before RCPT, so that every
refusal can name helo, sender and recipient. Anything unexpected here is the SMTP face's 451 with our
``reference``: a bug defers.
"""

from __future__ import annotations

import asyncio

from mailguard import metrics
from mailguard.commands import Extensions, MailFrom, RcptTo
from mailguard.facts import Answer, Client, Envelope, Mailbox
from mailguard.message import Head, parse_head
from mailguard.relay import ClientGone
from mailguard.replies import Reply, reply
from mailguard.session import headers, record
from mailguard.session.judge import judge
from mailguard.session.questions import Questions
from mailguard.session.reference import new_reference
from mailguard.session.services import Services
from mailguard.session.transaction import Accepted, Transaction
from mailguard.smtp.story import ConnectionEnd, EndOfData, HeloGiven, Peer
from mailguard.spool import Content, Spool


def is_ours(recipient: Mailbox, relay_domains: list[str]) -> bool:
    """Whether we take mail for ``recipient``: never an open relay. ``<postmaster>`` is ours (RFC 5321 4.5.1)."""
    if not recipient.domain:
        return recipient.local.lower() == "postmaster"
    return any(
        recipient.domain == ours or (ours.startswith(".") and recipient.domain.endswith(ours)) for ours in relay_domains
    )


class Session:
    """One connection. Implements :class:`mailguard.smtp.story.Story`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limits = services.settings.limits
        self._connection = new_reference()
        self._transactions = 0
        self._taken = 0
        self._transaction: Transaction | None = None
        self._hello = HeloGiven(name="", extended=False)

    @property
    def reference(self) -> str:
        """What replies, log lines and headers have in common: the transaction's reference, else the connection's."""
        return self._transaction.reference if self._transaction else self._connection

    async def connected(self, peer: Peer) -> Reply | None:
        """Start the questions about the client; their answers are awaited at RCPT."""
        self._peer = peer
        self._questions = Questions(self._services, peer.address, peer.port)
        self._questions.about_client()
        return None

    async def greeting(self, early_talker: Answer[bool]) -> Reply:
        """Our 220."""
        self._questions.early_talker(early_talker)
        return reply("greeting", hostname=self._services.settings.hostname)

    def extensions(self) -> Extensions:
        """What the backends do end to end."""
        return self._services.relay.extensions

    async def helo(self, event: HeloGiven) -> Reply:
        """EHLO or HELO: the questions about the name begin; any transaction is gone (RFC 5321 4.1.4)."""
        await self.reset()
        self._hello = event
        self._questions.about_helo(event.name)
        return reply("helo", hostname=self._services.settings.hostname)

    async def mail(self, command: MailFrom) -> Reply:
        """MAIL: a transaction begins; nothing is decided yet."""
        self._transactions += 1
        self._transaction = Transaction(f"{self._connection}-{self._transactions}", command)
        self._questions.about_sender(command.path)
        return reply("mail_ok")

    async def rcpt(self, command: RcptTo) -> Reply:
        """RCPT: our domain? then the envelope rules, then the backend's own word."""
        transaction = self._current()
        recipient = command.path.mailbox
        if not is_ours(recipient, self._services.settings.relay_domains):
            refusal = reply("not_our_domain", domain=recipient.domain or recipient.local)
            record.refused_recipient(transaction.reference, recipient, refusal, **self._who())
            return refusal
        client = await self._questions.client()
        envelope = await self._envelope(transaction, recipient)
        answer = await self._consider(transaction, command, client, envelope)
        if not answer.positive:
            facts = record.about_client(client, envelope)
            record.refused_recipient(transaction.reference, recipient, answer, **facts)
        return answer

    async def _consider(self, transaction: Transaction, command: RcptTo, client: Client, envelope: Envelope) -> Reply:
        verdict = self._services.policy.envelope(client, envelope)
        record.count_verdict(verdict, message=False)
        record.count_unmatched(self._services.policy, client)
        if verdict.reply is not None:
            return verdict.reply.because(f"rule {verdict.rule!r}")
        treatment = self._services.policy.treatment(envelope.recipient, verdict)
        if not transaction.fits(treatment):
            return reply("other_profile")
        answer = await self._pass_on(transaction, command)
        if answer.positive:
            transaction.accepted.append(Accepted(envelope.recipient, client, envelope, verdict, treatment))
        return answer

    async def _pass_on(self, transaction: Transaction, command: RcptTo) -> Reply:
        if transaction.onward is None:
            identity = headers.identity(self._peer, self._hello)
            transaction.onward = self._services.relay.transaction(identity, transaction.mail)
        return await transaction.onward.rcpt(command)

    async def data(self) -> Reply:
        """DATA: somewhere to put the content."""
        settings = self._services.settings
        self._current().spool = Spool(self._limits.max_message_memory, settings.spool_dir)
        return reply("data_go")

    async def content(self, chunk: bytes) -> None:
        """A piece of the content, unstuffed."""
        spool = self._current().spool
        if spool is not None:
            spool.write(chunk)

    async def end_of_data(self, end: EndOfData) -> Reply:
        """The message is here whole: judge it, then let the backend answer for it."""
        transaction = self._current()
        started = asyncio.get_running_loop().time()
        metrics.MESSAGE_SIZE.observe(end.size)
        try:
            return (await self._conclude(transaction, end)).with_reference(transaction.reference)
        finally:
            metrics.MESSAGE_SECONDS.observe(asyncio.get_running_loop().time() - started)
            await self.reset()

    async def _conclude(self, transaction: Transaction, end: EndOfData) -> Reply:
        if end.bare_line_ends and self._services.settings.bare_line_ends == "refuse":
            return self._refused(transaction, reply("bare_line_ends_refused"))
        if transaction.spool is None:
            raise RuntimeError("end of data without DATA")
        with transaction.spool.finish() as content:
            head = parse_head(content.prefix(MAX_HEAD))
            if head.received_count > self._limits.max_received:
                return self._refused(transaction, reply("loop", limit=self._limits.max_received))
            return await self._judge_and_deliver(transaction, content, head)

    async def _judge_and_deliver(self, transaction: Transaction, content: Content, head: Head) -> Reply:
        first = transaction.accepted[0]
        surgeon = self._surgeon(transaction, head)
        with content.with_head(surgeon.for_scanners(), head.size) as scanned:
            judgement = await judge(self._services, scanned, content.size, first)
        verdict = judgement.verdict
        record.count_verdict(verdict, message=True)
        if verdict.reply is not None:
            answer = verdict.reply.because(f"rule {verdict.rule!r}")
        else:
            with content.with_head(surgeon.for_backend(judgement), head.size) as ready:
                answer = await self._deliver(transaction, ready)
        record.message(transaction, judgement, head.message_id, content, answer)
        self._taken += answer.positive
        return answer

    async def _deliver(self, transaction: Transaction, ready: Content) -> Reply:
        if transaction.onward is None:
            raise RuntimeError("a message without a transaction at the backend")
        try:
            return await transaction.onward.deliver(ready, self._peer.gone)
        except ClientGone as error:
            return reply("client_gone").because(str(error))

    def _refused(self, transaction: Transaction, refusal: Reply) -> Reply:
        record.refused_message(transaction, refusal, self._who())
        return refusal

    async def reset(self) -> None:
        """The transaction is over or dropped."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            await transaction.end()

    async def closed(self, end: ConnectionEnd) -> None:
        """The connection is over: nothing of it outlives this call but its log line."""
        await self.reset()
        await self._questions.close()
        record.connection(self._connection, self._who(), end, self._taken)
