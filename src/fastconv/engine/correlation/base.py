"""What the solvers of correlations share: what lies past the edges, and when they refuse."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from fastconv.engine.geometry import ConvGeometry, FilterGeometry

Padding = tuple[tuple[int, int], ...]

# Up to this many products, integers and complex numbers are summed as they are: converting them is more work.
FEW_PRODUCTS = 1 << 15


class Past(NamedTuple):
    """What lies past the edges of an image, and whether a zero in the kernel counts as a product."""

    continuation: str
    fill: Any
    leaves_zeros_out: bool = False

    def options(self, geometry: ConvGeometry) -> dict[str, Any]:
        """What a convolution has to know in addition to its geometry: the constant past the edges, if it sees one."""
        return {"fill": self.fill} if geometry.boundary == "constant" else {}


def refuse_more_axes(geometry: FilterGeometry) -> str | None:
    """The refusal of solvers that compute lines and planes."""
    return None if len(geometry.extent) <= 2 else f"computes 1 or 2 axes, not {len(geometry.extent)}"


def has_many_products(geometry: FilterGeometry) -> bool:
    """Whether there are so many products that converting their factors is worth it."""
    return prod(geometry.out_extent) * geometry.taps > FEW_PRODUCTS
