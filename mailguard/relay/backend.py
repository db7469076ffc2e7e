"""The dialogue with one backend over one connection: greeting, EHLO, envelope, content, final reply (RFC 5321 3).

MAIL and all RCPT go out in one write where the backend offers PIPELINING (RFC 2920). Every wait has its bound: to
connect ``backend_connect_timeout``, for a reply ``backend_reply_timeout`` (as long as the greeting: Exim looks the
client's name up first), for the reply to the final dot ``backend_final_timeout`` (RFC 5321 4.5.3.2.6: ten minutes).

Failure is :class:`BackendFailed`: no connection, no reply in time, no reply at all, a 421, or a reply that makes no
sense there. It never means that a command was refused: refusals are :class:`~mailguard.relay.answers.Answer` values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from mailguard import config, metrics
from mailguard.commands import MailFrom, RcptTo
from mailguard.net.streams import Stream, StreamError, StreamTimeout
from mailguard.relay.answers import MAX_LINE, MAX_LINES, Answer, NoReply, parse_line, parse_reply
from mailguard.relay.identity import Introduction
from mailguard.relay.stuffing import END, Stuffer
from mailguard.spool import Content

Command: TypeAlias = Literal["connect", "helo", "mail", "rcpt", "data", "content"]
Fault: TypeAlias = Literal["unreachable", "silent", "closing", "other"]

_TIMED: Final = {"connect", "rcpt", "content"}
"""The commands whose waiting is measured: where a backend does its work."""


class BackendFailed(Exception):
    """The dialogue cannot go on; the text is a private cause.

    ``fault``: ``unreachable``, no connection could be made; ``silent``, no answer in time; ``closing``, a 421 (RFC 5321
    3.8); ``other``, it closed without a word, or said something that makes no sense.
    """

    def __init__(self, why: str, fault: Fault = "other") -> None:
        super().__init__(why)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Offer:
    """What a backend's EHLO reply offers; ``size`` in octets (RFC 1870), 0 where it names none."""

    pipelining: bool = False
    size: int = 0
    sized: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False

    @classmethod
    def parse(cls, lines: Sequence[bytes]) -> Offer:
        """The offer in the lines of an EHLO reply, of which the first is the greeting (RFC 5321 4.1.1.1)."""
        words = {line.split()[0].upper(): line.split()[1:] for line in lines[1:] if line.split()}
        size = words.get(b"SIZE", [])
        return cls(
            pipelining=b"PIPELINING" in words,
            size=int(size[0]) if size and size[0].isdigit() and len(size[0]) <= 20 else 0,
            sized=b"SIZE" in words,
            eightbitmime=b"8BITMIME" in words,
            smtputf8=b"SMTPUTF8" in words,
        )

    def fit(self, mail: MailFrom) -> MailFrom:
        """``mail`` without the parameters that this backend does not know and that may be left out.

        Raises:
            BackendFailed: the message needs an extension that is not offered: another backend may have it.
        """
        body = mail.parameter("BODY")
        if mail.parameter("SMTPUTF8") and not self.smtputf8:
            raise BackendFailed("the message needs SMTPUTF8, which the backend does not offer")
        if body and (body.value or b"").upper() != b"7BIT" and not self.eightbitmime:
            raise BackendFailed("the message needs 8BITMIME, which the backend does not offer")
        dropped = ({"SIZE"} if not self.sized else set()) | ({"BODY"} if not self.eightbitmime else set())
        return replace(mail, parameters=tuple(p for p in mail.parameters if p.keyword not in dropped))


