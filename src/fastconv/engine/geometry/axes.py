"""Arithmetic of axes: extents, padding and strides, as validated Python integers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence, Sized
from itertools import islice
from math import prod
from operator import index
from typing import Any

from fastconv.errors import GeometryError

Padding = int | str | Sequence[int] | Sequence[Sequence[int]]

# Entries per cache of problems: a plan takes up to 10 KB, and a program may keep coming up with new shapes.
REMEMBERED = 1024

AXES = "dhw"
PADS = (("pf", "pk"), ("pt", "pb"), ("pl", "pr"))

# What lies past the edges of an image, by the names of boundary.py; "constant" is one other than zero.
BOUNDARIES = ("zeros", "constant", "nearest", "reflect", "mirror", "wrap")

# Kernels index bytes with signed 64-bit integers, and the widest element (clongdouble) takes 32 bytes.
MAX_ELEMENTS = sys.maxsize // 32


def output_extent(extent: int, padding: tuple[int, int], kernel: int, stride: int, dilation: int) -> int:
    """The number of kernel positions along one axis; zero or negative if the kernel does not fit.

    Examples
    --------
    >>> output_extent(227, (0, 0), 11, 4, 1)
    55
    """
    return (extent + padding[0] + padding[1] - dilation * (kernel - 1) - 1) // stride + 1


def spread_starts(extent: int, window: int, count: int) -> tuple[int, ...]:
    """The first pixels of `count` windows that spread evenly over an axis; a single one lies in the middle.

    Examples
    --------
    >>> spread_starts(256, 224, 5), spread_starts(256, 224, 1)
    ((0, 8, 16, 24, 32), (16,))
    """
    if window > extent:
        raise GeometryError(f"a window of {window}: expected at most {extent}, the extent of the image")
    room = extent - window
    return tuple(place * room // (count - 1) for place in range(count)) if count > 1 else (room // 2,)


def strided_same_padding(
    extent: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    more_after: bool = True,
) -> tuple[tuple[int, int], ...]:
    """The padding with which there are as many outputs as steps fit into the image, by ONNX's and TensorFlow's rule.

    Of an odd number of pixels, one more lies after the image, or before it.

    Examples
    --------
    >>> strided_same_padding((7, 8), (3, 3), (2, 2), (1, 1))
    ((1, 1), (0, 1))
    """
    pairs = []
    for n, k, s, d in zip(extent, kernel, stride, dilation, strict=True):
        total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        less = total // 2
        pairs.append((less, total - less) if more_after else (total - less, less))
    return tuple(pairs)


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The (begin, end) padding per axis that keeps the extent at stride 1; if odd, the larger half goes to the end.

    Examples
    --------
    >>> same_padding((3, 4), (2, 1))
    ((2, 2), (1, 2))
    """
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def integers(name: str, value: Any, ndim: int, minimum: int) -> tuple[int, ...]:
    """`value` as one integer per axis; an int, or a sequence of one int, applies to all axes."""
    values = (value,) if type(value) is int else _some_integers(name, value, ndim)
    if len(values) == 1:
        values *= ndim
    if len(values) != ndim:
        raise GeometryError(f"{name}={value!r}: expected an int or {ndim} ints, one per axis")
    if min(values) < minimum:
        raise GeometryError(f"{name}={value!r}: expected every value to be at least {minimum}")
    return values


def _some_integers(name: str, value: Any, ndim: int) -> tuple[int, ...]:
    """The integers in a sequence, of which no more than one too many are read, or an integer of another type."""
    try:
        return tuple([index(v) for v in islice(value, ndim + 1)])
    except TypeError:
        try:
            return (index(value),)
        except TypeError:
            raise GeometryError(f"{name}={value!r}: expected an int or a sequence of {ndim} ints") from None


