"""Every strategy on every problem, against oracles that share nothing with it."""

import re
import tracemalloc
from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy import signal, special

import fastconv
from cases import CASES, DTYPES, OF_3X3, integers, normals, window
from fastconv import UnsupportedError
from fastconv.engine import planner
from fastconv.engine.convolution import BY_NAME, STRATEGIES
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.convolution.winograd import Winograd
from fastconv.engine.epilogue import ACTIVATIONS, Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.kernels import threads as team

# `error` is an expected maximum for Gaussian rounding. Sums of few products have heavier tails, and borders and small
# outputs deviate from σ; a wrong algorithm errs by orders of magnitude.
ERROR_FACTOR = 4

ABLE = [
    pytest.param(strategy, name, dtype, id=f"{strategy.name}-{name}-{dtype}")
    for strategy, (name, geometry), dtype in product(STRATEGIES, CASES.items(), DTYPES)
    if strategy.refuse(geometry.as_2d(), np.dtype(dtype)) is None
]
ABLE_EXACTLY = [case for case in ABLE if case.values[0].componentwise(CASES[case.values[1]].as_2d())]
EVERY = pytest.mark.parametrize("strategy", OF_3X3, ids=lambda strategy: strategy.name)
# Winograd's transforms mix the pixels of a tile; test_winograd.py has what becomes of NaN and of large values there.
UNMIXED = pytest.mark.parametrize(
    "strategy", [s for s in OF_3X3 if not isinstance(s, Winograd)], ids=lambda strategy: strategy.name
)


def conv(geometry, x, weight, bias=None, **options):
    function = {1: fastconv.conv1d, 2: fastconv.conv2d}[geometry.ndim]
    return function(x, weight, bias, **window(geometry), **options)


def able(strategy, *names):
    """Those of the named cases that `strategy` computes."""
    return [CASES[n] for n in names if strategy.refuse(CASES[n].as_2d(), np.dtype("float32")) is None]


def bound(strategy, geometry, dtype):
    """The largest credible error for standard normal data, absolute."""
    return ERROR_FACTOR * strategy.error(geometry.as_2d(), np.dtype(dtype)) * np.sqrt(geometry.reduction)


