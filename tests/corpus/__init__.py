"""Messages of every shape that mail comes in: what goes through mailguard must come out as it went in.

They are always the same octets, but for the time in signatures:

    for sample in corpus.messages():
        delivered = ...  # send sample.octets, and record what a backend got
        assert corpus.undo(delivered, hostname) == corpus.expected(sample)

:func:`undo` shares no code with mailguard: it takes our fields off the top, known by name and order, and nothing
else. All line ends are CR LF and no line is over 65,536 octets: dialogues and unit tests tell what becomes of others.
"""

from tests.corpus.sample import STRUCTURES, Sample, messages
from tests.corpus.undo import expected, undo

__all__ = ["STRUCTURES", "Sample", "expected", "messages", "undo"]
