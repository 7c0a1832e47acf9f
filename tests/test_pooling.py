"""Pooling against a naive oracle over explicit windows, and against facts noted from torch 2.13.

Where means are compared exactly, the data are small integers: their sums are exact in every order, so that only the
final division rounds.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from fractions import Fraction
from operator import attrgetter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import GeometryError, avg_pool2d, max_pool2d
from fastconv.engine import planner, pooling, rates
from fastconv.engine.geometry import PoolGeometry, adaptive_geometry
from fastconv.engine.pooling import base, direct
from fastconv.kernels.jit.pools.planes import PIECE
from fastconv.lab.kinds import KINDS

NAN, INF = float("nan"), float("inf")


# --- the oracle


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def starts(extent, kernel, stride, padding, dilation, ceil_mode):
    """Where windows start along one axis, found one after another."""
    found, start, reach = [], -padding, dilation * (kernel - 1) + 1
    while start + reach <= extent + padding:
        found.append(start)
        start += stride
    covered = bool(found) and start - stride + reach == extent + padding
    if ceil_mode and not covered and start < extent and extent + 2 * padding + stride > reach:
        found.append(start)
    return found


def windows(extents, kernel, stride, padding, dilation, ceil_mode):
    """For every output position, the rows and the columns of its window: ``(start, taps inside)`` each."""
    axes = []
    for i, k, s, p, d in zip(extents, kernel, stride, padding, dilation, strict=True):
        axes.append(
            [
                (start, [start + t * d for t in range(k) if 0 <= start + t * d < i])
                for start in starts(i, k, s, p, d, ceil_mode)
            ]
        )
    return axes


def oracle_max(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    kernel = pair(kernel)
    stride = kernel if stride is None else pair(stride)
    rows, columns = windows(x.shape[-2:], kernel, stride, pair(padding), pair(dilation), ceil_mode)
    shape = (*x.shape[:-2], len(rows), len(columns))
    lowest = -INF if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    out, indices = np.full(shape, lowest, x.dtype.newbyteorder("=")), np.full(shape, -1, np.int64)
    for plane in np.ndindex(*x.shape[:-2]):
        for (r, (_, ys)), (q, (_, xs)) in itertools.product(enumerate(rows), enumerate(columns)):
            best = None
            for y, c in itertools.product(ys, xs):
                value = x[(*plane, y, c)]
                if best is None or value > best or value != value:
                    best = out[(*plane, r, q)] = value
                    indices[(*plane, r, q)] = y * x.shape[-1] + c
    return out, indices


def oracle_mean(x, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """Sums in float64, the sums of magnitudes, and divisors."""
    kernel, padding = pair(kernel), pair(padding)
    stride = kernel if stride is None else pair(stride)
    rows, columns = windows(x.shape[-2:], kernel, stride, padding, (1, 1), ceil_mode)
    shape = (*x.shape[:-2], len(rows), len(columns))
    sums, magnitudes, divisors = np.empty(shape), np.empty(shape), np.empty(shape[-2:])
    for (r, (top, ys)), (q, (left, xs)) in itertools.product(enumerate(rows), enumerate(columns)):
        window = x[..., ys, :][..., xs].astype(np.float64)
        sums[..., r, q], magnitudes[..., r, q] = window.sum((-2, -1)), np.abs(window).sum((-2, -1))
        counted = [
            sum(-p <= start + t < i + p for t in range(k)) if count_include_pad else len(inside)
            for start, k, i, p, inside in zip((top, left), kernel, x.shape[-2:], padding, (ys, xs), strict=True)
        ]
        divisors[r, q] = counted[0] * counted[1] if divisor_override is None else divisor_override
    return sums, magnitudes, divisors


def assert_same(got, expected):
    """Equal in type, shape and value, down to the sign of zeros."""
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected, strict=True)
    if got.dtype.kind == "f":
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])


def check_max(x, *window):
    out, indices = oracle_max(x, *window)
    assert_same(max_pool2d(x, *window), out)
    got, got_indices = max_pool2d(x, *window, return_indices=True)
    assert_same(got, out)
    assert_same(got_indices, indices)


def check_mean(x, *window):
    """Exact, for data that are small integers."""
    sums, _, divisors = oracle_mean(x, *window)
    dtype = x.dtype.newbyteorder("=")
    assert_same(avg_pool2d(x, *window), sums.astype(dtype) / divisors.astype(dtype))


def integers(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(dtype)


# --- facts noted from torch

IMAGE = [[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [3, 2, 3, 8, 4], [6, 2, 6, 4, 3]]


@pytest.mark.parametrize(
    ("window", "maxima", "indices"),
    [
        ((2,), [[9, 6], [8, 9]], [[5, 7], [11, 12]]),
        ((3, 2, 1), [[9, 6, 5], [9, 9, 9], [6, 8, 8]], [[5, 7, 4], [5, 12, 14], [20, 18, 18]]),
        ((2, 2, 1, 1, True), [[3, 4, 5], [9, 9, 9], [6, 6, 8]], [[0, 2, 4], [5, 12, 14], [20, 22, 18]]),
        ((3, 1, 1, 2), [[8, 9, 8], [8, 9, 8], [8, 9, 8]], [[18, 5, 18], [11, 12, 11], [18, 5, 18]]),
        (
            ((2, 3), (2, 1), (1, 0), (2, 1), True),
            [[9, 6, 6], [9, 8, 8], [3, 8, 8]],
            [[5, 7, 7], [5, 18, 18], [15, 18, 18]],
        ),
        ((5, 1, 2), [[9] * 5] * 5, [[5, 5, 5, 12, 12]] * 4 + [[12] * 5]),
    ],
)
def test_torch_maxima(window, maxima, indices):
    x = np.array([[IMAGE]], np.float32)
    out, where = max_pool2d(x, *window, return_indices=True)
    assert_same(out, np.array([[maxima]], np.float32))
    assert_same(where, np.array([[indices]]))


@pytest.mark.parametrize(
    ("window", "means"),
    [
        ((2,), [[45, 48], [54, 81]]),
        ((3, 2, 1), [[20, 76 / 3, 56 / 3], [116 / 3, 200 / 3, 48], [52 / 3, 100 / 3, 76 / 3]]),
        ((3, 2, 1, False, False), [[45, 38, 42], [58, 200 / 3, 72], [39, 50, 57]]),
        ((2, 2, 0, True), [[45, 48, 48], [54, 81, 78], [48, 60, 36]]),
        ((2, 2, 1, True, False), [[36, 30, 36], [84, 75, 72], [54, 39, 57]]),
        ((3, 3, 1, True, True), [[20, 32], [104 / 3, 212 / 3]]),
        ((3, 3, 1, True, False), [[45, 48], [52, 212 / 3]]),
        ((2, 2, 1, True, True, 5), [[7.2, 12, 14.4], [33.6, 60, 57.6], [21.6, 31.2, 45.6]]),
        (((3, 2), (2, 3), (1, 0), True, True, None), [[30, 28], [58, 72], [26, 38]]),
    ],
)
def test_torch_means(window, means):
    x = np.array([[IMAGE]], np.float32) * 12
    np.testing.assert_allclose(avg_pool2d(x, *window), np.array([[means]], np.float32), rtol=2**-23)


@pytest.mark.parametrize(
    ("values", "maximum", "index"),
    [
        ([1, 3, 3, 3], 3, 1),
        ([1, NAN, NAN, 3], NAN, 2),
        ([NAN, 9, NAN, 3], NAN, 2),
        ([NAN, INF, 1, 2], NAN, 0),
        ([-INF, -INF, -INF, -INF], -INF, 0),
        ([-0.0, 0.0, 0.0, -0.0], -0.0, 0),
        ([0.0, -0.0, 0.0, -0.0], 0.0, 0),
        ([-1.0, 0.0, -0.0, -1.0], 0.0, 1),
        ([-1.0, -0.0, 0.0, -1.0], -0.0, 1),
    ],
)
@pytest.mark.parametrize("dilation", [1, 2], ids=["unrolled", "generic"])
def test_ties_and_nan(values, maximum, index, dilation):
    # Twelve windows that are alike, so that vectorised loops have their say too.
    x = np.zeros((1, 1, dilation + 1, 48), np.float32)
    columns = np.arange(12) * 4
    for place, value in enumerate(values):
        x[..., place // 2 * dilation, columns + place % 2 * dilation] = value
    out, where = max_pool2d(x, 2, (1, 4), dilation=dilation, return_indices=True)
    assert_same(out, np.full((1, 1, 1, 12), maximum, np.float32))
    np.testing.assert_array_equal(where[0, 0, 0], columns + index // 2 * dilation * 48 + index % 2 * dilation)
    assert_same(max_pool2d(x, 2, (1, 4), dilation=dilation), out)


def test_padding_never_wins():
    x = np.full((1, 2, 3, 3), -INF, np.float32)
    out, where = max_pool2d(x, 3, 1, 1, return_indices=True)
    assert_same(out, x)
    np.testing.assert_array_equal(where[0, 1], [[0, 0, 1], [0, 0, 1], [3, 3, 4]])


def test_window_without_taps_inside():
    x = np.ones((1, 2, 1, 3), np.float32)
    out, where = max_pool2d(x, (1, 2), 1, (0, 1), (1, 4), return_indices=True)
    assert_same(out, np.full((1, 2, 1, 1), -INF, np.float32))
    assert_same(where, np.full((1, 2, 1, 1), -1))
    down, where = max_pool2d(x.transpose(0, 1, 3, 2), (2, 1), 1, (1, 0), (4, 1), return_indices=True)
    assert_same(down, out)
    assert_same(where, np.full((1, 2, 1, 1), -1))


@pytest.mark.parametrize(
    ("extent", "kernel", "stride", "padding", "expected"),
    [
        (5, 2, 5, 0, 1),
        (5, 6, 4, 0, 1),
        (5, 7, 4, 3, 2),
        (5, 1, 3, 0, 2),
        (4, 2, 3, 0, 2),
        (1, 125, 1, 62, 1),
        (1, 125, 125, 62, 1),
        (6, 2, 2, 1, 4),
        (5, 2, 2, 1, 3),
    ],
)
def test_torch_extents_in_ceil_mode(extent, kernel, stride, padding, expected):
    g = PoolGeometry.from_shapes((1, 3, extent, extent), kernel, stride=stride, padding=padding, ceil_mode=True)
    assert g.out_shape == (1, 3, expected, expected)


# --- random geometry


@st.composite
def problems(draw):
    """Windows of few kernel specialisations: 2x2 stride 2, 3x3 stride 1, and those whose extents are read."""
    shape = draw(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 12), st.integers(1, 40)))
    dilation = 1
    kind = draw(st.sampled_from(["2x2", "3x3", "dense", "sparse"]))
    if kind == "2x2":
        kernel, stride = (2, 2), (draw(st.integers(1, 3)), 2)
    elif kind == "3x3":
        kernel, stride = (3, 3), (draw(st.integers(1, 4)), 1)
    else:
        kernel = draw(st.tuples(st.integers(1, 9), st.integers(4, 9)))
        stride = draw(st.tuples(st.integers(1, 10), st.integers(1, 10)))
        if kind == "sparse":
            dilation = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    return shape, kernel, stride, padding, dilation, draw(st.booleans()), draw(st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=300)
@given(problems())
def test_maxima_of_random_windows(problem):
    shape, kernel, stride, padding, dilation, ceil_mode, seed = problem
    x = integers(shape, seed=seed)
    x[np.random.default_rng(seed).random(shape) < 0.05] = NAN
    x[np.random.default_rng(seed + 1).random(shape) < 0.2] = -0.0
    window = (kernel, stride, padding, dilation, ceil_mode)
    extents = [
        len(starts(*axis, ceil_mode)) for axis in zip(shape[2:], kernel, stride, padding, pair(dilation), strict=True)
    ]
    if 0 in extents:
        with pytest.raises(GeometryError, match="larger than the padded input"):
            max_pool2d(x, *window)
    else:
        assert (
            list(
                PoolGeometry.from_shapes(
                    shape, kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
                ).out_extent
            )
            == extents
        )
        check_max(x, *window)


@settings(deadline=None, max_examples=200)
@given(problems(), st.booleans(), st.sampled_from([None, 1, -7]))
def test_means_of_random_windows(problem, count_include_pad, divisor_override):
    shape, kernel, stride, padding, _, ceil_mode, seed = problem
    window = (kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
    if all(len(starts(*axis, 1, ceil_mode)) for axis in zip(shape[2:], kernel, stride, padding, strict=True)):
        check_mean(integers(shape, seed=seed), *window)
    else:
        with pytest.raises(GeometryError, match="larger than the padded input"):
            avg_pool2d(integers(shape), *window)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_of_normal_data(dtype):
    """A running sum of n terms and its division err by at most (n + 1) u sum|x| / |divisor| (Higham 2002, 4.2)."""
    x = np.random.default_rng(3).standard_normal((2, 3, 20, 30)).astype(dtype)
    sums, magnitudes, divisors = oracle_mean(x, 9, 3, 4)
    error = np.abs(avg_pool2d(x, 9, 3, 4) - sums / divisors)
    unit = np.finfo(dtype).eps / 2
    # The oracle's own sums and division err likewise, in float64.
    assert np.all(error <= (81 + 1) * (unit + 2.0**-53) * magnitudes / divisors)


# --- every mode, type and layout


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("divisor_override", [None, 3, -2])
@pytest.mark.parametrize("window", [(2, 2, 1), (2, None, 0), (3, 1, 1), (5, 3, 2), ((4, 5), (3, 1), (2, 0))])
def test_every_mode(window, ceil_mode, count_include_pad, divisor_override):
    x = integers((2, 2, 9, 12))
    check_mean(x, *window, ceil_mode, count_include_pad, divisor_override)
    check_max(x, *window, 1, ceil_mode)
    assert_same(avg_pool2d(x[0], *window, ceil_mode), avg_pool2d(x, *window, ceil_mode)[0])
    assert_same(max_pool2d(x[0], *window, 1, ceil_mode), max_pool2d(x, *window, 1, ceil_mode)[0])


@pytest.mark.parametrize("dtype", [np.int8, np.uint64])
def test_integers(dtype):
    info = np.iinfo(dtype)
    x = np.random.default_rng(5).integers(info.min, info.max, (2, 2, 7, 40), dtype, endpoint=True)
    x[0, 0] = info.min
    x[1, 0, 3, :20] = info.max
    check_max(x, 3, 3, 1, 1, True)


def test_float64():
    x = integers((2, 2, 7, 40), np.float64)
    x[:, :, 3, 3] = NAN
    check_max(x, 3, 3, 1, 1, True)
    check_mean(integers((2, 2, 7, 40), np.float64), 3, 3, 1, True)


def misaligned(x):
    """The values of `x` at odd addresses."""
    view = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


LAYOUTS = {
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(2, 3)).swapaxes(2, 3),
    "negative": lambda x: x[::-1, ::-1, ::-1, ::-1],
    "columns reversed": lambda x: x[..., ::-1],
    "every other": lambda x: x.repeat(2, -1).repeat(3, -2)[..., ::3, ::2],
    "broadcast columns": lambda x: np.broadcast_to(x[..., :1], x.shape),
    "broadcast planes": lambda x: np.broadcast_to(x[:1, :1], x.shape),
    "swapped bytes": lambda x: x.astype(x.dtype.newbyteorder()),
    "misaligned": misaligned,
    "packed field": lambda x: x.astype([("tag", "u1"), ("value", x.dtype)])["value"],
    "Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", [(2, 2), (3, 1, 1), (5, 3, 2)])
def test_any_strides(layout, window):
    x = LAYOUTS[layout](integers((2, 3, 9, 20)))
    before = x.copy()
    x.flags.writeable = False
    check_max(x, *window)
    check_mean(x, *window)
    np.testing.assert_array_equal(x, before)


def test_accepts_what_asarray_accepts():
    expected = np.array([[[5, 9]]])
    assert_same(max_pool2d([[[1, 5, 2, 0], [4, 3, 2, 9]]], 2), expected)
    assert_same(avg_pool2d([[[1.0, 5.0, 2.0, 0.0], [4.0, 2.0, 2.0, 8.0]]], [2, np.int64(2)]), np.array([[[3.0, 3.0]]]))
    assert_same(max_pool2d(expected, np.array([1, 2]), stride=np.int8(1)), np.array([[[9]]]))


def test_empty_batch():
    x = np.empty((0, 3, 8, 8), np.float32)
    for out in (avg_pool2d(x, 2), *max_pool2d(x, 2, return_indices=True)):
        assert out.shape == (0, 3, 4, 4)


def test_arguments_in_torch_order():
    x = integers((1, 1, 9, 9))
    assert_same(
        max_pool2d(x, 2, 3, 1, 2, True, True)[1],
        max_pool2d(x, kernel_size=2, stride=3, padding=1, dilation=2, ceil_mode=True, return_indices=True)[1],
    )
    assert_same(
        avg_pool2d(x, 2, 3, 1, True, False, 5),
        avg_pool2d(x, kernel_size=2, stride=3, padding=1, ceil_mode=True, count_include_pad=False, divisor_override=5),
    )


# --- other axes than two, other windows than those that are all alike


def naive(fold, x, axes):
    """`fold` of every window of the last axes of `x`; of each axis, the windows as lists of taps inside."""
    out = np.empty((*x.shape[: -len(axes)], *map(len, axes)), x.dtype)
    for place in itertools.product(*(range(len(windows)) for windows in axes)):
        window = x[(..., *np.ix_(*(windows[at] for windows, at in zip(axes, place, strict=True))))]
        out[(..., *place)] = fold(window, tuple(range(-len(axes), 0)))
    return out


def check_indices(x, out, indices, ndim):
    """Every maximum stands where its index says."""
    planes = x.reshape(*x.shape[:-ndim], -1)
    found = np.take_along_axis(planes, indices.reshape(*x.shape[:-ndim], -1), axis=-1)
    np.testing.assert_array_equal(found.reshape(out.shape), out, strict=True)


SOME = [(2, None, 0, 1, False), (3, 2, 1, 1, True), (3, 1, 1, 2, False), (7, 1, 3, 1, False)]


@pytest.mark.parametrize(("ndim", "extent"), [(1, (40,)), (3, (7, 9, 10))])
@pytest.mark.parametrize("window", SOME)
def test_signals_and_volumes(ndim, extent, window):
    max_pool, avg_pool = (getattr(fastconv, f"{kind}_pool{ndim}d") for kind in ("max", "avg"))
    kernel, stride, padding, dilation, ceil_mode = window
    x = integers((2, 3, *extent), np.float32)
    strides = stride or kernel
    axes = [
        [taps for _, taps in windows]
        for i in extent
        for windows in windows_of(i, kernel, strides, padding, dilation, ceil_mode)
    ]
    out, indices = max_pool(x, *window, return_indices=True)
    assert_same(out, naive(np.max, x, axes))
    assert_same(max_pool(x, *window), out)
    check_indices(x, out, indices, ndim)
    assert_same(max_pool(x[1], *window), out[1])
    with_nan = x.copy()
    with_nan[0, 0][(3,) * ndim] = NAN
    np.testing.assert_array_equal(max_pool(with_nan, *window), naive(np.max, with_nan, axes))
    if dilation == 1:
        # Sums of small integers are exact: only the division rounds, here and in the oracle.
        means = naive(np.mean, x.astype(np.float64), axes)
        got = avg_pool(x, kernel, stride, padding, ceil_mode, False)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, means, rtol=2**-23)
        counts = [
            [min(start + kernel, i + padding) - start for start in starts(i, kernel, strides, padding, 1, ceil_mode)]
            for i in extent
        ]
        sums = naive(np.sum, x.astype(np.float64), axes)
        got = avg_pool(x, kernel, stride, padding, ceil_mode)
        np.testing.assert_allclose(got, sums / functools.reduce(np.multiply.outer, counts), rtol=2**-23)
        if ndim == 3:
            np.testing.assert_allclose(
                avg_pool(x, kernel, stride, padding, ceil_mode, True, -5), sums / -5, rtol=2**-23
            )


def windows_of(extent, *window):
    return windows((extent,), *((value,) for value in window[:-1]), window[-1])


def test_the_first_maximum_of_a_volume_is_found():
    x = np.zeros((1, 4, 4, 4), np.int32)
    x[0, 1, 1, 0] = x[0, 1, 0, 1] = x[0, 0, 3, 3] = 7
    assert fastconv.max_pool3d(x, 4, return_indices=True)[1].item() == 15
    assert fastconv.max_pool3d(x, (2, 2, 4), return_indices=True)[1][0, 0].tolist() == [[17], [15]]


def test_a_volume_without_taps_inside():
    out, indices = fastconv.max_pool3d(
        np.ones((1, 1, 1, 3), np.float32), (1, 1, 2), 1, (0, 0, 1), (1, 1, 4), False, True
    )
    assert_same(out, np.full((1, 1, 1, 1), -INF, np.float32))
    assert_same(indices, np.full((1, 1, 1, 1), -1))


def test_large_windows_keep_infinities_apart():
    """No running sum: what is not finite spoils its own windows only, and no rounding is carried along."""
    x = integers((1, 1, 40, 200))
    x[0, 0, 20, 100], x[0, 0, 20, 30], x[0, 0, 5, 170] = NAN, INF, 2.0**60
    axes = [[list(range(q, q + 13)) for q in range(i - 12)] for i in (40, 200)]
    clean = naive(np.max, np.isin(np.abs(x), [INF, 2.0**60]) | np.isnan(x), axes)
    expected = naive(np.sum, x.astype(np.float64), axes) / 169
    got = avg_pool2d(x, 13, 1)
    np.testing.assert_array_equal(got[~clean.astype(bool)], expected[~clean.astype(bool)].astype(np.float32))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


def even_parts(extent, outputs):
    """The parts of adaptive pooling: every position that touches the o-th of equal parts of the axis."""
    edges = [Fraction(o * extent, outputs) for o in range(outputs + 1)]
    return [range(math.floor(low), math.ceil(high)) for low, high in itertools.pairwise(edges)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, (4, None), (None, 7), (13, 1), (20, 30)])
def test_adaptive(size):
    x = integers((2, 3, 12, 20))
    x[0, 0, 5, 5] = NAN
    out_extent = [i if o is None else o for i, o in zip(x.shape[2:], pair_or_none(size), strict=True)]
    axes = [even_parts(i, o) for i, o in zip(x.shape[2:], out_extent, strict=True)]
    out, indices = fastconv.adaptive_max_pool2d(x, size, return_indices=True)
    np.testing.assert_array_equal(out, naive(np.max, x, axes), strict=True)
    np.testing.assert_array_equal(fastconv.adaptive_max_pool2d(x, size), out)
    check_indices(x, out, indices, 2)
    means = naive(np.mean, x.astype(np.float64), axes)
    np.testing.assert_allclose(fastconv.adaptive_avg_pool2d(x, size), means, rtol=2**-23)
    line = x[:, :, 5]
    size = out_extent[1]
    out, indices = fastconv.adaptive_max_pool1d(line, size, return_indices=True)
    np.testing.assert_array_equal(out, naive(np.max, line, axes[1:]), strict=True)
    check_indices(line, out, indices, 1)
    means = naive(np.mean, line.astype(np.float64), axes[1:])
    np.testing.assert_allclose(fastconv.adaptive_avg_pool1d(line, size), means, rtol=2**-23)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("view", ["contiguous", "transposed", "reversed"])
@pytest.mark.parametrize("width", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 7])
def test_adaptive_means_of_lines_that_are_summed_in_pieces(width, view, dtype):
    """Windows that end with a piece, begin another or are wider than one; sums of whole numbers are exact."""
    extent = (1, 2, width, 7) if view == "transposed" else (1, 2, 7, width)
    x = np.random.default_rng(width).integers(-9, 10, extent).astype(dtype)
    x = {"contiguous": x, "transposed": x.swapaxes(2, 3), "reversed": x[..., ::-1]}[view]
    for outputs in (2, 3, 7, width // 3, width - 1):
        axes = [even_parts(i, o) for i, o in zip((7, width), (3, outputs), strict=True)]
        counts = [[len(part) for part in parts] for parts in axes]
        sums = np.stack([x[:, :, rows].sum(2, np.float64) for rows in axes[0]], 2)
        sums = np.stack([sums[..., columns].sum(-1) for columns in axes[1]], -1)
        expected = (sums / np.outer(*counts)).astype(dtype)
        np.testing.assert_array_equal(fastconv.adaptive_avg_pool2d(x, (3, outputs)), expected, strict=True)


def pair_or_none(value):
    return value if isinstance(value, tuple) else (value, value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("width", [31, 32, 33, 63, 64, 71, 130])
def test_windows_of_one_column_are_folded_lane_by_lane(dtype, width):
    """All rows at once where they follow each other, one by one or gathered where they do not: the same numbers."""
    x = np.random.default_rng(width).integers(-99, 99, (2, 3, 7, width)).astype(dtype)
    views = [
        x,
        np.repeat(x, 2, axis=-1)[..., ::2],
        np.repeat(x, 2, axis=-2)[..., ::2, :],
        x[..., ::-1].copy()[..., ::-1],
    ]
    for view in views:
        assert_same(fastconv.global_max_pool2d(view), x.max((2, 3), keepdims=True))
        tall = fastconv.max_pool2d(view, (3, width), stride=(2, 1), padding=(1, 0))
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=-100)
        rows = np.lib.stride_tricks.sliding_window_view(padded.max(3), 3, axis=2)[:, :, ::2]
        assert_same(tall, rows.max(3)[..., None])
        if dtype != "int16":
            np.testing.assert_allclose(
                fastconv.global_avg_pool2d(view),
                x.mean((2, 3), keepdims=True, dtype=float),
                rtol=2 * np.finfo(dtype).eps,
            )
    if dtype != "int16":
        x[1, 2, 3, width - 1] = np.nan
        assert_same(fastconv.global_max_pool2d(x), x.max((2, 3), keepdims=True))


def test_global():
    x = integers((2, 3, 9, 11))[:, :, ::-1, ::2]
    assert_same(fastconv.global_max_pool2d(x), x.max((2, 3), keepdims=True))
    means = x.astype(np.float64).mean((2, 3), keepdims=True)
    np.testing.assert_allclose(fastconv.global_avg_pool2d(x), means, rtol=2**-23)


@pytest.mark.parametrize("norm", [1, 2, 3.5, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lp(norm, dtype):
    x = np.random.default_rng(2).uniform(1, 2, (2, 3, 9, 12)).astype(dtype)
    axes = [[[q, q + 1, q + 2] for q in range(0, i - 2, 2)] for i in (9, 12)]
    expected = naive(np.sum, x.astype(np.float64) ** norm, axes) ** (1 / norm)
    got = fastconv.lp_pool2d(x, norm, 3, 2)
    assert got.dtype == dtype
    # Each of power, 9 sums, division, product and root rounds, and powers are good to 2 units.
    np.testing.assert_allclose(got, expected, rtol=16 * np.finfo(dtype).eps)
    line = fastconv.lp_pool1d(x[0], norm, 2) if x.ndim == 3 else fastconv.lp_pool1d(x[:, 0], norm, 2)
    pairs = (x[:, 0, :, ::2].astype(np.float64) ** norm + x[:, 0, :, 1::2].astype(np.float64) ** norm) ** (1 / norm)
    np.testing.assert_allclose(line, pairs, rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("size", [1, 4, (7, 3), (11, 19)])
def test_fractional(size):
    x = integers((2, 3, 12, 20))
    x[0, 0, 5, 5] = NAN
    samples = np.random.default_rng(4).random((2, 3, 2))
    out, indices = fastconv.fractional_max_pool2d(x, 2, size, None, True, samples)
    for plane in np.ndindex(2, 3):
        axes = []
        for i, o, u in zip((12, 20), pair(size), samples[plane][::-1], strict=True):
            step = (i - 2) / max(1, o - 1)
            begins = [int((at + u) * step) - int(u * step) for at in range(o - 1)] + [i - 2]
            axes.append([[begin, begin + 1] for begin in begins])
        np.testing.assert_array_equal(out[plane], naive(np.max, x[plane], axes), strict=True)
    check_indices(x, out, indices, 2)


def test_fractional_draws():
    x = integers((2, 3, 32, 32))
    first, same, other = (fastconv.fractional_max_pool2d(x, 2, output_ratio=0.7, rng=seed) for seed in (1, 1, 2))
    assert first.shape == (2, 3, 22, 22)
    assert_same(first, same)
    assert (first != other).any()
    np.testing.assert_array_equal(first[..., -1, -1], x[..., -2:, -2:].max((-2, -1)))


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint64])
def test_unpool_puts_back(dtype):
    x = np.arange(1, 2 * 3 * 6 * 10 + 1).reshape(2, 3, 6, 10).astype(dtype)
    x = np.random.default_rng(3).permuted(x, axis=-1)
    out, indices = max_pool2d(x, 2, return_indices=True)
    kept = np.zeros(x.shape, bool).reshape(6, -1)
    np.put_along_axis(kept, indices.reshape(6, -1), True, axis=1)
    expected = np.where(kept.reshape(x.shape), x, np.zeros((), dtype))
    assert_same(fastconv.max_unpool2d(out, indices, 2), expected)
    larger = fastconv.max_unpool2d(out[0], indices[0], 2, output_size=(3, 7, 11)[1:])
    assert larger.shape == (3, 7, 11)
    assert_same(larger.reshape(3, -1)[:, :60], expected[0].reshape(3, -1))


X3 = np.ones((1, 3, 4, 6), np.float32)
INDICES = np.zeros(X3.shape, np.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fastconv.max_pool1d(X3, 2), "expected 3 axes"),
        (lambda: fastconv.max_pool3d(X3[0, 0], 2), "expected 5 axes"),
        (lambda: fastconv.max_pool3d(X3, (2, 2)), r"kernel_size=\(2, 2\).*3 ints"),
        (lambda: fastconv.avg_pool3d(X3, 2, 1, 2), "half the kernel"),
        (lambda: fastconv.avg_pool3d(X3, 2, divisor_override=0), "divisor_override=0"),
        (lambda: fastconv.avg_pool1d(X3[0], 7), "larger than"),
        (lambda: fastconv.lp_pool2d(X3, 0, 2), "norm_type=0"),
        (lambda: fastconv.lp_pool2d(X3, INF, 2), "norm_type=inf"),
        (lambda: fastconv.lp_pool2d(X3, "2", 2), "norm_type='2'"),
        (lambda: fastconv.lp_pool2d(X3, 2, 0), "kernel_size=0"),
        (lambda: fastconv.adaptive_max_pool2d(X3, 0), "output_size=0"),
        (lambda: fastconv.adaptive_max_pool2d(X3, -1), "output_size=-1"),
        (lambda: fastconv.adaptive_max_pool2d(X3, 2.0), r"output_size=2\.0"),
        (lambda: fastconv.adaptive_max_pool2d(X3, (1, 2, 3)), r"output_size=\(1, 2, 3\)"),
        (lambda: fastconv.adaptive_avg_pool2d(X3, 2**62), "output_size=4611686018427387904"),
        (lambda: fastconv.adaptive_avg_pool2d(np.ones((2, 0, 4, 4)), 2), "at least 1 channel"),
        (lambda: fastconv.adaptive_avg_pool1d(np.ones((2, 3, 0)), 2), "at least 1 channel"),
        (lambda: fastconv.global_avg_pool2d(np.ones((0, 0, 0, 0))), "at least 1 channel"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2), "expected one of them"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2, 2, 0.5), "expected one of them"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2, output_ratio=1.5), r"output_ratio=1\.5"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2, output_ratio=(0.5, NAN)), "output_ratio"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2, output_ratio=0.1), "no output"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2, 4), "larger than the input"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2, 2, _random_samples=[[[0.5, 1.0]] * 3]), "below 1"),
        (lambda: fastconv.fractional_max_pool2d(X3, 2, 2, _random_samples=[0.5, 0.5]), r"shape \(1, 3, 2\)"),
        (lambda: fastconv.max_unpool2d(X3, INDICES - 1, 2), "indices contain -1"),
        (lambda: fastconv.max_unpool2d(X3, INDICES + 96, 2), "indices contain 96"),
        (lambda: fastconv.max_unpool2d(X3, INDICES[0], 2), "indices of shape"),
        (lambda: fastconv.max_unpool2d(X3, INDICES, 2, output_size=(10, 12)), "output_size"),
        (lambda: fastconv.max_unpool2d(X3, INDICES, 2, 1, 9), "the output would be"),
        (lambda: fastconv.max_unpool2d(X3, INDICES, 2**62), "the output would be"),
    ],
)
def test_bad_input_of_the_others(call, message):
    with pytest.raises(GeometryError, match=message):
        call()


def test_indices_that_are_no_integers():
    with pytest.raises(TypeError, match="indices of dtype float32"):
        fastconv.max_unpool2d(X3, X3, 2)


def test_strides_that_a_vector_of_bytes_would_not_span():
    wide = np.broadcast_to(np.int8(3), (1, 1, 1, 2**57))
    assert_same(max_pool2d(wide, (1, 2), 2**56 - 1), np.full((1, 1, 1, 3), 3, np.int8))


# --- large windows


# The pooling of one image of so many values a window, or more, by each of the ways in which means are computed.
LARGE_MEANS = {
    "folded plane": ((1024, 1024), lambda x: fastconv.global_avg_pool2d(x)),
    "folded rows": ((1024, 1100), lambda x: fastconv.global_avg_pool2d(x[..., :1024])),
    "folded steps": ((1024, 2048), lambda x: fastconv.global_avg_pool2d(x[..., ::2])),
    "narrow rows": ((100_000, 13), lambda x: fastconv.global_avg_pool2d(x[..., :11])),
    "one column": ((1_000_000, 1), lambda x: fastconv.global_avg_pool2d(x)),
    "columns of windows": ((1030, 2060), lambda x: fastconv.avg_pool2d(x, 1000, 1010)),
    "padded": ((800, 800), lambda x: fastconv.avg_pool2d(x, 801, 400, 400, count_include_pad=False)),
    "doubled": ((700, 700), lambda x: fastconv.avg_pool2d(x, 690, 2)),
    "tall": ((200_000, 12), lambda x: fastconv.avg_pool2d(x, (100_000, 3))),
    "tall, of one column": ((200_000, 3), lambda x: fastconv.avg_pool2d(x, (100_000, 2))),
    "wide": ((6, 200_000), lambda x: fastconv.avg_pool2d(x, (3, 100_000))),
    "uneven": ((1001, 1003), lambda x: fastconv.adaptive_avg_pool2d(x, 2)),
    "signal": ((1_000_000,), lambda x: fastconv.avg_pool1d(x, 400_000)),
    "uneven signal": ((1_000_001,), lambda x: fastconv.adaptive_avg_pool1d(x, 2)),
    "volume": ((100, 100, 100), lambda x: fastconv.avg_pool3d(x, 100)),
    "deep volume": ((100_000, 2, 2), lambda x: fastconv.avg_pool3d(x, (50_000, 1, 1))),
    "norm": ((1024, 1024), lambda x: fastconv.lp_pool2d(x, 1, 1024) / 2**20),
}


@pytest.mark.parametrize("name", LARGE_MEANS)
def test_means_of_large_windows_do_not_drift(name):
    extent, mean = LARGE_MEANS[name]
    value = np.float32(0.7)
    # Three levels of 64 additions each, and a few of lanes and blocks, each of which rounds by half a unit at most.
    rtol = 100 * np.finfo("float32").eps
    np.testing.assert_allclose(mean(np.full((1, 1, *extent), value)), value, rtol=rtol)
    noise = np.random.default_rng(0).standard_normal((1, 1, *extent), "float32") + np.float32(1e4)
    np.testing.assert_allclose(mean(noise), mean(noise.astype(np.float64)), rtol=rtol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_means_of_large_windows_do_not_depend_on_threads_or_batches(dtype):
    x = np.random.default_rng(0).standard_normal((2, 3, 300, 310)).astype(dtype)
    for mean in (fastconv.global_avg_pool2d, lambda x: fastconv.avg_pool2d(x, 140, 150)):
        outs = []
        for threads in (1, 2, 3):
            with fastconv.num_threads(threads):
                outs.append(mean(x))
        outs.append(np.concatenate([mean(image[None]) for image in x]))
        assert len({out.tobytes() for out in outs}) == 1


def test_infinities_in_large_windows_stay_in_theirs():
    x = np.ones((1, 1, 400, 800), np.float32)
    x[0, 0, 3, 5], x[0, 0, 3, 500] = np.inf, np.nan
    np.testing.assert_array_equal(fastconv.avg_pool2d(x, 200)[0, 0], [[np.inf, 1, np.nan, 1], [1, 1, 1, 1]])


# --- how the work is cut does not show


@pytest.mark.parametrize("window", [(2, 2), (3, 1, 1), (13, 1, 6)])
def test_thread_counts_agree_bit_by_bit(window):
    x = np.random.default_rng(7).standard_normal((2, 7, 90, 300)).astype(np.float32)

    def run(threads):
        with fastconv.num_threads(threads):
            return [out.tobytes() for out in (avg_pool2d(x, *window), *max_pool2d(x, *window, return_indices=True))]

    expected = run(1)
    for threads in (2, 3, 7):
        assert run(threads) == expected


@pytest.mark.parametrize("window", [(2, 2), (3, 1, 1), (13, 1, 6)])
def test_an_image_pools_alike_in_any_batch(window):
    x = np.random.default_rng(7).standard_normal((5, 7, 90, 300)).astype(np.float32)
    batches = avg_pool2d(x, *window), *max_pool2d(x, *window, return_indices=True)
    alone = avg_pool2d(x[3:4], *window), *max_pool2d(x[3:4], *window, return_indices=True)
    assert [out[3].tobytes() for out in batches] == [out.tobytes() for out in alone]


SOLVED = (
    "n2 c3 ih13 iw17 k3 s2 p1",
    "n1 c2 ih24 iw20 kh4 kw5 sh4 sw5",
    "n1 c2 ih9 iw70 kh2 kw33 sh3 sw18",
    "n2 c2 ih16 iw18 k7 s1 p3 ceil",
    "n1 c3 i12 k12 s12",
)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
@pytest.mark.parametrize("descriptor", SOLVED)
@pytest.mark.parametrize("kind", pooling.KINDS, ids=attrgetter("name"))
def test_every_solver_finds_the_same(kind, descriptor, layout, dtype):
    g = PoolGeometry.parse(descriptor)
    x = integers(g.x_shape, dtype)
    if layout == "transposed":
        x = np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    window = g.kernel, g.stride, [begin for begin, _ in g.padding]
    able = [solver for solver in kind.solvers if solver.refuse(g, x.dtype) is None]
    assert bool(able) == (not kind.averages or dtype == "float32")
    for solver in able:
        plan = planner.plan(g, dtype, kind=kind, strategy=solver.name)
        found = plan.strategy.bind(plan, x.strides, g.out_shape)(x)
        if kind.averages:
            sums, _, divisors = oracle_mean(x, *window, g.ceil_mode)
            assert_same(found, sums.astype(dtype) / divisors.astype(dtype))
        else:
            maxima, indices = oracle_max(x, *window, 1, g.ceil_mode)
            assert_same(found[0] if kind.positions else found, maxima)
            if kind.positions:
                assert_same(found[1], indices)


PLACED = (
    "n2 c3 ih9 iw40 k3 s1 p1",
    "n1 c2 ih11 iw37 kh2 kw3 sh3 sw2 pl1 pr1",
    "n1 c2 ih7 iw90 kh3 kw5 sh1 sw3 pl2 pr2 dh2 dw1",
    "n1 c2 ih6 iw40 kh1 kw4 sh1 sw1 pl2 pr2 dh1 dw2",
    "n3 c2 i6 k2 s2",
)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("descriptor", PLACED)
def test_places_of_every_type(descriptor, dtype):
    """Vectors against windows one by one: of equal values the first, of NaNs the last, and the least value there is."""
    kind, g = KINDS["max_pool_indices"], PoolGeometry.parse(descriptor)
    rng = np.random.default_rng(len(descriptor))
    few = [NAN, -INF, -INF, -INF, 0.0, -0.0, 1.0] if dtype[0] == "f" else [np.iinfo(dtype).min] * 4 + [1, 100]
    for values in (few, few[1:3]):
        x = rng.choice(np.array(values, dtype), g.x_shape)
        found = []
        for name in ("places", "walking"):
            plan = planner.plan(g, dtype, kind=kind, strategy=name)
            found.append(plan.strategy.bind(plan, x.strides, g.out_shape)(x))
        (maxima, places), (expected, expected_places) = found
        assert_same(places, expected_places)
        assert maxima.tobytes() == expected.tobytes()


def test_places_are_found_by_walking_where_vectors_cannot():
    for descriptor, reason in (
        ("c1 ih1 iw40 kh1 kw2 s1 pl1 pr1 dh1 dw41", "some windows see nothing but padding"),
        ("c1 ih1 iw9000000 kh1 kw2000000 s1", "folds a window of 2000000 taps without a break"),
    ):
        candidates = {c.name: c.refusal for c in fastconv.plan(descriptor, "max_pool_indices").candidates}
        assert reason in candidates["places"]
        assert candidates["walking"] is None


@pytest.mark.parametrize(
    ("kind", "descriptor", "solver"),
    [
        ("max_pool", "c8 i56 k3 s2 p1", "direct"),
        ("max_pool", "c8 i56 k13 p6", "doubling"),
        ("max_pool", "c8 i7 k7 s7", "folding"),
        ("max_pool", "c8 i6 k5 s1 p2 d2", "direct"),
        ("max_pool", "c8 ih20 iw5 kh3 kw5", "walking"),
        ("max_pool", "c8 iw500 kw50 sw20", "direct"),
        ("avg_pool", "c8 iw500 kw50 sw20", "folding"),
        ("avg_pool", "c8 i28 k4 s4", "adaptive"),
        ("avg_pool", "c8 i28 k3 s3", "direct"),
        ("avg_pool", "c8 i7 o3 adaptive", "adaptive"),
        ("max_pool", "c8 i7 o3 adaptive", "walking"),
        ("max_pool_indices", "c8 i56 k13 p6", "places"),
        ("max_pool_indices", "c8 i9 o4 k2 drawn", "walking"),
        ("avg_pool", "c8 i9 id9 k2", "passes"),
        ("avg_pool", "c1 id9 ih9 iw32 kd3 kh3 kw1 sd2 sh2 sw1", "pixels"),
        ("max_pool", "c1 id40 ih9 iw32 kd33 kh3 kw1 s1", "passes"),
    ],
)
def test_the_first_solver_that_does_not_decline_is_chosen(kind, descriptor, solver):
    """Whatever this machine's rates, which change estimates: means then have the same bits everywhere."""
    plans = [fastconv.plan(descriptor, kind)]
    with rates.substituted(rates.Rates(*(1000 * rate for rate in rates.REFERENCE))):
        planner.forget_plans()
        plans.append(fastconv.plan(descriptor, kind))
    planner.forget_plans()
    assert {plan.strategy.name for plan in plans} == {solver}
    assert f"{solver}, the first that is not left out, on " in str(plans[0])
    refusals = {c.name: c.refusal for c in plans[0].candidates}
    assert refusals.pop(solver) is None
    before = list(refusals)[: [s.name for s in KINDS[kind].solvers].index(solver)]
    assert all(refusals[name] for name in before)