def _after(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


class Dialogue:
    """One connection to a backend; made by :meth:`open`.

    Attributes:
        address: the backend's, as configured.
        offer: what it offers.
    """

    def __init__(self, address: str, stream: Stream, limits: config.Limits) -> None:
        self.address = address
        self.offer = Offer()
        self._stream = stream
        self._limits = limits

    @classmethod
    async def open(
        cls, address: str, introduction: Introduction, limits: config.Limits, *, greeting_timeout: float
    ) -> Dialogue:
        """Connect, introduce, and greet.

        Raises:
            BackendFailed: it failed, or refuses this client: greeting or EHLO answered other than 2yz.
        """
        try:
            stream = await Stream.connect(address, _after(limits.backend_connect_timeout))
        except StreamError as error:
            _count(address, "connect", "timeout" if isinstance(error, StreamTimeout) else "lost")
            raise BackendFailed(f"{address}: {error}", "unreachable") from error
        dialogue = cls(address, stream, limits)
        try:
            await dialogue._greet(introduction, greeting_timeout)
        except BaseException:
            dialogue.abort()
            raise
        return dialogue

    async def _greet(self, introduction: Introduction, greeting_timeout: float) -> None:
        if introduction.header:
            self._write(introduction.header)
        self._demand(220, await self._answer("connect", greeting_timeout))
        self._write(b"EHLO %b\r\n" % introduction.ehlo.encode("ascii"))
        answer = await self._answer("helo", self._limits.backend_reply_timeout)
        self._demand(250, answer)
        self.offer = Offer.parse(answer.lines)

    @property
    def alive(self) -> bool:
        """Whether the backend still waits for us: it has not closed, nor said something unasked (like 421)."""
        return not self._stream.ended and not self._stream.pending

    async def envelope(self, mail: MailFrom, recipients: Sequence[RcptTo]) -> tuple[Answer, list[Answer]]:
        """MAIL and RCPT for each of ``recipients``; a refused MAIL ends the dialogue, with no answers to RCPT.

        Raises:
            BackendFailed: as above, or the backend lacks an extension that the message needs.
        """
        fitted = self.offer.fit(mail)
        if not self.offer.pipelining:
            return await self._envelope_in_turn(fitted, recipients)
        self._write(b"\r\n".join((fitted.encode(), *(recipient.encode() for recipient in recipients), b"")))
        first = await self._verdict("mail")
        # Answers to RCPT after a refused MAIL say nothing, and may not come: Exim's ``drop`` refuses and closes.
        return first, [await self._verdict("rcpt") for _ in recipients] if first.taken else []

    async def _envelope_in_turn(self, mail: MailFrom, recipients: Sequence[RcptTo]) -> tuple[Answer, list[Answer]]:
        self._write(b"%b\r\n" % mail.encode())
        first = await self._verdict("mail")
        return first, [await self.rcpt(recipient) for recipient in recipients] if first.taken else []

    async def rcpt(self, recipient: RcptTo) -> Answer:
        """One more RCPT."""
        self._write(b"%b\r\n" % recipient.encode())
        return await self._verdict("rcpt")

    async def data(self) -> Answer | None:
        """DATA: None when the content may come, else the refusal."""
        self._write(b"DATA\r\n")
        answer = await self._answer("data", self._limits.backend_reply_timeout)
        if answer.code == 354:
            return None
        return self._refusal(answer)

    async def content(self, content: Content, check: Callable[[], None]) -> Answer | None:
        """All of ``content`` but the final dot, stuffed; ``check`` is called before each piece and may raise.

        Returns:
            None, or the backend's refusal where it answered early; it must then be given up by :meth:`abort`.
        """
        stuffer = Stuffer()
        for chunk in content.chunks():
            check()
            if not self.alive:
                return await self._early()
            await self._write_all(stuffer.feed(chunk))
        await self._write_all(stuffer.end())
        # A backend that died or refused meanwhile is noticed here: after the dot that would be a doubtful delivery.
        await self._stream.catch_up()
        return None if self.alive else await self._early()

    def end_content(self) -> None:
        """The final dot: from here on the backend may have taken the message.

        Raises:
            BackendFailed: the connection was gone before, and the backend cannot have seen the dot.
        """
        self._write(END)

    async def final(self) -> Answer:
        """The reply to the final dot: taken or refused."""
        return self._taken_or_refused(await self._answer("content", self._limits.backend_final_timeout))

    def quit(self) -> None:
        """QUIT without waiting for the answer, which concerns nobody."""
        if not self._stream.ended:
            self._stream.write(b"QUIT\r\n")
        self._stream.close()

    def abort(self) -> None:
        """Cut the connection: what is queued is never sent, above all no final dot."""
        self._stream.abort()

    # -- what every command needs

    def _write(self, octets: bytes) -> None:
        try:
            self._stream.write(octets)
        except StreamError as error:
            raise self._failed(error) from error

    async def _write_all(self, octets: bytes) -> None:
        if octets:
            self._write(octets)
        try:
            await self._stream.drain(_after(self._limits.backend_reply_timeout))
        except StreamError as error:
            raise self._failed(error) from error

    async def _answer(self, command: Command, seconds: float) -> Answer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer = await self._read_reply(began + seconds)
        except StreamTimeout as error:
            _count(self.address, command, "timeout")
            raise BackendFailed(f"{self.address}: {command}: {error}", "silent") from error
        except (StreamError, NoReply) as error:
            _count(self.address, command, "lost")
            raise self._failed(f"{command}: {error}") from error
        _count(self.address, command, str(answer.code // 100))
        if command in _TIMED:
            metrics.BACKEND_SECONDS.labels(command).observe(loop.time() - began)
        if answer.code == 421:
            raise BackendFailed(f"{self.address}: {command}: {answer}", "closing")
        return answer

    async def _read_reply(self, deadline: float) -> Answer:
        lines: list[bytes] = []
        last = False
        while not last:
            if len(lines) == MAX_LINES:
                raise NoReply(f"a reply of over {MAX_LINES} lines")
            lines.append(await self._stream.readline(MAX_LINE, deadline))
            _, last, _ = parse_line(lines[-1])
        return parse_reply(lines)

    async def _verdict(self, command: Command) -> Answer:
        return self._taken_or_refused(await self._answer(command, self._limits.backend_reply_timeout))

    def _taken_or_refused(self, answer: Answer) -> Answer:
        return answer if answer.taken else self._refusal(answer)

    def _refusal(self, answer: Answer) -> Answer:
        if not answer.refused:
            raise self._failed(f"out of place: {answer}")
        return answer

    async def _early(self) -> Answer:
        """What the backend says in the middle of the content: a refusal; nothing was taken, whatever else it says."""
        return self._refusal(await self._answer("content", self._limits.backend_reply_timeout))

    def _demand(self, code: int, answer: Answer) -> None:
        if answer.code != code:
            raise self._failed(f"refuses us: {answer}")

    def _failed(self, why: object) -> BackendFailed:
        return BackendFailed(f"{self.address}: {why}")


def _count(address: str, command: Command, class_: str) -> None:
    metrics.BACKEND_REPLIES.labels(address, command, class_).inc()
