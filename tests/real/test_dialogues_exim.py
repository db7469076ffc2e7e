"""Every dialogue with the whole mailguard before a real Exim, and what Exim stored afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailguard.lab import Lab
from mailguard.lab.exim import Exim
from tests.dialogues.runner import Dialogue, read_all
from tests.dialogues.worlds import before_exim, mailboxes

DIALOGUES = [dialogue for dialogue in read_all() if not dialogue.sink]


@pytest.fixture(scope="module")
def dialogues_exim() -> Iterator[Exim]:
    """An Exim with the mailboxes of all dialogues."""
    with Lab() as lab:
        yield lab.exim(users=mailboxes(DIALOGUES))


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: f"{dialogue.group}/{dialogue.name}")
async def test_before_exim(dialogue: Dialogue, dialogues_exim: Exim) -> None:
    async with before_exim(dialogue, dialogues_exim) as world:
        await world.converse(dialogue)


def test_hardly_any_is_left_out() -> None:
    assert len(DIALOGUES) >= 0.9 * len(read_all())
