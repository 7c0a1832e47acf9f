"""Comparisons as a chart: times beside errors, one row of two panels per problem.

Drawn on a canvas of its own, so that no state of pyplot is touched. The colours are Okabe and Ito's, which
colour-blind readers can tell apart; nothing depends on colour alone.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeGuard

from fastconv.engine.plan import format_percent, format_seconds

if TYPE_CHECKING:
    from fastconv.lab.comparison import Comparison, Measurement

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8A8A8A"
_INK, _FAINT = "#222222", "#D8D8D8"
_DPI = 150


def file_format(path: str | os.PathLike[str]) -> str:
    """The image format that the suffix of `path` names.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The suffix names no format that can be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise ImportError("charts are drawn by matplotlib: pip install fastconv[plot]") from None
    suffix = os.path.splitext(os.fspath(path))[1].lower().removeprefix(".")
    known = FigureCanvasAgg.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(f"{os.fspath(path)}: expected a name that ends in one of {', '.join(sorted(known))}")
    return suffix


def draw(path: str | os.PathLike[str], comparisons: Sequence[tuple[str, Comparison]]) -> None:
    """Draw titled comparisons, one below the other, into the file `path`."""
    suffix = file_format(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heights = [2.0 + 0.3 * (len(comparison.measurements) + 1) for _, comparison in comparisons]
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=(11.5, sum(heights)), layout=layout)
    FigureCanvasAgg(figure)
    panels = []
    for row, (title, comparison) in zip(
        figure.subfigures(len(comparisons), 1, height_ratios=heights, squeeze=False)[:, 0], comparisons, strict=True
    ):
        row.suptitle(title, fontsize=11.5, fontweight="bold", color=_INK)
        times, errors = row.subplots(1, 2, width_ratios=[1.2, 1])
        for axes in (times, errors):
            _style(axes)
        _draw_times(times, comparison)
        _draw_errors(errors, comparison)
        panels.append((errors, comparison))
    figure.draw_without_rendering()  # settles the layout, without which labels cannot avoid one another
    for errors, comparison in panels:
        _label_points(errors, comparison)
    figure.savefig(path, format=suffix, dpi=_DPI, facecolor="white")


def _style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(colors=_INK, which="both", labelsize=9)
    axes.set_axisbelow(True)


def _timed(comparison: Comparison) -> list[tuple[float, Measurement]]:
    """Seconds and contender, fastest first."""
    timed = [(m.seconds, m) for m in comparison.contenders() if m.seconds is not None]
    return sorted(timed, key=itemgetter(0))


def _look(comparison: Comparison, name: str) -> tuple[str, str]:
    """The colour and the marker of a contender."""
    if name == comparison.auto:
        return _ORANGE, "D"
    return (_BLUE, "o") if any(name == m.name for m in comparison.measurements) else (_GREY, "s")


