"""NaN and infinity: where a zero of the kernel, or of the padding, would multiply them."""

from __future__ import annotations

from math import isfinite

import numpy as np

from fastconv.engine.arrays import pieces
from fastconv.engine.boundary import continued
from fastconv.engine.correlation.base import Padding, Past
from fastconv.engine.correlation.taps import sum_taps
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.rates import rates
from fastconv.engine.replay import unrepeatable
from fastconv.kernels import threads

# Number of values that are checked at a time.
_SPAN = 1 << 14


def is_finite(kernel: np.ndarray) -> bool:
    """Whether all of `kernel` is finite; the sum of its squares is the cheapest test, unless it overflows."""
    for piece in pieces(kernel):
        part = kernel[piece]
        if not isfinite(np.vdot(part, part).real) and not np.isfinite(part).all():
            return False
    return True


def leave_zeros_out(image: np.ndarray, kernel: np.ndarray, padding: Padding, out: np.ndarray, past: Past) -> None:
    """Recompute the outputs that are not finite, from the nonzero taps only."""
    if is_finite_everywhere(out):
        return
    unrepeatable()
    wrong = ~np.isfinite(out)
    places = [np.flatnonzero(wrong.any(axis=tuple({*range(out.ndim)} - {axis}))) for axis in range(out.ndim)]
    box = tuple(slice(at[0], at[-1] + 1) for at in places)
    begins = [part.start - begin for part, (begin, _) in zip(box, padding, strict=True)]
    shape = [o + k - 1 for o, k in zip(out[box].shape, kernel.shape, strict=True)]
    patch = np.ascontiguousarray(continued(image, begins, shape, past.continuation, past.fill))
    sums = np.empty(out[box].shape, out.dtype)
    sum_taps(patch, kernel, kernel != 0, sums)
    np.copyto(out[box], sums, where=wrong[box])


def is_finite_everywhere(values: np.ndarray) -> bool:
    """Whether no value of a C-contiguous array is NaN or infinite."""
    from fastconv.kernels.slots import arguments

    parts = values.view(values.real.dtype)
    flag, ints = threads.flags(1), arguments("find_not_finite")(values=parts.size, span=_SPAN)
    launch = Launch.of("find_not_finite", parts.dtype, ints, -(-parts.size // _SPAN), grain=4)
    launch.run((parts, flag), workers_for(parts.nbytes / rates().memory))
    return not flag[0]
