"""The addresses to listen on: free, or taken by mailguard itself.

An address is bound and let go at once, which disturbs nobody. One that is taken is asked who is there: a listener must
greet as mailguard under our name, the admin address must answer /healthz. Blocking.
"""

from __future__ import annotations

import errno
import http.client
import json
import socket
from ipaddress import ip_address
from typing import Final

from mailguard.config import Listener
from mailguard.doctor.notes import Notes
from mailguard.doctor.patient import Patient
from mailguard.net.local import Bindable, CannotListen, look_up
from mailguard.net.proxy_header import LOCAL
from mailguard.replies import reply

PATIENCE: Final = 10.0
"""Seconds for a greeting, ``limits.greeting_wait`` (6 at the most) being part of it."""
_MAX_GREETING: Final = 1024
_TAKEN: Final = "`ss -ltnp` tells who; end it, or change the address"


def examine(patient: Patient, notes: Notes) -> None:
    """Each listener, and the admin address."""
    greeting = bytes(reply("greeting", hostname=patient.settings.hostname).encode())
    for listener in patient.settings.listen:
        _port(listener.address, "listen", listener, greeting, notes)
    _port(patient.settings.admin.address, "admin.address", None, greeting, notes)


def _port(address: str, setting: str, listener: Listener | None, greeting: bytes, notes: Notes) -> None:
    if address.endswith(":0"):
        notes.ok(address, "takes a free port")
        return
    try:
        here = look_up(address)
        _bind(here)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            told, _, remedy = str(CannotListen(f"`{setting}`", address, error)).partition("; ")
            notes.failed(address, told, remedy or "write an address of this machine")
            return
        _taken(address, here, error, listener, greeting, notes)
        return
    notes.ok(address, "free: mailguard is not running")


def _bind(here: Bindable) -> None:
    """Bind and let go.

    Raises:
        OSError: it cannot be bound.
    """
    with socket.socket(here.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if here.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(here.name)


def _taken(
    address: str, here: Bindable, error: OSError, listener: Listener | None, greeting: bytes, notes: Notes
) -> None:
    """Who is at an address that is taken, or that this user may not bind."""
    try:
        said = _greeting(here, listener) if listener is not None else _health(here)
    except ConnectionRefusedError:
        notes.skipped(address, "nobody listens there, and this user may not try it: a privileged port")
        return
    except (OSError, http.client.HTTPException) as failure:
        notes.failed(address, f"somebody listens there who is not mailguard: {failure}", _TAKEN)
        return
    ours = said == greeting if listener is not None else b"version" in said
    if ours:
        notes.ok(address, "mailguard is running there")
    elif error.errno == errno.EACCES:
        notes.failed(address, f"somebody else listens there, and says {said[:60]!r}", _TAKEN)
    else:
        notes.failed(address, f"taken by somebody else, who says {said[:60]!r}", _TAKEN)


def _target(here: Bindable) -> tuple[str, int]:
    """Where to connect to; an address for all is reached by loopback."""
    if here.address.is_unspecified:
        return ("127.0.0.1" if here.address.version == 4 else "::1"), here.port
    return str(here.address), here.port


def _greeting(here: Bindable, listener: Listener) -> bytes:
    """What is said first.

    Raises:
        OSError: nothing.
    """
    with socket.create_connection(_target(here), timeout=PATIENCE) as client:
        we = ip_address(client.getsockname()[0])
        if any(we in network for network in listener.proxy_protocol_from if network.version == we.version):
            client.sendall(LOCAL)
        said = client.recv(_MAX_GREETING)
        client.sendall(b"QUIT\r\n")
        return said


def _health(here: Bindable) -> bytes:
    """What /healthz says, if it is JSON; its words, else.

    Raises:
        OSError, HTTPException: nothing that is HTTP.
    """
    connection = http.client.HTTPConnection(*_target(here), timeout=PATIENCE)
    try:
        connection.request("GET", "/healthz")
        said = connection.getresponse().read(_MAX_GREETING * 8)
        return said if isinstance(json.loads(said), dict) else b"something else"
    except ValueError:
        return b"something else"
    finally:
        connection.close()
