"""Drives a conversation without a network: octets in packets, a scripted story, the whole course of it as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from mailguard.commands import Extensions
from mailguard.config import Limits
from mailguard.replies import Reply, reply
from mailguard.smtp.conversation import Conversation
from mailguard.smtp.events import (
    Closed,
    Content,
    DataAsked,
    EndOfData,
    Event,
    HeloGiven,
    MailGiven,
    RcptGiven,
    TransactionDropped,
)

OFFERED = Extensions(size=70_000, eightbitmime=True, smtputf8=True, dsn=True)
Answerer = Callable[[Event], Reply]


def benign(event: Event) -> Reply:
    """A story that takes everything but recipients at ``elsewhere`` and senders at ``refused``."""
    match event:
        case HeloGiven():
            return reply("helo", hostname="mx")
        case MailGiven(command):
            return reply("policy_reject") if command.path.domain == b"refused" else reply("mail_ok")
        case RcptGiven(command):
            there = command.path.domain == b"elsewhere"
            return reply("not_our_domain", domain="elsewhere") if there else reply("rcpt_ok")
        case DataAsked():
            return reply("data_go")
    return reply("data_ok")


class Course:
    """What became of one conversation.

    Attributes:
        events: as text, contents joined (their cut is the network's), dropped contents left out.
        replies: as text; ``codes``: their codes.
    """

    def __init__(
        self,
        raw: bytes,
        cuts: Sequence[int] = (),
        answers: Answerer = benign,
        offered: Extensions = OFFERED,
        **limits: float,
    ) -> None:
        self.conversation = Conversation(Limits(**limits), "mx")
        self._answers, self._offered = answers, offered
        self._content = b""
        self.contents: list[bytes] = []
        self.events: list[str] = []
        self.replies: list[str] = []
        self.stages: list[str] = []
        for start, end in pairwise([0, *sorted(cuts), len(raw)]):
            self.send(raw[start:end])

    def send(self, octets: bytes) -> None:
        self.conversation.receive(octets)
        while (event := self.conversation.next_event()) is not None:
            self._happen(event)
            self._collect()
        self._collect()

    def _happen(self, event: Event) -> None:
        match event:
            case Content(chunk):
                assert chunk
                self._content += chunk
                return
            case TransactionDropped():
                self._content = b""
            case EndOfData():
                self.contents.append(self._content)
                self._content = b""
        self.events.append(_text(event))
        if not isinstance(event, TransactionDropped | Closed):
            self.conversation.answer(self._answers(event), self._offered)

    def _collect(self) -> None:
        for answer, stage, _own in self.conversation.replies():
            self.replies.append(str(answer))
            self.stages.append(stage)

    @property
    def codes(self) -> list[int]:
        return [int(text[:3]) for text in self.replies]


def _text(event: Event) -> str:
    match event:
        case HeloGiven(name, extended):
            return f"{'EHLO' if extended else 'HELO'} {name}"
        case MailGiven(command) | RcptGiven(command):
            return command.encode().decode()
        case DataAsked():
            return "DATA"
        case EndOfData(size, bare):
            return f"END {size}{' bare' if bare else ''}"
        case Closed(end):
            return f"CLOSED {end}"
    return "DROPPED"
