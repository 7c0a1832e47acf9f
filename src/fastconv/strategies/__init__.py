"""The strategies, in one ordered list.

The order is policy: among equal estimates the earlier one wins, and reports list them in this order. A new strategy is
one file and one line here; those of other packages are added by `fastconv.register`.
"""

from fastconv.strategies.base import Strategy
from fastconv.strategies.direct import Direct
from fastconv.strategies.fft import Fft
from fastconv.strategies.im2col import Im2col
from fastconv.strategies.implicit import Implicit
from fastconv.strategies.reference import Reference
from fastconv.strategies.separable import Separable
from fastconv.strategies.toeplitz import Toeplitz
from fastconv.strategies.winograd import Winograd

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
