"""The form of a policy file: every key, its type, and its help; what the values mean is checked by the compiler.

The JSON Schema for editors is made of these models. Names become parts of conditions, log fields and metric labels, so
they are short and plain; a folder's name goes into a header that the mail server makes a path of.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from mailguard.caseless import lowered
from mailguard.facts import FACTS
from mailguard.model import Model
from mailguard.policy.finding import ALLOWABLE, Kind
from mailguard.positions import Refusal, form
from mailguard.verdict import Action


class Part(Model):
    """A part of a policy: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _no_keyword(value: str) -> str:
    if keyword.iskeyword(value):
        raise Refusal(f"`{value}` has a meaning of its own in conditions", "choose another name")
    return value


_LOWER_HINT: Final = "small letters, digits and `_`, beginning with a letter"
Name: TypeAlias = Annotated[
    str, form("[a-z][a-z0-9_]{0,31}", "can't be a name here", _LOWER_HINT), AfterValidator(_no_keyword)
]
"""Of a list, a profile, a constant: it becomes part of a condition."""
RuleName: TypeAlias = Annotated[
    str,
    form(
        r"(?!unavailable:|none$|postmaster$)[!-~]([ -~]{0,78}[!-~])?", "can't name a rule", "up to 80 plain characters"
    ),
]
"""Of a rule or a case: it stands in log and metrics beside ``none``, ``postmaster``, ``unavailable: SOURCE``."""
Symbol: TypeAlias = Annotated[
    str, form("[A-Z][A-Z0-9_]{0,31}", "can't be a symbol", "capitals, digits and `_`, beginning with a letter")
]
Folder: TypeAlias = Annotated[
    str,
    form("[A-Za-z0-9]([A-Za-z0-9 _.-]{0,62}[A-Za-z0-9])?(?<!\\.\\.)", "can't be a folder", "letters, digits, `_`, `-`"),
]
KEY_IN_ZONE: Final = "{key}."
"""What stands at the head of a zone that is asked with a customer's key."""
MAX_ZONE: Final = 190
"""Octets of a zone: with an IPv6 address before it, 64 octets, it is still a name of the DNS (RFC 1035 2.3.4)."""
Zone: TypeAlias = Annotated[
    str,
    form(
        rf"(?=.{{1,{MAX_ZONE}}}$)({re.escape(KEY_IN_ZONE)})?([A-Za-z0-9_]([A-Za-z0-9_-]{{0,61}}[A-Za-z0-9_])?\.)+[A-Za-z0-9-]{{2,63}}",
        "is no DNS zone",
        "as in zen.spamhaus.org, or {key}.zen.dq.spamhaus.net with a `key`",
    ),
    AfterValidator(lowered),
]
ReplyCodes: TypeAlias = Annotated[
    str, form(r"[45][0-9]{2} [45]\.[0-9]{1,3}\.[0-9]{1,3}", "is no reply code", "two codes: 550 5.7.1")
]
Mode: TypeAlias = Literal["enforce", "observe"]


_ANSWER: Final = r"^127\.([0-9]{1,3}|\*)\.([0-9]{1,3}|\*)\.([0-9]{1,3}(-[0-9]{1,3})?|\*)$"
"""The form of an answer, for editors; what it means is read by ``policy.answers``."""
MAX_ANSWERS: Final = 256
"""Answers that one list's table holds: as many as its last octet has values. Each is compared with each, at load."""


class AnswerEntry(Part):
    """What one answer of a list means."""

    weight: float = Field(
        description="what it adds to the score; below 0 speaks for the client", ge=-100, le=100, examples=["4.0"]
    )
    label: Annotated[str, form("[A-Za-z0-9_.-]{1,32}", "can't be a label", "letters, digits, `_`, `.`, `-`")] | None = (
        Field(default=None, description="its name in `dnsbl.labels`; without one its code is")
    )


class KeyFile(Part):
    """A key in a file."""

    file: str = Field(description="a file that holds the key and nothing else; relative to the policy", min_length=1)


class KeyVariable(Part):
    """A key in the environment."""

    env: Annotated[
        str, form("[A-Za-z_][A-Za-z0-9_]{0,63}", "can't name an environment variable", "letters, digits and `_`")
    ] = Field(description="the environment variable that holds the key")


def _named_key(value: Any) -> Any:
    """A key is named, never written: a policy is shown to many."""
    if isinstance(value, str):
        hint = "put it into a file: `key: {file: /etc/mailguard/dqs.key}`, or name a variable: `key: {env: NAME}`"
        raise Refusal("a key itself does not stand in a policy", hint)
    return value


def _key_form(value: Any) -> str:
    return "env" if isinstance(value, dict) and "env" in value else "file"


