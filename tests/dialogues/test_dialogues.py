"""Plays every dialogue: the SMTP face alone in one write and octet by octet, and the whole mailguard before a sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dialogues.runner import FOLDER, Cut, Dialogue, octet_by_octet, read, read_all, whole
from tests.dialogues.worlds import SMTP_BY_BDAT, SMTP_BY_DATA, before_sink, face

DIALOGUES = read_all()


def named(dialogues: list[Dialogue]) -> Any:
    return pytest.mark.parametrize("dialogue", dialogues, ids=lambda dialogue: f"{dialogue.group}/{dialogue.name}")


@named([dialogue for dialogue in DIALOGUES if dialogue.only != "mailguard"])
@pytest.mark.parametrize("cut", [whole, octet_by_octet])
async def test_the_smtp_face(dialogue: Dialogue, cut: Cut) -> None:
    async with face(dialogue) as world:
        await world.converse(dialogue, cut)


@named(DIALOGUES)
@pytest.mark.parametrize("extensions", [SMTP_BY_DATA, SMTP_BY_BDAT], ids=["data", "bdat"])
async def test_mailguard(dialogue: Dialogue, extensions: tuple[bytes, ...]) -> None:
    async with before_sink(dialogue, extensions) as world:
        await world.converse(dialogue)


def test_there_are_enough_and_each_names_its_source() -> None:
    assert len(DIALOGUES) >= 80
    assert [
        one.name for one in DIALOGUES if not one.about.startswith(("RFC ", "PROXY protocol ", "XCLIENT_README"))
    ] == []


def test_none_lies_outside_a_group() -> None:
    assert sorted(FOLDER.rglob("*.txt")) == sorted(FOLDER.glob("*/*.txt"))


@pytest.mark.parametrize(
    "text",
    ["-> x\n<- 250\n", "about: RFC 1; x\n-> x\n<- 250\n", "about: RFC 1; x\n?? x\n", "about: RFC 1; x\n== gone\n"],
)
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.txt"):
        read(path)
