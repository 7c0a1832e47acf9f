"""Arrays of more axes than strategies compute, tap by tap: block by block, each with what it sees past the edges."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np

from fastconv.engine.conversion import converted, scratch_like
from fastconv.engine.correlation.base import Past
from fastconv.engine.correlation.integers import exact_float, other_types, store_wrapped
from fastconv.engine.geometry import REMEMBERED, FilterGeometry
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.patches import continued_patch
from fastconv.engine.plan import Part, Plan, SumsDirectly
from fastconv.engine.rates import rates
from fastconv.engine.replay import constant, unrepeatable
from fastconv.engine.rounding import running_error
from fastconv.engine.storing import store
from fastconv.kernels.jit.lookup import tile_kernel

# Number of outputs of a line that are summed together, tap by tap.
_SPAN = 1024

# Taps per second that one thread adds up.
_TAPS_PER_SECOND = 3e9

# What a block sees takes up to so many bytes, unless the kernel itself is larger.
_BLOCK_BYTES = 1 << 21


def _sums(dtype: np.dtype) -> np.dtype:
    """The type of sums: in float32, those of a volume's many taps would err by several roundings."""
    return np.dtype(np.float64) if dtype == np.float32 else dtype


class Taps(SumsDirectly):
    """Arrays of more axes than strategies compute."""

    name = "taps"

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        return None if len(geometry.extent) > 2 else f"computes more than 2 axes, not {len(geometry.extent)}"

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 1e-5 + prod(geometry.out_extent) * geometry.taps * _sums(dtype).itemsize / (2 * rates().l2)

    def error(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        sums = _sums(dtype)
        return running_error(geometry.taps, sums) + (running_error(1, dtype) if sums != dtype else 0.0)

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        block = _block(geometry, dtype.itemsize)
        itemsize = dtype.itemsize + (_sums(dtype).itemsize if _sums(dtype) != dtype else 0)
        return (prod(_seen(block, geometry.kernel)) + prod(block)) * itemsize

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        plan.note()
        g: FilterGeometry = plan.geometry
        work = _sums(out.dtype)
        if work.kind in "iu":
            work = exact_float(image, kernel, past) or work
        counted = np.ones(kernel.shape, bool)
        if past.leaves_zeros_out:
            if kernel.flags.writeable:
                unrepeatable()
            counted = kernel != 0
        taps = kernel if work == kernel.dtype else constant(kernel.astype(work))
        for block in _blocks(g, out.itemsize):
            part = out[block]
            begins = [at.start - begin for at, (begin, _) in zip(block, g.padding, strict=True)]
            seen = continued_patch(image, begins, _seen(part.shape, g.kernel), past.continuation, past.fill)
            seen = converted(seen, work)
            if work == out.dtype and part.flags.c_contiguous:
                sum_taps(seen, taps, counted, part)
                continue
            result = scratch_like(part, work)
            sum_taps(seen, taps, counted, result)
            (store if part.dtype.kind == "f" else store_wrapped)(result, part)

    def alternatives(self, plan: Plan) -> tuple[Part, ...]:
        """For integers, other types."""
        return other_types(plan) if np.dtype(plan.dtype).kind in "iu" else ()


def _seen(outputs: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The extents of what so many outputs see."""
    return tuple([o + k - 1 for o, k in zip(outputs, kernel, strict=True)])


@functools.lru_cache(maxsize=REMEMBERED)
def _block(g: FilterGeometry, itemsize: int) -> tuple[int, ...]:
    """The outputs that are computed together, along each axis; lines of them are whole as long as anything else is."""
    block = list(g.out_extent)
    while prod(_seen(tuple(block), g.kernel)) * itemsize > _BLOCK_BYTES:
        leading = [axis for axis in range(len(block) - 1) if block[axis] > 1]
        axis = max(leading, key=lambda a: block[a] / g.kernel[a], default=len(block) - 1)
        if block[axis] < max(2, 2 * g.kernel[axis]) and axis == len(block) - 1:
            break
        block[axis] = -(-block[axis] // 2)
    return tuple(block)


def _blocks(g: FilterGeometry, itemsize: int) -> Iterator[tuple[slice, ...]]:
    """All blocks of outputs."""
    axes = zip(g.out_extent, _block(g, itemsize), strict=True)
    starts = [[slice(at, min(at + most, extent)) for at in range(0, extent, most)] for extent, most in axes]
    return product(*starts)


def sum_taps(seen: np.ndarray, kernel: np.ndarray, counted: np.ndarray, out: np.ndarray) -> None:
    """Sums of products over the taps that are `counted`, with no boundary: `seen` holds everything that they see."""
    _over_taps(tile_kernel("taps:sum_kernel", seen.dtype), seen, kernel, counted, out)


def fold_taps(fold: str, seen: np.ndarray, kernel: np.ndarray, counted: np.ndarray, out: np.ndarray) -> None:
    """The "maximum" or "minimum" of sums of a tap and a value; otherwise as `sum_taps`."""
    _over_taps(tile_kernel("taps:extreme_kernel", seen.dtype, fold), seen, kernel, counted, out)


def _over_taps(address: int, seen: np.ndarray, kernel: np.ndarray, counted: np.ndarray, out: np.ndarray) -> None:
    if counted.all():
        taps, at = np.ascontiguousarray(kernel).reshape(-1), np.indices(kernel.shape).reshape(kernel.ndim, -1).T
    else:
        taps, at = constant(kernel[counted]), np.argwhere(counted)
    strides = np.array([stride // seen.itemsize for stride in seen.strides], np.int64)
    spans = -(-out.shape[-1] // _SPAN)
    tables = (
        constant(np.ascontiguousarray(at @ strides)),
        constant(np.array(out.shape, np.int64)),
        constant(strides),
    )
    launch = Launch(address, (out.ndim, len(at), spans, _SPAN), prod(out.shape[:-1]) * spans, tables=tables)
    launch.run((seen, taps, out), workers_for(out.size * len(at) / _TAPS_PER_SECOND))
