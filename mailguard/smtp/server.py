"""The SMTP face on the network: aiosmtpd's ``SMTP``, subclassed, an adapter without decisions.

What octets mean is for ``smtp.conversation``, what to answer is for the story (``smtp.story``), how long to wait is for
``smtp.patience``. Here are sockets, tasks and timers, and nothing else. A connection is one of aiosmtpd's, whose octets
go by a ``net.wire`` (decision 0182). None of its parsing of commands and addresses is reachable, for the whole of
``_handle_client`` is ours and the table of its ``smtp_*`` methods is empty (decision 0011).

A client that vanishes cancels nothing: ``Peer.gone`` is set, and the call that the story is in goes on to its end, so
that a transaction at a backend is never cut behind its final dot. Only a drain that runs out of time cancels.

While the story is busy nothing is taken from the wire, which stops reading then: a connection's memory is bounded.

STARTTLS and XCLIENT end a conversation, and the connection goes on with a new one (decision 0084). Behind STARTTLS the
wire is new too, so that nothing which came before the handshake can be read after it (RFC 3207 4.2; CVE-2011-0411
was that). Behind XCLIENT the story is new, for it is of another client; what was pipelined behind it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Final

from aiosmtpd.smtp import SMTP

from mailguard import metrics
from mailguard.config import Limits
from mailguard.facts import Answer, ClientAddress, Known, TlsSession, Unknown
from mailguard.log import logger
from mailguard.metric_kinds import Cells
from mailguard.net.proxy_protocol import Header, HeaderReader, ProxyError
from mailguard.net.tls import Secured, TlsFailed, secure
from mailguard.net.wire import READ_SIZE, Wire
from mailguard.reference import new_reference
from mailguard.replies import Reply, reply
from mailguard.smtp.admission import Endpoint, Held, TurnedAway, Why, behind, endpoint, is_trusted, renamed
from mailguard.smtp.conversation import Conversation, Said
from mailguard.smtp.events import (
    ClientNamed,
    Closed,
    Content,
    End,
    MailGiven,
    Question,
    RcptGiven,
    TlsAsked,
    TransactionDropped,
)
from mailguard.smtp.keywords import Hop, hop
from mailguard.smtp.patience import Patience
from mailguard.smtp.states import State
from mailguard.smtp.story import NOTHING_TOLD, ConnectionEnd, Peer, Story
from mailguard.smtp.teller import Bug, Teller

if TYPE_CHECKING:
    from mailguard.smtp.listener import SmtpListener

_NO_WAIT: Final = Unknown("nothing was waited for before the greeting")
_BATCHED: Final = frozenset({MailGiven, RcptGiven, TransactionDropped})
"""Events whose replies may wait for those of the next (RFC 2920 3.2); before any other all replies are sent."""
_TOLD: Final = (Content, TransactionDropped)
"""Events that need no answer, and end no conversation."""
_PARTED: Final = frozenset({End.QUIT, End.LOST})
"""Ends behind which the client has nothing under way that we would have to read."""
MAX_LINGER: Final = 4 * 1024 * 1024
"""Octets read from a client behind our last reply to it."""
PIPELINED: Final = 4096
"""Octets of commands taken at once: some hundred, after which it is the turn of other clients."""


class Connection(Wire, SMTP):
    """One connection from accept to close; the wire of its own socket."""

    __slots__ = (  # of which none is in a dictionary, that would take 1 KB more
        "_accepted",
        "_before_story",
        "_began",
        "_client",
        "_conversation",
        "_draining",
        "_gone",
        "_handler_coroutine",
        "_handshake_bound",
        "_handshaking",
        "_hanging_up",
        "_held",
        "_limits",
        "_linger",
        "_listener",
        "_named",
        "_refusals",
        "_relayed",
        "_spoke_early",
        "_story",
        "_teller",
        "_tls",
        "_wire",
    )

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def __init__(self, listener: SmtpListener, peer: Endpoint | None = None, held: Held | None = None) -> None:
        """What aiosmtpd's constructor would find out again, in 115 us, its subclass by :func:`equipped` has."""
        Wire.__init__(self, self.loop, listener.deadlines)
        self._wire: Wire = self
        self._listener = listener
        self._limits: Limits = listener.limits
        self._conversation = Conversation(listener.limits, listener.hostname)
        self._accepted = self._began = self._event_loop.time()
        self._named = peer
        self._gone = asyncio.Event()
        self._held = held
        self._handshaking = False
        self._handshake_bound: asyncio.Timeout | None = None
        self._hanging_up = False
        self._tls: TlsSession | None = None
        self._relayed = False
        self._draining = False
        self._spoke_early = False
        self._linger = False
        self._client = ""
        self._story: Story | None = None
        self._before_story = ""
        self._refusals = 0

    # --- what asyncio calls; each override replaces aiosmtpd's, which cancels the handler or sets a timer -----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected: our ``_handle_client`` begins, a task as aiosmtpd has it."""
        super().connection_made(transport)
        self._handler_coroutine = self._event_loop.create_task(self._handle_client())
        self._listener.entered(self, self._handler_coroutine)

    def eof_received(self) -> bool | None:
        """The client sends no more. It is gone, unless it left commands to carry out: some send all and half-close."""
        if self.silent and not self._conversation.command_waiting:
            self._gone.set()
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed or was reset; the handler finds out when it reads or writes next."""
        self._gone.set()
        super().connection_lost(error)

    # --- draining -----------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Say 421 as soon as no transaction is open; at once, if the client is being waited for."""
        self._draining = True
        if self._conversation.in_transaction or self._hanging_up:
            return
        if self._handshake_bound is None:
            self._wire.interrupt()
        elif not self._handshake_bound.expired():
            self._handshake_bound.reschedule(self._event_loop.time())

    def _cut(self) -> None:
        """Reset the connection. By its own transport: that of TLS may fail once it is closed."""
        self.transport.abort()

    # --- from accept to close -----------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        """The connection: who it is, the greeting, the conversation, the end."""
        end = End.SHUTDOWN
        try:
            end = await self._attend()
        except asyncio.CancelledError:
            self._write([(reply("shutting_down"), "other", True)])
            self._linger = False
            raise
        except Exception:  # noqa: BLE001  a bug here must end this connection only
            end = End.INTERNAL
            self._listener.recorder.bug(self._reference, self._client)
            self._write([(reply("internal_close").with_reference(self._reference), "other", False)])
        finally:
            metrics.CONNECTIONS.labels(end).inc()
            self._hanging_up = True
            await self._hang_up(linger=self._linger and end not in _PARTED)

    def over(self) -> None:
        """The handler has ended, or was cancelled before it began."""
        self.let_slot_go()
        del self._wire  # ourselves: nobody should have to look for that circle
        metrics.SESSIONS.dec()
        metrics.SESSION_SECONDS.observe(self._event_loop.time() - self._accepted)

    async def _attend(self) -> End:
        """Let the client in or turn it away, tell its story, and those of clients named by XCLIENT; how it ended."""
        try:
            own = peer = await self._admit()
            self._linger = True
            while isinstance(end := await self._tell_story(peer), ClientNamed):
                peer = self._renamed(peer, end, own)
            return end
        except TurnedAway as refusal:
            answer = self._listener.turned_away(refusal, self._reference, self._client)
            await self._send_first(answer)
            return End.REFUSED
        except ConnectionError:
            return End.LOST

    def _renamed(self, peer: Peer, named: ClientNamed, own: Peer) -> Peer:
        """The client that ``peer`` named, holding its slot; ``own`` is whose connection it is.

        Raises:
            TurnedAway: no slot is free for it.
        """
        client = renamed(peer, named.attributes, own)
        self._relayed = True
        self._began = self._event_loop.time()
        self._take_slot(client.address)
        self._conversation = self._conversation.for_another_client()
        return client

    async def _tell_story(self, peer: Peer) -> End | ClientNamed:
        """One story from the greeting to its end, which is returned."""
        self._story = self._listener.story_factory()
        self._conversation.hop = self._hop(peer)
        self._teller = Teller(self._story, self._conversation, self._listener.recorder, self._client)
        end: End | ClientNamed = End.SHUTDOWN
        try:
            end = await self._greet(peer) or await self._converse(peer)
        finally:
            how = End.RENAMED if isinstance(end, ClientNamed) else end
            seconds, conversation = self._event_loop.time() - self._began, self._conversation
            await self._teller.closed(ConnectionEnd(how, seconds, conversation.commands, conversation.errors))
        return end

    def _hop(self, peer: Peer) -> Hop:
        """What is offered to ``peer`` on this connection.

        STARTTLS behind XCLIENT is not: what was told in plain text would have to be forgotten (RFC 3207 4.2), and who
        told it may have been anybody on the way.
        """
        config = self._listener.config
        starttls = self._listener.identity is not None and config.starttls and not self._relayed
        xclient = is_trusted(peer.address, config.xclient_from)
        return hop(starttls, self._tls is not None, xclient)

    # --- who it is ----------------------------------------------------------------------------------------------

    async def _admit(self) -> Peer:
        """The client, after its PROXY header if it must send one; holding its slot.

        Raises:
            TurnedAway: no slot is free, or there is no valid PROXY header.
            ConnectionError: it is gone already.
        """
        name = self.transport.get_extra_info("sockname")
        if self._named is None or not name:  # nobody can be asked once the client is gone
            raise ConnectionResetError
        client, local = self._named, endpoint(name)
        self._client = client[0].text
        if self._held is None:
            with self._listener.slots.unnamed():
                client, local = behind(await self._proxy_header(), client, local)
            self._take_slot(client[0])
        return Peer(client[0], client[1], local, NOTHING_TOLD, self._gone)

    def _take_slot(self, client: ClientAddress) -> None:
        """Hold a slot of ``client``, whom the log names from now on, and none of the client before it.

        Raises:
            TurnedAway: there is none for it.
        """
        self._client = client.text
        self.let_slot_go()
        self._held = self._listener.slots.client(client)

    def let_slot_go(self) -> None:
        """Hold no slot any more."""
        held, self._held = self._held, None
        if held is not None:
            held.give_back()

    async def _proxy_header(self) -> Header:
        reader, header = HeaderReader(), None
        deadline = self._event_loop.time() + self._limits.proxy_header_timeout
        try:
            while header is None:
                octets = await self._wire.read(deadline)
                if not octets:
                    raise ConnectionResetError("before the PROXY header")
                header = reader.feed(octets)
        except ProxyError as error:
            self._linger = True  # the rest of what it sends is still to come: unread it would reset the connection
            raise TurnedAway(Why.PROXY, reply("proxy_error").because(str(error))) from error
        except TimeoutError as error:
            self._linger = True  # the header may be under way
            late = reply("shutting_down" if self._draining else "proxy_error")
            raise TurnedAway(Why.PROXY, late.because("too slow")) from error
        self._spoke_early = bool(reader.rest)
        self._conversation.receive(reader.rest)
        return header

    # --- the greeting -------------------------------------------------------------------------------------------

    async def _greet(self, peer: Peer) -> End | None:
        """Greet; how the connection ended if it did."""
        teller = self._teller
        try:
            refusal, wait = await teller.connected(peer)
            greeting = refusal or await teller.greeting(await self._early_talker(wait))
        except Bug as bug:
            await self._send_first(bug.reply)
            return End.INTERNAL
        if self._draining:
            await self._send_first(reply("shutting_down"), own=True)
            return End.SHUTDOWN
        sent = await self._send_first(greeting)
        if greeting.positive:
            return None if sent else End.LOST
        return End.REFUSED

    async def _early_talker(self, wait: float) -> Answer[bool]:
        """Whether the client speaks within ``wait`` seconds before the greeting (RFC 5321 4.3.1: it must not)."""
        if self._relayed:
            return Unknown("the client speaks to a peer that named it by XCLIENT")
        if wait <= 0:
            return _NO_WAIT
        if self._spoke_early:
            return Known(True)
        try:
            octets = await self._wire.read(self._event_loop.time() + wait)
        except TimeoutError:
            return Unknown("we drain") if self._draining else Known(False)
        except OSError:
            return Unknown("the client left")
        self._conversation.receive(octets)
        return Known(True) if octets else Unknown("the client left")

    # --- the conversation ---------------------------------------------------------------------------------------

    async def _converse(self, peer: Peer) -> End | ClientNamed:
        """From the first command to the end, which is returned."""
        patience = Patience(self._limits, self._event_loop.time())
        while True:
            conversation = self._conversation
            if self._draining:
                self._close_if_idle()
            event = conversation.next_event()
            if conversation.said and event.__class__ not in _BATCHED:
                sent = self._write(conversation.replies())
                if not sent or (self._wire.congested and not await self._flushed()):
                    return End.LOST
            if event is None:
                began = self._event_loop.time()
                await self._more(patience, began)
                self._heard(patience, began)
            elif isinstance(event, Question):
                await self._teller.ask(event)
            elif isinstance(event, _TOLD):
                await self._teller.tell(event)
            elif (end := await self._ended(event, peer)) is not None:
                return end

    async def _ended(self, last: Closed | TlsAsked | ClientNamed, peer: Peer) -> End | ClientNamed | None:
        """What comes of the ``last`` event of a conversation; None: it goes on in TLS."""
        if isinstance(last, Closed):
            return last.end
        if isinstance(last, ClientNamed):
            return last
        return None if await self._secure(peer) else End.TLS

    def _close_if_idle(self) -> None:
        conversation = self._conversation
        if not conversation.in_transaction and conversation.state is not State.CLOSED:
            conversation.close(reply("shutting_down"), End.SHUTDOWN)

    def _more(self, patience: Patience, began: float) -> Awaitable[None]:
        """Done when there is more of the client's to look at, or its time is over: :meth:`_heard` finds out which."""
        wire, conversation = self._wire, self._conversation
        if conversation.in_content:
            return wire.arrival(patience.content_deadline(conversation.transactions, began))
        deadline = patience.command_deadline(conversation.commands, began)
        arrived = wire.arrival(deadline)
        return _give_way(wire, deadline - began) if arrived.done() else arrived

    def _heard(self, patience: Patience, began: float) -> None:
        """Hand on to the conversation what came since ``began``, that no more will, or that it came too late."""
        conversation, in_content = self._conversation, patience.content_began is not None
        try:
            octets = self._wire.take(READ_SIZE if in_content else PIPELINED)
        except TimeoutError:
            if not self._draining or conversation.in_transaction:
                conversation.close(reply("timeout"), End.TIMEOUT)
            return
        except OSError:
            octets = b""
        if in_content:
            patience.content_came(len(octets), self._event_loop.time() - began)
        if octets:
            conversation.receive(octets)
        else:
            self._gone.set()
            conversation.receive_eof()

    # --- TLS ----------------------------------------------------------------------------------------------------

    async def _secure(self, peer: Peer) -> bool:
        """The handshake behind our reply to STARTTLS; whether the connection is in TLS now."""
        began = self._event_loop.time()
        try:
            secured = await self._handshake()
        except (TlsFailed, TimeoutError) as error:
            too_slow = isinstance(error, TimeoutError)
            metrics.TLS_HANDSHAKES.labels("timeout" if too_slow else "failed", "none").inc()
            why = "too slow, or we drain" if too_slow else str(error)
            logger.info("tls handshake failed", ref=self._reference, client=self._client, error=why)
            return False
        metrics.TLS_HANDSHAKES.labels("ok", secured.facts.version).inc()
        metrics.TLS_SECONDS.observe(self._event_loop.time() - began)
        self._wire, self._tls = secured.wire, secured.facts
        self._conversation = self._conversation.in_tls()
        self._conversation.hop = self._hop(peer)
        self._teller = Teller(self._teller.story, self._conversation, self._listener.recorder, self._client)
        await self._teller.secured(secured.facts)
        return True

    async def _handshake(self) -> Secured:
        """A wire in TLS.

        Raises:
            TlsFailed: the client is gone, or takes nothing that we have.
            TimeoutError: it took too long, or a drain began.
        """
        identity, limits = self._listener.identity, self._limits
        if identity is None or self.ended:
            raise TlsFailed("the client sends no more")
        self.unwatched()
        self._handshaking = True
        try:
            async with asyncio.timeout(limits.tls_handshake_timeout) as self._handshake_bound:
                secured = await secure(
                    self.transport,
                    identity.context,
                    self._deadlines,
                    self._gone.set,
                    handshake=2 * limits.tls_handshake_timeout,  # the bound that counts is the one above
                    shutdown=limits.close_timeout,
                )
        finally:
            self._handshake_bound = None
        self._handshaking = False
        return secured

    # --- refusals that no story gives ---------------------------------------------------------------------------

    @property
    def _reference(self) -> str:
        """The id under which the log holds what happens now."""
        if self._story is not None:
            return self._story.reference
        self._before_story = self._before_story or new_reference()
        return self._before_story

    def _explained(self, answer: Reply) -> Reply:
        """Our own ``answer`` to be sent: a refusal is logged, and ends in the reference that it is logged under."""
        if answer.positive:
            return answer
        self._refusals += 1
        # 452 to each recipient too many is no error that would ever end the connection: the log is bounded here.
        if self._refusals <= self._limits.max_errors or answer.closes:
            told = self._listener.recorder.refused("command refused", self._reference, self._client, answer)
            if not told:
                return answer
        return answer.with_reference(self._reference)

    # --- octets -------------------------------------------------------------------------------------------------

    async def _send_first(self, answer: Reply, *, own: bool = False) -> bool:
        """Send what is said before any command; False where the client is gone, or does not read it in time."""
        return self._write([(answer, "connect", own)]) and (not self._wire.congested or await self._flushed())

    def _write(self, all_said: Sequence[Said]) -> bool:
        """Give replies to the kernel, our own explained; False where nobody would get them."""
        transport, octets = self._wire.transport, b""
        # No plain text in the middle of a handshake; and of a closed transport uvloop raises what asyncio passes over.
        gone = self._handshaking or transport.is_closing()
        for answer, stage, own in all_said:
            if own:
                answer = self._explained(answer)
            if not gone:
                _replies(answer.code // 100, stage)[0] += 1
                octets += answer.encode()
        if not gone:
            transport.write(octets)
        return not gone

    async def _flushed(self) -> bool:
        """Wait until the kernel has taken what was written; False where the client does not read it in time."""
        try:
            await self._wire.flushed(self._event_loop.time() + self._limits.command_timeout)
        except OSError:  # a timeout among them
            self._gone.set()
            return False
        return True

    async def _hang_up(self, *, linger: bool) -> None:
        """Close; ``linger``: read the client's last octets first, else the kernel's reset may overtake our reply.

        TLS has no half-close in asyncio: there ``close_notify`` is said, and the client's awaited.
        """
        if self._handshaking:  # it failed: nobody would ever tell our wire that it is closed
            self._cut()
            return
        wire, bound = self._wire, self._event_loop.time() + self._limits.close_timeout
        try:
            if linger and not self._gone.is_set() and wire.transport.can_write_eof():
                wire.transport.write_eof()
                await self._read_the_rest(bound)
            await wire.closed(bound)
        except OSError:  # a timeout among them
            self._cut()
        except asyncio.CancelledError:
            self._cut()
            raise

    async def _read_the_rest(self, bound: float) -> None:
        """What a client that does not know yet has under way; one that goes on and on is cut."""
        read = 0
        while read < MAX_LINGER and (octets := await self._wire.read(bound)):
            read += len(octets)
        if read >= MAX_LINGER:
            self._cut()


def equipped(hostname: str) -> type[Connection]:
    """:class:`Connection` with the attributes that aiosmtpd's constructor gives each object; these are all the same.

    Without the commands and AUTH methods that it would offer. As the class's own they take 1 KB of a connection less.
    """
    loop = asyncio.get_running_loop()
    made = SMTP(None, hostname=hostname, ident="mailguard", loop=loop)
    anew = {*Wire.__slots__, *Connection.__slots__}
    of_all = {
        name: staticmethod(value) if isinstance(value, FunctionType) else value
        for name, value in vars(made).items()
        if name not in anew
    }
    of_all.update(_smtp_methods={}, _auth_methods={}, _handle_hooks={})
    return type("EquippedConnection", (Connection,), {"__slots__": (), **of_all})


async def _give_way(wire: Wire, left: float) -> None:
    """A client that pipelines without end has the next commands here already: the others' turn, and the end of its own.

    ``left``: of its time, in seconds.
    """
    if left <= 0:
        wire.expire()
    await asyncio.sleep(0)


@cache
def _replies(class_: int, stage: str) -> Cells:
    """The number of these replies; looking it up by its labels is half the cost of counting."""
    return metrics.REPLIES.labels(str(class_), stage).cells