def padding_pairs(
    padding: Padding, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """`padding` as (begin, end) per axis."""
    ndim = len(kernel)
    if type(padding) is int and padding >= 0:  # the usual case, for which there is nothing to check
        return ((padding, padding),) * ndim
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * ndim
        if padding != "same":
            raise GeometryError(f"padding={padding!r}: expected 'same', 'valid', ints or (begin, end) pairs")
        if max(stride) > 1:
            raise GeometryError(f"padding='same': needs stride 1, got stride={tuple(stride)}")
        return same_padding(kernel, dilation)
    if isinstance(padding, Sequence) and any(isinstance(side, Sequence) for side in padding):
        if len(padding) != ndim or not all(isinstance(side, Sequence) and len(side) == 2 for side in padding):
            raise GeometryError(f"padding={padding!r}: expected {ndim} (begin, end) pairs, one per axis")
        return tuple(integers("padding", pair, 2, 0) for pair in padding)  # type: ignore[misc]
    return tuple((p, p) for p in integers("padding", padding, ndim, 0))


def exact(value: Any) -> Any:
    """`value` as ints, strings and short tuples of them, to be the key of a cache: a dictionary would take 2.0 for 2.

    Raises ``TypeError`` for anything else, which validation then names in its own error.
    """
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is tuple and len(value) <= len(AXES):
        return tuple([item if type(item) is int else exact(item) for item in value])  # the common case, without errors
    try:
        return index(value)
    except TypeError:
        if isinstance(value, Sized) and len(value) <= len(AXES):
            return tuple(map(exact, value))  # type: ignore[call-overload]
        raise


def checked_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """`shape` as a tuple of Python's ints, which cannot overflow."""
    try:
        return tuple(map(index, shape))
    except TypeError:
        raise GeometryError(f"{name}={shape!r}: expected a sequence of ints") from None


def checked_bytes(name: str, value: int) -> int:
    """`value` as a number of bytes, a Python int."""
    try:
        count = index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise ValueError(f"{name}={value!r}: expected a number of bytes, an int of at least 0")
    return count


def mode_padding(mode: str, kernel: Sequence[int], flipped: bool) -> tuple[tuple[int, int], ...]:
    """The (begin, end) padding per axis for SciPy's output modes: full, same or valid.

    The centre of an even kernel is the tap before its middle, ``(k - 1) // 2``, in the order of the caller:
    counted from the other end where the kernel has been `flipped`. An empty kernel has negative padding.

    Examples
    --------
    >>> mode_padding("same", (3, 4), flipped=False), mode_padding("same", (3, 4), flipped=True)
    (((1, 1), (1, 2)), ((1, 1), (2, 1)))
    """
    if mode == "full":
        return tuple((k - 1, k - 1) for k in kernel)
    if mode == "valid":
        return ((0, 0),) * len(kernel)
    if mode != "same":
        raise GeometryError(f"mode={mode!r}: expected 'full', 'same' or 'valid'")
    return tuple((k // 2, (k - 1) // 2) if flipped else ((k - 1) // 2, k // 2) for k in kernel)


def checked_output(owner: Axes, extents: Iterable[int], shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """`extents`, after checking that the output is not empty and that every array can be addressed."""
    extents = tuple(extents)
    if min(extents) <= 0:
        raise GeometryError(
            f"the output would be {times(extents)}: dilation * (kernel - 1) + 1 is "
            f"{times(d * (k - 1) + 1 for k, d in zip(owner.kernel, owner.dilation, strict=True))}, larger than "
            f"the padded input {times(i + sum(p) for i, p in zip(owner.extent, owner.padding, strict=True))} "
            f"(input {times(owner.extent)}, kernel {times(owner.kernel)}, stride {times(owner.stride)}, "
            f"padding {owner.padding}, dilation {times(owner.dilation)})"
        )
    reach = 0
    for i, (begin, end), k, d, s in zip(
        owner.extent, owner.padding, owner.kernel, owner.dilation, owner.stride, strict=True
    ):
        reach = max(reach, i + begin + end, d * max(k - 1, 1), s)
    for shape in (*shapes, (*owner.batch_and_channels, *extents), (reach,)):
        if prod(shape) > MAX_ELEMENTS:
            raise GeometryError(
                f"an array of shape {shape} has more elements than memory has addresses "
                f"(input {times(owner.extent)}, kernel {times(owner.kernel)}, stride {times(owner.stride)}, "
                f"padding {owner.padding}, dilation {times(owner.dilation)})"
            )
    return extents


def times(values: Iterable[int]) -> str:
    return "×".join(map(str, values))


class Axes:
    """Accessors with the conventional names, one per axis.

    A 1-D problem has height 1: ``ih``, ``kh``, ``oh`` are 1, and so on. All are set when a problem is made, since
    planning it reads most of them, and each call of a planned problem about twenty.
    """

    extent: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    out_extent: tuple[int, ...]

    ih: int
    iw: int
    kh: int
    kw: int
    oh: int
    ow: int
    sh: int
    sw: int
    dh: int
    dw: int
    pt: int
    pb: int
    pl: int
    pr: int
    ndim: int
    taps: int
    """Kernel positions."""
    positions: int
    """Output positions of one plane."""

    @property
    def batch_and_channels(self) -> tuple[int, int]:
        """The leading extents of the output."""
        raise NotImplementedError

    def _complete(self, extents: Iterable[int], shapes: Iterable[tuple[int, ...]]) -> None:
        """Set `out_extent` to `extents`, once these and the arrays of these `shapes` are checked, and the accessors.

        Only `__post_init__` calls it: instances do not change.
        """
        out_extent = checked_output(self, extents, shapes)
        ndim = len(out_extent)
        ih, kh, oh, sh, dh, pt, pb = 1, 1, 1, 1, 1, 0, 0
        if ndim > 1:
            ih, kh, oh = self.extent[-2], self.kernel[-2], out_extent[-2]
            sh, dh = self.stride[-2], self.dilation[-2]
            pt, pb = self.padding[-2]
        pl, pr = self.padding[-1]
        self.__dict__.update(
            out_extent=out_extent,
            ih=ih,
            iw=self.extent[-1],
            kh=kh,
            kw=self.kernel[-1],
            oh=oh,
            ow=out_extent[-1],
            sh=sh,
            sw=self.stride[-1],
            dh=dh,
            dw=self.dilation[-1],
            pt=pt,
            pb=pb,
            pl=pl,
            pr=pr,
            ndim=ndim,
            taps=prod(self.kernel),
            positions=prod(out_extent),
        )


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape (N, H, W, C) or (H, W, C) in the order (N, C, H, W) or (C, H, W); others, as they are, raise later."""
    if len(shape) not in (3, 4):
        return shape
    *batch, height, width, channels = shape
    return (*batch, channels, height, width)
