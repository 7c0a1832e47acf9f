"""Comparisons as a chart: two panels per problem, with a row per strategy, of its time and its error.

Strategies are told apart by their rows, since many are equally accurate or equally fast. Several problems are preceded
by a panel with a row per problem. Drawn on a canvas of its own, so that no state of pyplot is touched. The colours are
Okabe and Ito's, which colour-blind readers can tell apart; nothing depends on colour alone.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from fastconv.engine.plan import format_percent, format_seconds

if TYPE_CHECKING:
    from fastconv.lab.comparison import Comparison, Measurement

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8A8A8A"
_INK, _FAINT = "#222222", "#D8D8D8"
_DPI = 150

# Inches from the axis down to the legend, past the figures and the title of the axis.
_BELOW = 0.7


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
    """Draw titled comparisons, one below the other, into the file `path`; several, below a summary of all."""
    suffix = file_format(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heights = [2.2 + 0.3 * (len(comparison.measurements) + 1) for _, comparison in comparisons]
    overview = len(comparisons) > 1
    if overview:
        heights.insert(0, 1.8 + 0.3 * len(comparisons))
    figure = Figure(figsize=(11.5, sum(heights)), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    FigureCanvasAgg(figure)
    rows = [*figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]]
    if overview:
        _draw_overview(rows.pop(0), comparisons)
    for row, (title, comparison) in zip(rows, comparisons, strict=True):
        row.suptitle(title, fontsize=11.5, fontweight="bold", color=_INK)
        times, errors = row.subplots(1, 2, width_ratios=[1.4, 1])
        _draw_times(times, comparison)
        _draw_errors(errors, comparison)
    figure.savefig(path, format=suffix, dpi=_DPI, facecolor="white")


def _style(axes: Any, names: Sequence[str]) -> None:
    """A panel with a row for each of `names`, from the top, and values that grow to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(colors=_INK, which="both", labelsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(color=_FAINT, linewidth=0.6)


def _legend(axes: Any, **looks: dict[str, Any]) -> None:
    """A legend under the axis, where it covers nothing."""
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], **{"color": _INK, "linestyle": "none"} | look, label=name.replace("_", " "))
        for name, look in looks.items()
    ]
    axes.legend(
        handles=keys,
        loc="upper right",
        bbox_to_anchor=(1.0, -_BELOW / (axes.figure.bbox.height / axes.figure.dpi)),
        ncols=len(keys),
        fontsize=8,
        frameon=False,
        handlelength=1.6,
        handletextpad=0.3,
        columnspacing=1.0,
    )


def _timed(comparison: Comparison) -> list[Measurement]:
    """The contenders, fastest first."""
    return sorted(comparison.contenders(), key=lambda m: m.seconds or 0.0)


def _refused(comparison: Comparison) -> list[Measurement]:
    return [m for m in comparison.measurements if m.refusal is not None]


def _look(comparison: Comparison, name: str) -> dict[str, Any]:
    """The colour and the marker of a contender."""
    if name == comparison.auto:
        return {"color": _ORANGE, "marker": "D"}
    if any(name == m.name for m in comparison.measurements):
        return {"color": _BLUE, "marker": "o"}
    return {"color": _GREY, "marker": "s"}


