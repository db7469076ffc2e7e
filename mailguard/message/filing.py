"""What X-Mailguard-Folder says: one folder for everybody, or one for each label (decision 0125).

``Junk`` where all recipients of the message are filed there; ``normal=-; strict=Junk`` where they differ, ``-`` being
the inbox; no field at all where nobody is filed. A label holds small letters, digits and ``_``, a folder neither ``=``
nor ``;``, so that a reader can tell the forms apart by the ``=`` alone. Labels are profiles, never recipients, and in
alphabetical order: the order of the recipients is nobody's business. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

INBOX: Final = "-"
"""What stands for no folder."""
SEPARATOR: Final = "; "


def filing(folders: Mapping[str, str | None]) -> str | None:
    """The value of the field for ``folders`` by label; None where there is to be no field."""
    distinct = set(folders.values())
    if len(distinct) < 2:
        return next(iter(distinct), None)
    return SEPARATOR.join(f"{label}={folder or INBOX}" for label, folder in sorted(folders.items()))
