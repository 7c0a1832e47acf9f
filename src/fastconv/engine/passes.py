"""Correlation along one axis after another, as SciPy's separable filters run."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.arrays import is_target
from fastconv.engine.boundary import folded
from fastconv.engine.conversion import converted, scratch_like
from fastconv.engine.convolution.separable import Factors, correlate_factors, outer_factors
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


class Pass(NamedTuple):
    """A correlation along one axis. Passes are values, so that they can be keys of caches."""

    axis: int
    weights: bytes
    """Weights, in float64."""
    mode: str
    """A boundary mode of boundary.py."""
    origin: int
    keeps_sum: bool = False
    """Whether rounding to float32 should preserve the sum of the weights, rather than round each to the nearest."""


# The factor along an axis of the plane that is not filtered.
_NOTHING = Pass(-1, np.ones(1).tobytes(), "nearest", 0)

# How many weights, largest first, have both of their float32 neighbours tried.
_CHOICES = 10


def filter_axes(array: np.ndarray, passes: tuple[Pass, ...], out: np.ndarray, cval: complex) -> np.ndarray:
    """Correlate along one axis after another, storing between them in the type of `out`."""
    if out.dtype.kind == "c":
        return filter_parts(lambda x, part, c: filter_axes(x, passes, part, c), array, out, cval)
    if not array.size or not passes:
        store(array, out)
        return out
    dtype = working_type(array, out)
    rounds = out.dtype != dtype
    source, fill = array, float(cval.real)
    steps = _steps(passes, array.shape, dtype, fill == 0, True)
    for step in steps:
        source = converted(source, dtype)
        target = out if step is steps[-1] and not rounds and is_target(out, source) else scratch_like(out, dtype)
        if not _run(step, source, target, fill):
            unrepeatable()
            if may_overflow(source, fill, step.gain):
                _run_scaled(step, source, target, fill)
            elif step.mixes_signs:
                # Infinity times the sum of the weights is not the sum of the products.
                for plain in _steps(step.passes, array.shape, dtype, fill == 0, False):
                    _run(plain, source, target, fill)
        source = target
        if rounds:
            store(target, out)
            source = out
    store(source, out)
    return repeatable(out)


class _Step(NamedTuple):
    """One pass, or two fused passes, over planes of `shape`: the arguments of `correlate_factors`."""

    shape: tuple[int, int, int, int]
    factors: Factors
    padding: tuple[tuple[int, int], ...]
    continuation: tuple[str, ...]
    multiplications: int
    passes: tuple[Pass, ...]
    gain: float
    """Bound on intermediate sums, as a multiple of the largest sample."""
    mixes_signs: bool
    """Whether weights of both signs, or zeros and others, were merged into one."""


def _run(step: _Step, source: np.ndarray, target: np.ndarray, fill: float) -> bool:
    """Run the step, and return whether every sum was finite."""
    threads = threads_for(step.multiplications)
    taps = step.factors.columns.shape[2], step.factors.rows.shape[3]
    note("correlation with ", taps, " taps over ", step.shape, ", ", source.dtype, ", by separable", threads=threads)
    return correlate_factors(
        source.reshape(step.shape),
        step.factors,
        target.reshape(step.shape),
        step.padding,
        threads,
        continuation=step.continuation,
        fill=fill,
    )


def _run_scaled(step: _Step, source: np.ndarray, target: np.ndarray, fill: float) -> None:
    """Recompute what is not finite in float64, from scaled-down values: no mean of the largest numbers may overflow.

    Nothing else changes: an output depends only on what its window contains.
    """
    with np.errstate(invalid="ignore"):
        values = source.astype(np.float64) * SMALLER
    for wide in _steps(step.passes, source.shape, values.dtype, fill == 0, True):
        result = np.empty_like(values)
        _run(wide, values, result, fill * SMALLER)
        values = result
    store_finite(values, target)


@remembered(256)
def _steps(
    passes: tuple[Pass, ...], shape: tuple[int, ...], dtype: np.dtype, zeros: bool, folds: bool
) -> tuple[_Step, ...]:
    """The steps in which `passes` run over an array of `shape`; the constant past the edges may be zero or not.

    With `folds`, weights that see the same sample past an edge are merged (see boundary.py).
    """
    # Fused passes run along the rows first. In float64 the order of the axes is kept, and with it the bits of filters
    # along one axis. A nonzero constant past the edges also fixes the order: it is part of every sum.
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
        given = [np.frombuffer(step.weights) for step in pair]
        begins = [len(weights) // 2 + step.origin for weights, step in zip(given, pair, strict=True)]
        taps = list(given)
        if folds:
            for at, (step, extent) in enumerate(zip(pair, plane[2:], strict=True)):
                taps[at], begins[at] = folded(given[at], begins[at], extent, step.mode)
        shortened = [weights for weights, kept in zip(given, taps, strict=True) if len(kept) < len(weights)]
        columns, rows = (_rounded(t, dtype, step.keeps_sum) for t, step in zip(taps, pair, strict=True))
        factors = outer_factors(columns, rows)
        steps.append(
            _Step(
                plane,
                factors._replace(columns=constant(factors.columns), rows=constant(factors.rows)),
                tuple((begin, 0) for begin in begins),
                tuple(step.mode for step in pair),
                prod(shape) * (len(columns) + len(rows)),
                tuple(step for step in pair if step is not _NOTHING),
                1.01 * prod(max(2.0, float(np.abs(t).sum())) for t in taps),
                any(weights.min() <= 0 <= weights.max() for weights in shortened),
            )
        )
    return tuple(steps)


def _rounded(weights: np.ndarray, dtype: np.dtype, keeps_sum: bool) -> np.ndarray:
    """The weights in `dtype`: each rounded to the nearest, or to whichever neighbour best preserves the sum.

    Rounded to the nearest, a Gaussian would make images brighter or darker by about 1e-8. Equal weights stay equal.
    """
    nearest = weights.astype(dtype)
    if not keeps_sum or dtype == np.float64 or not np.isfinite(weights).all():
        return nearest
    sizes, of = np.unique(np.abs(weights), return_inverse=True)
    signs = np.sign(weights)
    rounded = sizes.astype(dtype)
    # All combinations of neighbours are tried for the few largest weights.
    few = slice(-min(len(sizes), _CHOICES), None)
    towards = np.where(rounded < sizes, np.inf, 0).astype(dtype)
    other = np.where(rounded == sizes, rounded, np.nextafter(rounded, towards))[few]
    net = np.bincount(of, signs)
    chosen = np.arange(1 << len(other))[:, np.newaxis] >> np.arange(len(other)) & 1 == 1
    error = net @ (rounded - sizes) + chosen @ (net[few] * (other.astype(np.float64) - rounded[few]))
    rounded[few] = np.where(chosen[np.abs(error).argmin()], other, rounded[few])
    signed: np.ndarray = rounded[of] * signs.astype(dtype)
    return signed
