"""What the figures of ``make bench-journal`` rest on: a journal made as the service makes it, asked by the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.journal.folder import Folder
from mailguard.journal.reader import Query, Reader
from tests.bench.journal import HEADING, make, measured, questions, section

pytestmark = pytest.mark.slow


def test_a_journal_is_made_whole_and_every_question_answered(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    octets = make(path, 600, 1)
    reader = Reader(Folder(path))
    assert (len(reader.search(Query())), reader.torn) == (600, 0)
    assert {each.suffix for each in path.iterdir()} == {".gz", ".idx"}
    asked = measured(path, 1)
    assert [each.command for each in asked] == [each.command for each in questions(path)]
    assert all(each.seconds > 0 and each.mebibytes > 10 for each in asked)
    text = section(path, 600, octets, 1.0, asked)
    assert text.startswith(HEADING)
    assert "600 records" in text
