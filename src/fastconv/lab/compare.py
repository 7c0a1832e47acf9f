"""Every strategy on one problem: time, workspace and error, or the reason why it refuses.

`scipy.signal` is timed alongside, as a common yardstick.
"""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.convolution import BY_NAME, CONVOLUTION
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.reference import activate, convolve
from fastconv.engine.epilogue import PLAIN, Activation, Epilogue
from fastconv.engine.geometry import ConvGeometry, Padding
from fastconv.engine.launch import available_threads
from fastconv.engine.plan import format_bytes, format_percent, format_seconds
from fastconv.engine.timing import Contender, interleave
from fastconv.errors import GeometryError, UnsupportedError
from fastconv.kernels.shield import imported
from fastconv.nn.operands import conv_operands

SCIPY = "scipy.signal"

# SciPy is timed on as many output planes as it can compute in about this time.
_SCIPY_SECONDS = 3.0

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender's part of a `Comparison`.

    Attributes
    ----------
    name : str
        A strategy, or ``"scipy.signal"``.
    refusal : str or None
        Why it did not run; the attributes below are then ``None``, except `workspace_bytes` and `expected_error`.
    seconds, first_seconds : float
        Median time of a warm one-shot call, which prepares its weight each time; time of the very first call, which may
        compile and import (not measured for ``scipy.signal``).
    repeats : int
        Number of bursts behind the median.
    workspace_bytes : int
        Scratch memory of a call.
    expected_error, measured_error : float
        Largest error in standard deviations of the output, predicted, and measured against a float64 reference.
        Planning knows no values and predicts for independent data of mean 0 and equal variance; here the prediction is
        scaled by how much larger the sums of this data can be, relative to the output's deviation.
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


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """The result of `compare_conv2d`; its repr is the report.

    Attributes
    ----------
    geometry : ConvGeometry
        The problem.
    dtype : str
        Type of the input, the weight and the output.
    threads : int
        Largest number of threads that ran.
    peak_flops : float
        Measured multiply-add peak of that many cores, in floating-point operations per second.
    tolerance : float
        Bound on the expected error for "auto", in standard deviations of the output.
    max_workspace : int
        Bound on scratch memory, in bytes.
    auto : str or None
        What "auto" chooses; ``None`` if every strategy refuses.
    measurements : tuple of Measurement
        The strategies, fastest first; those that refuse come last.
    scipy : Measurement
        ``scipy.signal.correlate2d``, plane by plane.
    """

    geometry: ConvGeometry
    dtype: str
    threads: int
    peak_flops: float
    tolerance: float
    max_workspace: int
    auto: str | None
    measurements: tuple[Measurement, ...]
    scipy: Measurement

    def flops(self, of: Measurement) -> float:
        """Effective operations per second: those of the direct algorithm, whatever was computed instead."""
        return self.geometry.flops / of.seconds

    def peak_share(self, of: Measurement) -> float:
        """Effective operations as a share of the measured peak; above 1 for algorithms that save operations."""
        return self.flops(of) / self.peak_flops

    def speedup(self, of: Measurement) -> float:
        """How many times faster than ``scipy.signal``."""
        return self.scipy.seconds / of.seconds

    def __repr__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        title = (
            f"{self.geometry}, {self.dtype}, {threads}\n"
            f"{self.geometry.flops / 1e9:.3g} GFLOP; measured peak {self.peak_flops / 1e9:.3g} GFLOP/s\n"
            "errors: the largest, in standard deviations σ of the output"
        )
        ran = [m for m in (*self.measurements, self.scipy) if m.refusal is None]
        table = _aligned([*_HEAD, *(self._row(m) for m in ran)])
        width = max(len(m.name) for m in self.measurements)
        notes = [f"  {m.name:<{width}}  refuses: {m.refusal}" for m in self.measurements if m.refusal is not None]
        if self.auto is not None:
            bound = f"expected error at most {self.tolerance:.1e} σ for data of mean 0"
            notes.append(f"* auto chooses {self.auto}: {bound}")
        spreading = [m.name for m in ran if not m.local]
        normwise = [m.name for m in ran if not m.componentwise]
        if normwise:
            notes.append(f"  accurate for the output as a whole, not for each value: {', '.join(normwise)}")
        if spreading:
            notes.append(f"  spread NaN and infinity beyond the outputs that see them: {', '.join(spreading)}")
        notes += [f"  {m.name}: {m.note}" for m in ran if m.note]
        return "\n".join([title, "", *table, *map(_wrapped, notes)])

    def _row(self, m: Measurement) -> tuple[str, ...]:
        return (
            "*" if m.name == self.auto else "",
            m.name,
            format_seconds(m.seconds),
            "" if m.first_seconds is None else format_seconds(m.first_seconds),
            format_percent(self.peak_share(m)),
            "" if m.workspace_bytes is None else format_bytes(m.workspace_bytes),
            "" if m.expected_error is None else f"{m.expected_error:.1e}",
            f"{m.measured_error:.1e}",
            format_ratio(self.speedup(m)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The comparison in plain types, ready for JSON: times in seconds, memory in bytes.

        An infinite error, where the strategy and the reference disagree on which outputs are finite, reads "inf".
        """
        return {
            "problem": str(self.geometry),
            "dtype": self.dtype,
            "threads": self.threads,
            "flops": self.geometry.flops,
            "peak_flops": self.peak_flops,
            "tolerance": self.tolerance,
            "max_workspace": self.max_workspace,
            "auto": self.auto,
            "strategies": [self._entry(m) for m in self.measurements],
            "scipy": self._entry(self.scipy),
        }

    def _entry(self, m: Measurement) -> dict[str, Any]:
        entry = asdict(m)
        if m.measured_error == math.inf:
            entry["measured_error"] = "inf"
        ran = m.refusal is None
        return entry | {
            "flops": self.flops(m) if ran else None,
            "peak_share": self.peak_share(m) if ran else None,
            "speedup_over_scipy": self.speedup(m) if ran else None,
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

        draw(path, [("Convolution strategies compared", self)])


def compare_conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    activation: Activation = None,
    strategies: Sequence[str] | None = None,
    tolerance: float | None = None,
    num_threads: int | None = None,
    max_workspace: int = DEFAULT_MAX_WORKSPACE,
    repeats: int = 5,
    progress: Progress | None = None,
) -> Comparison:
    """Run every strategy on one `conv2d` problem and compare time, workspace and error.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups, activation
        As `conv2d`; the batch may not be empty.
    strategies : sequence of str, optional
        Some of `fastconv.engine.convolution`; default all.
    tolerance : float, optional
        As `conv2d`. It only affects what "auto" would choose; every strategy is measured.
    num_threads : int, optional
        Maximum number of threads; default `fastconv.get_num_threads`. ``scipy.signal`` always runs on one.
    max_workspace : int
        Bound on scratch memory, in bytes; strategies that need more are reported as refusing.
    repeats : int
        Timed bursts per contender, from 1 to 1000; slow ones get fewer.
    progress : callable, optional
        Called as ``progress(done, total, name)`` before each step.

    Returns
    -------
    Comparison

    Raises
    ------
    GeometryError
        As `conv2d`, and for an empty batch.
    ValueError
        A strategy is unknown, or another argument is out of range.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> rng = np.random.default_rng(0)
    >>> x, weight = rng.standard_normal((1, 3, 16, 16)), rng.standard_normal((4, 3, 3, 3))
    >>> comparison = fastconv.compare_conv2d(x, weight, strategies=["im2col"], repeats=1)
    >>> [measurement.name for measurement in comparison.measurements]
    ['im2col']
    >>> comparison.measurements[0].measured_error < 1e-14
    True
    """
    names = _checked_names(strategies)
    _check_integer("repeats", repeats, 1, 1000)
    _check_integer("max_workspace", max_workspace, 0, sys.maxsize)
    geometry, _, x, weight, epilogue = conv_operands(2, x, weight, bias, stride, padding, dilation, groups, activation)
    if geometry.n == 0:
        raise GeometryError("x contains no image: expected a batch of at least 1")
    x, dtype, threads = x.reshape(geometry.x_shape), x.dtype, available_threads(num_threads)
    limits = {"tolerance": tolerance, "threads": threads, "max_workspace": max_workspace}
    try:
        auto = planner.plan(geometry, dtype.name, **limits)
        passed_over = {c.name: c.refusal for c in auto.candidates}
    except UnsupportedError:
        auto, passed_over = None, {}
    bound = (
        CONVOLUTION.default_tolerance(geometry, dtype) if tolerance is None else planner.checked_tolerance(tolerance)
    )
    forced = {"tolerance": bound, "threads": threads, "max_workspace": max_workspace, "forced": True}
    candidates = [planner.candidate(BY_NAME[name], geometry, dtype, **forced) for name in names]

    peak = _peak_flops(dtype.itemsize, threads)
    runnable = [c.name for c in candidates if c.refusal is None]
    step = _steps(progress, 2 + len(runnable) + (len(runnable) + 1) * (repeats + 1))

    step("reference")
    expected = convolve(geometry, x, weight.reshape(geometry.weight_shape), epilogue)
    deviation = _deviation(expected)
    unevenness = _unevenness(geometry, x, weight, expected, deviation)
    out = np.empty(geometry.out_shape, dtype)
    contenders, errors = {}, {}
    for name in runnable:
        step(name)
        plan = planner.plan(geometry, dtype.name, strategy=name, **limits)
        out.fill(np.nan)  # so that an output left unwritten does not pass with its predecessor's value
        contenders[name] = Contender(name, lambda plan=plan: plan.run_once(x, weight, epilogue, out))
        errors[name] = _max_error(out, expected, deviation)
    step(SCIPY)
    planes = np.empty((geometry.n * geometry.oc, *geometry.out_extent), dtype)
    scipy, timed = _scipy_contender(geometry, x, weight, epilogue, planes)
    interleave([*contenders.values(), scipy], repeats, step)
    scipy_error = _max_error(planes[:timed], expected.reshape(planes.shape)[:timed], deviation)

    measurements = [
        Measurement(
            c.name,
            c.refusal,
            **_times(contenders.get(c.name)),
            workspace_bytes=c.workspace_bytes,
            expected_error=None if c.error is None else c.error * unevenness,
            measured_error=errors.get(c.name),
            componentwise=c.componentwise,
            local=c.local,
            note=f"auto leaves it out: {passed_over[c.name]}" if passed_over.get(c.name) else None,
        )
        for c in candidates
    ]
    part = f"timed on {timed} of {len(planes)} output planes, and scaled" if timed < len(planes) else None
    return Comparison(
        geometry=geometry,
        dtype=dtype.name,
        threads=threads,
        peak_flops=peak,
        tolerance=bound,
        max_workspace=max_workspace,
        auto=None if auto is None else auto.strategy.name,
        measurements=tuple(sorted(measurements, key=lambda m: math.inf if m.seconds is None else m.seconds)),
        scipy=Measurement(
            SCIPY,
            seconds=scipy.seconds * len(planes) / timed,
            repeats=len(scipy.samples),
            measured_error=scipy_error,
            note=part,
        ),
    )


def _checked_names(strategies: Sequence[str] | None) -> list[str]:
    names = list(BY_NAME) if strategies is None else list(dict.fromkeys(strategies))
    unknown = [name for name in names if name not in BY_NAME]
    if unknown or not names or isinstance(strategies, str):
        raise ValueError(f"strategies={strategies!r}: expected some of {', '.join(BY_NAME)}")
    return names


def _check_integer(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name}={value!r}: expected an int from {low} to {high}")


def _peak_flops(itemsize: int, threads: int) -> float:
    """The measured peak of one core, times the number of cores that `threads` can keep busy."""
    from fastconv.kernels.cpu import measure_peak_flops

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return measure_peak_flops(itemsize) * min(threads, cores)


def _steps(progress: Progress | None, total: int) -> Callable[[str], None]:
    done = count()

    def step(name: str) -> None:
        if progress is not None:
            progress(next(done), total, name)

    return step


def _times(contender: Contender | None) -> dict[str, Any]:
    if contender is None:
        return {}
    return {
        "seconds": contender.seconds,
        "first_seconds": contender.first_seconds,
        "repeats": len(contender.samples),
    }


def _scipy_contender(
    geometry: ConvGeometry, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, planes: np.ndarray
) -> tuple[Contender, int]:
    """A contender that convolves with `scipy.signal`, and how many of the output `planes` each of its calls computes.

    `correlate2d` has one channel and one filter, and no padding, dilation or stride: channels are summed, the image is
    padded and the taps are spread beforehand, and the outputs between strides are dropped.
    """
    correlate2d = imported("scipy.signal").correlate2d
    g = geometry
    channels = g.ic // g.g
    padded = np.pad(x, ((0, 0), (0, 0), *g.padding))
    spread = [d * (k - 1) + 1 for k, d in zip(g.kernel, g.dilation, strict=True)]

    def compute(timed: int) -> None:
        for plane, out in enumerate(planes[:timed]):
            n, m = divmod(plane, g.oc)
            first = m // (g.oc // g.g) * channels
            taps = np.zeros((channels, *spread), x.dtype)
            taps[:, :: g.dh, :: g.dw] = weight[m]
            total = sum(correlate2d(padded[n, first + c], taps[c], mode="valid") for c in range(channels))
            total = total[:: g.sh, :: g.sw]
            if epilogue.bias is not None:
                total = total + epilogue.bias[m]
            out[...] = activate(total, epilogue.activation, epilogue.parameter)

    one = Contender(SCIPY, lambda: compute(1))
    timed = max(1, min(len(planes), int(_SCIPY_SECONDS / one.first_seconds)))
    one.call = lambda: compute(timed)
    return one, timed


def _deviation(expected: np.ndarray) -> float:
    """σ of the finite outputs; for a constant output, its magnitude."""
    finite = expected[np.isfinite(expected)]
    largest = float(np.abs(finite).max(initial=0.0))
    # Scaled before squaring: float64 inputs may be large.
    return largest * float((finite / largest).std()) or largest if largest else 1.0


def _unevenness(
    geometry: ConvGeometry, x: np.ndarray, weight: np.ndarray, expected: np.ndarray, deviation: float
) -> float:
    """By how much the sums of this data can exceed the output's deviation; at least 1.

    Partial sums grow like the root of the sum of the squares of an output's products, which for independent data of
    mean 0 and equal variance is the deviation of every output. If the products have a mean, they also grow like the
    mean of the output: to two thirds of its square, averaged over the steps of a sum.
    """
    squares = []
    for array in (x, weight):
        finite = np.where(np.isfinite(array), array, 0).astype(np.float64)
        largest = float(np.abs(finite).max(initial=0.0)) or 1.0
        squares.append(((finite / largest) ** 2, largest))
    (pixels, x_scale), (taps, weight_scale) = squares
    sums = np.empty(geometry.out_shape)
    planner.plan(geometry, "float64", tolerance=0.0).run_once(pixels, taps, PLAIN, sums)
    with np.errstate(all="ignore"):
        means = np.where(np.isfinite(expected), expected, 0).mean(axis=(0, 2, 3)) / deviation
        largest = sums.max(axis=(0, 2, 3)) * (x_scale / deviation * weight_scale) ** 2 + means**2 * (2 / 3)
        factor = float(np.sqrt(largest.max(initial=0.0)))
    return max(1.0, factor) if math.isfinite(factor) else 1.0


def _max_error(out: np.ndarray, expected: np.ndarray, deviation: float) -> float:
    """The largest error in σ of the output; infinite if the two disagree on which outputs are finite."""
    finite = np.isfinite(expected)
    if not np.array_equal(out[~finite], expected[~finite], equal_nan=True) or not np.isfinite(out[finite]).all():
        return math.inf
    return float(np.abs(out[finite] - expected[finite]).max(initial=0.0)) / deviation


_HEAD = (
    ("", "", "", "first", "of", "", "expected", "measured", "vs"),
    ("", "strategy", "time", "call", "peak", "workspace", "error", "error", "scipy"),
)
_LINE = 80  # columns of a terminal


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format the rows of a table as lines; the first two columns are flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{row[0]:<1} {row[1]:<{widths[1]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True))
        for row in rows
    ]


def _wrapped(note: str) -> str:
    """A note below the table, broken into lines."""
    return textwrap.fill(note, _LINE, subsequent_indent=" " * 4, break_long_words=False, break_on_hyphens=False)


def format_ratio(ratio: float) -> str:
    """``1.25×``, ``12.5×``, ``1,250×``"""
    return f"{ratio:,.{0 if ratio >= 100 else 1 if ratio >= 10 else 2}f}×"
