"""YAML with positions, and pydantic's errors in the words of the file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from mailguard.config import Settings
from mailguard.positions import Document, Problem, Problems, Text, closest, did_you_mean, parse, validate
from mailguard.positions.problem import MAX_COMPARED, MAX_NAMES, MAX_SHOWN
from mailguard.positions.reader import MAX_DEPTH


def read(text: str) -> Document:
    document = parse(Text("f", text))
    if document.problems:
        raise Problems(document.problems)
    return document


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("5.0", 5.0),
        ("1.5e3", 1500.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("text", "text"),
        ("127.0.0.2", "127.0.0.2"),
        ("198.18.0.0/15", "198.18.0.0/15"),
        ("::1", "::1"),
        ("127.0.0.1:25", "127.0.0.1:25"),
        ("'010'", "010"),
        ('"no"', "no"),
        ("'it''s'", "it's"),
        ("y", "y"),
        ("1.2.3", "1.2.3"),
        ("nothing", "nothing"),
        ("> a\n", None),
    ],
)
def test_scalars(scalar: str, value: object) -> None:
    if scalar.startswith(">"):
        assert read("k: >\n  a\n  b\n").data == {"k": "a b\n"}
    else:
        assert read(f"k: {scalar}\n").data == {"k": value}


SURPRISES = [
    "yes",
    "No",
    "ON",
    "off",
    "010",
    "-07",
    "00.5",
    "0x1F",
    "0b1",
    "0o7",
    "1_000",
    "1:30",
    "1:30:59",
    "1:30.5",
    ".inf",
    "-.Inf",
    ".NaN",
    ".5",
    "5.",
    "1e3",
    "2024-01-01",
    "=",
    "999999999999999999999999999999",
    "0.1111111111111111111111111",
]


@pytest.mark.parametrize("scalar", [*SURPRISES, "2024-1-1 10:00:00"])
def test_surprises_are_refused_with_a_hint(scalar: str) -> None:
    with pytest.raises(Problems) as found:
        read(f"key: {scalar}\n")
    (problem,) = found.value.problems
    assert (problem.line, problem.column, problem.width) == (1, 6, len(scalar))
    assert problem.hint


def test_keys_are_texts_as_written() -> None:
    assert read("127.0.0.4-7: a\n010: b\nno: c\n'5': d\n").data == {"127.0.0.4-7": "a", "010": "b", "no": "c", "5": "d"}


def test_nested_aliases_are_not_expanded() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    document = parse(Text("f", bomb))
    assert document.data["i"] == [None, None]
    assert len(document.problems) == 9 + 16


def test_a_mapping_that_holds_itself_is_refused() -> None:
    with pytest.raises(Problems):
        read("a: &a {b: *a}\n")


def test_depth_is_bounded() -> None:
    with pytest.raises(Problems, match=f"deeper than {MAX_DEPTH}"):
        read("[" * 20_000 + "]" * 20_000)


@pytest.mark.parametrize("opening", ["[", "{a: ", "[\n", "- ", "? "])
def test_what_is_nested_too_deep_is_not_read_on(opening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """libyaml takes time that grows with the square of the depth."""
    taken: list[Any] = []
    original = yaml.parse

    def counted(*arguments: Any, **named: Any) -> Iterator[Any]:
        for event in original(*arguments, **named):
            taken.append(event)
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    with pytest.raises(Problems) as found:
        parse(Text("f", opening * 20_000))
    (problem,) = found.value.problems
    assert problem.message == f"nested deeper than {MAX_DEPTH} levels"
    assert problem.line > 1 or problem.column > MAX_DEPTH
    assert len(taken) <= 2 + 3 * (MAX_DEPTH + 1)


def test_tag_directives_are_not_read() -> None:
    with pytest.raises(Problems) as found:
        parse(Text("f", "%YAML 1.1\n" + "".join(f"%TAG !{i}! tag:x:\n" for i in range(3)) + "---\na: 1\n"))
    assert [(p.line, p.message) for p in found.value.problems] == [(2, "`%TAG` is a directive")]


def test_a_text_is_split_once_however_many_problems_it_has() -> None:
    text = Text("f", "a\r\nb\n")
    assert [text.line(number) for number in range(5)] == ["", "a", "b", "", ""]
    assert text.lines is text.lines


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n...\n---\na: 1\n", "a: 1\n---\nb: 2\n", "a: \x07\n"])
def test_what_is_no_single_document_is_refused(text: str) -> None:
    with pytest.raises(Problems):
        read(text)


@pytest.mark.parametrize(
    ("source", "offset", "column"),
    [
        ("k: abc", 0, 4),
        ("k: abc", 2, 6),
        ("k: 'abc'", 0, 5),
        ("k: 'a''c'", 2, 8),
        ('k: "a\\"c"', 2, 8),
        ('k: "a\\u00e9c"', 2, 12),
        ('k: "a\\x41c"', 2, 10),
        ("k: 'äbc'", 1, 6),
    ],
)
def test_a_column_within_a_text_counts_quotes_and_escapes(source: str, offset: int, column: int) -> None:
    document = read(source + "\n")
    assert document.column(("k",), offset) == column
    assert source[column - 1] == document.data["k"][offset]


def test_a_problem_shows_its_line_with_carets() -> None:
    text = Text("p.yaml", "a: 1\n\tb: x\n")
    assert str(text.problem(2, 2, "wrong", "right", width=1, path=("one", "two"))) == textwrap.dedent(
        """\
        p.yaml:2:2: wrong
          2 | \tb: x
            | \t^
            because: one
               then: two
            hint: right"""
    )


def test_a_long_line_is_cut_around_the_mistake() -> None:
    problem = Text("f", "x" * 5000 + "HERE" + "y" * 5000).problem(1, 5001, "wrong", width=4)
    _, line, carets = str(problem).split("\n")
    assert len(line) <= MAX_SHOWN + 10
    assert line[carets.index("^") : carets.index("^") + 4] == "HERE"


def test_problems_come_in_order_and_once() -> None:
    text = Text("f", "a\nb\n")
    two, one = text.problem(2, 1, "two"), text.problem(1, 1, "one")
    assert Problems([two, one, two]).problems == [one, two]


def test_of_very_many_problems_the_first_are_told() -> None:
    text = Text("p.yaml", "x: 1\n" * 90_000)
    told = str(Problems(text.problem(line, 1, "wrong") for line in range(1, 90_001)))
    assert told.count(": wrong\n") == 200
    assert told.endswith("\n\nand 89800 more")


def test_names_that_are_near() -> None:
    assert closest("helo.nam", ["helo.name", "spam.score"]) == "helo.name"
    assert closest("zzz", ["helo.name"]) is None


class Counted(list[str]):
    """Names, and how many of them were looked at."""

    looked_at = 0

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            self.looked_at += 1
            yield name


def test_a_hint_looks_at_no_more_names_than_it_tells_or_compares() -> None:
    few, many = (Counted(f"name_{i:06}" for i in range(count)) for count in (MAX_COMPARED, MAX_COMPARED + 1))
    assert did_you_mean("name_00001", few).startswith("did you mean `name_")
    assert did_you_mean("name_00001", many).endswith(f"`name_000009` and {MAX_COMPARED + 1 - MAX_NAMES} more")
    assert (few.looked_at, many.looked_at) == (MAX_COMPARED, MAX_NAMES)


class _Inner(BaseModel):
    number: float
    flag: bool = False


class _Outer(BaseModel):
    model_config = {"extra": "forbid"}
    inner: _Inner | None = None
    many: list[_Inner] = []
    named: dict[str, _Inner] = {}
    either: int | list[int] = 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inner: {number: '5'}", "1:17: `number` must be a number, not the text '5'"),
        ("inner: {number: true}", "1:17: `number` must be a number, not `true`"),
        ("inner: {number: 5, flag: 1}", "1:26: `flag` must be true or false, not `1`"),
        ("inner: 5", "1:8: `inner` must be a mapping (`key: value`), not `5`"),
        ("inner: {}", "1:1: `number` is missing in `inner`"),
        ("many: 5", "1:7: `many` must be a list (`[a, b]`, or lines that begin with `- `), not `5`"),
        ("many: [{number: 1}, {flag: true}]", "1:21: `number` is missing in entry 2 of `many`"),
        ("many: [{number: 1}, 7]", "1:21: entry 2 of `many` must be a mapping (`key: value`), not `7`"),
        ("named: {a: {number: []}}", "1:13: `number` must be a number, not a list"),
        ("either: [1, x]", "1:13: entry 2 of `either` must be a whole number, not the text 'x'"),
        ("innr: {}", "1:1: `innr` is not known here"),
    ],
)
def test_errors_in_the_words_of_the_file(text: str, expected: str) -> None:
    with pytest.raises(Problems) as found:
        validate(read(text + "\n"), _Outer)
    assert expected in [f"{p.line}:{p.column}: {p.message}" for p in found.value.problems]


def test_settings_say_what_is_wrong_with_them() -> None:
    text = textwrap.dedent(
        """\
        hostname: mx.example.com
        relay_domains: example.com
        listen: [{address: 25}]
        backends: [{address: "127.0.0.1:10026", proxy: false}]
        policy: policy.yaml
        own_relays: [198.18.0.1/15]
        limits: {max_errors: 0}
        """
    )
    with pytest.raises(Problems) as found:
        validate(parse(Text("mailguard.yaml", text)), Settings)
    assert [f"{p.line}:{p.column}: {p.message}" for p in found.value.problems] == [
        "2:16: `relay_domains` must be a list (`[a, b]`, or lines that begin with `- `), not the text 'example.com'",
        "3:20: `address` must be a text, not `25`",
        "4:41: `proxy` is not known here",
        "6:14: `198.18.0.1/15` has bits set after its prefix",
        "7:22: `max_errors` must be at least 1, not `0`",
    ]


GOOD_SETTINGS = """\
hostname: mx.example.com
relay_domains: [example.com]
listen: [{address: "127.0.0.1:0"}]
backends: [{address: "127.0.0.1:10026"}]
policy: policy.yaml
"""


@pytest.mark.parametrize(
    ("line", "where", "message", "hint"),
    [
        ("hostname: mx.", "1:11", "`mx.` is no host name", "without a dot at the end"),
        (
            "hostname: mx.bücher.example",
            "1:11",
            "`mx.bücher.example` is no name for a server",
            "mx.xn--bcher-kva.example",
        ),
        ("relay_domains: ['*']", "2:17", "`*` is no domain", "such as example.com, or .example.com"),
        ("relay_domains: ['@a.example']", "2:17", "`@a.example` is no domain", "such as example.com"),
        ("relay_domains: a.example", "2:16", "`relay_domains` must be a list", "write `relay_domains: [a.example]`"),
        ("listen: ['[::]:25']", "3:10", "entry 1 of `listen` must be a mapping", 'such as `{address: "[::]:25"}`'),
        ("backends: [exim:26]", "4:12", "entry 1 of `backends` must be a mapping", 'such as `{address: "exim:26"}`'),
        ("backends: []", "4:1", "`backends` needs at least 1 entry", "mail servers behind us"),
        ("own_relays: [mx2.example.com]", "6:14", "`mx2.example.com` is no IP address or network", "198.18.0.0/15"),
        ("own_relays: [192.0.2.1/24]", "6:14", "`192.0.2.1/24` has bits set after its prefix", "write 192.0.2.0/24"),
        ("own_relays: [5]", "6:14", "`5` is no IP address or network", "write 198.18.1.10"),
        ("dns: {servers: [127.0.0.1]}", "6:17", "`127.0.0.1` is no IP address with a port", "such as 127.0.0.1:53"),
        (
            "dns: {servers: ['localhost:53']}",
            "6:17",
            "`localhost:53` is no IP address with a port",
            "can't be looked up",
        ),
        (
            "clamav: {address: /run/c.ctl}",
            "6:19",
            "`/run/c.ctl` is no host with a port",
            "or unix:/run/clamav/clamd.ctl",
        ),
        ("spamassassin: {user: a b}", "6:22", "`a b` is no user name for spamd", "without spaces"),
        ("spamassassin: {rule_dirs: [5]}", "6:28", "entry 1 of `rule_dirs` must be", "spamd's live rule folders"),
    ],
)
def test_a_setting_of_another_form_is_told_what_would_be_right(line: str, where: str, message: str, hint: str) -> None:
    key = line.partition(":")[0]
    lines = [line if good.startswith(f"{key}:") else good for good in GOOD_SETTINGS.splitlines()]
    text = "\n".join(lines if line in lines else [*lines, line]) + "\n"
    with pytest.raises(Problems) as found:
        validate(parse(Text("mailguard.yaml", text)), Settings)
    (problem,) = found.value.problems
    assert f"{problem.line}:{problem.column}" == where
    assert problem.message.startswith(message)
    assert hint in problem.hint


@pytest.mark.parametrize("entry", ["198.18.0.1", "198.18.0.0/15", "2001:db8::/32", "::1", "10.0.0.0/255.0.0.0"])
def test_a_network_as_people_write_it(entry: str) -> None:
    text = GOOD_SETTINGS + f"own_relays: ['{entry}']\n"
    assert validate(parse(Text("mailguard.yaml", text)), Settings).own_relays == [ip_network(entry)]


def test_a_problem_in_one_line_is_plain_words() -> None:
    problem = Problem("p.yaml", 3, 5, "this cannot be", "leave it", "    this: x", 4, ("one", "two"))
    assert problem.in_one_line == "p.yaml:3:5: this cannot be; because one, then two; hint: leave it"
    assert Problem("p.yaml", 3, 5, "no", source_line="no").in_one_line == "p.yaml:3:5: no"


def test_a_terminal_is_told_nothing_that_it_would_obey() -> None:
    problem = Problem("p\n.yaml", 3, 3, "`\x1b[2J\r\nok`", "\x9b", "\ta\x1b\u202eb", 4, ("\x07",))
    assert str(problem).split("\n") == [
        "p\\n.yaml:3:3: `\\x1b[2J\\r\\nok`",
        "  3 | \ta\ufffd\ufffdb",
        "    | \t ^^^",
        "    because: \\x07",
        "    hint: \\x9b",
    ]
    assert problem.in_one_line.isprintable()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_a_mistake_is_shown_with_its_line_however_lines_end(end: str) -> None:
    text = Text("f", end.join(("a: 1", "b: {", "  c: 2", "d: [1, 2")))
    with pytest.raises(Problems) as error:
        parse(text)
    first = error.value.problems[0]
    assert first.source_line == ("a: 1", "b: {", "  c: 2", "d: [1, 2")[first.line - 1]
    assert "\r" not in str(first)
    assert text.lines == ["a: 1", "b: {", "  c: 2", "d: [1, 2"]
