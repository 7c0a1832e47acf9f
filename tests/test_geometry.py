"""Shape arithmetic against counting, and descriptors against their own inverse."""

import dataclasses
import pickle
from math import gcd, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import CASES, DESCRIPTORS, geometries
from fastconv import GeometryError
from fastconv.engine.geometry import ConvGeometry, PoolGeometry, output_extent

AXIS = st.tuples(*[st.integers(1, 20)], *[st.integers(0, 6)] * 2, *[st.integers(1, 5)] * 3)


def positions(extent, begin, end, kernel, stride, dilation):
    """The kernel's positions along one axis, by trying them all."""
    inside = range(extent + begin + end)
    return [start for start in inside[::stride] if all(start + j * dilation in inside for j in range(kernel))]


@given(AXIS)
def test_output_extent_counts_positions(axis):
    extent, begin, end, kernel, stride, dilation = axis
    expected = len(positions(*axis))
    assert max(0, output_extent(extent, (begin, end), kernel, stride, dilation)) == expected


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_cases_have_the_extents_that_counting_gives(name):
    g = CASES[name]
    axes = zip(g.extent, g.padding, g.kernel, g.stride, g.dilation, strict=True)
    assert g.out_extent == tuple(len(positions(i, *p, k, s, d)) for i, p, k, s, d in axes)
    assert g.out_shape == (g.n, g.oc, *g.out_extent)
    assert g.flops == 2 * prod(g.out_shape) * prod(g.weight_shape[1:])


@given(st.one_of(geometries(), geometries(ndim=1)))
def test_descriptors_round_trip(geometry):
    assert ConvGeometry.parse(str(geometry)) == geometry
    shuffled = " ".join(reversed(str(geometry).split()))
    assert hash(ConvGeometry.parse(shuffled)) == hash(geometry)


@given(geometries(), geometries())
def test_different_problems_have_different_descriptors(one, other):
    assert (str(one) == str(other)) == (one == other)


def test_abbreviations():
    long = "n1 g1 ic2 oc3 ih7 iw7 kh3 kw3 sh2 sw2 dh1 dw1 pt1 pb1 pl1 pr1"
    assert ConvGeometry.parse("ic2 oc3 i7 k3 s2 p1") == ConvGeometry.parse(long)
    assert ConvGeometry.parse("ic2 oc3 i7 k3 p1 pb2").padding == ((1, 2), (1, 1))
    assert ConvGeometry.parse("ic1 oc1 iw9 kw2").ndim == 1
    assert ConvGeometry.parse("ic1 oc1 id4 ih5 iw6 k2").extent == (4, 5, 6)


@pytest.mark.parametrize(
    ("descriptor", "fault"),
    [
        ("", "missing"),
        ("ic1 oc1 k3", "missing"),
        ("ic1 i5 k3", "oc is missing"),
        ("ic1 oc1 i5 k3 zz4", "zz"),
        ("ic1 oc1 i5 k3 ceil", "ceil"),
        ("ic1 ic1 oc1 i5 k3", "repeated"),
        ("ic-1 oc1 i5 k3", "ic-1"),
        ("ic1 oc1 i5 k3 s1.5", "s1.5"),
        ("ic1 oc1 i5 k3 s=2", "s=2"),
        ("ic1 oc1 i5 k0", "at least 1"),
        ("ic1 oc1 i5 k3 s0", "at least 1"),
        ("ic1 oc1 i5 k3 d0", "at least 1"),
        ("ic1 oc1 i5 k3 g0", "groups=0"),
        ("ic3 oc2 i5 k3 g2", "divide"),
        ("ic0 oc1 i5 k3", "at least 1"),
        ("ic1 oc1 i0 k1", "at least 1"),
        ("ic1 oc1 i5 k6", "larger than"),
        ("ic1 oc1 iw5 kw3 pt1", "unknown field .pt"),
        ("ic9999999999999999999 oc1 i5 k3", "addresses"),
        ("ic99999999999999999999 oc1 i5 k3", "ic99999999999999999999"),
        ("ic1 oc1 i4294967296 k1", "addresses"),
    ],
)
def test_bad_descriptors(descriptor, fault):
    with pytest.raises(GeometryError, match=fault):
        ConvGeometry.parse(descriptor)


