"""conv1d, conv2d and plan_conv2d: what they accept, and what they promise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fastconv
from cases import CASES, DTYPES, OF_3X3, geometries, integers, normals, window
from fastconv import GeometryError, UnsupportedError
from fastconv.engine import planner
from fastconv.engine.arrays import as_operand
from fastconv.engine.convolution import BY_NAME
from fastconv.engine.convolution.base import sum_error
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry

NAMES = tuple(strategy.name for strategy in OF_3X3)
EVERY = pytest.mark.parametrize("strategy", NAMES)

F4, F8 = np.float32, np.float64


def problem(dtype="float32", name="same"):
    return integers(CASES[name], dtype)


def same(out, expected):
    assert out.dtype == expected.dtype
    np.testing.assert_array_equal(out, expected)


# Arguments


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (0, ((0, 0), (0, 0))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 1), (1, 1))),
        (2, ((2, 2), (2, 2))),
        ((2, 1), ((2, 2), (1, 1))),
        ([2, 1], ((2, 2), (1, 1))),
        (((0, 2), (3, 1)), ((0, 2), (3, 1))),
    ],
)
def test_padding_is_zeros_around_the_image(padding, pairs):
    x, weight = problem()
    padded = np.pad(x, ((0, 0), (0, 0), *pairs))
    same(fastconv.conv2d(x, weight, padding=padding), fastconv.conv2d(padded, weight))


@pytest.mark.parametrize(("padding", "pair"), [(2, (2, 2)), ((2,), (2, 2)), (((1, 3),), (1, 3)), ("same", (0, 1))])
def test_padding_of_signals(padding, pair):
    rng = np.random.default_rng(0)
    x, weight = rng.integers(-9, 9, (2, 3, 20)).astype(F8), rng.integers(-9, 9, (4, 3, 2)).astype(F8)
    padded = np.pad(x, ((0, 0), (0, 0), pair))
    same(fastconv.conv1d(x, weight, padding=padding), fastconv.conv1d(padded, weight))


PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", PAD)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("shape", "filters", "padding"),
    [((5, 3, 4, 5), (4, 3, 3, 2), ((3, 1), (0, 4))), ((2, 40, 9, 80), (40, 40, 3, 3), 1)],
)
def test_padding_modes_are_borders_of_numpy(mode, layout, shape, filters, padding):
    """By every strategy: whole numbers are exact. Prepared weights serve images one by one or together."""
    rng = np.random.default_rng(0)
    x, weight = rng.integers(-4, 5, shape).astype(F4), rng.integers(-4, 5, filters).astype(F4)
    sides = padding if isinstance(padding, tuple) else ((padding, padding),) * 2
    expected = fastconv.conv2d(np.pad(x, ((0, 0), (0, 0), *sides), PAD[mode]), weight, strategy="reference")
    images = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for strategy in ("auto", "direct", "indirect", "im2row", "reference", "toeplitz"):
        options = {"padding": padding, "padding_mode": mode, "layout": layout, "strategy": strategy, "tolerance": 0}
        prepared = fastconv.prepare_conv2d(weight, **options)
        for out in (fastconv.conv2d(images, weight, **options), prepared(images)):
            same(out if layout == "NCHW" else np.moveaxis(out, -1, 1), expected)


@pytest.mark.parametrize("mode", PAD)
def test_padding_modes_of_signals_and_volumes(mode):
    rng = np.random.default_rng(0)
    signal, volume = rng.integers(-9, 9, (2, 3, 9)).astype(F8), rng.integers(-9, 9, (2, 2, 4, 5, 6)).astype(F8)
    taps, weight = rng.integers(-9, 9, (4, 3, 3)).astype(F8), rng.integers(-9, 9, (3, 2, 3, 2, 3)).astype(F8)
    padded = np.pad(signal, ((0, 0), (0, 0), (2, 2)), PAD[mode])
    same(fastconv.conv1d(signal, taps, padding=2, padding_mode=mode), fastconv.conv1d(padded, taps))
    padded = np.pad(volume, ((0, 0), (0, 0), (2, 2), (1, 1), (3, 3)), PAD[mode])
    same(fastconv.conv3d(volume, weight, padding=(2, 1, 3), padding_mode=mode), fastconv.conv3d(padded, weight))


@pytest.mark.parametrize(
    ("mode", "padding", "fault"),
    [
        ("reflect", 4, r"padding_mode='reflect': expected at most 3 along an axis of extent 4"),
        ("circular", (5, 1), r"padding_mode='circular': expected at most 4 along an axis of extent 4"),
        ("mirror", 1, r"padding_mode='mirror': expected one of zeros, reflect, replicate, circular"),
        (None, 1, r"padding_mode=None: expected one of"),
    ],
)
def test_padding_modes_that_do_not_fit(mode, padding, fault):
    x, weight = np.ones((1, 1, 4, 9), F4), np.ones((1, 1, 3, 3), F4)
    for convolve_ in (fastconv.conv2d, lambda x, w, **options: fastconv.prepare_conv2d(w, **options)(x)):
        with pytest.raises(GeometryError, match=fault):
            convolve_(x, weight, padding=padding, padding_mode=mode)
    same(fastconv.conv2d(x, weight, padding=99, padding_mode="replicate"), np.full((1, 1, 200, 205), 9, F4))


def test_same_puts_the_odd_rest_at_the_bottom_and_right():
    x = np.arange(1, 10, dtype=F4).reshape(1, 1, 3, 3)
    last_tap = np.array([[[[0, 0], [0, 1]]]], F4)
    same(fastconv.conv2d(x, last_tap, padding="same")[0, 0], np.array([[5, 6, 0], [8, 9, 0], [0, 0, 0]], F4))


def test_arguments_are_in_torch_order():
    x, weight = problem(name="groups_stride_dilation")
    bias = np.arange(3, dtype=F4)
    by_name = fastconv.conv2d(x, weight, bias=bias, stride=2, padding=1, dilation=3, groups=3)
    same(fastconv.conv2d(x, weight, bias, 2, 1, 3, 3), by_name)
    with pytest.raises(TypeError):
        fastconv.conv2d(x, weight, bias, 2, 1, 3, 3, "relu")


def test_cross_correlation_does_not_flip():
    x = np.array([[1.0, 10, 100]])
    same(fastconv.conv1d(x, np.array([[[1.0, 2]]])), np.array([[21.0, 210]]))


def test_unbatched_is_a_batch_of_one():
    x, weight = problem()
    same(fastconv.conv2d(x[0], weight, padding=1), fastconv.conv2d(x, weight, padding=1)[0])
    signal, taps = problem(name="signal")
    same(fastconv.conv1d(signal[1], taps), fastconv.conv1d(signal, taps)[1])


def test_empty_batches_give_empty_results():
    x, weight = problem()
    assert fastconv.conv2d(x[:0], weight).shape == (0, 4, 7, 9)
    assert fastconv.conv1d(np.zeros((0, 1, 9)), np.zeros((2, 1, 2))).shape == (0, 2, 8)


def test_one_dimension_is_a_row_of_two():
    x, weight = problem(name="signal_stride_dilation_groups")
    two = fastconv.conv2d(
        x[:, :, None], weight[:, :, None], stride=(1, 2), padding=((0, 0), (4, 1)), dilation=(1, 3), groups=2
    )
    same(fastconv.conv1d(x, weight, **window(CASES["signal_stride_dilation_groups"])), two[:, :, 0])


# Types


@pytest.mark.parametrize(
    ("x", "weight", "bias", "expected"),
    [
        ("f4", "f4", None, "f4"),
        ("f8", "f8", None, "f8"),
        ("f4", "f8", None, "f8"),
        ("f8", "f4", None, "f8"),
        ("f4", "f4", "f8", "f8"),
        ("f2", "f4", None, "f4"),
        ("u1", "f4", None, "f4"),
        ("i2", "f4", "f2", "f4"),
        ("i4", "f4", None, "f8"),
        ("?", "f4", None, "f4"),
        (">f4", ">f4", ">f4", "f4"),
    ],
)
def test_promotion_is_that_of_numpy(x, weight, bias, expected):
    values, filters = (np.arange(n, dtype=F8).reshape(shape) for n, shape in ((16, (1, 1, 4, 4)), (4, (1, 1, 2, 2))))
    values = values % 2
    out = fastconv.conv2d(values.astype(x), filters.astype(weight), None if bias is None else np.ones(1, bias))
    assert out.dtype == np.dtype(expected)
    assert out.dtype.isnative
    np.testing.assert_array_equal(out, fastconv.conv2d(values, filters) + (bias is not None))


def test_lists_are_arrays():
    assert fastconv.conv1d([[1.0, 2, 4, 8]], [[[-1.0, 1]]], [0.5]).tolist() == [[1.5, 2.5, 4.5]]


def test_subclasses_become_plain_arrays():
    class Labelled(np.ndarray):
        pass

    x, weight = problem()
    assert type(fastconv.conv2d(x.view(Labelled), weight)) is np.ndarray


@pytest.mark.parametrize(("name", "index"), [("x", 0), ("weight", 1), ("bias", 2)])
def test_masked_arrays_are_refused(name, index):
    arguments = [*problem(), np.ones(4, F4)]
    arguments[index] = np.ma.masked_less(arguments[index], 0)
    with pytest.raises(TypeError, match=f"{name} is a masked array"):
        fastconv.conv2d(*arguments)


# out=


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_filled_and_returned(dtype):
    x, weight = problem(dtype)
    out = np.full((1, 4, 9, 11), np.nan, dtype)
    assert fastconv.conv2d(x, weight, padding=1, out=out) is out
    same(out, fastconv.conv2d(x, weight, padding=1))
    unbatched = np.full((4, 9, 11), np.nan, dtype)
    assert fastconv.conv2d(x[0], weight, padding=1, out=unbatched) is unbatched
    same(unbatched, out[0])


OUTS = {
    "columns": lambda shape: np.full((*shape[:-1], 2 * shape[-1]), 7, F4)[..., ::2],
    "reversed": lambda shape: np.full(shape, 7, F4)[:, ::-1, :, ::-1],
    "fortran": lambda shape: np.full(shape, 7, F4, order="F"),
    "channels_last": lambda shape: np.moveaxis(np.full((shape[0], *shape[2:], shape[1]), 7, F4), -1, 1),
    "misaligned": lambda shape: np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)[1:].view(F4).reshape(shape),
    "inside": lambda shape: np.full([n + 2 for n in shape], 7, F4)[1:-1, 1:-1, 1:-1, 1:-1],
}


@pytest.mark.parametrize("make", OUTS.values(), ids=OUTS)
@EVERY
def test_out_of_any_strides(make, strategy):
    x, weight = problem()
    out = make((1, 4, 9, 11))
    assert fastconv.conv2d(x, weight, padding=1, strategy=strategy, out=out) is out
    np.testing.assert_array_equal(out, fastconv.conv2d(x, weight, padding=1, strategy=strategy))
    if out.base is not None and out.base.dtype == F4:
        out[...] = 7
        assert (out.base == 7).all()  # nothing beside it was written


@EVERY
def test_out_may_overlap_every_operand(strategy):
    x, weight = problem(name="depthwise")
    expected = fastconv.conv2d(x, weight, padding=1, groups=5, strategy=strategy)
    alias = x.copy()
    fastconv.conv2d(alias, weight, padding=1, groups=5, strategy=strategy, out=alias)
    same(alias, expected)
    shared = np.zeros((3, *x.shape[1:]), F4)
    shared[:2] = x
    fastconv.conv2d(shared[:2], weight, padding=1, groups=5, strategy=strategy, out=shared[1:])
    same(shared[1:], expected)
    flipped = x.copy()
    fastconv.conv2d(flipped[:, :, ::-1], weight, padding=1, groups=5, strategy=strategy, out=flipped)
    same(flipped, fastconv.conv2d(x[:, :, ::-1], weight, padding=1, groups=5, strategy=strategy))
    square = np.arange(81, dtype=F4).reshape(3, 3, 3, 3)
    expected = fastconv.conv2d(square, square, square[:, 0, 0, 0], padding=1, strategy=strategy)
    fastconv.conv2d(square, square, square[:, 0, 0, 0], padding=1, strategy=strategy, out=square)
    same(square, expected)


def frozen(shape):
    out = np.zeros(shape, F4)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "error", "fault"),
    [
        (np.zeros((1, 4, 7, 8), F4), GeometryError, r"\(1, 4, 7, 8\).*expected \(1, 4, 7, 9\)"),
        (np.zeros((4, 7, 9), F4), GeometryError, "expected"),
        (np.zeros((1, 4, 7, 9), F8), TypeError, "float64: expected float32"),
        (np.zeros((1, 4, 7, 9), ">f4"), TypeError, "expected float32"),
        (np.zeros((1, 4, 7, 9), "i4"), TypeError, "int32: expected float32"),
        (frozen((1, 4, 7, 9)), ValueError, "read-only"),
        (np.ma.zeros((1, 4, 7, 9), F4), TypeError, "MaskedArray"),
        ([[[[0.0]]]], TypeError, "list"),
    ],
)
def test_out_that_cannot_take_the_result(out, error, fault):
    with pytest.raises(error, match=fault):
        fastconv.conv2d(*problem(), out=out)


# Planning


def test_tolerance_zero_allows_only_plain_sums():
    shapes = ((1, 1, 256, 256), (1, 1, 95, 95))
    free, strict = fastconv.plan_conv2d(*shapes), fastconv.plan_conv2d(*shapes, tolerance=0)
    assert free.strategy.name == "fft"
    assert strict.componentwise
    refusals = {c.name: c.refusal for c in strict.candidates}
    for name, strategy in BY_NAME.items():
        if not strategy.componentwise(strict.geometry):
            assert refusals[name] is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tolerance", [None, 0, 1e-16, 1e-12, 1e-7, 1e-6, 1e-5, 1e-3, float("inf")])
def test_auto_is_the_cheapest_within_the_tolerance(dtype, tolerance):
    for descriptor in ("ic64 oc64 i28 k3 p1", "ic1 oc1 i256 k31", "ic3 oc8 i64 k11 s4", "g64 ic64 oc64 i56 k3 p1"):
        g = ConvGeometry.parse(descriptor)
        plan = fastconv.plan_conv2d(g.x_shape, g.weight_shape, dtype=dtype, tolerance=tolerance, **window(g))
        plain = sum_error(g, np.dtype(dtype))
        limit = tolerance if tolerance is not None else max(plain, 1e-5 if dtype == "float32" else 0)
        assert plan.tolerance == limit
        able = [c for c in plan.candidates if c.refusal is None]
        for c in able:
            assert c.componentwise or (c.error <= limit and limit > 0)
        assert plan.strategy.name == min(able, key=lambda c: c.seconds).name


@given(geometries(max_extent=300), st.sampled_from(DTYPES), st.sampled_from([None, 0, 1e-6, 1e-4]), st.integers(12, 26))
def test_auto_is_the_cheapest_that_the_report_lists(geometry, dtype, tolerance, bits):
    g = geometry.as_2d()
    try:
        plan = planner.plan(g, dtype, tolerance=tolerance, max_workspace=1 << bits)
    except UnsupportedError:
        assume(False)
    able = [c for c in plan.candidates if c.refusal is None]
    image = replace(g, n=1)
    seconds = {c.name: BY_NAME[c.name].cost(image, np.dtype(dtype)) for c in able}
    seconds = {name: s + BY_NAME[name].prepare_cost(image, np.dtype(dtype)) for name, s in seconds.items()}
    assert plan.strategy.name == min(seconds, key=seconds.get)
    assert plan.seconds == next(c.seconds for c in able if c.name == plan.strategy.name)


@given(geometries(max_extent=300))
def test_bounds_of_costs_lie_below_them(geometry):
    g = geometry.as_2d()
    for strategy in BY_NAME.values():
        for dtype in map(np.dtype, DTYPES):
            if strategy.refuse(g, dtype) is None:
                assert 0 <= strategy.least_cost(g, dtype) <= strategy.cost(g, dtype)


def test_planning_prices_no_strategy_that_is_not_accurate_enough(monkeypatch):
    def fail(*arguments):
        raise AssertionError("it was priced")

    g = ConvGeometry.parse("ic1 oc1 ih201 iw202 k5 p2")
    for strategy in BY_NAME.values():
        if not strategy.componentwise(g):
            monkeypatch.setattr(type(strategy), "cost", fail)
            monkeypatch.setattr(type(strategy), "workspace_bytes", fail)
    assert planner.plan(g, F4, tolerance=0).componentwise


def test_results_stay_within_the_tolerance():
    g = ConvGeometry.parse("ic16 oc4 i40 k9")
    x, weight = normals(g, "float32")
    exact = convolve(g, x, weight, Epilogue())
    for tolerance in (1e-6, 1e-5, 1e-3):
        out = fastconv.conv2d(x, weight, tolerance=tolerance)
        assert np.abs(out - exact).max() <= tolerance * exact.std() * 4 + sum_error(g, np.dtype(F4)) * exact.std()


@EVERY
def test_plan_repr_is_the_report(strategy):
    plan = fastconv.plan_conv2d((1, 3, 20, 20), (4, 3, 3, 3), padding=1, strategy=strategy, num_threads=1)
    report = repr(plan)
    assert str(plan.geometry) in report
    assert "float32" in report
    assert f"* {strategy} " in report
    for name in fastconv.strategies():
        assert name in report
    assert all(len(line) <= 120 for line in report.splitlines())


def test_report_shows_why_a_strategy_was_left_out():
    plan = fastconv.plan_conv2d((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    assert "toeplitz" in repr(plan)
    for c in plan.candidates:
        assert c.refusal is None or c.refusal in repr(plan)
    assert any(c.refusal for c in plan.candidates)


def test_equal_problems_share_a_plan():
    first = fastconv.plan_conv2d((1, 3, 20, 20), (4, 3, 3, 3))
    assert fastconv.plan_conv2d([1, 3, 20, 20], np.array([4, 3, 3, 3])) is first
    assert fastconv.plan_conv2d((1, 3, 20, 20), (4, 3, 3, 3), dtype=F8) is not first
    assert len({id(planner.plan(first.geometry, dtype)) for dtype in ("float32", "f", np.float32, np.dtype("f4"))}) == 1
    assert fastconv.plan_conv2d((1, 3, 20, 20), (4, 3, 3, 3), padding=1) is not first


def test_plans_are_immutable():
    plan = fastconv.plan_conv2d((1, 3, 20, 20), (4, 3, 3, 3))
    with pytest.raises(AttributeError):
        plan.threads = 9


def test_measured_plans_are_remembered():
    arguments = {"x_shape": (1, 2, 12, 13), "weight_shape": (3, 2, 3, 3), "mode": "measure"}
    plan = fastconv.plan_conv2d(**arguments)
    assert fastconv.plan_conv2d(**arguments) is plan
    assert "measured" in repr(plan)
    measured = {c.name: c.seconds for c in plan.candidates if c.refusal is None and c.seconds is not None}
    assert plan.strategy.name == min(measured, key=measured.get)


def test_estimates_for_prepared_weights_leave_their_preparation_out():
    g = ConvGeometry.parse("ic512 oc512 i7 k3")
    once, prepared = (planner.plan(g, "float32", prepared=p) for p in (False, True))
    assert (once.prepared, prepared.prepared) == (False, True)
    assert "weight prepared" in repr(prepared)
    assert "weight prepared" not in repr(once)
    for of_once, of_prepared in zip(once.candidates, prepared.candidates, strict=True):
        if of_once.name not in NAMES:
            continue
        work = BY_NAME[of_once.name].prepare_cost(g, np.dtype(F4))
        assert of_once.seconds == pytest.approx(of_prepared.seconds + work)
    assert BY_NAME["implicit"].prepare_cost(g, np.dtype(F4)) > 0


def test_measurements_with_prepared_weights_prepare_them_once(monkeypatch):
    fft = BY_NAME["fft"]
    calls = []
    prepare = fft.prepare
    monkeypatch.setattr(fft, "prepare", lambda *a: calls.append(a) or prepare(*a))
    arguments = {"strategy": "fft", "mode": "measure"}
    planner.plan(ConvGeometry.parse("ic3 oc5 i6 k3"), "float32", prepared=True, **arguments)
    assert len(calls) == 1
    planner.plan(ConvGeometry.parse("ic3 oc5 i6 k3"), "float32", **arguments)
    assert len(calls) > 2


def test_plan_threads_never_exceed_what_was_asked():
    for asked in (1, 2, 5):
        plan = fastconv.plan_conv2d((8, 64, 112, 112), (64, 64, 3, 3), num_threads=asked)
        assert plan.threads == asked
    assert fastconv.plan_conv2d((1, 1, 5, 5), (1, 1, 3, 3), num_threads=5).threads == 1


def test_num_threads_does_not_change_the_result():
    x, weight = normals(CASES["many_row_tiles"], "float32")
    outs = {fastconv.conv2d(x, weight, padding=1, num_threads=n).tobytes() for n in (1, 2, 3, 7)}
    assert len(outs) == 1


# Properties

PROPERTY_STRATEGIES = st.sampled_from(("auto", *fastconv.strategies()))


@given(geometries(), PROPERTY_STRATEGIES)
def test_linear_in_the_image(geometry, strategy):
    assume(strategy == "auto" or BY_NAME[strategy].refuse(geometry.as_2d(), np.dtype(F8)) is None)
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-5, 5, geometry.x_shape).astype(F8) for _ in range(2))
    weight = rng.integers(-5, 5, geometry.weight_shape).astype(F8)
    fx, fy, fxy = (
        fastconv.conv2d(a, weight, **window(geometry), strategy=strategy, tolerance=0) for a in (x, y, 3 * x - 2 * y)
    )
    np.testing.assert_allclose(fxy, 3 * fx - 2 * fy, rtol=0, atol=1e-9)


@given(geometries(), PROPERTY_STRATEGIES)
def test_matches_the_reference(geometry, strategy):
    assume(strategy == "auto" or BY_NAME[strategy].refuse(geometry.as_2d(), np.dtype(F4)) is None)
    x, weight = integers(geometry, "float32")
    out = fastconv.conv2d(x, weight, **window(geometry), strategy=strategy)
    exact = strategy != "auto" and BY_NAME[strategy].componentwise(geometry.as_2d())
    # Integers of 5 rms, so outputs of 25 sqrt(K); "auto" is held to its tolerance, a strategy to its own estimate.
    error = 1e-5 if strategy == "auto" else BY_NAME[strategy].error(geometry.as_2d(), np.dtype(F4))
    atol = 0 if exact else 2 * 25 * error * np.sqrt(geometry.reduction)
    np.testing.assert_allclose(out, convolve(geometry, x, weight, Epilogue()), rtol=0, atol=atol)


@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from(("auto", *NAMES)))
def test_shifting_the_image_shifts_the_result(down, right, strategy):
    x, weight = problem("float64")
    shifted = np.pad(x, ((0, 0), (0, 0), (down, 0), (right, 0)))
    out = fastconv.conv2d(shifted, weight, padding=2, strategy=strategy)
    expected = fastconv.conv2d(x, weight, padding=2, strategy=strategy)
    np.testing.assert_allclose(out[:, :, down:, right:], expected, rtol=0, atol=1e-10)


@EVERY
def test_an_impulse_returns_the_kernel_reversed(strategy):
    weight = np.arange(1, 55, dtype=F4).reshape(3, 2, 3, 3)
    x = np.zeros((1, 2, 5, 5), F4)
    x[0, 1, 2, 2] = 1
    out = fastconv.conv2d(x, weight, strategy=strategy)
    error = BY_NAME[strategy].error(ConvGeometry.from_shapes(x.shape, weight.shape), np.dtype(F4))
    np.testing.assert_allclose(out[0], weight[:, 1, ::-1, ::-1], rtol=0, atol=weight.max() * error)


@given(st.integers(1, 4))
def test_groups_are_separate_convolutions(groups):
    rng = np.random.default_rng(groups)
    x = rng.integers(-9, 9, (2, 2 * groups, 6, 7)).astype(F4)
    weight = rng.integers(-9, 9, (3 * groups, 2, 3, 3)).astype(F4)
    apart = [
        fastconv.conv2d(x[:, 2 * g : 2 * g + 2], weight[3 * g : 3 * g + 3], padding=1, tolerance=0)
        for g in range(groups)
    ]
    same(fastconv.conv2d(x, weight, padding=1, groups=groups, tolerance=0), np.concatenate(apart, axis=1))


@pytest.mark.parametrize("stride", [2, 3, (1, 3)])
def test_strides_keep_every_nth_output(stride):
    x, weight = problem()
    sh, sw = (stride, stride) if isinstance(stride, int) else stride
    same(fastconv.conv2d(x, weight, stride=stride, padding=1), fastconv.conv2d(x, weight, padding=1)[:, :, ::sh, ::sw])


def test_strategies_names():
    assert fastconv.strategies() == tuple(BY_NAME)
    with pytest.raises(ValueError, match=r"strategy='magic'.*direct"):
        fastconv.conv2d(*problem(), strategy="magic")


@pytest.mark.parametrize("step", [1, -1, 2])
def test_kernels_never_see_a_misaligned_array(step):
    """Most machines forgive it, so that no result tells."""
    array = np.zeros(65, np.uint8)[1:].view(F4)[::step]
    assert not array.flags.aligned
    assert as_operand(array, np.dtype(F4)).flags.aligned
