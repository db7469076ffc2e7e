"""The server's side of an SMTP conversation (RFC 5321): octets in, events out, replies in order; pure.

Who drives it (``smtp.server``, or a test) feeds :meth:`Conversation.receive`, takes :meth:`Conversation.next_event`
until there is none, gives each :data:`~mailguard.smtp.events.Question` its :meth:`Conversation.answer`, and sends
:meth:`Conversation.replies`. What follows a question is not looked at before its answer, so that replies come in the
order of the commands, however many the client pipelined (RFC 2920), and events are the same however the input is cut.

The order of commands is a table, ``smtp.states``; what is not in it is illegal and gets 503 5.5.1. Syntax, order and
bounds are judged here and answered here; whether a valid command is taken is for the story.

Two counts end a conversation with 421: errors (a command that is unknown, malformed, or out of order; not a refusal by
the story), and commands without mail (all but RCPTs that were taken, since the last message that arrived whole).

The octets of a BDAT follow it at once (RFC 3030 2), so they are read before it is answered, whatever the answer is; no
state changes before. What is wrong with a chunk is wrong with its whole transaction, and each chunk that the client had
under way already is told the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from mailguard.commands import Extensions
from mailguard.config import Limits
from mailguard.replies import Reply, named, reply
from mailguard.smtp import grammar
from mailguard.smtp.chunkreader import ChunkReader
from mailguard.smtp.content import ContentReader
from mailguard.smtp.dotreader import DotReader
from mailguard.smtp.events import (
    ClientNamed,
    Closed,
    Content,
    DataAsked,
    End,
    EndOfData,
    Event,
    HeloGiven,
    MailGiven,
    Question,
    RcptGiven,
    TlsAsked,
    TransactionDropped,
)
from mailguard.smtp.keywords import Hop, with_keywords
from mailguard.smtp.lines import CommandLines, Fault
from mailguard.smtp.states import AFTER_REFUSAL, NOT_OFFERED, OUT_OF_ORDER, TABLE, State, Verb
from mailguard.smtp.xclient import read_xclient

_STAGES: Final[Mapping[Verb | None, str]] = {
    Verb.EHLO: "helo",
    Verb.HELO: "helo",
    Verb.MAIL: "mail",
    Verb.RCPT: "rcpt",
    Verb.DATA: "data",
    Verb.BDAT: "data",
    Verb.END: "content",
}

_VERBS: Final[Mapping[str, Verb]] = {verb.value: verb for verb in Verb if verb is not Verb.END}
_NOTHING: Final = Extensions()
_ORDINARY: Final = Hop()
_OF_THE_HOP: Final = frozenset({Verb.STARTTLS, Verb.XCLIENT})
"""Commands that not every client is offered."""
_OF_MAIL: Final = frozenset({Verb.RCPT, Verb.BDAT})
"""Commands that are counted as without mail where they are refused only, or come to little."""
# CPython 3.11 calls a function for each look into an enum; these are for every session.
_START, _CONTENT, _CLOSED = State.START, State.CONTENT, State.CLOSED
_EHLO, _RCPT, _QUIT = Verb.EHLO, Verb.RCPT, Verb.QUIT
_IN_TRANSACTION: Final = (State.SENDER, State.REFUSED, State.RECIPIENTS, State.CONTENT, State.CHUNKS)

MAX_SKIPPED: Final = 65536
"""Octets of one faulty command line; a client that sends more without a line end is cut off."""
_DRAINED: Final = 2
"""So many times the size that a message may have is read and thrown away at the most, to stay in step with a client."""
SMALL_CHUNK: Final = 512
"""A chunk of fewer octets, unless it is the last, counts as a command without mail: it costs us about as much."""


Said: TypeAlias = tuple[Reply, str, bool]
"""One reply to send, its stage as in ``metrics.REPLIES``, and whether the conversation gave it, not the story."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a command is not carried out; ``mistake``: it counts as an error of the client."""

    said: Said
    mistake: bool = False


@dataclass(slots=True)
class _Chunk:
    """The chunk that is read now: octets in all and ``left``; ``refusal``: known before, for when they are here."""

    size: int
    last: bool
    left: int
    refusal: _Refusal | None = None