@given(geometries())
def test_shapes_rebuild_the_geometry(geometry):
    rebuilt = ConvGeometry.from_shapes(
        geometry.x_shape,
        geometry.weight_shape,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        groups=geometry.g,
    )
    assert rebuilt == geometry


@pytest.mark.parametrize("kernel", range(1, 7))
@pytest.mark.parametrize("dilation", range(1, 4))
def test_same_keeps_the_extent_and_puts_the_rest_at_the_end(kernel, dilation):
    g = ConvGeometry.from_shapes((1, 1, 9, 9), (1, 1, kernel, kernel), padding="same", dilation=dilation)
    assert g.out_extent == g.extent
    assert all(end - begin in (0, 1) for begin, end in g.padding)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((1, 2), (0, 3)), ((1, 2), (0, 3))),
        ([[1, 2], [0, 3]], ((1, 2), (0, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 1), (1, 2))),
        (np.int64(2), ((2, 2), (2, 2))),
        (np.array([1, 2]), ((1, 1), (2, 2))),
    ],
)
def test_padding_forms(padding, expected):
    geometry = ConvGeometry.from_shapes((1, 1, 8, 8), (1, 1, 3, 4), padding=padding)
    assert geometry.padding == expected
    assert all(type(side) is int for pair in geometry.padding for side in pair)


def test_one_axis_reads_as_a_row():
    g = CASES["signal_stride_dilation_groups"]
    flat = g.as_2d()
    assert (g.ih, g.kh, g.oh, g.sh, g.dh, g.pt, g.pb) == (1, 1, 1, 1, 1, 0, 0)
    assert flat.out_shape == (g.n, g.oc, 1, g.ow)
    assert flat.as_2d() is flat
    for name in ("iw", "kw", "ow", "sw", "dw", "pl", "pr", "taps", "positions", "reduction", "flops"):
        assert getattr(flat, name) == getattr(g, name)


def test_geometries_are_values():
    g = CASES["plain"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        g.n = 2
    assert pickle.loads(pickle.dumps(g)) == g
    assert len({g, ConvGeometry.parse(str(g))}) == 1


POOL_AXIS = st.tuples(*[st.integers(1, 20)], *[st.integers(1, 5)] * 3).flatmap(
    lambda axis: st.tuples(*map(st.just, axis), st.integers(0, axis[1] // 2))
)


@given(POOL_AXIS, st.booleans())
def test_pool_extent_counts_windows(axis, ceil_mode):
    extent, kernel, stride, dilation, pad = axis
    padded, reach = extent + 2 * pad, dilation * (kernel - 1)
    # Rounding up admits a window that sticks out by less than a stride, unless it starts past input and padding.
    room = stride - 1 if ceil_mode else 0
    starts = [r for r in range(0, padded, stride) if r + reach < padded + room and (r < extent + pad or not ceil_mode)]
    arguments = {"ndim": 1, "stride": stride, "padding": pad, "dilation": dilation, "ceil_mode": ceil_mode}
    if not starts:
        with pytest.raises(GeometryError, match="larger than"):
            PoolGeometry.from_shapes((1, 1, extent), kernel, **arguments)
        return
    geometry = PoolGeometry.from_shapes((1, 1, extent), kernel, **arguments)
    assert geometry.out_extent == (len(starts),)
    assert PoolGeometry.parse(str(geometry)) == geometry
    assert geometry.as_2d().out_shape == (1, 1, 1, len(starts))


def test_pool_stride_is_the_kernel_by_default():
    assert PoolGeometry.from_shapes((3, 12, 9), (4, 3)).stride == (4, 3)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"kernel_size": 0}, "kernel_size=0"),
        ({"kernel_size": -1}, "kernel_size=-1"),
        ({"kernel_size": (2, 2, 2)}, "kernel_size"),
        ({"kernel_size": 1.5}, "kernel_size=1.5"),
        ({"kernel_size": 2, "stride": 0}, "stride=0"),
        ({"kernel_size": 2, "stride": -2}, "stride=-2"),
        ({"kernel_size": 2, "padding": 2}, "half the kernel"),
        ({"kernel_size": 2, "padding": -1}, "padding=-1"),
        ({"kernel_size": 2, "dilation": 0}, "dilation=0"),
        ({"kernel_size": 9}, "larger than"),
        ({"kernel_size": 2, "dilation": 2**62}, "larger than"),
    ],
)
def test_bad_pools(arguments, fault):
    with pytest.raises(GeometryError, match=fault):
        PoolGeometry.from_shapes((1, 1, 8, 8), **arguments)


