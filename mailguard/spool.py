"""One message's octets while mailguard holds them: in memory up to a bound, beyond it in a file that has no name.

The bound keeps memory at connections x bound (smtp.md, "Time and size"). The file is made with O_TMPFILE, or where a
file system lacks that is unlinked at once: a crash leaves nothing behind, and nobody finds mail by listing a folder.
mailguard holds no queue, so nothing is ever synced to the disk: until the backend has said 250, the message is the
sender's.

:class:`Spool` takes the message in; :class:`Content` is the finished message. ``Content.with_head`` puts other header
fields in front of the same body without copying it; the body lives until the last Content that shares it is closed.
Files are read with pread, so several readers can be under way at once, in threads too.

Blocking: calls go to the page cache in pieces of at most one received chunk when writing and :data:`CHUNK` octets
when reading, well under a millisecond each; a thread for each piece would cost more than the piece. ``digest`` of a
whole large message is the exception, tens of milliseconds for 50 MiB: give it to a thread, which is safe.

Part of the file system stays free for others: whoever shares it with the spool, a log or the backend's own queue, is
not to fail because somebody sends large messages (:class:`Folder`).

Units: octets. Failure: a write that the file system refuses is :class:`SpoolFull`, and the spool takes nothing more;
a file that cannot be read back whole is :class:`SpoolLost`. Both are for 4yz replies: the sender still has the
message.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

CHUNK: Final = 131_072
"""Octets read or handed out at a time, unless told otherwise."""


class SpoolError(Exception):
    """The spool failed; the message is still the sender's."""


class SpoolFull(SpoolError):
    """The file system took no more: no space, a quota, a size limit, too many open files, no such folder."""


class SpoolLost(SpoolError):
    """What was written cannot be read back."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where files lie.

    Attributes:
        path: None for the system's temporary folder.
        min_free: octets of its file system that stay free; 0: it takes whatever fits.
    """

    path: Path | None = None
    min_free: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return str(self.path or "the temporary folder")

    @property
    def where(self) -> Path:
        """The folder itself."""
        return self.path or Path(tempfile.gettempdir())

    def too_small(self) -> bool:
        """Whether its file system is no larger than what must stay free, so that nothing could ever be written.

        Raises:
            OSError: there is no such folder.
        """
        system = os.statvfs(self.where)
        return 0 < system.f_blocks * system.f_frsize <= self.min_free

    def lacking(self, octets: int) -> str:
        """Why no ``octets`` may be written now, though they might fit; empty where they may.

        Free is what an ordinary user may still use (statvfs(3), ``f_bavail``), also to root. A file system that tells
        of no blocks is not asked.
        """
        if not self.min_free:
            return ""
        try:
            system = os.statvfs(self.where)
        except OSError as error:
            return f"{self.name}: {error.strerror or error}"
        free = system.f_bavail * system.f_frsize
        if not system.f_blocks or free - octets >= self.min_free:
            return ""
        return f"{self.name}: of {free} octets {self.min_free} must stay free"


class _Memory:
    """A body in memory; ``users``: how many Contents still need it."""

    __slots__ = ("_octets", "users")

    file: FileIO | None = None
    folder = Folder()

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.users = 0

    def read(self, start: int, count: int) -> bytes:
        return self._octets[start : start + count]

    def close(self) -> None:
        self._octets = b""


class _File:
    """A body in an unlinked file, held read-only: whoever is handed the descriptor must not change the mail."""

    def __init__(self, file: FileIO, folder: Folder) -> None:
        self.file: FileIO | None = file
        self.folder = folder
        self.users = 0

    def read(self, start: int, count: int) -> bytes:
        if self.file is None:
            raise ValueError("read of a closed Content")
        pieces, wanted = [], count
        while wanted:
            try:
                piece = os.pread(self.file.fileno(), wanted, start)
            except OSError as error:
                raise SpoolLost(f"spool file: {error}") from error
            if not piece:
                raise SpoolLost(f"spool file ends at octet {start}")
            pieces.append(piece)
            start, wanted = start + len(piece), wanted - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