KeyEntry: TypeAlias = Annotated[
    Annotated[KeyFile, Tag("file")] | Annotated[KeyVariable, Tag("env")],
    Discriminator(_key_form),
    BeforeValidator(_named_key),
]


class DnsblEntry(Part):
    """One DNSBL or DNSWL, asked about the connecting client."""

    zone: Zone = Field(
        description="the DNS zone that is asked, e.g. zen.spamhaus.org; `{key}.` at its head stands for the `key`",
        examples=["zen.spamhaus.org"],
    )
    key: KeyEntry | None = Field(
        default=None, description="where the key is that `{key}` in `zone` stands for; it is shown nowhere"
    )
    answers: dict[str, AnswerEntry] = Field(
        description="weights by answer: 127.0.0.2, 127.0.0.4-7 or 127.0.*.1; no other answer counts",
        json_schema_extra={"propertyNames": {"pattern": _ANSWER}},
        min_length=1,
        max_length=MAX_ANSWERS,
        examples=["{127.0.0.2: {weight: 4.0}}"],
    )
    help: str | None = Field(default=None, description="where a blocked sender can ask; may hold {client.ip}")
    ipv6: bool = Field(default=False, description="whether the list knows IPv6 addresses")
    mode: Mode = Field(default="enforce", description="observe: it counts only in what would have been done")

    @model_validator(mode="after")
    def _key_in_its_place(self) -> DnsblEntry:
        if self.zone.startswith(KEY_IN_ZONE) and self.key is None:
            hint = "add `key: {file: /etc/mailguard/dqs.key}` or `key: {env: NAME}`"
            raise Refusal("this zone is asked with a key, and no `key` says where it is", hint, "zone")
        if self.key is not None and not self.zone.startswith(KEY_IN_ZONE):
            hint = 'begin the zone with it: `zone: "{key}.zen.dq.spamhaus.net"`'
            raise Refusal("`zone` has no place for this key", hint, "key")
        return self

    @property
    def shown(self) -> str:
        """The zone without its key."""
        return self.zone.removeprefix(KEY_IN_ZONE)


class VirusEntry(Part):
    """How signature names of the virus scanner are taken."""

    official: list[str] = Field(
        default_factory=list,
        description="patterns of `.UNOFFICIAL` signatures that may refuse mail, e.g. Sanesecurity.Malware.*",
    )


class ListFile(Part):
    """An address list in a file."""

    file: str = Field(
        description="a file of addresses, domains or networks, one a line; relative to the policy", min_length=1
    )


def _list_form(value: Any) -> str:
    return "file" if isinstance(value, dict) else "inline"


ListEntry: TypeAlias = Annotated[
    Annotated[list[str], Tag("inline")] | Annotated[ListFile, Tag("file")], Discriminator(_list_form)
]


class RecipientEntry(Part):
    """Recipients that share a profile."""

    match: list[str] = Field(
        description="`@example.com`, `user@example.com`, or `*` for everybody", min_length=1, examples=["['*']"]
    )
    profile: str = Field(description="the name of a profile", examples=["NAME"])


def _condition_text(value: Any) -> Any:
    """``if: true`` is the condition that always holds."""
    return str(value).lower() if isinstance(value, bool) else value


_NEEDS: Final[dict[Action, tuple[str, ...]]] = {Action.FILE: ("folder",), Action.TAG: ("symbol",)}
_TAKES: Final[dict[Action, tuple[str, ...]]] = {
    **_NEEDS,
    Action.REJECT: ("text", "reply"),
    Action.DEFER: ("text", "reply"),
}


_ACTIONS: Final = frozenset(Action)
_NOT_YET: Final = Action.GREYLIST
"""Greylisting needs shared state, which this version does not have."""


def _known_action(value: Any) -> Any:
    """Greylisting is left to the compiler, which says why there is none."""
    if isinstance(value, str) and value not in _ACTIONS:
        hint = "accept, reject, defer, file or tag; mail is never discarded: `file` puts it into a folder"
        raise Refusal(f"`{value[:60]}` is no action", hint)
    return value


def _by_action(schema: dict[str, Any]) -> None:
    """For editors: which keys a rule needs, and which it has no use for, by what it says."""
    optional = {key for keys in _TAKES.values() for key in keys}
    schema["allOf"] = [
        {
            "if": {"properties": {"then": {"const": action}}, "required": ["then"]},
            "then": {
                "required": list(_NEEDS.get(action, ())),
                "properties": {key: {"type": "null"} for key in sorted(optional - {*_TAKES.get(action, ())})},
            },
        }
        for action in Action
    ]


