"""The report of a comparison: times, workspaces and errors in one table, and below it what a reader should know."""

from __future__ import annotations

import math
import os
import statistics
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fastconv.engine.plan import Kind, format_bytes, format_percent, format_seconds


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender's part of a `Comparison`.

    Attributes
    ----------
    name : str
        A solver, or ``"scipy.signal"``.
    refusal : str or None
        Why it did not run; the attributes below are then ``None``, except `workspace_bytes` and `expected_error`.
    seconds, first_seconds : float
        Median time of a warm one-shot call, which prepares its weight each time; time of the very first call, which may
        compile and import (not measured for ``scipy.signal``).
    repeats : int
        Number of bursts behind the median.
    samples : tuple of float
        What each of the bursts took, in seconds a call.
    workspace_bytes : int
        Scratch memory of a call.
    expected_error, measured_error : float
        Largest error in standard deviations of the output, predicted, and measured against a float64 reference.
        Planning knows no values and predicts for independent data of mean 0 and equal variance; for a convolution, the
        prediction is scaled by how much larger the sums of its data can be, relative to the output's deviation.
    componentwise, local : bool
        Whether each output errs by a few roundings of the sum of its own products' magnitudes; whether NaN and infinity
        reach only the outputs that see them.
    note : str or None
        What a reader should know in addition to the figures.
    """

    name: str
    refusal: str | None = None
    seconds: float | None = None
    first_seconds: float | None = None
    repeats: int | None = None
    workspace_bytes: int | None = None
    expected_error: float | None = None
    measured_error: float | None = None
    componentwise: bool = True
    local: bool = True
    note: str | None = None
    samples: tuple[float, ...] = ()

    @property
    def spread(self) -> float | None:
        """Half the distance between the quartiles of the bursts, relative to the median; ``None`` for one burst."""
        return relative_spread(self.samples)


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """The result of `compare` and `compare_conv2d`; its repr is the report.

    Attributes
    ----------
    kind : Kind
        What was computed.
    geometry : ConvGeometry, PoolGeometry or another
        The problem.
    dtype : str
        Type of the operands and the output.
    threads : int
        Largest number of threads that ran.
    operations : int or None
        Multiplications and additions of the direct algorithm; ``None`` if a share of the peak would say nothing.
    peak_flops : float or None
        Multiply-add peak of that many cores, in floating-point operations per second: the median of what was measured
        between the bursts; ``None`` likewise.
    noise : float
        By how much that peak varied meanwhile, as `Measurement.spread` says of times.
    shared : float
        Share of the time in which the peak was measured that the core did not give to this process.
    tolerance : float or None
        Bound on the expected error for "auto", in standard deviations of the output; ``None`` if every solver refuses.
    max_workspace : int
        Bound on scratch memory, in bytes.
    auto : str or None
        What "auto" chooses; ``None`` if every solver refuses.
    measurements : tuple of Measurement
        The solvers, fastest first; those that refuse come last.
    scipy : Measurement or None
        ``scipy.signal.correlate2d``, plane by plane, for a convolution.
    """

    kind: Kind
    geometry: Any
    dtype: str
    threads: int
    operations: int | None
    peak_flops: float | None
    noise: float
    shared: float
    tolerance: float | None
    max_workspace: int
    auto: str | None
    measurements: tuple[Measurement, ...]
    scipy: Measurement | None

    def flops(self, of: Measurement) -> float | None:
        """Effective operations per second: those of the direct algorithm, whatever was computed instead."""
        if self.operations is None or of.seconds is None:
            return None
        return self.operations / of.seconds

    def peak_share(self, of: Measurement) -> float | None:
        """Effective operations as a share of the measured peak; above 1 for algorithms that save operations."""
        flops = self.flops(of)
        return None if flops is None or self.peak_flops is None else flops / self.peak_flops

    def speedup(self, of: Measurement) -> float | None:
        """How many times faster than ``scipy.signal``."""
        if self.scipy is None or self.scipy.seconds is None or of.seconds is None:
            return None
        return self.scipy.seconds / of.seconds

    def contenders(self) -> list[Measurement]:
        """All that ran, SciPy last."""
        return [m for m in (*self.measurements, self.scipy) if m is not None and m.refusal is None]

    def __repr__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        title = [f"{self.kind.describe(self.geometry)}, {self.dtype}, {threads}"]
        if self.operations is not None and self.peak_flops is not None:
            title.append(f"{self.operations / 1e9:.3g} GFLOP; measured peak {self.peak_flops / 1e9:.3g} GFLOP/s")
        title.append("errors: the largest, in standard deviations σ of the output")
        ran = self.contenders()
        width = max(len(m.name) for m in self.measurements)
        notes = [f"  {m.name:<{width}}  refuses: {m.refusal}" for m in self.measurements if m.refusal is not None]
        if self.auto is not None:
            bound = f"expected error at most {self.tolerance:.1e} σ for data of mean 0"
            notes.append(f"* auto chooses {self.auto}: {bound if self.tolerance else 'a few roundings of each value'}")
        spreading = [m.name for m in ran if not m.local]
        normwise = [m.name for m in ran if not m.componentwise]
        if normwise:
            notes.append(f"  accurate for the output as a whole, not for each value: {', '.join(normwise)}")
        if spreading:
            notes.append(f"  spread NaN and infinity beyond the outputs that see them: {', '.join(spreading)}")
        notes += [f"  {m.name}: {m.note}" for m in ran if m.note]
        spreads = {m.name: m.spread for m in ran if m.spread is not None}
        if spreads:
            widest = max(spreads, key=spreads.__getitem__)
            typical, most = (format_percent(s) for s in (statistics.median(spreads.values()), spreads[widest]))
            notes.append(f"  times are medians of bursts, which spread by ± {typical}, at most ± {most} ({widest})")
        notes += self._doubts()
        return "\n".join([*map(_wrapped, title), "", *self._table(), *map(_wrapped, notes)])

    def _doubts(self) -> list[str]:
        """A warning, if this machine was not quiet."""
        found = []
        if self.noise > _NOISY:
            found.append(f"its peak varied by ± {format_percent(self.noise)}")
        if self.shared > _NOISY:
            found.append(f"other programs took {format_percent(self.shared)} of a core")
        return [f"warning: this machine is busy: {' and '.join(found)} between the bursts"] if found else []

    def _table(self) -> list[str]:
        """The contenders, one per line; shares of the peak and ratios to SciPy only where there are any."""
        columns: list[tuple[str, str, Callable[[Measurement], str]]] = [
            ("", "", lambda m: "*" if m.name == self.auto else ""),
            ("", "strategy", lambda m: m.name),
            ("", "time", lambda m: _cell(m.seconds, format_seconds)),
            ("first", "call", lambda m: _cell(m.first_seconds, format_seconds)),
            ("of", "peak", lambda m: _cell(self.peak_share(m), format_percent)),
            ("", "workspace", lambda m: _cell(m.workspace_bytes, format_bytes)),
            ("expected", "error", lambda m: _cell(m.expected_error, "{:.1e}".format)),
            ("measured", "error", lambda m: _cell(m.measured_error, "{:.1e}".format)),
            ("vs", "scipy", lambda m: _cell(self.speedup(m), format_ratio)),
        ]
        absent = {"peak": self.operations is None, "scipy": self.scipy is None}
        above, below, cells = zip(*(c for c in columns if not absent.get(c[1])), strict=True)
        return _aligned([above, below, *([cell(m) for cell in cells] for m in self.contenders())])

    def to_dict(self) -> dict[str, Any]:
        """The comparison in plain types, ready for JSON: times in seconds, memory in bytes.

        An error that is infinite, because the solver and the reference disagree on which outputs are finite, is null,
        and ``"finite_where_expected"`` is false.
        """
        return {
            "kind": self.kind.name,
            "problem": str(self.geometry),
            "dtype": self.dtype,
            "threads": self.threads,
            "flops": self.operations,
            "peak_flops": self.peak_flops,
            "noise": self.noise,
            "shared": self.shared,
            "tolerance": self.tolerance,
            "max_workspace": self.max_workspace,
            "auto": self.auto,
            "strategies": [self._entry(m) for m in self.measurements],
            "scipy": None if self.scipy is None else self._entry(self.scipy),
        }

    def _entry(self, m: Measurement) -> dict[str, Any]:
        error = m.measured_error
        return asdict(m) | {
            "samples": list(m.samples),
            "spread": m.spread,
            "measured_error": None if error == math.inf else error,
            "finite_where_expected": None if error is None else error < math.inf,
            "flops": self.flops(m),
            "peak_share": self.peak_share(m),
            "speedup_over_scipy": self.speedup(m),
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the times, and the errors against them, into an image file (PNG, SVG or PDF, by its suffix).

        Needs matplotlib: ``pip install fastconv[plot]``.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        OSError, ValueError
            `path` cannot be written, or its suffix names no known format.
        """
        from fastconv.lab.chart import draw

        draw(path, [("Strategies compared", self)])


_LINE = 80  # columns of a terminal

# A machine whose peak varies by more, or that others use more, is too busy for small differences to mean anything.
_NOISY = 0.05


def relative_spread(samples: Sequence[float]) -> float | None:
    """Half the distance between the quartiles, relative to the median; ``None`` for fewer than two samples."""
    if len(samples) < 2:
        return None
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / 2 / median


def _cell(value: Any, form: Callable[[Any], str]) -> str:
    return "" if value is None else form(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format the rows of a table as lines; the first two columns are flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{row[0]:<1} {row[1]:<{widths[1]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True))
        for row in rows
    ]


def _wrapped(note: str) -> str:
    """A line above or below the table, broken where it is too long."""
    return textwrap.fill(note, _LINE, subsequent_indent=" " * 4, break_long_words=False, break_on_hyphens=False)


def format_ratio(ratio: float) -> str:
    """``1.25×``, ``12.5×``, ``1,250×``"""
    return f"{ratio:,.{0 if ratio >= 100 else 1 if ratio >= 10 else 2}f}×"
