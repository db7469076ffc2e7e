"""One envelope and its message, from the first RCPT to the backend's final reply (flow.md, 4 and 9).

    ==================================  ============================================================================
    what happens                        what follows
    ==================================  ============================================================================
    MAIL is refused                     the refusal answers RCPT, this one and all later ones
    the backend fails at RCPT           the envelope is spoken to the next backend; none left: 451
    it fails before the end of data     the envelope is replayed, same backend or next, and the content sent again
    a replay is refused                 451, and nobody gets the message: what RCPT promised cannot be held
    the client says nothing for long    the backend is let go; it is told again, as in a replay, when the client goes on
    the client is gone before the end   the connection is cut: the backend never has it whole (:class:`ClientGone`)
    the client is gone after the end    nothing: the backend's reply is awaited, whoever still hears it
    the backend fails after the end     451 and ``doubtful``: it may have taken the message (RFC 1047), the sender
                                        comes again, and only here a duplicate can arise
    ==================================  ============================================================================

The end of data is the last piece of the content together with the final dot, or the last of what BDAT announced.
Never a 250 that no backend gave. Never an exception for a failing backend: that is a 451 with its cause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from mailguard import config, metrics
from mailguard.commands import MailFrom, RcptTo
from mailguard.log import logger
from mailguard.relay.answers import Answer, BackendFailed, passed_on
from mailguard.relay.backend import Dialogue
from mailguard.relay.identity import Identity
from mailguard.relay.member import Member
from mailguard.relay.shares import Shares
from mailguard.replies import Reply, reply
from mailguard.spool import Content

Finishing: TypeAlias = "set[asyncio.Task[None]]"
"""Those who wait for a final reply that nobody else waits for any more: held here, so that none is lost."""


class ClientGone(Exception):
    """The client was gone before the end of data, so nothing was delivered."""


class _Deferred(Exception):
    """No backend is asked any more: ``reply`` is our answer."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(str(answer))
        self.reply = answer


