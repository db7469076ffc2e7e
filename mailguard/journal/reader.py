"""Reads the journal: the records of a reference, or the newest that answer a :class:`Query`.

Whatever the processes that write it do meanwhile: a segment may be growing, be sealed or expire while it is read. Lines
that are torn are passed over and counted; so are blocks that do not unpack, and segments that cannot be read are named
(:attr:`Reader.left_out`). Sealed segments are asked by their index,
and only the blocks that may hold an answer are unpacked; plain ones are read whole. The newest blocks come first, and a
search ends when no older one can matter.

Blocking. Memory: one block at a time, or one plain segment, and the records found. Failure: OSError where the folder
may not be read.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappush, heapreplace
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import count
from typing import Final, TypeAlias

from mailguard.journal.folder import Folder
from mailguard.journal.form import Record, decode, written
from mailguard.journal.index import Block, Index, NoIndex, connection_of, reference_term, terms
from mailguard.journal.pseudonyms import MARK
from mailguard.journal.segment import INDEX, PLAIN, SEALED, parts

EVER: Final = 1 << 62
"""Microseconds: later than any record."""
_GZIP: Final = 31
"""``wbits`` of one gzip member."""

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many blocks of how many have been looked at."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    Attributes:
        terms: of each of these groups one term must be the record's (:func:`mailguard.journal.index.terms`).
        since, until: microseconds; a record of ``since`` is in, one of ``until`` is not.
        network: that the client is in.
        reference: of one transaction or connection alone; empty for any.
        needle: what every line holds that is asked for: others need no reading.
    """

    terms: Sequence[Sequence[str]] = ()
    since: int = 0
    until: int = EVER
    network: IPv4Network | IPv6Network | None = None
    reference: str = ""
    needle: bytes = b""

    def answered_by(self, record: Record) -> bool:
        """Whether ``record`` is asked for."""
        if self.reference and record["ref"] != self.reference:
            return False
        if (self.since or self.until != EVER) and not self.since <= written(record) < self.until:
            return False
        if self.network is not None and not _within(record, self.network):
            return False
        return not self.terms or _has(terms(record), self.terms)

    def hidden_from(self, record: Record) -> bool:
        """Whether nobody can say if ``record`` is asked for: of a pseudonym no network is known."""
        if self.network is None or not str((record.get("client") or {}).get("ip", "")).startswith(MARK):
            return False
        return replace(self, network=None).answered_by(record)


def about(reference: str) -> Query:
    """All records of ``reference``; a connection's are those of all its transactions too."""
    transaction = reference if "-" in reference else ""
    needle = connection_of(reference).encode("ascii")
    return Query(terms=[[reference_term(reference)]], reference=transaction, needle=needle)


