"""The log: one line an event, whatever stands in it, and no field that is not declared."""

import ast
import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import mailguard
from mailguard import log


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _logged_fields() -> Iterator[tuple[str, int, str]]:
    for path in Path(mailguard.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("logger.", "log.logger.")):
                yield from ((path.name, node.lineno, word.arg) for word in node.keywords if word.arg)


def test_every_field_that_is_logged_is_declared() -> None:
    undeclared = [where for where in _logged_fields() if where[2] not in log.FIELDS]
    assert undeclared == []
    assert len(list(_logged_fields())) > 20


UNPRINTABLE = [
    *map(chr, (*range(0x20), 0x7F, *range(0x80, 0xA0))),
    *"\u00a0\u00ad\u061c\u200b\u200e\u200f\u2028\u2029\ufeff\U000e0001",
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
]
"""Controls, C0 and C1, blanks that are none, separators of lines, marks of direction, byte order mark, a tag."""


@pytest.mark.parametrize("format_", ["json", "logfmt"])
def test_what_does_not_print_is_escaped(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    log.configure(format_)
    for character in UNPRINTABLE:
        log.logger.info("message", sender=f"a{character}b", recipients=[f"{character}@c"], end="quit")
    lines = capsys.readouterr().out.split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    assert [_fields(line, format_) for line in lines] == [(f"a{each}b", f"{each}@c", "quit") for each in UNPRINTABLE]


def _fields(line: str, format_: str) -> tuple[str, str, str]:
    """Sender, recipient and end of a line."""
    if format_ == "json":
        event = json.loads(line)
        return event["sender"], event["recipients"][0], event["end"]
    sender, recipients, end = re.findall(r' (?:sender|recipients|end)=("(?:[^"\\]|\\.)*"|\S+)', line)
    return json.loads(sender), json.loads(recipients), end


@pytest.mark.parametrize(("format_", "expected"), [("json", '"a\\\\udc80b"'), ("logfmt", '"a\\\\udc80b"')])
def test_half_a_surrogate_pair(capsys: pytest.CaptureFixture[str], format_: str, expected: str) -> None:
    """Of a file name that is no UTF-8; readers of JSON refuse it however it is escaped."""
    log.configure(format_)
    log.logger.info("policy loaded", path="a\udc80b")
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize("format_", ["json", "logfmt"])
def test_other_scripts_stay_readable(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    log.configure(format_)
    log.logger.info("message", sender="jörg@bücher.example", recipients=["用户@例子.example"])
    line = capsys.readouterr().out
    assert "jörg@bücher.example" in line
    assert "用户@例子.example" in line


def test_lines_are_utf_8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w", encoding="latin-1") as file:
        monkeypatch.setattr(sys, "stdout", file)
        log.configure("logfmt")
        log.logger.info("message", sender="€@example.org")
    assert "sender=€@example.org" in (tmp_path / "log").read_text("utf-8")


class Full(io.StringIO):
    """What a full disk is like."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class _Writes(io.RawIOBase):
    """A file that keeps each write(2) apart."""

    def __init__(self) -> None:
        self.each: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, octets: Any) -> int:
        self.each.append(bytes(octets))
        return len(octets)


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("length", [10, 20_000])
def test_a_line_and_its_end_are_one_write(monkeypatch: pytest.MonkeyPatch, unbuffered: bool, length: int) -> None:
    """Several processes write to one file, with PYTHONUNBUFFERED or without."""
    raw = _Writes()
    buffer: Any = raw if unbuffered else io.BufferedWriter(raw)
    with io.TextIOWrapper(buffer, write_through=unbuffered) as file:
        monkeypatch.setattr(sys, "stdout", file)
        log.configure()
        log.logger.info("message", ref="x" * length)
    assert [written[-1:] for written in raw.each] == [b"\n"]


@pytest.mark.parametrize("closed", [False, True])
def test_a_line_that_cannot_be_written_is_counted_and_hurts_nobody(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    lost: list[bool] = []
    log.when_lost(lambda: lost.append(True))
    file = Full()
    monkeypatch.setattr(sys, "stdout", file)
    log.configure("logfmt")
    if closed:
        file.close()
    log.logger.info("message", ref="ABC-1")
    log.logger.error("internal error")
    assert len(lost) == 2


@pytest.mark.parametrize("value", ["two words", 'a "quote"', "line\r\nend", "tab\t", "back\\slash", "a=b", "ü\u2028"])
def test_a_hostile_value_stays_in_its_field(capsys: pytest.CaptureFixture[str], value: str) -> None:
    log.configure("logfmt")
    log.logger.info("connection", helo=value, end="quit")
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert line.endswith(" end=quit\n")
    quoted = line.split(" helo=")[1].removesuffix(" end=quit\n")
    assert json.loads(quoted) == value


def test_plain_values_and_lists_are_greppable(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("logfmt")
    log.logger.info("message", ref="ABC-1", recipients=["a@b", "c@d"], folder=None, virus="")
    line = capsys.readouterr().out
    assert " event=message ref=ABC-1 recipients=a@b,c@d\n" in line
    assert line.startswith("time=20")


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    log.logger.info("message", ref="ABC-1", recipients=["a@b"], size=7)
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["ref"], event["recipients"], event["size"]) == ("message", "ABC-1", ["a@b"], 7)
    assert event["level"] == "info"


@pytest.mark.parametrize("format_", ["json", "logfmt"])
def test_empty_fields_are_left_out(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    log.configure(format_)
    log.logger.info("message", folder=None, cause="", dnsbl=[], weights=(), size=0, spam=0.0, backend=False)
    line = capsys.readouterr().out
    shown = [field for field in ("folder", "cause", "dnsbl", "weights", "size", "spam", "backend") if field in line]
    assert shown == ["size", "spam", "backend"]


def test_the_level_is_heeded(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json", "warning")
    log.logger.info("message")
    log.logger.warning("dnsbl ill", zone="zen")
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["dnsbl ill"]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, list[None]]]:
    """Standard output is a pipe that nobody reads: its other end, and the lines that are lost."""
    reading, writing = os.pipe()
    with open(writing, "w") as file:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", file)
        log.never_wait(writing)
        log.configure()
        lost: list[None] = []
        log.when_lost(lambda: lost.append(None))
        yield reading, lost
        log.when_lost(lambda: None)
        os.close(reading)


def _read(reading: int) -> bytes:
    """What stands in the pipe, and what comes while that is taken."""
    os.set_blocking(reading, False)
    taken = b""
    while True:
        log.flush()
        try:
            taken += os.read(reading, 65536)
        except BlockingIOError:
            return taken


@pytest.mark.parametrize("length", [200, 6000])
def test_nobody_waits_for_the_reader_of_the_log(unread: tuple[int, list[None]], length: int) -> None:
    reading, lost = unread
    written = 4 * log.MAX_WAITING // length
    for number in range(written):
        log.logger.info("message", ref=f"{number:{length}}")
    assert lost
    lines = _read(reading).decode().splitlines()
    assert len(lines) == written - len(lost)  # the oldest, each of them whole
    assert [int(line.partition('ref="')[2].rstrip('"')) for line in lines] == list(range(len(lines)))
    log.logger.info("message", ref="again")
    assert _read(reading).endswith(b"ref=again\n")


def test_who_shares_the_pipe_waits_as_before() -> None:
    reading, writing = os.pipe()
    shared = os.dup(writing)
    log.never_wait(writing)
    assert (os.get_blocking(writing), os.get_blocking(shared)) == (False, True)
    for each in (reading, writing, shared):
        os.close(each)
