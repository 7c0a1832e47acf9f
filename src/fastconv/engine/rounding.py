"""How large the rounding errors of sums are expected to be."""

from __future__ import annotations

import functools
from math import log2, sqrt

import numpy as np

# The maximum over about 1e5 to 1e7 outputs, in deviations of the error: normal deviates reach five, and the largest
# errors belong to outputs whose partial sums are large, too.
MAX_OVER_RMS = 10.0


@functools.cache
def unit_roundoff(dtype: np.dtype) -> float:
    """The largest relative error of one rounding."""
    return float(np.finfo(dtype).eps) / 2


def running_error(products: int, dtype: np.dtype, steps: int | None = None, lanes: int = 1) -> float:
    """Expected maximum error of a running sum of products, in σ of the output; with `steps`, a sum in blocks.

    After t of K products the partial sum is about sqrt(t) and its rounding u / sqrt(3) of it; the squares add
    up to u² K² / 6 against the output's variance K (Higham, Accuracy and Stability, 2002, section 4.2). Blocks of s
    whose sums are added up give u² K (s + K / s) / 6. Lanes that sum side by side, each K / lanes products in blocks,
    and are added in pairs at the end, give u² K (s + K / (lanes s) + log2(lanes)) / 6. Integers do not round.
    """
    if dtype.kind not in "fc":
        return 0.0
    running = products if steps is None else steps + products / (lanes * steps) + log2(lanes)
    return MAX_OVER_RMS * unit_roundoff(dtype) * max(1.0, sqrt(running / 6))
