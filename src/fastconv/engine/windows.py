"""Maxima, minima and means of windows, along one axis after another."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fastconv.engine.arrays import is_target
from fastconv.engine.boundary import edge_indices, period, source_indices
from fastconv.engine.conversion import converted, scratch_like
from fastconv.engine.fills import as_fill, extremes_with_constant, native
from fastconv.engine.geometry.planes import Planes, as_planes
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, note, repeatable, unrepeatable
from fastconv.engine.storing import (
    SMALLER,
    filter_parts,
    may_overflow,
    store,
    store_finite,
    threads_for,
    working_type,
)
from fastconv.kernels import threads as team

# Samples of up to this many columns are folded along the rows: lines this short would not fill vectors.
_NARROW = 16

_BYTE = np.dtype(np.uint8)

# Minimum number of values in a line, even if they do not fit the cache.
_SHORTEST = 256


class Window(NamedTuple):
    """The window along one axis."""

    axis: int
    size: int
    mode: str
    """One of boundary.py's."""
    begin: int
    """How many samples of the window precede the output's own position."""


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
    if fold != "mean":
        return _run_extremes(fold, array, windows, out, cval)
    dtype, cval = working_type(array, out), float(cval)
    rounds = out.dtype.char != dtype.char
    source, steps = array, _steps(fold, windows, array.shape, not rounds)
    for step in steps:
        operand = converted(source, dtype)
        whole = step is steps[-1] and not rounds and is_target(out, source)
        result = out if whole else scratch_like(out, dtype)
        _run_means(operand, step, cval, result)
        source = result
        if rounds:
            store(source, out)
            source = out
    store(source, out)
    return repeatable(out)


def _run_means(operand: np.ndarray, step: _Step, cval: float, result: np.ndarray) -> None:
    finite = _run("mean", operand, step, as_fill(cval, operand.dtype), result)
    if not finite or step.rest is not None:
        unrepeatable()
    if not finite and may_overflow(operand, cval, 2.0 * max(step.down.size, step.along.size)):
        # The mean of the largest numbers fits, but their sum overflows: scale down, take means, and scale back.
        smaller = operand.astype(np.float64) * SMALLER
        means = np.empty_like(smaller)
        _run("mean", smaller, step, as_fill(cval * SMALLER, smaller.dtype), means)
        store_finite(means, result)
    if step.rest is not None:
        rest = step.rest
        seen = operand.take(rest.places, rest.axis).astype(np.float64)
        seen *= rest.shares.reshape([-1 if axis == rest.axis else 1 for axis in range(operand.ndim)])
        with np.errstate(over="ignore", invalid="ignore"):
            whole = result * np.float64(rest.share) + seen.sum(rest.axis, keepdims=True)
            if rest.share_of_constant:
                whole += rest.share_of_constant * cval
            np.copyto(result, whole, casting="same_kind")


def _run_extremes(
    fold: str, array: np.ndarray, windows: tuple[Window, ...], out: np.ndarray, cval: float
) -> np.ndarray:
    rounds = out.dtype.char != array.dtype.char
    source, steps = array, _steps(fold, windows, array.shape, not rounds)
    for step in steps:
        counts = "constant" in (step.down.mode, step.along.mode)
        fill = as_fill(cval, source.dtype, exactly=source.dtype.char != out.dtype.char) if counts else _NO_CONSTANT
        if fill is None:
            extremes_with_constant(fold, functools.partial(_extremes_of_step, step), source, cval, out)
            source = out
            continue
        operand = native(source)
        whole = step is steps[-1] and not rounds and is_target(out, source)
        result = out.view(operand.dtype) if whole else scratch_like(out, operand.dtype)
        _run(fold, operand, step, fill, result)
        source = result.view(bool) if source.dtype.kind == "b" else result
        if whole:
            return repeatable(out)
        if rounds:
            store(source, out)
            source = out
    store(source, out)
    return repeatable(out)


def _extremes_of_step(step: _Step, fold: str, array: np.ndarray, fill: np.ndarray) -> np.ndarray:
    operand = native(array)
    result = np.empty(array.shape, operand.dtype)
    _run(fold, operand, step, fill, result)
    return result


class _Rest(NamedTuple):
    """The part of a mean along `axis` that is the same for every output of a line, besides its reduced window.

    Holds the weights of the samples at `places`, of the constant past the edges, and of the reduced window's mean.
    """

    axis: int
    places: np.ndarray
    shares: np.ndarray
    share_of_constant: float
    share: float


class _Step(NamedTuple):
    """Windows down the columns of planes and along their rows, run together."""

    planes: Planes
    down: Window
    along: Window
    rest: _Rest | None = None


@remembered(256)
def _steps(fold: str, windows: tuple[Window, ...], shape: tuple[int, ...], pairs: bool) -> tuple[_Step, ...]:
    """The steps in which windows run over an array of `shape`, two axes at a time with `pairs`.

    Work and memory grow with the array, not with windows far larger than it.
    """
    if fold != "mean":
        return _short_steps([_narrowed(window, shape[window.axis]) for window in windows], shape, pairs)
    steps, short = [], []
    for window in windows:
        kept, rest = _without_rest(window, shape[window.axis])
        if rest is None:
            short.append(window)
        else:
            (step,) = _short_steps([kept], shape, False)
            steps += [*_short_steps(short, shape, pairs), step._replace(rest=rest)]
            short = []
    return (*steps, *_short_steps(short, shape, pairs))


