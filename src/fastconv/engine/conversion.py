"""Casting arrays to another type, by kernels where these exist (kernels/convert.pyx)."""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.engine.arrays import as_operand, is_target
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.rates import rates
from fastconv.engine.replay import unrepeatable
from fastconv.kernels import threads

# Number of values cast per tile.
_SPAN = 1 << 15

# Casting so many integers twice takes less than a call that does not repeat.
_FEW = 1 << 14


def converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` in a form that kernels of `dtype` can read: itself or a copy, in scratch memory if a kernel makes it."""
    if array.dtype == dtype or not array.flags.c_contiguous:
        return as_operand(array, dtype)
    result = scratch_like(array, dtype)
    if convert(array, result):
        return result
    if array.size <= _FEW and array.dtype.kind in "iu" and dtype.kind in "iu":
        # There are no kernels between all types of integers, but a call that only launches kernels can repeat.
        between = scratch_like(array, np.dtype(np.int64))
        if convert(array, between) and convert(between, result):
            return result
    return as_operand(array, dtype)


def scratch_like(out: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Scratch memory with the shape of `out`."""
    return scratch_of(out.shape, dtype)


def scratch_of(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Scratch memory of that shape."""
    return threads.aligned_empty(prod(shape), dtype).reshape(shape)


def convert(values: np.ndarray, out: np.ndarray) -> bool:
    """Whether there is a kernel that casts `values` to `out`; complex numbers are cast part by part."""
    if values.dtype.kind == out.dtype.kind == "c" and values.flags.c_contiguous and is_target(out, values):
        values, out = (array.reshape(-1).view(array.real.dtype) for array in (values, out))
    return _launched(values, out, out.dtype.str[1:])


def find_nonzero(values: np.ndarray, out: np.ndarray) -> None:
    """Store in an array of bools which values are not zero."""
    if not _launched(values, out, "not zero"):
        unrepeatable()
        np.not_equal(values, 0, out=out)


def _launched(values: np.ndarray, out: np.ndarray, target: str) -> bool:
    """Whether there is a kernel between these types, which then has run."""
    from fastconv.kernels.convert import KINDS
    from fastconv.kernels.slots import arguments

    source = "u1" if values.dtype.kind == "b" else values.dtype.str[1:]
    kind = KINDS.get((source, target))
    flags = values.flags
    readable = flags.c_contiguous and flags.aligned and values.dtype.isnative
    if kind is None or not readable or not is_target(out, values):
        return False
    ints = arguments("convert")(values=values.size, span=_SPAN, kind=kind)
    launch = Launch.of("convert", source, ints, -(-values.size // _SPAN))
    launch.run((values, out), workers_for((values.nbytes + out.nbytes) / rates().memory))
    return True
