"""The log: one line an event, whatever stands in it, and no field that is not declared."""

import ast
import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

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


# --- the same line by structlog's own processors and plain loops ---------------------------------------------------


def _expected(format_: str, fields: dict[str, Any], method: str = "info") -> str:
    event: Any = fields | {"event": "message"}
    for processor in (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ):
        event = processor(None, method, event)
    first = {name: event.pop(name) for name in ("time", "level", "event")}
    line = {name: value for name, value in (first | event).items() if value not in (None, "", [], ())}
    if format_ == "json":
        return _slow_json(line)
    return " ".join(f"{name}={_slow_word(value)}" for name, value in line.items())


def _slow_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return "".join(c if c.isprintable() else _slow_escape(c) for c in text)


def _slow_escape(character: str) -> str:
    escaped = json.dumps(character)[1:-1]
    return f"\\{escaped}" if "\ud800" <= character <= "\udfff" else escaped


def _slow_word(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if text and not any(c in text for c in ' "=\\') and text.isprintable():
        return text
    return _slow_json(text)


TEXTS = st.text(max_size=8) | st.text('ab ="\\,\n\x7f\u2028ü\ud800', max_size=4)
NUMBERS = st.integers() | st.floats(-1e15, 1e15).map(lambda number: round(number, 3))
VALUES = TEXTS | NUMBERS | st.booleans() | st.none() | st.lists(TEXTS, max_size=3) | st.tuples(TEXTS) | st.builds(Path)
EVENTS = st.dictionaries(st.sampled_from(sorted(set(log.FIELDS) - {"time", "level", "event", "exception"})), VALUES)


def _made(format_: str, level: str, fields: dict[str, Any]) -> str:
    with io.StringIO() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", file)
        log.configure(format_)
        getattr(log.logger, level)("message", **fields)
        return file.getvalue()


def _without_time(line: str) -> str:
    return re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "T", line, count=1)


@pytest.mark.parametrize("format_", ["json", "logfmt"])
@given(fields=EVENTS, level=st.sampled_from(["info", "warning", "error"]))
def test_a_line_is_made_as_by_the_book(format_: str, fields: dict[str, Any], level: str) -> None:
    assert _without_time(_made(format_, level, fields)) == _without_time(_expected(format_, fields, level)) + "\n"


@pytest.mark.parametrize("format_", ["json", "logfmt"])
def test_an_exception_is_told_with_its_traceback(format_: str) -> None:
    try:
        raise ValueError("it says\nso")
    except ValueError:
        expected = _expected(format_, {"ref": "A-1", "exc_info": True}, "error")
        line = _made(format_, "exception", {"ref": "A-1"})
    assert _without_time(line) == _without_time(expected) + "\n"
    assert "Traceback" in line


def test_times_have_microseconds_always() -> None:
    found = re.match(r"time=(\S+) ", _made("logfmt", "info", {}))
    assert found
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found[1])


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


# --- lines that are gathered -----------------------------------------------------------------------------------------


class Later:
    """What an event loop's ``call_later`` is: ``run`` calls what is due."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        assert seconds == log.GATHER
        self.due.append(call)

    def run(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Each write(2) to the log."""
    found: list[bytes] = []
    write = os.write

    def seen(descriptor: int, octets: bytes) -> int:
        found.append(octets)
        return write(descriptor, octets)

    monkeypatch.setattr("mailguard.log.os.write", seen)
    return found


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The log is this file."""
    with (tmp_path / "log").open("w") as opened:
        monkeypatch.setattr(sys, "stdout", opened)
        log.configure()
        yield tmp_path / "log"


def _refs(text: str) -> list[str]:
    return re.findall(r" ref=(\S+)\n", text)


def test_gathered_lines_are_written_together_and_in_order(file: Path, writes: list[bytes]) -> None:
    later = Later()
    with log.gathered(later):
        for turn in range(3):
            for number in range(10):
                log.logger.info("message", ref=f"{turn}-{number}")
            assert len(later.due) == 1
            assert len(_refs(file.read_text())) == 10 * turn
            later.run()
    assert len(writes) == 3
    assert _refs(file.read_text()) == [f"{turn}-{number}" for turn in range(3) for number in range(10)]


def test_no_write_of_several_lines_is_more_than_a_pipe_takes_whole(file: Path, writes: list[bytes]) -> None:
    lengths = [3000, 1000, 500, 6000, 100, 100, 4000, 90]
    with log.gathered(Later()):
        for length in lengths:
            log.logger.info("message", ref="x" * length)
    assert [len(ref) for ref in _refs(file.read_text())] == lengths
    assert all(octets.endswith(b"\n") for octets in writes)
    assert [octets.count(b"\n") for octets in writes] == [1, 2, 1, 2, 1, 1]
    assert all(len(octets) <= 4096 or octets.count(b"\n") == 1 for octets in writes)


def test_the_end_of_gathering_writes_what_is_kept_and_then_each_line_at_once(file: Path) -> None:
    def fails() -> None:
        with log.gathered(Later()):
            log.logger.info("message", ref="kept")
            raise ValueError

    with pytest.raises(ValueError, match=r"\A\Z"):
        fails()
    assert _refs(file.read_text()) == ["kept"]
    log.logger.info("message", ref="after")
    assert _refs(file.read_text()) == ["kept", "after"]


@pytest.mark.parametrize("level", ["warning", "error", "critical", "exception"])
def test_what_may_be_the_last_word_is_written_at_once(file: Path, level: str) -> None:
    with log.gathered(Later()):
        log.logger.info("message", ref="kept")
        getattr(log.logger, level)("internal error", ref="urgent")
        assert _refs(file.read_text()) == ["kept", "urgent"]


def test_another_threads_line_is_written_at_once_behind_what_is_kept(file: Path) -> None:
    with log.gathered(Later()):
        log.logger.info("message", ref="first")
        other = threading.Thread(target=lambda: log.logger.info("message", ref="second"))
        other.start()
        other.join()
        assert _refs(file.read_text()) == ["first", "second"]


def test_gathered_lines_that_are_not_taken_are_counted_one_by_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _octets: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    lost: list[bool] = []
    log.when_lost(lambda: lost.append(True))
    monkeypatch.setattr("mailguard.log.os.write", full)
    with log.gathered(Later()):
        for _ in range(30):
            log.logger.info("message", ref="x" * 1000)
    log.when_lost(lambda: None)
    assert len(lost) == 30


def test_who_shares_the_pipe_waits_as_before() -> None:
    reading, writing = os.pipe()
    shared = os.dup(writing)
    log.never_wait(writing)
    assert (os.get_blocking(writing), os.get_blocking(shared)) == (False, True)
    for each in (reading, writing, shared):
        os.close(each)
