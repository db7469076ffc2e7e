"""The index of a sealed segment: where its blocks are, what time each covers, and which hold a reference or an address.

A sealed segment is a row of gzip members, each of which is a block of whole lines. What a search can ask for is a
:func:`term <terms>`; the index holds, in order, the hash of each term of a block with the block's number, so that one
question costs a few reads of a mapped file. A hash may stand for another term too: records are looked at again.

Little-endian: magic, number of blocks, of terms, of records and of torn lines (all u32 but the magic, 8 octets), CRC-32
of that and of the blocks; per block offset and length in the file (u64, u32) and the times of its first and last record
(u64 each, microseconds); then the terms (u64: 48 bits of hash, 16 of block).

Failure: an index that is not whole is none (:class:`NoIndex`), and the segment is read from its beginning. Pure.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeAlias
from zlib import crc32

from mailguard.caseless import lowered
from mailguard.journal.form import Record, decode, written

BLOCK: Final = 256 * 1024
"""Octets of lines in a block, about: what is unpacked to see one record."""

MAX_BLOCKS: Final = 1 << 16

_MAGIC: Final = b"mgjidx1\n"
_HEAD: Final = struct.Struct("<8s4I")
_CHECK: Final = struct.Struct("<I")
_BLOCK: Final = struct.Struct("<QIQQ")
_TERM: Final = struct.Struct("<Q")
_HASH_OCTETS: Final = 6

Octets: TypeAlias = Any
"""What :mod:`struct` reads from: bytes, or a mapped file."""


class NoIndex(ValueError):
    """These octets are no whole index."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block: ``offset`` and ``length`` in the sealed file, and the times that it covers, in microseconds."""

    offset: int
    length: int
    first: int
    last: int


def connection_of(reference: str) -> str:
    """The reference of the connection that ``reference``, perhaps a transaction's, belongs to."""
    return reference.partition("-")[0]


def reference_term(reference: str) -> str:
    """For a reference and all others of its connection."""
    return "ref:" + connection_of(reference)


def client_term(address: str) -> str:
    """For a client's address, as records have it."""
    return "ip:" + address


def mailbox_terms(role: str, mailbox: str) -> tuple[str, str]:
    """For an address whose ``role`` is ``from`` or ``to``, and for all of its domain; case does not matter."""
    lower = lowered(mailbox)
    return f"{role}:{lower}", f"{role}:@{lower.rpartition('@')[2]}"


def verdict_term(verdict: str) -> str:
    """For what became of it."""
    return "verdict:" + verdict


def terms(record: Record) -> set[str]:
    """Everything that ``record`` can be asked for by."""
    found = {reference_term(record["ref"])}
    client = record.get("client")
    if isinstance(client, dict) and "ip" in client:
        found.add(client_term(client["ip"]))
    if verdict := record.get("verdict"):
        found.add(verdict_term(verdict))
    if sender := record.get("sender"):
        found.update(mailbox_terms("from", sender))
    for recipient in (*record.get("recipients", ()), *filter(None, (record.get("recipient"),))):
        found.update(mailbox_terms("to", recipient))
    return found


def _hashed(term: str) -> int:
    digest = blake2b(term.encode("utf-8", "replace"), digest_size=_HASH_OCTETS).digest()
    return int.from_bytes(digest, "big") << 16


class IndexBuilder:
    """Makes an index, block by block.

    Attributes:
        records, torn: lines that are records, and that are none.
    """

    def __init__(self) -> None:
        self.records = 0
        self.torn = 0
        self._blocks: list[Block] = []
        self._terms: list[int] = []

    def add(self, lines: bytes, offset: int, length: int) -> None:
        """The next block: its ``lines``, and where it stands in the sealed file."""
        found: set[str] = set()
        times = []
        for line in filter(None, lines.split(b"\n")):
            record = decode(line)
            if record is None:
                self.torn += 1
                continue
            times.append(written(record))
            found |= terms(record)
        self.records += len(times)
        number = len(self._blocks)
        self._blocks.append(Block(offset, length, min(times, default=0), max(times, default=0)))
        self._terms.extend(_hashed(term) | number for term in found)

    def octets(self) -> bytes:
        """The index of all blocks so far."""
        head = _HEAD.pack(_MAGIC, len(self._blocks), len(self._terms), self.records, self.torn)
        blocks = b"".join(_BLOCK.pack(b.offset, b.length, b.first, b.last) for b in self._blocks)
        check = _CHECK.pack(crc32(head + blocks))
        return head + check + blocks + struct.pack(f"<{len(self._terms)}Q", *sorted(self._terms))


class Index:
    """An index to ask.

    Attributes:
        blocks: in the order of the file.
        records, torn: lines that are records, and that are none.

    Raises:
        NoIndex: ``octets`` are none.
    """

    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        start = _HEAD.size + _CHECK.size
        if len(octets) < start:
            raise NoIndex("too short")
        magic, blocks, self._count, self.records, self.torn = _HEAD.unpack_from(octets)
        self._terms = start + blocks * _BLOCK.size
        if magic != _MAGIC or len(octets) != self._terms + self._count * _TERM.size:
            raise NoIndex("not whole")
        if crc32(octets[: _HEAD.size] + octets[start : self._terms]) != _CHECK.unpack_from(octets, _HEAD.size)[0]:
            raise NoIndex("damaged")
        self.blocks = [Block(*found) for found in _BLOCK.iter_unpack(octets[start : self._terms])]

    def holding(self, alternatives: Sequence[str]) -> set[int]:
        """The numbers of the blocks that hold one of the terms ``alternatives``, and maybe a few that do not."""
        return {number for term in alternatives for number in self._numbers(_hashed(term))}

    def _numbers(self, low: int) -> Iterator[int]:
        position = bisect_left(range(self._count), low, key=self._term)
        while position < self._count and (term := self._term(position)) < low + MAX_BLOCKS:
            yield term - low
            position += 1

    def _term(self, position: int) -> int:
        found: int = _TERM.unpack_from(self._octets, self._terms + position * _TERM.size)[0]
        return found
