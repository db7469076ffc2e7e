"""Why the service does not start. Imports nothing, for it is named before anything may count."""

from __future__ import annotations

from typing import Final


class StartFailed(Exception):
    """The first generation does not start: exit ``status`` and reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status: Final = status
