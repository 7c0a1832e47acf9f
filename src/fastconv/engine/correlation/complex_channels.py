"""Complex numbers with zeros past the edges: a convolution of two channels, the real and the imaginary part."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from fastconv.engine.arrays import type_name
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.correlation.base import FEW_PRODUCTS, Past, has_many_products, refuse_more_axes
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import FilterGeometry
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned
from fastconv.engine.replay import constant, unrepeatable


class ComplexChannels(Composite):
    name = "channels"
    part_kind: Kind = CONVOLUTION

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        if dtype.kind != "c":
            return f"computes complex numbers, not {type_name(dtype)}"
        if not has_many_products(geometry):
            return f"computes more than {FEW_PRODUCTS} products"
        refusal = refuse_more_axes(geometry)
        if refusal is None and geometry.as_convolution().boundary != "zeros":
            refusal = f"takes zeros past the edges, not boundary={geometry.boundary!r}"
        return refusal

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 0.0

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 2 * prod(geometry.kernel) * dtype.itemsize

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        # The parts of a number are neighbours in memory: pixels of two channels.
        as_channels = replace(geometry.as_convolution(), ic=2, oc=2, channels_last=True)
        return (Part("", planned(as_channels, dtype=np.dtype(dtype.char.lower()))),)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        if kernel.flags.writeable:
            unrepeatable()
        weight = np.empty((2, 2, *kernel.shape), kernel.real.dtype)
        weight[0, 0] = weight[1, 1] = kernel.real
        weight[1, 0] = kernel.imag
        np.negative(kernel.imag, out=weight[0, 1])
        ((_, part, *_),) = plan.parts
        g = part.geometry
        x = np.ascontiguousarray(image).view(weight.dtype).reshape(1, *g.extent, 2)
        target = out.view(weight.dtype).reshape(1, *g.out_extent, 2)
        part.run_once(
            np.moveaxis(x, -1, 1), constant(weight.reshape(g.weight_shape)), PLAIN, np.moveaxis(target, -1, 1)
        )
