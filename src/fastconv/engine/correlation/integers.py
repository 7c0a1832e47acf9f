"""Integers in a type that is summed faster than their own, a block of rows at a time.

Large kernels are summed in floating point where every sum is certain to be exact in it, or in 16 bits instead of 8,
which wrap around alike.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine import planner
from fastconv.engine.boundary import source_indices
from fastconv.engine.conversion import convert, converted
from fastconv.engine.convolution.separable import find_factors
from fastconv.engine.correlation.base import Past, has_many_products
from fastconv.engine.geometry import REMEMBERED, FilterGeometry
from fastconv.engine.plan import Kind, Part, Plan
from fastconv.engine.replay import unrepeatable

# Values in a block of rows that is converted at a time, few enough to stay in a cache.
_BLOCK_VALUES = 1 << 18

# Integers of so many bytes are summed in their own type by kernels of up to so many taps: converting takes longer.
_TAPS_IN_OWN_TYPE = {1: 49, 2: 49, 4: 25}

# A vector multiplies twice as many values of 16 bits as floats, or as integers of 8 bits.
_TWO_BYTES = np.dtype(np.int16)

_FLOATS = np.dtype(np.float32), np.dtype(np.float64)


def _keeps_type(plan: Plan) -> bool:
    """Whether the shapes alone decide for the plan's own type, or a caller who named how to compute it."""
    g, itemsize = plan.geometry, np.dtype(plan.dtype).itemsize
    few = g.taps <= _TAPS_IN_OWN_TYPE.get(itemsize, 0) or not has_many_products(g)
    return few or plan.request != "auto"


def working_type(plan: Plan, image: np.ndarray, kernel: np.ndarray, past: Past) -> np.dtype:
    """The fastest type for sums of integers whose results, wrapped to the plan's type, are the exact ones."""
    dtype = np.dtype(plan.dtype)
    if _keeps_type(plan):
        return dtype
    if dtype.itemsize <= 2 and not _is_outer_product(kernel):
        return dtype if dtype.itemsize == 2 else _TWO_BYTES
    return exact_float(image, kernel, past) or dtype


def _is_outer_product(kernel: np.ndarray) -> bool:
    """Whether floating point computes it as two short passes (engine/convolution/separable.py)."""
    if kernel.ndim < 2 or min(kernel.shape) == 1:
        return False
    if kernel.flags.writeable:
        unrepeatable()
    return find_factors(kernel.astype(np.float64), 0) is not None


def exact_float(image: np.ndarray, kernel: np.ndarray, past: Past) -> np.dtype | None:
    """The floating-point type in which every sum of products of these integers is exact, or ``None``."""
    if image.itemsize <= 2:
        largest = _largest(image.dtype)
    else:
        unrepeatable()
        largest = max(int(image.max()), -int(image.min()))
    if past.continuation == "constant":
        largest = max(largest, abs(int(past.fill)))
    bound = largest * sum(abs(tap) for tap in kernel.ravel().tolist())
    return next((dtype for dtype in _FLOATS if bound <= _whole_numbers(dtype)), None)


def _largest(dtype: np.dtype) -> int:
    """The largest magnitude that an integer type holds."""
    limits = np.iinfo(dtype)
    return max(int(limits.max), -int(limits.min))


def _whole_numbers(dtype: np.dtype) -> int:
    """Up to which magnitude a floating-point type holds every whole number."""
    return 1 << (int(np.finfo(dtype).nmant) + 1)


class _Case(NamedTuple):
    """A type that values may choose, and what that takes."""

    label: str
    dtype: np.dtype
    outer: bool = False
    """Whether the kernel is an outer product."""


