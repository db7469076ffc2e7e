"""YAML to a :class:`Document`: the events of libyaml (of PyYAML's own parser where it is missing), and our own scalars.

Only what a policy needs is read: mappings, lists, texts, decimal numbers, true, false, null. Refused, each with a hint:

* what YAML 1.1 reads otherwise than people do: ``no``, ``on``, ``010``, ``0x1f``, ``1:30``, ``1_000``, ``2024-01-01``;
* anchors, aliases and merge keys (nested aliases grow without bound, and a position would be ambiguous), and tags;
* a key written twice (the first would be lost silently), and nesting deeper than :data:`MAX_DEPTH`.

A file that is no YAML is a problem too, in plain words. Pure. Time is bounded by the text's size, which the caller has
bounded, since what libyaml takes quadratic time for never reaches it: flow collections nested without bound (it looks
at every open one for each token; events are taken one by one, and the first that is too deep ends the reading), and
``%TAG`` directives (each is compared with all before it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from mailguard.positions.document import Document, Path, Place, Style
from mailguard.positions.problem import Problem, Problems, Text

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH: Final = 24
"""Collections within collections; the deepest thing that mailguard reads has six."""

_TAG_DIRECTIVE: Final = re.compile(r"^%TAG\b", re.MULTILINE)
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?")
_LITERALS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}
_SURPRISES: Final = (
    (
        re.compile(r"yes|no|on|off", re.IGNORECASE),
        "is true or false in some readers of YAML and a text in others",
        "write true or false, or put it in quotes: '{text}'",
    ),
    (
        re.compile(r"[-+]?0[0-9]+(\.[0-9]*)?"),
        "begins with 0, which is octal in some readers of YAML and decimal in others",
        "write it without the 0, or put it in quotes: '{text}'",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
        "is a number to the base of 60 in YAML 1.1",
        "write a plain number, or put it in quotes: '{text}'",
    ),
    (
        re.compile(r"[-+]?(0[xob][0-9a-f_]+|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?)", re.IGNORECASE),
        "is a number in YAML 1.1, but not written as people write one",
        "write a plain decimal number, or put it in quotes: '{text}'",
    ),
    (
        re.compile(r"[-+]?\.(inf)|\.nan", re.IGNORECASE),
        "is no number that can be compared",
        "write a plain decimal number",
    ),
    (
        re.compile(r"[-+]?([0-9]+\.|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+"),
        "may be a number or a text",
        "write digits on both sides of the point (0.5, 5.0), or put it in quotes: '{text}'",
    ),
    (
        re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"),
        "is a date in YAML 1.1",
        "put it in quotes: '{text}'",
    ),
    (re.compile(r"="), "has a meaning of its own in YAML 1.1", "put it in quotes: '='"),
)
"""Plain scalars that YAML 1.1 readers do not agree about: pattern, what is wrong, what would be right."""


def parse(text: Text) -> Document:
    """Read one YAML document.

    Returns:
        The document; what had to be refused is in its ``problems``.

    Raises:
        Problems: the text is no YAML, or holds no document or several.
    """
    if tag := _TAG_DIRECTIVE.search(text.text):
        line = text.text.count("\n", 0, tag.start()) + 1
        raise Problems([text.problem(line, 1, "`%TAG` is a directive", "remove it: tags are not read", width=4)])
    try:
        events = list(_events(text))
    except yaml.YAMLError as error:
        raise Problems([_syntax_problem(text, error)]) from error
    return _Builder(text, iter(events)).document()


def _events(text: Text) -> Iterator[Any]:
    """The events of libyaml.

    Raises:
        YAMLError: the text is no YAML.
        Problems: collections are nested deeper than :data:`MAX_DEPTH`.
    """
    depth = 0
    for event in yaml.parse(text.text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            mark: Any = event.start_mark
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise Problems([text.problem(mark.line + 1, mark.column + 1, message, "a policy needs six")])
        yield event


class _Builder:
    """Makes the document of the events, going on after everything that it refuses."""

    def __init__(self, text: Text, events: Iterator[Any]) -> None:
        self._text = text
        self._events = events
        self._places: dict[Path, Place] = {}
        self._problems: list[Problem] = []
        self._spoilt: set[Path] = set()

    def document(self) -> Document:
        """The one document of the stream."""
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise Problems(
                [self._text.problem(1, 1, "the file is empty", "a file of settings begins with `key: value`")]
            )
        data = self._value((), next(self._events), None)
        next(self._events)
        extra = next(self._events)
        if not isinstance(extra, yaml.StreamEndEvent):
            self._refuse((), extra, "a second document begins here", "one file holds one document: remove the `---`")
        return Document(self._text, data, self._places, tuple(self._problems), frozenset(self._spoilt))

    def _refuse(self, path: Path, event: Any, message: str, hint: str) -> None:
        mark, end = event.start_mark, event.end_mark
        width = end.column - mark.column if end.line == mark.line else 1
        self._problems.append(self._text.problem(mark.line + 1, mark.column + 1, message, hint, width=max(1, width)))
        self._spoilt.add(path)

    def _value(self, path: Path, event: Any, key: tuple[int, int, int] | None) -> Any:
        """The value that begins with ``event``; its events are consumed whatever is refused."""
        self._places[path] = _place(self._text, event, key)
        if isinstance(event, yaml.AliasEvent):
            return self._refuse(
                path, event, f"`*{event.anchor}` is an alias", "write the value out: aliases are not read"
            )
        if event.anchor is not None:
            self._refuse(path, event, f"`&{event.anchor}` is an anchor", "remove it: anchors and aliases are not read")
        if event.tag is not None:
            self._refuse(path, event, f"`{event.tag}` is a tag", _instead_of_tag(event.tag))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(path, event)
        return self._mapping(path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(path)

    def _skip(self, event: Any) -> None:
        depth = 1
        while depth:
            event = next(self._events)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value((*path, len(items)), event, None))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name = self._key(path, event)
            mark = event.start_mark
            if name in entries:
                first = self._places[(*path, name)].key
                self._refuse(
                    (*path, name),
                    event,
                    f"`{name}` is written twice in one mapping",
                    f"the first is on line {first[0] if first else '?'}; keep one of them",
                )
                self._value((*path, _Twice(name)), next(self._events), None)
                continue
            key = (mark.line + 1, mark.column + 1, max(1, event.end_mark.column - mark.column))
            entries[name] = self._value((*path, name), next(self._events), key)
        return entries

    def _key(self, path: Path, event: Any) -> str:
        """A key's text, as written: keys are never numbers or true and false."""
        if isinstance(event, yaml.ScalarEvent) and event.anchor is None and event.tag is None:
            if event.value == "<<" and not event.style:
                self._refuse(path, event, "`<<` is a merge key", "write the keys out: merge keys are not read")
            elif not event.value and not event.style:
                self._refuse(path, event, "a key is missing before the colon", "write `key: value`")
            return str(event.value)
        self._refuse(path, event, "a key must be a plain text", "write `key: value`")
        if isinstance(event, yaml.CollectionStartEvent):
            self._skip(event)
        return str(getattr(event, "value", ""))

    def _scalar(self, path: Path, event: Any) -> Any:
        text: str = event.value
        if event.style:
            return text
        if text.lower() in _LITERALS:
            return _LITERALS[text.lower()]
        if _INTEGER.fullmatch(text) and len(text) <= 18:
            return int(text)
        if _DECIMAL.fullmatch(text) and len(text) <= 18:
            return float(text)
        for pattern, message, hint in _SURPRISES:
            if pattern.fullmatch(text):
                return self._refuse(path, event, f"`{text}` {message}", hint.format(text=text))
        if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text):
            return self._refuse(path, event, f"`{text[:40]}` has too many digits", "no number here needs so many")
        return text


