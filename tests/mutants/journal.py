"""Mutants of the journal: what refused somebody stays explained, whatever happens to disk and process."""

from __future__ import annotations

from tests.mutants.mutant import EXPLAINED, SHARED, Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        EXPLAINED,
        "a-refusal-is-not-journalled",
        "mailguard/journal/recorder.py",
        "            self._journal.put(record)\n",
        "            pass\n",
        ("tests/unit/session/test_journal.py",),
    ),
    Mutant(
        EXPLAINED,
        "half-a-record-stays-before-the-next",
        "mailguard/journal/segment.py",
        "            os.ftruncate(self._descriptor, self.size)\n",
        "            pass\n",
        ("tests/unit/journal/test_writer.py",),
    ),
    Mutant(
        EXPLAINED,
        "a-torn-line-hides-what-follows",
        "mailguard/journal/reader.py",
        "            if record is None:\n                self.torn += 1\n",
        "            if record is None:\n                self.torn += 1\n                return\n",
        ("tests/unit/journal/test_cuts.py",),
    ),
    Mutant(
        EXPLAINED,
        "a-segment-is-sealed-while-it-is-written",
        "mailguard/journal/sealing.py",
        "if not locked(descriptor) or os.fstat(descriptor).st_nlink == 0:",
        "if os.fstat(descriptor).st_nlink == 0:",
        ("tests/unit/journal/test_keeper.py",),
    ),
    Mutant(
        EXPLAINED,
        "an-index-forgets-what-stands-in-several-blocks",
        "mailguard/journal/index.py",
        "            position += 1\n",
        "            break\n",
        ("tests/unit/journal/test_reader.py",),
    ),
    Mutant(
        SHARED,
        "a-dead-disk-fills-the-memory",
        "mailguard/journal/writer.py",
        "self._waiting + len(line) <= self._settings.queue_size and",
        "",
        ("tests/unit/journal/test_writer.py",),
    ),
)
