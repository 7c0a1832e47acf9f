"""Kernels that contain NaN or infinity, where an output counts only the taps that overlap the array.

To SciPy's ``convolve`` nothing lies past the edges of an array, but strategies multiply the kernel by zeros there. So
taps that are not finite are left to three further correlations, which count how many products of each output are plus
infinity, minus infinity and NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Correlation = Callable[[np.ndarray, np.ndarray], np.ndarray]


def correlate_overlaps(
    image: np.ndarray, kernel: np.ndarray, correlation: Correlation, counting: Correlation
) -> np.ndarray:
    """The correlation of floating-point or complex `image` and `kernel`, where some taps are not finite.

    `counting` computes the same outputs for arrays of 0 and 1, in float64, with errors below a half.
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
    # Each such tap keeps its sign, so that the sums are right where the image is infinite, too.
    out = correlation(image, np.where(np.isfinite(kernel), kernel, np.where(below, -1, 1)).astype(kernel.dtype))
    plus = any_product([(image > 0, above), (image < 0, below)])
    minus = any_product([(image > 0, below), (image < 0, above)])
    nan = any_product([(image == 0, infinite), (np.ones(image.shape), np.isnan(kernel))])
    with np.errstate(invalid="ignore"):
        for value, where in ((np.inf, plus), (-np.inf, minus), (np.nan, nan)):
            np.add(out, value, out=out, where=where)
    return out
