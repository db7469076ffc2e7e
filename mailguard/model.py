"""The base of settings and policy: no plugins of pydantic.

Whoever installs one beside mailguard has no say in what a setting means. Nor are plugins looked for: pydantic would
import importlib.metadata for that, and with it much of ``email``, which is a twelfth of what the loader imports
(decision 0198). There is a variable of the environment to be rid of plugins, but not of that.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Final

from pydantic import BaseModel

_LOADER: Final = ModuleType("pydantic.plugin._loader")
_LOADER.get_plugins = lambda: ()  # type: ignore[attr-defined]
sys.modules.setdefault(_LOADER.__name__, _LOADER)  # before the first model is made; one that is there has done its work


class Model(BaseModel):
    """What is validated."""