def test_means_of_dilated_windows_have_no_solver():
    with pytest.raises(fastconv.UnsupportedError, match="means of dilated windows are not defined"):
        fastconv.plan("c8 i56 k3 d2", "avg_pool")


@pytest.mark.parametrize("extent", range(1, 14))
@pytest.mark.parametrize("outputs", range(1, 9))
def test_the_largest_adaptive_window(extent, outputs):
    windows = [range(w * extent // outputs, -(-(w + 1) * extent // outputs)) for w in range(outputs)]
    assert adaptive_geometry(1, 1, (extent,), (outputs,)).kw == max(map(len, windows))


@pytest.mark.parametrize(
    "descriptor", ["c3 i9 o4 k7 drawn", "c3 i9 o0 adaptive", "c3 i9 o4 k2", "c3 i9 o4 drawn adaptive"]
)
def test_uneven_windows_that_do_not_exist(descriptor):
    with pytest.raises(GeometryError):
        fastconv.plan(descriptor, "max_pool")


@pytest.fixture
def small_cuts(monkeypatch):
    """Strips for one row, tiles of few rows; calls that were cut otherwise are forgotten, before and after."""
    monkeypatch.setattr(direct, "_STRIP_BYTES", 1)
    monkeypatch.setattr(base, "GRAIN_VALUES", 32)
    pooling._regular.cache_clear()
    yield
    pooling._regular.cache_clear()


@pytest.mark.usefixtures("small_cuts")
@pytest.mark.parametrize("window", [(2, 2), (3, 1, 1), (7, 1, 3), ((4, 5), (3, 1), 2)])
def test_small_tiles_and_strips(window):
    x = integers((2, 2, 40, 20))
    check_max(x, *window)
    check_mean(x, *window)


def test_later_calls_do_not_reuse_another_signature():
    """2 == 2.0 == True and shapes of equal size: keys of a cache that must not meet."""
    x = integers((1, 1, 6, 6))
    check_max(x, (2, 2))
    with pytest.raises(GeometryError, match=r"kernel_size=\(2\.0, 2\)"):
        max_pool2d(x, (2.0, 2))
    with pytest.raises(GeometryError, match=r"stride=2\.0"):
        max_pool2d(x, 2, 2.0)
    check_max(x.reshape(1, 1, 4, 9), (2, 2))
    check_max(x.swapaxes(2, 3), (2, 2))
    check_mean(x, (2, 2), None, 1, True, True)
    check_mean(x, (2, 2), None, 1, True, False)


# --- bad input

X = np.ones((1, 3, 5, 5), np.float32)
ONE = np.ones((1, 1, 1, 1), np.float32)
HUGE = np.broadcast_to(np.float32(1), (1, 1, 2**30, 2**29))


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
@pytest.mark.parametrize(
    ("x", "window", "message"),
    [
        (X, (0,), "kernel_size=0"),
        (X, (-1,), "kernel_size=-1"),
        (X, ((2, 0),), r"kernel_size=\(2, 0\)"),
        (X, (2.0,), "kernel_size=2.0"),
        (X, ("2",), "kernel_size='2'"),
        (X, (None,), "kernel_size=None"),
        (X, (itertools.repeat(2),), r"kernel_size=repeat\(2\)"),
        (X, ([2, 2, 2],), r"kernel_size=[\[(]2, 2, 2[\])].*2 ints"),
        (X, (6,), "kernel 6×6"),
        (X, (2**63,), "kernel 9223372036854775808"),
        (X, (2, 0), "stride=0"),
        (X, (2, -1), "stride=-1"),
        (X, (2, (1, 1, 1)), r"stride=\(1, 1, 1\)"),
        (X, (2, 2**63), "stride 9223372036854775808"),
        (X, (2, 1, -1), "padding=-1"),
        (X, (2, 1, 2), r"padding=\(\(2, 2\), \(2, 2\)\).*half the kernel 2×2"),
        (X, (2, 1, (0, 0, 0)), r"padding=\(0, 0, 0\)"),
        (X, (2, 1, 9223372036854775803), "9223372036854775803"),
        (X, (2, 1, "same"), "padding='same'"),
        (ONE, (125, 1, 63), "63.*half the kernel 125×125"),
        (ONE, (2**60, 1, 2**59), "kernel 1152921504606846976"),
        (HUGE, (2,), "more elements than memory has addresses"),
        (np.ones((2, 0, 4, 4), np.float32), (2,), "0 channels"),
        (np.ones((0, 4, 4), np.float32), (2,), "0 channels"),
        (np.ones((1, 3, 0, 4), np.float32), (2,), "0×4"),
        (np.ones((0, 0, 0, 0), np.float32), (2,), "0 channels"),
        (np.ones((5, 5), np.float32), (2,), r"shape \(5, 5\): expected 4 axes"),
        (np.ones((1, 1, 1, 5, 5), np.float32), (2,), "expected 4 axes"),
        (np.float32(1), (2,), r"shape \(\): expected 4 axes"),
    ],
)
def test_bad_geometry(pool, x, window, message):
    with pytest.raises(GeometryError, match=message):
        pool(x, *window)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((2, 1, 0, 0), "dilation=0"),
        ((2, 1, 0, (1, 1, 1)), r"dilation=\(1, 1, 1\)"),
        ((2, 1, 0, 5), "dilation 5×5"),
        ((2, 1, 0, 2**31), "dilation 2147483648"),
        ((1, 1, 0, 2**63), "dilation 9223372036854775808"),
    ],
)
def test_bad_dilation(window, message):
    with pytest.raises(GeometryError, match=message):
        max_pool2d(X, *window)


