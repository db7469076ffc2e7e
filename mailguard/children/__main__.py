"""How each process that the supervisor starts begins: ``python -m mailguard.children ROLE CHANNEL ...``.

``ROLE`` is a module of this package, whose ``main`` does the rest.
"""

from __future__ import annotations

import sys
from importlib import import_module

from mailguard.lasting import lasting


def main() -> None:
    """Be what the first argument says."""
    role = sys.argv.pop(1)
    with lasting():
        child = import_module(f"mailguard.children.{role}")
    child.main()


if __name__ == "__main__":
    main()
