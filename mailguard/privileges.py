"""Root binds the ports, and then is root no more: ``user`` of the settings, its groups, and nothing else.

Children are started behind that, so that none ever has more; the first loader, which begins before the user is known,
becomes it before it reads a file. What is dropped does not come back: setuid(2) from root sets the real, the effective
and the saved user.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path


class CannotDrop(Exception):
    """The user cannot be become; the text says what to do."""


def drop(user: str | None, folder: Path) -> None:
    """Become ``user``, who is made the owner of ``folder``; nothing is done where this process is not root.

    Raises:
        CannotDrop: as :func:`become`.
    """
    become(user, lambda found: os.chown(folder, found.pw_uid, found.pw_gid))


def become(user: str | None, before: Callable[[pwd.struct_passwd], None] = lambda _: None) -> None:
    """Become ``user``; nothing is done where this process is not root. ``before``: what only root can do for him.

    Raises:
        CannotDrop: there is no such user, or the system refuses.
    """
    if user is None or os.geteuid() != 0:
        return
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise CannotDrop(
            f"there is no user {user} (`user`): make one, as in `adduser --system --group {user}`"
        ) from None
    try:
        before(found)
        os.setgroups(os.getgrouplist(user, found.pw_gid))
        os.setgid(found.pw_gid)
        os.setuid(found.pw_uid)
    except OSError as error:
        raise CannotDrop(f"cannot become the user {user} (`user`): {error.strerror}") from error


def group_id(name: str | None) -> int:
    """The number of a group; -1 for None.

    Raises:
        CannotDrop: there is no such group.
    """
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise CannotDrop(f"there is no group {name} (`processes.control_group`)") from None
