"""Correlation along one axis after another, as SciPy's separable filters run."""

from __future__ import annotations

import functools
from math import prod

import numpy as np

from fastconv.arrays import as_operand
from fastconv.ndimage.arguments import as_mode, check_origin
from fastconv.ndimage.outputs import store, threads_for, working_type

# One axis that is correlated: (axis, weights, mode, origin).
_Pass = tuple[int, np.ndarray, str, int]


def filter_axes(array: np.ndarray, passes: list[_Pass], out: np.ndarray, cval: complex) -> np.ndarray:
    """Correlate along one axis after another, storing between them in the type of `out`."""
    for _, weights, _, origin in passes:
        check_origin(origin, len(weights), "Invalid origin; origin must satisfy -(len(weights) // 2) <= origin <= "
                                            "(len(weights)-1) // 2")  # fmt: skip
    passes = [(axis, weights, as_mode(mode), origin) for axis, weights, mode, origin in passes]
    if out.dtype.kind == "c":
        for part in ("real", "imag"):
            # A part of a complex array is a view of every other number.
            getattr(out, part)[...] = filter_axes(
                getattr(array, part),
                passes,
                np.empty(out.shape, out.real.dtype),
                getattr(np.asarray(cval), part).item(),
            )
        return out
    if not array.size or not passes:
        store(array, out)
        return out
    dtype = working_type(array, out)
    rounds = out.dtype != dtype
    # Fused passes run along the rows first. float64 keeps the order, and with it the bits, of the filters of one axis;
    # and where every sum counts the constant past the edges, the order decides what that is.
    fusing = dtype == np.float32 and (cval == 0 or all(mode != "constant" for _, _, mode, _ in passes))
    source = array
    while passes:
        group, passes = passes[:1], passes[1:]
        if fusing and passes and [group[0][0], passes[0][0]] == [array.ndim - 2, array.ndim - 1]:
            group, passes = [*group, passes[0]], passes[1:]
        straight = not passes and not rounds and out.flags.c_contiguous and not np.may_share_memory(out, source)
        target = out if straight else np.empty(out.shape, dtype)
        _correlate_axes(as_operand(source, dtype), group, target, cval)
        source = target
        if rounds:
            store(target, out)
            source = out
    store(source, out)
    return out


def _correlate_axes(x: np.ndarray, group: list[_Pass], out: np.ndarray, cval: float) -> None:
    """Correlate along one axis, or the last two, as planes of separable filters."""
    from fastconv.strategies.separable import correlate_factors, outer_factors

    ones = np.ones(1)
    axis, weights, mode, origin = group[0]
    before, n, after = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    if len(group) == 2:
        shape, (columns, rows), origins, modes = (
            (before, 1, n, after),
            (weights, group[1][1]),
            (origin, group[1][3]),
            (mode, group[1][2]),
        )
    elif after == 1:
        shape, (columns, rows), origins, modes = (1, 1, before, n), (ones, weights), (0, origin), (mode, mode)
    else:
        shape, (columns, rows), origins, modes = (before, 1, n, after), (weights, ones), (origin, 0), (mode, mode)
    columns, rows = (_rounded(taps, x.dtype) for taps in (columns, rows))
    correlate_factors(
        x.reshape(shape),
        outer_factors(columns, rows),
        out.reshape(shape),
        tuple((len(taps) // 2 + o, 0) for taps, o in zip((columns, rows), origins, strict=True)),
        threads_for(out.size * (len(columns) + len(rows))),
        continuation=modes,
        fill=float(cval),
    )


def _rounded(weights: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`weights` in `dtype`, with the sum that they had: what rounding takes from one size of weights the next get.

    Otherwise a filter in float32 would make images brighter or darker by some 1e-8. Equal sizes stay equal.
    """
    if dtype == np.float64:
        return np.ascontiguousarray(weights, dtype)
    return _rounded_taps(weights.astype(np.float64).tobytes())


@functools.lru_cache(maxsize=256)
def _rounded_taps(taps: bytes) -> np.ndarray:
    weights = np.frombuffer(taps)
    if not np.isfinite(weights).all():
        return weights.astype(np.float32)
    sizes, of = np.unique(np.abs(weights), return_inverse=True)
    signs = np.sign(weights)
    net = np.bincount(of, signs)
    rounded, carry = np.empty(len(sizes), np.float32), 0.0
    for at in reversed(range(len(sizes))):
        rounded[at] = sizes[at] + (carry / net[at] if net[at] else 0.0)
        carry += net[at] * (sizes[at] - float(rounded[at]))
    return (rounded[of] * signs).astype(np.float32)
