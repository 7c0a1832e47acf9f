"""The oracle: the definition of convolution, tap by tap, in NumPy and double precision."""

from __future__ import annotations

from itertools import product
from types import EllipsisType

import numpy as np

from fastconv.engine.convolution.base import KeepsWeights, sum_error
from fastconv.engine.epilogue import DEFINITIONS, Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.replay import unrepeatable


def convolve(geometry: ConvGeometry, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue) -> np.ndarray:
    """The convolution in the widest type of the kind: float64, complex128, or the integer's own modular arithmetic.

    Any number of spatial axes.
    """
    wide = np.result_type(x, np.float64) if x.dtype.kind in "fc" else x.dtype
    padded = np.pad(x.astype(wide), ((0, 0), (0, 0), *geometry.padding))
    images = padded.reshape(geometry.n, geometry.g, geometry.ic // geometry.g, *padded.shape[2:])
    filters = weight.astype(wide).reshape(geometry.g, -1, geometry.ic // geometry.g, *geometry.kernel)
    out = np.zeros((geometry.n, geometry.g, geometry.oc // geometry.g, *geometry.out_extent), wide)
    for tap in product(*map(range, geometry.kernel)):
        seen = tuple(
            slice(k * d, k * d + (o - 1) * s + 1, s)
            for k, d, o, s in zip(tap, geometry.dilation, geometry.out_extent, geometry.stride, strict=True)
        )
        at: tuple[EllipsisType | int, ...] = (..., *tap)
        out += np.einsum("ngc...,gmc->ngm...", images[:, :, :, *seen], filters[at])
    out = out.reshape(geometry.out_shape)
    if epilogue.bias is not None:
        out += epilogue.bias.astype(wide).reshape(-1, *(1,) * geometry.ndim)
    return activate(out, epilogue.activation, epilogue.parameter)


def activate(x: np.ndarray, code: int, parameter: float) -> np.ndarray:
    """The activation of that code, by its definition in NumPy."""
    if code == 0:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        return DEFINITIONS[code](x, parameter)


class Reference(SumsDirectly, KeepsWeights):
    name = "reference"
    takes_channels_last = True

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return None

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return 1e-4 * geometry.taps + geometry.flops / 1e9

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        narrow = sum_error(geometry, dtype)
        if not narrow:
            return narrow
        # One rounding, to the output's own type.
        return min(narrow, sum_error(geometry, np.dtype(np.float64)) + 5 * float(np.finfo(dtype).eps) / 2)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        padded = 1
        for extent, pads in zip(geometry.extent, geometry.padding, strict=True):
            padded *= extent + sum(pads)
        planes = geometry.n * (geometry.ic * padded + 2 * geometry.oc * geometry.positions)
        return 8 * (planes + geometry.oc * geometry.reduction)

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        unrepeatable()
        out[...] = convolve(geometry, x, prepared, epilogue)
