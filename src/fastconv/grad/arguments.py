"""Argument checks that gradients share."""

from __future__ import annotations

import numpy as np

from fastconv.errors import GeometryError


def check_grad_output(grad_output: np.ndarray, expected: tuple[int, ...]) -> None:
    """Raise unless `grad_output` has the shape of the output whose gradient it is."""
    if grad_output.shape != expected:
        raise GeometryError(f"grad_output of shape {grad_output.shape}: expected {expected}, the shape of the output")
