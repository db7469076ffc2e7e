"""The sweep's processes: one that is killed is told of, and none outlives the command that began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import pytest

from mailguard.journal.folder import Folder
from mailguard.journal.form import Record
from mailguard.journal.reader import Query
from mailguard.journal.sweep import sweep
from tests.unit.journal.conftest import Kept, record

OUTLIVED = """
import os, sys, time
from pathlib import Path
from mailguard.journal.folder import Folder
from mailguard.journal.reader import Query
from mailguard.journal.sweep import sweep

def fold(records):
    os.write(1, b"begun\\n")
    time.sleep(60)

list(sweep(Folder(Path(sys.argv[1])), Query(), fold, 2))
"""


def two_segments(kept: Kept) -> None:
    kept.write(record(1))
    kept.write(record(2))


def test_a_process_that_is_killed_is_told_of(kept: Kept) -> None:
    two_segments(kept)

    def fold(_records: Iterator[Record]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(BrokenProcessPool):
        list(sweep(Folder(kept.path), Query(), fold, 2))


def test_no_process_outlives_the_command(kept: Kept) -> None:
    """They hold its standard output: its end comes when the last of them is gone."""
    two_segments(kept)
    command = [sys.executable, "-c", OUTLIVED, str(kept.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert [started.stdout.readline() for _ in range(2)] == [b"begun\n"] * 2
        started.kill()
        assert started.communicate(timeout=30) == (b"", None)
