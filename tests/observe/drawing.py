"""One contact sheet a board: what its queries gave, drawn without Grafana."""

import math
import time

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

COLUMNS = 4


def sheet(board: dict, data: dict, phases: list, path) -> None:
    """Draws every panel of `board`; `data` has the series of each by its title."""
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    rows = math.ceil(len(panels) / COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(COLUMNS * 4.6, rows * 2.7), squeeze=False)
    figure.suptitle(
        f"{board['title']}: drawn by tests/observe from a run's data, not by Grafana", fontsize=13, y=1 - 0.08 / rows
    )
    for axis, panel in zip(axes.flat, panels):
        draw(axis, panel, data[panel["title"]], phases)
    for axis in list(axes.flat)[len(panels):]:
        axis.axis("off")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.14 / rows))
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def draw(axis, panel: dict, series: list, phases: list) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axis.set_title(f"{panel['title']} [{unit}]", fontsize=9)
    axis.tick_params(labelsize=6)
    begin = phases[0][1]
    if panel["type"] == "heatmap":
        return heat(axis, series, begin)
    shown = sorted(series, key=lambda one: -max(abs(value) for _, value in one[2]))
    for number, (name, _, points) in enumerate(shown):
        label = name[-28:] if number < 7 else None
        points = broken(points)
        axis.plot([at - begin for at, _ in points], [value for _, value in points], linewidth=1, label=label)
    if panel["type"] == "stat" and series:
        last = series[0][2][-1][1]
        axis.text(0.97, 0.9, f"{last:.4g}", transform=axis.transAxes, fontsize=13, ha="right", va="top")
    elif len(shown) > 0 and any(name for name, _, _ in shown):
        # The mixed jobs are at the left.
        axis.legend(fontsize=5, loc="upper right", framealpha=0.6)
    for name, start, _ in phases:
        axis.axvline(start - begin, color="0.8", linewidth=0.6, zorder=0)
        if panel["gridPos"]["y"] <= 1:
            axis.text(start - begin, axis.get_ylim()[0], name, fontsize=4, rotation=90, va="bottom", color="0.4")
    axis.set_xlabel(f"s since {time.strftime('%H:%M', time.gmtime(begin))}", fontsize=5)


def broken(points: list) -> list:
    """The points, with an interruption where there was nothing to see."""
    shown = []
    for at, value in points:
        if shown and at - shown[-1][0] > 6:
            shown.append((at, math.nan))
        shown.append((at, value))
    return shown


def heat(axis, series: list, begin: float) -> None:
    """Cumulative buckets, bound by bound."""
    bounds = sorted({float(labels["le"]) for _, labels, _ in series if labels["le"] != "+Inf"})
    times = sorted({at for _, _, points in series for at, _ in points})
    if not bounds or not times:
        return
    by_bound = {float(labels["le"]): dict(points) for _, labels, points in series if labels["le"] != "+Inf"}
    cells, below = [], {at: 0.0 for at in times}
    for bound in bounds:
        row = [by_bound[bound].get(at, 0.0) for at in times]
        cells.append([max(0.0, value - below[at]) for at, value in zip(times, row)])
        below = dict(zip(times, row))
    axis.pcolormesh([at - begin for at in times], range(len(bounds)), cells, cmap="Oranges", shading="nearest")
    axis.set_yticks(range(0, len(bounds), 3), [f"{bound:g} s" for bound in bounds[::3]])
