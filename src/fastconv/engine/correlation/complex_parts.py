"""Complex numbers: four correlations of real and imaginary parts, for which strategies are fastest."""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv.engine.arrays import type_name
from fastconv.engine.correlation.base import FEW_PRODUCTS, Past, has_many_products, refuse_more_axes
from fastconv.engine.geometry import FilterGeometry
from fastconv.engine.plan import Composite, Part, Plan, Planned
from fastconv.engine.rates import rates
from fastconv.engine.replay import unrepeatable

# Seconds of Python between four correlations, which no recording plays.
_CALL_SECONDS = 4e-5


class ComplexParts(Composite):
    name = "parts"

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        if dtype.kind != "c":
            return f"computes complex numbers, not {type_name(dtype)}"
        if not has_many_products(geometry):
            return f"computes more than {FEW_PRODUCTS} products"
        return refuse_more_axes(geometry)

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return _CALL_SECONDS + 2 * prod(geometry.out_extent) * dtype.itemsize / rates().memory

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return prod(geometry.out_extent) * dtype.itemsize // 2

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        part = planned(geometry, dtype=np.dtype(dtype.char.lower()))
        return (Part("each of 4", part, times=4, preparations=4),)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        unrepeatable()
        part = plan.parts[0].plan
        result = np.empty(out.shape, out.real.dtype)

        real, imag = (past._replace(fill=side(past.fill)) for side in (np.real, np.imag))

        def correlated(x: np.ndarray, weight: np.ndarray, past: Past) -> np.ndarray:
            part.strategy.run(part, x, np.ascontiguousarray(weight), result, past)
            return result

        with np.errstate(invalid="ignore"):
            out.real = correlated(image.real, kernel.real, real)
            out.real -= correlated(image.imag, kernel.imag, imag)
            out.imag = correlated(image.real, kernel.imag, real)
            out.imag += correlated(image.imag, kernel.real, imag)