def other_types(plan: Plan) -> tuple[Part, ...]:
    """The types that values may choose in place of the plan's own, as the plans of what then runs; the first counts."""
    g, dtype = plan.geometry, np.dtype(plan.dtype)
    if len(g.extent) > 2:
        cases = _float_cases(g, dtype)
        block, count = g, 1
    else:
        cases = [] if _keeps_type(plan) else _cases(g, dtype)
        rows = min(_block_rows(g), g.out_extent[0])
        block, count = _block(g, rows), -(-g.out_extent[0] // rows)
    blocks = f", each of {count} blocks" if count > 1 else ""
    parts = []
    for label, work, outer in cases:
        known = replace(block, terms=1, exact=True) if outer else block
        parts.append(Part(label + blocks, _block_plan(plan.kind, known, work.char, plan.threads), count, count))
    return tuple(parts)


def _cases(g: FilterGeometry, dtype: np.dtype) -> list[_Case]:
    """What `working_type` may choose for many products of a line or a plane."""
    if dtype.itemsize > 2:
        return _float_cases(g, dtype)
    cases = _float_cases(g, dtype, outer=True) if len(g.kernel) == 2 and min(g.kernel) > 1 else []
    if dtype.itemsize == 1:
        cases.append(_Case("otherwise" if cases else "instead", _TWO_BYTES))
    return cases


def _float_cases(g: FilterGeometry, dtype: np.dtype, outer: bool = False) -> list[_Case]:
    """The floating-point types that may be exact, up to the first that is exact whatever the values are."""
    cases: list[_Case] = []
    for work in _FLOATS:
        certain = g.taps * _largest(dtype) ** 2 <= _whole_numbers(work)
        conditions = ["the kernel is an outer product"] * outer + [f"every sum is exact in {work}"] * (not certain)
        label = f"if {' and '.join(conditions)}" if conditions else "otherwise" if cases else "instead"
        cases.append(_Case(label, work, outer))
        if certain:
            break
    return cases


def _block_rows(g: FilterGeometry) -> int:
    """Rows of the output in a block."""
    return max(g.kernel[0], _BLOCK_VALUES // prod(g.extent[1:]))


def _block(g: FilterGeometry, rows: int) -> FilterGeometry:
    """The correlation of a block with that many rows of outputs, which has the rows past the edges that they see."""
    return g.of_part((rows + g.kernel[0] - 1, *g.extent[1:]), ((0, 0), *g.padding[1:]))


@functools.lru_cache(maxsize=REMEMBERED)
def _block_plan(kind: Kind, block: FilterGeometry, char: str, num_threads: int) -> Plan:
    """The plan for a block in another type, in which sums are exact, or wrap around as those of the whole do."""
    # Blocks of integers look for no other type again.
    strategy = "convolution" if char == _TWO_BYTES.char else "auto"
    return planner.plan(block, np.dtype(char), kind=kind, strategy=strategy, tolerance=0.0, threads=num_threads)


def correlate_blocks(plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
    """Correlate integers in the type of `kernel`, a block of rows at a time, those past the edges included."""
    unrepeatable()
    g: FilterGeometry = plan.geometry
    k, (begin, _), rows = g.kernel[0], g.padding[0], _block_rows(g)
    block = np.empty((min(rows, len(out)) + k - 1, *g.extent[1:]), kernel.dtype)
    result = np.empty((min(rows, len(out)), *out.shape[1:]), kernel.dtype)
    for row in range(0, len(out), rows):
        part = out[row : row + rows]
        seen = block[: len(part) + k - 1]
        top = row - begin
        first, last = max(0, -top), max(0, min(len(seen), len(image) - top))
        if first < last:
            seen[first:last] = image[top + first : top + last]
        sources = source_indices(top, top + len(seen), len(image), past.continuation).tolist()
        for at in (*range(min(first, len(seen))), *range(max(first, last), len(seen))):
            seen[at] = past.fill if sources[at] < 0 else image[sources[at]]
        inner = _block_plan(plan.kind, _block(g, len(part)), kernel.dtype.char, plan.threads)
        inner.strategy.run(inner, seen, kernel, result[: len(part)], past)
        store_wrapped(result[: len(part)], part)


def store_wrapped(values: np.ndarray, out: np.ndarray) -> None:
    """Store whole numbers in an integer type, in which they may wrap around."""
    if values.dtype.kind == "f":
        values = converted(values, np.dtype(np.int64))
    if not convert(values, out):
        unrepeatable()
        np.copyto(out, values, casting="unsafe")
