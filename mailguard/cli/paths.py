"""Where a command looks unless it is told otherwise. Imports nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DEFAULT_CONFIG: Final = Path("/etc/mailguard/mailguard.yaml")
