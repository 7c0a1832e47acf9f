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

from fastconv.engine.geometry.along import AlongAxes, PassesGeometry, Window, WindowGeometry
from fastconv.engine.geometry.axes import (
    BOUNDARIES,
    REMEMBERED,
    Padding,
    channels_first,
    checked_bytes,
    checked_shape,
    exact,
    mode_padding,
    output_extent,
    same_padding,
    spread_starts,
    strided_same_padding,
)
from fastconv.engine.geometry.convolution import ConvGeometry, Phase
from fastconv.engine.geometry.filters import FilterGeometry
from fastconv.engine.geometry.polyphase import PolyphaseGeometry, resampled_extent
from fastconv.engine.geometry.pooling import (
    PoolGeometry,
    UnevenGeometry,
    adaptive_counts,
    adaptive_extents,
    adaptive_geometry,
    adaptive_windows,
    fractional_extents,
    unpooled_extents,
)
from fastconv.engine.geometry.product import ProductGeometry

__all__ = [
    "BOUNDARIES",
    "REMEMBERED",
    "AlongAxes",
    "ConvGeometry",
    "FilterGeometry",
    "Padding",
    "PassesGeometry",
    "Phase",
    "PolyphaseGeometry",
    "PoolGeometry",
    "ProductGeometry",
    "UnevenGeometry",
    "Window",
    "WindowGeometry",
    "adaptive_counts",
    "adaptive_extents",
    "adaptive_geometry",
    "adaptive_windows",
    "channels_first",
    "checked_bytes",
    "checked_shape",
    "exact",
    "fractional_extents",
    "mode_padding",
    "output_extent",
    "resampled_extent",
    "same_padding",
    "spread_starts",
    "strided_same_padding",
    "unpooled_extents",
]
