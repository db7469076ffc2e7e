"""Tells the story what happens, and the conversation what the story answers; a bug in the story defers, never bounces.

Any exception of the story but a cancellation is unexpected: it is logged with its traceback under the story's reference
and counted, and the client is told 451 4.3.0 with that reference and nothing else. Where the story's state can no
longer be trusted (it could not drop a transaction) the connection ends with 421.
"""

from __future__ import annotations

from mailguard.facts import Answer, TlsSession
from mailguard.journal.recorder import Recorder
from mailguard.replies import Reply, reply
from mailguard.smtp.conversation import Conversation
from mailguard.smtp.events import (
    Content,
    DataAsked,
    End,
    EndOfData,
    HeloGiven,
    MailGiven,
    Question,
    RcptGiven,
    TransactionDropped,
)
from mailguard.smtp.story import ConnectionEnd, Peer, Story


class Bug(Exception):
    """The story failed before there was a conversation; it is logged already. ``reply`` is the 421 to send."""

    def __init__(self, last: Reply) -> None:
        super().__init__(str(last))
        self.reply = last


class Teller:
    """Between one story and its conversation.

    Attributes:
        story: the one that is told.

    Args:
        recorder: told of bugs.
        client: the address of whom the story is about.
    """

    def __init__(self, story: Story, conversation: Conversation, recorder: Recorder, client: str) -> None:
        self.story = story
        self._conversation = conversation
        self._recorder = recorder
        self._client = client
        self._content_failed = False

    async def connected(self, peer: Peer) -> tuple[Reply | None, float]:
        """The story's refusal of ``peer``, if any, and the seconds to wait before the greeting.

        Raises:
            Bug: the story failed.
        """
        try:
            return await self.story.connected(peer), self.story.greeting_wait()
        except Exception as error:
            raise Bug(self._bug("internal_close")) from error

    async def greeting(self, early_talker: Answer[bool]) -> Reply:
        """The story's greeting.

        Raises:
            Bug: the story failed.
        """
        try:
            return await self.story.greeting(early_talker)
        except Exception as error:
            raise Bug(self._bug("internal_close")) from error

    async def secured(self, tls: TlsSession) -> None:
        """TLS is on; after a bug here the story's state cannot be trusted."""
        try:
            await self.story.secured(tls)
        except Exception:  # noqa: BLE001  a bug defers
            self._log_bug()
            self._conversation.close(reply("internal_close"), End.INTERNAL)

    async def tell(self, event: Content | TransactionDropped) -> None:
        """Carry ``event`` to the story, which has no answer to it."""
        if isinstance(event, Content):
            await self._content(event.chunk)
        else:
            await self._reset()

    async def ask(self, question: Question) -> None:
        """Put ``question`` to the story; the conversation has its answer afterwards."""
        offered = None
        try:
            if isinstance(question, HeloGiven):
                answer, offered = await self.story.helo(question), self.story.extensions()
            elif isinstance(question, MailGiven):
                answer = await self.story.mail(question.command)
            elif isinstance(question, RcptGiven):
                answer = await self.story.rcpt(question.command)
            elif isinstance(question, DataAsked):
                answer = await self.story.data()
            elif self._content_failed:
                await self._reset(reply("internal").with_reference(self.story.reference))
                return
            elif isinstance(question, EndOfData):
                answer = await self.story.end_of_data(question)
        except Exception:  # noqa: BLE001  a bug defers
            answer = self._bug("internal")
        self._conversation.answer(answer, offered)

    async def closed(self, end: ConnectionEnd) -> None:
        """The connection is over; a bug here has nobody to be told but the log."""
        try:
            await self.story.closed(end)
        except Exception:  # noqa: BLE001  a bug defers
            self._log_bug()

    async def _content(self, chunk: bytes) -> None:
        if self._content_failed:
            return
        try:
            await self.story.content(chunk)
        except Exception:  # noqa: BLE001  a bug defers: the rest of the content is drained, then it is answered
            self._log_bug()
            self._content_failed = True

    async def _reset(self, answer: Reply | None = None) -> None:
        """Drop the transaction, then give ``answer`` to a question that is still open."""
        self._content_failed = False
        try:
            await self.story.reset()
        except Exception:  # noqa: BLE001  a bug defers: what is left of this transaction must not reach the next
            self._log_bug()
            self._conversation.close(reply("internal_close"), End.INTERNAL)
        else:
            if answer is not None:
                self._conversation.answer(answer)

    def _bug(self, answer: str) -> Reply:
        """Log the exception being handled; the reply ``answer`` with the reference."""
        self._log_bug()
        return reply(answer).with_reference(self.story.reference)

    def _log_bug(self) -> None:
        self._recorder.bug(self.story.reference, self._client)
