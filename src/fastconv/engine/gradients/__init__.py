"""The gradients of a convolution, which is linear in its input and in its weight."""

from fastconv.engine.gradients.input import INPUT_GRADIENT
from fastconv.engine.gradients.weight import WEIGHT_GRADIENT

__all__ = ["INPUT_GRADIENT", "WEIGHT_GRADIENT"]
