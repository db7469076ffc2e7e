"""The server's side of an SMTP conversation (RFC 5321): octets in, events out, replies in order; pure.

Who drives it (``smtp.server``, or a test) feeds :meth:`Conversation.receive`, takes :meth:`Conversation.next_event`
until there is none, gives each :data:`~mailguard.smtp.events.Question` its :meth:`Conversation.answer`, and sends
:meth:`Conversation.replies`. What follows a question is not looked at before its answer, so that replies come in the
order of the commands, however many the client pipelined (RFC 2920), and events are the same however the input is cut.

The order of commands is a table, ``smtp.states``; what is not in it is illegal and gets 503 5.5.1. Syntax, order and
bounds are judged here and answered here; whether a valid command is taken is for the story.

Two counts end a conversation with 421: errors (a command that is unknown, malformed, or out of order; not a refusal by
the story), and commands without mail (all but RCPTs that were taken, since the last message that arrived whole).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mailguard.commands import Extensions
from mailguard.config import Limits
from mailguard.replies import Reply, reply
from mailguard.smtp import grammar
from mailguard.smtp.dotreader import DotReader
from mailguard.smtp.events import (
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
    TransactionDropped,
)
from mailguard.smtp.lines import CommandLines, Fault
from mailguard.smtp.states import AFTER_REFUSAL, NOT_OFFERED, OUT_OF_ORDER, TABLE, State, Verb

_STAGES: Final[Mapping[Verb, str]] = {
    Verb.EHLO: "helo",
    Verb.HELO: "helo",
    Verb.MAIL: "mail",
    Verb.RCPT: "rcpt",
    Verb.DATA: "data",
    Verb.END: "content",
}

MAX_SKIPPED: Final = 65536
"""Octets of one faulty command line; a client that sends more without a line end is cut off."""


@dataclass(frozen=True, slots=True)
class Said:
    """One reply to send: ``stage`` as in ``metrics.REPLIES``; ``own``: the conversation gave it, not the story."""

    reply: Reply
    stage: str
    own: bool


class Conversation:
    """One conversation, from after the greeting to its end.

    Attributes:
        state: see :class:`State`.
        commands: command lines so far.
        errors: those that were unknown, malformed, or out of order.
    """

    def __init__(self, limits: Limits, hostname: str) -> None:
        self._limits = limits
        self._hostname = hostname
        self._lines = CommandLines(limits.max_command_line)
        self._reader = DotReader(limits.max_data_line)
        self._offered = Extensions()
        self._events: deque[Event] = deque()
        self._said: list[Said] = []
        self._asked: tuple[Verb, Question] | None = None
        self._smtputf8 = False
        self._recipients = 0
        self._without_mail = 0
        self._draining = False
        self.state = State.START
        self.commands = 0
        self.errors = 0

    # --- for the one who drives it ------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether a MAIL was taken whose transaction is not over."""
        return self.state in (State.SENDER, State.REFUSED, State.RECIPIENTS, State.CONTENT)

    @property
    def in_content(self) -> bool:
        """Whether what comes next is content."""
        return self.state is State.CONTENT

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
        while not self._events:
            if self._asked is not None:
                raise RuntimeError("the last question has no answer yet")
            if not self._step():
                return None
        return self._events.popleft()

    def answer(self, answer: Reply, offered: Extensions | None = None) -> None:
        """The story's reply to the last question; a 421 closes. ``offered``: the extensions, with a 250 to EHLO.

        Raises:
            RuntimeError: nothing was asked.
        """
        if self._asked is None:
            raise RuntimeError("nothing was asked")
        (verb, question), self._asked = self._asked, None
        if isinstance(question, HeloGiven) and answer.positive:
            self._offered = offered if offered is not None and question.extended else Extensions()
            answer = self._with_keywords(answer) if question.extended else answer
        self._said.append(Said(answer, _STAGES[verb], own=False))
        if answer.closes:
            self._close(End.REFUSED)
        elif answer.positive:
            self._taken(verb, question)
        else:
            self._refused(verb)

    def close(self, last: Reply, end: End) -> None:
        """End the conversation with the reply ``last``, whatever is in progress."""
        self._asked = None
        self._say(last)
        self._close(end)

    def replies(self) -> list[Said]:
        """The replies to send since the last call, in order."""
        said, self._said = self._said, []
        return said

    # --- the machine --------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Look at what is here next; whether there was anything."""
        if self.state is State.CLOSED:
            return False
        if self.state is State.CONTENT:
            return self._content(self._lines.take_all())
        line = self._lines.next()
        if line is None:
            return self._endless_line()
        self.commands += 1
        if isinstance(line, Fault):
            self._error(reply(line.value))
        else:
            self._command(*grammar.split_command(line))
        return True

    def _command(self, word: str, argument: bytes) -> None:
        verb = Verb(word) if word in _COMMANDS else None
        self._without_mail += verb is not Verb.RCPT
        if self._without_mail > self._limits.max_commands_without_mail and verb is not Verb.QUIT:
            self.close(reply("too_many_commands"), End.ERRORS)
        elif verb is None:
            self._error(reply("not_implemented" if word in NOT_OFFERED else "unknown_command"))
        elif verb not in TABLE[self.state]:
            self._out_of_order(verb)
        else:
            self._legal(verb, argument)

    def _out_of_order(self, verb: Verb) -> None:
        # RFC 2920 3.1: the DATA of a pipelined group whose recipients were all refused is no mistake of the client.
        if verb is Verb.DATA and self.state is State.REFUSED:
            self._say(reply("no_recipients"), verb)
        else:
            self._error(OUT_OF_ORDER[self.state], verb)

    def _legal(self, verb: Verb, argument: bytes) -> None:
        try:
            _COMMANDS[verb](self, argument)
        except grammar.Refused as refused:
            self._refused(verb)
            self._error(refused.reply, verb)

    def _taken(self, verb: Verb, question: Question) -> None:
        """The story took ``question``: what changes besides the state."""
        if verb in (Verb.EHLO, Verb.HELO) and self.in_transaction:
            self._events.append(TransactionDropped())
        elif isinstance(question, MailGiven):
            self._smtputf8 = question.command.parameter("SMTPUTF8") is not None
            self._recipients = 0
        elif verb is Verb.RCPT:
            self._recipients += 1
        elif verb is Verb.DATA:
            self._reader = DotReader(self._limits.max_data_line)
            self._draining = False
        self.state = TABLE[self.state][verb]

    def _refused(self, verb: Verb) -> None:
        self._without_mail += verb is Verb.RCPT
        self.state = AFTER_REFUSAL.get((self.state, verb), self.state)

    def _say(self, what: Reply, verb: Verb | None = None) -> None:
        self._said.append(Said(what, _STAGES.get(verb, "other") if verb else "other", own=True))

    def _error(self, what: Reply, verb: Verb | None = None) -> None:
        """Say ``what``, an error of the client; or, when there were too many, that there were."""
        self.errors += 1
        if self.errors > self._limits.max_errors:
            self.close(reply("too_many_errors"), End.ERRORS)
        else:
            self._say(what, verb)

    def _ask(self, verb: Verb, question: Question) -> None:
        self._asked = verb, question
        self._events.append(question)

    def _close(self, end: End) -> None:
        self.state = State.CLOSED
        self._events.clear()
        self._events.append(Closed(end))

    def _endless_line(self) -> bool:
        if self._lines.skipped <= MAX_SKIPPED:
            return False
        self.close(reply("too_many_errors"), End.ERRORS)
        return True

    # --- commands -----------------------------------------------------------------------------------------------

    def _ehlo(self, argument: bytes) -> None:
        self._ask(Verb.EHLO, HeloGiven(grammar.helo_name(argument, Verb.EHLO), extended=True))

    def _helo(self, argument: bytes) -> None:
        self._ask(Verb.HELO, HeloGiven(grammar.helo_name(argument, Verb.HELO), extended=False))

    def _with_keywords(self, answer: Reply) -> Reply:
        """The 250 to EHLO with what is offered (RFC 5321 4.1.1.1), hop-local extensions first."""
        offered = self._offered
        keywords = ["PIPELINING", "ENHANCEDSTATUSCODES"]
        keywords += [f"SIZE {offered.size}"] if offered.size else []
        keywords += ["8BITMIME"] if offered.eightbitmime else []
        keywords += ["SMTPUTF8"] if offered.smtputf8 else []
        return replace(answer, lines=(*answer.lines, *keywords))

    def _mail(self, argument: bytes) -> None:
        command = grammar.mail_from(argument, self._offered)
        declared = command.parameter("SIZE")
        if declared is not None and declared.value is not None and int(declared.value) > self._max_size:
            self._say(self._too_large(), Verb.MAIL)
        else:
            self._ask(Verb.MAIL, MailGiven(command))

    def _rcpt(self, argument: bytes) -> None:
        command = grammar.rcpt_to(argument, self._offered, smtputf8=self._smtputf8)
        if self._recipients >= self._limits.max_recipients:
            self._say(reply("too_many_recipients"), Verb.RCPT)
        else:
            self._ask(Verb.RCPT, RcptGiven(command))

    def _data(self, argument: bytes) -> None:
        grammar.no_argument(argument, Verb.DATA)
        self._ask(Verb.DATA, DataAsked())

    def _rset(self, argument: bytes) -> None:
        grammar.no_argument(argument, Verb.RSET)
        self._say(reply("reset"))
        if self.in_transaction:
            self._events.append(TransactionDropped())
        self.state = TABLE[self.state][Verb.RSET]

    def _noop(self, _argument: bytes) -> None:
        self._say(reply("noop"))

    def _vrfy(self, argument: bytes) -> None:
        grammar.an_argument(argument, Verb.VRFY, "address")
        self._say(reply("vrfy"))

    def _expn(self, _argument: bytes) -> None:
        self._say(reply("expn"))

    def _help(self, _argument: bytes) -> None:
        self._say(reply("help"))

    def _quit(self, argument: bytes) -> None:
        grammar.no_argument(argument, Verb.QUIT)
        self.close(reply("bye", hostname=self._hostname), End.QUIT)

    # --- content ------------------------------------------------------------------------------------------------

    @property
    def _max_size(self) -> int:
        """Octets of a message: the least of what we and the backends take."""
        return min(self._offered.size or self._limits.max_message_size, self._limits.max_message_size)

    def _too_large(self) -> Reply:
        return reply("too_large", limit=self._max_size)

    def _content(self, octets: bytes) -> bool:
        if not octets:
            return False
        chunk = self._reader.feed(octets)
        refusal = self._content_refusal()
        if self._reader.size > 2 * self._max_size:  # draining is bounded too
            self._say(self._too_large(), Verb.END)
            self._close(End.ERRORS)
            return True
        if refusal is None and chunk:
            self._events.append(Content(chunk))
        elif refusal is not None and not self._draining:
            self._draining = True
            self._events.append(TransactionDropped())
        if self._reader.ended:
            self._end_of_data(refusal)
        return True

    def _content_refusal(self) -> Reply | None:
        """What is wrong with the content so far; one order of precedence, however it was cut into packets."""
        if self._reader.size > self._max_size:
            return self._too_large()
        if self._reader.line_too_long:
            return reply("content_line_too_long", limit=self._limits.max_data_line)
        return None

    def _end_of_data(self, refusal: Reply | None) -> None:
        """The message is whole: ask, or refuse it now that it is drained; what follows it are commands."""
        self._lines.receive(self._reader.rest)
        self._without_mail = 0
        if refusal is None:
            self._ask(Verb.END, EndOfData(self._reader.size, self._reader.bare_line_ends))
        else:
            self._say(refusal, Verb.END)
            self._refused(Verb.END)


_COMMANDS: Final[Mapping[Verb, Callable[[Conversation, bytes], None]]] = {
    Verb.EHLO: Conversation._ehlo,
    Verb.HELO: Conversation._helo,
    Verb.MAIL: Conversation._mail,
    Verb.RCPT: Conversation._rcpt,
    Verb.DATA: Conversation._data,
    Verb.RSET: Conversation._rset,
    Verb.NOOP: Conversation._noop,
    Verb.VRFY: Conversation._vrfy,
    Verb.EXPN: Conversation._expn,
    Verb.HELP: Conversation._help,
    Verb.QUIT: Conversation._quit,
}
"""What to do with the argument of each command, where it is legal."""
