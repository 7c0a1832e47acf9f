"""Arrays of any number of axes, tap by tap in a continued copy."""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.engine.boundary import continued
from fastconv.engine.correlation.base import Padding, Past
from fastconv.engine.correlation.integers import exact_float, other_types, store_wrapped
from fastconv.engine.geometry import FilterGeometry
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.patches import continued_patch
from fastconv.engine.plan import Part, Plan, SumsDirectly
from fastconv.engine.rates import rates
from fastconv.engine.replay import constant, unrepeatable
from fastconv.engine.rounding import running_error
from fastconv.kernels.jit.lookup import tile_kernel

# Number of outputs of a line that are summed together, tap by tap.
_SPAN = 1024

# Taps per second that one thread adds up.
_TAPS_PER_SECOND = 3e9


class Taps(SumsDirectly):
    """Arrays of more axes than strategies compute."""

    name = "taps"

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        return None if len(geometry.extent) > 2 else f"computes more than 2 axes, not {len(geometry.extent)}"

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 1e-5 + prod(geometry.out_extent) * geometry.taps * dtype.itemsize / (2 * rates().l2)

    def error(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return running_error(geometry.taps, dtype)

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return prod(geometry.continued_extent) * dtype.itemsize

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        unrepeatable()
        plan.note()
        work = out.dtype
        if work.kind in "iu" and past.fill == 0:
            work = exact_float(image, kernel) or work
        padded = pad(image.astype(work, copy=False), plan.geometry.padding, past.continuation, past.fill)
        counted = kernel != 0 if past.leaves_zeros_out else np.ones(kernel.shape, bool)
        result = out if work == out.dtype else np.empty(out.shape, work)
        sum_taps(padded, kernel.astype(work), counted, result)
        if result is not out:
            store_wrapped(result, out)

    def alternatives(self, plan: Plan) -> tuple[Part, ...]:
        """For integers, other types."""
        return other_types(plan) if np.dtype(plan.dtype).kind in "iu" else ()


def pad(image: np.ndarray, padding: Padding, continuation: str, fill: object) -> np.ndarray:
    """`image` continued by `padding` samples past its edges, C-contiguous; without padding possibly `image` itself."""
    if not any(map(any, padding)):
        return np.ascontiguousarray(image)
    shape = [n + begin + end for n, (begin, end) in zip(image.shape, padding, strict=True)]
    begins = [-begin for begin, _ in padding]
    if image.ndim <= 2:
        return continued_patch(image, begins, shape, continuation, fill)
    return np.ascontiguousarray(continued(image, begins, shape, continuation, fill))


def sum_taps(padded: np.ndarray, kernel: np.ndarray, counted: np.ndarray, out: np.ndarray) -> None:
    """Sums of products over the taps that are `counted`, with no boundary: `padded` holds everything they see."""
    run_taps(tile_kernel("taps:sum_kernel", padded.dtype), padded, np.argwhere(counted), kernel[counted], out)


def run_taps(kernel: int, padded: np.ndarray, offsets: np.ndarray, taps: np.ndarray, out: np.ndarray) -> None:
    """Run a kernel of kernels/jit/taps.py: each output reads `padded` at the `offsets` (taps, axes) from its own."""
    strides = np.array([stride // padded.itemsize for stride in padded.strides], np.int64)
    spans = -(-out.shape[-1] // _SPAN)
    tables = (
        constant(np.ascontiguousarray(offsets @ strides)),
        constant(np.array(out.shape, np.int64)),
        constant(strides),
    )
    launch = Launch(kernel, (out.ndim, len(offsets), spans, _SPAN), prod(out.shape[:-1]) * spans, tables=tables)
    launch.run((padded, taps, out), workers_for(out.size * len(offsets) / _TAPS_PER_SECOND))
