"""Write the dashboards' JSON, or with ``--check`` tell which files are not what the code makes (exit status 1)."""

from __future__ import annotations

import argparse
import sys

from deploy.grafana.source.build import to_json
from deploy.grafana.source.pages import DASHBOARDS, FOLDER, path_of


def stale() -> list[str]:
    """Files that are missing, otherwise than generated, or of no dashboard."""
    wanted = {path_of(page): to_json(page) for page in DASHBOARDS}
    found = {path: path.read_text() for path in FOLDER.glob("*.json")}
    return sorted(path.name for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))


def main() -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.source", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    if parser.parse_args().check:
        for name in (names := stale()):
            print(f"{FOLDER / name} is not what deploy/grafana/source makes: run `make docs`", file=sys.stderr)
        return int(bool(names))
    FOLDER.mkdir(exist_ok=True)
    for page in DASHBOARDS:
        path_of(page).write_text(to_json(page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
