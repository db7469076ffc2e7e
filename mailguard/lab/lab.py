"""The whole laboratory: servers in one scratch folder, each started when first asked for, all ended at the end.

>>> with Lab() as lab:                                             # doctest: +SKIP
...     print(lab.dns().address, lab.exim().address, lab.clamd().address, lab.spamd().address)
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import Exim
from mailguard.lab.folders import make_folder, require_reachable
from mailguard.lab.process import remove_at_the_end
from mailguard.lab.rbldnsd import Rbldnsd
from mailguard.lab.server import Server
from mailguard.lab.spamd import Spamd
from mailguard.lab.unbound import Unbound

AnyServer = TypeVar("AnyServer", bound=Server)


class Lab:
    """Real servers on loopback.

    Args:
        scratch: an existing folder that every user may pass through, kept at the end; None makes one in the system's
            temporary folder and removes it.

    Raises:
        LabError: from any method that starts a server: it is not installed, or is not ready in time.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        self._own = scratch is None
        self.scratch = Path(tempfile.mkdtemp(prefix="mailguard-lab-")) if scratch is None else scratch
        if self._own:
            make_folder(self.scratch)
            remove_at_the_end(self.scratch)
        require_reachable(self.scratch)
        self._servers: dict[str, Server] = {}

    def lists(self) -> Rbldnsd:
        """rbldnsd with the DNS lists."""
        return self.server("rbldnsd", Rbldnsd)

    def dns(self) -> Unbound:
        """The resolver, and rbldnsd behind it."""
        return self.server("unbound", Unbound, lambda folder: Unbound(folder, self.lists().address))

    def exim(self, **settings: Any) -> Exim:
        """Exim; ``settings`` (see :class:`Exim`) count at the first call."""
        return self.server("exim", Exim, lambda folder: Exim(folder, **settings))

    def clamd(self, **settings: Any) -> Clamd:
        """clamd; ``settings`` (see :class:`Clamd`) count at the first call."""
        return self.server("clamd", Clamd, lambda folder: Clamd(folder, **settings))

    def spamd(self, **settings: Any) -> Spamd:
        """spamd asking :meth:`dns`; ``settings`` (see :class:`Spamd`) count at the first call."""
        return self.server("spamd", Spamd, lambda folder: Spamd(folder, self.dns().address, **settings))

    def server(self, name: str, kind: type[AnyServer], make: Callable[[Path], AnyServer] | None = None) -> AnyServer:
        """The server called ``name``, made and started at the first call; for a second Exim, say, of another name."""
        known = self._servers.get(name)
        if known is None:
            known = (make or kind)(self.scratch / name)
            self._servers[name] = known
            known.start()
        assert isinstance(known, kind)  # noqa: S101 - a name stands for one kind of server
        return known

    def close(self) -> None:
        """End every server, the last started first, and remove a scratch folder of our own."""
        for server in reversed(self._servers.values()):
            server.stop()
        if self._own:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