def by_scipy(geometry, x, weight):
    """The definition through `scipy.signal.correlate`: padded by hand, dilation by zeros between the taps, strides by
    slicing, channels and groups by loops."""
    spread = np.zeros(
        (*weight.shape[:2], *(d * (k - 1) + 1 for k, d in zip(geometry.kernel, geometry.dilation, strict=True)))
    )
    spread[(..., *(slice(None, None, d) for d in geometry.dilation))] = weight
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *geometry.padding))
    icg, ocg = geometry.ic // geometry.g, geometry.oc // geometry.g
    out = np.zeros(geometry.out_shape)
    for n, m, c in product(range(geometry.n), range(geometry.oc), range(icg)):
        dense = signal.correlate(x[n, m // ocg * icg + c], spread[m, c], mode="valid", method="direct")
        out[n, m] += dense[tuple(slice(None, None, s) for s in geometry.stride)]
    return out


@cache
def integer_problem(name, dtype):
    x, weight = integers(CASES[name], dtype)
    return x, weight, by_scipy(CASES[name], x, weight)


@cache
def normal_problem(name, dtype):
    """With a result that is exact beside the type's own rounding."""
    x, weight = normals(CASES[name], dtype)
    wide = np.float64 if dtype == "float32" else np.longdouble
    return x, weight, convolve(CASES[name], x.astype(wide), weight.astype(wide), Epilogue())


@pytest.mark.parametrize(
    "descriptor", ["ic2 oc3 id4 ih5 iw6 k2 s2 d2 p1", "g2 ic4 oc2 id3 ih4 iw5 kd1 kh2 kw3 pf1 pk0"]
)
def test_reference_in_three_dimensions(descriptor):
    geometry = ConvGeometry.parse(descriptor)
    x, weight = integers(geometry, "float64")
    np.testing.assert_array_equal(convolve(geometry, x, weight, Epilogue()), by_scipy(geometry, x, weight))


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_reference_is_correlate2d(mode):
    rng = np.random.default_rng(0)
    image, kernel = rng.integers(-9, 9, (7, 8)).astype(float), rng.integers(-9, 9, (3, 5)).astype(float)
    padding = {"valid": 0, "same": (1, 2), "full": (2, 4)}[mode]
    geometry = ConvGeometry.from_shapes((1, 1, 7, 8), (1, 1, 3, 5), padding=padding)
    out = convolve(geometry, image[None, None], kernel[None, None], Epilogue())
    np.testing.assert_array_equal(out[0, 0], signal.correlate2d(image, kernel, mode))


@pytest.mark.per_isa
@pytest.mark.parametrize(("strategy", "name", "dtype"), ABLE_EXACTLY)
def test_integers_are_exact(strategy, name, dtype):
    x, weight, expected = integer_problem(name, dtype)
    out = conv(CASES[name], x, weight, strategy=strategy.name)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("strategy", "name", "dtype"), ABLE)
def test_error_is_as_expected(strategy, name, dtype):
    x, weight, expected = normal_problem(name, dtype)
    out = conv(CASES[name], x, weight, strategy=strategy.name)
    np.testing.assert_allclose(out, expected, rtol=0, atol=bound(strategy, CASES[name], dtype))


@EVERY
def test_error_is_not_overstated(strategy):
    """An `error` far above the real one would hide a bad strategy from the test above."""
    geometry = ConvGeometry.parse("ic64 oc8 i24 k3 p1")
    x, weight = normals(geometry, "float32")
    exact = convolve(geometry, x, weight, Epilogue())
    worst = np.abs(conv(geometry, x, weight, strategy=strategy.name) - exact).max()
    assert worst > bound(strategy, geometry, "float32") / 100


ACTIVATED = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "relu6": lambda x: np.clip(x, 0, 6),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543773 * np.expm1(np.minimum(x, 0))),
    "celu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "tanhshrink": lambda x: x - np.tanh(x),
    "logsigmoid": lambda x: special.log_expit(x),
    ("leaky_relu", 0.25): lambda x: np.where(x > 0, x, 0.25 * x),
    ("elu", 2.0): lambda x: np.where(x > 0, x, 2 * (np.exp(np.minimum(x, 0)) - 1)),
    None: lambda x: x,
}


def test_every_activation_is_tested():
    # The rounding of a sum may put a value on either side of a step: test_nn.py tests "hardshrink".
    assert set(ACTIVATIONS) - {"hardshrink"} <= set(ACTIVATED)


@pytest.mark.per_isa
@EVERY
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATED, ids=str)
@pytest.mark.parametrize("with_bias", [False, True], ids=["", "bias"])
def test_bias_and_activation(strategy, dtype, activation, with_bias):
    for geometry in able(strategy, "same", "batch", "pointwise", "groups", "signal", "empty_batch"):
        x, weight = integers(geometry, dtype)
        weight /= 64  # a power of two: sums stay exact, and fall where activations bend
        bias = np.arange(geometry.oc, dtype=dtype) - 1.5 if with_bias else None
        out = conv(geometry, x, weight, bias, strategy=strategy.name, activation=activation)
        before = by_scipy(geometry, x, weight) + (0 if bias is None else bias.reshape(-1, *[1] * geometry.ndim))
        # The activations' own few roundings; no slope is steeper than 1.5, or the parameter.
        atol = 8 * np.finfo(dtype).eps * max(1, np.abs(before).max(initial=0))
        if not strategy.componentwise(geometry.as_2d()):
            atol += 2 * 5 / 64 * 5 * bound(strategy, geometry, dtype)
        np.testing.assert_allclose(out, ACTIVATED[activation](before), rtol=0, atol=atol)