class RuleEntry(Part):
    """One rule."""

    model_config = ConfigDict(json_schema_extra=_by_action)
    OTHER_WORDS: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("code", "status", "enhanced_code", "reply_code"), "reply"),
        **dict.fromkeys(("condition", "when", "match"), "if"),
        **dict.fromkeys(("action", "do"), "then"),
        **dict.fromkeys(("message", "reason"), "text"),
        **dict.fromkeys(("mailbox", "into"), "folder"),
        **dict.fromkeys(("tag", "label"), "symbol"),
    }
    """What other filters call these keys."""

    name: RuleName = Field(description="what log, metrics and explanations call the rule", examples=["a rule"])
    if_: Annotated[str, BeforeValidator(_condition_text)] = Field(
        alias="if",
        description="the condition, such as: spam.score >= 5",
        examples=["early_talker"],
        json_schema_extra={"type": ["string", "boolean"]},
    )
    then: Annotated[
        Action, BeforeValidator(_known_action), WithJsonSchema({"enum": [a for a in Action if a is not _NOT_YET]})
    ] = Field(
        description="what is done: accept, reject, defer, file or tag; mail is never discarded", examples=["reject"]
    )
    text: str | None = Field(default=None, description="what the sender is told; may hold facts such as {client.ip}")
    reply: ReplyCodes | None = Field(default=None, description="SMTP code and enhanced code, such as 550 5.7.1")
    folder: Folder | None = Field(default=None, description="the folder where `file` files")
    symbol: Symbol | None = Field(default=None, description="what `tag` adds, for `'SYMBOL' in tags`")
    mode: Mode | None = Field(default=None, description="observe, or enforce in a policy that is observed")

    @model_validator(mode="after")
    def _keys_of_action(self) -> RuleEntry:
        for key in _NEEDS.get(self.then, ()):
            if getattr(self, key) is None:
                raise Refusal(f"a rule that says `then: {self.then}` needs `{key}`", _EXAMPLES[key], "then")
        for key in ("text", "reply", "folder", "symbol"):
            if getattr(self, key) is not None and key not in _TAKES.get(self.then, ()):
                raise Refusal(f"a rule that says `then: {self.then}` has no use for `{key}`", "remove it", key)
        return self


_EXAMPLES: Final = {"folder": "add `folder: Junk`", "symbol": "add `symbol: DIALUP`"}


class RuleEntries(Part):
    """The rules by stage, in order."""

    envelope: list[RuleEntry] = Field(default_factory=list, description="tried at each recipient, before the content")
    content: list[RuleEntry] = Field(
        default_factory=list, description="tried when the message has come and was scanned"
    )


def _not_deferred(value: Any) -> Any:
    if value == "defer":
        message = "a message that can't be scanned can't be scanned later either: deferring it only bounces it in days"
        raise Refusal(message, "write file or deliver")
    return value


class ScannerUnavailable(Part):
    """What it means that a scanner gave no answer."""

    down: Literal["defer", "file", "deliver"] = Field(
        description="the scanner is down: defer, file or deliver", examples=["defer"]
    )
    unscannable: Annotated[Literal["file", "deliver"], BeforeValidator(_not_deferred)] = Field(
        description="the scanner is up, but can't judge this message (over a limit, too slow): file or deliver",
        examples=["file"],
    )
    folder: Folder = Field(default="Junk", description="the folder where `file` files")


class UnavailableEntry(Part):
    """What a missing answer means where no rule decided."""

    dnsbl: Literal["ignore", "defer"] | None = Field(
        default=None, description="a DNSBL gave no answer: ignore or defer"
    )
    reverse_dns: Literal["ignore", "defer"] | None = Field(
        default=None, description="the client's name could not be looked up: ignore or defer"
    )
    helo: Literal["ignore", "defer"] | None = Field(
        default=None, description="the EHLO name could not be looked up: ignore or defer"
    )
    sender: Literal["ignore", "defer"] | None = Field(
        default=None, description="the sender's domain could not be looked up: ignore or defer"
    )
    clamav: ScannerUnavailable | None = Field(default=None, description="clamd gave no answer")
    spamassassin: ScannerUnavailable | None = Field(default=None, description="spamd gave no answer")


Given: TypeAlias = bool | float | str | list[str]


def _one_outcome(schema: dict[str, Any]) -> None:
    """For editors: a case expects one of these."""
    schema["oneOf"] = [{"required": [key]} for key in ("accept", "reject", "defer", "file")]


class Outcome(Part):
    """What a case expects; what it does not say is not compared."""

    model_config = ConfigDict(json_schema_extra=_one_outcome)

    accept: Literal[True] | None = Field(default=None, description="true: the message is taken, and not filed")
    reject: int | None = Field(default=None, description="the code of the refusal, e.g. 554", ge=500, le=599)
    defer: int | None = Field(default=None, description="the code of the deferral, e.g. 451", ge=400, le=499)
    file: str | None = Field(default=None, description="the folder")
    rule: str | None = Field(default=None, description="the name of the rule that decides")
    tags: list[str] | None = Field(default=None, description="all symbols given")

    @model_validator(mode="after")
    def _one_action(self) -> Outcome:
        if sum(value is not None for value in (self.accept, self.reject, self.defer, self.file)) != 1:
            raise Refusal("a case expects one of accept, reject, defer, file", "such as {reject: 554} or {file: Junk}")
        return self


