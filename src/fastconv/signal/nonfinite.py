"""Kernels with NaN or infinity, of which outputs count only what overlaps.

Past the edges of an array lies nothing, as SciPy's sums of ``convolve`` have it, but strategies multiply the kernel by
zeros there. So such taps are left to three further correlations, which count for each output how many products are
plus infinity, minus infinity and NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Correlation = Callable[[np.ndarray, np.ndarray], np.ndarray]


def correlate_overlaps(
    image: np.ndarray, kernel: np.ndarray, correlation: Correlation, counting: Correlation
) -> np.ndarray:
    """`correlation` of floating-point or complex `image` and `kernel`, some of whose taps are not finite.

    `counting` computes the same outputs of 0 and 1 in float64, to less than a half.
    """
    if np.iscomplexobj(image) or np.iscomplexobj(kernel):
        parts = [
            [correlate_overlaps(x, taps, correlation, counting) for taps in (kernel.real, kernel.imag)]
            for x in (image.real, image.imag)
        ]
        out = np.empty(parts[0][0].shape, np.result_type(image, kernel))
        with np.errstate(invalid="ignore"):
            out.real = parts[0][0] - parts[1][1]
            out.imag = parts[0][1] + parts[1][0]
        return out

    def any_product(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray | bool:
        counts = (counting(x.astype(np.float64), taps.astype(np.float64)) for x, taps in pairs if taps.any())
        return sum(counts, start=0.0) > 0.5

    above, below, infinite = kernel == np.inf, kernel == -np.inf, np.isinf(kernel)
    # Of each such tap the sign is left, so that the sums are right where the image is infinite, too.
    out = correlation(image, np.where(np.isfinite(kernel), kernel, np.where(below, -1, 1)).astype(kernel.dtype))
    plus = any_product([(image > 0, above), (image < 0, below)])
    minus = any_product([(image > 0, below), (image < 0, above)])
    nan = any_product([(image == 0, infinite), (np.ones(image.shape), np.isnan(kernel))])
    with np.errstate(invalid="ignore"):
        for value, where in ((np.inf, plus), (-np.inf, minus), (np.nan, nan)):
            np.add(out, value, out=out, where=where)
    return out