class Conversation:
    """One conversation, from after the greeting to its end.

    Attributes:
        state: see :class:`State`.
        commands: command lines so far.
        errors: those that were unknown, malformed, or out of order.
        transactions: well-formed MAIL commands in their place, taken or not (RFC 9422 4.1).
        hop: what is offered besides; set before the first octet.
        said: the replies to send, in order, until :meth:`replies` gives them.
    """

    def __init__(self, limits: Limits, hostname: str) -> None:
        self._limits = limits
        self._hostname = hostname
        self._lines = CommandLines(limits.max_command_line)
        self._dots: DotReader  # of the content behind DATA, made when that was taken
        self._chunks: ChunkReader  # of a transaction's chunks, made when the first was taken
        self._reader: ContentReader  # the one of them that reads now
        self._chunk: _Chunk | None = None
        self._failure: _Refusal | None = None
        self._chunked = 0
        self._offered = _NOTHING
        self._max_size = limits.max_message_size
        """Octets of a message: the least of what we and the backends take."""
        self._events: list[Event] = []
        self.said: list[Said] = []
        self._asked: tuple[Verb, Question] | None = None
        self._smtputf8 = False
        self._recipients = 0
        self._without_mail = 0
        self._draining = False
        self.state = _START
        self.commands = 0
        self.transactions = 0
        self.errors = 0
        self.hop = _ORDINARY

    # --- for the one who drives it ------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether a MAIL was taken whose transaction is not over."""
        return self.state in _IN_TRANSACTION

    @property
    def in_content(self) -> bool:
        """Whether what comes next is content."""
        return self.state is _CONTENT or self._chunk is not None

    @property
    def command_waiting(self) -> bool:
        """Whether a command is here that was not looked at yet."""
        return self._lines.line_waiting

    def receive(self, octets: bytes) -> None:
        """What the client sent."""
        self._lines.receive(octets)

    def receive_eof(self) -> None:
        """The client will send no more, and all that it sent was looked at; an unfinished command is void."""
        self._close(End.LOST)

    def next_event(self) -> Event | None:
        """What the client did next, or None where more octets are needed.

        Raises:
            RuntimeError: the last question has no answer yet.
        """
        events = self._events
        while not events:
            if self._asked is not None:
                raise RuntimeError("the last question has no answer yet")
            if not self._step():
                return None
        return events.pop(0)

    def answer(self, answer: Reply, offered: Extensions | None = None) -> None:
        """The story's reply to the last question; a 421 closes. ``offered``: the extensions, with a 250 to EHLO.

        Raises:
            RuntimeError: nothing was asked.
        """
        if self._asked is None:
            raise RuntimeError("nothing was asked")
        (verb, question), self._asked = self._asked, None
        closes, positive, chunk = answer.closes, answer.positive, self._chunk
        if positive and isinstance(question, HeloGiven):
            answer = self._introduced(answer, question, offered)
        said = answer, _STAGES[verb], False
        if chunk is None or closes:  # a BDAT is answered when its octets are here
            self.said.append(said)
        if closes:
            self._close(End.REFUSED)
        elif positive:
            self._taken(verb, question)
        elif chunk is not None:
            self._refuse_chunk(chunk, _Refusal(said))
        else:
            self._refused(verb)

    def close(self, last: Reply, end: End) -> None:
        """End the conversation with the reply ``last``, whatever is in progress."""
        self._asked = None
        self.said.append(_own(last))
        self._end(Closed(end))

    def in_tls(self) -> Conversation:
        """The conversation behind the handshake: it knows nothing of what was said or sent before (RFC 3207 4.2).

        What was received behind STARTTLS, in plain text, stays behind: somebody on the way may have put it there.
        """
        after = Conversation(self._limits, self._hostname)
        after.commands, after.errors, after._without_mail = self.commands, self.errors, self._without_mail
        after.transactions = self.transactions
        return after

    def for_another_client(self) -> Conversation:
        """The conversation behind XCLIENT: a new one, which begins with what was pipelined behind the command."""
        after = Conversation(self._limits, self._hostname)
        after.receive(self._lines.take())
        return after

    def replies(self) -> list[Said]:
        """The replies to send since the last call, in order."""
        said, self.said = self.said, []
        return said

    # --- the machine --------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Look at what is here next; whether there was anything."""
        if self.state is _CONTENT:
            return self._content()
        if self.state is _CLOSED:
            return False
        if self._chunk is not None:
            return self._read_chunk(self._chunk)
        lines = self._lines
        line = None if lines.spent else lines.next()
        if line is None:
            return lines.skipped > MAX_SKIPPED and self._endless_line()
        self.commands += 1
        if isinstance(line, Fault):
            self._error(reply(line.value))
        else:
            self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        word, argument = grammar.split_command(line)
        verb = _VERBS.get(word)
        if verb in _OF_THE_HOP and not self._is_offered(verb):
            verb = None
        self._without_mail += verb not in _OF_MAIL
        if self._without_mail > self._limits.max_commands_without_mail and verb is not _QUIT:
            self.close(reply("too_many_commands"), End.ERRORS)
        elif verb is None:
            self._error(reply("not_implemented" if word in NOT_OFFERED else "unknown_command"))
        elif verb not in TABLE[self.state] and verb is not Verb.BDAT:
            self._tell(self._out_of_order(verb))
        else:
            try:
                _COMMANDS[verb](self, verb, argument)
            except grammar.Refused as refused:
                self._refused(verb)
                self._error(refused.reply, verb)

    def _is_offered(self, verb: Verb | None) -> bool:
        return self.hop.xclient if verb is Verb.XCLIENT else self.hop.starttls or self.hop.tls

    def _out_of_order(self, verb: Verb) -> _Refusal:
        # RFC 2920 3.1: the DATA of a pipelined group whose recipients were all refused is no mistake of the client.
        if self.state is State.REFUSED and verb in (Verb.DATA, Verb.BDAT):
            return _Refusal(_own(reply("no_recipients"), verb))
        return self._mistake(OUT_OF_ORDER[self.state], verb)

    def _taken(self, verb: Verb, question: Question) -> None:
        """The story took ``question``: what changes besides the state."""
        if isinstance(question, MailGiven):
            self._smtputf8 = question.command.parameter("SMTPUTF8") is not None
            self._recipients = self._chunked = 0
            self._draining = False
        elif isinstance(question, RcptGiven):
            self._recipients += 1
        elif isinstance(question, DataAsked):
            self._content_begins(verb)
        self.state = TABLE[self.state][verb]

    def _content_begins(self, verb: Verb) -> None:
        if verb is Verb.DATA:
            self._reader = self._dots = DotReader(self._limits.max_data_line)
        else:
            self._reader = self._chunks = ChunkReader(self._limits.max_data_line)

    def _introduced(self, answer: Reply, said: HeloGiven, offered: Extensions | None) -> Reply:
        """The 250 to what the client ``said``, with what is offered from now on; a transaction is over with it."""
        if self.in_transaction:
            self._events.append(TransactionDropped())
        limits, self._offered = self._limits, offered if offered and said.extended else _NOTHING
        self._max_size = min(self._offered.size or limits.max_message_size, limits.max_message_size)
        if not said.extended:
            return answer
        return with_keywords(answer, self._offered, limits.max_recipients, limits.max_messages, self.hop)

    def _refused(self, verb: Verb) -> None:
        self._without_mail += verb is _RCPT
        self.state = AFTER_REFUSAL.get((self.state, verb), self.state)

    def _say(self, what: Reply, verb: Verb | None = None) -> None:
        self.said.append(_own(what, verb))

    def _error(self, what: Reply, verb: Verb | None = None) -> None:
        self._tell(self._mistake(what, verb))

    def _mistake(self, what: Reply, verb: Verb | None = None) -> _Refusal:
        return _Refusal(_own(what, verb), mistake=True)

    def _tell(self, refusal: _Refusal) -> None:
        """Say why a command is not carried out; or, when it is one error too many, that there were too many."""
        self.errors += refusal.mistake
        if self.errors > self._limits.max_errors:
            self.close(reply("too_many_errors"), End.ERRORS)
        else:
            self.said.append(refusal.said)

    def _ask(self, verb: Verb, question: Question) -> None:
        self._asked = verb, question
        self._events.append(question)

    def _close(self, end: End) -> None:
        self._end(Closed(end))

    def _end(self, last: Closed | TlsAsked | ClientNamed) -> None:
        self.state = _CLOSED
        self._events.clear()
        self._events.append(last)

    def _endless_line(self) -> bool:
        self.close(reply("too_many_errors"), End.ERRORS)
        return True

    # --- commands -----------------------------------------------------------------------------------------------

    def _helo(self, verb: Verb, argument: bytes) -> None:
        self._ask(verb, HeloGiven(grammar.helo_name(argument, verb), verb is _EHLO))

    def _starttls(self, verb: Verb, argument: bytes) -> None:
        grammar.no_argument(argument, verb)
        if self.hop.tls:
            self._error(reply("tls_is_on"), verb)
            return
        self._say(reply("tls_go"))
        self._end(TlsAsked())

    def _xclient(self, _verb: Verb, argument: bytes) -> None:
        self._end(ClientNamed(read_xclient(argument)))

    def _mail(self, verb: Verb, argument: bytes) -> None:
        command = grammar.mail_from(argument, self._offered)
        declared = command.parameter("SIZE")
        self.transactions += 1
        if self.transactions > self._limits.max_messages:
            self.close(reply("too_many_messages"), End.REFUSED)
        elif declared is not None and declared.value is not None and int(declared.value) > self._max_size:
            self._say(self._too_large(), verb)
        else:
            self._ask(verb, MailGiven(command))

    def _rcpt(self, verb: Verb, argument: bytes) -> None:
        command = grammar.rcpt_to(argument, self._offered, smtputf8=self._smtputf8)
        if self._recipients >= self._limits.max_recipients:
            self._say(reply("too_many_recipients"), verb)
        else:
            self._ask(verb, RcptGiven(command))

    def _data(self, verb: Verb, argument: bytes) -> None:
        grammar.no_argument(argument, verb)
        self._ask(verb, DataAsked())

    def _bdat(self, verb: Verb, argument: bytes) -> None:
        """BDAT, in order or not: its octets are on their way."""
        try:
            size, marker = grammar.chunk_size(argument)
        except grammar.Refused as refused:
            # Where the chunk ends nobody knows: what the client sends as content must not be taken for commands.
            self.errors += 1
            self._say(refused.reply, verb)
            self._close(End.ERRORS)
            return
        self._chunk = chunk = _Chunk(size, marker.upper() == b"LAST", left=size)
        self._without_mail += size < SMALL_CHUNK and not chunk.last
        if refusal := self._chunk_refusal(marker):
            self._refuse_chunk(chunk, refusal)
        elif self.state is State.RECIPIENTS:
            self._ask(verb, DataAsked())

    def _chunk_refusal(self, marker: bytes) -> _Refusal | None:
        """What is wrong with a chunk whatever its octets are."""
        if self.state is State.FAILED:
            return self._failure
        if Verb.BDAT not in TABLE[self.state]:
            return self._out_of_order(Verb.BDAT)
        try:
            grammar.last_or_nothing(marker)
        except grammar.Refused as refused:
            return self._mistake(refused.reply, Verb.BDAT)
        return None

    def _rset(self, verb: Verb, argument: bytes) -> None:
        grammar.no_argument(argument, verb)
        self._say(reply("reset"))
        if self.in_transaction:
            self._events.append(TransactionDropped())
        self.state = TABLE[self.state][verb]

    def _noop(self, _verb: Verb, _argument: bytes) -> None:
        self._say(reply("noop"))

    def _vrfy(self, verb: Verb, argument: bytes) -> None:
        grammar.an_argument(argument, verb, "address")
        self._say(reply("vrfy"))

    def _expn(self, _verb: Verb, _argument: bytes) -> None:
        self._say(reply("expn"))

    def _help(self, _verb: Verb, _argument: bytes) -> None:
        self._say(reply("help"))

    def _quit(self, verb: Verb, argument: bytes) -> None:
        grammar.no_argument(argument, verb)
        self.close(named("bye", self._hostname), End.QUIT)

    # --- content ------------------------------------------------------------------------------------------------

    def _too_large(self) -> Reply:
        return reply("too_large", limit=self._max_size)

    def _content(self) -> bool:
        """Look at what is here of the content behind DATA."""
        dots = self._dots
        if self._cut_off(dots.size):
            return True
        octets = self._lines.take()
        if not octets:
            return False
        refusal = self._hand_on(dots.feed(octets))
        if dots.ended and dots.size <= _DRAINED * self._max_size:
            self._lines.receive(dots.rest)  # what follows the content are commands
            self._end_of_data(refusal)
        return True

    def _hand_on(self, content: bytes) -> Reply | None:
        """Give ``content`` to the story, while nothing is wrong with the message; what is."""
        refusal = self._content_refusal()
        if refusal is not None:
            self._drop()
        elif content:
            self._events.append(Content(content))
        return refusal

    def _drop(self) -> None:
        """Tell the story, once, that there will be no message; what comes of it is read and thrown away."""
        if not self._draining and self.in_transaction:
            self._draining = True
            self._events.append(TransactionDropped())

    def _cut_off(self, octets: int) -> bool:
        """Close if so many ``octets`` of content are too many even to throw away; whether they are."""
        if octets <= _DRAINED * self._max_size:
            return False
        self._say(self._too_large(), Verb.END)
        self._close(End.ERRORS)
        return True

    def _content_refusal(self) -> Reply | None:
        """What is wrong with the content so far; one order of precedence, however it was cut into packets."""
        if self._reader.size > self._max_size:
            return self._too_large()
        if self._reader.line_too_long:
            return reply("content_line_too_long", limit=self._limits.max_data_line)
        return None

    def _end_of_data(self, refusal: Reply | None) -> None:
        """The message is whole: ask, or refuse it now that it is drained."""
        self._without_mail = 0
        if refusal is None:
            self._ask(Verb.END, EndOfData(self._reader.size, self._reader.bare_line_ends))
        else:
            self._say(refusal, Verb.END)
            self._refused(Verb.END)

    # --- chunks -------------------------------------------------------------------------------------------------

    def _refuse_chunk(self, chunk: _Chunk, refusal: _Refusal) -> None:
        """``chunk`` will not be taken, nor any other of its transaction."""
        chunk.refusal = refusal
        self._drop()

    def _read_chunk(self, chunk: _Chunk) -> bool:
        """Look at what is here of ``chunk``."""
        if self._cut_off(self._chunked):
            return True
        if not chunk.left:
            self._chunk = None
            self._chunk_is_here(chunk)
            return True
        octets = self._lines.take(chunk.left)
        chunk.left -= len(octets)
        self._chunked += len(octets)
        if chunk.refusal is None:
            self._hand_on(self._chunks.feed(octets))
        return bool(octets)

    def _chunk_is_here(self, chunk: _Chunk) -> None:
        """All octets of ``chunk`` were read: now it is answered."""
        if chunk.refusal is None and chunk.last:
            self._hand_on(self._chunks.finish())
        if chunk.refusal is None and (wrong := self._content_refusal()) is not None:
            chunk.refusal = _Refusal(_own(wrong, Verb.END))
        if chunk.refusal is not None:
            self._fail(chunk.refusal, last=chunk.last)
        elif chunk.last:
            self._end_of_data(None)
        else:
            self._say(reply("chunk_ok", octets=chunk.size), Verb.BDAT)

    def _fail(self, refusal: _Refusal, *, last: bool) -> None:
        """Say ``refusal``, and again to each chunk that was under way already; the transaction is void."""
        self._failure = refusal
        self._refused(Verb.BDAT)
        if last:
            self._refused(Verb.END)
        self._tell(refusal)


def _own(what: Reply, verb: Verb | None = None) -> Said:
    """A reply that the conversation gives."""
    return what, _STAGES.get(verb, "other"), True


_COMMANDS: Final[Mapping[Verb, Callable[[Conversation, Verb, bytes], None]]] = {
    Verb.EHLO: Conversation._helo,
    Verb.HELO: Conversation._helo,
    Verb.STARTTLS: Conversation._starttls,
    Verb.XCLIENT: Conversation._xclient,
    Verb.MAIL: Conversation._mail,
    Verb.RCPT: Conversation._rcpt,
    Verb.DATA: Conversation._data,
    Verb.BDAT: Conversation._bdat,
    Verb.RSET: Conversation._rset,
    Verb.NOOP: Conversation._noop,
    Verb.VRFY: Conversation._vrfy,
    Verb.EXPN: Conversation._expn,
    Verb.HELP: Conversation._help,
    Verb.QUIT: Conversation._quit,
}
"""What to do with the argument of each command, where it is legal."""
