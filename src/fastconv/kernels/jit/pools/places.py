"""Extremes of equal windows and their positions: `direct`, with a vector of offsets next to each vector of extremes.

Window by window took four times as long on large planes, mostly because of mispredicted branches; tap by tap along rows
that are read from memory and written back, up to twelve times on small ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.kernels.jit.pools.direct import direct_kernel


def places_kernel(dtype: np.dtype, fold: str, KW: int, STEP: int) -> Callable[..., None]:
    """The tile kernel of extremes and their positions in the plane: the first of equal values, but the last NaN.

    Its constants, arrays and integers are those of `direct_kernel`.
    """
    return direct_kernel(dtype, fold, False, 0, KW, STEP, 0, PLACES=True)