@given(geometries(3))
def test_depths_of_volumes(g):
    """Which taps read which planes, tap by tap and depth by depth."""
    inside = {
        (z, tap)
        for z in range(g.out_extent[0])
        for tap in range(g.kernel[0])
        if 0 <= z * g.stride[0] + tap * g.dilation[0] - g.padding[0][0] < g.extent[0]
    }
    for z in range(g.out_extent[0]):
        begin, end = g.taps_inside(z)
        taps = {tap for depth, tap in inside if depth == z}
        assert set(range(begin, end)) == taps or (not taps and 0 <= begin == end - 1 < g.kernel[0])
    for tap in range(g.kernel[0]):
        outputs, planes = g.seen_by(tap)
        pairs = [(z, z * g.stride[0] + tap * g.dilation[0] - g.padding[0][0]) for z, of in sorted(inside) if of == tap]
        depths, read = range(g.out_extent[0])[outputs], range(g.extent[0])[planes]
        assert list(zip(depths, read, strict=True)) == pairs
    every, advance = g.depth_step
    assert every * g.stride[0] == advance * (g.dilation[0] if g.kernel[0] > 1 else 1)


@given(geometries(3))
def test_flattened_volumes_are_the_same_problem(g):
    flat = g.flattened
    plain = [k == s == 1 and p == (0, 0) for k, s, p in zip(g.kernel, g.stride, g.padding, strict=True)]
    assert (flat is None) == (not plain[1] or not (plain[0] or plain[2]))
    if flat is not None:
        assert (flat.ndim, flat.flops, flat.reduction) == (2, g.flops, g.reduction)
        assert (prod(flat.x_shape), prod(flat.out_shape)) == (prod(g.x_shape), prod(g.out_shape))


@given(geometries(3))
def test_sampled_geometries_leave_out_what_strides_skip(g):
    sampled, axes = g.sampled, range(3)
    skips = [g.kernel[axis] == 1 < g.stride[axis] and not any(g.padding[axis]) for axis in axes]
    assert (sampled is None) == (not any(skips))
    if sampled is not None:
        assert (sampled.out_shape, sampled.weight_shape) == (g.out_shape, g.weight_shape)
        for axis in axes:
            window = sampled.extent[axis], sampled.stride[axis], sampled.dilation[axis]
            unchanged = g.extent[axis], g.stride[axis], g.dilation[axis]
            assert window == ((len(range(0, g.extent[axis], g.stride[axis])), 1, 1) if skips[axis] else unchanged)


@given(geometries(2))
def test_thinned_geometries_read_the_same_pixels(g):
    """Output by output and tap by tap; stride and dilation have no common divisor left."""
    thinned, seen = g.thinned
    assert (thinned.out_shape, thinned.weight_shape, thinned.flops) == (g.out_shape, g.weight_shape, g.flops)

    def read(of, axis, pixels):
        reach = range(of.out_extent[axis]), range(of.kernel[axis])
        at = [[o * of.stride[axis] + t * of.dilation[axis] - of.padding[axis][0] for t in reach[1]] for o in reach[0]]
        return [[pixels[i] if 0 <= i < of.extent[axis] else None for i in row] for row in at]

    for axis in range(2):
        pixels = range(g.extent[axis])
        kept = pixels[seen[axis]]
        assert len(kept) == thinned.extent[axis]
        assert read(g, axis, pixels) == read(thinned, axis, kept)
    if thinned != g:
        assert all(gcd(s, d) == 1 for s, d in zip(thinned.stride, thinned.dilation, strict=True))
