"""What every scanner must find, and nobody needs to fear.

Both are written in pieces, so that no scanner finds them in this source, or in mail about it.
"""

from __future__ import annotations

from typing import Final

EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!" + b"$H+H*"
"""The test file that every virus scanner knows (eicar.org)."""

GTUBE: Final = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""The line for which SpamAssassin gives a thousand points."""
