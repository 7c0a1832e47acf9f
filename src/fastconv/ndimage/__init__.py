"""Filters of images with the names, argument order and meaning of ``scipy.ndimage``.

Every filter keeps the extents of its input, and continues it past its edges by a mode:

============================== ===================== ============================
mode                           continued             also called
============================== ===================== ============================
"reflect"                      c b a | a b c d | d c "grid-mirror"
"mirror"                       d c b | a b c d | c b
"nearest"                      a a a | a b c d | d d
"wrap"                         b c d | a b c d | a b "grid-wrap"
"constant"                     k k k | a b c d | k k "grid-constant"; k is `cval`
============================== ===================== ============================

Linear filters compute float32 in float32 (SciPy: in float64) and everything else in float64; integers under integer
weights are exact. Along several axes filters run one after another and store between them in the type of the output, as
SciPy's do; where that rounds nothing, pairs of axes are fused.

``linear``     correlate, convolve, correlate1d, convolve1d
``gaussians``  gaussian_filter, gaussian_filter1d
``windows``    maximum_filter, minimum_filter, uniform_filter, and each along one axis
``passes``     how linear filters run along axes; ``running`` how extremes and means do; ``planes`` what both run over
``arguments``  what they share; ``outputs`` where results go
"""

from fastconv.ndimage.gaussians import gaussian_filter, gaussian_filter1d
from fastconv.ndimage.linear import convolve, convolve1d, correlate, correlate1d
from fastconv.ndimage.windows import (
    maximum_filter,
    maximum_filter1d,
    minimum_filter,
    minimum_filter1d,
    uniform_filter,
    uniform_filter1d,
)

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "uniform_filter",
    "uniform_filter1d",
]
