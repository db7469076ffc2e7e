"""Reads what an administrator changed, for the supervisor: ``python -m mailguard.children loader CHANNEL CONFIG``.

A process of its own, for what it reads may hang, be endless, or meet a bug, and nobody then depends on it: the
supervisor ends it when its time is over. It reads the settings, and by them the policy with all its files, once; it
compiles, analyses and tests what it read, and hands over that snapshot with what is to be said of it. It is a fresh
interpreter, so the version that it reports is the one that is installed by now. It reads as the user that serves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from mailguard import __version__, privileges
from mailguard.channel import Channel, ChannelClosed, Kind
from mailguard.children import start
from mailguard.policy_files import load_for, load_settings
from mailguard.positions import Problems
from mailguard.snapshot import Recorder

_MAX_TEXT: Final = 256 * 1024
"""Characters of what is wrong, each mistake with its line."""


def load(channel: Channel, configuration: Path) -> None:
    """Send what was loaded, or what is wrong with it.

    Raises:
        ChannelClosed: the supervisor is gone.
    """
    recorder = Recorder()
    try:
        settings = load_settings(configuration)
        policy = load_for(settings, recorder)
    except Problems as problems:
        lines = [problem.in_one_line for problem in problems.problems]
        channel.send(Kind.REFUSED, problems=lines[:1000], count=len(lines), text=str(problems)[:_MAX_TEXT])
        return
    descriptor = recorder.snapshot.descriptor()
    channel.send(
        Kind.LOADED,
        [descriptor],
        settings=settings.model_dump(mode="json"),
        version=__version__,
        path=str(policy.path),
        digest=policy.digest,
        sources=recorder.snapshot.sources,
        warnings=[warning.in_one_line for warning in policy.warnings][:1000],
    )


def _become(channel: Channel, user: str | None) -> None:
    """Be the user that serves: the first loader is launched before it is known who that is."""
    try:
        privileges.become(user)
    except privileges.CannotDrop as error:
        start.fail(channel, os.EX_CONFIG, f"mailguard: {error}")


def main() -> None:
    """Load once."""
    channel = start.inherited()
    try:
        begin = start.first(channel)
        _become(channel, begin.fields.get("user"))
        load(channel, Path(sys.argv[2]))
        while channel.wants_to_write:
            channel.wait_to_write()
    except ChannelClosed:
        sys.exit(start.ORPHANED)
    sys.exit(os.EX_OK)
