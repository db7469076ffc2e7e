"""Values on the way of every mail: dataclasses that nobody changes, which cost no more than they hold.

A frozen dataclass sets each field by a call of its own, through the lock that keeps others out: for the forty values of
a message that is a twentieth of all the work (docs/performance.md). ``@value(frozen=True, slots=True)`` reads, and is
checked by mypy, as ``@dataclass(frozen=True, slots=True)`` is, and is hashed like it; only the lock is left away when
the program runs. For what is made once a policy or process the lock costs nothing: there the plain decorator stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool, eq: bool = True):
        """Make a dataclass with slots, comparable and hashable by its fields, or else (``eq``) by its identity.

        ``frozen`` is what mypy holds it to.
        """
        return dataclass(slots=slots, eq=eq, unsafe_hash=frozen and eq)
