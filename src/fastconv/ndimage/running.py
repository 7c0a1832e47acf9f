"""Extremes and means of windows, running along one axis after another."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv import threads
from fastconv.arrays import as_operand
from fastconv.continuation import source_indices
from fastconv.ndimage.arguments import as_mode, check_origin
from fastconv.ndimage.outputs import store, threads_for, working_type

# Bytes of the lines that running windows hold at a time.
_WINDOW_BYTES = 16 << 10


def native(array: np.ndarray, cval: float, fold: str) -> tuple[np.ndarray, Any]:
    """Values that kernels order (bool as bytes), and `cval` in their type.

    A constant that never wins stays one; others are cast as C does.
    """
    array = array.view(np.uint8) if array.dtype.kind == "b" else as_operand(array, np.dtype(array.dtype.char))
    value = np.float64(cval)
    with np.errstate(invalid="ignore", over="ignore"):
        if array.dtype.kind == "f":
            return array, value.astype(array.dtype)
        limits = np.iinfo(array.dtype)
        if fold == "maximum" and value < limits.min:
            return array, limits.min
        if fold == "minimum" and value > limits.max:
            return array, limits.max
        return array, value.astype(np.int64 if abs(value) < 2.0**63 else array.dtype).astype(array.dtype)


def run_windows(
    fold: str, array: np.ndarray, windows: list[tuple[int, int, str, int]], out: np.ndarray, cval: complex
) -> np.ndarray:
    """Running windows along one axis after another, storing between them in the type of `out`."""
    for _, size, _, origin in windows:
        if size < 1:
            raise RuntimeError(f"size={size}: incorrect filter size, expected at least 1")
        check_origin(origin, size, "invalid origin")
    windows = [(axis, size, as_mode(mode), origin) for axis, size, mode, origin in windows]
    if out.dtype.kind == "c":
        for part in ("real", "imag"):
            getattr(out, part)[...] = run_windows(
                fold,
                getattr(array, part),
                windows,
                np.empty(out.shape, out.real.dtype),
                getattr(np.asarray(cval), part).item(),
            )
        return out
    if not array.size or not windows:
        store(array, out)
        return out
    source = array
    for axis, size, mode, origin in windows:
        if fold == "mean":
            operand, fill = as_operand(source, working_type(source, out)), cval
        else:
            operand, fill = native(source, cval, fold)
        result = np.empty(out.shape, operand.dtype)
        _run_window(fold, operand, axis, size, mode, origin, fill, result)
        store(result if operand.dtype.kind != "u" or source.dtype.kind != "b" else result.view(bool), out)
        source = out
    return out


def _run_window(
    fold: str, x: np.ndarray, axis: int, size: int, mode: str, origin: int, fill: Any, out: np.ndarray
) -> None:
    from fastconv.kernels.windows import window_kernel

    outer, n, inner = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    x = x.reshape(outer, n, inner)
    begin = size // 2 + origin
    columns = min(inner, 64)
    segment = min(n, max(2 * size, _WINDOW_BYTES // (columns * x.itemsize)))
    segments, across = -(-n // segment), -(-inner // columns)
    workers = threads_for(x.size * size.bit_length())
    scratch = (2 * segment + size) * columns
    threads.run_tiles(
        window_kernel(x.dtype, fold).address,
        (
            x,
            out,
            threads.aligned_empty(workers * scratch, x.dtype),
            source_indices(-begin, n + size - 1 - begin, n, mode),
            np.array([fill], x.dtype),
        ),
        (
            *(n, inner, size),
            *(stride // x.itemsize for stride in x.strides),
            *(segment, segments, columns, across, begin, begin + n, scratch),
        ),
        (),
        outer * segments * across,
        workers,
    )
