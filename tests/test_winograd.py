"""Winograd's minimal filtering: its coefficients and error, its tiles at borders and in blocks, when it is chosen."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from cases import DTYPES, normals, rounded_transforms, window
from fastconv.engine import correlation, planner
from fastconv.engine.convolution import BY_NAME, winograd, winograd_blocks
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import ACTIVATIONS, Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.kernels import cook_toom, slots

AXES = ((4, 2), (2, 3), (4, 3), (6, 3), (2, 5), (3, 5), (4, 5), (2, 7))
EACH_AXIS = pytest.mark.parametrize(("m", "r"), AXES, ids=str)
SQUARES = [(m, (r, r)) for m, r in AXES]
LINES = [(m, kernel) for m, r in AXES for kernel in ((1, r), (r, 1))]
STRIDED_SQUARES = [(m, (3, 3, 2)) for m in (2, 4)]  # and a stride of two
STRIDED = STRIDED_SQUARES + [(m, kernel) for m in (2, 4) for kernel in ((1, 3, 2), (3, 1, 2))]


def each_tile(tiles):
    return pytest.mark.parametrize(
        ("m", "kernel"), tiles, ids=lambda k: "×".join(map(str, k)) if type(k) is tuple else k
    )


EACH_TILE, EACH_SQUARE = each_tile(SQUARES + LINES + STRIDED), each_tile(SQUARES + STRIDED_SQUARES)
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES)

# `error` is an expected maximum of Gaussian errors. Sums over few channels have heavier tails; a wrong algorithm errs
# by orders of magnitude.
ERROR_FACTOR = 4


def strategy_of(m):
    return BY_NAME[f"winograd{m}"]


def parse(descriptor, kernel):
    """The geometry of a descriptor in which {k} stands for the kernel and its stride, {h} and {w} for its extents."""
    h, w, *stride = kernel
    return ConvGeometry.parse(descriptor.format(k=" ".join([f"kh{h} kw{w}", *(f"s{s}" for s in stride)]), h=h, w=w))


def exactly(geometry, x, weight, epilogue=None):
    """Exact beside the type's own rounding."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    return convolve(geometry, x.astype(wide), weight.astype(wide), epilogue or Epilogue())


def bound(m, geometry, dtype):
    """The largest credible error for standard normal data, absolute."""
    return ERROR_FACTOR * strategy_of(m).error(geometry, np.dtype(dtype)) * np.sqrt(geometry.reduction)


def conv(geometry, x, weight, bias=None, **options):
    return fastconv.conv2d(x, weight, bias, **window(geometry), **options)


def run(m, geometry, x, weight, epilogue=None, threads=1):
    strategy = strategy_of(m)
    assert strategy.refuse(geometry, x.dtype) is None
    out = np.full(geometry.out_shape, np.nan, x.dtype)
    prepared = strategy.prepare(geometry, weight, threads)
    strategy.run(geometry, x, prepared, out, epilogue or Epilogue(), threads, DEFAULT_MAX_WORKSPACE)
    return out


def assert_close(m, geometry, x, weight, out):
    expected = exactly(geometry, x, weight)
    np.testing.assert_allclose(out, expected, rtol=0, atol=bound(m, geometry, x.dtype))


def test_every_compiled_axis_is_tested():
    from fastconv.kernels.slots import AXES as compiled

    assert set(compiled) == {*((m, r, 1) for m, r in AXES), (2, 3, 2), (4, 3, 2)}


@EACH_AXIS
def test_coefficients_give_the_exact_matrices(m, r):
    """The kernel's even and odd sums, written out as matrices: simd/winograd_axis.h's formulas for unit vectors."""
    p, Q, Z, power, G = np.split(winograd._coefficients(m, r), np.cumsum([3, 9, 4, 27]))
    Q, power, G = Q.reshape(3, 3), power.reshape(3, 9), G.reshape(9, 7)
    t = m + r - 1
    q, z = (t - 1) // 2, 1 - t % 2
    BT, AT = np.zeros((t, t)), np.zeros((m, t))
    BT[-1, z::2] = Z[: q + 1]
    AT[m - 1, -1] = 1
    if z:
        BT[0, 0 : 2 * q + 1 : 2] = Z[: q + 1]
        AT[0, 0] = 1
    for j, (row, sign) in product(range(q), enumerate((1, -1), z)):
        BT[2 * j + row, 1 + z : 2 * q + z : 2] = Q[j, :q]
        BT[2 * j + row, z : 2 * q + z - 1 : 2] = sign * p[j] * Q[j, :q]
        AT[:, 2 * j + row] = [sign**i * power[j, i] for i in range(m)]
    exact = rounded_transforms(cook_toom.transforms(m, r, cook_toom.POINTS[m, r]))
    for computed, matrix in zip((AT, G[:t, :r], BT), exact, strict=True):
        np.testing.assert_allclose(computed, matrix, rtol=4 * np.finfo(float).eps, atol=0)
    assert not G[t:].any()
    assert not G[:, r:].any()
    # Rows and coefficients of leading term 1 that the kernel does not multiply by.
    assert Z[q] == 1
    assert (Q[range(q), q - 1] == 1).all()


