"""The client's side of an SMTP conversation with a backend: answers in, commands out; pure (RFC 5321 3, 4.3.2).

Who drives it (``relay.backend``, or a test) sends what :meth:`Conversation.octets` gives, hands over what comes by
:meth:`Conversation.receive`, and takes :meth:`Conversation.next_answer` until there is none. The beginning runs by
itself, until :attr:`Conversation.open`:

    =========  ==========================================  =======================================================
    command    its answer                                  what follows
    =========  ==========================================  =======================================================
    greeting   220                                         EHLO
    EHLO       250; TLS is wanted, and offered             STARTTLS
    EHLO       250; XCLIENT is to name the client          XCLIENT, one line or more
    EHLO       250                                         open
    STARTTLS   220                                         :attr:`~Conversation.handshake_due`; EHLO after it, what
                                                           was offered before is forgotten (RFC 3207 4.2)
    STARTTLS   refused, and TLS is opportunistic           as if it were not offered
    XCLIENT    220                                         EHLO, under the client's name
    =========  ==========================================  =======================================================

Then commands are queued, and go out together where the backend offers PIPELINING (RFC 2920), else one after another.
Content goes by BDAT where CHUNKING is offered (RFC 3030): one ``BDAT n LAST``, nothing stuffed, so that nothing in it
can be taken for an end of data. Else by DATA. Either way the last piece is held back until
:meth:`Conversation.end`, and goes with the end of data: before that the backend cannot have taken the message.

Everything that is neither the answer that is due nor a refusal is :class:`~mailguard.relay.answers.BackendFailed`,
after which the conversation is good for nothing: a 421, a code out of place, no reply at all, words unasked, a 250
before the end of the content, octets behind the answer to STARTTLS (a reply that somebody put in before TLS began).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final, Literal, TypeAlias

from mailguard.commands import MailFrom, RcptTo
from mailguard.relay.answers import OK, Answer, BackendFailed, Replies
from mailguard.relay.identity import Introduction
from mailguard.relay.offer import Offer
from mailguard.relay.stuffing import END, Stuffer
from mailguard.relay.xclient import commands

Command: TypeAlias = Literal[
    "connect", "helo", "starttls", "xclient", "rset", "mail", "rcpt", "data", "content", "quit"
]
"""What an answer belongs to: the label ``command`` of ``metrics.BACKEND_REPLIES``."""
Tls: TypeAlias = Literal["none", "opportunistic", "required"]

_WANTED: Final[Mapping[Command, frozenset[int]]] = {
    "connect": frozenset((220,)),
    "helo": frozenset((250,)),
    "starttls": frozenset((220,)),
    "xclient": frozenset((220,)),
    "rset": frozenset((250,)),
    "mail": OK,
    "rcpt": OK,
    "data": frozenset((354,)),
    "content": OK,
    "quit": frozenset((221,)),
}
_MAY_REFUSE: Final[frozenset[Command]] = frozenset(("starttls", "mail", "rcpt", "data", "content"))
"""Where a refusal is an answer like another; anywhere else it is the end."""


class Conversation(Replies):
    """One conversation, from the first octet of the connection on: what comes in are replies, each to a command.

    Args:
        introduction: who we are, and who our client is.
        tls: whether to ask for TLS; ``required``: there is no conversation without it.
        ignored: EHLO keywords, in upper case, that count as not offered.

    Attributes:
        offer: what the backend offers, as of its last EHLO.
        open: the beginning is over, MAIL may come.
        handshake_due: TLS must begin now; then :meth:`secured`.
    """

    def __init__(self, introduction: Introduction, tls: Tls = "none", ignored: Collection[str] = ()) -> None:
        super().__init__()
        self.offer = Offer()
        self.open = False
        self.handshake_due = False
        self._introduction = introduction
        self._tls: Tls = tls
        self._ignored = ignored
        self._hello = introduction.ehlo
        self._naming: deque[bytes] | None = None if introduction.client else deque()
        self._unsent = introduction.header
        self._queue: deque[tuple[Command, bytes]] = deque()
        """What may not be sent yet; empty while no answer is awaited."""
        self._expected: deque[Command] = deque(("connect",))
        self._body: _Dotted | _Counted | None = None
        self._in_transaction = False

    # -- for the one who drives it

    @property
    def expects(self) -> Command | None:
        """What the next answer will belong to, once all that may be is sent."""
        return self._expected[0] if self._expected else None

    @property
    def in_content(self) -> bool:
        """Whether the content has begun and not ended: the connection can only be cut."""
        return self._body is not None

    def idle(self) -> bool:
        """Whether all was answered, so that another transaction may follow."""
        return self.open and not (self._expected or self._queue or self._body or self.pending)

    def octets(self) -> bytes:
        """What may be sent now; to be sent before an answer is waited for."""
        octets, self._unsent = self._unsent, b""
        return octets

    def next_answer(self) -> Answer | None:
        """The next answer, to the command that :attr:`expects` named; None while it is not whole.

        Raises:
            BackendFailed: the conversation is over.
        """
        if (answer := self.next_reply()) is None:
            return None
        if (follow := _FOLLOWS.get(self._judged(answer))) is not None:
            follow(self, answer)
        if self._queue and not self._expected:
            self._send(*self._queue.popleft())
        return answer

    def secured(self) -> None:
        """The TLS handshake has succeeded: all is said again."""
        self.handshake_due = False
        self._tls = "none"
        self._say_hello()

    # -- a transaction

    def mail(self, mail: MailFrom, recipients: Collection[RcptTo]) -> bool:
        """Queue MAIL and RCPT for each of ``recipients``, behind RSET where a transaction was left unfinished.

        Returns:
            Whether there is a RSET.

        Raises:
            BackendFailed: the backend lacks an extension that the message needs; nothing is queued.
        """
        line = self.offer.fit(mail).encode()
        for recipient in recipients:
            self.offer.take(recipient)
        unfinished = self._in_transaction
        if unfinished:
            self._say("rset", b"RSET")
        self._say("mail", line)
        for recipient in recipients:
            self._say("rcpt", recipient.encode())
        self._in_transaction = True
        return unfinished

    def rcpt(self, recipient: RcptTo) -> None:
        """Queue one more RCPT; raises as :meth:`mail`."""
        self.offer.take(recipient)
        self._say("rcpt", recipient.encode())

    def begin_content(self, size: int) -> bool:
        """``size`` octets of content are to come, at once where BDAT carries them, else once DATA was taken.

        Returns:
            Whether DATA has to be answered first.
        """
        if self.offer.chunking:
            self._body = _Counted(size)
            return False
        self._say("data", b"DATA")
        return True

    def content(self, piece: bytes) -> bytes:
        """What may be sent when ``piece`` is the next one: what came before it.

        Raises:
            RuntimeError: no content may come now.
        """
        return self._out(self._begun().feed(piece))

    def end(self) -> bytes:
        """The last octets of the content and the end of data; from here on the backend may take the message.

        Raises:
            RuntimeError: no content may come now.
            ValueError: the content is not of the size that was announced.
        """
        last = self._begun().end()
        self._body = None
        return self._out(last)

    def quit(self) -> bytes:
        """QUIT, whose answer concerns nobody; nothing where the connection can only be cut."""
        if self.in_content:
            return b""
        self._expected.append("quit")
        return b"QUIT\r\n"

    def _say(self, command: Command, line: bytes) -> None:
        """Send ``line`` as soon as it may go: behind PIPELINING at once, else when all before it is answered."""
        if self._expected and not (self.open and self.offer.pipelining):
            self._queue.append((command, line))
        else:
            self._send(command, line)

    def _send(self, command: Command, line: bytes) -> None:
        self._expected.append(command)
        self._unsent += line + b"\r\n"

    def _out(self, octets: bytes) -> bytes:
        if octets and not self._expected:  # BDAT is among them
            self._expected.append("content")
        return octets

    def _begun(self) -> _Dotted | _Counted:
        if self._body is None:
            raise RuntimeError("no content may come now")
        return self._body

    # -- answers

    def _judged(self, answer: Answer) -> Command:
        """The command that ``answer`` belongs to, if it may answer that."""
        if not self._expected:
            raise BackendFailed(f"unasked: {answer}", code=answer.code)
        command = self._expected.popleft()
        if answer.code in _WANTED[command] and not (command == "content" and self._body is not None):
            return command
        if answer.code == 421:
            raise BackendFailed(f"{command}: {answer}", "closing", answer.code)
        if not answer.refused or command not in _MAY_REFUSE:
            raise BackendFailed(f"{command}: out of place: {answer}", code=answer.code)
        return command

    def _say_hello(self) -> None:
        self._say("helo", b"EHLO " + self._hello.encode("ascii"))

    def _greeted(self, _answer: Answer) -> None:
        self._say_hello()

    def _helo_answered(self, answer: Answer) -> None:
        self.offer = Offer.parse(answer.lines, self._ignored)
        if self._tls != "none" and self.offer.starttls:
            self._say("starttls", b"STARTTLS")
        elif self._tls == "required":
            raise BackendFailed("offers no STARTTLS, which is required", "tls")
        else:
            self._go_on_without_tls()

    def _starttls_answered(self, answer: Answer) -> None:
        if answer.code == 220:
            if self.pending:
                raise BackendFailed("octets behind the answer to STARTTLS, before TLS began", "tls")
            self.handshake_due = True
        elif self._tls == "required":
            raise BackendFailed(f"starttls: {answer}", "tls", answer.code)
        else:
            self._go_on_without_tls()

    def _go_on_without_tls(self) -> None:
        self._tls = "none"
        self._name_client()

    def _name_client(self) -> None:
        """The next line of XCLIENT; or open, where none is due."""
        client = self._introduction.client
        if self._naming is None and client is not None:
            self._naming = deque(commands(client, self.offer.xclient))
            self._hello = client.ehlo
        if self._naming:
            self._say("xclient", self._naming.popleft())
        else:
            self.open = True

    def _xclient_answered(self, _answer: Answer) -> None:
        if self._naming:
            self._name_client()
        else:
            self._say_hello()

    def _mail_answered(self, answer: Answer) -> None:
        if not answer.taken:
            self._in_transaction = False
            self._queue.clear()

    def _data_answered(self, answer: Answer) -> None:
        if answer.code == 354:
            self._body = _Dotted()
            self._expected.append("content")

    def _content_answered(self, _answer: Answer) -> None:
        self._in_transaction = False


_FOLLOWS: Final[Mapping[Command, Callable[[Conversation, Answer], None]]] = {
    "connect": Conversation._greeted,
    "helo": Conversation._helo_answered,
    "starttls": Conversation._starttls_answered,
    "xclient": Conversation._xclient_answered,
    "mail": Conversation._mail_answered,
    "data": Conversation._data_answered,
    "content": Conversation._content_answered,
}


class _Dotted(Stuffer):
    """Content for DATA: stuffed, then the final dot."""

    _held = b""

    def feed(self, piece: bytes) -> bytes:
        held, self._held = self._held, self.stuffed(piece)
        return held

    def end(self) -> bytes:
        return self._held + self.line_end() + END


class _Counted:
    """Content for one ``BDAT size LAST``: as it is."""

    def __init__(self, size: int) -> None:
        self._held = b"BDAT %d LAST\r\n" % size
        self._left = size
        self._begun = False

    def feed(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._begun:
            held, self._held = self._held, piece
            return held
        self._begun = True
        self._held += piece
        return b""

    def end(self) -> bytes:
        if self._left:
            raise ValueError(f"the content is not of the size announced, by {-self._left} octets")
        return self._held