def _draw_times(axes: Any, comparison: Comparison) -> None:
    """Horizontal bars, fastest on top, then the strategies that refuse, with their reasons."""
    timed = _timed(comparison)
    refused = [m for m in comparison.measurements if m.refusal is not None]
    seconds = [time for time, _ in timed]
    low, high = min(seconds, default=1.0) / 4, max(seconds, default=1.0)
    # Leaves space on the right for the figures at the ends of the bars.
    axes.set(xscale="log", xlim=(low, high * (high / low) ** 0.35))
    axes.barh(range(len(timed)), seconds, height=0.66, color=[_look(comparison, m.name)[0] for _, m in timed])
    for y, (time, m) in enumerate(timed):
        share = comparison.peak_share(m)
        text = format_seconds(time) + ("" if share is None else f"  ({format_percent(share)} of peak)")
        axes.annotate(text, (time, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=_INK)
    for y, m in enumerate(refused, len(timed)):
        reason = textwrap.fill(f"refuses: {m.refusal}", 64)
        axes.text(0.012, y, reason, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=_INK)
    names = [m.name + (" (auto)" if m.name == comparison.auto else "") for m in (*(m for _, m in timed), *refused)]
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    threads = f"{comparison.threads} thread{'s' if comparison.threads > 1 else ''}"
    axes.set_title(
        f"{comparison.kind.describe(comparison.geometry)}\nTime of one call, {comparison.dtype}, {threads}",
        fontsize=10,
        loc="left",
        color=_INK,
    )
    _time_axis(axes)


def _time_axis(axes: Any) -> None:
    axes.set_xlabel("time (log scale)", fontsize=9, color=_INK)
    axes.xaxis.set_major_formatter(lambda value, position: format_seconds(value))
    axes.xaxis.set_minor_formatter(lambda value, position: "")


def _shown(error: float | None) -> TypeGuard[float]:
    """Whether `error` can be drawn on a logarithmic axis."""
    return error is not None and 0 < error < float("inf")


def _draw_errors(axes: Any, comparison: Comparison) -> None:
    """Two points per contender, joined by a line: the measured error filled, the expected one hollow."""
    from matplotlib.lines import Line2D

    axes.set(xscale="log", yscale="log")
    for seconds, m in _timed(comparison):
        colour, marker = _look(comparison, m.name)
        style = {"color": colour, "marker": marker, "markersize": 7, "linestyle": "none"}
        if _shown(m.expected_error) and _shown(m.measured_error):
            axes.plot([seconds] * 2, [m.expected_error, m.measured_error], color=colour, linewidth=1, alpha=0.6)
        if _shown(m.expected_error):
            axes.plot(seconds, m.expected_error, **style, markerfacecolor="white")
        if _shown(m.measured_error):
            axes.plot(seconds, m.measured_error, **style)
    if _shown(comparison.tolerance):
        axes.axhline(comparison.tolerance, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    drawn = [e for _, m in _timed(comparison) for e in (m.expected_error, m.measured_error) if _shown(e)]
    drawn += [comparison.tolerance] if _shown(comparison.tolerance) else []
    if drawn:
        axes.set_ylim(min(drawn) / 3, max(drawn) * 3)
    axes.margins(x=0.22)
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_ylabel("largest error, σ of the output", fontsize=9, color=_INK)
    axes.set_title("Error against time", fontsize=10, loc="left", color=_INK)
    keys = [
        Line2D([], [], color=_INK, marker="o", linestyle="none", label="measured"),
        Line2D([], [], color=_INK, marker="o", linestyle="none", markerfacecolor="white", label="expected"),
        Line2D([], [], color=_INK, linewidth=1, linestyle=(0, (4, 3)), label="tolerance of auto"),
    ]
    axes.legend(
        handles=keys,
        loc="lower right",
        bbox_to_anchor=(1.02, 0.985),
        ncols=3,
        fontsize=8,
        frameon=False,
        handlelength=1.6,
        handletextpad=0.3,
        columnspacing=1.0,
    )
    _time_axis(axes)


def _label_points(axes: Any, comparison: Comparison) -> None:
    """Write names beside the measured points, covering no point or other name and staying inside the panel."""
    from matplotlib.transforms import Bbox

    size, pixel = 8.5, axes.figure.dpi / 72
    named = [(seconds, m) for seconds, m in _timed(comparison) if _shown(m.measured_error)]
    points = [(x, error) for x, m in named for error in (m.measured_error, m.expected_error) if _shown(error)]
    taken = [
        Bbox.from_bounds(x - 5 * pixel, y - 5 * pixel, 10 * pixel, 10 * pixel)
        for x, y in map(axes.transData.transform, points)
    ]
    for seconds, m in named:
        x, y = axes.transData.transform((seconds, m.measured_error))
        width, height = 0.6 * size * len(m.name), 1.1 * size
        # Candidate positions: beside the point first, then further and further above and below it.
        places = []
        for dy in (0, 11, -11, 20, -20, 29, -29):
            for dx, side in ((8, "left"), (-8, "right"), (0, "center")):
                left = dx - width * {"left": 0, "right": 1, "center": 0.5}[side]
                corner = x + left * pixel, y + (dy - height / 2) * pixel
                places.append((Bbox.from_bounds(*corner, width * pixel, height * pixel), (dx, dy), side))
        free = [
            (box, offset, side)
            for box, offset, side in places
            if axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and not box.count_overlaps(taken)
        ]
        box, offset, side = (free or places)[0]
        taken.append(box)
        axes.annotate(
            m.name,
            (seconds, m.measured_error),
            offset,
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=size,
            color=_INK,
        )