@pytest.mark.parametrize("m", [2, 4])
def test_coefficients_of_a_stride_are_those_of_its_even_inputs(m):
    """But for the filter's transform, which is that of both phases."""
    strided, even = winograd._coefficients(m, 3, 2), winograd._coefficients(m, 2)
    np.testing.assert_array_equal(strided[:-63], even[:-63])
    _, G, _ = rounded_transforms(cook_toom.decimated(cook_toom.transforms(m, 2, cook_toom.POINTS[m, 2])))
    np.testing.assert_array_equal(strided[-63:].reshape(9, 7)[: 2 * m + 1, :3], G)


LIMITS = {2: 4e-6, 4: 1e-5, 6: 1e-4}  # of 3×3, in float32


@EACH_DTYPE
@pytest.mark.parametrize("layer", ["ic64 oc64 i28", "ic128 oc48 i28", "ic256 oc32 i14", "ic512 oc32 i14"])
def test_error_of_layers(layer, dtype):
    geometry = ConvGeometry.parse(f"{layer} k3 p1")
    x, weight = normals(geometry, dtype)
    exact = exactly(geometry, x, weight)
    for m, limit in LIMITS.items():
        worst = np.abs(run(m, geometry, x, weight) - exact).max() / np.sqrt(geometry.reduction)
        expected = strategy_of(m).error(geometry, x.dtype)
        assert expected / 10 < worst <= expected
        assert dtype == "float64" or expected <= limit


@EACH_TILE
def test_error_of_tiles(m, kernel):
    geometry = parse("ic64 oc16 i30 {k}", kernel)
    x, weight = normals(geometry, "float32")
    worst = np.abs(run(m, geometry, x, weight) - exactly(geometry, x, weight)).max() / np.sqrt(geometry.reduction)
    expected = strategy_of(m).error(geometry, x.dtype)
    assert expected / 10 < worst <= expected
    assert expected <= 1e-4
    assert 1 not in kernel or expected <= 1e-5


@EACH_TILE
def test_a_filter_in_double_precision_is_a_plain_sum_by_default(m, kernel):
    """Of one channel no tile errs as little as a plain sum, whatever it costs."""
    for extent in (40, 2000):
        geometry = parse(f"ic1 oc1 i{extent} {{k}} p3", kernel)
        assert strategy_of(m).refuse(geometry, np.dtype("float64")) is None
        for prepared in (False, True):
            assert f"winograd{m}" not in able(planner.plan(geometry, "float64", prepared=prepared))
        plan = correlation.plan_for((extent, extent), geometry.kernel, "d", geometry.padding, "zeros", None, "auto", 1)
        assert f"winograd{m}" not in able(plan.parts[0].plan)


def chosen(geometry, dtype, **options):
    return planner.plan(geometry, dtype, prepared=True, **options)


LAYERS = [ConvGeometry.parse(f"ic{c} oc{c} i{i} k3 p1") for c, i in ((64, 56), (128, 28), (256, 14), (512, 14))]
EACH_LAYER = pytest.mark.parametrize("geometry", LAYERS, ids=str)


@EACH_LAYER
@EACH_DTYPE
def test_no_tolerance_means_plain_sums(geometry, dtype):
    plan = chosen(geometry, dtype, tolerance=0)
    assert plan.componentwise
    refusals = {c.name: c.refusal for c in plan.candidates}
    assert all("tolerance" in refusals[f"winograd{m}"] for m in LIMITS)


def test_no_tolerance_keeps_integers_exact():
    geometry = LAYERS[1]
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-9, 10, s).astype(np.float32) for s in (geometry.x_shape, geometry.weight_shape))
    assert 81 * geometry.reduction < 2**24
    np.testing.assert_array_equal(conv(geometry, x, weight, tolerance=0), conv(geometry, x, weight, strategy="direct"))


