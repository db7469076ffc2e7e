"""How every child begins: its end of the channel, and the first message on it.

Imports little, so that a child can settle where its metrics go before anything counts.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, Final

from mailguard.channel import PROTOCOL, Channel, ChannelClosed, Kind, Message
from mailguard.config import Settings

ORPHANED: Final = os.EX_UNAVAILABLE
"""Exit status of a child whose supervisor went before it began."""


def inherited() -> Channel:
    """The channel whose descriptor is the first argument. Signals of the terminal are the supervisor's alone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    return Channel(socket.socket(fileno=descriptor))


def first(channel: Channel) -> Message:
    """The message that says what to do. The supervisor bounds the wait for it, and its end ends it.

    Raises:
        ChannelClosed: the supervisor is gone, or speaks another version of the channel.
    """
    while not (messages := channel.receive()):
        select.select([channel], [], [])
    if messages[0].kind is not Kind.START:
        raise ChannelClosed(f"{messages[0].kind} before the start")
    if (theirs := messages[0].fields.get("protocol")) != PROTOCOL:
        fail(
            channel,
            os.EX_CONFIG,
            f"this version speaks with its supervisor by protocol {PROTOCOL}, the running one by {theirs}: restart the "
            "service",
        )
    return messages[0]


def fail(channel: Channel, status: int, text: str) -> None:
    """Say why this process cannot do its work, and end it with ``status``."""
    channel.send(Kind.FAILED, status=status, text=text)
    sys.exit(status)


def settings_of(fields: Mapping[str, Any]) -> Settings:
    """The settings of the start message: those that the supervisor has read, whatever the file says by now."""
    return Settings.model_validate(fields["settings"])