class Transaction:
    """One transaction; made by :meth:`Relay.transaction`. One call at a time, but for :meth:`abort`.

    Attributes:
        backend: the address of the backend last spoken to; empty before.
        doubtful: the backend was lost between the end of data and its reply, so it may have the message.
    """

    def __init__(
        self,
        members: Sequence[Member],
        limits: config.Limits,
        finishing: Finishing,
        shares: Shares,
        identity: Identity,
        mail: MailFrom,
    ) -> None:
        self.backend = ""
        self.doubtful = False
        self._members = members
        self._limits = limits
        self._finishing = finishing
        self._shares = shares
        self._identity = identity
        self._mail = mail
        self._gone: asyncio.Event  # of the client whose message is delivered
        self._taken: list[RcptTo] = []
        self._mail_refused: Reply | None = None
        self._dialogue: Dialogue | None = None
        self._member: Member | None = None
        self._causes: list[str] = []
        self._share = False
        self._busy = False
        self._ended = False
        self._aborted = False

    # -- RCPT

    async def rcpt(self, command: RcptTo) -> Reply:
        """The backend's reply to this recipient; 451 4.3.0 where none can be had."""
        if self._mail_refused is not None:
            return self._mail_refused
        self._begin_call()
        try:
            answer = await self._ask(command)
        except _Deferred as deferred:
            return deferred.reply
        except BaseException:
            self._cut()
            raise
        finally:
            self._end_call()
        if answer is None:
            return self._none_left()
        if self._mail_refused is None and answer.taken:
            self._taken.append(command)
        return self._mail_refused or passed_on(answer, "rcpt_ok")

    def _begin_call(self) -> None:
        self._busy = True
        self._causes = []
        if self._dialogue is not None:
            self._dialogue.rouse()

    def _end_call(self) -> None:
        self._busy = False
        if self._dialogue is not None:
            self._dialogue.rest(self._limits.backend_idle_timeout, self._leave)

    async def _ask(self, command: RcptTo) -> Answer | None:
        """The answer to ``command`` of the open dialogue, else of the first backend that gives one."""
        if (dialogue := self._live()) is not None:
            try:
                return await dialogue.rcpt(command)
            except BackendFailed as failure:
                self._lost(failure)
        for member in self._members:
            if not self._admits(member):
                continue
            try:
                return self._begun(*await self._speak(member, [*self._taken, command]))
            except BackendFailed as failure:
                self._lost(failure)
        return None

    def _begun(self, first: Answer, answers: Sequence[Answer]) -> Answer:
        """What a new dialogue answered last, where all before that was taken; or the refusal of the very first MAIL."""
        if not first.taken and not self._taken:
            self._mail_refused = passed_on(first, "mail_ok")
            self._leave()
            return first
        self._require(first, answers[:-1])
        return answers[-1]

    # -- the message

    async def deliver(self, content: Content, gone: asyncio.Event) -> Reply:
        """Send ``content`` to those whose RCPT was taken; the backend's final reply is ours.

        Cancelled before the end of data this cuts the connection; after it the backend's reply is still awaited, and
        logged.

        Args:
            content: the message, unstuffed, line ends CR LF; it must stay open until this returns.
            gone: set as soon as the client is known to be gone.

        Raises:
            ClientGone: the client was gone before the end of data, or :meth:`abort` was called.
            spool.SpoolLost: ``content`` cannot be read; nothing was delivered.
            ValueError: no recipient was taken, or this was called before.
        """
        if not self._taken or self._ended:
            raise ValueError("no recipient was taken, or the message was sent already")
        self._gone = gone
        self._begin_call()
        try:
            answer = await self._deliver(content)
        except _Deferred as deferred:
            return deferred.reply
        except asyncio.CancelledError:
            if self._ended:
                self._hear_out()
            else:
                self._cut()
            raise
        except BaseException:
            self._cut()
            raise
        finally:
            self._busy = False
        if answer is None and self._aborted:
            raise ClientGone("given up")
        return answer or self._none_left()

    async def _deliver(self, content: Content) -> Reply | None:
        """The final reply, from the open dialogue where it still lives, or after a replay to each backend in turn."""
        if (dialogue := self._live()) is not None and (answer := await self._send(dialogue, content)):
            return answer
        for member in self._members:
            dialogue = await self._replay(member) if self._admits(member) else None
            if dialogue is not None and (answer := await self._send(dialogue, content)):
                return answer
        metrics.BACKEND_REPLAYS.labels("failed").inc()
        return None

    async def _replay(self, member: Member) -> Dialogue | None:
        """The envelope again; None where the backend failed, or the transaction was given up meanwhile."""
        try:
            self._require(*await self._speak(member, self._taken))
        except BackendFailed as failure:
            self._lost(failure)
            return None
        metrics.BACKEND_REPLAYS.labels("ok").inc()
        return self._dialogue

    async def _send(self, dialogue: Dialogue, content: Content) -> Reply | None:
        """The final reply; None where the backend was lost before the end of data."""
        self._check()
        try:
            # The client's last chance to be gone is right before the last piece: with that RFC 1047's window opens.
            answer = await dialogue.content(content, self._check)
            if answer is None:
                dialogue.end_content()
                self._ended = True
        except BackendFailed as failure:
            self._lost(failure)
            return None
        if answer is None:
            return await self._final(dialogue)
        self._leave()
        return passed_on(answer, "data_ok")

    async def _final(self, dialogue: Dialogue) -> Reply:
        """The reply to the content, or what stands for it where the backend is lost now: nothing is sent again."""
        try:
            answer = await dialogue.final()
        except BackendFailed as failure:
            self._lost(failure)
            self.doubtful = failure.fault != "closing"  # a 421 says that nothing was taken
            return self._none_left()
        self._leave()
        return passed_on(answer, "data_ok")

    def _hear_out(self) -> None:
        """Nobody waits for the final reply any more: a task of its own does."""
        if self._dialogue is not None:
            task = asyncio.create_task(self._unheard(self._dialogue))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

    async def _unheard(self, dialogue: Dialogue) -> None:
        try:
            said = await self._final(dialogue)
        except BaseException:
            self._cut()
            raise
        logger.warning("final reply unheard", backend=self.backend, reply=str(said))

    def _check(self) -> None:
        if self._gone.is_set() or self._aborted:
            raise ClientGone("the client is gone")

    # -- the end

    async def abort(self) -> None:
        """Give the transaction up; harmless at any time, and without effect once the end of data is sent."""
        if self._ended:
            return
        self._aborted = True
        if self._busy:
            self._cut()
        else:
            self._leave()

    def _live(self) -> Dialogue | None:
        """The open dialogue, if the backend did not close it meanwhile."""
        if self._dialogue is not None and not self._dialogue.lives():
            self._lost(BackendFailed("closed while we were not speaking"))
        return self._dialogue

    def _admits(self, member: Member) -> bool:
        """Whether ``member`` may be asked; none may once the transaction was given up."""
        if self._aborted:
            return False
        if not member.admit():
            self._causes.append(f"{member.address}: left alone after failures")
            return False
        return True

    async def _speak(self, member: Member, recipients: Sequence[RcptTo]) -> tuple[Answer, list[Answer]]:
        """The envelope to ``member``; where a connection that had waited turns out dead, on another one."""
        self._take_share()
        self.backend, self._member = member.address, member
        while True:
            self._dialogue = dialogue = member.waiting() or await member.open(self._identity)
            waited = dialogue.transactions > 0
            try:
                return await dialogue.envelope(self._mail, recipients)
            except BackendFailed as failure:
                if not waited or failure.fault == "silent" or self._aborted:
                    raise
                dialogue.abort()

    def _take_share(self) -> None:
        if not self._share and not self._shares.take(self._identity.address):
            raise _Deferred(reply("too_many_transactions").because("the client holds all connections that it may"))
        self._share = True

    def _require(self, first: Answer, answers: Sequence[Answer]) -> None:
        """In a replay all must be taken again."""
        for answer in (first, *answers):
            if not answer.taken:
                metrics.BACKEND_REPLAYS.labels("refused").inc()
                self._leave()
                raise _Deferred(reply("backend_down").because(f"{self.backend}: refused in a replay: {answer}"))

    def _none_left(self) -> Reply:
        return reply("backend_down").because("; ".join(self._causes))

    def _lost(self, failure: BackendFailed) -> None:
        self._causes.append(f"{self.backend}: {failure}")
        self._cut()

    def _cut(self) -> None:
        if self._dialogue is not None:
            self._dialogue.abort()
        self._released()

    def _leave(self) -> None:
        if self._dialogue is not None and self._member is not None:
            self._member.leave(self._dialogue)
        self._released()

    def _released(self) -> None:
        self._dialogue = None
        if self._share:
            self._share = False
            self._shares.give_back(self._identity.address)
