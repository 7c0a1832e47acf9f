"""Direct convolution: the shapes that its blocks, tiles and strips come in, of every type."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

import fastconv
from cases import integers
from fastconv.engine.convolution import BY_NAME
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.direct import _HIGH_EFFICIENCY, _lanes, _tiling
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.kernels import sweep

DIRECT = BY_NAME["direct"]
F4 = np.dtype("float32")

BLOCK_ROWS = (3, sweep.WIDE_ROWS, sweep.WIDE_3_ROWS, *_HIGH_EFFICIENCY)


def run(geometry, x, weight, epilogue=PLAIN):
    """Into an output between guards, which must not be written."""
    guarded = np.full(geometry.n * geometry.oc * geometry.positions + 128, 77, x.dtype)
    out = guarded[64:-64].reshape(geometry.out_shape)
    DIRECT.run(geometry, x, weight, out, epilogue, 2, DEFAULT_MAX_WORKSPACE)
    assert (guarded[:64] == 77).all()
    assert (guarded[-64:] == 77).all()
    return out


def check(geometry, dtype="float32", view=lambda x: x):
    x, weight = integers(geometry, dtype)
    np.testing.assert_array_equal(run(geometry, view(x), weight), convolve(geometry, x, weight, PLAIN))


@pytest.mark.per_isa
@pytest.mark.parametrize("kh", range(1, 2 * sweep.RUN["f"] + 3))
@pytest.mark.parametrize("extent", ["ih30 iw20", "ih12 iw320"])
def test_columns_of_every_number_of_taps(kh, extent):
    """Whole columns, and runs of them: up to TAPS, and all that leave some rest."""
    check(ConvGeometry.parse(f"ic2 oc2 {extent} kh{kh} kw3 p2"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
def test_planes_around_the_extents_of_blocks(dtype, stride):
    """One more and one less than blocks of every kind, in both directions."""
    lanes = _lanes(np.dtype(dtype))
    heights = sorted({rows * n + d for rows in BLOCK_ROWS for n in (1, 2) for d in (-1, 0, 1)})
    for oh in heights:
        for ow in (1, lanes - 1, lanes, lanes + 1, 3 * lanes + 1):
            extent = f"ih{(oh - 1) * stride + 1} iw{(ow - 1) * stride + 1}"
            check(ConvGeometry.parse(f"g2 ic2 oc2 {extent} k3 s{stride} p1"), dtype)


WIDE = {
    "in_place": "ic1 oc1 ih70 iw1000 k3 p1",
    "in_place_below_borders": "g2 n2 ic2 oc2 ih9 iw900 kh3 kw5 pt3 pb4 pl9 pr7",
    "no_borders": "ic1 oc1 ih40 iw1000 k3",
    "pages_apart": "ic1 oc1 ih40 iw1024 k15 p7",
    "two_strips_to_a_row": "ic2 oc2 ih12 iw1100 k5 p2",
    "borders_wider_than_blocks": "ic1 oc1 ih20 iw1000 kh3 kw99 p49",
    "rows_of_one_residue": "ic1 oc1 ih50 iw1000 k3 d7 p7",
    "every_second": "ic1 oc1 ih50 iw2000 k3 s2 p1",
    "every_second_dilated": "ic1 oc1 ih50 iw2000 k3 s2 dh1 dw3 p1",
    "no_shared_lines": "ic1 oc1 ih50 iw1000 k3 sh3 sw1 p1",
    "flat": "ic1 oc1 iw20000 kw65 pl32 pr32",
    "flat_every_second": "ic1 oc1 iw20000 kw9 s2 p3",
    "flat_of_two_rows": "ic1 oc1 ih4 iw3000 k3",
    "phases": "ic1 oc2 ih20 iw3000 kh2 kw7 sh1 sw3 p2",
    "a_plane_for_each_tap": "ic1 oc1 ih12 iw3000 k3 s7 d5 p9",
}


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
def test_sums_that_roll_down_planes_of_every_height(stride, dtype):
    """From one row, which no round of rows is complete in, to two rounds; and from less than a vector to some more."""
    lanes = _lanes(np.dtype(dtype))
    widths = (1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 1, 4 * lanes)
    for oh, ow in itertools.product(range(1, 8), widths):
        extent = f"ih{(oh - 1) * stride + 1} iw{(ow - 1) * stride + 1}"
        check(ConvGeometry.parse(f"n2 g2 ic2 oc4 {extent} k3 s{stride} p1"), dtype)
    check(ConvGeometry.parse("ic1 oc1 ih50 iw60 k3 dh7 dw1 p7"), dtype)


@pytest.mark.parametrize("name", WIDE)
def test_wide_planes(name):
    check(ConvGeometry.parse(WIDE[name]).as_2d())


def test_some_of_them_are_read_in_place_and_others_are_not():
    def in_place(name):
        g = ConvGeometry.parse(WIDE[name]).as_2d()
        return bool(_tiling(g, F4, g.iw, 1).arguments.in_place)

    places = {name: in_place(name) for name in WIDE}
    assert places["in_place"]
    assert places["rows_of_one_residue"]
    assert not places["pages_apart"]
    assert not places["phases"]


@pytest.mark.parametrize("view", ["reversed", "columns", "transposed", "broadcast"])
def test_wide_views(view):
    views = {
        "reversed": lambda x: np.ascontiguousarray(x[..., ::-1, :])[..., ::-1, :],
        "columns": lambda x: np.repeat(x, 3, axis=-1)[..., ::3],
        "transposed": np.asfortranarray,
        "broadcast": lambda x: np.broadcast_to(x[..., :1, :], x.shape),
    }
    geometry = ConvGeometry.parse("ic1 oc1 ih40 iw1000 k3 p1")
    x, weight = integers(geometry, "float32")
    x = views[view](x)
    np.testing.assert_array_equal(run(geometry, x, weight), convolve(geometry, x, weight, PLAIN))


def test_neither_image_nor_weight_is_read_past_its_end():
    """They lie between NaN, which any sum would keep."""
    for descriptor in (
        "ic2 oc3 ih9 iw1000 k3 p1",
        "ic1 oc1 ih9 iw101 k3 s2",
        "ic1 oc1 ih9 iw99 k3",
        "g2 ic2 oc2 ih21 iw64 k3 s2",
        "ic1 oc1 iw999 kw7",
        "ic1 oc1 i7 k7",
    ):
        geometry = ConvGeometry.parse(descriptor).as_2d()
        operands = []
        for array in integers(geometry, "float32"):
            room = np.full(array.size + 256, np.nan, np.float32)
            room[128:-128] = array.ravel()
            operands.append(room[128:-128].reshape(array.shape))
        assert np.isfinite(run(geometry, *operands)).all()


@pytest.mark.parametrize("activation", range(9))
@pytest.mark.parametrize("descriptor", ["ic1 oc2 ih5 iw6 k3", "ic1 oc2 ih12 iw1000 k3 p1"])
def test_bias_and_activation_of_small_and_wide_planes(activation, descriptor):
    geometry = ConvGeometry.parse(descriptor)
    x, weight = integers(geometry, "float32")
    epilogue = Epilogue(np.array([3, -40], np.float32), activation, 0.25)
    expected = convolve(
        geometry, x.astype(float), weight.astype(float), Epilogue(epilogue.bias.astype(float), activation, 0.25)
    )
    np.testing.assert_allclose(run(geometry, x, weight, epilogue), expected, rtol=1e-5, atol=1e-5)


INTEGERS_AND_COMPLEX = "bBhHiIlLqQFD"


def drawn(rng, shape, char):
    """Whole numbers, of any value if their sums wrap around, else so small that those are exact."""
    if char in "FD":
        return (rng.integers(-9, 10, shape) + 1j * rng.integers(-9, 10, shape)).astype(char)
    if char in "fd":
        return rng.integers(-9, 10, shape).astype(char)
    info = np.iinfo(char)
    return rng.integers(info.min, info.max, shape, dtype=char, endpoint=True)


@pytest.mark.per_isa
@pytest.mark.parametrize("char", INTEGERS_AND_COMPLEX)
def test_integers_wrap_around_and_complex_numbers_multiply(char):
    """As the sums of products that NumPy takes in the type itself."""
    rng = np.random.default_rng(0)
    for shape, kernel in (((21, 33), (3, 4)), ((5, 6), (3, 2)), ((22, 140), (9, 8)), ((9, 300), (3, 3))):
        image, taps = drawn(rng, shape, char), drawn(rng, kernel, char)
        expected = signal.correlate2d(image, taps.conj(), "valid")
        geometry = ConvGeometry.from_shapes((1, 1, *shape), (1, 1, *kernel))
        out = run(geometry, image[None, None], taps[None, None])
        np.testing.assert_array_equal(out[0, 0], expected)


@pytest.mark.per_isa
@pytest.mark.parametrize("char", "fd" + INTEGERS_AND_COMPLEX)
@pytest.mark.parametrize("kernel", [(1, 7), (2, 3), (3, 3), (5, 5), (6, 1), (7, 4), (11, 2)])
def test_planes_of_odd_extents_of_every_type(char, kernel):
    """Around the extents of every block, borders on all sides."""
    rng = np.random.default_rng(kernel)
    lanes = _lanes(np.dtype(char))
    for rows in sorted({rows + d for rows in (1, *BLOCK_ROWS) for d in (0, 1)}):
        for cols in (1, lanes + 1, 2 * lanes - 1, 2 * lanes, 3 * lanes + 1):
            if rows + 6 < kernel[0]:
                continue
            descriptor = f"ic1 oc1 ih{rows} iw{cols} kh{kernel[0]} kw{kernel[1]} pt2 pb4 pl1 pr5"
            geometry = ConvGeometry.parse(descriptor)
            x, weight = drawn(rng, (1, 1, rows, cols), char), drawn(rng, (1, 1, *kernel), char)
            around = np.zeros((rows + 6, cols + 6), char)
            around[2:-4, 1:-5] = x[0, 0]
            expected = signal.correlate2d(around, weight[0, 0].conj(), "valid")
            np.testing.assert_array_equal(run(geometry, x, weight)[0, 0], expected)


@pytest.mark.parametrize("char", "hQD")
@pytest.mark.parametrize("descriptor", ["ic2 oc2 i20 k3 s2 p1", "ic1 oc2 i19 k3 s3 d2"])
def test_strides_of_other_types(char, descriptor):
    geometry = ConvGeometry.parse(descriptor)
    x, weight = (np.abs(array).astype(char) for array in integers(geometry, "float64"))
    expected = convolve(geometry, x.real.astype(float), weight.real.astype(float), PLAIN)
    np.testing.assert_array_equal(run(geometry, x, weight), expected.astype(char))


@given(
    st.tuples(*[st.integers(1, 3)] * 4),
    st.tuples(st.sampled_from([3, 7]), st.integers(1, 7)),
    st.tuples(*[st.integers(0, 9)] * 4),
    st.tuples(st.integers(1, 40), st.integers(1, 90)),
)
def test_random_windows(steps, kernel, pads, extent):
    sh, sw, dh, dw = steps
    geometry = ConvGeometry(
        n=1,
        g=1,
        ic=1,
        oc=2,
        extent=tuple(max(e, d * (k - 1) + 1) for e, d, k in zip(extent, (dh, dw), kernel, strict=True)),
        kernel=kernel,
        stride=(sh, sw),
        dilation=(dh, dw),
        padding=(pads[:2], pads[2:]),
    )
    check(geometry)


def test_nothing_is_compiled_when_it_is_called():
    """Of all types and strides: Numba is not even loaded."""
    code = """
import sys, numpy as np, fastconv
for dtype in (np.float32, np.float64):
    for stride in (1, 2, 3):
        x, weight = np.ones((1, 2, 40, 50), dtype), np.ones((2, 2, 3, 5), dtype)
        fastconv.conv2d(x, weight, stride=stride, dilation=stride, strategy="direct")
for char in "bHiQFD":
    fastconv.signal.correlate2d(np.ones((30, 40), char), np.ones((4, 7), char))
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_warmup_names_what_auto_chooses():
    assert fastconv.warmup("ic1 oc1 ih40 iw33 kh2 kw9", dtype="float64") == ("direct",)
    with pytest.raises(fastconv.GeometryError, match="nonsense"):
        fastconv.warmup("nonsense")
    with pytest.raises(TypeError, match="float32 or float64"):
        fastconv.warmup("ic1 oc1 i9 k3", dtype="int8")
