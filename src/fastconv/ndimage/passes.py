"""Correlation along one axis after another, as SciPy's separable filters run."""

from __future__ import annotations

import functools
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.arrays import as_operand, is_target
from fastconv.ndimage.arguments import as_mode, check_origin
from fastconv.ndimage.outputs import filter_parts, store, threads_for, working_type
from fastconv.strategies.separable import Factors, correlate_factors, outer_factors


class Pass(NamedTuple):
    """One axis that is correlated: a value, by which what depends on it alone is remembered."""

    axis: int
    weights: bytes
    """float64."""
    mode: str
    """One of continuation.py's."""
    origin: int


# Along the axis of a plane that is not filtered.
_NOTHING = Pass(-1, np.ones(1).tobytes(), "nearest", 0)


def as_pass(axis: int, weights: np.ndarray, mode: str, origin: int) -> Pass:
    check_origin(origin, len(weights), "Invalid origin; origin must satisfy -(len(weights) // 2) <= origin <= "
                                        "(len(weights)-1) // 2")  # fmt: skip
    return Pass(axis, np.asarray(weights, np.float64).tobytes(), as_mode(mode), origin)


def filter_axes(array: np.ndarray, passes: tuple[Pass, ...], out: np.ndarray, cval: complex) -> np.ndarray:
    """Correlate along one axis after another, storing between them in the type of `out`."""
    if out.dtype.kind == "c":
        return filter_parts(lambda x, part, c: filter_axes(x, passes, part, c), array, out, cval)
    if not array.size or not passes:
        store(array, out)
        return out
    dtype = working_type(array, out)
    rounds = out.dtype != dtype
    source, fill = array, float(cval)
    steps = _steps(passes, array.shape, dtype, fill == 0)
    for step in steps:
        source = as_operand(source, dtype)
        target = out if step is steps[-1] and not rounds and is_target(out, source) else np.empty(out.shape, dtype)
        correlate_factors(
            source.reshape(step.shape),
            step.factors,
            target.reshape(step.shape),
            step.padding,
            threads_for(step.multiplications),
            continuation=step.continuation,
            fill=fill,
        )
        source = target
        if rounds:
            store(target, out)
            source = out
    store(source, out)
    return out


class _Step(NamedTuple):
    """One pass, or two that are fused, over planes of `shape`: what `correlate_factors` takes."""

    shape: tuple[int, int, int, int]
    factors: Factors
    padding: tuple[tuple[int, int], tuple[int, int]]
    continuation: tuple[str, str]
    multiplications: int


@functools.lru_cache(maxsize=256)
def _steps(passes: tuple[Pass, ...], shape: tuple[int, ...], dtype: np.dtype, zeros: bool) -> tuple[_Step, ...]:
    """How `passes` run over an array of `shape`, past whose edges the constant is zero or not."""
    # Fused passes run along the rows first. float64 keeps the order, and with it the bits, of the filters of one axis;
    # and where every sum counts the constant past the edges, the order decides what that is.
    fusing = dtype == np.float32 and (zeros or all(step.mode != "constant" for step in passes))
    steps = []
    while passes:
        axis = passes[0].axis
        before, n, after = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
        plane = (before, 1, n, after)
        if fusing and [step.axis for step in passes[:2]] == [len(shape) - 2, len(shape) - 1]:
            pair, passes = passes[:2], passes[2:]
        else:
            pair, passes = (passes[0], _NOTHING), passes[1:]
            if after == 1:
                plane, pair = (1, 1, before, n), pair[::-1]
        columns, rows = (_rounded(step.weights, dtype) for step in pair)
        steps.append(
            _Step(
                plane,
                outer_factors(columns, rows),
                tuple((len(taps) // 2 + step.origin, 0) for taps, step in zip((columns, rows), pair, strict=True)),
                tuple(step.mode for step in pair),
                prod(shape) * (len(columns) + len(rows)),
            )
        )
    return tuple(steps)


def _rounded(taps: bytes, dtype: np.dtype) -> np.ndarray:
    """The weights in `dtype`, with the sum that they had: what rounding takes from one size of weights the next get.

    Otherwise a filter in float32 would make images brighter or darker by some 1e-8. Equal sizes stay equal.
    """
    weights = np.frombuffer(taps)
    if dtype == np.float64 or not np.isfinite(weights).all():
        return weights.astype(dtype)
    sizes, of = np.unique(np.abs(weights), return_inverse=True)
    signs = np.sign(weights)
    net = np.bincount(of, signs)
    rounded, carry = np.empty(len(sizes), np.float32), 0.0
    for at in reversed(range(len(sizes))):
        rounded[at] = sizes[at] + (carry / net[at] if net[at] else 0.0)
        carry += net[at] * (sizes[at] - float(rounded[at]))
    return (rounded[of] * signs).astype(np.float32)
