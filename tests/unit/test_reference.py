"""Reference ids: read out on the telephone, and never the same twice."""

from __future__ import annotations

import os
import re
from collections import Counter
from unittest.mock import patch

from mailguard import reference
from mailguard.reference import new_reference


def test_a_reference_can_be_read_out_and_is_new_each_time() -> None:
    made = [new_reference() for _ in range(1000)]
    assert all(re.fullmatch(r"[2-9BCDFGHJKLMNPQRSTVWXZ]{9}", each) for each in made)
    assert len(set(made)) == len(made)


def test_every_sign_is_as_likely_as_any_other() -> None:
    every_octet = bytes(range(256)) * 9
    with patch("os.urandom", lambda _number: every_octet):
        reference._fetch()
    signs = Counter("".join(reference.new_reference() for _ in range(252)))
    reference._forget()
    assert set(signs.values()) == {9 * 252 // 28}
    assert len(signs) == 28


def test_a_child_gives_none_of_the_references_of_its_parent() -> None:
    new_reference()
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, new_reference().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != new_reference()
    os.close(reading)
    os.close(writing)
