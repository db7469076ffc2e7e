"""The certificates of authorities that vouch for servers, read from a PEM file. Blocking: the file is read."""

from __future__ import annotations

import ssl
from pathlib import Path


class BadAuthorities(Exception):
    """The file cannot be used; the text says why."""


def load_authorities(context: ssl.SSLContext, path: Path) -> None:
    """Let ``context`` trust the authorities in the file at ``path``, and the system's no more than it did.

    Raises:
        BadAuthorities: it cannot be read, or holds none.
    """
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise BadAuthorities(f"there is no certificate in {path}") from error
    except OSError as error:
        raise BadAuthorities(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a NUL in the name
        raise BadAuthorities("this cannot be the name of a file") from error
