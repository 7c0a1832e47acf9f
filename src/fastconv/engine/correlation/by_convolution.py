"""A correlation as a convolution of one channel, by the cheapest strategy.

Two things are only known when the values are seen: whether the kernel is a sum of outer products, for which `separable`
costs less, and in which type integers can be summed.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from fastconv.engine import planner
from fastconv.engine.conversion import converted
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.separable import Factors, find_factors
from fastconv.engine.correlation.base import FEW_PRODUCTS, Past, has_many_products, refuse_more_axes
from fastconv.engine.correlation.integers import correlate_blocks, other_types, working_type
from fastconv.engine.correlation.separable import run_factors
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import REMEMBERED, FilterGeometry
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned
from fastconv.engine.replay import unrepeatable


class ByConvolution(Composite):
    name = "convolution"
    part_kind: Kind = CONVOLUTION

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        if dtype.kind == "c" and has_many_products(geometry):
            return f"sums up to {FEW_PRODUCTS} complex products as they are"
        return refuse_more_axes(geometry)

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 0.0

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 0

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        return (Part("", planned(geometry.as_convolution())),)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        if out.dtype.kind in "iu":
            work = working_type(plan, image, kernel, past)
            if work != out.dtype:
                correlate_blocks(plan, image, kernel.astype(work), out, past)
                return
            image = converted(image, out.dtype)
        elif (factors := _worthwhile_factors(plan, kernel)) is not None:
            plan.note(by="separable")
            run_factors(plan, image, factors, out, past)
            return
        ((_, part, *_),) = plan.parts
        part.run_once(image, kernel, PLAIN, out, **past.options(part.geometry))

    def alternatives(self, plan: Plan) -> tuple[Part, ...]:
        """Outer products, if the kernel is a sum of few enough, and for integers other types."""
        if np.dtype(plan.dtype).kind in "iu":
            return other_types(plan)
        terms = _worthwhile_terms(plan)
        if terms is None:
            return ()
        known = {"if the kernel is an outer product": replace(plan.geometry, terms=1, exact=True)}
        if terms > 1:
            known[f"if it is a sum of {terms}, or fewer"] = replace(plan.geometry, terms=terms)

        def planned(geometry: FilterGeometry) -> Plan:
            found = planner.plan(
                geometry, plan.dtype, kind=plan.kind, tolerance=plan.tolerance, max_workspace=plan.max_workspace
            )
            return replace(found, threads=plan.threads)

        return tuple(Part(label, planned(geometry)) for label, geometry in known.items())


def _worthwhile_terms(plan: Plan) -> int | None:
    """The most outer products in a kernel for which they cost less than this plan (see `planner.separable_terms`)."""
    ((_, part, *_),) = plan.parts
    return _separable_terms(part) if plan.request == "auto" and plan.geometry.terms == 0 else None


@functools.lru_cache(maxsize=REMEMBERED)
def _separable_terms(part: Plan) -> int | None:
    return planner.separable_terms(part)


def _worthwhile_factors(plan: Plan, kernel: np.ndarray) -> Factors | None:
    """The factors of a kernel for which outer products cost less than what was planned without knowing its values."""
    terms = _worthwhile_terms(plan)
    if terms is None:
        return None
    if kernel.flags.writeable:
        unrepeatable()
    return find_factors(kernel.reshape(plan.parts[0].plan.geometry.kernel), terms)
