"""The text of a condition to a syntax tree, and what a text that is none was probably meant to be.

Python's own parser reads it, so what it cannot read is told in Python's terms, which mean nothing to an admin. Slips
that people make (``=>``, ``&&``, ``10MB``, an address without quotes) are recognised in the text itself instead; quoted
parts of it are left out of that. Length and depth are bounded, since everything else recurses over the tree.

A backslash in quotes is itself, as a regular expression needs it, and takes nothing's meaning away: a text that holds
one kind of quote stands in the other.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from mailguard.policy.expression import Span

MAX_LENGTH: Final = 1000
"""Characters of a condition: one that needs more is several rules."""
MAX_DEPTH: Final = 30
"""Nodes within nodes; it bounds the recursion over a tree."""


_BACKSLASH: Final = "\x7f"
"""Stands for a backslash while Python reads a text, so that it is no escape: as wide, and refused in a condition."""
_ESCAPED_BY_YAML: Final = "in a double-quoted text of YAML a backslash is written twice; in single quotes, once"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a condition: where in its text, what, and what would be right."""

    span: Span
    message: str
    hint: str = ""


class Faults(Exception):
    """Everything wrong with a condition."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


def parse(text: str) -> tuple[ast.expr, int]:
    """The syntax tree of ``text``, and where in it the tree's own text begins (after white space).

    Raises:
        Faults: it is no expression, holds what no condition needs, or is too long or too deep.
    """
    if len(text) > MAX_LENGTH:
        raise Faults([Fault((MAX_LENGTH, len(text)), f"longer than {MAX_LENGTH} characters", "make it several rules")])
    body = text.strip()
    if not body:
        raise Faults([Fault((0, len(text)), "the condition is empty", "a rule for everything says `if: true`")])
    _check_characters(text)
    start = text.index(body)
    tree = _tree(text, body, start)
    if _depth(tree) > MAX_DEPTH:
        raise Faults([Fault((0, len(text)), "too many things within one another", "make it several rules")])
    return tree, start


def _check_characters(text: str) -> None:
    bare = _QUOTED.sub(lambda match: match.group().replace("\\", "_"), text)
    odd = next((i for i, c in enumerate(bare) if not c.isprintable() or c == "\\"), None)
    if odd is None:
        return
    hint = "write plain text" if bare[odd] >= " " else _ESCAPED_BY_YAML
    raise Faults([Fault((odd, odd + 1), "this character has no place in a condition", hint)])


def _tree(text: str, body: str, start: int) -> ast.expr:
    try:
        with warnings.catch_warnings():  # such as `1or 2`, which Python itself will refuse one day
            warnings.simplefilter("error")
            return _restored(ast.parse(body.replace("\\", _BACKSLASH), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as error:
        raise Faults([_escaped_quote(text) or _slip(text) or _told_by_python(text, start, error)]) from error


def _escaped_quote(text: str) -> Fault | None:
    if (found := re.search(r"""\\['"]""", text)) is None:
        return None
    hint = "a text that holds one kind of quote stands in the other"
    return Fault(found.span(), "a backslash does not keep a quote from ending the text", hint)


def _restored(tree: ast.expr) -> ast.expr:
    """``tree``, whose texts have their backslashes again."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = node.value.replace(_BACKSLASH, "\\")
    return tree


def _depth(tree: ast.AST) -> int:
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


_Say: TypeAlias = Callable[[re.Match[str]], tuple[str, str]]
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_UNITS: Final = {"k": 1024, "m": 1024**2, "g": 1024**3}
_WHOLE: Final = "write matches(helo.name, 'regex'), or domain_matches(helo.name, '.example.com') for whole domains"


def _no_operator(meant: str) -> _Say:
    return lambda match: (f"`{match.group()}` is no operator here", f"write `{meant}`")


def _no_pattern(match: re.Match[str]) -> tuple[str, str]:
    return f"`{match.group()}` is no operator here: patterns stand in functions", _WHOLE


def _unquoted_address(match: re.Match[str]) -> tuple[str, str]:
    address = match.group()
    example = f"client.ip in ['{address}']" if "/" in address else f"client.ip == '{address}'"
    return f"`{address}` stands without quotes", f"write '{address}', as in: {example}"


def _sized(match: re.Match[str]) -> tuple[str, str]:
    octets = float(match["number"]) * _UNITS[match["unit"].lower()]
    return f"`{match.group()}` is no number", f"units are not read here: write {octets:.0f}"


def _missing(match: re.Match[str]) -> tuple[str, str]:
    if match["after"]:
        return f"nothing follows `{match['after']}`", f"remove it, or write what comes after `{match['after']}`"
    if match["before"]:
        return (
            f"nothing stands before `{match['before']}`",
            f"remove it, or write what comes before `{match['before']}`",
        )
    return f"nothing stands before `{match['second']}`", "one of the two words is too many"


_SLIPS: Final[tuple[tuple[re.Pattern[str], _Say], ...]] = (
    (re.compile(r"=~|!~|~"), _no_pattern),
    (re.compile(r"\b(contains|matches|like|startswith|endswith|regex)\b(?!\s*\()"), _no_pattern),
    (re.compile(r"&&?"), _no_operator("and")),
    (re.compile(r"\|\|?"), _no_operator("or")),
    (re.compile(r"=>"), _no_operator(">=")),
    (re.compile(r"=<"), _no_operator("<=")),
    (re.compile(r"<>"), _no_operator("!=")),
    (re.compile(r"==="), _no_operator("==")),
    (re.compile(r"!(?!=)"), _no_operator("not")),
    (re.compile(r"(?<![=!<>:])=(?!=)"), _no_operator("==")),
    (re.compile(r"\bAND\b"), _no_operator("and")),
    (re.compile(r"\bOR\b"), _no_operator("or")),
    (re.compile(r"\bNOT\b"), _no_operator("not")),
    (re.compile(r"\bIN\b"), _no_operator("in")),
    (
        re.compile(r"^\s*if\b"),
        lambda match: ("`if` is no part of the condition", "leave it out: the key `if:` says it already"),
    ),
    (
        re.compile(r"\bthen\b"),
        lambda match: ("`then` is no part of the condition", "what is done stands under the key `then:`"),
    ),
    (re.compile(r"(?<![\w.])\d+(\.\d+){2,}(/\d+)?"), _unquoted_address),
    (re.compile(r"(?<![\w.])[0-9a-fA-F]*(:[0-9a-fA-F]*){2,}(/\d+)?"), _unquoted_address),
    (re.compile(r"(?<![\w.])(?P<number>\d+(\.\d+)?) ?(?P<unit>[kmg])(i?b)?\b", re.IGNORECASE), _sized),
    (
        re.compile(r"(?<![\w.])\d+(\.\d+)?(?!\d|[eE][-+]?\d)[A-Za-z_]\w*"),
        lambda match: (
            f"`{match.group()}` is no number",
            "a number is digits and a point: 5, 0.5; a text is in quotes",
        ),
    ),
    (
        re.compile(
            r"(?P<after>\b(?:and|or|not|in)|[<>!=]=|[<>])\s*$|^\s*(?P<before>and|or|in|[<>!=]=|[<>](?!=))"
            r"|\b(?:and|or|not)\s+(?P<second>and|or)\b"
        ),
        _missing,
    ),
)
"""Slips that people make, the surest first: how to recognise one outside quotes, and what to say of it."""


def _slip(text: str) -> Fault | None:
    """The first slip that ``text`` holds outside its quotes."""
    bare = _QUOTED.sub(lambda match: "'" + "_" * (len(match.group()) - 2) + "'", text)
    for pattern, say in _SLIPS:
        if match := pattern.search(bare):
            lead = len(match.group()) - len(match.group().lstrip())
            return Fault((match.start() + lead, match.start() + lead + len(match.group().strip())), *say(match))
    return None


def _told_by_python(text: str, start: int, error: BaseException) -> Fault:
    offset = getattr(error, "offset", None) or 1
    at = min(start + max(0, offset - 1), max(0, len(text) - 1))
    said = str(getattr(error, "msg", "") or "")
    if "unterminated string" in said:
        return Fault((at, at + 1), "the quotation opened here is never closed", "close it with the same quote")
    if "was never closed" in said or "unmatched" in said or "does not match" in said:
        return Fault((at, at + 1), said, "every bracket that opens must close")
    return Fault((at, at + 1), "this can't be read as a condition", "such as: spam.score >= 5 and not sender.is_null")