def _short_steps(windows: list[Window], shape: tuple[int, ...], pairs: bool) -> tuple[_Step, ...]:
    planes = as_planes([window.axis for window in windows], shape, pairs, _NARROW)
    return tuple(_Step(p, *(_PLACE if at is None else windows[at] for at in (p.down, p.along))) for p in planes)


def _narrowed(window: Window, extent: int) -> Window:
    """A smaller window with the same extremes: past the image a window sees only what it has seen already."""
    most = period(extent, window.mode) or extent
    before, after = (min(side, most) for side in (window.begin, window.size - 1 - window.begin))
    return window._replace(size=before + 1 + after, begin=before)


def _without_rest(window: Window, extent: int) -> tuple[Window, _Rest | None]:
    """A window of at most two periods, or one that always reaches both edges, and the rest of the mean, if any."""
    axis, size, mode, begin = window
    repeats = period(extent, mode)
    shares, constants = np.zeros(extent), 0
    if repeats is not None:
        repeats = max(2, repeats)  # a window has at least two samples, and period 1 is also period 2
        whole = max(0, size // repeats - 1)
        kept = window._replace(size=size - whole * repeats, begin=begin % repeats if whole else begin)
        shares += whole / size * np.bincount(source_indices(0, repeats, extent, mode), minlength=extent)
    else:
        kept = _narrowed(window, extent)
        before = begin - kept.begin
        after = size - kept.size - before
        if mode == "constant":
            constants = before + after
        else:
            shares[0] += before / size
            shares[-1] += after / size
    if kept.size == size:
        return window, None
    places = np.flatnonzero(shares)
    return kept, _Rest(axis, places, shares[places], constants / size, kept.size / size)


class _Launch(NamedTuple):
    """The kernel arguments that do not depend on values."""

    addresses: tuple[Any, ...]
    kernel: int
    arguments: tuple[int, ...]
    tiles: int
    scratch: int
    """Bytes of all workers."""
    workers: int


@remembered(256)
def _launch(
    fold: str, planes: Planes, down: Window, along: Window, strides: tuple[int, ...], dtype: np.dtype, num_threads: int
) -> _Launch:
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import CACHE_LINE, arguments, kernel, scratch

    (count, rows, columns), inner = planes.shape, planes.inner
    size, reach = dtype.itemsize, inner * (along.size - 1)
    xn, xh, xw = strides
    ints = arguments("windows")(
        size=size,
        ih=rows,
        iw=columns,
        xn=xn,
        xh=xh,
        xw=xw,
        kh=down.size,
        kw=along.size,
        pt=down.begin,
        pl=along.begin * inner,
        inner=inner,
        row_tile=rows,
        down=1,
        col_tile=1,
        across=columns,
    )
    # As many lines are worked in, whatever their length: here each of them is one cache line.
    lines = scratch("windows", dtype, ints._replace(kw=1)) // CACHE_LINE
    # Everything fits in L2: lines that fit in L1 would be short, and starting a line costs more than L1 gains.
    fitting = cache_bytes()[1] // 4 // (size * lines) - reach
    col_tile = min(columns, max(fitting, reach, _SHORTEST))
    across = -(-columns // col_tile)
    workers = min(num_threads, threads_for(count * rows * columns * (down.size * along.size).bit_length()))
    # Every band of rows folds the down.size - 1 rows above it again.
    bands = min(-(-2 * workers // (count * across)) if workers > 1 else 1, max(1, rows // (2 * down.size)))
    row_tile = -(-rows // bands)
    ints = ints._replace(row_tile=row_tile, down=-(-rows // row_tile), col_tile=col_tile, across=across)
    first_fold, last_fold = ("sum", "mean") if fold == "mean" else (fold, fold)
    samples = columns // inner
    at = edge_indices(along.begin, samples + along.size - 1 - along.begin, samples, along.mode)[:, np.newaxis]
    return _Launch(
        (
            edge_indices(down.begin, rows + down.size - 1 - down.begin, rows, down.mode),
            constant(np.where(at < 0, -1, at * inner + np.arange(inner))),
            kernel(first_fold, dtype),
            kernel(last_fold, dtype),
        ),
        kernel("windows", dtype),
        ints,
        count * ints.down * across,
        workers * scratch("windows", dtype, ints),
        workers,
    )


def _run(fold: str, operand: np.ndarray, step: _Step, fill: np.ndarray, out: np.ndarray) -> bool:
    """Run the step, and return whether every mean is finite; extremes are not checked."""
    x = operand.reshape(step.planes.shape)
    launch = _launch(fold, *step[:3], x.strides, x.dtype, team.get_num_threads())
    row_map, col_map, *folds = launch.addresses
    size = step.down.size, step.along.size
    note(fold, " of ", size, " over ", x.shape, ", ", x.dtype, ", by windows", threads=launch.workers)
    workspace = team.aligned_empty(launch.scratch, _BYTE)
    not_finite = team.flags(launch.workers) if fold == "mean" else None
    team.run_tiles(
        launch.kernel,
        (x, out, fill, not_finite, row_map, col_map, *folds, workspace),
        launch.arguments,
        (),
        launch.tiles,
        launch.workers,
    )
    return not_finite is None or not any(not_finite.tolist())
