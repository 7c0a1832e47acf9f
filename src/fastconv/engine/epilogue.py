"""The epilogue of a convolution: adding the bias and applying the activation before an output value is stored.

Kernels know an activation by a code and one parameter. `ACTIVATIONS` gives names to the codes, and says in NumPy what
each computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from fastconv.kernels.shield import imported

Activation = str | tuple[str, float] | None


# The fixed point of the mean 0 and the variance 1 (Klambauer et al., 2017).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


class Nonlinearity(NamedTuple):
    """What an activation's name stands for."""

    code: int
    """In kernels/simd/epilogue.h."""
    default: float | None
    """The parameter if none is given; ``None`` if the activation has no parameter."""
    definition: Callable[[np.ndarray, float], np.ndarray]
    """The activation of an array, given the parameter; the strategy "reference" computes it."""


def _special() -> Any:
    return imported("scipy.special")


ACTIVATIONS: dict[str, Nonlinearity] = {
    "relu": Nonlinearity(1, None, lambda x, _: np.where(x < 0, 0, x)),
    "leaky_relu": Nonlinearity(2, 0.01, lambda x, a: np.where(x < 0, a * x, x)),
    "elu": Nonlinearity(3, 1.0, lambda x, a: np.where(x < 0, a * np.expm1(x), x)),
    "sigmoid": Nonlinearity(4, None, lambda x, _: _special().expit(x)),
    "tanh": Nonlinearity(5, None, lambda x, _: np.tanh(x)),
    "silu": Nonlinearity(6, None, lambda x, _: x * _special().expit(x)),
    "gelu": Nonlinearity(7, None, lambda x, _: 0.5 * x * (1 + _special().erf(x / np.sqrt(2)))),
    "hardswish": Nonlinearity(8, None, lambda x, _: np.where(x <= -3, 0, np.where(x >= 3, x, x * (x + 3) / 6))),
    "gelu_tanh": Nonlinearity(9, None, lambda x, _: x * _special().expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3))),
    "relu6": Nonlinearity(10, None, lambda x, _: np.where(x < 0, 0, np.where(x > 6, 6, x))),
    "softsign": Nonlinearity(11, None, lambda x, _: x / (1 + np.abs(x))),
    "selu": Nonlinearity(12, None, lambda x, _: SELU_SCALE * np.where(x < 0, SELU_ALPHA * np.expm1(x), x)),
    "celu": Nonlinearity(13, 1.0, lambda x, a: np.where(x < 0, a * np.expm1(x / a), x)),
    "mish": Nonlinearity(14, None, lambda x, _: x * np.tanh(np.logaddexp(x, 0))),
    "hardsigmoid": Nonlinearity(15, None, lambda x, _: np.clip(x + 3, 0, 6) / 6),
    "hardshrink": Nonlinearity(16, 0.5, lambda x, a: np.where((x >= -a) & (x <= a), 0, x)),
    "softshrink": Nonlinearity(17, 0.5, lambda x, a: x - np.clip(x, -a, a)),
    "tanhshrink": Nonlinearity(18, None, lambda x, _: x - np.tanh(x)),
    "logsigmoid": Nonlinearity(19, None, lambda x, _: -np.logaddexp(-x, 0)),
}

DEFINITIONS = {activation.code: activation.definition for activation in ACTIVATIONS.values()}

# Those that functions of nn call by name: those of two parameters, which convolutions do not fuse, among them.
CODES = {name: activation.code for name, activation in ACTIVATIONS.items()} | {
    "softplus": 20,
    "hardtanh": 21,
    "threshold": 22,
}


@dataclass(frozen=True, eq=False, slots=True)
class Epilogue:
    """`bias` is ``None`` or one value per output channel, C-contiguous in the output's dtype."""

    bias: np.ndarray | None = None
    activation: int = 0
    parameter: float = 0.0

    def __bool__(self) -> bool:
        return self.bias is not None or self.activation != 0


PLAIN = Epilogue()


def parse_activation(activation: Activation) -> tuple[int, float]:
    """The code and the parameter of ``None``, a name, or ``(name, parameter)``."""
    if activation is None:
        return 0, 0.0
    name, *rest = activation if isinstance(activation, (tuple, list)) and activation else (activation,)
    if not isinstance(name, str) or name not in ACTIVATIONS or not all(isinstance(a, Real) for a in rest):
        raise ValueError(
            f"activation={activation!r}: expected None, one of {', '.join(ACTIVATIONS)}, or (name, parameter)"
        )
    code, default, _ = ACTIVATIONS[name]
    if len(rest) > (default is not None):
        raise ValueError(f"activation={activation!r}: {name} takes {'one' if default is not None else 'no'} parameter")
    return code, float(rest[0] if rest else default or 0.0)
