"""Maxima, minima and means of windows, along one axis after another."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.engine import planner
from fastconv.engine.along import AlongAxesKind, Axes, Cast, compute, stored_type
from fastconv.engine.arrays import is_target
from fastconv.engine.boundary import edge_columns, edge_indices, period, source_indices
from fastconv.engine.conversion import converted, scratch_like
from fastconv.engine.fills import as_fill, extremes_with_constant, native
from fastconv.engine.geometry import REMEMBERED, Window, WindowGeometry
from fastconv.engine.geometry.along import narrowed, reduced
from fastconv.engine.launch import Launch
from fastconv.engine.plan import Composite, Part, Plan, Planned, Solver, SumsDirectly
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, repeatable, unrepeatable
from fastconv.engine.rounding import running_error
from fastconv.engine.storing import SMALLER, filter_parts, may_overflow, store, store_finite
from fastconv.kernels import threads as team

# Minimum number of values in a line, even if they do not fit the cache.
_SHORTEST = 256

# The most 16-bit integers whose sum fits 32 bits; sums of as many 32-bit integers are whole numbers of float64.
_MOST_SUMMED = (1 << 15) - 1

# The window along an axis that is not filtered: the output's own position.
_PLACE = Window(-1, 1, "nearest", 0)

# Read by kernels in place of the constant where there is none: as wide as the widest value.
_NO_CONSTANT = constant(np.zeros((), np.float64))


def run_windows(
    fold: str, array: np.ndarray, windows: tuple[Window, ...], out: np.ndarray, cval: complex
) -> np.ndarray:
    """Fold windows along one axis after another, storing between them in the type of `out`."""
    if out.dtype.kind == "c":
        return filter_parts(lambda x, part, c: run_windows(fold, x, windows, part, c), array, out, cval)
    windows = tuple([window for window in windows if window.size > 1])
    if not array.size or not windows:
        store(array, out)
        return out
    plan = _plan_for(fold, array.shape, windows, array.dtype.char, out.dtype.char, team.get_num_threads())
    compute(plan, array, (), cval.real, out)
    return repeatable(out)


@functools.lru_cache(maxsize=REMEMBERED)
def _plan_for(
    fold: str, shape: tuple[int, ...], windows: tuple[Window, ...], char: str, stored: str, threads: int
) -> Plan:
    """The plan, under a key that is quick to hash."""
    dtype = np.dtype(char)
    geometry = WindowGeometry(shape, windows, fold, stored=None if char == stored else np.dtype(stored).name)
    return planner.plan(geometry, dtype, kind=WINDOW, threads=threads)


class Sweep(SumsDirectly):
    """Windows along one axis, or along two neighbouring ones at once, by doubling them (kernels/simd/windows.h)."""

    name = "sweep"

    def refuse(self, geometry: WindowGeometry, dtype: np.dtype) -> str | None:
        refusal = WINDOW.refuse_cast(geometry, dtype)
        if refusal is None and len(geometry.sweeps) > 1:
            refusal = "sweeps along one axis, or along two neighbouring ones"
        if refusal is None and _is_reduced(geometry, dtype):
            refusal = "takes means of up to two periods, or of windows that do not reach far past both edges"
        return refusal

    def cost(self, geometry: WindowGeometry, dtype: np.dtype) -> float:
        """Each step of doubling reads and writes lines in L2, and starts them, which is a byte's worth per value."""
        _, down, along = _pair(geometry)
        steps = (down.size * along.size).bit_length()
        return geometry.values * steps * (dtype.itemsize + 1) / (1.25 * rates().l2)

    def error(self, geometry: WindowGeometry, dtype: np.dtype) -> float:
        """That of pairwise sums of reals, whose roundings are of equal size in each step of doubling."""
        if geometry.fold != "mean" or dtype.kind != "f":
            return 0.0
        steps = sum(window.size.bit_length() for window in geometry.windows)
        return running_error(steps, dtype)

    def workspace_bytes(self, geometry: WindowGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        from fastconv.kernels.slots import scratch

        ints = _arguments(geometry, None, dtype, threads)[0]
        maps: int = 8 * (ints.kh + ints.kw * ints.inner)
        return threads * int(scratch("windows", dtype, ints)) + maps

    def run(self, plan: Plan, array: np.ndarray, weights: tuple[()], cval: float, out: np.ndarray) -> None:
        (_means if plan.geometry.fold == "mean" else _extremes)(plan, array, cval, out)


def _means(plan: Plan, array: np.ndarray, cval: float, out: np.ndarray) -> None:
    dtype = np.dtype(plan.dtype)
    has_constant = any(window.mode == "constant" for window in plan.geometry.windows)
    fill = as_fill(cval if has_constant else 0, dtype)
    if fill is None:
        _means_with_constant(plan, array, cval, out)
        return
    fill = constant(fill.astype(_line_type(plan.geometry, dtype)))
    operand = converted(array, dtype)
    result = out if out.dtype.char == dtype.char and is_target(out, array) else scratch_like(out, dtype)
    if not _run(plan, operand, fill, result):
        unrepeatable()
        if may_overflow(operand, cval, 2.0 * max(window.size for window in plan.geometry.windows)):
            # The mean of the largest numbers fits, but their sum overflows: scale down, take means, and scale back.
            smaller = operand.astype(np.float64) * SMALLER
            means = np.empty_like(smaller)
            _run(plan, smaller, as_fill(cval * SMALLER, smaller.dtype), means)
            store_finite(means, result)
    store(result, out)


def _means_with_constant(plan: Plan, array: np.ndarray, cval: float, out: np.ndarray) -> None:
    """Means of integers and a constant that their type cannot hold, in float64."""
    unrepeatable()
    for window in plan.geometry.windows:
        values, char = array.astype(np.float64), "d"
        part = _plan_for("mean", array.shape, (window,), char, char, plan.threads)
        compute(part, values, (), cval, means := np.empty_like(values))
        store(means, out)
        array = out


def _extremes(plan: Plan, array: np.ndarray, cval: float, out: np.ndarray) -> None:
    g: WindowGeometry = plan.geometry
    same = array.dtype.char == out.dtype.char
    fill: np.ndarray | None = _NO_CONSTANT
    if any(window.mode == "constant" for window in g.windows):
        fill = as_fill(cval, array.dtype, exactly=not same)
    if fill is None:

        def extremes(fold: str, array: np.ndarray, fill: np.ndarray) -> np.ndarray:
            operand = native(array)
            result = np.empty(array.shape, operand.dtype)
            _run(plan, operand, fill, result, fold)
            return result

        extremes_with_constant(g.fold, extremes, array, cval, out)
        return
    operand = native(array)
    whole = same and is_target(out, array)
    result = out.view(operand.dtype) if whole else scratch_like(out, operand.dtype)
    _run(plan, operand, fill, result)
    if not whole:
        store(result.view(bool) if array.dtype.kind == "b" else result, out)


def _run(plan: Plan, operand: np.ndarray, fill: np.ndarray | None, out: np.ndarray, fold: str | None = None) -> bool:
    """Run the kernel, by default of the plan's own fold, and return whether every mean is finite."""
    g: WindowGeometry = plan.geometry
    fold, threads = fold or g.fold, plan.threads
    x = operand.reshape(g.planes[0].shape)
    not_finite = team.flags(threads) if fold == "mean" else None
    _launch(g, fold, x.strides, x.dtype, threads).run((x, out, fill, not_finite), threads)
    return not_finite is None or not any(not_finite.tolist())


def _line_type(g: WindowGeometry, dtype: np.dtype) -> np.dtype:
    """The type of the values that are folded: means of integers sum wider ones."""
    if g.fold != "mean" or dtype.kind == "f":
        return dtype
    from fastconv.kernels.slots import MOST_BYTES

    if dtype.char == "B" and max(window.size for window in g.windows) <= MOST_BYTES:
        return np.dtype(np.uint16)
    return np.dtype(np.int64 if dtype.itemsize == 4 else np.int32)


def _is_reduced(g: WindowGeometry, dtype: np.dtype) -> bool:
    """Whether the window of a single sweep is that of a mean of reals which is larger than its sums need be."""
    return (
        g.fold == "mean"
        and dtype.kind == "f"
        and any(reduced(window, g.extent[window.axis]) is not window for window in g.windows)
    )


def _pair(g: WindowGeometry) -> tuple[Any, Window, Window]:
    """The array as planes, and the windows down their columns and along their rows, without what changes nothing."""
    windows = g.windows
    if g.fold != "mean":
        windows = tuple([narrowed(window, g.extent[window.axis]) for window in windows])
    (planes,) = g.planes
    down, along = [_PLACE if at is None else windows[at] for at in (planes.down, planes.along)]
    return planes, down, along


def _arguments(
    g: WindowGeometry, strides: tuple[int, ...] | None, dtype: np.dtype, threads: int
) -> tuple[Any, int, Window, Window]:
    """The integer arguments of the kernel, the number of tiles, and the windows; by default of a contiguous array."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import CACHE_LINE, arguments, scratch

    planes, down, along = _pair(g)
    (count, rows, columns), inner = planes.shape, planes.inner
    given, size, reach = dtype.itemsize, _line_type(g, dtype).itemsize, inner * (along.size - 1)
    xn, xh, xw = strides or (rows * columns * given, columns * given, given)
    ints = arguments("windows")(
        size=size,
        in_size=given,
        out_size=given,
        ih=rows,
        iw=columns,
        xn=xn,
        xh=xh,
        xw=xw,
        kh=down.size,
        kw=1,
        pt=down.begin,
        pl=along.begin * inner,
        inner=inner,
        row_tile=rows,
        down=1,
        col_tile=1,
        across=columns,
    )
    # As many lines are worked in, whatever their length: here each of them is one cache line.
    lines = scratch("windows", dtype, ints) // CACHE_LINE
    # Everything fits in L2: lines that fit in L1 would be short, and starting a line costs more than L1 gains.
    fitting = cache_bytes()[1] // 4 // (size * lines) - reach
    col_tile = min(columns, max(fitting, reach, _SHORTEST))
    across = -(-columns // col_tile)
    # Every band of rows folds the down.size - 1 rows above it again.
    bands = min(-(-2 * threads // (count * across)) if threads > 1 else 1, max(1, rows // (2 * down.size)))
    row_tile = -(-rows // bands)
    bands = -(-rows // row_tile)
    ints = ints._replace(kw=along.size, row_tile=row_tile, down=bands, col_tile=col_tile, across=across)
    return ints, count * bands * across, down, along


@remembered(256)
def _launch(g: WindowGeometry, fold: str, strides: tuple[int, ...], dtype: np.dtype, threads: int) -> Launch:
    from fastconv.kernels.slots import kernel

    ints, tiles, down, along = _arguments(g, strides, dtype, threads)
    line = _line_type(g, dtype)
    step, last = ("sum", "mean") if fold == "mean" else (fold, fold)
    stored = kernel(last, dtype) if line == dtype else kernel(f"mean_of_{line.str[1:]}", dtype)
    tables = (
        edge_indices(down.begin, ints.ih + down.size - 1 - down.begin, ints.ih, down.mode),
        edge_columns(along.begin, along.size - 1 - along.begin, ints.iw, ints.inner, along.mode),
        kernel(step, line),
        kernel(last, line) if along.size > 1 else stored,
        stored,
        None if line == dtype else kernel(f"to_{line.str[1:]}", dtype),
    )
    return Launch.of("windows", dtype, ints, tiles, tables=tables)


class Reduced(Composite):
    """A mean whose window is far longer than the image: that of a smaller window, and a rest.

    The rest is the same for every output of a line, so work and memory grow with the image, not with the window.
    """

    name = "reduced"

    def __init__(self, kind: AlongAxesKind) -> None:
        self.kind = kind

    def refuse(self, geometry: WindowGeometry, dtype: np.dtype) -> str | None:
        refusal = self.kind.refuse_cast(geometry, dtype)
        if refusal is None and (len(geometry.windows) > 1 or not _is_reduced(geometry, dtype)):
            refusal = "reduces one window, of a mean, that reaches far past both edges"
        return refusal

    def cost(self, geometry: WindowGeometry, dtype: np.dtype) -> float:
        """The samples are read in float64 once for the rest, and the result once more."""
        return 2e-5 + 4 * 8 * geometry.values / rates().memory

    def workspace_bytes(self, geometry: WindowGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 3 * 8 * geometry.values

    def parts(self, geometry: WindowGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        (window,) = geometry.windows
        kept = geometry.along((reduced(window, geometry.extent[window.axis]),))
        return (Part("reduced", planned(kept, self.kind, dtype)),)

    def run(self, plan: Plan, array: np.ndarray, weights: tuple[()], cval: float, out: np.ndarray) -> None:
        unrepeatable()
        g, dtype = plan.geometry, np.dtype(plan.dtype)
        operand = converted(array, dtype)
        result = out if out.dtype.char == dtype.char and is_target(out, array) else scratch_like(out, dtype)
        part = plan.parts[0].plan
        compute(part, operand, (), cval, result)
        (window,), (kept,) = g.windows, part.geometry.windows
        axis, extent = window.axis, g.extent[window.axis]
        shares, constants = _rest(window, kept, extent)
        places = np.flatnonzero(shares)
        seen = operand.take(places, axis).astype(np.float64)
        seen *= shares[places].reshape([-1 if other == axis else 1 for other in range(operand.ndim)])
        with np.errstate(over="ignore", invalid="ignore"):
            whole = result * np.float64(kept.size / window.size) + seen.sum(axis, keepdims=True)
            if constants:
                whole += constants / window.size * cval
            np.copyto(result, whole, casting="same_kind")
        store(result, out)


def _rest(window: Window, kept: Window, extent: int) -> tuple[np.ndarray, int]:
    """The weight of each sample in the rest of a mean, and how often the constant past the edges belongs to it."""
    _, size, mode, begin = window
    repeats = period(extent, mode)
    if repeats is not None:
        repeats = max(2, repeats)  # as in `reduced`
        whole = (size - kept.size) // repeats
        return whole / size * np.bincount(source_indices(0, repeats, extent, mode), minlength=extent), 0
    before = begin - kept.begin
    after = size - kept.size - before
    shares = np.zeros(extent)
    if mode == "constant":
        return shares, before + after
    shares[0] += before / size
    shares[-1] += after / size
    return shares, 0


class Windows(AlongAxesKind):
    name = "window"
    title = "the moving"

    def __init__(self) -> None:
        self.solvers: Sequence[Solver] = (Sweep(), Reduced(self), Axes(self), Cast(self))

    def parse(self, descriptor: str) -> WindowGeometry:
        return WindowGeometry.parse(descriptor)

    def sweeps(self, geometry: WindowGeometry, dtype: np.dtype) -> tuple[tuple[Window, ...], ...]:
        return geometry.sweeps

    def shapes(self, geometry: WindowGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.extent, geometry.extent

    def needs_cast(self, geometry: WindowGeometry, dtype: np.dtype) -> bool:
        """Means of integers are computed in integers if no sum is too large."""
        summed = dtype.kind in "iu" and dtype.itemsize <= 4 and all(w.size <= _MOST_SUMMED for w in geometry.windows)
        if geometry.fold == "mean" and not summed:
            return super().needs_cast(geometry, dtype)
        return stored_type(geometry, dtype) != dtype

    def cast_parts(self, geometry: WindowGeometry, dtype: np.dtype) -> list[tuple[WindowGeometry, np.dtype]]:
        if geometry.fold == "mean":
            return super().cast_parts(geometry, dtype)
        types = [dtype] + [stored_type(geometry, dtype)] * (len(geometry.windows) - 1)
        return [(geometry.along((window,)), of) for window, of in zip(geometry.windows, types, strict=True)]


WINDOW = Windows()
