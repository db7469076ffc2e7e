"""Draws curves of cost as one SVG: a panel a quantity, both axes logarithmic, a line a server.

matplotlib is no part of what tests need (``deploy/setup/pictures.in``), so it is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.bench.sections import PAGE

PICTURE: Final = PAGE.parent / "pictures" / "cost.svg"
_COLUMNS: Final = 2
_INCHES: Final = (5.0, 3.4)
"""Of one panel."""
_COLOURS: Final = ("#2f6fb5", "#e08b1a", "#3f9b4f")
Panels = Mapping[str, Mapping[str, Mapping[int, float]]]
"""CPU seconds a message, by what grows, server, and how much of it there is."""


def draw(panels: Panels) -> None:
    """Write :data:`PICTURE`; the same figures give the same octets."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = PICTURE.stem
    from matplotlib import pyplot as plt

    rows = -(-len(panels) // _COLUMNS)
    size = (_COLUMNS * _INCHES[0], rows * _INCHES[1])
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (quantity, servers) in zip(axes.flat, panels.items(), strict=False):
        for colour, (name, points) in zip(_COLOURS, servers.items(), strict=False):
            milliseconds = [seconds * 1e3 for seconds in points.values()]
            axis.loglog(list(points), milliseconds, marker="o", color=colour, label=name)
        axis.set(xlabel=quantity, ylabel="CPU ms a message")
        axis.set_ylim(bottom=min(min(points.values()) for points in servers.values()) * 1e3 / 3)
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)