ODD_PROBLEMS = {
    "three_axes": ("ic2 oc2 id4 ih5 iw6 k3", "float32"),
    "longdouble": ("ic2 oc2 i5 k3", "longdouble"),
    "float16": ("ic2 oc2 i5 k3", "float16"),
    "int32": ("ic2 oc2 i5 k3", "int32"),
    "complex": ("ic2 oc2 i5 k3", "complex64"),
    "matrix_too_long": ("ic64 oc64 i1024 k3 p1", "float32"),
    "columns_too_many": ("ic1 oc1 i65536 k1 s65536", "float32"),
    "filters_too_many": ("ic1 oc4294967296 i1 k1", "float32"),
    "padded_too_far": ("ic1 oc1 i4 k3 s1099511627776 p1099511627776", "float32"),
}


@EVERY
@pytest.mark.parametrize("problem", ODD_PROBLEMS)
def test_refusals_carry_a_reason(strategy, problem):
    descriptor, dtype = ODD_PROBLEMS[problem]
    geometry, dtype = ConvGeometry.parse(descriptor), np.dtype(dtype)
    reason = strategy.refuse(geometry, dtype)
    if reason is None:
        assert strategy.error(geometry, dtype) >= 0
        assert strategy.cost(geometry, dtype) > 0
        assert strategy.prepare_cost(geometry, dtype) >= 0
    else:
        with pytest.raises(UnsupportedError, match=re.escape(reason)) as caught:
            planner.plan(geometry, dtype.name, strategy=strategy.name)
        assert strategy.name in str(caught.value)


def test_auto_reports_why_others_were_left_out():
    refused = ConvGeometry.parse("ic2 oc2 id4 ih5 iw6 k3")
    listed = {c.name: c.refusal for c in planner.plan(refused, "float32").candidates}
    assert listed == {s.name: s.refuse(refused, np.dtype("float32")) for s in STRATEGIES}


def test_auto_without_a_strategy_lists_every_reason():
    problem = ConvGeometry.parse("ic1 oc1 id64 ih1024 iw1024 k3 p1")
    with pytest.raises(UnsupportedError) as caught:
        planner.plan(problem, "float32")
    for name in fastconv.strategies():
        assert f"{name}: " in str(caught.value)


def test_the_odd_problems_are_refused_by_some():
    for descriptor, dtype in ODD_PROBLEMS.values():
        geometry, dtype = ConvGeometry.parse(descriptor), np.dtype(dtype)
        workspaces = [
            s.workspace_bytes(geometry, dtype, 1, 1 << 29) for s in STRATEGIES if not s.refuse(geometry, dtype)
        ]
        assert len(workspaces) < len(STRATEGIES) or max(workspaces) > 1 << 29


@EVERY
def test_workspace_is_bounded(strategy):
    geometry = CASES["same"]
    needed = strategy.workspace_bytes(geometry, np.dtype("float32"), 4, 0)
    if needed == 0:
        assert planner.plan(geometry, "float32", strategy=strategy.name, max_workspace=0).strategy is strategy
    else:
        with pytest.raises(UnsupportedError, match="workspace"):
            planner.plan(geometry, "float32", strategy=strategy.name, max_workspace=0)


WORKING = [
    pytest.param(strategy, geometry, id=f"{strategy.name}-{geometry}")
    for strategy, geometry in product(
        STRATEGIES,
        map(
            ConvGeometry.parse,
            ("ic16 oc32 i64 k3 p1", "n2 ic8 oc8 i64 k5 p2", "ic8 oc8 i40 k3 d30 p30", "n2 ic8 oc8 i64 kh9 kw11 p4"),
        ),
    )
    if strategy.refuse(geometry, np.dtype("float32")) is None
]


