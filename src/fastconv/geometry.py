"""All shape arithmetic: frozen problem descriptions, validated once, in Python integers.

The output extent along every axis is::

    (in + pad_begin + pad_end - dilation * (kernel - 1) - 1) // stride + 1

Names (and those of the literature): ``n`` batch (N), ``ic``/``oc`` input and output channels (C, K),
``g`` groups, ``id ih iw`` input (D, H, W), ``kd kh kw`` kernel (R, S), ``od oh ow`` output (P, Q).
Dilation is 1-based: 1 means dense.

A *descriptor* is the one-line name of a problem, e.g. ``n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1``:
every field is a key and an integer. ``s``, ``d`` and ``p`` (stride, dilation, padding) hold for all axes;
``sh sw``, ``dh dw`` and ``pt pb pl pr`` (top, bottom, left, right; ``pf pk`` for front and back)
for one. ``i`` and ``k`` abbreviate equal extents: ``i56 k3``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice, product
from math import gcd, prod
from operator import index
from typing import Any, NamedTuple, NoReturn, Self, TypeVar

from fastconv.errors import GeometryError

Padding = int | str | Sequence[int] | Sequence[Sequence[int]]

T = TypeVar("T")

# Entries per cache of problems: a plan takes up to 10 KB, and a program may keep coming up with new shapes.
REMEMBERED = 1024

AXES = "dhw"
PADS = (("pf", "pk"), ("pt", "pb"), ("pl", "pr"))

# Kernels index bytes with signed 64-bit integers, and the widest element (clongdouble) takes 32 bytes.
_MAX_ELEMENTS = sys.maxsize // 32


def output_extent(extent: int, padding: tuple[int, int], kernel: int, stride: int, dilation: int) -> int:
    """The number of kernel positions along one axis; zero or negative if the kernel does not fit.

    Examples
    --------
    >>> output_extent(227, (0, 0), 11, 4, 1)
    55
    """
    return (extent + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The (begin, end) padding per axis that keeps the extent at stride 1; if odd, the larger half goes to the end.

    Examples
    --------
    >>> same_padding((3, 4), (2, 1))
    ((2, 2), (1, 2))
    """
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _integers(name: str, value: Any, ndim: int, minimum: int) -> tuple[int, ...]:
    """`value` as one integer per axis; an int, or a sequence of one int, applies to all axes."""
    try:
        values = (index(value),) * ndim
    except TypeError:
        try:
            values = tuple(index(v) for v in islice(value, ndim + 1))
        except TypeError:
            raise GeometryError(f"{name}={value!r}: expected an int or a sequence of {ndim} ints") from None
    if len(values) == 1:
        values *= ndim
    if len(values) != ndim:
        raise GeometryError(f"{name}={value!r}: expected an int or {ndim} ints, one per axis")
    if min(values) < minimum:
        raise GeometryError(f"{name}={value!r}: expected every value to be at least {minimum}")
    return values


