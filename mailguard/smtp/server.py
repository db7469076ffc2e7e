"""The SMTP face on the network: aiosmtpd's ``SMTP``, subclassed, an adapter without decisions.

What octets mean is for ``smtp.conversation``, what to answer is for the story (``smtp.story``), how long to wait is for
``smtp.patience``. Here are sockets, tasks and timers, and nothing else. Of aiosmtpd its connection is used: transport,
streams, the handler's task, later STARTTLS. None of its parsing of commands and addresses is reachable, for the whole
of ``_handle_client`` is ours and the table of its ``smtp_*`` methods is empty (decision 0011).

A client that vanishes cancels nothing: ``Peer.gone`` is set, and the call that the story is in goes on to its end, so
that a transaction at a backend is never cut behind its final dot. Only a drain that runs out of time cancels.

While the story is busy nothing is taken from the stream reader; it stops reading at 2 x :data:`READ_SIZE` octets, which
one last read of the loop (256 KiB) may exceed, and the kernel's window closes. So a connection's memory is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Final

from aiosmtpd.smtp import SMTP
from prometheus_client import Counter

from mailguard import metrics
from mailguard.config import Limits
from mailguard.facts import Answer, Known, Unknown
from mailguard.log import logger
from mailguard.net.proxy_protocol import Header, HeaderReader, ProxyError
from mailguard.reference import new_reference
from mailguard.replies import Reply, reply
from mailguard.smtp.admission import Endpoint, TurnedAway, behind, endpoint, sends_proxy_header
from mailguard.smtp.conversation import Conversation, Said
from mailguard.smtp.events import Closed, End, MailGiven, RcptGiven, TransactionDropped
from mailguard.smtp.patience import Patience
from mailguard.smtp.states import State
from mailguard.smtp.story import ConnectionEnd, Peer, Story
from mailguard.smtp.teller import Bug, Teller

if TYPE_CHECKING:
    from mailguard.smtp.listener import SmtpListener

READ_SIZE: Final = 65536
"""Octets taken from a connection at once."""
_BATCHED: Final = (MailGiven, RcptGiven, TransactionDropped)
"""Events whose replies may wait for those of the next (RFC 2920 3.2); before any other all replies are sent."""


class Connection(SMTP):
    """One connection from accept to close."""

    line_length_limit = READ_SIZE

    def __init__(self, listener: SmtpListener) -> None:
        """Takes from ``listener.prototype`` what aiosmtpd's constructor would find out again, in 115 us."""
        vars(self).update(listener.prototype)
        self.loop = asyncio.get_running_loop()
        asyncio.StreamReaderProtocol.__init__(
            self, asyncio.StreamReader(limit=READ_SIZE), client_connected_cb=self._cb_client_connected
        )
        self._listener = listener
        self._limits: Limits = listener.settings.limits
        self._conversation = Conversation(self._limits, listener.settings.hostname)
        self._gone = asyncio.Event()
        self._waiting: asyncio.Timeout | None = None
        self._draining = False
        self._spoke_early = False
        self._linger = False
        self._client = ""
        self._story: Story | None = None
        self._before_story = new_reference()
        self._refusals = 0

    # --- what asyncio calls; each override replaces aiosmtpd's, which cancels the handler or sets a timer -----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected: aiosmtpd starts our ``_handle_client`` as a task."""
        super().connection_made(transport)
        if self._handler_coroutine is not None:
            self._listener.entered(self, self._handler_coroutine)

    def eof_received(self) -> bool | None:
        """The client sends no more. It is gone, unless it left commands to carry out: some send all and half-close."""
        keep_open = asyncio.StreamReaderProtocol.eof_received(self)
        if self._reader.at_eof() and not self._conversation.command_waiting:
            self._gone.set()
        return keep_open

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed or was reset; the handler finds out when it reads or writes next."""
        self._gone.set()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self.transport = None

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's one timer, which cuts without a word, is not used."""

    # --- draining -----------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Say 421 as soon as no transaction is open; at once, if the client is being waited for."""
        self._draining = True
        if self._waiting is not None and not self._waiting.expired() and not self._conversation.in_transaction:
            self._waiting.reschedule(self.loop.time())

    # --- from accept to close -----------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        """The connection: who it is, the greeting, the conversation, the end."""
        with metrics.SESSIONS.track_inprogress(), metrics.SESSION_SECONDS.time(), ExitStack() as slots:
            end = End.SHUTDOWN
            try:
                end = await self._attend(slots)
            except asyncio.CancelledError:
                self._write([self._explained(reply("shutting_down"), "other")])
                self._linger = False
                raise
            except Exception:  # noqa: BLE001  a bug here must end this connection only
                end = End.INTERNAL
                metrics.ERRORS.inc()
                logger.exception("internal error", ref=self._reference)
                self._write([Said(reply("internal_close").with_reference(self._reference), "other", own=True)])
            finally:
                metrics.CONNECTIONS.labels(end.value).inc()
                await self._hang_up(linger=self._linger and end not in (End.QUIT, End.LOST))

    async def _attend(self, slots: ExitStack) -> End:
        """Let the client in or turn it away; how it ended."""
        began = self.loop.time()
        try:
            peer = await self._admit(slots)
        except TurnedAway as refusal:
            self._log("connection", refusal.reply, end=End.REFUSED.value)
            await self._send([Said(refusal.reply.with_reference(self._reference), "connect", own=True)])
            return End.REFUSED
        except ConnectionError:
            return End.LOST
        self._linger = True
        return await self._tell_story(peer, began)

    async def _tell_story(self, peer: Peer, began: float) -> End:
        self._story = self._listener.story_factory()
        teller = Teller(self._story, self._conversation)
        end = End.SHUTDOWN
        try:
            end = await self._greet(teller, peer) or await self._converse(teller)
        finally:
            seconds = self.loop.time() - began
            await teller.closed(ConnectionEnd(end, seconds, self._conversation.commands, self._conversation.errors))
        return end

    # --- who it is ----------------------------------------------------------------------------------------------

    async def _admit(self, slots: ExitStack) -> Peer:
        """The client, after its PROXY header if it must send one; holding its slots.

        Raises:
            TurnedAway: no slot is free, or there is no valid PROXY header.
            ConnectionError: it is gone already.
        """
        client, local = self._endpoint("peername"), self._endpoint("sockname")
        self._client = str(client[0])
        slots.enter_context(self._listener.slots.connection())
        if sends_proxy_header(client[0], self._listener.config.proxy_protocol_from):
            client, local = behind(await self._proxy_header(), client, local)
            self._client = str(client[0])
        slots.enter_context(self._listener.slots.client(client[0]))
        return Peer(*client, local, self._gone)

    def _endpoint(self, name: str) -> Endpoint:
        found = self._writer.get_extra_info(name)
        if not found:  # asked after the client was gone
            raise ConnectionResetError(name)
        return endpoint(found)

    async def _proxy_header(self) -> Header:
        reader, header = HeaderReader(), None
        deadline = self.loop.time() + self._limits.proxy_header_timeout
        try:
            while header is None:
                octets = await self._read(deadline)
                if not octets:
                    raise ConnectionResetError("before the PROXY header")
                header = reader.feed(octets)
        except ProxyError as error:
            raise TurnedAway(reply("proxy_error").because(str(error))) from error
        except TimeoutError as error:
            raise TurnedAway(reply("shutting_down" if self._draining else "proxy_error").because("too slow")) from error
        self._spoke_early = bool(reader.rest)
        self._conversation.receive(reader.rest)
        return header

    # --- the greeting -------------------------------------------------------------------------------------------

    async def _greet(self, teller: Teller, peer: Peer) -> End | None:
        """Greet; how the connection ended if it did."""
        try:
            refusal, wait = await teller.connected(peer)
            greeting = refusal or await teller.greeting(await self._early_talker(wait))
        except Bug as bug:
            await self._send([Said(bug.reply, "connect", own=False)])
            return End.INTERNAL
        if self._draining:
            await self._send([self._explained(reply("shutting_down"), "connect")])
            return End.SHUTDOWN
        sent = await self._send([Said(greeting, "connect", own=False)])
        if greeting.positive:
            return None if sent else End.LOST
        return End.REFUSED

    async def _early_talker(self, wait: float) -> Answer[bool]:
        """Whether the client speaks within ``wait`` seconds before the greeting (RFC 5321 4.3.1: it must not)."""
        if wait <= 0:
            return Unknown("nothing was waited for before the greeting")
        if self._spoke_early:
            return Known(True)
        try:
            octets = await self._read(self.loop.time() + wait)
        except TimeoutError:
            return Unknown("we drain") if self._draining else Known(False)
        except OSError:
            return Unknown("the client left")
        self._conversation.receive(octets)
        return Known(True) if octets else Unknown("the client left")

    # --- the conversation ---------------------------------------------------------------------------------------

    async def _converse(self, teller: Teller) -> End:
        """From the first command to the end, which is returned."""
        patience = Patience(self._limits, self.loop.time())
        while True:
            self._close_if_draining()
            event = self._conversation.next_event()
            if not isinstance(event, _BATCHED) and not await self._send_replies():
                return End.LOST
            if event is None:
                await self._listen(patience)
            elif isinstance(event, Closed):
                return event.end
            else:
                await teller.tell(event)

    def _close_if_draining(self) -> None:
        conversation = self._conversation
        if self._draining and not conversation.in_transaction and conversation.state is not State.CLOSED:
            conversation.close(reply("shutting_down"), End.SHUTDOWN)

    async def _listen(self, patience: Patience) -> None:
        """Wait for more from the client and hand it to the conversation."""
        began, conversation = self.loop.time(), self._conversation
        in_content = conversation.in_content
        if in_content:
            deadline = patience.content_deadline(conversation.transactions, began)
        else:
            deadline = patience.command_deadline(conversation.commands, began)
        try:
            octets = await self._read(deadline)
        except TimeoutError:
            if not self._draining or conversation.in_transaction:
                conversation.close(reply("timeout"), End.TIMEOUT)
            return
        except OSError:
            octets = b""
        if in_content:
            patience.content_came(len(octets), self.loop.time() - began)
        if octets:
            conversation.receive(octets)
        else:
            self._gone.set()
            conversation.receive_eof()

    # --- refusals that no story gives ---------------------------------------------------------------------------

    @property
    def _reference(self) -> str:
        """The id under which the log holds what happens now."""
        return self._story.reference if self._story is not None else self._before_story

    def _explained(self, answer: Reply, stage: str) -> Said:
        """Our own ``answer`` to be sent: a refusal is logged, and ends in the reference that it is logged under."""
        if answer.positive:
            return Said(answer, stage, own=True)
        self._refusals += 1
        # 452 to each recipient too many is no error that would ever end the connection: the log is bounded here.
        if self._refusals <= self._limits.max_errors or answer.closes:
            self._log("command refused", answer)
        return Said(answer.with_reference(self._reference), stage, own=True)

    def _log(self, event: str, answer: Reply, **more: object) -> None:
        logger.info(
            event,
            ref=self._reference,
            client=self._client,
            reply=str(answer),
            cause=answer.cause,
            refused_by=answer.origin.value,
            **more,
        )

    # --- octets -------------------------------------------------------------------------------------------------

    async def _read(self, deadline: float) -> bytes:
        """The next octets, none at the end of input.

        Raises:
            TimeoutError: none came until ``deadline``, or a drain began.
            ConnectionError: the connection is lost.
        """
        try:
            async with asyncio.timeout_at(deadline) as self._waiting:
                return await self._reader.read(READ_SIZE)
        finally:
            self._waiting = None

    async def _send_replies(self) -> bool:
        """Send what the conversation has to say; False: the client is gone."""
        said = self._conversation.replies()
        return await self._send([self._explained(one.reply, one.stage) if one.own else one for one in said])

    async def _send(self, all_said: Sequence[Said]) -> bool:
        """Send replies in one write; False where the client is gone, or does not read them in time."""
        if not all_said:
            return True
        self._write(all_said)
        if not self._writer.transport.get_write_buffer_size():  # mostly: the kernel has taken it
            return not self._writer.is_closing()
        try:
            async with asyncio.timeout(self._limits.command_timeout):
                await self._writer.drain()
        except OSError:  # a timeout among them
            self._gone.set()
            return False
        return True

    def _write(self, all_said: Sequence[Said]) -> None:
        for said in all_said:
            _replies(said.reply.code // 100, said.stage).inc()
        self._writer.write(b"".join(said.reply.encode() for said in all_said))

    async def _hang_up(self, *, linger: bool) -> None:
        """Close; ``linger``: read the client's last octets first, else the kernel's reset may overtake our reply."""
        transport = self._writer.transport
        try:
            async with asyncio.timeout(self._limits.close_timeout):
                if linger and not self._gone.is_set():
                    self._writer.write_eof()
                    while await self._reader.read(READ_SIZE):
                        continue
                self._writer.close()
                await self._writer.wait_closed()
        except OSError:  # a timeout among them
            transport.abort()
        except asyncio.CancelledError:
            transport.abort()
            raise


@cache
def _replies(class_: int, stage: str) -> Counter:
    """The counter of these replies; looking it up by its labels is half the cost of counting."""
    return metrics.REPLIES.labels(str(class_), stage)