class Expected(Outcome):
    """What a case expects to be done, and what would have been done but for observe mode."""

    observed: Outcome | None = Field(default=None, description="what observe mode keeps from being done")


def _facts_given(schema: dict[str, Any]) -> None:
    """For editors: the facts, and ``dnsbl.NAME``."""
    any_fact = schema["additionalProperties"]
    schema["properties"] = {name: {**any_fact, "description": spec.help} for name, spec in FACTS.items()}
    answer = {**any_fact, "description": "what this list answers: 127.0.0.2, a list of such, [] or unknown"}
    schema["patternProperties"] = {"^dnsbl\\.[a-z][a-z0-9_]*$": answer}
    schema["additionalProperties"] = False


class CaseEntry(Part):
    """One case: facts, and what the policy must make of them."""

    name: RuleName = Field(description="what this case shows", examples=["a case"])
    given: dict[str, Given] = Field(
        default_factory=dict,
        description="facts; those not given are of a client and message without any fault",
        json_schema_extra=_facts_given,
    )
    expect: Expected = Field(description="what must come of it, such as {reject: 554}", examples=["{reject: 554}"])


class CasesFile(Part):
    """A file of cases beside a policy."""

    mailguard_cases: Literal[1] = Field(description="the version of the language: 1")
    cases: list[CaseEntry] = Field(description="run before every load of the policy", examples=["[]"])


def _allowable(kind: Kind) -> Kind:
    if kind not in ALLOWABLE:
        raise Refusal(f"a warning [{kind}] cannot be allowed in a policy", f"`mailguard check --allow {kind}` can")
    return kind


class AllowanceEntry(Part):
    """A warning that is meant to be."""

    kind: Annotated[Kind, AfterValidator(_allowable), WithJsonSchema({"enum": sorted(ALLOWABLE)})] = Field(
        description="the kind of the warning, in brackets where `mailguard check` prints it", examples=["one-list"]
    )
    about: str = Field(
        description="the name of the rule, list, profile, constant or DNSBL that it is about", examples=["a rule"]
    )
    because: str = Field(description="why it is meant; told wherever it is", min_length=1, examples=["REASON"])


def _facts_weighed(schema: dict[str, Any]) -> None:
    """For editors: the facts that can have a weight."""
    weight = schema["additionalProperties"]
    weighed = {name: spec for name, spec in FACTS.items() if spec.weighable}
    schema["properties"] = {name: {**weight, "description": spec.help} for name, spec in weighed.items()}
    schema["additionalProperties"] = False


class SampleEntry(Part):
    """Refusals that are let in to be looked at."""

    share: float = Field(
        description="how many of the clients that the envelope's rules reject are let in: 0.01 is one in a hundred",
        ge=0,
        le=1,
        examples=["0.01"],
    )
    folder: Folder = Field(default="Junk", description="the folder where their mail is filed")


class PolicyFile(Part):
    """A whole policy."""

    mailguard_policy: Literal[1] = Field(description="the version of the language: 1")
    description: str = Field(default="", description="what this policy is for")
    mode: Mode = Field(default="enforce", description="observe: decide, log and count, but let everything through")
    dnsbl: dict[Name, DnsblEntry] = Field(default_factory=dict, description="lists asked about the connecting client")
    weights: dict[str, Annotated[float, Field(ge=-100, le=100)]] = Field(
        default_factory=dict,
        description="further evidence about the client and its envelope",
        json_schema_extra=_facts_weighed,
    )
    virus: VirusEntry = Field(default=VirusEntry(), description="how signature names are taken")
    lists: dict[Name, ListEntry] = Field(default_factory=dict, description="address lists for conditions")
    profiles: dict[Name, dict[Name, bool | float | str]] = Field(
        default_factory=dict, description="constants by profile, for `profile.NAME` in conditions"
    )
    recipients: list[RecipientEntry] = Field(
        default_factory=list, description="which recipient has which profile: the first match"
    )
    rules: RuleEntries = Field(description="the rules, by stage")
    unavailable: UnavailableEntry = Field(
        default=UnavailableEntry(), description="what a missing answer means where no rule decided"
    )
    sample: SampleEntry = Field(
        default=SampleEntry(share=0), description="refusals at the envelope that are let in, to measure false positives"
    )
    cases: list[CaseEntry] = Field(default_factory=list, description="run before every load")
    allow_warnings: list[AllowanceEntry] = Field(
        default_factory=list, description="warnings of `mailguard check` that are meant to be, each with the reason"
    )