def _padding(
    padding: Padding, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """`padding` as (begin, end) per axis."""
    ndim = len(kernel)
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
        return tuple(_integers("padding", pair, 2, 0) for pair in padding)  # type: ignore[misc]
    return tuple((p, p) for p in _integers("padding", padding, ndim, 0))


def _pool_strides(stride: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a pooling window, by default (``None`` or empty) the kernel's extents."""
    if stride is None or (isinstance(stride, tuple | list) and not stride):
        return kernel
    return _integers("stride", stride, len(kernel), 1)


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


def _checked_output(
    owner: ConvGeometry | PoolGeometry, extents: Iterable[int], shapes: Iterable[tuple[int, ...]]
) -> tuple[int, ...]:
    """`extents`, after checking that the output is not empty and that every array can be addressed."""
    extents = tuple(extents)
    if min(extents) <= 0:
        raise GeometryError(
            f"the output would be {_times(extents)}: dilation * (kernel - 1) + 1 is "
            f"{_times(d * (k - 1) + 1 for k, d in zip(owner.kernel, owner.dilation, strict=True))}, larger than "
            f"the padded input {_times(i + sum(p) for i, p in zip(owner.extent, owner.padding, strict=True))} "
            f"(input {_times(owner.extent)}, kernel {_times(owner.kernel)}, stride {_times(owner.stride)}, "
            f"padding {owner.padding}, dilation {_times(owner.dilation)})"
        )
    reach = max(
        max(i + sum(p), d * max(k - 1, 1), s)
        for i, p, k, d, s in zip(owner.extent, owner.padding, owner.kernel, owner.dilation, owner.stride, strict=True)
    )
    for shape in (*shapes, (*owner.batch_and_channels, *extents), (reach,)):
        if prod(shape) > _MAX_ELEMENTS:
            raise GeometryError(
                f"an array of shape {shape} has more elements than memory has addresses "
                f"(input {_times(owner.extent)}, kernel {_times(owner.kernel)}, stride {_times(owner.stride)}, "
                f"padding {owner.padding}, dilation {_times(owner.dilation)})"
            )
    return extents


def _times(values: Iterable[int]) -> str:
    return "×".join(map(str, values))


class _Fields:
    """The fields of a descriptor, which are taken one by one until none is left."""

    def __init__(self, descriptor: str) -> None:
        self.descriptor = descriptor
        self.words: set[str] = set()
        self.fields: dict[str, int] = {}
        for token in descriptor.split():
            match = re.fullmatch(r"([a-z]+)(\d{0,19})", token)
            if match is None:
                self.fail(f"{token!r} is not a name and a number, such as ih56")
            if match[1] in self.fields or match[1] in self.words:
                self.fail(f"{match[1]!r} is repeated")
            if match[2]:
                self.fields[match[1]] = int(match[2])
            else:
                self.words.add(match[1])

    def fail(self, fault: str) -> NoReturn:
        raise GeometryError(f"descriptor {self.descriptor!r}: {fault}")

    def take(self, key: str, default: int | None = None) -> int:
        value = self.fields.pop(key, default)
        if value is None:
            self.fail(f"{key} is missing")
        return value

    def take_word(self, word: str) -> bool:
        present = word in self.words
        self.words.discard(word)
        return present

    def take_axes(self, key: str, axes: str, default: int | None = None) -> tuple[int, ...]:
        """The values of `key`, given for all axes, or per axis as `key` and the axis' letter."""
        common = self.fields.pop(key, default)
        return tuple(self.take(key + axis, common) for axis in axes)

    def take_window(self) -> dict[str, Any]:
        """Extents, kernel, stride, dilation and padding; ``i56 k3`` alone means two axes."""
        named = [a for a in (AXES, AXES[1:], AXES[2:]) if {f"i{a[0]}", f"k{a[0]}"} & self.fields.keys()]
        axes = named[0] if named else AXES[1:]
        ndim = len(axes)
        window: dict[str, Any] = {
            "extent": self.take_axes("i", axes),
            "kernel": _integers("k", self.take_axes("k", axes), ndim, 1),
            "stride": _integers("s", self.take_axes("s", axes, 1), ndim, 1),
            "dilation": _integers("d", self.take_axes("d", axes, 1), ndim, 1),
        }
        pad = self.fields.pop("p", 0)
        window["padding"] = tuple((self.take(begin, pad), self.take(end, pad)) for begin, end in PADS[-ndim:])
        return window

    def build(self, geometry: type[T], **arguments: Any) -> T:
        for rest in (*self.fields, *self.words):
            self.fail(f"unknown field {rest!r}")
        try:
            return geometry(**arguments)
        except GeometryError as error:
            self.fail(str(error))


def _format_axes(key: str, values: Sequence[int]) -> list[str]:
    """``s1`` where all axes agree, else ``sh1 sw2``."""
    if len(set(values)) == 1:
        return [f"{key}{values[0]}"]
    return _format_each(key, values)


def _format_each(key: str, values: Sequence[int]) -> list[str]:
    return [f"{key}{axis}{value}" for axis, value in zip(AXES[-len(values) :], values, strict=True)]


def _format_padding(padding: Sequence[tuple[int, int]]) -> list[str]:
    sides = list(chain.from_iterable(padding))
    if len(set(sides)) == 1:
        return [f"p{sides[0]}"]
    return [f"{key}{side}" for key, side in zip(chain.from_iterable(PADS[-len(padding) :]), sides, strict=True)]


class _Axes:
    """Accessors with the conventional names, one per axis.

    A 1-D problem has height 1: ``ih``, ``kh``, ``oh`` are 1, and so on. Each value is computed once, since strategies
    read about twenty of them in every call of a planned problem.
    """

    extent: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    out_extent: tuple[int, ...]

    ih = cached_property(lambda self: self.extent[-2] if self.ndim > 1 else 1)
    iw = cached_property(lambda self: self.extent[-1])
    kh = cached_property(lambda self: self.kernel[-2] if self.ndim > 1 else 1)
    kw = cached_property(lambda self: self.kernel[-1])
    oh = cached_property(lambda self: self.out_extent[-2] if self.ndim > 1 else 1)
    ow = cached_property(lambda self: self.out_extent[-1])
    sh = cached_property(lambda self: self.stride[-2] if self.ndim > 1 else 1)
    sw = cached_property(lambda self: self.stride[-1])
    dh = cached_property(lambda self: self.dilation[-2] if self.ndim > 1 else 1)
    dw = cached_property(lambda self: self.dilation[-1])
    pt = cached_property(lambda self: self.padding[-2][0] if self.ndim > 1 else 0)
    pb = cached_property(lambda self: self.padding[-2][1] if self.ndim > 1 else 0)
    pl = cached_property(lambda self: self.padding[-1][0])
    pr = cached_property(lambda self: self.padding[-1][1])
    ndim = cached_property(lambda self: len(self.extent))

    @cached_property
    def taps(self) -> int:
        """Kernel positions."""
        return prod(self.kernel)

    @cached_property
    def positions(self) -> int:
        """Output positions of one plane."""
        return prod(self.out_extent)


@dataclass(frozen=True)
class ConvGeometry(_Axes):
    """One convolution problem of 1, 2 or 3 spatial axes.

    Build it with `from_shapes` or `parse`; every instance is valid. Tuples hold one entry per axis;
    `padding` holds ``(begin, end)`` per axis.

    Examples
    --------
    >>> g = ConvGeometry.parse("n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1")
    >>> g.out_shape
    (1, 64, 56, 56)
    >>> str(g)
    'n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1'
    """

    n: int
    g: int
    ic: int
    oc: int
    extent: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    out_extent: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.g < 1:
            raise GeometryError(f"groups={self.g}: expected at least 1")
        if self.n < 0:
            raise GeometryError(f"n={self.n}: expected a batch of at least 0")
        if min(self.ic, self.oc, *self.extent, *self.kernel) < 1:
            raise GeometryError(
                f"input with {self.ic} channels of {_times(self.extent)} and weight with {self.oc} filters of "
                f"{_times(self.kernel)}: expected at least 1 of each (only the batch may be empty)"
            )
        for name, channels in (("input", self.ic), ("output", self.oc)):
            if channels % self.g != 0:
                raise GeometryError(f"groups={self.g}: does not divide {channels} {name} channels")
        extents = map(output_extent, self.extent, self.padding, self.kernel, self.stride, self.dilation)
        object.__setattr__(self, "out_extent", _checked_output(self, extents, (self.x_shape, self.weight_shape)))
        # Looked up several times in every call.
        object.__setattr__(
            self,
            "_hash",
            hash((self.n, self.g, self.weight_shape, self.extent, self.stride, self.dilation, self.padding)),
        )

    def __hash__(self) -> int:
        return self._hash

    @classmethod
    def from_shapes(
        cls,
        x_shape: Sequence[int],
        weight_shape: Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Self:
        """The geometry of ``conv(x, weight)`` for ``x (N, C, *extent)`` or ``(C, *extent)``."""
        ndim = len(weight_shape) - 2
        shapes = f"x of shape {tuple(x_shape)}, weight of shape {tuple(weight_shape)}"
        if not 1 <= ndim <= len(AXES):
            raise GeometryError(
                f"{shapes}: expected a weight of (oc, ic / groups, *kernel) with 1 to {len(AXES)} kernel axes"
            )
        if len(x_shape) not in (ndim + 1, ndim + 2):
            raise GeometryError(
                f"{shapes}: expected x of {ndim + 2} axes (batch, channels, *extent), or {ndim + 1} without batch"
            )
        if 0 in x_shape[-ndim - 1 :] or 0 in weight_shape:
            raise GeometryError(f"{shapes}: only the batch may be empty")
        (g,) = _integers("groups", groups, 1, 1)
        n, ic = (1, *x_shape)[-ndim - 2 : -ndim]
        oc = weight_shape[0]
        if ic != weight_shape[1] * g or oc % g != 0:
            raise GeometryError(
                f"{shapes}, groups={g}: the weight expects {weight_shape[1] * g} input channels (its axis 1 times "
                f"groups) and a multiple of {g} filters"
            )
        strides = _integers("stride", stride, ndim, 1)
        dilations = _integers("dilation", dilation, ndim, 1)
        kernel = tuple(weight_shape[2:])
        try:
            return cls(
                n=n,
                g=g,
                ic=ic,
                oc=oc,
                extent=tuple(x_shape[-ndim:]),
                kernel=kernel,
                stride=strides,
                dilation=dilations,
                padding=_padding(padding, kernel, strides, dilations),
            )
        except GeometryError as error:
            raise GeometryError(f"{shapes}: {error}") from None

    @classmethod
    def of_weight(
        cls,
        weight_shape: Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Self:
        """The problem of a weight without an image: one image, as large as the dilated kernel.

        Arguments that raise here would not fit any image.
        """
        ndim = len(weight_shape) - 2
        shape = f"weight of shape {tuple(weight_shape)}"
        if not 1 <= ndim <= len(AXES):
            raise GeometryError(f"{shape}: expected (oc, ic / groups, *kernel) with 1 to {len(AXES)} kernel axes")
        if 0 in weight_shape:
            raise GeometryError(f"{shape}: may not be empty")
        (g,) = _integers("groups", groups, 1, 1)
        strides = _integers("stride", stride, ndim, 1)
        dilations = _integers("dilation", dilation, ndim, 1)
        oc, channels, *kernel = weight_shape
        try:
            return cls(
                n=1,
                g=g,
                ic=channels * g,
                oc=oc,
                extent=tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)),
                kernel=tuple(kernel),
                stride=strides,
                dilation=dilations,
                padding=_padding(padding, kernel, strides, dilations),
            )
        except GeometryError as error:
            raise GeometryError(f"{shape}: {error}") from None

    @classmethod
    def of_transposed(
        cls,
        x_shape: Sequence[int],
        weight_shape: Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
    ) -> Self:
        """The convolution whose adjoint is ``conv_transpose(x, weight)``, ``weight (C, OC / groups, *kernel)``.

        `x` has the shape of its output, and the result that of its input. Its padding at the end is `padding` minus
        `output_padding`; that may be negative, which only an adjoint allows.
        """
        ndim = len(weight_shape) - 2
        shapes = f"x of shape {tuple(x_shape)}, weight of shape {tuple(weight_shape)}"
        if not 1 <= ndim <= len(AXES):
            raise GeometryError(
                f"{shapes}: expected a weight of (ic, oc / groups, *kernel) with 1 to {len(AXES)} kernel axes"
            )
        if len(x_shape) not in (ndim + 1, ndim + 2):
            raise GeometryError(
                f"{shapes}: expected x of {ndim + 2} axes (batch, channels, *extent), or {ndim + 1} without batch"
            )
        if 0 in x_shape[-ndim - 1 :] or 0 in weight_shape:
            raise GeometryError(f"{shapes}: only the batch may be empty")
        (g,) = _integers("groups", groups, 1, 1)
        n, channels = (1, *x_shape)[-ndim - 2 : -ndim]
        if channels != weight_shape[0] or channels % g != 0:
            raise GeometryError(
                f"{shapes}, groups={g}: the weight expects {weight_shape[0]} input channels (its axis 0), a multiple "
                "of groups"
            )
        strides, dilations = _integers("stride", stride, ndim, 1), _integers("dilation", dilation, ndim, 1)
        pads, more = _integers("padding", padding, ndim, 0), _integers("output_padding", output_padding, ndim, 0)
        if any(extra >= max(s, d) for extra, s, d in zip(more, strides, dilations, strict=True)):
            raise GeometryError(
                f"output_padding={output_padding!r}: expected less than stride or dilation along every axis"
            )
        kernel = tuple(weight_shape[2:])
        extent = tuple(
            (i - 1) * s - 2 * p + d * (k - 1) + extra + 1
            for i, k, s, d, p, extra in zip(x_shape[-ndim:], kernel, strides, dilations, pads, more, strict=True)
        )
        if min(extent) <= 0:
            raise GeometryError(
                f"{shapes}: the output would be {_times(extent)} (stride {_times(strides)}, padding {_times(pads)}, "
                f"output_padding {_times(more)}, dilation {_times(dilations)})"
            )
        try:
            return cls(
                n=n,
                g=g,
                ic=weight_shape[1] * g,
                oc=channels,
                extent=extent,
                kernel=kernel,
                stride=strides,
                dilation=dilations,
                padding=tuple((p, p - extra) for p, extra in zip(pads, more, strict=True)),
            )
        except GeometryError as error:
            raise GeometryError(f"{shapes}: {error}") from None

    @classmethod
    def of_windows(
        cls,
        x_shape: Sequence[int],
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
    ) -> Self:
        """The windows of ``x (N, C, H, W)`` or ``(C, H, W)``, as the depthwise problem that visits each of them."""
        shape = f"x of shape {tuple(x_shape)}"
        if len(x_shape) not in (3, 4):
            raise GeometryError(f"{shape}: expected 4 axes (batch, channels, height, width), or 3 without batch")
        kernel = _integers("kernel_size", kernel_size, 2, 1)
        strides = _integers("stride", stride, 2, 1)
        dilations = _integers("dilation", dilation, 2, 1)
        n, c = (1, *x_shape)[-4:-2]
        try:
            geometry = cls(
                n=n,
                g=max(1, c),
                ic=c,
                oc=c,
                extent=tuple(x_shape[-2:]),
                kernel=kernel,
                stride=strides,
                dilation=dilations,
                padding=_padding(padding, kernel, strides, dilations),
            )
            if prod(geometry.columns_shape) > _MAX_ELEMENTS:
                raise GeometryError(
                    f"columns of shape {geometry.columns_shape} have more elements than memory has addresses"
                )
        except GeometryError as error:
            raise GeometryError(f"{shape}: {error}") from None
        return geometry

    @classmethod
    def of_columns(
        cls,
        columns_shape: Sequence[int],
        output_size: int | Sequence[int],
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
    ) -> Self:
        """The windows that an im2col matrix ``(N, C * KH * KW, L)`` or ``(C * KH * KW, L)`` holds."""
        shape = f"columns of shape {tuple(columns_shape)}"
        if len(columns_shape) not in (2, 3):
            raise GeometryError(f"{shape}: expected (N, C * KH * KW, L) or (C * KH * KW, L)")
        extent = _integers("output_size", output_size, 2, 1)
        kernel = _integers("kernel_size", kernel_size, 2, 1)
        n, rows, _ = (1, *columns_shape)[-3:]
        if rows <= 0 or rows % prod(kernel) != 0:
            raise GeometryError(
                f"{shape}: expected a multiple of the {prod(kernel)} taps of kernel {_times(kernel)} as rows, "
                f"got {rows}"
            )
        geometry = cls.of_windows(
            (n, rows // prod(kernel), *extent), kernel, stride=stride, padding=padding, dilation=dilation
        )
        expected = geometry.columns_shape[-len(columns_shape) :]
        if expected != tuple(columns_shape):
            raise GeometryError(
                f"{shape}: expected {expected}, for {_times(geometry.out_extent)} windows of {_times(extent)} pixels"
            )
        return geometry

    @classmethod
    def parse(cls, descriptor: str) -> Self:
        """Read a descriptor; the inverse of `str`."""
        fields = _Fields(descriptor)
        window = fields.take_window()
        return fields.build(
            cls,
            n=fields.take("n", 1),
            g=fields.take("g", 1),
            ic=fields.take("ic"),
            oc=fields.take("oc"),
            **window,
        )

    def __str__(self) -> str:
        groups = [f"g{self.g}"] if self.g > 1 else []
        dilation = _format_axes("d", self.dilation) if set(self.dilation) != {1} else []
        return " ".join(
            [
                f"n{self.n}",
                *groups,
                f"ic{self.ic}",
                f"oc{self.oc}",
                *_format_each("i", self.extent),
                *_format_each("k", self.kernel),
                *_format_axes("s", self.stride),
                *dilation,
                *_format_padding(self.padding),
            ]
        )

    def as_2d(self) -> ConvGeometry:
        """A 1-D problem as the 2-D one of height 1."""
        if self.ndim != 1:
            return self
        return ConvGeometry(
            n=self.n,
            g=self.g,
            ic=self.ic,
            oc=self.oc,
            extent=(1, *self.extent),
            kernel=(1, *self.kernel),
            stride=(1, *self.stride),
            dilation=(1, *self.dilation),
            padding=((0, 0), *self.padding),
        )

    def one_depth(self) -> ConvGeometry:
        """One output depth of a 3-D problem as a 2-D problem, with one input channel per channel and depth tap."""
        return replace(
            self,
            ic=self.ic * self.kernel[0],
            extent=self.extent[1:],
            kernel=self.kernel[1:],
            stride=self.stride[1:],
            dilation=self.dilation[1:],
            padding=self.padding[1:],
        )

    def depths(self, z: int) -> tuple[slice, slice]:
        """The depth taps of a 3-D problem that lie inside the input at output depth `z`, and the depths they read."""
        step, first = self.dilation[0], z * self.stride[0] - self.padding[0][0]
        begin = min(self.kernel[0], max(0, -(first // step)))
        end = max(begin, min(self.kernel[0], -(-(self.extent[0] - first) // step)))
        if begin == end:
            return slice(begin, end), slice(0, 0)
        return slice(begin, end), slice(first + begin * step, first + (end - 1) * step + 1, step)

    def blind_outputs(self, axis: int) -> list[int]:
        """The outputs along an axis that see nothing but padding: past the image, or between its taps.

        Examples
        --------
        >>> ConvGeometry.parse("ic1 oc1 i2 k3 p4").blind_outputs(0)
        [0, 1, 6, 7]
        """
        extent, k, stride, dilation = self.extent[axis], self.kernel[axis], self.stride[axis], self.dilation[axis]
        begin, end = self.padding[axis]
        if max(begin, end) <= dilation * (k - 1) and dilation <= extent:
            return []  # a window over an edge has a tap within a dilation of it

        def blind(output: int) -> bool:
            first = output * stride - begin
            tap = max(0, -(first // dilation))  # the first tap that is not before the image
            return tap >= k or first + tap * dilation >= extent

        return [output for output in range(self.out_extent[axis]) if blind(output)]

    @property
    def batch_and_channels(self) -> tuple[int, int]:
        """The leading extents of the output."""
        return self.n, self.oc

    @cached_property
    def x_shape(self) -> tuple[int, ...]:
        return (self.n, self.ic, *self.extent)

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.oc, self.ic // self.g, *self.kernel)

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        return (self.n, self.oc, *self.out_extent)

    def adjoint(self) -> tuple[Phase, ...]:
        """The adjoint, which maps outputs to inputs, as convolutions of stride 1, one per phase of the stride.

        Inputs that belong to no phase are zero: no window sees them.

        Examples
        --------
        >>> [str(phase.geometry) for phase in ConvGeometry.parse("ic8 oc4 iw9 kw3 s2 p1").adjoint()]
        ['n1 ic4 oc8 iw5 kw2 s1 p0', 'n1 ic4 oc8 iw5 kw1 s1 p0']
        """
        sides = (
            (begin, *rest)
            for (begin, _), *rest in zip(
                self.padding, self.extent, self.out_extent, self.kernel, self.stride, self.dilation, strict=True
            )
        )
        axes = [list(_axis_phases(*side)) for side in sides]
        return tuple(self._phase(*zip(*phase, strict=True)) for phase in product(*axes))

    def _phase(self, extent: Any, kernel: Any, dilation: Any, padding: Any, taps: Any, seen: Any, target: Any) -> Phase:
        geometry = ConvGeometry(
            n=self.n,
            g=self.g,
            ic=self.oc,
            oc=self.ic,
            extent=extent,
            kernel=kernel,
            stride=(1,) * self.ndim,
            dilation=dilation,
            padding=padding,
        )
        return Phase(geometry, taps, seen, target)

    @property
    def columns_shape(self) -> tuple[int, int, int]:
        """Shape of a batch's im2col matrices: one row per channel and tap, one column per output position."""
        return self.n, self.ic * self.taps, self.positions

    @property
    def reduction(self) -> int:
        """Number of products summed for one output, the K of its GEMM."""
        return self.ic // self.g * self.taps

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct algorithm."""
        return 2 * self.n * self.oc * self.positions * self.reduction


class Phase(NamedTuple):
    """One part of a convolution's adjoint: inputs that are a stride apart, computed by a convolution of the outputs.

    Slices hold one entry per axis.
    """

    geometry: ConvGeometry
    taps: tuple[slice, ...]
    """The taps of the kernel that reach these inputs, reversed."""
    seen: tuple[slice, ...]
    """The outputs that read these inputs."""
    target: tuple[slice, ...]
    """These inputs."""


def _axis_phases(
    begin: int, extent: int, outputs: int, kernel: int, stride: int, dilation: int
) -> Iterator[tuple[int, int, int, tuple[int, int], slice, slice, slice]]:
    """The phases along one axis that any tap reaches: extent, kernel, dilation, padding, taps, seen, target.

    Tap i of output r reads input ``y = r * stride + i * dilation - begin``. Taps of the same phase
    ``(y + begin) % stride`` are `step` apart, and from one to the next r changes by `apart`.
    """
    step, apart = stride // gcd(stride, dilation), dilation // gcd(stride, dilation)
    for tap in range(min(kernel, step)):
        count = -(-(kernel - tap) // step)
        first = (tap * dilation - begin) % stride
        inputs = -(-(extent - first) // stride)
        before = (count - 1) * apart - (first + begin - tap * dilation) // stride
        after = inputs - outputs + (count - 1) * apart - before
        # Where padding would be negative, outputs that only read other inputs are cut off.
        seen = slice(max(0, -before), outputs + min(0, after))
        if inputs > 0 and seen.start < seen.stop:
            yield (
                seen.stop - seen.start,
                count,
                apart if count > 1 else 1,
                (max(0, before), max(0, after)),
                slice(tap + (count - 1) * step, None, -step),
                seen,
                slice(first, None, stride),
            )


@dataclass(frozen=True)
class PoolGeometry(_Axes):
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
                f"input with {self.c} channels of {_times(self.extent)}: expected at least 1 of each "
                "(only the batch may be empty)"
            )
        for (begin, end), k in zip(self.padding, self.kernel, strict=True):
            if begin != end or begin > k // 2:
                raise GeometryError(
                    f"padding={self.padding}: expected equal sides, at most half the kernel {_times(self.kernel)}"
                )
        extents = map(self._windows, self.extent, self.padding, self.kernel, self.stride, self.dilation)
        object.__setattr__(self, "out_extent", _checked_output(self, extents, (self.x_shape,)))

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
        kernel = _integers("kernel_size", kernel_size, ndim, 1)
        n, c = (1, *x_shape)[-ndim - 2 : -ndim]
        try:
            return cls(
                n=n,
                c=c,
                extent=tuple(x_shape[-ndim:]),
                kernel=kernel,
                stride=_pool_strides(stride, kernel),
                dilation=_integers("dilation", dilation, ndim, 1),
                padding=tuple((p, p) for p in _integers("padding", padding, ndim, 0)),
                ceil_mode=bool(ceil_mode),
            )
        except GeometryError as error:
            raise GeometryError(f"x of shape {tuple(x_shape)}: {error}") from None

    @classmethod
    def parse(cls, descriptor: str) -> Self:
        """Read a descriptor; the inverse of `str`. The word ``ceil`` sets `ceil_mode`."""
        fields = _Fields(descriptor)
        ceil_mode = fields.take_word("ceil")
        window = fields.take_window()
        return fields.build(cls, n=fields.take("n", 1), c=fields.take("c"), ceil_mode=ceil_mode, **window)

    def __str__(self) -> str:
        dilation = _format_axes("d", self.dilation) if set(self.dilation) != {1} else []
        return " ".join(
            [f"n{self.n}", f"c{self.c}"]
            + _format_each("i", self.extent)
            + _format_each("k", self.kernel)
            + _format_axes("s", self.stride)
            + dilation
            + _format_padding(self.padding)
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
        out_extent = _integers("output_size", given, ndim, 1)
    except GeometryError:
        raise GeometryError(f"output_size={output_size!r}: expected None or ints of at least 1") from None
    for i, o in zip(extent, out_extent, strict=True):
        if i * o > _MAX_ELEMENTS:
            raise GeometryError(f"output_size={output_size!r}: too large for an input of {_times(extent)}")
    if prod((*x_shape[:-ndim], *out_extent)) > _MAX_ELEMENTS:
        raise GeometryError(f"output_size={output_size!r}: more elements than memory has addresses")
    return extent, out_extent


def adaptive_counts(extent: int, outputs: int) -> list[int]:
    """The number of values in each window of adaptive pooling along one axis.

    Examples
    --------
    >>> adaptive_counts(10, 4)
    [3, 3, 3, 3]
    """
    return [-(-(at + 1) * extent // outputs) - at * extent // outputs for at in range(outputs)]


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
    kernel = _integers("kernel_size", kernel_size, 2, 1)
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
            raise GeometryError(f"output_ratio={output_ratio!r}: leaves no output of {_times(extent)}")
    else:
        name, value = "output_size", output_size
        out_extent = _integers("output_size", output_size, 2, 1)
    if any(o + k - 1 > i for o, k, i in zip(out_extent, kernel, extent, strict=True)):
        raise GeometryError(
            f"{name}={value!r}, kernel_size={kernel_size!r}: output + kernel - 1 is "
            f"{_times(o + k - 1 for o, k in zip(out_extent, kernel, strict=True))}, larger than the input "
            f"{_times(extent)}"
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
    kernel = _integers("kernel_size", kernel_size, 2, 1)
    steps = _pool_strides(stride, kernel)
    pads = _integers("padding", padding, 2, 0)
    least = tuple((i - 1) * s - 2 * p + k for i, s, p, k in zip(extent, steps, pads, kernel, strict=True))
    found = least
    if output_size is not None:
        sizes = output_size
        if isinstance(sizes, Sized) and len(sizes) == len(x_shape):
            sizes = tuple(sizes)[-2:]
        found = _integers("output_size", sizes, 2, 1)
        if any(abs(size - low) >= step for size, low, step in zip(found, least, steps, strict=True)):
            raise GeometryError(
                f"output_size={output_size!r}: expected less than a stride ({_times(steps)}) from {_times(least)}"
            )
    if min(found) < 1 or prod((*x_shape[:-2], *found)) > _MAX_ELEMENTS:
        raise GeometryError(
            f"the output would be {_times(found)} (input {_times(extent)}, kernel {_times(kernel)}, "
            f"stride {_times(steps)}, padding {_times(pads)})"
        )
    return found
