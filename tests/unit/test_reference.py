"""Reference ids: read out on the telephone, and never the same twice."""

from __future__ import annotations

import re
from unittest.mock import patch

from mailguard.reference import new_reference


def test_a_reference_can_be_read_out_and_is_new_each_time() -> None:
    made = [new_reference() for _ in range(1000)]
    assert all(re.fullmatch(r"[2-9BCDFGHJKLMNPQRSTVWXZ]{9}", each) for each in made)
    assert len(set(made)) == len(made)


def test_every_number_has_a_reference_of_its_own() -> None:
    with patch("secrets.randbelow", lambda bound: bound - 1):
        assert new_reference() == "ZZZZZZZZZ"
    with patch("secrets.randbelow", lambda _bound: 0):
        assert new_reference() == "222222222"
