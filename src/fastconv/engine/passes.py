"""Correlation along one axis after another, as SciPy's separable filters run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod, sqrt
from typing import NamedTuple

import numpy as np

from fastconv.engine import planner
from fastconv.engine.along import AlongAxesKind, Axes, Cast, compute, stored_type
from fastconv.engine.arrays import as_contiguous, is_target
from fastconv.engine.boundary import folded
from fastconv.engine.conversion import converted, scratch_like
from fastconv.engine.convolution.separable import (
    Factors,
    correlate_factors,
    outer_factors,
    passes_scratch,
    passes_seconds,
)
from fastconv.engine.fills import as_fill
from fastconv.engine.geometry import REMEMBERED, PassesGeometry, Window
from fastconv.engine.geometry.along import narrowed
from fastconv.engine.geometry.planes import Planes, as_planes
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.ordered import Continued, has_order, launch_in_order, seconds_in_order, sums_along
from fastconv.engine.plan import Plan, Solver, SumsDirectly
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, repeatable, unrepeatable
from fastconv.engine.rounding import running_error
from fastconv.engine.storing import SMALLER, filter_parts, may_overflow, store, store_finite
from fastconv.kernels import threads as team

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


class Pass(NamedTuple):
    """A correlation along one axis. Passes are values, so that they can be keys of caches."""

    axis: int
    weights: bytes
    """Weights, in float64."""
    mode: str
    """A boundary mode of boundary.py."""
    origin: int
    keeps_sum: bool = False
    """Whether rounding to float32 should preserve the sum of the weights, rather than round each to the nearest."""


# The weights along an axis of the plane that is not filtered.
_NOTHING = constant(np.ones(1))

# Samples of up to this many columns are filtered along the rows: lines this short would not fill vectors.
_NARROW = 16

# Values of an image whose channels are worth filtering apart: a call for each of them takes longer for small ones.
_LARGE = 1 << 14

# Integers are summed tap by tap along windows of up to this many samples, however small the image: longer ones that
# reach far past its edges are folded first (boundary.py).
_LONGEST = 1024

# How many weights, largest first, have both of their float32 neighbours tried.
_CHOICES = 10


def filter_axes(array: np.ndarray, passes: tuple[Pass, ...], out: np.ndarray, cval: complex) -> np.ndarray:
    """Correlate along one axis after another, storing between them in the type of `out`."""
    if out.dtype.kind == "c":
        return filter_parts(lambda x, part, c: filter_axes(x, passes, part, c), array, out, cval)
    if not array.size or not passes:
        store(array, out)
        return out
    if _has_channels_last(array, passes, out):
        return _filter_channels(array, passes, out, cval)
    fill = float(cval.real)  # as `out` is
    windows = tuple([_window(step, fill == 0) for step in passes])
    plan = _plan_for(array.shape, windows, array.dtype.char, out.dtype.char, team.get_num_threads())
    compute(plan, array, passes, fill, out)
    return repeatable(out)


def _has_channels_last(array: np.ndarray, passes: tuple[Pass, ...], out: np.ndarray) -> bool:
    """Whether a few channels of a large image of reals lie side by side: rows of so few values would not fill vectors.

    Integers are swept as they lie (`_integer_planes`).
    """
    return (
        array.dtype.kind == out.dtype.kind == "f"
        and array.ndim > 2
        and 1 < array.shape[-1] <= _NARROW
        and array.size >= _LARGE
        and all(step.axis < array.ndim - 1 for step in passes)
    )


def _filter_channels(array: np.ndarray, passes: tuple[Pass, ...], out: np.ndarray, cval: complex) -> np.ndarray:
    """Filter one channel after another."""
    unrepeatable()
    array = array.copy() if np.may_share_memory(array, out) else array
    result = np.empty(out.shape[:-1], out.dtype)
    for channel in range(array.shape[-1]):
        filter_axes(np.ascontiguousarray(array[..., channel]), passes, result, cval)
        out[..., channel] = result
    return out


def _window(step: Pass, zeros: bool) -> Window:
    """What a plan knows of a pass; the constant past the edges may be zero or not."""
    size = len(step.weights) // _FLOAT64.itemsize
    mode = "zeros" if zeros and step.mode == "constant" else step.mode
    return Window(step.axis, size, mode, size // 2 + step.origin)


@functools.lru_cache(maxsize=REMEMBERED)
def _plan_for(shape: tuple[int, ...], windows: tuple[Window, ...], char: str, stored: str, threads: int) -> Plan:
    """The plan, under a key that is quick to hash."""
    geometry = PassesGeometry(shape, windows, stored=None if char == stored else np.dtype(stored).name)
    return planner.plan(geometry, np.dtype(char), kind=PASSES, threads=threads)


class Sweep(SumsDirectly):
    """A pass along one axis, or along the last two at once (kernels/simd/separable.h)."""

    name = "sweep"

    def refuse(self, geometry: PassesGeometry, dtype: np.dtype) -> str | None:
        refusal = PASSES.refuse_cast(geometry, dtype)
        if refusal is None and dtype.kind != "f":
            refusal = f"computes float32 and float64, not {dtype}"
        if refusal is None and len(PASSES.sweeps(geometry, dtype)) > 1:
            refusal = "sweeps along one axis, or in float32 along the last two if no constant but zero lies past them"
        return refusal

    def cost(self, geometry: PassesGeometry, dtype: np.dtype) -> float:
        (planes, _, rows, columns), taps = _plane(geometry), _taps(geometry)
        return passes_seconds(planes, (rows, columns), taps, 1, dtype.itemsize)

    def error(self, geometry: PassesGeometry, dtype: np.dtype) -> float:
        """That of running sums, and of rounding the weights."""
        return running_error(1, dtype) * (2.0 + max(1.0, sqrt(sum(_taps(geometry)) / 6)))

    def workspace_bytes(self, geometry: PassesGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        plane, (kh, kw) = _plane(geometry), _taps(geometry)
        maps = 8 * (kh + kw)
        return passes_scratch(plane, (1, 1, kh, 1), kw, plane, ((0, 0), (0, 0)), dtype, threads) + maps

    def run(self, plan: Plan, array: np.ndarray, weights: tuple[Pass, ...], cval: float, out: np.ndarray) -> None:
        dtype = np.dtype(plan.dtype)
        source = converted(array, dtype)
        result = out if out.dtype.char == dtype.char and is_target(out, source) else scratch_like(out, dtype)
        step = _step_for(plan.geometry, weights, dtype, True)
        if not _run(plan, step, source, result, cval):
            unrepeatable()
            if may_overflow(source, cval, step.gain):
                _run_scaled(plan, weights, source, result, cval)
            elif step.mixes_signs:
                # Infinity times the sum of the weights is not the sum of the products.
                _run(plan, _step_for(plan.geometry, weights, dtype, False), source, result, cval)
        store(result, out)


class Ordered(SumsDirectly):
    """Integers, in SciPy's order of addition, cast after each pass (kernels/simd/ordered.h)."""

    name = "ordered"

    def refuse(self, geometry: PassesGeometry, dtype: np.dtype) -> str | None:
        refusal = PASSES.refuse_cast(geometry, dtype)
        if refusal is None and dtype.kind == "f":
            refusal = f"computes integers, not {dtype}"
        if refusal is None and len(PASSES.sweeps(geometry, dtype)) > 1:
            refusal = "sweeps along one axis, or along two neighbouring ones"
        return refusal

    def cost(self, geometry: PassesGeometry, dtype: np.dtype) -> float:
        return seconds_in_order(geometry.values, sum(window.size for window in geometry.windows))

    def error(self, geometry: PassesGeometry, dtype: np.dtype) -> float:
        """Results are SciPy's."""
        return 0.0

    def workspace_bytes(self, geometry: PassesGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        ones = tuple([np.ones(window.size).tobytes() for window in geometry.windows])
        return max(_ordered(geometry, dtype, threads, near, *ones).workspace(threads) for near in (False, True))

    def run(self, plan: Plan, array: np.ndarray, weights: tuple[Pass, ...], cval: float, out: np.ndarray) -> None:
        dtype = np.dtype(plan.dtype)
        source = as_contiguous(converted(array, dtype))
        result = out if is_target(out, source) else scratch_like(out, dtype)
        # Sums of a Gaussian are whole numbers only where the image is flat.
        near = all(step.keeps_sum for step in weights) and as_fill(cval, dtype) is not None
        launch = _ordered(plan.geometry, dtype, plan.threads, near, *[step.weights for step in weights])
        launch.run((source, result), workers_for(self.cost(plan.geometry, dtype), plan.threads), (cval,))
        store(result, out)


@remembered(256)
def _ordered(g: PassesGeometry, dtype: np.dtype, threads: int, near: bool, *given: bytes) -> Launch:
    """What `Ordered` remembers; large weights count as arguments of their own."""
    (p,) = _integer_planes(g)
    sums, modes = [], ["nearest", "nearest"]
    for along, at in enumerate((p.down, p.along)):
        if at is not None:
            modes[along] = "constant" if g.windows[at].mode == "zeros" else g.windows[at].mode
            sums.append(sums_along(np.frombuffer(given[at]), g.windows[at].begin, not along, p.inner))
    array = Continued(*p.shape, p.inner, (modes[0], modes[1]))
    return launch_in_order(array, sums[0], sums[1] if len(sums) > 1 else None, (dtype, dtype), threads, near)


def _integer_planes(g: PassesGeometry) -> list[Planes]:
    return as_planes([window.axis for window in g.windows], g.extent, True, _NARROW)


class _Step(NamedTuple):
    """One pass, or two fused passes, over planes of `shape`: the arguments of `correlate_factors`."""

    shape: tuple[int, int, int, int]
    factors: Factors
    padding: tuple[tuple[int, int], ...]
    continuation: tuple[str, ...]
    gain: float
    """Bound on intermediate sums, as a multiple of the largest sample."""
    mixes_signs: bool
    """Whether weights of both signs, or zeros and others, were merged into one."""


def _run(plan: Plan, step: _Step, source: np.ndarray, target: np.ndarray, fill: float) -> bool:
    """Run the step, and return whether every sum was finite."""
    return correlate_factors(
        source.reshape(step.shape),
        step.factors,
        target.reshape(step.shape),
        step.padding,
        plan.threads,
        continuation=step.continuation,
        fill=fill,
    )


def _run_scaled(plan: Plan, weights: tuple[Pass, ...], source: np.ndarray, target: np.ndarray, fill: float) -> None:
    """Recompute what is not finite in float64, from scaled-down values: no mean of the largest numbers may overflow.

    Nothing else changes: an output depends only on what its window contains.
    """
    with np.errstate(invalid="ignore"):
        values = source.astype(_FLOAT64) * SMALLER
    g: PassesGeometry = plan.geometry
    for window, step in zip(g.windows, weights, strict=True):
        result = np.empty_like(values)
        _run(plan, _step_for(g.along((window,)), (step,), _FLOAT64, True), values, result, fill * SMALLER)
        values = result
    store_finite(values, target)


def _plane(g: PassesGeometry) -> tuple[int, int, int, int]:
    """The array as planes, whose columns, rows or both are filtered."""
    axis = g.windows[0].axis
    before, n, after = prod(g.extent[:axis]), g.extent[axis], prod(g.extent[axis + 1 :])
    return (1, 1, before, n) if _runs_along_rows(g) else (before, 1, n, after)


def _runs_along_rows(g: PassesGeometry) -> bool:
    """Whether a single pass filters contiguous lines."""
    return len(g.windows) == 1 and prod(g.extent[g.windows[0].axis + 1 :]) == 1


def _taps(g: PassesGeometry) -> tuple[int, int]:
    """The weights down the columns and along the rows that count: past the image the same samples are seen again."""
    sizes = [narrowed(window, g.extent[window.axis]).size for window in g.windows]
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    return (1, sizes[0]) if _runs_along_rows(g) else (sizes[0], 1)


def _step_for(g: PassesGeometry, passes: tuple[Pass, ...], dtype: np.dtype, folds: bool) -> _Step:
    """With `folds`, weights that see the same sample past an edge are merged (see boundary.py)."""
    return _step(g, dtype, folds, tuple([step.keeps_sum for step in passes]), *[step.weights for step in passes])


@remembered(256)
def _step(g: PassesGeometry, dtype: np.dtype, folds: bool, keeps_sums: tuple[bool, ...], *given: bytes) -> _Step:
    """What `_step_for` remembers; large weights count as arguments of their own."""
    factors, padding, continuation, gain, mixes_signs = [], [], [], 1.01, False
    for window, of, keeps_sum in zip(g.windows, given, keeps_sums, strict=True):
        axis, _, mode, begin = window
        weights, extent = np.frombuffer(of), g.extent[axis]
        if folds and narrowed(window, extent) is not window:
            mixes_signs |= bool(weights.min() <= 0 <= weights.max())
            weights, begin = folded(weights, begin, extent, mode)
            of = weights.tobytes()
        factors.append(_rounded(of, dtype, keeps_sum))
        padding.append((begin, 0))
        continuation.append("constant" if mode == "zeros" else mode)
        gain *= max(2.0, float(np.abs(weights).sum()))
    if len(factors) == 1:
        at = 0 if _runs_along_rows(g) else 1
        factors.insert(at, _NOTHING.astype(dtype))
        padding.insert(at, (0, 0))
        continuation.insert(at, "nearest")
        gain *= 2.0
    column, row, _ = outer_factors(*factors)
    found = Factors(constant(column), constant(row), None)
    return _Step(_plane(g), found, tuple(padding), tuple(continuation), gain, mixes_signs)


@remembered(256)
def _rounded(given: bytes, dtype: np.dtype, keeps_sum: bool) -> np.ndarray:
    """The weights in `dtype`: each rounded to the nearest, or to whichever neighbour best preserves the sum.

    Rounded to the nearest, a Gaussian would make images brighter or darker by about 1e-8. Equal weights stay equal.
    """
    weights = np.frombuffer(given)
    if not keeps_sum or dtype == np.float64 or not np.isfinite(weights).all():
        return constant(weights.astype(dtype))
    sizes, of = np.unique(np.abs(weights), return_inverse=True)
    signs = np.sign(weights)
    rounded = sizes.astype(dtype)
    # All combinations of neighbours are tried for the few largest weights.
    few = slice(-min(len(sizes), _CHOICES), None)
    towards = np.where(rounded < sizes, np.inf, 0).astype(dtype)
    other = np.where(rounded == sizes, rounded, np.nextafter(rounded, towards))[few]
    net = np.bincount(of, signs)
    chosen = np.arange(1 << len(other))[:, np.newaxis] >> np.arange(len(other)) & 1 == 1
    error = net @ (rounded - sizes) + chosen @ (net[few] * (other.astype(np.float64) - rounded[few]))
    rounded[few] = np.where(chosen[np.abs(error).argmin()], other, rounded[few])
    nearby: np.ndarray = rounded[of] * signs.astype(dtype)
    return constant(nearby)


class Passes(AlongAxesKind):
    name = "passes"
    title = "the passes"

    def __init__(self) -> None:
        self.solvers: Sequence[Solver] = (Sweep(), Ordered(), Axes(self), Cast(self))

    def parse(self, descriptor: str) -> PassesGeometry:
        return PassesGeometry.parse(descriptor)

    def shapes(self, geometry: PassesGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.extent, *((window.size,) for window in geometry.windows), geometry.extent

    def sweeps(self, geometry: PassesGeometry, dtype: np.dtype) -> tuple[tuple[Window, ...], ...]:
        """Fused passes run along the rows first.

        In float64 the order of the axes is kept, and with it the bits of filters along one axis. A nonzero constant
        past the edges also fixes the order: it is part of every sum. Integers are cast after each pass, so their order
        is kept even where two passes are one sweep.
        """
        if dtype.kind != "f":
            pairs = [[at for at in (p.down, p.along) if at is not None] for p in _integer_planes(geometry)]
            return tuple([tuple([geometry.windows[at] for at in pair]) for pair in pairs])
        windows, last = geometry.windows, len(geometry.extent) - 1
        fuses = dtype == _FLOAT32 and all(window.mode != "constant" for window in windows)
        sweeps, at = [], 0
        while at < len(windows):
            pair = fuses and [window.axis for window in windows[at : at + 2]] == [last - 1, last]
            sweeps.append(windows[at : at + 1 + pair])
            at += 1 + pair
        return tuple(sweeps)

    def needs_cast(self, geometry: PassesGeometry, dtype: np.dtype) -> bool:
        """Integers are computed in their own type, unless long windows reach far past the image."""
        if dtype.kind == "f" or stored_type(geometry, dtype) != dtype or not has_order(dtype):
            return super().needs_cast(geometry, dtype)
        return any(_is_endless(window, geometry.extent[window.axis]) for window in geometry.windows)

    def weights(self, geometry: PassesGeometry, given: Sequence[np.ndarray]) -> tuple[Pass, ...]:
        return tuple(
            [
                Pass(axis, of.astype(_FLOAT64).tobytes(), mode, begin - size // 2)
                for (axis, size, mode, begin), of in zip(geometry.windows, given, strict=True)
            ]
        )


def _is_endless(window: Window, extent: int) -> bool:
    """Whether a long window sees the same samples again and again."""
    return window.size > _LONGEST and narrowed(window, extent) is not window


PASSES = Passes()
