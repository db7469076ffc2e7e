"""All dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.grafana.source.backend import BACKEND
from deploy.grafana.source.lists import LISTS
from deploy.grafana.source.model import Dashboard
from deploy.grafana.source.overview import OVERVIEW
from deploy.grafana.source.process import PROCESS
from deploy.grafana.source.scanners import SCANNERS

DASHBOARDS: Final[tuple[Dashboard, ...]] = (OVERVIEW, LISTS, SCANNERS, BACKEND, PROCESS)
FOLDER: Final = Path(__file__).parents[1] / "dashboards"


def path_of(page: Dashboard) -> Path:
    """Where the dashboard's JSON lies."""
    return FOLDER / f"mailguard-{page.slug}.json"