@pytest.mark.parametrize(("strategy", "geometry"), WORKING)
@pytest.mark.parametrize("limit", [1 << 22, DEFAULT_MAX_WORKSPACE])
def test_workspace_is_as_promised(strategy, geometry, limit):
    """What NumPy allocates during a call, as tracemalloc sees it."""
    x, weight = normals(geometry, "float32")
    out = np.empty(geometry.out_shape, np.float32)
    arguments = (geometry, x, strategy.prepare(geometry, weight, 2), out, Epilogue(), 2, limit)
    strategy.run(*arguments)  # compiles, imports, fills caches
    team.release_scratch()
    tracemalloc.start()
    try:
        strategy.run(*arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Python's own objects, and arrays of a plane or of an index a row, are not counted.
    assert peak <= 1.1 * strategy.workspace_bytes(geometry, x.dtype, 2, limit) + (256 << 10)


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def in_records(a):
    records = np.zeros(a.shape, np.dtype([("tag", "i1"), ("value", a.dtype)]))
    records["value"] = a
    return records["value"]


def column_slice(a):
    wide = np.full((*a.shape[:-1], 3 * a.shape[-1]), np.nan, a.dtype)
    wide[..., 1::3] = a
    return wide[..., 1::3]


def interior(a):
    """Neighbours that must not be read are NaN."""
    room = np.full([n + 4 for n in a.shape], np.nan, a.dtype)
    view = room[(slice(2, -2),) * a.ndim]
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


VIEWS = {
    "channels_last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "reversed": lambda a: a[(slice(None, None, -1),) * a.ndim].copy()[(slice(None, None, -1),) * a.ndim],
    "reversed_columns": lambda a: a[..., ::-1].copy()[..., ::-1],
    "broadcast_batch": lambda a: np.broadcast_to(a[:1], a.shape),
    "broadcast_channels": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "broadcast_rows": lambda a: np.broadcast_to(a[:, :, :1], a.shape),
    "broadcast_columns": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "broadcast_scalar": lambda a: np.broadcast_to(a.reshape(-1)[-1], a.shape),
    "column_slice": column_slice,
    "interior": interior,
    "fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2),
    "misaligned": misaligned,
    "in_records": in_records,
    "byte_swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read_only": read_only,
}


@pytest.mark.per_isa
@EVERY
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("of", ["x", "weight"])
def test_any_strides(strategy, dtype, view, of):
    for geometry in able(strategy, "batch", "stride_2", "pointwise", "groups", "large_kernel"):
        x, weight = integers(geometry, dtype)
        x, weight = (view(x), weight) if of == "x" else (x, view(weight))
        before = x.tobytes(), weight.tobytes()
        out = conv(geometry, x, weight, strategy=strategy.name)
        expected = by_scipy(geometry, x, weight)
        atol = 0 if strategy.componentwise(geometry.as_2d()) else 5 * 5 * bound(strategy, geometry, dtype)
        np.testing.assert_allclose(out, expected, rtol=0, atol=atol)
        assert before == (x.tobytes(), weight.tobytes())


@EVERY
def test_memory_mapped(strategy, tmp_path):
    geometry = CASES["same"]
    x, weight = normals(geometry, "float32")
    for name, array in (("x", x), ("weight", weight)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("x", "weight"))
    out = conv(geometry, *mapped, strategy=strategy.name)
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, conv(geometry, x, weight, strategy=strategy.name))


VARIOUS = ("many_row_tiles", "batch", "groups", "depthwise", "pointwise", "stride_2", "large_kernel", "signal")
INDEPENDENT = pytest.mark.parametrize(
    ("strategy", "name", "dtype"), [case for case in ABLE if case.values[1] in VARIOUS]
)


@INDEPENDENT
def test_threads_do_not_matter(strategy, name, dtype):
    geometry = CASES[name].as_2d()
    x, weight = normals(geometry, dtype)
    prepared = strategy.prepare(geometry, weight, 1)
    epilogue = Epilogue(np.ones(geometry.oc, dtype), *(ACTIVATIONS["tanh"][0], 0.0))
    counts = (1, 2, 3, 8, 64)
    outs = [np.full(geometry.out_shape, np.nan, dtype) for _ in counts]
    for out, threads in zip(outs, counts, strict=True):
        strategy.run(geometry, x, prepared, out, epilogue, threads, DEFAULT_MAX_WORKSPACE)
    assert len({out.tobytes() for out in outs}) == 1


