"""The geometry of a product of matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from fastconv.engine.geometry.axes import MAX_ELEMENTS
from fastconv.engine.geometry.descriptors import Fields
from fastconv.errors import GeometryError


@dataclass(frozen=True)
class ProductGeometry:
    """One product ``x (n, ic) @ weight (oc, ic).T``; any extent may be 0.

    Examples
    --------
    >>> ProductGeometry.parse("n64 ic256 oc10").out_shape
    (64, 10)
    """

    n: int
    ic: int
    oc: int

    def __post_init__(self) -> None:
        for name, value in (("n", self.n), ("ic", self.ic), ("oc", self.oc)):
            if value < 0:
                raise GeometryError(f"{name}={value}: expected at least 0")
        for rows, columns in (self.x_shape, self.weight_shape, self.out_shape):
            if rows * columns > MAX_ELEMENTS:
                raise GeometryError(f"a matrix of {rows} × {columns} has more elements than memory has addresses")

    @classmethod
    def parse(cls, descriptor: str) -> Self:
        """Read a descriptor; the inverse of `str`."""
        fields = Fields(descriptor)
        return fields.build(cls, n=fields.take("n", 1), ic=fields.take("ic"), oc=fields.take("oc"))

    def __str__(self) -> str:
        return f"n{self.n} ic{self.ic} oc{self.oc}"

    @property
    def x_shape(self) -> tuple[int, int]:
        return self.n, self.ic

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.oc, self.ic

    @property
    def out_shape(self) -> tuple[int, int]:
        return self.n, self.oc

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.n * self.ic * self.oc
