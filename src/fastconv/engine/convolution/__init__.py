"""The strategies, in one ordered list.

The order is policy: among equal estimates the earlier one wins, and reports list them in this order. A new strategy is
one file and one line here; those of other packages are added by `fastconv.register`.
"""

from fastconv.engine.convolution.base import Strategy
from fastconv.engine.convolution.direct import Direct
from fastconv.engine.convolution.fft import Fft
from fastconv.engine.convolution.im2col import Im2col
from fastconv.engine.convolution.implicit import Implicit
from fastconv.engine.convolution.reference import Reference
from fastconv.engine.convolution.separable import Separable
from fastconv.engine.convolution.toeplitz import Toeplitz
from fastconv.engine.convolution.winograd import Winograd

STRATEGIES: list[Strategy] = [
    Implicit(),
    Winograd(2),
    Winograd(3),
    Winograd(4),
    Winograd(6),
    Direct(),
    Separable(),
    Im2col(),
    Toeplitz(),
    Fft(),
    Reference(),
]

BY_NAME: dict[str, Strategy] = {strategy.name: strategy for strategy in STRATEGIES}