def able(plan):
    return {c.name for c in plan.candidates if c.refusal is None}


@EACH_LAYER
def test_tolerance_decides_how_large_tiles_may_be(geometry):
    by_default, loose = chosen(geometry, "float32"), chosen(geometry, "float32", tolerance=1e-4)
    assert "winograd4" in able(by_default)
    assert "winograd6" not in able(by_default)
    assert "winograd6" in able(loose)
    assert by_default.strategy.name in able(by_default)


@pytest.mark.parametrize("channels", [512, 640, 641, 1024, 1300])
def test_sums_of_many_channels_are_short_enough_for_large_tiles(channels):
    assert "winograd4" in able(chosen(ConvGeometry.parse(f"ic{channels} oc64 i28 k3 p1"), "float32"))


@EACH_LAYER
@EACH_DTYPE
@pytest.mark.parametrize("m", LIMITS)
def test_tolerance_is_compared_with_the_error(m, geometry, dtype):
    strategy = strategy_of(m)
    error = strategy.error(geometry, np.dtype(dtype))
    assert strategy.name in able(chosen(geometry, dtype, tolerance=error))
    assert strategy.name not in able(chosen(geometry, dtype, tolerance=0.999 * error))


def test_a_5x5_layer_is_computed_by_tiles():
    geometry = ConvGeometry.parse("ic32 oc96 i28 k5 p2")
    assert chosen(geometry, "float32").strategy.name == "winograd3"
    assert chosen(geometry, "float32", tolerance=1e-4).strategy.name == "winograd4"


def test_a_7x7_layer_is_computed_by_tiles_where_the_tolerance_allows_it():
    geometry = ConvGeometry.parse("ic64 oc64 i56 k7 p3")
    assert not chosen(geometry, "float32").strategy.name.startswith("winograd")
    assert chosen(geometry, "float32", tolerance=1e-4).strategy.name == "winograd2"


@pytest.mark.parametrize("kernel", ["kh1 kw7 pt0 pb0 pl3 pr3", "kh7 kw1 pt3 pb3 pl0 pr0", "kh1 kw3", "kh3 kw1"])
def test_lines_are_computed_by_tiles(kernel):
    assert chosen(ConvGeometry.parse(f"ic128 oc128 i28 {kernel}"), "float32").strategy.name.startswith("winograd")


@pytest.mark.parametrize("geometry", LAYERS[:2], ids=str)
def test_layers_are_computed_by_tiles(geometry):
    assert chosen(geometry, "float32").strategy.name == "winograd4"


@pytest.mark.parametrize("layer", ["ic128 oc128 i80", "ic256 oc256 i56"])
def test_strided_layers_are_computed_by_tiles(layer):
    assert chosen(ConvGeometry.parse(f"{layer} k3 s2 p1"), "float32").strategy.name.startswith("winograd")


GEOMETRIES = {
    "smaller_than_a_tile": "ic3 oc5 ih4 iw3 {k} p2",
    "one_output": "n2 ic5 oc3 ih{h} iw{w} {k}",
    "one_pixel": "ic3 oc2 i1 {k} p3",
    "one_row": "ic2 oc3 ih{h} iw23 {k}",
    "one_column": "ic2 oc3 ih23 iw{w} {k}",
    "odd_width": "ic17 oc3 ih11 iw35 {k} p1",
    "wider_than_a_vector": "ic2 oc3 ih9 iw150 {k} p1",
    "asymmetric_padding": "ic3 oc4 ih9 iw12 {k} pt0 pb3 pl4 pr1",
    "padding_past_kernel": "ic3 oc2 ih4 iw5 {k} p5",
    "far_padding": "ic1 oc1 ih2 iw2 {k} p19",
    "batch_and_groups": "n3 g3 ic15 oc6 ih8 iw10 {k} p1",
    "depthwise": "n2 g17 ic17 oc17 ih9 iw10 {k} p1",
    "past_a_block_of_channels": "ic257 oc3 ih{h} iw{w} {k} p1",
    "channels_of_two_blocks": "ic513 oc2 ih{h} iw{w} {k}",
    "many_filters": "ic3 oc131 ih7 iw6 {k} p1",
}