def _instead_of_tag(tag: str) -> str:
    """A tag of one ``!`` before a text is no tag to its author, who denies something."""
    if tag.startswith("!"):
        denied = f"not {tag[1:]}".strip()
        return f"`!` for `not` is written out: `{denied}`; a text that begins with `!` stands in quotes"
    return "remove it: a value's form says what it is"


class _Twice(str):
    """The key of a value that stands in nothing: its places are kept apart from those of the first of that name."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def _place(text: Text, event: Any, key: tuple[int, int, int] | None) -> Place:
    start, end = event.start_mark, event.end_mark
    collection = isinstance(event, yaml.CollectionStartEvent | yaml.AliasEvent)
    style = Style.COLLECTION if collection else Style(event.style or "")
    return Place(text, start.line + 1, start.column + 1, end.line + 1, end.column + 1, style, key)


_QUOTED_THEN_MORE: Final = re.compile(r"""^\s*(?:-\s+)?[\w.]+:\s*(?:'[^']*'|"[^"]*")\s*[^\s#]""")
_SYNTAX: Final = (
    (
        re.compile(r"mapping values are not allowed"),
        "a colon stands where no `key: value` can be",
        "put a text that holds a colon in quotes, and check that the lines of one block begin in one column",
    ),
    (
        re.compile(r"did not find expected key|expected <block end>"),
        "this does not belong to the block above it",
        "the lines of one block must begin in one column",
    ),
    (
        re.compile(r"did not find expected '-'"),
        "an entry of a list was expected here",
        "each entry begins with `- `, all in one column",
    ),
    (
        re.compile(r"expected ',' or '(?P<end>[\]}])'"),
        "a `{end}` or a comma is missing before this",
        "close what was opened on line {context}",
    ),
    (
        re.compile(r"did not find expected node content"),
        "a value is missing before this",
        "write a value, or remove what opens a list or mapping here",
    ),
    (re.compile(r"end of stream"), "the quotation opened here is never closed", "close it with the same quote"),
    (
        re.compile(r"unknown escape"),
        "unknown escape after the backslash",
        "use single quotes, where a backslash is itself",
    ),
)
"""What libyaml and PyYAML say, and what it means: pattern, message, hint."""


