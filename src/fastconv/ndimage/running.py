"""Extremes and means of windows, along one axis after another."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastconv import threads as team
from fastconv.arrays import as_operand, is_target
from fastconv.continuation import edge_indices
from fastconv.ndimage.arguments import as_mode, check_origin
from fastconv.ndimage.outputs import filter_parts, store, threads_for, working_type
from fastconv.ndimage.planes import Planes, as_planes

# Samples of at most so many columns are folded along the rows: lines as short as they are would not fill vectors.
_NARROW = 16

_BYTE = np.dtype(np.uint8)

# Values of a line at least, whatever cache they would leave.
_SHORTEST = 256


class Window(NamedTuple):
    """What is seen along one axis."""

    axis: int
    size: int
    mode: str
    """One of continuation.py's."""
    origin: int

    @property
    def begin(self) -> int:
        """How many samples are seen before an output's own."""
        return self.size // 2 + self.origin


@functools.lru_cache(maxsize=256, typed=True)
def as_window(axis: int, size: int, mode: str, origin: int) -> Window:
    if size < 1:
        raise RuntimeError(f"size={size}: incorrect filter size, expected at least 1")
    check_origin(origin, size, "invalid origin")
    return Window(axis, size, as_mode(mode), origin)


# Where nothing is seen but an output's own place.
_PLACE = Window(-1, 1, "nearest", 0)


def native(array: np.ndarray) -> np.ndarray:
    """Values that kernels order: bool as bytes."""
    return array.view(np.uint8) if array.dtype.kind == "b" else as_operand(array, np.dtype(array.dtype.char))


def constant(fold: str, dtype: np.dtype, cval: float) -> np.ndarray:
    """`cval` in `dtype`: one that never wins stays one, others are cast as C does."""
    return _constant(fold, dtype, np.float64(cval).tobytes())  # by its bits: -0 is not 0


@functools.lru_cache(maxsize=256)
def _constant(fold: str, dtype: np.dtype, cval: bytes) -> np.ndarray:
    (value,) = np.frombuffer(cval)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if fold == "maximum" and value < limits.min:
            return np.array(limits.min, dtype)
        if fold == "minimum" and value > limits.max:
            return np.array(limits.max, dtype)
        if abs(value) < 2.0**63:
            value = value.astype(np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array(value.astype(dtype))


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
    rounds = out.dtype.char != (working_type(array, out) if fold == "mean" else array.dtype).char
    source, steps = array, _steps(windows, array.shape, not rounds)
    for step in steps:
        operand = as_operand(source, working_type(source, out)) if fold == "mean" else native(source)
        whole = step is steps[-1] and not rounds and is_target(out, source)
        result = out.view(operand.dtype) if whole else np.empty(out.shape, operand.dtype)
        _run(fold, operand.reshape(step.planes.shape), step, constant(fold, operand.dtype, cval), result)
        source = result.view(bool) if source.dtype.kind == "b" and operand.dtype.kind == "u" else result
        if rounds:
            store(source, out)
            source = out
    if not whole:
        store(source, out)
    return out


class _Step(NamedTuple):
    """Windows down the columns of planes, and along their rows."""

    planes: Planes
    down: Window
    along: Window


@functools.lru_cache(maxsize=256)
def _steps(windows: tuple[Window, ...], shape: tuple[int, ...], pairs: bool) -> tuple[_Step, ...]:
    planes = as_planes([window.axis for window in windows], shape, pairs, _NARROW)
    return tuple(_Step(p, *(_PLACE if at is None else windows[at] for at in (p.down, p.along))) for p in planes)


class _Launch(NamedTuple):
    """What a call of the kernel takes that depends on no values."""

    addresses: tuple[Any, ...]
    ints: tuple[int, ...]
    tiles: int
    scratch: int
    workers: int


@functools.lru_cache(maxsize=256)
def _launch(fold: str, step: _Step, strides: tuple[int, ...], kind: str, num_threads: int) -> _Launch:
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.windows import FOLDS, LINE_BYTES, WORKING_LINES

    (count, rows, columns), inner = step.planes.shape, step.planes.inner
    down, along = step.down, step.along
    size, reach = int(kind[1:]), inner * (along.size - 1)
    # For every step but the first, the rows that it looks back to and its own.
    widths = [down.size >> bit for bit in range(down.size.bit_length() - 1, -1, -1)]
    lines = WORKING_LINES + sum(width + following % 2 + 1 for width, following in pairwise(widths[1:]))
    # All in L2: in L1 lines would be short, and to begin one costs more than the cache gives.
    fitting = cache_bytes()[1] // 4 // (size * lines) - reach
    col_tile = min(columns, max(fitting, reach, _SHORTEST))
    pitch = -(-(col_tile + reach) * size // LINE_BYTES) * LINE_BYTES
    across = -(-columns // col_tile)
    workers = min(num_threads, threads_for(count * rows * columns * (down.size * along.size).bit_length()))
    # Every band of rows folds the down.size - 1 above it again.
    bands = min(-(-2 * workers // (count * across)) if workers > 1 else 1, max(1, rows // (2 * down.size)))
    row_tile = -(-rows // bands)
    samples = columns // inner
    at = edge_indices(along.begin, samples + along.size - 1 - along.begin, samples, along.mode)[:, np.newaxis]
    return _Launch(
        (
            edge_indices(down.begin, rows + down.size - 1 - down.begin, rows, down.mode),
            np.where(at < 0, -1, at * inner + np.arange(inner)),
            *FOLDS[fold, kind],
        ),
        (
            *(size, rows, columns, *strides, down.size, along.size, down.begin, along.begin * inner, inner),
            *(row_tile, -(-rows // row_tile), col_tile, across, pitch, pitch * lines),
        ),
        count * -(-rows // row_tile) * across,
        workers * pitch * lines,
        workers,
    )


def _run(fold: str, x: np.ndarray, step: _Step, fill: np.ndarray, out: np.ndarray) -> None:
    from fastconv.kernels.windows import WINDOWS

    launch = _launch(fold, step, x.strides, x.dtype.str[1:], team.get_num_threads())
    row_map, col_map, *folds = launch.addresses
    workspace = team.aligned_empty(launch.scratch, _BYTE)
    team.run_tiles(
        WINDOWS, (x, out, workspace, row_map, col_map, fill, *folds), launch.ints, (), launch.tiles, launch.workers
    )
