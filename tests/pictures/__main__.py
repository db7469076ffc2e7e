"""Make the pictures: real servers, some minutes of traffic, then one picture a dashboard.

python -m tests.pictures [FOLDER]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from deploy.grafana.source.pages import DASHBOARDS, path_of
from mailguard.lab import Lab
from tests.pictures.drawing import draw
from tests.pictures.series import dashboard
from tests.pictures.traffic import SECONDS, flow, watched

FOLDER = Path(__file__).parents[2] / "docs/pictures"


def main() -> None:
    """Draw all dashboards."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with Lab() as lab, watched(lab) as servers:
        print(f"{SECONDS} s of traffic before {len(servers.nodes)} nodes", flush=True)
        period = asyncio.run(flow(servers))
        for page in DASHBOARDS:
            file = folder / f"{page.slug}.png"
            panels, marks = dashboard(servers.prometheus.address, path_of(page), period)
            draw(f"mailguard: {page.title}", panels, marks, period, file)
            empty = [each.panel["title"] for each in panels if each.panel.get("targets") and not each.all]
            print(
                f"{file}: {file.stat().st_size >> 10} KiB; without a series: {', '.join(empty) or 'none'}", flush=True
            )


if __name__ == "__main__":
    main()
