"""The geometry of filters between two rates."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.engine.geometry.axes import MAX_ELEMENTS, times
from fastconv.errors import GeometryError


def resampled_extent(extent: int, taps: int, up: int, down: int) -> int:
    """How many outputs see a sample: of `extent` samples with ``up - 1`` zeros between two, every `down`-th is kept.

    Examples
    --------
    >>> resampled_extent(10, 3, 2, 3), resampled_extent(0, 3, 1, 1)
    (7, 2)
    """
    return max(0, ((extent - 1) * up + taps - 1) // down + 1)


@dataclass(frozen=True)
class PolyphaseGeometry:
    """Lines of `extent` samples, `inner` of them side by side in each of `planes`, filtered between two rates.

    ``out[m] = sum_k filter[offset + m * down - k * up] * x[k]``

    Examples
    --------
    >>> g = PolyphaseGeometry(planes=1, extent=10, inner=1, taps=5, up=2, down=3, offset=2, outputs=7)
    >>> g.phase_taps, g.before, g.after
    (3, 1, 1)
    """

    planes: int
    extent: int
    inner: int
    taps: int
    up: int
    down: int
    offset: int
    outputs: int

    def __post_init__(self) -> None:
        if min(self.taps, self.up, self.down) < 1:
            raise GeometryError(f"{self.taps} taps, up={self.up}, down={self.down}: expected at least 1 of each")
        shape = (self.planes, self.outputs, self.inner)
        if max(self.planes * self.inner, 1) * max(self.newest + 1, self.outputs) > MAX_ELEMENTS:
            raise GeometryError(f"{times(shape)} outputs have more elements than memory has addresses")

    @property
    def phase_taps(self) -> int:
        """The samples that an output sees."""
        return -(-self.taps // self.up)

    @property
    def newest(self) -> int:
        """The position of the last sample that the last output sees."""
        return (self.offset + (self.outputs - 1) * self.down) // self.up

    @property
    def before(self) -> int:
        """Positions before the first sample that outputs see."""
        return max(0, self.phase_taps - 1 - self.offset // self.up)

    @property
    def after(self) -> int:
        """Positions after the last sample that outputs see."""
        return max(0, self.newest + 1 - self.extent)
