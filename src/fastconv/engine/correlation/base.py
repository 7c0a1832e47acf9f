"""What the solvers of correlations share: what lies past the edges, and when they refuse."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from fastconv.engine.geometry import FilterGeometry

Padding = tuple[tuple[int, int], ...]

# Up to this many products, integers and complex numbers are summed as they are: converting them is more work.
FEW_PRODUCTS = 1 << 15


class Past(NamedTuple):
    """What lies past the edges of an image, and whether a zero in the kernel counts as a product."""

    continuation: str
    fill: object
    leaves_zeros_out: bool = False


def refuse_more_axes(geometry: FilterGeometry) -> str | None:
    """The refusal of solvers that compute lines and planes."""
    return None if len(geometry.extent) <= 2 else f"computes 1 or 2 axes, not {len(geometry.extent)}"


def refuse_unless_inside(geometry: FilterGeometry) -> str | None:
    """The refusal of solvers that know only zeros past the edges."""
    refusal = refuse_more_axes(geometry)
    if refusal is None and not geometry.is_inside:
        refusal = f"takes zeros past the edges, not boundary={geometry.boundary!r}"
    return refusal


def has_many_products(geometry: FilterGeometry) -> bool:
    """Whether there are so many products that converting their factors is worth it."""
    return prod(geometry.out_extent) * geometry.taps > FEW_PRODUCTS