def _within(record: Record, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(record["client"]["ip"]) in network
    except (KeyError, TypeError, ValueError):  # no client, or under a pseudonym
        return False


def _has(found: set[str], wanted: Sequence[Sequence[str]]) -> bool:
    return all(any(term in found for term in group) for group in wanted)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block, or a whole segment without an index: of which, the times it may cover, and how to get its lines."""

    stem: str
    first: int
    last: int
    lines: Callable[[], bytes]


@dataclass
class Reader:
    """Reads the journal in ``folder``.

    Attributes:
        torn: lines and blocks passed over so far because they are not whole, of those that were looked at.
        left_out: segments that could not be read, and why.
        hidden: records of which nobody can say whether they answer, since their client has a pseudonym.
    """

    folder: Folder
    torn: int = field(default=0, init=False)
    left_out: dict[str, str] = field(default_factory=dict, init=False)
    hidden: int = field(default=0, init=False)

    def search(self, query: Query, limit: int = 0, progress: Progress = lambda _done, _all: None) -> list[Record]:
        """The newest ``limit`` records, 0 for all, that answer ``query``; the oldest of them first."""
        pieces = sorted(self._pieces(query), key=lambda piece: -piece.last)
        newest: list[tuple[int, int, Record]] = []
        order = count()
        for number, piece in enumerate(pieces):
            if limit and len(newest) == limit and piece.last < newest[0][0]:
                break
            progress(number, len(pieces))
            for record in self._records(piece, query):
                entry = (written(record), next(order), record)
                if not limit or len(newest) < limit:
                    heappush(newest, entry)
                elif entry[0] > newest[0][0]:
                    heapreplace(newest, entry)
        progress(len(pieces), len(pieces))
        return [record for _time, _order, record in sorted(newest, key=lambda entry: entry[:2])]

    def _records(self, piece: _Piece, query: Query) -> Iterator[Record]:
        for line in self._lines(piece).split(b"\n"):
            if not line or query.needle not in line:
                continue
            record = decode(line)
            if record is None:
                self.torn += 1
            elif query.answered_by(record):
                yield record
            elif query.hidden_from(record):
                self.hidden += 1

    def _lines(self, piece: _Piece) -> bytes:
        try:
            return piece.lines()
        except OSError as error:
            self.left_out[piece.stem] = (error.strerror or str(error)).lower()
            return b""

    # --- where to look ------------------------------------------------------------------------------------------

    def segments(self) -> dict[str, bool]:
        """Every segment by its stem, in order of their beginnings, and whether it is sealed."""
        found = [each for each in map(parts, self.folder.names()) if each and each[1] in (PLAIN, SEALED)]
        sealed = {stem for stem, ending in found if ending == SEALED}
        return {stem: stem in sealed for stem, _ending in found}

    def of_segment(self, stem: str, sealed: bool, query: Query) -> Iterator[Record]:
        """The records of one segment that answer ``query``, in the order written; none where it has expired."""
        for piece in self._in_time(self._of(stem, sealed, query), query):
            yield from self._records(piece, query)

    def _pieces(self, query: Query) -> Iterator[_Piece]:
        for stem, sealed in self.segments().items():
            yield from self._in_time(self._of(stem, sealed, query), query)

    @staticmethod
    def _in_time(pieces: Iterable[_Piece], query: Query) -> Iterator[_Piece]:
        return (piece for piece in pieces if piece.last >= query.since and piece.first < query.until)

    def _of(self, stem: str, sealed: bool, query: Query) -> Iterable[_Piece]:
        return self._sealed(stem, query) if sealed else [_Piece(stem, 0, EVER, partial(self._plain, stem))]

    def _sealed(self, stem: str, query: Query) -> Iterator[_Piece]:
        index = self._index(stem)
        if index is None:
            yield _Piece(stem, 0, EVER, partial(self._unpacked, stem))
            return
        numbers = set(range(len(index.blocks)))
        for alternatives in query.terms:
            numbers &= index.holding(alternatives)
        for block in (index.blocks[number] for number in sorted(numbers) if number < len(index.blocks)):
            yield _Piece(stem, block.first, block.last, partial(self._block, stem, block))

    def _index(self, stem: str) -> Index | None:
        try:
            descriptor = self.folder.read(stem + INDEX)
        except OSError:  # there is none, or it may not be read: the segment is read whole
            return None
        try:
            return Index(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        except (NoIndex, ValueError):  # mmap: an empty file
            return None
        finally:
            os.close(descriptor)

    # --- lines --------------------------------------------------------------------------------------------------

    def _plain(self, stem: str) -> bytes:
        """All of a plain segment; if it has been sealed meanwhile, of that; nothing if it has expired."""
        try:
            with os.fdopen(self.folder.read(stem + PLAIN), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return self._unpacked(stem)

    def _block(self, stem: str, block: Block) -> bytes:
        with suppress(FileNotFoundError):  # expired meanwhile
            descriptor = self.folder.read(stem + SEALED)
            try:
                return self._member(os.pread(descriptor, block.length, block.offset))
            finally:
                os.close(descriptor)
        return b""

    def _member(self, packed: bytes) -> bytes:
        try:
            return zlib.decompress(packed, _GZIP)
        except zlib.error:
            self.torn += 1
            return b""

    def _unpacked(self, stem: str) -> bytes:
        """All of a sealed segment, as far as it unpacks."""
        try:
            with os.fdopen(self.folder.read(stem + SEALED), "rb") as file:
                rest = file.read()
        except FileNotFoundError:
            return b""
        unpacked = []
        while rest:
            member = zlib.decompressobj(_GZIP)
            try:
                unpacked.append(member.decompress(rest))
            except zlib.error:
                self.torn += 1
                break
            rest = member.unused_data
        return b"".join(unpacked)