@pytest.mark.parametrize("divisor", [0, 0.5, 2**63, -(2**70), 10**400, "a"])
def test_bad_divisor(divisor):
    with pytest.raises(GeometryError, match=f"divisor_override={divisor!r}: expected None or a nonzero int"):
        avg_pool2d(X, 2, divisor_override=divisor)


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
@pytest.mark.parametrize("dtype", ["f2", "g", "c8", "c16", "?", "O", "U3", "M8[s]", "V4"])
def test_other_types(pool, dtype):
    with pytest.raises(TypeError, match=r"expected float32.*astype"):
        pool(np.zeros((1, 4, 4), dtype), 2)


def test_means_of_integers_are_refused():
    with pytest.raises(TypeError, match="x int64"):
        avg_pool2d(np.zeros((1, 4, 4), np.int64), 2)


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
def test_masked_arrays(pool):
    with pytest.raises(TypeError, match="masked"):
        pool(np.ma.ones((1, 4, 4), dtype=np.float32), 2)


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
def test_extreme_windows_are_cheap(pool):
    """Valid, and the taps outside the image must not be walked one by one."""
    assert pool(ONE, 125, 1, 62).shape == (1, 1, 1, 1)
    assert pool(ONE, 2**57, 1, 2**56).shape == (1, 1, 2, 2)
    assert pool(ONE, 2**57, 2**56, 2**56, ceil_mode=True).shape == (1, 1, 2, 2)
    assert pool(X, 2, 2**57).shape == (1, 3, 1, 1)
    wide = np.broadcast_to(np.float32(1), (1, 1, 1, 2**57))
    np.testing.assert_array_equal(pool(wide, (1, 2), 2**56), np.ones((1, 1, 1, 2)))


