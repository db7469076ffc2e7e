"""The dialogue with one backend over one connection: what ``relay.conversation`` says, carried out.

Every wait has its bound: to connect ``backend_connect_timeout``, for a reply and for a TLS handshake
``backend_reply_timeout`` (as long as the greeting: Exim looks the client's name up first), for the reply to the content
``backend_final_timeout`` (RFC 5321 4.5.3.2.6: ten minutes).

Failure is :class:`~mailguard.relay.answers.BackendFailed`: no connection, no TLS as it should be, no reply in time, no
reply at all, a 421, or a reply that makes no sense there. It never means that a command was refused: refusals are
:class:`~mailguard.relay.answers.Answer` values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import cache
from typing import Final

from prometheus_client import Counter, Histogram

from mailguard import config, metrics
from mailguard.commands import MailFrom, RcptTo
from mailguard.net.streams import Stream, StreamError, StreamTimeout
from mailguard.relay.answers import Answer, BackendFailed
from mailguard.relay.conversation import Command, Conversation
from mailguard.relay.offer import Offer
from mailguard.relay.tls import BackendTls
from mailguard.spool import Content

_TIMED: Final = {"connect", "rcpt", "content"}
"""The commands whose waiting is measured: where a backend does its work."""


class Dialogue:
    """One connection to a backend; made by :meth:`open`.

    Attributes:
        address: the backend's, as configured.
        transactions: how many were begun on it.
        on_end: called once, when the connection is given up.
    """

    def __init__(self, address: str, stream: Stream, talk: Conversation, limits: config.Limits) -> None:
        self.address = address
        self.transactions = 0
        self.on_end: Callable[[], None] | None = None
        self._content_ended = 0.0
        self._stream = stream
        self._talk = talk
        self._limits = limits

    @classmethod
    async def open(
        cls, address: str, talk: Conversation, tls: BackendTls | None, limits: config.Limits, *, patience: float
    ) -> Dialogue:
        """Connect, and let ``talk`` begin.

        Args:
            tls: what ``talk`` needs if it asks for TLS.
            patience: for each reply until MAIL may come, and for the handshake, in seconds.

        Raises:
            BackendFailed: it failed, or refuses this client: greeting or EHLO answered other than 2yz.
        """
        try:
            deadline = asyncio.get_running_loop().time() + limits.backend_connect_timeout
            stream = await Stream.connect(address, deadline)
        except StreamError as error:
            _counter(address, "connect", "timeout" if isinstance(error, StreamTimeout) else "lost").inc()
            raise BackendFailed(str(error), "unreachable") from error
        dialogue = cls(address, stream, talk, limits)
        try:
            await dialogue._begin(tls, patience)
        except BaseException:
            dialogue.abort()
            raise
        return dialogue

    async def _begin(self, tls: BackendTls | None, patience: float) -> None:
        while not self._talk.open:
            await self._answer(self._talk.expects or "connect", patience)
            if self._talk.handshake_due and tls is not None:
                await self._secure(tls, patience)

    async def _secure(self, tls: BackendTls, patience: float) -> None:
        try:
            await self._stream.start_tls(tls.context, tls.name, self._stream.time() + patience)
        except StreamError as error:
            raise BackendFailed(str(error), "tls") from error
        tls.check(self._stream.certificate)
        self._talk.secured()

    @property
    def offer(self) -> Offer:
        """What the backend offers."""
        return self._talk.offer

    def lives(self) -> bool:
        """Whether the backend still waits for us: it has not closed, nor said something unasked (like 421)."""
        stream = self._stream
        return not (stream.ended or stream.received or self._talk.pending)

    def reusable(self) -> bool:
        """Whether another transaction may be begun on it."""
        return self.lives() and self._talk.idle()

    def rest(self, seconds: float, ring: Callable[[], None]) -> None:
        """Nobody speaks for now: ``ring`` is called where that lasts for ``seconds``, that is until :meth:`rouse`."""
        self._stream.alarm.set(self._stream.time() + seconds, ring)

    def rouse(self) -> None:
        """Somebody speaks again, or the connection is given up."""
        self._stream.alarm.clear()

    async def envelope(self, mail: MailFrom, recipients: Collection[RcptTo]) -> tuple[Answer, list[Answer]]:
        """MAIL and RCPT for each of ``recipients``; a refused MAIL ends the dialogue, with no answers to RCPT.

        Raises:
            BackendFailed: as above, or the backend lacks an extension that the message needs.
        """
        unfinished = self._talk.mail(mail, recipients)
        self.transactions += 1
        patience = self._limits.backend_reply_timeout
        if unfinished:
            await self._answer("rset", patience)
        first, answers = await self._answer("mail", patience), []
        # Answers to RCPT after a refused MAIL say nothing, and may not come: Exim's ``drop`` refuses and closes.
        if first.taken:
            for _ in recipients:
                answer = await self._answer("rcpt", patience)
                answers.append(answer)
        return first, answers

    async def rcpt(self, recipient: RcptTo) -> Answer:
        """One more RCPT."""
        self._talk.rcpt(recipient)
        return await self._answer("rcpt", self._limits.backend_reply_timeout)

    async def content(self, content: Content, check: Callable[[], None]) -> Answer | None:
        """All of ``content`` but its last piece; ``check`` is called whenever something was waited for.

        Returns:
            None when the last piece may go, or the backend's refusal where it gave one early.
        """
        talk, patience = self._talk, self._limits.backend_reply_timeout
        if talk.begin_content(content.size):
            answer = await self._answer("data", patience)
            if answer.code != 354:
                return answer
        check()
        in_pieces = False
        for piece in content.chunks():
            if not self.lives():
                break
            if octets := talk.content(piece):
                in_pieces = True
                await self._send(octets)
                check()
        # A backend that died or refused meanwhile is noticed here: after the end that would be a doubtful delivery. Of
        # content that is one piece nothing was awaited since the loop last looked at the sockets (decision 0176).
        if in_pieces or self._stream.stirs:
            await self._stream.catch_up()
            check()
        return None if self.lives() else await self._answer("content", patience)

    def end_content(self) -> None:
        """The last piece and the end of data: from here on the backend may have taken the message.

        Raises:
            BackendFailed: the connection was gone before, and the backend cannot have seen them.
        """
        self._write(self._talk.end())
        self._content_ended = self._stream.time()

    def final(self) -> Awaitable[Answer]:
        """The reply to the content: taken or refused. Where a call was cancelled, the next goes on waiting for it."""
        return self._answer("content", self._limits.backend_final_timeout, self._content_ended)

    def quit(self) -> None:
        """QUIT without waiting for the answer, which concerns nobody; in the middle of content a cut."""
        farewell = self._talk.quit()
        if not farewell:
            self.abort()
            return
        if not self._stream.ended:
            self._stream.write(farewell)
        self._stream.close()
        self._over()

    def abort(self) -> None:
        """Cut the connection: what is queued is never sent, above all no end of data."""
        self._stream.abort()
        self._over()

    def _over(self) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    # -- what every command needs

    def _write(self, octets: bytes) -> None:
        try:
            self._stream.write(octets)
        except StreamError as error:
            raise BackendFailed(str(error)) from error

    async def _send(self, octets: bytes) -> None:
        self._write(octets)
        try:
            await self._stream.drain(self._stream.time() + self._limits.backend_reply_timeout)
        except StreamError as error:
            raise BackendFailed(str(error)) from error

    async def _answer(self, command: Command, seconds: float, began: float | None = None) -> Answer:
        """Send what may be sent, and read the answer to ``command``, which may take ``seconds`` from ``began`` on.

        Where that is not told it is now.
        """
        talk, stream = self._talk, self._stream
        if began is None:
            began = stream.time()
        if octets := talk.octets():
            self._write(octets)
        try:
            while not talk.pending or (answer := talk.next_answer()) is None:
                if not (stream.received or stream.ended):
                    await stream.change(began + seconds)
                talk.receive(stream.take())
        except StreamError as error:
            silent = isinstance(error, StreamTimeout)
            _counter(self.address, command, "timeout" if silent else "lost").inc()
            raise BackendFailed(f"{command}: {error}", "silent" if silent else "other") from error
        except BackendFailed as failure:
            _counter(self.address, command, failure.code // 100 or "lost").inc()
            raise
        _counter(self.address, command, answer.code // 100).inc()
        if command in _TIMED:
            _seconds(command).observe(stream.time() - began)
        return answer


@cache
def _counter(address: str, command: Command, class_: int | str) -> Counter:
    return metrics.BACKEND_REPLIES.labels(address, command, class_)


@cache
def _seconds(command: Command) -> Histogram:
    return metrics.BACKEND_SECONDS.labels(command)
