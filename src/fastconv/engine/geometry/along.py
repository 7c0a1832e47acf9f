"""The geometry of filters that run along one axis after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice, product
from math import prod
from string import ascii_lowercase
from typing import ClassVar, NamedTuple, Self

from fastconv.engine.boundary import NAMES, period
from fastconv.engine.geometry.axes import AXES, MAX_ELEMENTS, times
from fastconv.engine.geometry.descriptors import Fields
from fastconv.engine.geometry.planes import Planes, as_planes
from fastconv.errors import GeometryError

# Samples of up to this many columns are folded along the rows: lines this short would not fill vectors.
_NARROW = 16

# The types that results are stored in, as NumPy calls them.
_STORED = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64")


class Window(NamedTuple):
    """The window along one axis."""

    axis: int
    size: int
    mode: str
    """How the axis continues past its ends, as boundary.py calls it."""
    begin: int
    """How many samples of the window precede the output's own position."""


@dataclass(frozen=True)
class AlongAxes:
    """An array that is filtered along one axis after another; the result has the same shape.

    `windows` are in the order in which they run. Results are `stored` in a type of their own or, with ``None``, in that
    of the array.
    """

    extent: tuple[int, ...]
    windows: tuple[Window, ...]
    stored: str | None = field(default=None, kw_only=True)
    modes: ClassVar[tuple[str, ...]] = NAMES
    least: ClassVar[int] = 1
    """The smallest window along an axis that is filtered."""

    def __post_init__(self) -> None:
        if min(self.extent, default=0) < 1:
            raise GeometryError(f"an array of {times(self.extent)}: expected at least one sample along each axis")
        if prod(self.extent) > MAX_ELEMENTS:
            raise GeometryError(f"an array of {times(self.extent)} has more elements than memory has addresses")
        if not self.windows:
            raise GeometryError("windows=(): expected one along at least one axis")
        for axis, size, mode, begin in self.windows:
            if not 0 <= axis < len(self.extent):
                raise GeometryError(f"axis={axis}: expected one of {len(self.extent)} axes")
            if size < self.least:
                raise GeometryError(f"size={size}: expected windows of at least {self.least} samples")
            if not 0 <= begin < size:
                raise GeometryError(f"begin={begin}: expected a sample of the window of {size}")
            if mode not in self.modes:
                raise GeometryError(f"mode={mode!r}: expected one of {', '.join(self.modes)}")
        if len({window.axis for window in self.windows}) < len(self.windows):
            raise GeometryError("an axis has two windows: expected one at most")
        if self.stored is not None and self.stored not in _STORED:
            raise GeometryError(f"stored={self.stored!r}: expected one of {', '.join(_STORED)}")

    @classmethod
    def parse(cls, descriptor: str) -> Self:
        """Read a descriptor; the inverse of `str`.

        ``kh3 kw5`` are windows along two axes, in this order, and ``k3`` is one along every axis. ``bh0`` counts the
        samples of a window that precede the output's own position, by default half of them. A word names the mode, of
        all axes or, with the axis at its end, of one. ``asfloat64`` is the type in which results are stored.
        """
        fields = Fields(descriptor)
        return fields.build(cls, **cls._taken(fields))

    @classmethod
    def _taken(cls, fields: Fields) -> dict[str, object]:
        """What a descriptor says of the axes."""
        order = [key[1:] for key in fields.fields if key[0] == "k"]
        names = _named_axes(fields)
        extent = tuple(fields.take("i" + name, fields.fields.get("i")) for name in names)
        fields.fields.pop("i", None)
        common = fields.fields.pop("k", None)
        common_mode = next((mode for mode in cls.modes if fields.take_word(mode)), "reflect")
        windows = []
        for name in dict.fromkeys(chain((o for o in order if o), names if common is not None else ())):
            if name not in names:
                fields.fail(f"k{name} belongs to no axis")
            size = fields.take("k" + name, common)
            mode = next((mode for mode in cls.modes if fields.take_word(mode + name)), common_mode)
            window = Window(names.index(name), size, mode, fields.take("b" + name, size // 2))
            if size >= cls.least or size < 1:  # anything else leaves the axis as it is
                windows.append(window)
        stored = next((name for name in _STORED if _takes_type(fields, name)), None)
        return {"extent": extent, "windows": tuple(windows), "stored": stored}

    def __str__(self) -> str:
        names = _axis_names(len(self.extent))
        words = [f"i{name}{extent}" for name, extent in zip(names, self.extent, strict=True)]
        words += [f"k{names[window.axis]}{window.size}" for window in self.windows]
        words += [f"b{names[w.axis]}{w.begin}" for w in self.windows if w.begin != w.size // 2]
        modes = [window.mode for window in self.windows]
        words += modes[:1] if len(set(modes)) == 1 else [w.mode + names[w.axis] for w in self.windows]
        return " ".join(words + ([] if self.stored is None else [f"as{self.stored}"]))

    @property
    def values(self) -> int:
        return prod(self.extent)

    @property
    def continued(self) -> int:
        """The number of values once the array is continued along the axis where that makes it largest."""
        return max(self.values // self.extent[at] * (self.extent[at] + size - 1) for at, size, *_ in self.windows)

    def along(self, windows: tuple[Window, ...]) -> Self:
        """The same along some of the axes, within one type."""
        return type(self)(self.extent, windows)

    def of_rows(self, rows: int) -> Self:
        """The same for a slab of so many indices along the first axis."""
        return replace(self, extent=(rows, *self.extent[1:]))

    def label(self) -> str:
        """``axis w``, ``axes h, w``"""
        names = _axis_names(len(self.extent))
        listed = ", ".join(names[window.axis] for window in self.windows)
        return f"{'axis' if len(self.windows) == 1 else 'axes'} {listed}"


@dataclass(frozen=True)
class PassesGeometry(AlongAxes):
    """Correlations along one axis after another; mode "constant" is one other than zero, and "zeros" is zero.

    Examples
    --------
    >>> g = PassesGeometry.parse("iw30 ih20 kh9 kw7 mirror")
    >>> str(g), g.windows[0]
    ('ih20 iw30 kh9 kw7 mirror', Window(axis=0, size=9, mode='mirror', begin=4))
    """

    modes: ClassVar[tuple[str, ...]] = ("zeros", *NAMES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if {"zeros", "constant"} <= {window.mode for window in self.windows}:
            raise GeometryError("modes zeros and constant: expected one of them, as there is one constant for all axes")


@dataclass(frozen=True)
class WindowGeometry(AlongAxes):
    """The maximum, minimum or mean of a window that moves over an array.

    Examples
    --------
    >>> g = WindowGeometry.parse("mean i512 k9")
    >>> str(g), g.windows[1]
    ('mean ih512 iw512 kh9 kw9 reflect', Window(axis=1, size=9, mode='reflect', begin=4))
    >>> str(WindowGeometry.parse("maximum iw512 kw4 bw0 wrap asfloat64"))
    'maximum iw512 kw4 bw0 wrap asfloat64'
    """

    fold: str = "maximum"
    sweeps: tuple[tuple[Window, ...], ...] = field(init=False, repr=False, compare=False)
    """The windows of each sweep over the array: two neighbouring axes, one, or one with a mean that is `reduced`."""
    planes: tuple[Planes, ...] = field(init=False, repr=False, compare=False)
    """The array as planes for each sweep."""
    folds: ClassVar[tuple[str, ...]] = ("maximum", "minimum", "mean")
    least: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fold not in self.folds:
            raise GeometryError(f"fold={self.fold!r}: expected one of {', '.join(self.folds)}")
        sweeps: list[tuple[Window, ...]] = []
        planes: list[Planes] = []

        def sweep_along(windows: Sequence[Window]) -> None:
            for p in as_planes([window.axis for window in windows], self.extent, True, _NARROW):
                sweeps.append(tuple([windows[at] for at in (p.down, p.along) if at is not None]))
                planes.append(p)

        short: Sequence[Window] = self.windows
        if self.fold == "mean":
            short = []
            for window in self.windows:
                if reduced(window, self.extent[window.axis]) is window:
                    short.append(window)
                else:
                    sweep_along(short)
                    sweep_along([window])
                    short = []
        sweep_along(short)
        object.__setattr__(self, "sweeps", tuple(sweeps))
        object.__setattr__(self, "planes", tuple(planes))

    @classmethod
    def _taken(cls, fields: Fields) -> dict[str, object]:
        fold = next((name for name in cls.folds if fields.take_word(name)), None)
        if fold is None:
            fields.fail(f"expected one of {', '.join(cls.folds)}")
        return {**super()._taken(fields), "fold": fold}

    def __str__(self) -> str:
        return f"{self.fold} {super().__str__()}"

    def along(self, windows: tuple[Window, ...]) -> Self:
        return type(self)(self.extent, windows, self.fold)


def narrowed(window: Window, extent: int) -> Window:
    """A smaller window with the same extremes: past the image a window sees only what it has seen already."""
    _, size, mode, begin = window
    most = period(extent, mode) or extent
    end = size - 1 - begin
    if begin <= most and end <= most:
        return window
    begin = min(begin, most)
    return window._replace(size=begin + 1 + min(end, most), begin=begin)


def reduced(window: Window, extent: int) -> Window:
    """A window of at most two periods, or one that always reaches both edges.

    The rest of the mean of `window` is the same for every output of a line.
    """
    repeats = period(extent, window.mode)
    if repeats is None:
        return narrowed(window, extent)
    repeats = max(2, repeats)  # a window has at least two samples, and period 1 is also period 2
    whole = max(0, window.size // repeats - 1)
    return window._replace(size=window.size - whole * repeats, begin=window.begin % repeats) if whole else window


def _axis_names(ndim: int) -> list[str]:
    """``d h w`` as everywhere; the axes of arrays with more have the letters of the alphabet, and then two each."""
    if ndim <= len(AXES):
        return list(AXES[len(AXES) - ndim :])
    words = chain.from_iterable(product(ascii_lowercase, repeat=letters) for letters in count(1))
    return ["".join(word) for word in islice(words, ndim)]


def _named_axes(fields: Fields) -> list[str]:
    """The axes of the array that a descriptor describes; without names it has two."""
    extents = [key[1:] for key in fields.fields if key[0] == "i" and key != "i"]
    if len(extents) > len(AXES):
        return _axis_names(len(extents))
    named = [at for at, axis in enumerate(AXES) if {f"i{axis}", f"k{axis}"} & fields.fields.keys()]
    return list(AXES[min(named, default=1) :])


def _takes_type(fields: Fields, name: str) -> bool:
    """Whether results are stored in the type `name`."""
    word, digits = name.rstrip("0123456789"), name.lstrip(ascii_lowercase)
    if not digits:
        return fields.take_word(f"as{word}")
    if fields.fields.get(f"as{word}") != int(digits):
        return False
    fields.take(f"as{word}")
    return True