def _syntax_problem(text: Text, error: yaml.YAMLError) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        return _character_problem(text, error)
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return text.problem(1, 1, f"this is no YAML: {error}")
    mark = error.problem_mark
    line, column = mark.line + 1, mark.column + 1
    source = text.line(line)
    if _QUOTED_THEN_MORE.match(source):
        value = source.partition(":")[2].strip()
        quote = '"' if '"' not in value else "'"
        hint = f"put the whole of it in quotes of the other kind: {quote}{value}{quote}"
        return text.problem(line, column, "text goes on after a closing quote", hint)
    if "cannot start any token" in (error.problem or ""):
        return _character(text, line, column, source[mark.column : mark.column + 1])
    return _explained(text, error, line, column)


def _explained(text: Text, error: yaml.MarkedYAMLError, line: int, column: int) -> Problem:
    said = error.problem or "no YAML"
    context = error.context_mark
    for pattern, message, hint in _SYNTAX:
        if match := pattern.search(said):
            values = {**match.groupdict(), "context": context.line + 1 if context else line}
            if "end of stream" in said and context is not None:
                line, column = context.line + 1, context.column + 1
            return text.problem(line, column, message.format(**values), hint.format(**values))
    return text.problem(line, column, f"this is no YAML: {said}")


def _character(text: Text, line: int, column: int, character: str) -> Problem:
    if character == "\t":
        return text.problem(line, column, "a tab stands where only spaces may", "indent with spaces")
    return text.problem(line, column, f"no plain text begins with `{character}`", "put the whole text in quotes")


def _character_problem(text: Text, error: Any) -> Problem:
    before = text.text[: error.position]
    line = before.count("\n") + 1
    code = error.character if isinstance(error.character, int) else ord(error.character[:1])
    return text.problem(
        line,
        len(before) - before.rfind("\n"),
        f"the control character U+{code:04X} has no place in a text file",
        "remove it, or write it as an escape in double quotes",
    )
