"""A bound on the work of an analysis, in steps and not in seconds: the same policy gets the same warnings everywhere.

The running service analyses what it loads while it serves mail, and a policy may have ten thousand rules. Where the
steps are used up, the rest of the policy is not looked at.
"""

from __future__ import annotations


class Effort:
    """Steps that are left.

    Args:
        steps: how many there are.
    """

    def __init__(self, steps: int) -> None:
        self._left = steps

    def allows(self, steps: int = 1) -> bool:
        """Take ``steps``; whether there were so many."""
        self._left -= steps
        return self._left >= 0