@pytest.mark.per_isa
@EACH_DTYPE
@EACH_TILE
@pytest.mark.parametrize("descriptor", GEOMETRIES.values(), ids=GEOMETRIES)
def test_odd_shapes(m, kernel, descriptor, dtype):
    """Also with threads and without the rest of the batch, to the bit."""
    geometry = parse(descriptor, kernel)
    x, weight = normals(geometry, dtype)
    out = run(m, geometry, x, weight)
    assert_close(m, geometry, x, weight, out)
    for threads in (2, 3, 64):
        assert run(m, geometry, x, weight, threads=threads).tobytes() == out.tobytes()
    assert run(m, replace(geometry, n=1), x[-1:], weight).tobytes() == out[-1:].tobytes()


@pytest.mark.per_isa
@EACH_DTYPE
@EACH_SQUARE
@pytest.mark.parametrize("channels", [slots.MR - 1, slots.MR, slots.MR + 1, 2 * slots.MR + 1, 70])
def test_filters_beside_whole_panels(m, kernel, channels, dtype):
    geometry = parse(f"g2 ic6 oc{2 * channels} ih9 iw13 {{k}} p1", kernel)
    x, weight = normals(geometry, dtype)
    for threads in (1, 3):
        assert_close(m, geometry, x, weight, run(m, geometry, x, weight, threads=threads))


VIEWS = {
    "channels_last": lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "reversed": lambda a: a[:, :, ::-1, ::-1],
    "every_other": lambda a: np.repeat(np.repeat(a, 2, 2), 3, 3)[:, :, ::2, ::3],
    "transposed": lambda a: np.ascontiguousarray(a.swapaxes(2, 3)).swapaxes(2, 3),
    "broadcast": lambda a: np.broadcast_to(a[:1, :1, :, :1], a.shape),
}


@EACH_DTYPE
@EACH_SQUARE
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views(m, kernel, view, dtype):
    """Where the pixels lie does not change a bit."""
    geometry = parse("n2 g2 ic10 oc4 ih11 iw21 {k} p2", kernel)
    x, weight = normals(geometry, dtype)
    x, weight = view(x), view(weight)
    out = conv(geometry, x, weight, strategy=f"winograd{m}")
    assert out.tobytes() == run(m, geometry, x.copy(), weight.copy()).tobytes()
    if view is not VIEWS["broadcast"]:  # whose sums are not those of independent deviates
        assert_close(m, geometry, x, weight, out)


@pytest.mark.per_isa
@EACH_DTYPE
@EACH_SQUARE
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS, ("leaky_relu", 0.25), ("elu", 2.0)], ids=str)
def test_bias_activation_and_out(m, kernel, activation, dtype):
    geometry = parse("n2 ic3 oc7 ih9 iw14 {k} p1", kernel)
    x, weight = normals(geometry, dtype)
    weight /= 4
    bias = np.arange(7, dtype=dtype) - 3
    out = np.full(geometry.out_shape, np.nan, dtype)
    assert conv(geometry, x, weight, bias, activation=activation, strategy=f"winograd{m}", out=out) is out
    plain = conv(geometry, x, weight, bias, activation=activation, strategy="reference")
    # No slope is steeper than 2.
    np.testing.assert_allclose(out, plain, rtol=8 * np.finfo(dtype).eps, atol=2 * bound(m, geometry, dtype) / 4)


DILATED = {
    "even": "n2 ic9 oc17 ih17 iw21 {k} d2 p2",
    "uneven": "g3 ic36 oc15 ih19 iw22 {k} dh3 dw2 pt3 pb1 pl2 pr4",
    "few_of_each_phase": "ic5 oc3 ih23 iw25 {k} d5 p5",
    "channels_past_a_strip": "g2 ic82 oc50 ih13 iw12 {k} d2 p2",
}


@pytest.mark.per_isa
@EACH_DTYPE
@each_tile(SQUARES)
@pytest.mark.parametrize("descriptor", DILATED.values(), ids=DILATED)
def test_dilations(m, kernel, descriptor, dtype):
    geometry = parse(descriptor, kernel)
    x, weight = normals(geometry, dtype)
    epilogue = Epilogue(np.arange(geometry.oc, dtype=dtype) / 8 - 1, *(ACTIVATIONS["relu"][0], 0.0))
    out = run(m, geometry, x, weight, epilogue)
    np.testing.assert_allclose(out, exactly(geometry, x, weight, epilogue), rtol=0, atol=bound(m, geometry, dtype))
    assert run(m, geometry, x, weight, epilogue, threads=3).tobytes() == out.tobytes()