class Content:
    """A finished message: ``head``, then the spooled octets from ``start`` on. A context manager; close it once.

    Attributes:
        size: octets of the whole.
    """

    def __init__(self, body: _Memory | _File, end: int, head: bytes = b"", start: int = 0) -> None:
        body.users += 1
        self._shared: _Memory | _File | None = body
        self._head = head
        self._start = start
        self._end = end
        self.size = len(head) + end - start

    def _body(self) -> _Memory | _File:
        if self._shared is None:
            raise ValueError("read of a closed Content")
        return self._shared

    def fileno(self) -> int | None:
        """Descriptor of the file, open for reading at its start, that holds the message *as received*; None in memory.

        What ``with_head`` changed is not in that file.
        """
        file = self._body().file
        return None if file is None else file.fileno()

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The whole in pieces of at most ``size`` octets, none of them empty.

        Raises:
            SpoolLost: the file cannot be read back.
        """
        # What is left of the head goes with the beginning of the body: a short message is one piece, and one write.
        for position in range(0, self.size, size):
            yield self._piece(position, size)

    def _piece(self, position: int, count: int) -> bytes:
        """``count`` octets from ``position`` on, or what there is of them."""
        head, start = self._head[position : position + count], self._start
        if position > len(self._head):
            start += position - len(self._head)
        wanted = min(count - len(head), self._end - start)
        return head + self._body().read(start, wanted) if wanted > 0 else head

    def prefix(self, count: int) -> bytes:
        """The first ``count`` octets, or all where there are fewer.

        Raises:
            SpoolLost: the file cannot be read back.
        """
        return self._piece(0, count)

    def new_file(self) -> Spool:
        """An empty spool in the folder of this content's file, with nothing in memory: for a copy as a file."""
        return Spool(0, self._body().folder)

    def with_head(self, head: bytes, skip: int) -> Content:
        """This content with ``head`` in place of its first ``skip`` octets. The body is shared; close both.

        Raises:
            ValueError: there are fewer than ``skip`` octets.
        """
        if not 0 <= skip <= self.size:
            raise ValueError(f"cannot skip {skip} of {self.size} octets")
        kept = self._head[skip:]
        start = self._start + max(0, skip - len(self._head))
        return Content(self._body(), self._end, head + kept, start)

    def digest(self) -> str:
        """SHA-256 of the whole, in lower-case hexadecimal.

        Raises:
            SpoolLost: the file cannot be read back.
        """
        sha = hashlib.sha256()
        for chunk in self.chunks():
            sha.update(chunk)
        return sha.hexdigest()

    def close(self) -> None:
        """Let the octets go; more than once does no harm."""
        body, self._shared = self._shared, None
        if body is not None:
            body.users -= 1
            if not body.users:
                body.close()

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _nameless(directory: Path) -> FileIO:
    """A file without a name, to write, by O_TMPFILE (open(2))."""
    return FileIO(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb")


def _unlinked(directory: Path) -> FileIO:
    """The same where a file system has no O_TMPFILE."""
    descriptor, name = tempfile.mkstemp(prefix="mailguard-", dir=directory)
    Path(name).unlink()
    return FileIO(descriptor, "wb")


def _reader(writer: FileIO) -> FileIO:
    """The file of ``writer``, read-only and from its start (proc(5), /proc/pid/fd).

    Only now, so that a message on its way in takes one descriptor and not two: clients may be slow.
    """
    return FileIO(f"/proc/self/fd/{writer.fileno()}", "rb")


class Spool:
    """A message on its way in.

    Args:
        memory_limit: octets kept in memory; more go to a file.
        folder: of that file.
    """

    def __init__(self, memory_limit: int, folder: Folder = Folder()) -> None:
        self._limit = memory_limit
        self._folder = folder
        self._memory: bytes | bytearray | None = b""
        """A message that comes in one piece is kept as that; one in many is not copied for each."""
        self._file: FileIO | None = None
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append ``chunk``.

        Raises:
            SpoolFull: there is no room; the spool is closed by it, and every further write says the same.
        """
        if self._memory is None or self.size + len(chunk) > self._limit:
            self._to_file(chunk)
        elif not self.size:
            self._memory = chunk
        else:
            if isinstance(self._memory, bytes):
                self._memory = bytearray(self._memory)
            self._memory += chunk
        self.size += len(chunk)

    def _to_file(self, chunk: bytes) -> None:
        try:
            if lacking := self._folder.lacking(len(self._memory or b"") + len(chunk)):
                self.close()
                raise SpoolFull(lacking)
            if self._memory is not None:
                self._file = self._open()
                _write_all(self._file, self._memory)
                self._memory = None
            if self._file is None:
                raise SpoolFull("the spool is closed")
            _write_all(self._file, chunk)
        except OSError as error:
            self.close()
            raise SpoolFull(f"{self._folder.name}: {error.strerror or error}") from error

    def _open(self) -> FileIO:
        try:
            return _nameless(self._folder.where)
        except OSError:
            return _unlinked(self._folder.where)

    def finish(self) -> Content:
        """The message as a Content, which owns the octets from now on; the spool is closed.

        Raises:
            SpoolFull: the spool is closed already, or ran full.
            SpoolLost: its file cannot be opened for reading.
        """
        if self._memory is not None:
            body: _Memory | _File = _Memory(bytes(self._memory))
            self._memory = None
        elif self._file is not None:
            body = _File(self._reopened(self._file), self._folder)
        else:
            raise SpoolFull("the spool is closed")
        return Content(body, self.size)

    def _reopened(self, writer: FileIO) -> FileIO:
        try:
            return _reader(writer)
        except OSError as error:
            raise SpoolLost(f"spool file: {error}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Drop what was spooled, unless ``finish`` gave it away; more than once does no harm."""
        self._memory = None
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _write_all(file: FileIO, octets: bytes | bytearray) -> None:
    """Write every octet: a raw write may take fewer, as at the edge of a full disk (write(2))."""
    view = memoryview(octets)
    try:
        while view:
            view = view[file.write(view) or 0 :]
    finally:
        view.release()


def why_unusable(folder: Folder) -> str:
    """Why nothing can be spooled in ``folder`` now; empty where one octet can, and can be read back."""
    spool = Spool(0, folder)
    try:
        spool.write(b"\0")
        spool.finish().close()
    except SpoolError as error:
        return str(error)
    finally:
        spool.close()
    return ""