# Of blocks that many threads divide: small and long maps, groups, a batch, and few or many channels.
DIVIDED = (
    "ic64 oc66 i7 k3 p1",
    "n2 g2 ic18 oc100 i13 k3 p1",
    "ic130 oc31 i14 k1",
    "ic3 oc40 ih1 iw999 kh1 kw3 pl2",
    "n3 ic16 oc7 ih28 iw5 k3 p1",
    "ic6 oc200 ih20 iw100 k3",
    "n2 ic40 oc70 ih12 iw17 k3 d2 p2",
)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descriptor", DIVIDED)
@pytest.mark.parametrize("name", ["implicit", "im2row", "indirect", "winograd2", "winograd4"])
def test_blocks_of_many_threads_do_not_matter(name, descriptor, dtype):
    """Whoever shares the work, prepared and in one shot; and no output is left out, or computed with another's bias."""
    geometry, strategy = ConvGeometry.parse(descriptor).as_2d(), BY_NAME[name]
    if strategy.refuse(geometry, np.dtype(dtype)) is not None:
        assert name.startswith("winograd")
        assert geometry.taps == 1
        return
    x, weight = normals(geometry, dtype)
    prepared = strategy.prepare(geometry, weight, 1)
    epilogue = Epilogue(np.arange(geometry.oc, dtype=dtype))
    bits = set()
    for threads in (1, 2, 3, 4, 8, 20, 64, 1000):
        for run, filters in ((strategy.run, prepared), (strategy.run_once, weight)):
            out = np.full(geometry.out_shape, np.nan, dtype)
            run(geometry, x, filters, out, epilogue, threads, DEFAULT_MAX_WORKSPACE)
            bits.add(out.tobytes())
    assert len(bits) == 1
    assert np.isfinite(out).all()


@pytest.mark.parametrize("threads", [3, 64, 1000])
@pytest.mark.parametrize("descriptor", [*DIVIDED, "n64 ic64 oc64 i56 k3 p1", "ic1 oc1 ih1 iw1000000000 kh1 kw3"])
@pytest.mark.parametrize("name", ["implicit", "im2row", "indirect", "winograd2", "winograd4"])
def test_workspace_of_many_threads_is_bounded(name, descriptor, threads):
    """By what there is to compute, too; and extents of any size are divided at once."""
    geometry, dtype = ConvGeometry.parse(descriptor).as_2d(), np.dtype("f4")
    if BY_NAME[name].refuse(geometry, dtype) is None:
        one, many = (BY_NAME[name].workspace_bytes(geometry, dtype, n, DEFAULT_MAX_WORKSPACE) for n in (1, threads))
        assert many <= max(threads * one, one + (64 << 20))
        assert many <= DEFAULT_MAX_WORKSPACE


@pytest.mark.per_isa
@INDEPENDENT
def test_batch_size_does_not_matter(strategy, dtype, name):
    geometry = CASES[name]
    x, weight = normals(geometry, dtype)
    x = np.random.default_rng(1).standard_normal((5, *x.shape[1:])).astype(dtype)
    together = conv(geometry, x, weight, strategy=strategy.name)
    for image, result in zip(x, together, strict=True):
        assert conv(geometry, image, weight, strategy=strategy.name).tobytes() == result.tobytes()


@pytest.mark.per_isa
@UNMIXED
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_pixels_stay_where_they_are_seen(strategy, dtype, value):
    for geometry in able(strategy, "batch", "stride_2", "mixed_dilation", "pointwise", "groups", "large_kernel"):
        x, weight = integers(geometry, dtype)
        weight[weight == 0] = 1  # 0 * inf is NaN, in some orders of summation also beside inf
        x[-1, -1, -2, 1] = x[0, 0, 0, 0] = value
        expected = convolve(geometry, x, weight, Epilogue())
        assert np.isfinite(expected).any()
        atol = (
            0 if strategy.componentwise(geometry.as_2d()) else 5 * 5 * bound(strategy, geometry, dtype)
        )  # images and tiles without them
        np.testing.assert_allclose(conv(geometry, x, weight, strategy=strategy.name), expected, rtol=0, atol=atol)


