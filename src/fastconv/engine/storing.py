"""Results in the type of an output array: the type of the computation, and how it is cast, as in C."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np

from fastconv.engine.arrays import is_target, pieces
from fastconv.engine.conversion import convert, scratch_of
from fastconv.engine.patches import regrouped
from fastconv.engine.replay import repeatable, unrepeatable

# Up to so many complex numbers are taken apart and put together by kernels, so that calls can be recorded.
_FEW = 1 << 13


def working_type(array: np.ndarray, out: np.ndarray) -> np.dtype:
    """The type to compute in: float32 if both input and output are float32."""
    return np.dtype(np.float32 if array.dtype.char == out.dtype.char == "f" else np.float64)


def store(values: np.ndarray, out: np.ndarray) -> None:
    """Cast as in C: towards zero, and to unsigned types and bool by way of int64."""
    if values is out or convert(values, out):
        return
    unrepeatable()
    whole = [(...,)] if np.may_share_memory(values, out) else pieces(values)
    with np.errstate(invalid="ignore", over="ignore"):
        for piece in whole:
            part = values[piece]
            if out.dtype.kind in "bu" and values.dtype.kind == "f" and out.itemsize < 8:
                part = part.astype(np.int64).astype(f"u{out.itemsize}")
            np.copyto(out[piece], part, casting="unsafe")


def filter_parts(
    filter_: Callable[[np.ndarray, np.ndarray, float], np.ndarray], array: np.ndarray, out: np.ndarray, cval: complex
) -> np.ndarray:
    """Filter complex numbers by applying the real ``filter_(x, out, cval)`` to both parts.

    Both parts are computed before either is stored, since `out` may overlap the array in any way.
    """
    constant = complex(cval)
    kept = array.dtype == out.dtype and array.flags.c_contiguous and is_target(out, array)
    if kept and 0 < array.size <= _FEW and array.ndim:
        x, parts = (scratch_of((2, *array.shape), out.real.dtype) for _ in range(2))
        flat = array.reshape(-1).view(x.dtype)
        regrouped(flat, 2, x.reshape(-1))
        for of, part, fill in zip(x, parts, (constant.real, constant.imag), strict=True):
            filter_(of, part, fill)
        regrouped(parts.reshape(-1), array.size, out.reshape(-1).view(x.dtype))
        return repeatable(out)
    unrepeatable()
    computed = [
        filter_(getattr(array, part), np.empty(out.shape, out.real.dtype), getattr(constant, part))
        for part in ("real", "imag")
    ]
    out.real, out.imag = computed
    return out


# Scales values whose sums may overflow; a power of two, so that it rounds nothing that matters next to them.
SMALLER = 2.0**-64


def may_overflow(values: np.ndarray, constant: float, gain: float) -> bool:
    """Whether sums of up to `gain` times these values may have overflowed, rather than seen one that is not finite."""
    largest = float(np.abs(values).max(where=np.isfinite(values), initial=0.0))
    if isfinite(constant):
        largest = max(largest, abs(constant))
    return not largest * gain <= float(np.finfo(values.dtype).max)


def store_finite(scaled: np.ndarray, out: np.ndarray) -> None:
    """Replace what is not finite in `out` by results that were computed scaled by `SMALLER`."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(out, scaled / SMALLER, casting="same_kind", where=~np.isfinite(out))
