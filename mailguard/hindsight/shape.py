"""The types of what is read of a record that is about mail, checked once, where the record is taken up.

A line that is damaged and JSON all the same may hold anything anywhere: a number for a text goes through most code and
fails in the midst of some condition. Behind :func:`check` each value that is there has its type; what is missing is a
KeyError where it is looked for, since versions and kinds of records differ in what they have. Fields that nobody here
reads are not looked at. ``journal.form`` says what the fields mean. Pure.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mailguard.journal.form import Record


class Unreadable(ValueError):
    """A record is not of the form that its version has: somebody else's, or damaged and JSON all the same."""


def event_of(record: Record) -> str:
    """What ``record`` is about.

    Raises:
        Unreadable: it does not say.
    """
    event = record.get("event")
    if not isinstance(event, str):
        raise Unreadable(f"{record.get('ref')}: no event")
    return event


def check(record: Record) -> None:
    """See that all that is read of ``record``, which is about mail, is of its type.

    Raises:
        Unreadable: it is not; the message says what, and of which record.
    """
    try:
        _MAIL.validate_python(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Unreadable(f"{record.get('ref')}: {where}: {first['msg']}") from error


_MISSING: Final[Any] = None
"""Of a field that may be missing; that it is not written as null is checked all the same."""


class _Part(BaseModel):
    """Neither a text is taken for a number, nor 1 for true."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Unknown(_Part):
    unknown: str
    cause: Literal["down", "unscannable"]


_Truth: TypeAlias = bool | _Unknown


class _Reverse(_Part):
    name: str
    confirmed: bool


class _Client(_Part):
    ip: str
    port: int
    own_relay: bool
    early_talker: _Truth
    reverse: _Reverse | _Unknown
    dnsbl: dict[str, list[str] | _Unknown]
    zones: dict[str, str] = {}
    dnsbl_seconds: dict[str, float] = {}


class _Helo(_Part):
    name: str
    is_address: bool
    resolves: _Truth


class _Decision(_Part):
    action: Literal["accept", "file", "reject", "defer"]
    rule: str
    folder: str | None
    observed: _Decision | None = None
    sampled: bool = False


class _Party(_Part):
    recipients: list[str]
    envelope: _Decision
    content: _Decision = _MISSING


class _Virus(_Part):
    name: str


class _Spam(_Part):
    score: float
    content_score: float
    required: float
    rules: dict[str, float]
    tainted: list[str]
    truncated: bool


class _Reply(_Part):
    code: int
    by: str


class _Mail(_Part):
    client: _Client = _MISSING
    helo: _Helo = _MISSING
    sender: str = ""
    sender_resolves: _Truth = False
    recipient: str = ""
    recipients: Annotated[list[str], Field(min_length=1)] = []
    others: list[_Party] = []
    envelope: _Decision = _MISSING
    content: _Decision = _MISSING
    virus: _Virus | _Unknown = _MISSING
    spam: _Spam | _Unknown = _MISSING
    message_size: int = 0
    reply: _Reply | None = None


_MAIL: Final = TypeAdapter(_Mail)
