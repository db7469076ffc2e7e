"""Reads SpamAssassin's rule files: which rules they define, and by what (Mail::SpamAssassin::Conf, "RULE DEFINITIONS").

Only definitions are read. Scores, descriptions, tflags, priorities and the bodies of replace_tag say nothing about what
a rule looks at.

Conditionals (``if``, ``ifplugin``, ``else``, ``endif``, ``require_version``, ``lang``) are not evaluated: which plugins
spamd has loaded, its Perl and its locale are not known here. Every branch counts, and so does every definition of a
name that several files define: SpamAssassin ignores a redefinition that it finds invalid, so even the last one need not
be the one in force. A rule is what the worst of its definitions is.

Failure: none. A line that defines a rule in a way not understood is a definition of kind ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

DEFINING: Final = frozenset(
    {
        "header", "body", "rawbody", "uri", "full", "meta",  # Conf.pm
        "mimeheader", "uri_detail", "askdns",  # plugins MIMEHeader, URIDetail, AskDNS
        "urirhsbl", "urirhssub", "uridnsbl", "uridnssub", "urinsrhsbl", "urinsrhssub",  # URIDNSBL
        "urifullnsrhsbl", "urifullnsrhssub",
        "uri_block_cc", "uri_block_cont", "uri_block_isp", "uri_block_cidr", "uri_block_exclude",  # URILocalBL
    }
)  # fmt: skip
"""Settings whose first word is the name of a rule that they define."""

_OTHER: Final = frozenset(
    {
        "score", "describe", "tflags", "priority", "reuse", "replace_rules", "shortcircuit", "test", "subjprefix",
        "dns_block_rule", "if", "ifplugin", "include", "loadplugin", "tryplugin",
    }
)  # fmt: skip
"""Settings about rules that change nothing about what a rule looks at, and control lines."""

_COMMENT: Final = re.compile(r"(?<!\\)#.*$")
_LANG: Final = re.compile(r"lang\s+\S+\s+", re.IGNORECASE)
_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]{0,127}")
_UPDATE: Final = re.compile(r"^# UPDATE version (\d+)$", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^[ \t\r]*include[ \t]+(\S.*)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One rule file: ``name`` relative to its folder, ``text`` decoded as Latin-1, so that any octet is fine."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition of a rule.

    Attributes:
        name: the rule.
        kind: the setting that defines it (``header``, ``meta``, ...), or ``unknown``.
        argument: the rest of the line.
        where: file and line, for people.
    """

    name: str
    kind: str
    argument: str
    where: str


def update_versions(files: Iterable[RuleFile]) -> str:
    """What spamd reports as ``_RULESVERSION_`` of these files: versions of the update channels, by file name."""
    found = {file.name: _UPDATE.findall(file.text) for file in files}
    return ",".join(found[name][-1] for name in sorted(found) if found[name])


def includes(file: RuleFile) -> list[str]:
    """The files that ``file`` includes, as it writes them."""
    return [path.rstrip() for path in _INCLUDE.findall(file.text)]


def definitions(file: RuleFile) -> Iterator[Definition]:
    """Every definition of a rule in ``file``, whatever conditionals stand around it."""
    for number, line in enumerate(file.text.split("\n"), 1):
        found = _definition(line, f"{file.name}:{number}")
        if found is not None:
            yield found


def _definition(line: str, where: str) -> Definition | None:
    text = _COMMENT.sub("", line).replace("\\#", "#").strip()
    words = _LANG.sub("", text, count=1).split(None, 2) if text else []
    if len(words) < 2 or not _NAME.fullmatch(words[1]):
        return None
    key, name = words[0].lower().replace("-", "_"), words[1]
    if key in _OTHER:
        return None
    argument = words[2] if len(words) > 2 else ""
    return Definition(name, key if key in DEFINING else "unknown", argument, f"{where} {key}")
