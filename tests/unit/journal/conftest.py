"""A journal of a test's own: a folder, clocks that the test moves, records to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailguard import config, metrics
from mailguard.journal.folder import Folder
from mailguard.journal.form import VERSION, Record, encode, microseconds
from mailguard.journal.keeper import Keeper
from mailguard.journal.reader import Reader
from mailguard.journal.writer import Writer
from mailguard.rfc3339 import stamp

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Time, which passes where a test says so, and a microsecond whenever it is looked at."""

    passed: float = 0.0

    def monotonic(self) -> float:
        return self.passed

    def now(self) -> datetime:
        self.passed += 1e-6
        return START + timedelta(seconds=self.passed)


def record(number: int = 0, **changes: Any) -> Record:
    """A record as a refused recipient makes it, ``number`` seconds after the start."""
    made: Record = {
        "v": VERSION,
        "time": stamp(microseconds(START + timedelta(seconds=number))),
        "event": "recipient",
        "ref": f"{reference(number)}-1",
        "verdict": "reject",
        "client": {
            "ip": f"198.18.{number // 250 % 250}.{number % 250}",
            "port": 40000,
            "dnsbl": {"zen": ["127.0.0.4"]},
        },
        "helo": {"name": "mail.example.org", "is_address": False, "resolves": True},
        "sender": f"sender{number}@example.org",
        "recipient": "user@example.com",
        "reply": {"code": 554, "enhanced": "5.7.1", "text": "Refused", "by": "policy", "cause": ""},
    }
    return made | changes


def reference(number: int) -> str:
    """The reference of a connection, another one for each number below 8 ** 8."""
    return "R" + "".join("23456789"[number >> shift & 7] for shift in range(21, -3, -3))


def settings(**changes: Any) -> config.Journal:
    return config.Journal.model_validate({"sync": "never", "segment_size": 4096} | changes)


def counted(metric: Any, *labels: str) -> float:
    child = metric.labels(*labels) if labels else metric
    return float(child._value.get())


def results() -> dict[str, float]:
    """Records so far, by what became of them."""
    return {result: counted(metrics.JOURNAL_RECORDS, result) for result in ("written", "failed", "overflow")}


@dataclass
class Kept:
    """A journal's folder."""

    path: Path
    clock: Clock = field(default_factory=Clock)
    writers: list[Writer] = field(default_factory=list)

    @property
    def folder(self) -> Folder:
        return Folder(self.path)

    @property
    def reader(self) -> Reader:
        return Reader(self.folder)

    def writer(self, **changes: Any) -> Writer:
        """A writer that runs."""
        made = Writer(self.folder, settings(**changes), 0, self.clock.monotonic, self.clock.now)
        made.start()
        self.writers.append(made)
        return made

    def write(self, *records: Record, **changes: Any) -> None:
        """Write records into a segment, or some, and end."""
        writer = self.writer(**changes)
        for each in records:
            writer.put(encode(each))
        assert writer.stop()

    def keeper(self, **changes: Any) -> Keeper:
        return Keeper(self.folder, settings(**changes), self.clock.monotonic, self.clock.now)

    def files(self, ending: str = "") -> list[Path]:
        return sorted(path for path in self.path.iterdir() if path.name.endswith(ending))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "journal")
    yield made
    for writer in made.writers:
        writer.stop()


@pytest.fixture
def became() -> Callable[[], dict[str, float]]:
    """``became()``: records since the test began, by what became of them."""
    before = results()
    return lambda: {result: count - before[result] for result, count in results().items()}
