"""Messages of every shape that mail comes in, always the same octets (but for the time in signatures): what goes
through mailguard must come out so.

    for sample in corpus.messages(): ...                                          # send sample.octets, record what a
    backend got assert corpus.undo(delivered, hostname) == corpus.expected(sample)

:func:`undo` shares no code with mailguard: it takes our fields off the top, known by name and order, and nothing
else. All line ends are CR LF and no line is over 65,536 octets: what mailguard does with others is told elsewhere.
"""

from tests.corpus.sample import STRUCTURES, Sample, messages
from tests.corpus.undo import expected, undo

__all__ = ["STRUCTURES", "Sample", "expected", "messages", "undo"]
