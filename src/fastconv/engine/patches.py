"""Blocks of arrays continued across a boundary, gathered by the kernel of kernels/patches.pyx."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.boundary import source_indices
from fastconv.engine.geometry import REMEMBERED
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant
from fastconv.kernels import threads

# Up to so many values are copied by `compact`: what takes longer gains nothing from repeating.
_SMALL = 1 << 14


class Places(NamedTuple):
    """The indices at which positions along an axis are read (-1: fill value), and which of them are contiguous."""

    indices: np.ndarray
    first: int
    last: int


@remembered(REMEMBERED)
def places(begin: int, end: int, extent: int, continuation: str) -> Places:
    """The indices of positions `begin` to `end` of a continued axis of `extent` samples."""
    first = min(max(0, -begin), end - begin)
    indices = constant(source_indices(begin, end, extent, continuation))
    return Places(indices, first, max(first, min(extent, end) - begin))


def continued_patch(
    array: np.ndarray, begins: Sequence[int], shape: Sequence[int], continuation: str, fill: object
) -> np.ndarray:
    """`boundary.continued`, in scratch memory."""
    patch = threads.aligned_empty(prod(shape), array.dtype).reshape(shape)
    array = as_contiguous(array)
    rows = _lines(tuple(begins[:-1]), tuple(shape[:-1]), array.shape[:-1], continuation)
    cols = places(begins[-1], begins[-1] + shape[-1], array.shape[-1], continuation)
    source, target = (values.reshape(-1, values.shape[-1]) for values in (array, patch))
    gather(source, target, rows, cols, fill=constant(np.array(fill, array.dtype)))
    return patch


@remembered(REMEMBERED)
def _lines(begins: tuple[int, ...], shape: tuple[int, ...], extent: tuple[int, ...], continuation: str) -> Places:
    """The lines of an array of that extent that the lines of a block are read from, numbered through all its axes."""
    lines = np.zeros(1, np.int64)
    for begin, count, n in zip(begins, shape, extent, strict=True):
        at = source_indices(begin, begin + count, n, continuation)
        lines = np.where((lines[:, np.newaxis] < 0) | (at < 0), -1, lines[:, np.newaxis] * n + at).ravel()
    return Places(constant(lines), 0, 0)


def gather(
    source: np.ndarray,
    out: np.ndarray,
    rows: Places,
    cols: Places,
    fill: np.ndarray | None = None,
    threads: int | None = None,
) -> None:
    """Read each value of the plane `out`, whose rows are contiguous, from the plane `source`, or else take `fill`."""
    row, column = source.strides
    _gather(source, (row // source.itemsize, column // source.itemsize), out, rows, cols, fill, threads)


def _gather(
    source: np.ndarray,
    apart: tuple[int, int],
    out: np.ndarray,
    rows: Places,
    cols: Places,
    fill: np.ndarray | None = None,
    threads: int | None = None,
) -> None:
    """`gather` from an array whose rows and columns are so many items apart."""
    from fastconv.kernels.slots import arguments

    size = out.itemsize
    ints = arguments("gather")(
        cols=out.shape[1],
        source_row=apart[0],
        source_col=apart[1],
        out_row=out.strides[0] // size,
        first=cols.first,
        last=cols.last,
    )
    launch = Launch.of("gather", f"V{size}", ints, len(out), grain=16)
    # Every value is read here and written there.
    launch.run((source, out, rows.indices, cols.indices, fill), workers_for(2 * out.nbytes / rates().memory, threads))


def copied(source: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`out`, once it holds the values of `source`; both are C-contiguous."""
    lines, width = prod(source.shape[:-1]), source.shape[-1]
    rows, cols = places(0, lines, lines, "constant"), places(0, width, width, "constant")
    gather(source.reshape(lines, width), out.reshape(lines, width), rows, cols)
    return out


def regrouped(values: np.ndarray, columns: int, out: np.ndarray) -> None:
    """Store the transpose of a matrix of so many columns; both are flat. Its table limits it to small ones."""
    at = _transposed(values.size, columns)
    gather(values[np.newaxis], out[np.newaxis], places(0, 1, 1, "constant"), at)


@remembered(REMEMBERED)
def _transposed(size: int, columns: int) -> Places:
    return Places(constant(np.ascontiguousarray(np.arange(size).reshape(-1, columns).T).ravel()), 0, 0)


def compact(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy of a small array, made by a kernel, so that a call can repeat; any other array as it is."""
    flags, size = array.flags, array.itemsize
    if flags.c_contiguous or not 0 < array.size <= _SMALL or not (flags.aligned and array.dtype.isnative):
        return array
    strides = [stride // size for stride in array.strides]
    if array.dtype.kind not in "biufc" or size > 16 or any(stride % size for stride in array.strides):
        return array
    first = array[tuple([slice(None) if stride >= 0 else slice(None, None, -1) for stride in strides])]
    lines, line = _strided(array.shape, tuple(strides))
    out = threads.aligned_empty(array.size, array.dtype).reshape(array.shape)
    plane = out.reshape(-1, array.shape[-1])
    _gather(first, (1, abs(strides[-1])), plane, lines, line)
    return out


@remembered(REMEMBERED)
def _strided(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[Places, Places]:
    """Where the lines of an array begin, in items from its lowest address, and the order of a line's values."""
    begins = np.zeros(1, np.int64)
    for extent, stride in zip(shape[:-1], strides[:-1], strict=True):
        at = np.arange(extent, dtype=np.int64)[:: -1 if stride < 0 else 1] * abs(stride)
        begins = (begins[:, np.newaxis] + at).ravel()
    width = shape[-1]
    if strides[-1] < 0:
        return Places(constant(begins), 0, 0), Places(constant(np.arange(width, dtype=np.int64)[::-1].copy()), 0, 0)
    return Places(constant(begins), 0, 0), Places(constant(np.arange(width, dtype=np.int64)), 0, width)


class Target(NamedTuple):
    """Where the results of one part of a volume belong: positions a stride apart."""

    start: int
    """The index of the first result."""
    extent: tuple[int, int, int]
    first: tuple[int, int, int]
    """The position of the first result in the volume."""
    image: int
    """The distance from one image's results to the next."""


def targets(parts: Sequence[Target]) -> np.ndarray:
    """The table of parts that the kernel "place" reads (kernels/lowering.pyx)."""
    rows = [(part.start, *part.extent, *part.first, part.image) for part in parts]
    return constant(np.array(rows, np.int64).reshape(-1, 8))


def place(
    results: np.ndarray,
    out: np.ndarray,
    table: np.ndarray,
    channels: int,
    extent: tuple[int, int, int],
    stride: tuple[int, int, int],
    threads: int,
) -> None:
    """Write the results of all parts of a volume, for each channel of each image, to their positions in `out`."""
    from fastconv.kernels.slots import arguments

    (depth, height, width), (sd, sh, sw) = extent, stride
    ints = arguments("place")(
        channels=channels, phases=len(table), depth=depth, height=height, width=width, sd=sd, sh=sh, sw=sw
    )
    launch = Launch.of("place", out.dtype, ints, out.size // prod(extent), grain=8)
    launch.run((results, out, table), workers_for(2 * out.nbytes / rates().memory, threads))
