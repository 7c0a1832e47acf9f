"""A kernel that is known to be a sum of outer products: each of them as two short passes."""

from __future__ import annotations

import numpy as np

from fastconv.engine.convolution import SEPARABLE
from fastconv.engine.convolution.separable import FIND_SECONDS, Factors, find_factors
from fastconv.engine.correlation.base import Past, refuse_more_axes
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import FilterGeometry
from fastconv.engine.plan import Plan, SumsDirectly


class OuterProducts(SumsDirectly):
    name = "separable"

    def componentwise(self, geometry: FilterGeometry) -> bool:
        return geometry.exact

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        refusal = refuse_more_axes(geometry)
        if refusal is None:
            refusal = SEPARABLE.refuse(geometry.as_convolution(), dtype)
        if refusal is None and geometry.terms == 0:
            refusal = "computes sums of outer products, and the kernel's values are not known yet"
        return refusal

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        g = geometry.as_convolution()
        found = FIND_SECONDS if geometry.exact else SEPARABLE.prepare_cost(g, dtype)
        return found + SEPARABLE.cost_of_terms(g, dtype, geometry.terms)

    def error(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return SEPARABLE.error_of_terms(geometry.as_convolution(), dtype, geometry.terms, geometry.exact)

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return SEPARABLE.workspace_bytes(geometry.as_convolution(), dtype, threads, max_workspace)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        plan.note()
        g: FilterGeometry = plan.geometry
        factors = find_factors(kernel, 0 if g.exact else g.terms)
        if factors is None:
            raise ValueError(f"kernel of shape {kernel.shape}: expected a sum of {g.terms} outer products")
        run_factors(plan, image, factors, out, past)


def run_factors(plan: Plan, image: np.ndarray, factors: Factors, out: np.ndarray, past: Past) -> None:
    """Correlate with a kernel whose factors are known, under the limits of a plan."""
    g = plan.geometry.as_convolution()
    x, target = image.reshape(g.x_shape), out.reshape(g.out_shape)
    SEPARABLE.run(g, x, factors, target, PLAIN, plan.threads, plan.max_workspace, **past.options(g))
