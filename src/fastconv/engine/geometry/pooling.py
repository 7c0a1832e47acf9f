"""The geometry of pooling: regular windows, windows of uneven extents, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from math import gcd, prod
from operator import index
from typing import Any, Self

from fastconv.engine.geometry.axes import AXES, MAX_ELEMENTS, Axes, integers, output_extent, times
from fastconv.engine.geometry.convolution import ConvGeometry
from fastconv.engine.geometry.descriptors import Fields, format_axes, format_each, format_padding
from fastconv.errors import GeometryError


def pool_strides(stride: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a pooling window, by default (``None`` or empty) the kernel's extents."""
    if stride is None or (isinstance(stride, tuple | list) and not stride):
        return kernel
    return integers("stride", stride, len(kernel), 1)


class _Images(Axes):
    """Accessors of a batch of multi-channel images, and of what is pooled from them."""

    n: int
    c: int

    @property
    def batch_and_channels(self) -> tuple[int, int]:
        """The leading extents of the output."""
        return self.n, self.c

    @cached_property
    def x_shape(self) -> tuple[int, ...]:
        return (self.n, self.c, *self.extent)

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        return (self.n, self.c, *self.out_extent)


@dataclass(frozen=True)
class PoolGeometry(_Images):
    """One pooling problem of 1, 2 or 3 spatial axes; padding is equal on both sides of an axis.

    With `ceil_mode` the output extent is rounded up, except that a window never starts past the input
    and its leading padding.

    Examples
    --------
    >>> PoolGeometry.parse("n1 c64 ih112 iw112 kh3 kw3 s2 p1").out_shape
    (1, 64, 56, 56)
    """

    n: int
    c: int
    extent: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    ceil_mode: bool = False
    out_extent: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n < 0:
            raise GeometryError(f"n={self.n}: expected a batch of at least 0")
        if min(self.c, *self.extent) < 1:
            raise GeometryError(
                f"input with {self.c} channels of {times(self.extent)}: expected at least 1 of each "
                "(only the batch may be empty)"
            )
        for (begin, end), k in zip(self.padding, self.kernel, strict=True):
            if begin != end or begin > k // 2:
                raise GeometryError(
                    f"padding={self.padding}: expected equal sides, at most half the kernel {times(self.kernel)}"
                )
        extents = map(self._windows, self.extent, self.padding, self.kernel, self.stride, self.dilation)
        self._complete(extents, (self.x_shape,))

    def _windows(self, extent: int, padding: tuple[int, int], kernel: int, stride: int, dilation: int) -> int:
        begin, end = padding
        if not self.ceil_mode:
            return output_extent(extent, padding, kernel, stride, dilation)
        windows = output_extent(extent, (begin, end + stride - 1), kernel, stride, dilation)
        return windows - ((windows - 1) * stride >= extent + begin)

    @classmethod
    def from_shapes(
        cls,
        x_shape: Sequence[int],
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        *,
        ndim: int = 2,
        ceil_mode: bool = False,
    ) -> Self:
        """The geometry of ``pool(x)`` for ``x (N, C, *extent)`` or ``(C, *extent)``.

        `stride` defaults to the kernel.
        """
        _checked_pool_input(x_shape, ndim)
        kernel = integers("kernel_size", kernel_size, ndim, 1)
        n, c = (1, *x_shape)[-ndim - 2 : -ndim]
        try:
            return cls(
                n=n,
                c=c,
                extent=tuple(x_shape[-ndim:]),
                kernel=kernel,
                stride=pool_strides(stride, kernel),
                dilation=integers("dilation", dilation, ndim, 1),
                padding=tuple((p, p) for p in integers("padding", padding, ndim, 0)),
                ceil_mode=bool(ceil_mode),
            )
        except GeometryError as error:
            raise GeometryError(f"x of shape {tuple(x_shape)}: {error}") from None

    @classmethod
    def parse(cls, descriptor: str) -> Self:
        """Read a descriptor; the inverse of `str`. The word ``ceil`` sets `ceil_mode`."""
        fields = Fields(descriptor)
        ceil_mode = fields.take_word("ceil")
        window = fields.take_window()
        return fields.build(cls, n=fields.take("n", 1), c=fields.take("c"), ceil_mode=ceil_mode, **window)

    def __str__(self) -> str:
        dilation = format_axes("d", self.dilation) if set(self.dilation) != {1} else []
        return " ".join(
            [f"n{self.n}", f"c{self.c}"]
            + format_each("i", self.extent)
            + format_each("k", self.kernel)
            + format_axes("s", self.stride)
            + dilation
            + format_padding(self.padding)
            + ["ceil"] * self.ceil_mode
        )

    def as_2d(self) -> PoolGeometry:
        """A 1-D problem as the 2-D one of height 1."""
        if self.ndim != 1:
            return self
        return PoolGeometry(
            n=self.n,
            c=self.c,
            extent=(1, *self.extent),
            kernel=(1, *self.kernel),
            stride=(1, *self.stride),
            dilation=(1, *self.dilation),
            padding=((0, 0), *self.padding),
            ceil_mode=self.ceil_mode,
        )

    def as_row(self) -> PoolGeometry:
        """A plane that is its own only window as a row, which it is in memory if its rows follow one another."""
        if self.ndim != 2 or self.kernel != self.extent or self.positions != 1 or self.has_gaps:
            return self
        return PoolGeometry(
            n=self.n,
            c=self.c,
            extent=(self.ih * self.iw,),
            kernel=(self.ih * self.iw,),
            stride=(self.ih * self.iw,),
            dilation=(1,),
            padding=((0, 0),),
        )

    def with_last_axis(self) -> PoolGeometry:
        """Planes with channels last as volumes of one channel, whose last axis, that of the channels, is not pooled."""
        return PoolGeometry(
            n=self.n,
            c=1,
            extent=(*self.extent, self.c),
            kernel=(*self.kernel, 1),
            stride=(*self.stride, 1),
            dilation=(*self.dilation, 1),
            padding=(*self.padding, (0, 0)),
            ceil_mode=self.ceil_mode,
        )

    @cached_property
    def passes(self) -> tuple[PoolGeometry, PoolGeometry]:
        """A volume as two problems of planes: within its maps, and along the depth, between values of pooled maps."""
        maps = PoolGeometry(
            n=self.n,
            c=self.c * self.extent[0],
            extent=self.extent[1:],
            kernel=self.kernel[1:],
            stride=self.stride[1:],
            dilation=self.dilation[1:],
            padding=self.padding[1:],
            ceil_mode=self.ceil_mode,
        )
        columns = PoolGeometry(
            n=self.n,
            c=self.c,
            extent=(self.extent[0], prod(self.out_extent[1:])),
            kernel=(self.kernel[0], 1),
            stride=(self.stride[0], 1),
            dilation=(self.dilation[0], 1),
            padding=(self.padding[0], (0, 0)),
            ceil_mode=self.ceil_mode,
        )
        return maps, columns

    @cached_property
    def has_gaps(self) -> bool:
        """Whether windows are dilated or the input is padded."""
        return max(self.dilation) > 1 or any(begin for begin, _ in self.padding)

    @cached_property
    def is_partition(self) -> bool:
        """Whether the windows divide the input, without gaps or overlaps, as adaptive windows of equal extent do."""
        parts = zip(self.extent, self.kernel, self.out_extent, strict=True)
        return self.kernel == self.stride and not self.has_gaps and all(i == k * o for i, k, o in parts)

    def as_sum(self) -> ConvGeometry:
        """The depthwise convolution with windows of ones; its padding may be negative, which only an adjoint allows."""
        ends = (
            (o - 1) * s + d * (k - 1) + 1 - i - begin
            for o, s, d, k, i, (begin, _) in zip(
                self.out_extent, self.stride, self.dilation, self.kernel, self.extent, self.padding, strict=True
            )
        )
        return ConvGeometry(
            n=self.n,
            g=self.c,
            ic=self.c,
            oc=self.c,
            extent=self.extent,
            kernel=self.kernel,
            stride=self.stride,
            dilation=self.dilation,
            padding=tuple((begin, end) for (begin, _), end in zip(self.padding, ends, strict=True)),
        )

    @property
    def is_blind(self) -> bool:
        """Whether some window has no tap inside the input."""
        axes = zip(self.extent, self.out_extent, self.kernel, self.stride, self.dilation, self.padding, strict=True)
        return any(d > i or (o - 1) * s - pad >= i or (k - 1) * d < pad for i, o, k, s, d, (pad, _) in axes)

    @property
    def first_offsets(self) -> list[int]:
        """Of the windows that begin left of the input, the offset in columns of the first tap inside.

        Examples
        --------
        >>> PoolGeometry.from_shapes((1, 9), 5, 2, 2, 2, ndim=1).first_offsets
        [2]
        """
        return [-(column // self.dw) * self.dw for column in range(-self.pl, 0, self.sw)][: self.ow]

    def counts(self, include_padding: bool) -> tuple[list[int], ...]:
        """The number of taps of each window along each axis, in the input with or without its padding, for dilation 1.

        Examples
        --------
        >>> PoolGeometry.from_shapes((1, 5), 3, 2, 1, ndim=1, ceil_mode=True).counts(include_padding=False)
        ([2, 3, 2],)
        """

        def of_axis(i: int, o: int, k: int, s: int, padding: tuple[int, int]) -> list[int]:
            begin, end = padding if include_padding else (0, 0)
            # Windows `first` to `last` are whole: none of their taps is clipped.
            first = min(o, -((begin - padding[0]) // s))
            last = max(first, min(o, (i + end + padding[0] - k) // s + 1))
            starts = [window * s - padding[0] for window in (*range(first), *range(last, o))]
            clipped = [min(start + k, i + end) - max(start, -begin) for start in starts]
            return clipped[:first] + [k] * (last - first) + clipped[first:]

        axes = zip(self.extent, self.out_extent, self.kernel, self.stride, self.padding, strict=True)
        return tuple(of_axis(*axis) for axis in axes)


@dataclass(frozen=True)
class UnevenGeometry(_Images):
    """Pooling of signals or planes to a given extent, over windows that differ.

    "adaptive" windows divide the input as evenly as possible. "drawn" ones have the extents `kernel`, and start at
    random.

    Examples
    --------
    >>> UnevenGeometry.parse("n1 c64 i7 o3 adaptive").out_shape
    (1, 64, 3, 3)
    """

    n: int
    c: int
    extent: tuple[int, ...]
    out_extent: tuple[int, ...]
    windows: str
    kernel: tuple[int, ...] = ()
    """The extents of drawn windows, and of the largest adaptive one."""
    stride: tuple[int, ...] = field(init=False, repr=False, compare=False)
    dilation: tuple[int, ...] = field(init=False, repr=False, compare=False)
    padding: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n < 0:
            raise GeometryError(f"n={self.n}: expected a batch of at least 0")
        ones = (1,) * len(self.extent)
        derived: dict[str, Any] = {"stride": ones, "dilation": ones, "padding": tuple((0, 0) for _ in ones)}
        if self.windows == "adaptive":
            # A window that neither begins nor ends where a value does reaches into one more value.
            axes = ((i, o, i % o // gcd(i, o)) for i, o in zip(self.extent, self.out_extent, strict=True))
            derived["kernel"] = tuple(-(-i // o) + (rest > 1) for i, o, rest in axes)
        self.__dict__.update(derived)
        self._complete(self.out_extent, (self.x_shape,))

    @classmethod
    def parse(cls, descriptor: str) -> Self:
        """Read a descriptor; the inverse of `str`."""
        fields = Fields(descriptor)
        axes = AXES[1:] if {"i", "ih"} & fields.fields.keys() else AXES[2:]
        windows = next((word for word in ("adaptive", "drawn") if fields.take_word(word)), None)
        if windows is None:
            fields.fail("the windows are missing: expected 'adaptive' or 'drawn'")
        n, c = fields.take("n", 1), fields.take("c")
        shape, sizes = (n, c, *fields.take_axes("i", axes)), fields.take_axes("o", axes)
        kernel: tuple[int, ...] = ()
        if windows == "drawn":
            kernel, _ = fractional_extents(shape, fields.take_axes("k", axes), sizes, None)
        else:
            adaptive_extents(shape, sizes, len(axes))
        return fields.build(cls, n=n, c=c, extent=shape[2:], out_extent=sizes, windows=windows, kernel=kernel)

    def __str__(self) -> str:
        kernel = format_each("k", self.kernel) if self.windows == "drawn" else []
        extents = format_each("i", self.extent) + format_each("o", self.out_extent)
        return " ".join([f"n{self.n}", f"c{self.c}", *extents, *kernel, self.windows])

    @property
    def starts_shapes(self) -> tuple[tuple[int, int], ...]:
        """The shapes of the random starts of windows, one array per axis; adaptive windows need none."""
        return tuple((self.n * self.c, o) for o in self.out_extent) if self.windows == "drawn" else ()


def adaptive_geometry(
    n: int, c: int, extent: tuple[int, ...], out_extent: tuple[int, ...]
) -> PoolGeometry | UnevenGeometry:
    """Adaptive pooling, which is ordinary pooling if its windows are of equal extents.

    Examples
    --------
    >>> print(adaptive_geometry(1, 8, (12, 12), (4, 6)))
    n1 c8 ih12 iw12 kh3 kw2 sh3 sw2 p0
    """
    if any(i % o for i, o in zip(extent, out_extent, strict=True)):
        return UnevenGeometry(n, c, extent, out_extent, "adaptive")
    kernel = tuple(i // o for i, o in zip(extent, out_extent, strict=True))
    return PoolGeometry(n, c, extent, kernel, kernel, (1,) * len(extent), ((0, 0),) * len(extent))


def _checked_pool_input(x_shape: Sequence[int], ndim: int) -> None:
    if len(x_shape) not in (ndim + 1, ndim + 2):
        raise GeometryError(
            f"x of shape {tuple(x_shape)}: expected {ndim + 2} axes (batch, channels, *extent), "
            f"or {ndim + 1} without batch"
        )


def _checked_extents(x_shape: Sequence[int], ndim: int) -> tuple[int, ...]:
    """The spatial extents of an input that can be pooled."""
    _checked_pool_input(x_shape, ndim)
    if min(x_shape[-ndim - 1 :]) < 1:
        raise GeometryError(f"x of shape {tuple(x_shape)}: expected at least 1 channel and extents of at least 1")
    return tuple(x_shape[-ndim:])


def adaptive_extents(
    x_shape: Sequence[int], output_size: int | Sequence[int | None] | None, ndim: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The extents of input and output of adaptive pooling; ``None`` keeps an extent.

    Window o covers ``floor(o * in / out) <= i < ceil((o + 1) * in / out)``.

    Examples
    --------
    >>> adaptive_extents((1, 8, 10, 12), (None, 5), 2)
    ((10, 12), (10, 5))
    """
    extent = _checked_extents(x_shape, ndim)
    try:
        sizes = (output_size if output_size is None else index(output_size),) * ndim  # type: ignore[arg-type]
    except TypeError:
        sizes = tuple(islice(output_size, ndim + 1)) if isinstance(output_size, Iterable) else (output_size,) * ndim
    if len(sizes) == 1:
        sizes *= ndim
    if len(sizes) != ndim:
        raise GeometryError(f"output_size={output_size!r}: expected an int or {ndim} ints, one per axis")
    given = [i if size is None else size for i, size in zip(extent, sizes, strict=True)]
    try:
        out_extent = integers("output_size", given, ndim, 1)
    except GeometryError:
        raise GeometryError(f"output_size={output_size!r}: expected None or ints of at least 1") from None
    for i, o in zip(extent, out_extent, strict=True):
        if i * o > MAX_ELEMENTS:
            raise GeometryError(f"output_size={output_size!r}: too large for an input of {times(extent)}")
    if prod((*x_shape[:-ndim], *out_extent)) > MAX_ELEMENTS:
        raise GeometryError(f"output_size={output_size!r}: more elements than memory has addresses")
    return extent, out_extent


def adaptive_counts(extent: int, outputs: int) -> list[int]:
    """The number of values in each window of adaptive pooling along one axis.

    Examples
    --------
    >>> adaptive_counts(10, 4)
    [3, 3, 3, 3]
    """
    return [stop - start for start, stop in adaptive_windows(extent, outputs)]


def adaptive_windows(extent: int, outputs: int) -> list[tuple[int, int]]:
    """Where each window of adaptive pooling along one axis begins, and where it ends.

    Examples
    --------
    >>> adaptive_windows(5, 3)
    [(0, 2), (1, 4), (3, 5)]
    """
    return [(at * extent // outputs, -(-(at + 1) * extent // outputs)) for at in range(outputs)]


def fractional_extents(
    x_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None,
    output_ratio: float | Sequence[float] | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The extents of window and output of fractional pooling of planes.

    Examples
    --------
    >>> fractional_extents((1, 8, 10, 12), 2, None, 0.5)
    ((2, 2), (5, 6))
    """
    extent = _checked_extents(x_shape, 2)
    kernel = integers("kernel_size", kernel_size, 2, 1)
    if (output_size is None) == (output_ratio is None):
        raise GeometryError(f"output_size={output_size!r}, output_ratio={output_ratio!r}: expected one of them")
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, Iterable) else (output_ratio,) * 2
        try:
            ratios = tuple(float(ratio) for ratio in islice(ratios, 3))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            ratios = ()
        if len(ratios) == 1:
            ratios *= 2
        if len(ratios) != 2 or any(not 0 < ratio < 1 for ratio in ratios):
            raise GeometryError(f"output_ratio={output_ratio!r}: expected a number between 0 and 1, or 2 of them")
        name, value = "output_ratio", output_ratio
        out_extent = tuple(int(i * ratio) for i, ratio in zip(extent, ratios, strict=True))
        if min(out_extent) < 1:
            raise GeometryError(f"output_ratio={output_ratio!r}: leaves no output of {times(extent)}")
    else:
        name, value = "output_size", output_size
        out_extent = integers("output_size", output_size, 2, 1)
    if any(o + k - 1 > i for o, k, i in zip(out_extent, kernel, extent, strict=True)):
        raise GeometryError(
            f"{name}={value!r}, kernel_size={kernel_size!r}: output + kernel - 1 is "
            f"{times(o + k - 1 for o, k in zip(out_extent, kernel, strict=True))}, larger than the input "
            f"{times(extent)}"
        )
    return kernel, out_extent


def unpooled_extents(
    x_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    output_size: Sequence[int] | None,
) -> tuple[int, ...]:
    """The extents of planes before max pooling: `output_size`, by default the smallest that fit.

    Examples
    --------
    >>> unpooled_extents((1, 8, 5, 6), 2, None, 0, None)
    (10, 12)
    """
    extent = _checked_extents(x_shape, 2)
    kernel = integers("kernel_size", kernel_size, 2, 1)
    steps = pool_strides(stride, kernel)
    pads = integers("padding", padding, 2, 0)
    least = tuple((i - 1) * s - 2 * p + k for i, s, p, k in zip(extent, steps, pads, kernel, strict=True))
    found = least
    if output_size is not None:
        sizes = output_size
        if isinstance(sizes, Sized) and len(sizes) == len(x_shape):
            sizes = tuple(sizes)[-2:]
        found = integers("output_size", sizes, 2, 1)
        if any(abs(size - low) >= step for size, low, step in zip(found, least, steps, strict=True)):
            raise GeometryError(
                f"output_size={output_size!r}: expected less than a stride ({times(steps)}) from {times(least)}"
            )
    if min(found) < 1 or prod((*x_shape[:-2], *found)) > MAX_ELEMENTS:
        raise GeometryError(
            f"the output would be {times(found)} (input {times(extent)}, kernel {times(kernel)}, "
            f"stride {times(steps)}, padding {times(pads)})"
        )
    return found
