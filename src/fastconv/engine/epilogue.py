"""The epilogue of a convolution: adding the bias and applying the activation before an output value is stored.

Kernels know an activation by a code and one parameter; this table maps names to codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Activation = str | tuple[str, float] | None

# name: (code, default parameter). The codes are those of kernels/simd/epilogue.h.
ACTIVATIONS: dict[str, tuple[int, float | None]] = {
    "relu": (1, None),
    "leaky_relu": (2, 0.01),
    "elu": (3, 1.0),
    "sigmoid": (4, None),
    "tanh": (5, None),
    "silu": (6, None),
    "gelu": (7, None),
    "hardswish": (8, None),
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
    code, default = ACTIVATIONS[name]
    if len(rest) > (default is not None):
        raise ValueError(f"activation={activation!r}: {name} takes {'one' if default is not None else 'no'} parameter")
    return code, float(rest[0] if rest else default or 0.0)