@pytest.mark.per_isa
@EACH_DTYPE
@EACH_SQUARE
@pytest.mark.parametrize("activation", [None, "leaky_relu", "sigmoid"])
@pytest.mark.parametrize("descriptor", ["n2 ic23 oc17 ih12 iw9 {k} p1", "ic50 oc64 ih12 iw9 {k} p2", "ic3 oc2 i8 {k}"])
def test_channels_last(m, kernel, descriptor, activation, dtype):
    """Images and outputs with channels last, whether channels fill vectors or not."""
    geometry = parse(descriptor, kernel)
    x, weight = normals(geometry, dtype)
    weight /= 4
    bias = np.arange(geometry.oc, dtype=dtype) / 8
    last, strategy = np.moveaxis(x, 1, -1).copy(), f"winograd{m}"
    out = conv(geometry, last, weight, bias, activation=activation, layout="NHWC", strategy=strategy)
    plain = conv(geometry, x, weight, bias, activation=activation, strategy="reference")
    # No slope is steeper than 1.
    atol = bound(m, geometry, dtype) / 4
    np.testing.assert_allclose(np.moveaxis(out, -1, 1), plain, rtol=8 * np.finfo(dtype).eps, atol=atol)


THINNED = {
    "even": "n2 ic9 oc17 ih25 iw28 {k} s2 d2 p1",
    "not_padded": "g2 ic10 oc6 ih31 iw30 {k} s2 d2",
    "uneven": "ic5 oc3 ih30 iw25 {k} s3 d3 pt3 pb0 pl2 pr5",
}


