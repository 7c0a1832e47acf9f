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

`cval` is a number, not a pixel: it need not fit the type of the image.

Linear filters compute float32 and complex64 in float32 (SciPy: in float64), and everything else in float64. Kernels of
three axes and more are summed in float64, too.

Results stored in integers are SciPy's, bit for bit, if the input has integers of up to 32 bits: SciPy casts sums, which
rounds towards zero, so sums are added in its order, and means are rounded after each axis. That holds for all filters
along axes whose output has the type of the input, and for `correlate` and `convolve` along up to two neighbouring axes.
Elsewhere the last bit of a sum may differ. Integers under whole weights are exact: in an integer output wherever the
result fits, and in a floating-point output up to its own rounding as long as no sum can reach 2**63; larger sums are
added up in float64.

Filters of several axes run along one axis after another and store intermediate results in the type of the output, as
SciPy's do; where storing rounds nothing, pairs of axes are fused.

`correlate` and `convolve` skip zero weights: NaN or infinity under them does not count. Filters along one axis
(`correlate1d`, `convolve1d`, Gaussians) and means count everything in the window, and zero times infinity is NaN. Both
are SciPy's rules.

``linear``       correlate, convolve, correlate1d, convolve1d
``gaussians``    gaussian_filter, gaussian_filter1d
``derivatives``  sobel, prewitt, laplace, and derivatives of Gaussians
``windows``      maximum_filter, minimum_filter, uniform_filter, and each along one axis
``ranks``        median_filter, percentile_filter, rank_filter
``grey_morphology``    erosion, dilation, opening and closing of grey images, and what is made of them
``binary_morphology``  the same of binary images
``callables``    generic_filter, generic_filter1d, vectorized_filter: functions of the caller, which SciPy runs
``arguments``    shared argument checks; ``outputs`` where results go
"""

from fastconv.ndimage.binary_morphology import binary_closing, binary_dilation, binary_erosion, binary_opening
from fastconv.ndimage.callables import generic_filter, generic_filter1d, vectorized_filter
from fastconv.ndimage.derivatives import (
    gaussian_gradient_magnitude,
    gaussian_laplace,
    generic_gradient_magnitude,
    generic_laplace,
    laplace,
    prewitt,
    sobel,
)
from fastconv.ndimage.gaussians import gaussian_filter, gaussian_filter1d
from fastconv.ndimage.grey_morphology import (
    black_tophat,
    grey_closing,
    grey_dilation,
    grey_erosion,
    grey_opening,
    morphological_gradient,
    morphological_laplace,
    white_tophat,
)
from fastconv.ndimage.linear import convolve, convolve1d, correlate, correlate1d
from fastconv.ndimage.ranks import median_filter, percentile_filter, rank_filter
from fastconv.ndimage.windows import (
    maximum_filter,
    maximum_filter1d,
    minimum_filter,
    minimum_filter1d,
    uniform_filter,
    uniform_filter1d,
)

__all__ = [
    "binary_closing",
    "binary_dilation",
    "binary_erosion",
    "binary_opening",
    "black_tophat",
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_filter",
    "generic_filter1d",
    "generic_gradient_magnitude",
    "generic_laplace",
    "grey_closing",
    "grey_dilation",
    "grey_erosion",
    "grey_opening",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "median_filter",
    "minimum_filter",
    "minimum_filter1d",
    "morphological_gradient",
    "morphological_laplace",
    "percentile_filter",
    "prewitt",
    "rank_filter",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
    "vectorized_filter",
    "white_tophat",
]
