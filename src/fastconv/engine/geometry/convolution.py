"""The geometry of a convolution, and the phases of its adjoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple, Self

from fastconv.engine.geometry.axes import (
    AXES,
    BOUNDARIES,
    MAX_ELEMENTS,
    Axes,
    Padding,
    integers,
    output_extent,
    padding_pairs,
    times,
)
from fastconv.engine.geometry.descriptors import Fields, format_axes, format_each, format_padding
from fastconv.errors import GeometryError


@dataclass(frozen=True)
class ConvGeometry(Axes):
    """One convolution problem of 1, 2 or 3 spatial axes.

    Build it with `from_shapes` or `parse`; every instance is valid. Tuples hold one entry per axis; `padding` holds
    ``(begin, end)`` per axis, and `boundary` says what lies there (boundary.py). With `channels_last`, images and the
    output lie in memory as (N, H, W, C); shapes are in the order (N, C, H, W) nevertheless.

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
    channels_last: bool = False
    boundary: str = "zeros"
    out_extent: tuple[int, ...] = field(init=False, repr=False, compare=False)
    x_shape: tuple[int, ...] = field(init=False, repr=False, compare=False)
    weight_shape: tuple[int, ...] = field(init=False, repr=False, compare=False)
    out_shape: tuple[int, ...] = field(init=False, repr=False, compare=False)
    reduction: int = field(init=False, repr=False, compare=False)
    """Number of products summed for one output, the K of its GEMM."""
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.g < 1:
            raise GeometryError(f"groups={self.g}: expected at least 1")
        if self.n < 0:
            raise GeometryError(f"n={self.n}: expected a batch of at least 0")
        if min(self.ic, self.oc, *self.extent, *self.kernel) < 1:
            raise GeometryError(
                f"input with {self.ic} channels of {times(self.extent)} and weight with {self.oc} filters of "
                f"{times(self.kernel)}: expected at least 1 of each (only the batch may be empty)"
            )
        for name, channels in (("input", self.ic), ("output", self.oc)):
            if channels % self.g != 0:
                raise GeometryError(f"groups={self.g}: does not divide {channels} {name} channels")
        if self.boundary not in BOUNDARIES:
            raise GeometryError(f"boundary={self.boundary!r}: expected one of {', '.join(BOUNDARIES)}")
        if not any(map(any, self.padding)):
            object.__setattr__(self, "boundary", "zeros")  # nothing past the edges is seen
        extents = map(output_extent, self.extent, self.padding, self.kernel, self.stride, self.dilation)
        x_shape, weight_shape = (self.n, self.ic, *self.extent), (self.oc, self.ic // self.g, *self.kernel)
        self._complete(extents, (x_shape, weight_shape))
        self.__dict__.update(
            x_shape=x_shape,
            weight_shape=weight_shape,
            out_shape=(self.n, self.oc, *self.out_extent),
            reduction=weight_shape[1] * self.taps,
            # Looked up several times in every call.
            _hash=hash(
                (
                    *(self.n, self.g, weight_shape, self.extent, self.stride, self.dilation, self.padding),
                    self.boundary,
                    self.channels_last,
                )
            ),
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
        channels_last: bool = False,
        padding_mode: str = "zeros",
    ) -> Self:
        """The geometry of ``conv(x, weight)`` for ``x (N, C, *extent)`` or ``(C, *extent)``."""
        boundary = _boundary_of(padding_mode)
        ndim = len(weight_shape) - 2
        if not 1 <= ndim <= len(AXES):
            raise GeometryError(
                f"{_named(x_shape, weight_shape)}: expected a weight of (oc, ic / groups, *kernel) with 1 to "
                f"{len(AXES)} kernel axes"
            )
        if len(x_shape) not in (ndim + 1, ndim + 2):
            raise GeometryError(
                f"{_named(x_shape, weight_shape)}: expected x of {ndim + 2} axes (batch, channels, *extent), "
                f"or {ndim + 1} without batch"
            )
        if 0 in x_shape[-ndim - 1 :] or 0 in weight_shape:
            raise GeometryError(f"{_named(x_shape, weight_shape)}: only the batch may be empty")
        (g,) = integers("groups", groups, 1, 1)
        n, ic = (1, *x_shape)[-ndim - 2 : -ndim]
        oc = weight_shape[0]
        if ic != weight_shape[1] * g or oc % g != 0:
            raise GeometryError(
                f"{_named(x_shape, weight_shape)}, groups={g}: the weight expects {weight_shape[1] * g} input channels "
                f"(its axis 1 times groups) and a multiple of {g} filters"
            )
        strides = integers("stride", stride, ndim, 1)
        dilations = integers("dilation", dilation, ndim, 1)
        kernel = tuple(weight_shape[2:])
        extent = tuple(x_shape[-ndim:])
        try:
            pads = padding_pairs(padding, kernel, strides, dilations)
            _check_reach(padding_mode, pads, extent)
            return cls(
                n=n,
                g=g,
                ic=ic,
                oc=oc,
                extent=extent,
                kernel=kernel,
                stride=strides,
                dilation=dilations,
                padding=pads,
                channels_last=channels_last,
                boundary=boundary,
            )
        except GeometryError as error:
            raise GeometryError(f"{_named(x_shape, weight_shape)}: {error}") from None

    @classmethod
    def of_weight(
        cls,
        weight_shape: Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
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
        (g,) = integers("groups", groups, 1, 1)
        strides = integers("stride", stride, ndim, 1)
        dilations = integers("dilation", dilation, ndim, 1)
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
                padding=padding_pairs(padding, kernel, strides, dilations),
                boundary=_boundary_of(padding_mode),
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
        if not 1 <= ndim <= len(AXES):
            raise GeometryError(
                f"{_named(x_shape, weight_shape)}: expected a weight of (ic, oc / groups, *kernel) with 1 to "
                f"{len(AXES)} kernel axes"
            )
        if len(x_shape) not in (ndim + 1, ndim + 2):
            raise GeometryError(
                f"{_named(x_shape, weight_shape)}: expected x of {ndim + 2} axes (batch, channels, *extent), "
                f"or {ndim + 1} without batch"
            )
        if 0 in x_shape[-ndim - 1 :] or 0 in weight_shape:
            raise GeometryError(f"{_named(x_shape, weight_shape)}: only the batch may be empty")
        (g,) = integers("groups", groups, 1, 1)
        n, channels = (1, *x_shape)[-ndim - 2 : -ndim]
        if channels != weight_shape[0] or channels % g != 0:
            raise GeometryError(
                f"{_named(x_shape, weight_shape)}, groups={g}: the weight expects {weight_shape[0]} input channels "
                "(its axis 0), a multiple of groups"
            )
        strides, dilations = integers("stride", stride, ndim, 1), integers("dilation", dilation, ndim, 1)
        pads, more = integers("padding", padding, ndim, 0), integers("output_padding", output_padding, ndim, 0)
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
                f"{_named(x_shape, weight_shape)}: the output would be {times(extent)} (stride {times(strides)}, "
                f"padding {times(pads)}, output_padding {times(more)}, dilation {times(dilations)})"
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
            raise GeometryError(f"{_named(x_shape, weight_shape)}: {error}") from None

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
        kernel = integers("kernel_size", kernel_size, 2, 1)
        strides = integers("stride", stride, 2, 1)
        dilations = integers("dilation", dilation, 2, 1)
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
                padding=padding_pairs(padding, kernel, strides, dilations),
            )
            if prod(geometry.columns_shape) > MAX_ELEMENTS:
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
        extent = integers("output_size", output_size, 2, 1)
        kernel = integers("kernel_size", kernel_size, 2, 1)
        n, rows, _ = (1, *columns_shape)[-3:]
        if rows <= 0 or rows % prod(kernel) != 0:
            raise GeometryError(
                f"{shape}: expected a multiple of the {prod(kernel)} taps of kernel {times(kernel)} as rows, got {rows}"
            )
        geometry = cls.of_windows(
            (n, rows // prod(kernel), *extent), kernel, stride=stride, padding=padding, dilation=dilation
        )
        expected = geometry.columns_shape[-len(columns_shape) :]
        if expected != tuple(columns_shape):
            raise GeometryError(
                f"{shape}: expected {expected}, for {times(geometry.out_extent)} windows of {times(extent)} pixels"
            )
        return geometry

    @classmethod
    def parse(cls, descriptor: str, continues: bool = True) -> Self:
        """Read a descriptor; the inverse of `str`. A word names the boundary, if images may be continued."""
        fields = Fields(descriptor)
        window = fields.take_window()
        return fields.build(
            cls,
            n=fields.take("n", 1),
            g=fields.take("g", 1),
            ic=fields.take("ic"),
            oc=fields.take("oc"),
            boundary=fields.take_boundary() if continues else "zeros",
            channels_last=fields.take_word("nhwc"),
            **window,
        )

    def __str__(self) -> str:
        groups = [f"g{self.g}"] if self.g > 1 else []
        dilation = format_axes("d", self.dilation) if set(self.dilation) != {1} else []
        return " ".join(
            [
                f"n{self.n}",
                *groups,
                f"ic{self.ic}",
                f"oc{self.oc}",
                *format_each("i", self.extent),
                *format_each("k", self.kernel),
                *format_axes("s", self.stride),
                *dilation,
                *format_padding(self.padding),
                *([self.boundary] if self.boundary != "zeros" else []),
                *(["nhwc"] if self.channels_last else []),
            ]
        )

    @cached_property
    def in_planes(self) -> ConvGeometry:
        """The same problem for images and an output of planes."""
        return replace(self, channels_last=False)

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
            boundary=self.boundary,
        )

    @cached_property
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

    @cached_property
    def flattened(self) -> ConvGeometry | None:
        """A 3-D problem as a 2-D one, if two neighbouring axes are read position by position and so can be one axis.

        Examples
        --------
        >>> str(ConvGeometry.parse("ic2 oc3 id4 ih5 iw6 kd3 kh1 kw1 pf1 pk1").flattened)
        'n1 ic2 oc3 ih4 iw30 kh3 kw1 s1 pt1 pb1 pl0 pr0'
        """
        plain = [
            k == s == 1 and not any(pads) for k, s, pads in zip(self.kernel, self.stride, self.padding, strict=True)
        ]
        first = next((axis for axis in (1, 0) if self.ndim == 3 and plain[axis] and plain[axis + 1]), None)
        if first is None:
            return None

        def pair(values: tuple[Any, ...], joint: Any) -> tuple[Any, ...]:
            return (values[0], joint) if first else (joint, values[2])

        return replace(
            self,
            extent=pair(self.extent, self.extent[first] * self.extent[first + 1]),
            kernel=pair(self.kernel, 1),
            stride=pair(self.stride, 1),
            dilation=pair(self.dilation, 1),
            padding=pair(self.padding, (0, 0)),
        )

    @cached_property
    def sampled(self) -> ConvGeometry | None:
        """The problem on the planes, rows and columns that are read, if taps of extent 1 skip others; else ``None``.

        Examples
        --------
        >>> str(ConvGeometry.parse("ic2 oc3 id5 ih6 iw7 k1 s2").sampled)
        'n1 ic2 oc3 id3 ih3 iw4 kd1 kh1 kw1 s1 p0'
        """
        skips = [
            k == 1 and s > 1 and not any(pads)
            for k, s, pads in zip(self.kernel, self.stride, self.padding, strict=True)
        ]
        if not any(skips):
            return None
        extents, ones = (self.extent, self.out_extent), (1,) * self.ndim
        extent, stride, dilation = (
            tuple(one if skip else all_ for skip, all_, one in zip(skips, *pair, strict=True))
            for pair in (extents, (self.stride, ones), (self.dilation, ones))
        )
        return replace(self, extent=extent, stride=stride, dilation=dilation)

    @property
    def depth_step(self) -> tuple[int, int]:
        """Of a 3-D problem, the distance of output depths that read planes of one list, and the planes between them.

        The planes of a list are a dilation apart, or with a single tap, next to each other.

        Examples
        --------
        >>> ConvGeometry.parse("ic1 oc1 id20 ih9 iw9 k2 sd2 sh1 sw1 dd4 dh1 dw1").depth_step
        (2, 1)
        """
        stride, dilation = self.stride[0], self.dilation[0] if self.kernel[0] > 1 else 1
        every = dilation // gcd(stride, dilation)
        return every, every * stride // dilation

    def taps_inside(self, depth: int) -> tuple[int, int]:
        """The depth taps of a 3-D problem inside the input at an output depth: the first, and one past the last.

        Where there are none, it is any single tap.
        """
        step, first = self.dilation[0], depth * self.stride[0] - self.padding[0][0]
        begin = min(self.kernel[0] - 1, max(0, -(first // step)))
        return begin, max(begin + 1, min(self.kernel[0], -(-(self.extent[0] - first) // step)))

    def seen_by(self, tap: int) -> tuple[slice, slice]:
        """The output depths of a 3-D problem at which a depth tap lies inside the input, and the planes it reads."""
        stride, first = self.stride[0], tap * self.dilation[0] - self.padding[0][0]
        begin = min(self.out_extent[0], max(0, -(first // stride)))
        end = max(begin, min(self.out_extent[0], -(-(self.extent[0] - first) // stride)))
        if begin == end:
            return slice(0, 0), slice(0, 0)
        return slice(begin, end), slice(first + begin * stride, first + (end - 1) * stride + 1, stride)

    @property
    def thinned(self) -> tuple[ConvGeometry, tuple[slice, slice]]:
        """The geometry on the rows and columns of the image that any tap reads, and which these are.

        Where stride and dilation have a common divisor, all taps of all windows read pixels that are a multiple of it
        apart: a dilation of 2 at a stride of 2 is neither, on every other pixel. (An image in which none of these lie
        remains as it is.)

        Examples
        --------
        >>> thinned, (rows, cols) = ConvGeometry.parse("ic1 oc1 i14 k3 s2 d2 p1").thinned
        >>> print(thinned, rows)
        n1 ic1 oc1 ih7 iw7 kh3 kw3 s1 pt1 pb0 pl1 pr0 slice(1, 14, 2)
        """
        steps = [gcd(s, d) for s, d in zip(self.stride, self.dilation, strict=True)]
        starts = [-begin % step for (begin, _), step in zip(self.padding, steps, strict=True)]
        if any(start >= length for start, length in zip(starts, self.extent, strict=True)):
            return self, (slice(None), slice(None))
        axes = zip(self.extent, self.kernel, self.stride, self.dilation, self.padding, steps, starts, strict=True)
        extent, stride, dilation, padding = [], [], [], []
        for (length, k, s, d, (begin, _), step, start), out in zip(axes, self.out_extent, strict=True):
            extent.append(-((start - length) // step))
            stride.append(s // step)
            dilation.append(d // step)
            before = (begin + start) // step
            padding.append((before, max(0, (out - 1) * s // step + (k - 1) * d // step + 1 - before - extent[-1])))
        thinned = replace(
            self, extent=tuple(extent), stride=tuple(stride), dilation=tuple(dilation), padding=tuple(padding)
        )
        rows, cols = map(slice, starts, self.extent, steps)
        return thinned, (rows, cols)

    def sighted_outputs(self, axis: int) -> tuple[int, int]:
        """The outputs along an axis that see no padding: the first, and one past the last.

        Examples
        --------
        >>> ConvGeometry.parse("ic1 oc1 i9 k3 p1").sighted_outputs(0)
        (1, 8)
        >>> ConvGeometry.parse("ic1 oc1 i2 k3 p4").sighted_outputs(0)
        (4, 4)
        """
        (begin, _), stride, outputs = self.padding[axis], self.stride[axis], self.out_extent[axis]
        reach = self.dilation[axis] * (self.kernel[axis] - 1)
        first = min(outputs, -(-begin // stride))
        return first, max(first, min(outputs, (self.extent[axis] - 1 - reach + begin) // stride + 1))

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
        geometries: dict[tuple[Any, ...], ConvGeometry] = {}  # few, however many phases there are
        phases = []
        for phase in product(*axes):
            *window, taps, seen, target = zip(*phase, strict=True)
            key = tuple(window)
            if key not in geometries:
                geometries[key] = self._phase_geometry(*key)
            phases.append(Phase(geometries[key], taps, seen, target))
        return tuple(phases)

    def _phase_geometry(self, extent: Any, kernel: Any, dilation: Any, padding: Any) -> ConvGeometry:
        return ConvGeometry(
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

    @property
    def columns_shape(self) -> tuple[int, int, int]:
        """Shape of a batch's im2col matrices: one row per channel and tap, one column per output position."""
        return self.n, self.ic * self.taps, self.positions

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct algorithm."""
        return 2 * self.n * self.oc * self.positions * self.reduction


# torch's names for what lies past the edges.
PADDING_MODES = {"zeros": "zeros", "reflect": "mirror", "replicate": "nearest", "circular": "wrap"}


def _boundary_of(padding_mode: str) -> str:
    if not isinstance(padding_mode, str) or padding_mode not in PADDING_MODES:
        raise GeometryError(f"padding_mode={padding_mode!r}: expected one of {', '.join(PADDING_MODES)}")
    return PADDING_MODES[padding_mode]


def _check_reach(padding_mode: str, padding: tuple[tuple[int, int], ...], extent: tuple[int, ...]) -> None:
    """Raise where padding would reach past the image once more, which torch does not allow."""
    beyond = {"reflect": 1, "circular": 0}.get(padding_mode)
    for pads, length in zip(padding, extent, strict=True):
        if beyond is not None and max(pads) > length - beyond:
            raise GeometryError(
                f"padding={padding}, padding_mode={padding_mode!r}: expected at most {length - beyond} along an axis "
                f"of extent {length}"
            )


def _named(x_shape: Sequence[int], weight_shape: Sequence[int]) -> str:
    return f"x of shape {tuple(x_shape)}, weight of shape {tuple(weight_shape)}"


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