@EACH_DTYPE
@each_tile(SQUARES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("descriptor", THINNED.values(), ids=THINNED)
def test_a_dilation_as_large_as_the_stride_is_dense(m, kernel, descriptor, layout, dtype):
    """On the pixels that are seen; a NaN in another one is not."""
    geometry = parse(descriptor, kernel)
    x, weight = normals(geometry, dtype)
    thinned, seen = geometry.thinned
    assert thinned.out_extent == geometry.out_extent
    assert max(*thinned.stride, *thinned.dilation) == 1
    hidden = np.full_like(x, np.nan)
    hidden[(..., *seen)] = x[(..., *seen)]
    expected = exactly(geometry, x, weight)
    images = hidden if layout == "NCHW" else np.moveaxis(hidden, 1, -1).copy()
    out = conv(geometry, images, weight, layout=layout, strategy=f"winograd{m}")
    out = out if layout == "NCHW" else np.moveaxis(out, -1, 1)
    np.testing.assert_allclose(out, expected, rtol=0, atol=bound(m, geometry, dtype))


@st.composite
def problems(draw):
    m, (*kernel, stride) = draw(st.sampled_from([(m, (*kernel, 1)) for m, kernel in SQUARES + LINES] + STRIDED))
    padding = tuple((draw(st.integers(0, 7)), draw(st.integers(0, 7))) for _ in range(2))
    groups = draw(st.integers(1, 3))
    return m, ConvGeometry(
        n=draw(st.integers(1, 2)),
        g=groups,
        ic=groups * draw(st.sampled_from((1, 2, 3, 9))),
        oc=groups * draw(st.sampled_from((1, 2, 7))),
        extent=tuple(draw(st.integers(max(1, k - sum(p)), 30)) for p, k in zip(padding, kernel, strict=True)),
        kernel=tuple(kernel),
        stride=(stride, stride),
        dilation=(1, 1),
        padding=padding,
    )


@given(problems(), st.sampled_from(DTYPES), st.integers(1, 3))
def test_any_geometry(problem, dtype, threads):
    m, geometry = problem
    x, weight = normals(geometry, dtype)
    assert_close(m, geometry, x, weight, run(m, geometry, x, weight, threads=threads))


def forget():
    for function in (winograd._work, winograd._launch, winograd._rms_error, winograd_blocks.by_blocks):
        function.cache_clear()
    winograd_blocks.divide.cache_clear()


@pytest.fixture
def blocks(monkeypatch):
    """Sets the extents of a block; what was remembered of others is forgotten."""

    def choose(tiles, steps):
        monkeypatch.setattr(winograd_blocks, "tiles_of_block", lambda channels, tile_bytes: tiles)
        monkeypatch.setattr(winograd, "_SUMS", dict.fromkeys(winograd._SUMS, (steps, 1)))
        monkeypatch.setattr(winograd_blocks, "_BLOCK_CHANNELS", slots.MR)
        forget()

    yield choose
    forget()


@pytest.fixture
def division(monkeypatch):
    """Sets how work is divided; what was remembered of others is forgotten."""

    def choose(of):
        monkeypatch.setattr(winograd, "divide", lambda *_, **__: of)
        winograd._launch.cache_clear()

    yield choose
    winograd._launch.cache_clear()


def test_two_threads_get_about_equal_parts():
    """Of two panels and a half, one thread would get two: each takes part of the rows instead. Four are shared."""
    work = winograd._work(ConvGeometry.parse("n1 ic64 oc1 ih28 iw28 kh3 kw3 s1 p1"), 4, 4)
    odd, even = work._replace(filters=5 * slots.NR[4] // 2), work._replace(filters=4 * slots.NR[4])
    assert (winograd_blocks.by_blocks(odd, 1).down, winograd_blocks.by_blocks(odd, 2).down) == (1, 2)
    assert (winograd_blocks.by_blocks(even, 1).down, winograd_blocks.by_blocks(even, 2).down) == (1, 1)


def divisions(work):
    """Every third of the divisions that are compared for some numbers of threads, those that share transforms last."""
    few = winograd_blocks.by_blocks(work, 1)
    every = dict.fromkeys(of for n in (3, 8, 64) for _, of in winograd_blocks._divisions(work, few, n, 1 << 40))
    return [*[of for of in every if not of.shared][::3], *[of for of in every if of.shared][::3]]


@pytest.mark.per_isa
@EACH_DTYPE
@pytest.mark.parametrize(
    ("m", "kernel"), [(2, (3, 3)), (4, (3, 3)), (3, (5, 5)), (4, (1, 3)), (4, (3, 1)), (2, (3, 3, 2)), (4, (3, 3, 2))]
)
@pytest.mark.parametrize("descriptor", ["n2 g2 ic98 oc66 ih13 iw29", "ic7 oc3 ih7 iw70", "ic67 oc50 ih27 iw6"])
def test_no_division_changes_a_bit(division, m, kernel, descriptor, dtype):
    """Whatever the blocks are, and whether threads share transforms."""
    geometry = parse(f"{descriptor} {{k}} p1", kernel)
    x, weight = normals(geometry, dtype)
    epilogue = Epilogue(np.arange(geometry.oc, dtype=dtype) / 8 - 2, *(ACTIVATIONS["relu"][0], 0.0))
    out = run(m, geometry, x, weight, epilogue)
    listed = divisions(winograd._work(geometry, m, x.itemsize))
    assert {of.shared for of in listed} == {False, True}
    for of in listed:
        division(of)
        assert run(m, geometry, x, weight, epilogue, threads=3).tobytes() == out.tobytes(), of


@pytest.mark.parametrize("descriptor", ["ic256 oc256 i14 k3 p1", "ic64 oc64 i56 k3 p1", "ic32 oc96 i28 k5 p2"])
def test_many_threads_find_tiles(descriptor):
    """In each launch, at least half as many as threads; few threads do not share what one of them transforms."""
    geometry, limit = ConvGeometry.parse(descriptor), DEFAULT_MAX_WORKSPACE
    m = 3 if geometry.kh == 5 else 4
    for threads in (1, 2):
        launch = winograd._launch(geometry, m, np.dtype("f4"), threads, False, limit)
        assert isinstance(launch, Launch)
    for threads in (16, 64):
        stages = winograd._launch(geometry, m, np.dtype("f4"), threads, False, limit)
        launches = [stages] if isinstance(stages, Launch) else stages[:3]
        assert all(2 * launch.tiles >= threads for launch in launches)


@pytest.mark.parametrize("threads", [8, 64, 1024])
@pytest.mark.parametrize("limit", [16 << 20, DEFAULT_MAX_WORKSPACE])
@pytest.mark.parametrize("descriptor", ["ic256 oc256 i56 k3 p1", "ic64 oc64 i224 k3 p1", "n64 ic64 oc64 i56 k3 p1"])
def test_workspace_of_many_threads_is_bounded(descriptor, limit, threads):
    """What threads share is part of it, and no memory is for threads without a tile."""
    geometry = ConvGeometry.parse(descriptor)
    stages = winograd._launch(geometry, 4, np.dtype("f4"), threads, False, limit)
    assert stages.workspace(threads) <= DEFAULT_MAX_WORKSPACE
    if not isinstance(stages, Launch):
        assert stages.input_bytes + stages.sum_bytes <= min(limit, 64 << 20) * 1.1  # gaps between points come on top


@pytest.mark.per_isa
@EACH_DTYPE
@EACH_SQUARE
@pytest.mark.parametrize(("tiles", "steps"), [(1, 1), (3, 2), (7, 5), (40, 9)])
@pytest.mark.parametrize("descriptor", ["n2 g2 ic22 oc58 ih13 iw29", "ic7 oc3 ih7 iw130", "ic67 oc33 ih31 iw6"])
def test_blocks_stay_within_bound(blocks, m, kernel, tiles, steps, descriptor, dtype):
    blocks(tiles, steps)
    geometry = parse(f"{descriptor} {{k}} p1", kernel)
    x, weight = normals(geometry, dtype)
    epilogue = Epilogue(np.arange(geometry.oc, dtype=dtype) / 8 - 2, *(ACTIVATIONS["relu"][0], 0.0))
    expected = exactly(geometry, x, weight, epilogue)
    out = run(m, geometry, x, weight, epilogue)
    # Sums over few channels at a time are no less accurate.
    np.testing.assert_allclose(out, expected, rtol=0, atol=bound(m, geometry, dtype))
    assert run(m, geometry, x, weight, epilogue, threads=3).tobytes() == out.tobytes()


@EACH_DTYPE
@EACH_SQUARE
@pytest.mark.parametrize("tiles", [1, 40])
@pytest.mark.parametrize("descriptor", [*GEOMETRIES.values(), "ic9 oc70 ih40 iw41 {k} p2"], ids=str)
def test_scratch_is_large_enough(blocks, monkeypatch, m, kernel, tiles, descriptor, dtype):
    """Nothing is written past it; the kernel could not tell."""
    blocks(tiles, 9)
    taken = []

    def guarded(size, dtype):
        taken.append(np.full(size + 4096, 7, dtype))
        return taken[-1][:size]

    monkeypatch.setattr(winograd.team, "aligned_empty", guarded)
    geometry = parse(descriptor, kernel)
    x, weight = normals(geometry, dtype)
    out = run(m, geometry, x, weight)
    assert np.isfinite(out).all()
    once = np.full_like(out, np.nan)
    strategy_of(m).run_once(geometry, x, weight, once, Epilogue(), 2, DEFAULT_MAX_WORKSPACE)
    assert once.tobytes() == out.tobytes()
    assert len(taken) >= 3  # the transformed weight, and a workspace for each
    assert all((scratch[-4096:] == 7).all() for scratch in taken)


@EACH_DTYPE
@EACH_TILE
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rest", ["n2 ic3 oc5 ih17 iw20 {k} p1", "n2 g2 ic4 oc6 ih13 iw40 {k} pt3 pb0 pl2 pr5"])
def test_nonfinite_pixels_reach_only_the_outputs_that_see_them(m, kernel, value, rest, dtype):
    geometry = parse(rest, kernel)
    x, weight = normals(geometry, dtype)
    x[0, 0, 0, 0] = x[-1, -1, -4, 7] = value
    epilogue = Epilogue(np.arange(geometry.oc).astype(dtype), *(ACTIVATIONS["leaky_relu"][0], 0.5))
    with np.errstate(invalid="ignore"):
        expected = exactly(geometry, x, weight, epilogue)
    assert 0 < np.isfinite(expected).mean() < 1
    out = run(m, geometry, x, weight, epilogue)
    np.testing.assert_allclose(out, expected, rtol=0, atol=bound(m, geometry, dtype))
    once = conv(geometry, x, weight, epilogue.bias, activation=("leaky_relu", 0.5), strategy=f"winograd{m}")
    assert once.tobytes() == out.tobytes()


@EACH_TILE
def test_images_are_summed_anew_alone(m, kernel):
    """Neither a NaN in another image nor the number of threads changes a bit."""
    geometry = parse("n3 ic3 oc9 ih17 iw20 {k} p1", kernel)
    x, weight = normals(geometry, "float32")
    clean = run(m, geometry, x, weight)
    x[1, 2, 5, 5] = np.nan
    outs = [run(m, geometry, x, weight, threads=threads) for threads in (1, 2, 3)]
    assert outs[0].tobytes() == outs[1].tobytes() == outs[2].tobytes()
    assert outs[0][::2].tobytes() == clean[::2].tobytes()


@pytest.mark.parametrize("adjoint", ["conv_transpose2d", "conv2d_input"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_pixels_in_adjoints(adjoint, stride, value):
    weight = np.random.default_rng(0).standard_normal((32, 32, 3, 3)).astype(np.float32)
    x = np.random.default_rng(1).standard_normal((1, 32, 24, 24)).astype(np.float32)
    x[0, 5, 8, 8] = value
    if adjoint == "conv_transpose2d":
        out = fastconv.conv_transpose2d(x, weight, stride=stride)
    else:
        out = fastconv.grad.conv2d_input((1, 32, 23 * stride + 3, 23 * stride + 3), weight, x, stride)
    assert (np.count_nonzero(~np.isfinite(out), axis=(2, 3)) == 9).all()
    assert not np.isfinite(out[:, :, 8 * stride : 8 * stride + 3, 8 * stride : 8 * stride + 3]).any()


@EACH_DTYPE
@EACH_TILE
@pytest.mark.parametrize(("image", "filters"), [("huge", "tiny"), ("tiny", "huge"), ("largest", "small")])
def test_operands_far_from_1(m, kernel, image, filters, dtype):
    """Results are ordinary, but transforms would underflow or overflow on the way to them."""
    geometry = parse("n2 ic5 oc9 ih13 iw15 {k} p1", kernel)
    limits = np.finfo(dtype)
    # The tiny ones are subnormal: both sides are computed from what is left of them.
    exponents = {"huge": limits.maxexp - 20, "tiny": limits.minexp - 10, "largest": limits.maxexp - 4, "small": -9}
    of_x, of_weight = exponents[image], exponents[filters]
    x, weight = (np.ldexp(a, e) for a, e in zip(normals(geometry, dtype), (of_x, of_weight), strict=True))
    expected = exactly(geometry, np.ldexp(x, -of_x), np.ldexp(weight, -of_weight))
    out = np.ldexp(run(m, geometry, x, weight), -of_x - of_weight)
    np.testing.assert_allclose(out, expected, rtol=0, atol=bound(m, geometry, dtype))


@EACH_TILE
def test_filters_far_from_1_leave_the_others_alone(m, kernel):
    geometry = parse(f"n2 ic3 oc{slots.MR + 3} ih9 iw11 {{k}} p1", kernel)
    x, weight = normals(geometry, "float32")
    clean = run(m, geometry, x, weight)
    weight[1] *= 2.0**-110
    weight[4] *= 2.0**60
    out = run(m, geometry, x, weight)
    others = np.setdiff1d(np.arange(geometry.oc), [1, 4])
    assert out[:, others].tobytes() == clean[:, others].tobytes()
    for filter_, exponent in ((1, -110), (4, 60)):
        got = np.ldexp(out[:, filter_].astype(np.float64), -exponent)
        np.testing.assert_allclose(got, clean[:, filter_], rtol=0, atol=2 * bound(m, geometry, "float32"))


@EACH_TILE
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_weights_touch_their_filter_alone(m, kernel, value):
    geometry = parse(f"n2 ic3 oc{slots.MR + 3} ih9 iw11 {{k}} p1", kernel)
    x, weight = normals(geometry, "float32")
    clean = run(m, geometry, x, weight)
    weight[1, 1, -1, -1] = value
    out = run(m, geometry, x, weight)
    # A tap that sees the padding alone multiplies zeros, which gives NaN too.
    assert not np.isfinite(out[:, 1]).any()
    others = np.arange(geometry.oc) != 1
    assert out[:, others].tobytes() == clean[:, others].tobytes()


@EACH_DTYPE
@EACH_TILE
def test_large_finite_values_do_not_overflow(m, kernel, dtype):
    """The transforms need some of the type's range: what the largest of their sums can be, for a filter of norm 1."""
    geometry = parse("ic1 oc1 i40 {k}", kernel)
    gain = 1
    for r in kernel:
        if r > 1:
            AT, G, BT = map(np.abs, rounded_transforms(cook_toom.transforms(m, r, cook_toom.POINTS[m, r])))
            inputs = BT.sum(1)
            products = inputs * G.sum(1) / r
            gain *= max(inputs.max(), products.max(), (AT @ products).max())
    largest = np.dtype(dtype).type(0.99 * np.finfo(dtype).max / gain)
    x, weight = (np.sign(a) for a in normals(geometry, dtype))
    weight /= geometry.taps
    out = run(m, geometry, x * largest, weight) / largest
    np.testing.assert_allclose(
        out, exactly(geometry, x, weight), rtol=0, atol=bound(m, geometry, dtype) / geometry.taps
    )