@UNMIXED
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_weights_touch_their_filter_alone(strategy, value):
    geometry = CASES["plain"]
    x, weight = integers(geometry, "float32")
    x[x == 0] = 1
    weight[1, 1, 1, 1] = value
    out = conv(geometry, x, weight, strategy=strategy.name)
    assert not np.isfinite(out[:, 1]).any()
    np.testing.assert_array_equal(out, convolve(geometry, x, weight, Epilogue()))


@EVERY
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_let_nan_through(strategy, activation):
    x = np.full((1, 1, 4, 72), np.nan, np.float32)
    out = fastconv.conv2d(x, np.ones((1, 1, 3, 3), np.float32), activation=activation, strategy=strategy.name)
    assert np.isnan(out).all()


@UNMIXED
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_finite_values_do_not_overflow(strategy, dtype):
    """No partial sum is out of range; a spectrum's is."""
    x = np.full((1, 1, 40, 40), np.finfo(dtype).max / 4, dtype)
    weight = np.full((1, 1, 9, 11), 1 / 64, dtype)
    out = fastconv.conv2d(x, weight, strategy=strategy.name)
    np.testing.assert_allclose(out, x[0, 0, 0, 0] * (99 / 64), rtol=99 * np.finfo(dtype).eps)


@EVERY
@pytest.mark.parametrize("dtype", DTYPES)
def test_denormals_and_negative_zeros(strategy, dtype):
    geometry = CASES["same"]
    x, weight = integers(geometry, dtype)
    zeros = conv(geometry, np.full_like(x, -0.0), weight, strategy=strategy.name)
    np.testing.assert_array_equal(zeros, np.zeros_like(zeros))
    tiny = np.finfo(dtype).smallest_subnormal
    out = conv(geometry, x * tiny, weight, strategy=strategy.name)
    if strategy.componentwise(geometry.as_2d()):
        np.testing.assert_array_equal(out, (by_scipy(geometry, x, weight) * np.float64(tiny)).astype(dtype))
    else:
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= np.finfo(dtype).smallest_normal


@EVERY
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight_side", ["g1 ic64 oc64 k3", "g2 ic6 oc10 k3"])
def test_prepared_weights_serve_every_image(strategy, dtype, weight_side):
    """What is prepared for one image, window and number of threads gives the bits of what is prepared for another."""
    small, wide, skipping = (
        ConvGeometry.parse(f"{weight_side} {rest}")
        for rest in ("n1 i3", "n2 ih20 iw75 p3", "n2 ih20 iw75 sh1 sw2 dh2 dw1 p3")
    )
    large = skipping if strategy.refuse(skipping, np.dtype(dtype)) is None else wide
    _, weight = normals(small, dtype)
    before = weight.copy()
    prepared = strategy.prepare(small, weight, 1)
    assert prepared.nbytes >= weight.nbytes
    x, _ = normals(large, dtype)
    outs = []
    for form in (prepared, prepared, strategy.prepare(large, weight, 3)):  # the second finds what the first has left
        outs.append(np.empty(large.out_shape, dtype))
        strategy.run(large, x, form, outs[-1], Epilogue(), 2, DEFAULT_MAX_WORKSPACE)
    assert outs[0].tobytes() == outs[1].tobytes() == outs[2].tobytes()
    np.testing.assert_array_equal(weight, before)


@EVERY
def test_out_is_written_whatever_it_held(strategy):
    for geometry in able(strategy, *(set(CASES) - {"empty_batch", "kernel_past_image"})):
        x, weight = integers(geometry, "float32")
        out = np.full(geometry.out_shape, np.nan, np.float32)
        assert conv(geometry, x, weight, strategy=strategy.name, out=out) is out
        assert np.isfinite(out).all()
