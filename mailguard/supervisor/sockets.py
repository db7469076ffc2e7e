"""The listening sockets: bound once, or taken from systemd, and held for as long as the service lives.

Workers come and go and all listen on the same sockets, so that a client never meets a closed door between two of them;
whoever connects meanwhile waits in the kernel. A socket that systemd hands over belongs to the entry of ``listen`` that
has its address, or to ``admin.address``; one that no entry asks for, and an entry that none fits while others were
handed over, are mistakes that are told, since half a service would be worse than none.

Failure: :class:`~mailguard.net.local.CannotListen`, :class:`~mailguard.supervisor.systemd.BadHandover`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailguard.config import Settings
from mailguard.net.local import BACKLOG, CannotListen, bind, look_up
from mailguard.supervisor.systemd import BadHandover


@dataclass(frozen=True)
class Sockets:
    """What is listened on: ``smtp`` in the order of ``settings.listen``, and the pages of ``admin``.

    ``ours``: nobody else holds those of ``smtp``: they end with the service. Systemd holds those that it handed over,
    and whoever waits there is served by the next start.
    """

    smtp: Sequence[socket.socket]
    admin: socket.socket
    ours: bool = True

    @classmethod
    def of(
        cls,
        settings: Settings,
        handed: Sequence[tuple[str, socket.socket]],
        bind: Callable[[str], socket.socket] = bind,
    ) -> Sockets:
        """Bound by ``bind``, and not listening yet but for those that were ``handed`` over.

        Raises:
            CannotListen: an address cannot be had.
            BadHandover: what was handed over does not fit the settings.
        """
        left = list(handed)
        admin = _one("`admin.address`", settings.admin.address, left, bind, must=False)
        smtp = [
            _one(f"entry {number} of `listen`", wanted.address, left, bind, must=bool(handed))
            for number, wanted in enumerate(settings.listen, start=1)
        ]
        if left:
            name, taken = left[0]
            called = f" ({name})" if name else ""
            raise BadHandover(
                f"systemd hands over {told(taken)}{called}, which no entry of `listen` names: add one, or take it out "
                "of the socket unit"
            )
        return cls(smtp, admin, not handed)

    def listen(self, settings: Settings) -> None:
        """Let clients connect: they wait until a worker takes them.

        Raises:
            CannotListen: somebody else listens there by now.
        """
        named = [(f"entry {i} of `listen`", wanted.address) for i, wanted in enumerate(settings.listen, start=1)]
        wanted = [("`admin.address`", settings.admin.address), *named]
        for (setting, address), bound in zip(wanted, (self.admin, *self.smtp), strict=True):
            try:
                bound.listen(BACKLOG)
            except OSError as error:
                raise CannotListen(setting, address, error) from error

    def stop(self) -> None:
        """Hold the sockets of clients no longer: when no worker does either, nobody can connect."""
        for each in self.smtp:
            each.close()


def told(bound: socket.socket) -> str:
    """Its address and port, as the settings write them."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _one(
    setting: str,
    address: str,
    left: list[tuple[str, socket.socket]],
    bind: Callable[[str], socket.socket],
    *,
    must: bool,
) -> socket.socket:
    """The socket for ``address``: one of ``left``, which is taken out of it, else a new one.

    Raises:
        CannotListen: it cannot be had.
        BadHandover: it ``must`` be among ``left``, and is not.
    """
    try:
        wanted = look_up(address)
        for entry in left:
            if entry[1].getsockname()[:2] == wanted.name[:2]:
                left.remove(entry)
                return entry[1]
        if not must:
            return bind(address)
    except OSError as error:
        raise CannotListen(setting, address, error) from error
    others = ", ".join(told(taken) for _, taken in left) or "none that is left"
    raise BadHandover(
        f"systemd hands over no socket for {address} ({setting}), only {others}: name it in the socket unit "
        "(ListenStream=), or take the entry out"
    )