# --- torch itself, where it is installed


def test_against_torch():
    torch = pytest.importorskip("torch", reason="torch, a peer that fastconv does not need, is not installed")
    rng = np.random.default_rng(11)
    for _ in range(100):
        kernel = tuple(map(int, rng.integers(4, 8, 2)))
        window = (
            kernel,
            tuple(map(int, rng.integers(1, 6, 2))),
            tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
        )
        ceil_mode, include = map(bool, rng.integers(0, 2, 2))
        x = integers((2, 3, *rng.integers(8, 20, 2)), seed=int(rng.integers(2**32)))
        x[rng.random(x.shape) < 0.02] = NAN
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = torch.nn.functional.max_pool2d(torch.from_numpy(x), *window, 1, ceil_mode, return_indices=True)
            means = torch.nn.functional.avg_pool2d(torch.from_numpy(x), *window, ceil_mode, include)
        got = max_pool2d(x, *window, 1, ceil_mode, return_indices=True)
        for ours, theirs in zip(got, expected, strict=True):
            assert_same(ours, theirs.numpy())
        assert_same(avg_pool2d(x, *window, ceil_mode, include), means.numpy())


@pytest.mark.parametrize(
    "name", ["max_pool1d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "fractional"]
)
def test_other_maxima_against_torch(name):
    torch = pytest.importorskip("torch", reason="torch, a peer that fastconv does not need, is not installed")
    extent = {"1": (33,), "3": (6, 9, 7)}.get(name[-2], (13, 17))
    x = integers((2, 3, *extent))
    x[np.random.default_rng(12).random(x.shape) < 0.02] = NAN
    if name == "fractional":
        samples = np.random.default_rng(13).random((2, 3, 2)).astype(np.float32)
        theirs = torch.nn.functional.fractional_max_pool2d(
            torch.from_numpy(x), 2, (4, 7), return_indices=True, _random_samples=torch.from_numpy(samples)
        )
        ours = fastconv.fractional_max_pool2d(x, 2, (4, 7), None, True, samples)
    else:
        window = (5,) if name.startswith("adaptive") else (3, 2, 1, 1, True)
        theirs = getattr(torch.nn.functional, name)(torch.from_numpy(x), *window, return_indices=True)
        ours = getattr(fastconv, name)(x, *window, return_indices=True)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(our, their.numpy(), strict=True)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("avg_pool1d", (3, 2, 1, True, False)),
        ("avg_pool3d", (3, 2, 1, True, True)),
        ("avg_pool3d", (3, 2, 1, True, True, 5)),
        ("lp_pool1d", (2, 3, 2, True)),
        ("lp_pool2d", (3, 2, 2, True)),
        ("adaptive_avg_pool1d", (5,)),
        ("adaptive_avg_pool2d", ((4, None),)),
    ],
)
def test_other_means_against_torch(name, arguments):
    torch = pytest.importorskip("torch", reason="torch, a peer that fastconv does not need, is not installed")
    extent = {"1": (33,), "3": (6, 9, 7)}.get(name[-2], (13, 17))
    x = integers((2, 3, *extent))
    theirs = getattr(torch.nn.functional, name)(torch.from_numpy(x), *arguments).numpy()
    # Sums of small integers are exact; a root, a power and two divisions round.
    np.testing.assert_allclose(getattr(fastconv, name)(x, *arguments), theirs, rtol=2**-20)


def test_unpool_against_torch():
    torch = pytest.importorskip("torch", reason="torch, a peer that fastconv does not need, is not installed")
    x = integers((2, 3, 13, 17))
    out, indices = max_pool2d(x, 2, return_indices=True)
    theirs = torch.nn.functional.max_unpool2d(*map(torch.from_numpy, (out, indices)), 2, output_size=x.shape)
    assert_same(fastconv.max_unpool2d(out, indices, 2, output_size=x.shape), theirs.numpy())
