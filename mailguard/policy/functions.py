"""The functions of conditions, each declared once in :data:`FUNCTIONS`: the compiler and the reference page read that.

The first argument is what is looked at: a fact, or what another function gives. All others are texts in quotes: they
are read when the policy is loaded, and what is wrong with one has its column. A missing answer stays one through every
function. What Received lines may move, they may move anywhere behind a function (``policy.direction``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from mailguard.facts import FactType
from mailguard.policy.lists import AddressList, BadEntry, Kind
from mailguard.policy.patterns import BadPattern, finder
from mailguard.policy.truth import Value
from mailguard.positions import did_you_mean

Applied: TypeAlias = Callable[[Value], Value]
"""A function with its constants: from a known value of the first argument to the result."""


class BadArgument(ValueError):
    """A constant that a function cannot use: which one, what of it (None: all of it), and what would be right."""

    def __init__(self, index: int, message: str, hint: str, span: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.hint = hint
        self.span = span


@dataclass(frozen=True, slots=True)
class Function:
    """The declaration of one function.

    Attributes:
        name: as a condition writes it.
        takes: what its first argument is: of a type, or of a kind of address.
        constants: what the others are called on the reference page; the last may be repeated where it ends in ``...``.
        gives: the type of the result.
        kind: what kind of address the result is, if any.
        bind: makes the function of its constants; the flag: whether the case of the first argument does not matter.
        help: one sentence for the reference page.
        example: a condition that uses it.
    """

    name: str
    takes: FactType | Kind
    constants: tuple[str, ...]
    gives: FactType
    bind: Callable[[Sequence[str], bool], Applied]
    help: str
    example: str
    kind: Kind | None = None

    @property
    def signature(self) -> str:
        """As it is written: ``in_network(IP address, 'network', ...)``."""
        return f"{self.name}({', '.join((str(self.takes), *self.constants))})"

    def takes_constants(self, number: int) -> bool:
        """Whether it can have ``number`` constants."""
        least = len([constant for constant in self.constants if constant != "..."])
        return number == least or (number > least < len(self.constants))


def _matches(constants: Sequence[str], fold: bool) -> Applied:
    try:
        found = finder(constants[0], fold)
    except BadPattern as error:
        raise BadArgument(0, str(error), error.hint, error.span) from error
    return lambda value: found(str(value))


def _in_network(constants: Sequence[str], fold: bool) -> Applied:
    networks = _entries(Kind.ADDRESS, constants)
    return lambda value: isinstance(value, IPv4Address | IPv6Address) and networks.has_address(value)


def _domain_matches(constants: Sequence[str], fold: bool) -> Applied:
    domains = _entries(Kind.DOMAIN, constants)
    return lambda value: domains.has_domain(str(value))


def _domain_of(constants: Sequence[str], fold: bool) -> Applied:
    return lambda value: str(value).rpartition("@")[2] if "@" in str(value) else ""


def _entries(kind: Kind, constants: Sequence[str]) -> AddressList:
    result = AddressList()
    for index, constant in enumerate(constants):
        try:
            result.add_of(kind, constant)
        except BadEntry as error:
            raise BadArgument(index, str(error), error.hint) from error
    return result


FUNCTIONS: Final[Mapping[str, Function]] = {
    function.name: function
    for function in (
        Function(
            "matches",
            FactType.TEXT,
            ("'regex'",),
            FactType.BOOLEAN,
            _matches,
            "the regular expression is found in the text, anywhere unless `^` and `$` say where; the syntax is that of "
            "[RE2](https://github.com/google/re2/wiki/Syntax), whose time is bounded; for domains and local parts, "
            "where case does not matter, it is written in small letters",
            r"matches(reverse_dns.name, '(^|[.-])(dsl|dyn|pool)[0-9]*[.-]')",
        ),
        Function(
            "in_network",
            Kind.ADDRESS,
            ("'network'", "..."),
            FactType.BOOLEAN,
            _in_network,
            "the address is in one of the networks, or one of the addresses",
            "in_network(client.ip, '198.18.0.0/15', '2001:db8::/32')",
        ),
        Function(
            "domain_matches",
            Kind.DOMAIN,
            ("'domain'", "..."),
            FactType.BOOLEAN,
            _domain_matches,
            "the domain is one of these: `'example.com'` is that one, `'.example.com'` every one below it",
            "domain_matches(sender.domain, 'example.com', '.example.com')",
        ),
        Function(
            "domain_of",
            Kind.MAILBOX,
            (),
            FactType.TEXT,
            _domain_of,
            "the domain of the mailbox, empty where it has none",
            "domain_of(sender.address) == recipient.domain",
            kind=Kind.DOMAIN,
        ),
    )
}
"""Every function by name."""

_INSTEAD_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(("match", "search", "regex", "contains", "startswith", "re.match", "re.search"), "matches"),
    **dict.fromkeys(("endswith", "subdomain", "is_subdomain", "match_domain"), "domain_matches"),
    **dict.fromkeys(("cidr", "ip_in", "match_ip", "in_cidr", "ip_address"), "in_network"),
    **dict.fromkeys(("domain", "get_domain"), "domain_of"),
}
"""What other languages call functions, and what does the same here."""
_CASELESS: Final = frozenset({"lower", "lc", "casefold", "upper"})


def meant(name: str) -> str:
    """A hint for a function that there is not."""
    word = name if name in _INSTEAD_OF else name.rpartition(".")[2]
    if word in _CASELESS:
        return "domains and local parts compare without regard to case already: leave it out"
    if word in _INSTEAD_OF:
        return f"such as {FUNCTIONS[_INSTEAD_OF[word]].example}"
    return did_you_mean(word, FUNCTIONS, otherwise="the functions are")