def _draw_times(axes: Any, comparison: Comparison) -> None:
    """A dot at the median of each contender, on a line over its bursts; then those that refuse, with their reasons."""
    timed, refused = _timed(comparison), _refused(comparison)
    _style(axes, [m.name + (" (auto)" if m.name == comparison.auto else "") for m in (*timed, *refused)])
    ranges = [(min(m.samples), m.seconds, max(m.samples)) for m in timed if m.seconds is not None]
    low = min((low for low, _, _ in ranges), default=1.0) / 1.5
    high = max((high for _, _, high in ranges), default=1.0)
    # Leaves space on the right for the figures beside the dots.
    axes.set_xlim(low, high * (high / low) ** 0.5)
    for y, (m, (least, median, most)) in enumerate(zip(timed, ranges, strict=True)):
        look = _look(comparison, m.name)
        axes.plot([least, most], [y, y], color=look["color"], linewidth=2.5, alpha=0.45, solid_capstyle="round")
        axes.plot(median, y, **look, markersize=6.5, linestyle="none")
        share = comparison.peak_share(m)
        text = format_seconds(median) + ("" if share is None else f"  ({format_percent(share)} of peak)")
        axes.annotate(text, (most, y), (9, 0), textcoords="offset points", va="center", fontsize=8.5, color=_INK)
    for y, m in enumerate(refused, len(timed)):
        reason = textwrap.fill(f"refuses: {m.refusal}", 64)
        axes.text(0.012, y, reason, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=_INK)
    threads = f"{comparison.threads} thread{'s' if comparison.threads > 1 else ''}"
    axes.set_title(
        f"{comparison.kind.describe(comparison.geometry)}\nTime of one call, {comparison.dtype}, {threads}",
        fontsize=10,
        loc="left",
        color=_INK,
    )
    axes.set_xlabel("time (log scale)", fontsize=9, color=_INK)
    axes.xaxis.set_major_formatter(lambda value, position: format_seconds(value))
    axes.xaxis.set_minor_formatter(lambda value, position: "")
    _legend(axes, median={"marker": "o"}, bursts={"linestyle": "-", "linewidth": 2.5, "alpha": 0.45})


def _shown(error: float | None) -> TypeGuard[float]:
    """Whether `error` can be drawn on a logarithmic axis."""
    return error is not None and 0 < error < float("inf")


def _draw_errors(axes: Any, comparison: Comparison) -> None:
    """Two points per contender, joined by a line, in the rows of its time: measured error filled, expected hollow."""
    timed = _timed(comparison)
    _style(axes, [""] * (len(timed) + len(_refused(comparison))))
    for y, m in enumerate(timed):
        style = {**_look(comparison, m.name), "markersize": 6.5, "linestyle": "none"}
        if _shown(m.expected_error) and _shown(m.measured_error):
            axes.plot([m.measured_error, m.expected_error], [y, y], color=style["color"], linewidth=1, alpha=0.6)
        if _shown(m.expected_error):
            axes.plot(m.expected_error, y, **style, markerfacecolor="white")
        if _shown(m.measured_error):
            axes.plot(m.measured_error, y, **style)
    if _shown(comparison.tolerance):
        axes.axvline(comparison.tolerance, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    drawn = [e for m in timed for e in (m.expected_error, m.measured_error) if _shown(e)]
    drawn += [comparison.tolerance] if _shown(comparison.tolerance) else []
    if drawn:
        axes.set_xlim(min(drawn) / 3, max(drawn) * 3)
    axes.set_xlabel("largest error, σ of the output", fontsize=9, color=_INK)
    axes.set_title("Error", fontsize=10, loc="left", color=_INK)
    _legend(
        axes,
        measured={"marker": "o"},
        expected={"marker": "o", "markerfacecolor": "white"},
        tolerance_of_auto={"linestyle": (0, (4, 3)), "linewidth": 1},
    )


def _draw_overview(panel: Any, comparisons: Sequence[tuple[str, Comparison]]) -> None:
    """For each problem, how much longer the strategies take than the fastest, which is named."""
    panel.suptitle("All problems: time relative to the fastest strategy", fontsize=11.5, fontweight="bold", color=_INK)
    axes = panel.subplots()
    _style(axes, [textwrap.shorten(title, 48, placeholder=" …") for title, _ in comparisons])
    for y, (_, comparison) in enumerate(comparisons):
        ran = [m for m in _timed(comparison) if m in comparison.measurements]
        for m in reversed(ran):  # the fastest is drawn last, over the others
            if m.seconds and ran[0].seconds:
                axes.plot(m.seconds / ran[0].seconds, y, **_look(comparison, m.name), markersize=6, linestyle="none")
        name = f"{ran[0].name}  {format_seconds(ran[0].seconds or 0.0)}" if ran else "none can"
        axes.text(1.01, y, name, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, color=_INK)
    axes.set_xlim(0.9, max(11.0, axes.get_xlim()[1]))
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.3g}×")
    axes.xaxis.set_minor_formatter(lambda value, position: "")
    axes.set_xlabel("time / time of the fastest, named on the right (log scale)", fontsize=9, color=_INK)
    _legend(axes, strategy={"marker": "o", "color": _BLUE}, auto={"marker": "D", "color": _ORANGE})
