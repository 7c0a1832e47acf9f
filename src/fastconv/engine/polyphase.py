"""Filters between two rates along one axis (kernels/simd/polyphase.h)."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.conversion import converted
from fastconv.engine.extension import extension
from fastconv.engine.geometry import PolyphaseGeometry
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, note
from fastconv.kernels import threads as team

# Columns of a tile: what the taps of a phase see of them fits L1.
_COLUMNS = 128

# Outputs and samples that a tile of a line takes, its rows of columns, and the most products of a line's tile.
_OUTPUTS, _SAMPLES, _ROWS, _PRODUCTS = 2048, 8192, 256, 1 << 22

# The fewest outputs of a phase in a tile, so that they share its taps.
_FEWEST = 16


class Resampling(NamedTuple):
    """A filter between two rates; a value itself, so that it can be the key of a cache.

    ``out[m] = sum_k filter[offset + m * down - k * up] * x[k]`` for the first `outputs`.
    """

    up: int
    down: int
    offset: int
    outputs: int
    mode: str = "constant"
    """How the signal continues past its ends, as extension.py calls it."""


class _Lines(NamedTuple):
    """An array as planes of columns, with strides in real values."""

    planes: int
    extent: int
    inner: int
    strides: tuple[int, int, int]


def resampled(
    array: np.ndarray, taps: np.ndarray, step: Resampling, axis: int, dtype: np.dtype, fill: complex = 0
) -> np.ndarray:
    """`array` filtered along `axis` by real `taps`, in `dtype`, which is floating point or complex."""
    shape = (*array.shape[:axis], step.outputs, *array.shape[axis + 1 :])
    out = np.empty(shape, dtype)
    resample_into(array, taps, step, axis, out, fill)
    return out


def resample_into(
    array: np.ndarray, taps: np.ndarray, step: Resampling, axis: int, out: np.ndarray, fill: complex = 0
) -> None:
    """`resampled` into `out`, whose planes are C-contiguous, if not next to each other."""
    if not out.size:
        return
    source = converted(array, out.dtype)
    lines = _lines(source, axis)
    if lines is None:
        source = as_contiguous(source)
        lines = _lines(source, axis)
        assert lines is not None
    threads = team.get_num_threads()
    plane = _plane_stride(out, axis)
    launch, seconds = _launch(lines, step, plane, out.real.dtype.char, np.asarray(taps, np.float64).tobytes())
    workers = workers_for(seconds, threads)
    note("polyphase filter, ", step.up, ":", step.down, ", over ", array.shape, ", ", out.dtype, threads=workers)
    launch.run((source, out), workers, (fill.real, fill.imag if out.dtype.kind == "c" else fill.real))


def _lines(array: np.ndarray, axis: int) -> _Lines | None:
    """The array as planes of columns along `axis`, or None if these are not evenly spaced."""
    parts = 2 if array.dtype.kind == "c" else 1
    shape, strides = array.shape, [stride * parts // array.itemsize for stride in array.strides]
    planes, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    if array.flags.c_contiguous:
        return _Lines(planes, shape[axis], inner * parts, (shape[axis] * inner * parts, inner * parts, 1))
    if axis > 1 or array.ndim - axis > 2:
        return None
    plane, column = strides[0] if axis else 0, strides[-1] if axis < array.ndim - 1 else 1
    if parts == 2:
        if inner > 1 and column != 2:
            return None
        column = 1
    return _Lines(planes, shape[axis], inner * parts, (plane, strides[axis], column))


def _plane_stride(out: np.ndarray, axis: int) -> int:
    """Real values from one plane of the output to the next."""
    parts = 2 if out.dtype.kind == "c" else 1
    return out.strides[axis - 1] * parts // out.itemsize if axis else 0


@remembered(256)
def _launch(lines: _Lines, step: Resampling, out_plane: int, char: str, filter_bytes: bytes) -> tuple[Launch, float]:
    """The launch, and the seconds that it takes one thread."""
    from fastconv.kernels.slots import LANES, arguments

    dtype = np.dtype(char)
    taps = np.frombuffer(filter_bytes)
    up, down, offset, outputs, mode = step
    planes, extent, inner, (x_plane, x_sample, x_column) = lines
    g = PolyphaseGeometry(planes, extent, inner, len(taps), up, down, offset, outputs)
    if x_column == 1 and inner >= LANES[dtype.itemsize]:
        across = -(-inner // _COLUMNS)
        width, block = -(-inner // across), _ROWS
    else:
        across, width = inner, 1
        per_phase = max(_FEWEST, min(_OUTPUTS // up, _SAMPLES // down))
        block = max(1, min(per_phase * up, _PRODUCTS // g.phase_taps))
    blocks = -(-outputs // block)
    ints = arguments("polyphase")(
        n=extent,
        inner=inner,
        outputs=outputs,
        up=up,
        down=down,
        offset=offset,
        taps=g.phase_taps,
        x_plane=x_plane,
        x_sample=x_sample,
        x_column=x_column,
        out_plane=out_plane,
        pad=g.before,
        block=-(-outputs // blocks),
        blocks=blocks,
        width=width,
        across=across,
    )
    tables = (_phases(taps, up, g.phase_taps, dtype), *extension(g.before, g.after, extent, mode))
    values = planes * inner * outputs
    seconds = values * (2 * g.phase_taps / (0.5 * rates().flops(dtype.itemsize)) + 2 * dtype.itemsize / rates().memory)
    return Launch.of("polyphase", dtype, ints, planes * across * blocks, tables=tables), seconds


def _phases(taps: np.ndarray, up: int, count: int, dtype: np.dtype) -> np.ndarray:
    """The phases of a filter, each in the order in which it reads samples.

    Examples
    --------
    >>> _phases(np.arange(1, 6), 2, 3, np.dtype("f")).tolist()
    [[5.0, 3.0, 1.0], [0.0, 4.0, 2.0]]
    """
    padded = np.zeros(count * up, dtype)
    padded[: len(taps)] = taps
    return constant(np.ascontiguousarray(padded.reshape(count, up).T[:, ::-1]))
