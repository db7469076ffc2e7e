"""rbldnsd: the DNS lists' own servers, with the lists of :mod:`mailguard.lab.world`.

It speaks UDP alone; :mod:`mailguard.lab.unbound` stands before it, as a resolver stands before real lists.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import override

from mailguard.lab import world
from mailguard.lab.folders import answers_datagram, free_port, give, is_root
from mailguard.lab.process import LabError, wait_until
from mailguard.lab.server import Server

_RELOADED = "zones reloaded"


class Rbldnsd(Server):
    """One rbldnsd with all lists.

    Args:
        folder: for its zone files.
        lists: contents by zone name and kind of data (``ip4set``, ``ip6trie``).
    """

    program, package, user = "rbldnsd", "rbldnsd", "rbldns"

    def __init__(self, folder: Path, lists: Mapping[str, Mapping[str, str]] = world.LISTS) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._lists = lists
        for zone, data in lists.items():
            for kind, content in data.items():
                self._store(zone, kind, content)

    @property
    @override
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def zones(self) -> tuple[str, ...]:
        """The names of the lists."""
        return tuple(self._lists)

    @override
    def command(self) -> list[str]:
        zones = [f"{zone}:{kind}:{self._file(zone, kind).name}" for zone, data in self._lists.items() for kind in data]
        options = ["-n", "-b", f"127.0.0.1/{self.port}", "-w", str(self.folder), "-c", "1h", "-p", "/dev/null"]
        return [self.binary, *options, *(["-u", self.run_as] if is_root() else []), *zones]

    @override
    def answers(self) -> bool:
        """Whether any reply comes: a version question needs no zone."""
        return answers_datagram(self.port, b"\0\1\0\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3")

    def write(self, zone: str, kind: str, content: str) -> None:
        """Replace the ``kind`` of data of ``zone`` and wait until rbldnsd serves it.

        Resolvers go on with what they have cached: see :meth:`mailguard.lab.unbound.Unbound.forget`.

        Raises:
            LabError: it did not reload in time.
        """
        before = self._reloads()
        self._store(zone, kind, content)
        self.process.signal(signal.SIGHUP)
        try:
            wait_until(lambda: self._reloads() > before, f"rbldnsd reloads {zone}")
        except LabError as error:
            raise LabError(f"{error}\n{self.process.log_tail()}") from None

    def empty(self, zone: str) -> None:
        """Serve ``zone`` without any entry: not even the test points."""
        for kind in self._lists[zone]:
            self.write(zone, kind, "")

    def restore(self, zone: str) -> None:
        """Serve ``zone`` as it was at first."""
        for kind, content in self._lists[zone].items():
            self.write(zone, kind, content)

    def _file(self, zone: str, kind: str) -> Path:
        return self.folder / f"{zone}.{kind}"

    def _store(self, zone: str, kind: str, content: str) -> None:
        """Written aside and moved into place: rbldnsd never reads half a file."""
        draft = self.folder / "draft"
        draft.write_text(world.zone_head(zone) + content)
        draft.chmod(0o644)
        give(draft, self.run_as)
        draft.replace(self._file(zone, kind))

    def _reloads(self) -> int:
        return self.log.read_text(errors="replace").count(_RELOADED)
