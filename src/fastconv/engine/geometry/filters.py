"""The geometry of a filter: one image, one kernel, and what lies past the image's edges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from fastconv.engine.geometry.axes import AXES, BOUNDARIES, Axes, times
from fastconv.engine.geometry.convolution import ConvGeometry
from fastconv.engine.geometry.descriptors import Fields, format_each, format_padding
from fastconv.errors import GeometryError


@dataclass(frozen=True)
class FilterGeometry(Axes):
    """One image of any number of axes, correlated with one kernel.

    `padding` counts the samples past each edge that outputs see, ``(begin, end)`` per axis, and `boundary` says what
    they are. If `terms` is not 0, the kernel is known to be a sum of so many outer products; a single one may be
    `exact`, with factors that reproduce every tap. Otherwise nothing is known of its values.

    Examples
    --------
    >>> g = FilterGeometry.parse("i512 k9 p4 reflect")
    >>> g.out_extent, str(g)
    ((512, 512), 'ih512 iw512 kh9 kw9 p4 reflect')
    """

    extent: tuple[int, ...]
    kernel: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    boundary: str = "zeros"
    terms: int = 0
    exact: bool = False
    stride: tuple[int, ...] = field(init=False, repr=False, compare=False)
    dilation: tuple[int, ...] = field(init=False, repr=False, compare=False)
    out_extent: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise GeometryError(f"boundary={self.boundary!r}: expected one of {', '.join(BOUNDARIES)}")
        if self.exact and self.terms != 1:
            raise GeometryError(f"terms={self.terms}: expected 1, as only a single outer product is exact")
        if self.terms and (len(self.kernel) != 2 or self.terms > min(self.kernel)):
            raise GeometryError(
                f"terms={self.terms}: expected a kernel of two axes, of which the shorter has at least so many taps"
            )
        if min(*self.extent, *self.kernel) < 1:
            raise GeometryError(
                f"image of {times(self.extent)} and kernel of {times(self.kernel)}: expected at least 1 of each"
            )
        ones = (1,) * len(self.extent)
        object.__setattr__(self, "stride", ones)
        object.__setattr__(self, "dilation", ones)
        sides = zip(self.extent, self.padding, self.kernel, strict=True)
        extents = (i + sum(pads) - k + 1 for i, pads, k in sides)
        self._complete(extents, (self.kernel, self.continued_extent))

    @classmethod
    def parse(cls, descriptor: str) -> Self:
        """Read a descriptor; the inverse of `str`. A word names the boundary."""
        fields = Fields(descriptor)
        boundary = fields.take_boundary()
        exact = fields.take_word("exact")
        window = fields.take_window()
        if set(window.pop("stride")) | set(window.pop("dilation")) != {1}:
            fields.fail("a filter has neither stride nor dilation")
        return fields.build(cls, boundary=boundary, terms=fields.take("terms", 0), exact=exact, **window)

    def __str__(self) -> str:
        if len(self.extent) > len(AXES):  # descriptors have no names for so many axes
            words = [times(self.extent), "by", times(self.kernel), f"padding {self.padding}"]
        else:
            words = format_each("i", self.extent) + format_each("k", self.kernel) + format_padding(self.padding)
        words += [self.boundary] * (self.boundary != "zeros")
        return " ".join(words + [f"terms{self.terms}"] * (self.terms > 0) + ["exact"] * self.exact)

    @property
    def batch_and_channels(self) -> tuple[int, int]:
        """The leading extents of the output."""
        return 1, 1

    @property
    def x_shape(self) -> tuple[int, ...]:
        return self.extent

    @cached_property
    def continued_extent(self) -> tuple[int, ...]:
        """What all outputs together see: the image, continued by its padding."""
        return tuple(i + sum(pads) for i, pads in zip(self.extent, self.padding, strict=True))

    def of_part(self, extent: tuple[int, ...], padding: tuple[tuple[int, int], ...]) -> FilterGeometry:
        """The same kernel on a part of the image, or on a part that was continued before."""
        return replace(self, extent=extent, padding=padding)

    def as_convolution(self) -> ConvGeometry:
        """As a convolution of one channel."""
        ones = (1,) * len(self.extent)
        return ConvGeometry(
            1, 1, 1, 1, self.extent, self.kernel, ones, ones, self.padding, boundary=self.boundary
        ).as_2d()
