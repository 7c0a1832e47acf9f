"""The forms in which torch's callers write the same call: names, sequences of one, empty batches, ``inplace``."""

import inspect

import numpy as np
import pytest

import fastconv
from fastconv import GeometryError, nn

RNG = np.random.default_rng(0)
EXTENT = {1: (9,), 2: (9, 8), 3: (6, 7, 8)}


def image(ndim, n=2, channels=3):
    return RNG.standard_normal((n, channels, *EXTENT[ndim]))


def filters(ndim):
    return RNG.standard_normal((4, 3, *(3,) * ndim))


def named(name, ndim):
    return getattr(fastconv, f"{name}{ndim}d")


def same(got, expected):
    for one, other in zip(*(a if isinstance(a, tuple) else (a,) for a in (got, expected)), strict=True):
        np.testing.assert_array_equal(one, other)


# --- sequences of one element stand for all axes


@pytest.mark.parametrize("form", [lambda value: (value,), lambda value: [value], lambda value: (np.int64(value),)])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_sequences_of_one_element(ndim, form):
    x, weight = image(ndim), filters(ndim)
    grown = image(ndim, channels=4)
    conv, transposed = named("conv", ndim), named("conv_transpose", ndim)
    window = {"stride": 2, "padding": 2, "dilation": 2}
    forms = {name: form(value) for name, value in window.items()}
    same(conv(x, weight, **forms), conv(x, weight, **window))
    more = {**window, "output_padding": 1}
    same(transposed(grown, weight, **{**forms, "output_padding": form(1)}), transposed(grown, weight, **more))
    out = conv(x, weight, **window)
    for gradient, size, other in (("input", x.shape, weight), ("weight", x, weight.shape)):
        function = getattr(fastconv.grad, f"conv{ndim}d_{gradient}")
        same(function(size, other, out, **forms), function(size, other, out, **window))
    for pool in ("max_pool", "avg_pool"):
        plain = {"kernel_size": 3, "stride": 2, "padding": 1}
        same(
            named(pool, ndim)(x, **{name: form(value) for name, value in plain.items()}), named(pool, ndim)(x, **plain)
        )
    if ndim < 3:
        same(named("lp_pool", ndim)(x, 2, form(3), form(2)), named("lp_pool", ndim)(x, 2, 3, 2))
        for pool in ("adaptive_max_pool", "adaptive_avg_pool"):
            same(named(pool, ndim)(x, form(3)), named(pool, ndim)(x, 3))


@pytest.mark.parametrize("one", [(2,), [2]])
def test_sequences_of_one_element_elsewhere(one):
    x, weight = image(2), filters(2)
    prepared = fastconv.prepare_conv2d(weight, stride=one, padding=one, strategy="implicit")
    same(prepared(x), fastconv.conv2d(x, weight, None, 2, 2, strategy="implicit"))
    plans = [fastconv.plan_conv2d(x.shape, weight.shape, stride=value, padding=value) for value in (one, 2)]
    assert plans[0] == plans[1]
    pooled, indices = fastconv.max_pool2d(x, one, return_indices=True)
    same(fastconv.max_unpool2d(pooled, indices, one, one, (0,)), fastconv.max_unpool2d(pooled, indices, 2))
    drawn = RNG.random((2, 3, 2))
    for size in ({"output_size": one}, {"output_ratio": (0.3,)}):
        ((name, (value,)),) = size.items()
        same(
            fastconv.fractional_max_pool2d(x, one, **size, _random_samples=drawn),
            fastconv.fractional_max_pool2d(x, 2, **{name: value}, _random_samples=drawn),
        )
    same(fastconv.im2col(x, one, stride=one), fastconv.im2col(x, 2, stride=2))


@pytest.mark.parametrize("none", [None, (), []])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_no_stride_is_that_of_the_kernel(ndim, none):
    x = image(ndim)
    for pool in ("max_pool", "avg_pool"):
        same(named(pool, ndim)(x, 2, none), named(pool, ndim)(x, 2, 2))
    if ndim < 3:
        same(named("lp_pool", ndim)(x, 2, 2, none), named("lp_pool", ndim)(x, 2, 2, 2))
    if ndim == 2:
        pooled, indices = fastconv.max_pool2d(x, 2, return_indices=True)
        same(fastconv.max_unpool2d(pooled, indices, 2, none), fastconv.max_unpool2d(pooled, indices, 2, 2))
        same(fastconv.grad.max_pool2d(pooled, x, 2, none), fastconv.grad.max_pool2d(pooled, x, 2, 2))
        same(fastconv.grad.avg_pool2d(pooled, x.shape, 2, none), fastconv.grad.avg_pool2d(pooled, x.shape, 2, 2))


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: fastconv.conv2d(image(2), filters(2), stride=()), r"stride=\(\)"),
        (lambda: fastconv.conv2d(image(2), filters(2), stride=(2, 2, 2)), "2 ints, one per axis"),
        (lambda: fastconv.conv2d(image(2), filters(2), padding=((1,), (2,))), "pairs, one per axis"),
        (lambda: fastconv.conv3d(image(3), filters(3), stride=(1, 2)), "3 ints, one per axis"),
        (lambda: fastconv.max_pool2d(image(2), ()), r"kernel_size=\(\)"),
        (lambda: fastconv.max_pool2d(image(2), 2, (0,)), "at least 1"),
        (lambda: fastconv.max_pool2d(image(2), 2, ""), "stride=''"),
        (lambda: fastconv.adaptive_avg_pool2d(image(2), ()), r"output_size=\(\)"),
    ],
)
def test_other_lengths_are_refused(call, fault):
    with pytest.raises(GeometryError, match=fault):
        call()


# --- empty batches


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_empty_batches(ndim, dtype):
    full, weight = image(ndim, n=1).astype(dtype), filters(ndim).astype(dtype)
    x = full[:0]

    def check(call, *arrays):
        for got, one in zip(*(r if isinstance(r, tuple) else (r,) for r in (call(x), call(full))), strict=True):
            assert (got.shape, got.dtype) == ((0, *one.shape[1:]), one.dtype)

    check(lambda x: named("conv", ndim)(x, weight, padding=1))
    for stride in (1, 2):
        check(lambda x, stride=stride: named("conv_transpose", ndim)(x, weight.swapaxes(0, 1), stride=stride))
    for options in ({}, {"padding": 1}, {"ceil_mode": True}):
        check(lambda x, options=options: named("avg_pool", ndim)(x, 3, 2, **options))
        check(lambda x, options=options: named("max_pool", ndim)(x, 3, 2, **options, return_indices=True))
    if ndim < 3:
        check(lambda x: named("lp_pool", ndim)(x, 2, 3))
        for size in (1, 2, 5):
            check(lambda x, size=size: named("adaptive_avg_pool", ndim)(x, size))
            check(lambda x, size=size: named("adaptive_max_pool", ndim)(x, size, True))
    of_full = named("conv", ndim)(full, weight)
    by_input = getattr(fastconv.grad, f"conv{ndim}d_input")(x.shape, weight, of_full[:0])
    assert by_input.shape == x.shape
    by_weight = getattr(fastconv.grad, f"conv{ndim}d_weight")(x, weight.shape, of_full[:0])
    np.testing.assert_array_equal(by_weight, np.zeros_like(weight))


def test_empty_batches_of_planes():
    x = image(2, n=0)
    pooled, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    assert fastconv.max_unpool2d(pooled, indices, 2).shape == (0, 3, 8, 8)
    assert fastconv.global_avg_pool2d(x).shape == fastconv.global_max_pool2d(x).shape == (0, 3, 1, 1)
    assert fastconv.fractional_max_pool2d(x, 2, 3).shape == (0, 3, 3, 3)
    for strategy in ("auto", "winograd4", "fft", "implicit"):
        assert fastconv.prepare_conv2d(filters(2), padding=1, strategy=strategy)(x).shape == (0, 4, 9, 8)


# --- torch's name of the first argument


def with_x():
    """The functions whose array is called x here, and ``input`` by torch."""
    named_as_torch = {name: value for name, value in vars(nn).items() if inspect.isfunction(value)}
    named_as_torch |= {f"conv{ndim}d_weight": getattr(fastconv.grad, f"conv{ndim}d_weight") for ndim in (1, 2, 3)}
    for name, function in named_as_torch.items():
        if "x" in inspect.signature(function).parameters:
            yield name, function


@pytest.mark.parametrize("name", sorted(dict(with_x())))
def test_input_is_x(name):
    function = dict(with_x())[name]
    ndim = 1 if "1d" in name else 3 if "3d" in name else 2
    channels = 4 if "transpose" in name else 3
    x, weight = image(ndim, channels=channels), filters(ndim)
    ones = np.ones(channels)
    rest = {
        "conv_transpose": (weight,),
        "_weight": (weight.shape, named("conv", ndim)(x[:, :3], weight)),
        "unpool": (np.zeros(x.shape, np.int64), 2),
        "fractional": (2, 3, None, False, np.zeros((2, 3, 2))),
        "adaptive": (2,),
        "global": (),
        "lp_pool": (2, 2),
        "pool": (2,),
        "conv2d": (weight,),
        "conv1d": (weight,),
        "conv3d": (weight,),
        "batch_norm": (ones, ones),
        "local_response_norm": (3,),
        "layer_norm": ((9, 8),),
        "rms_norm": (8,),
        "group_norm": (3,),
        "maxout": (3,),
        "threshold": (0.1, 2.0),
        "prelu": (ones,),
        "linear": (np.ones((2, 8)),),
        "softmax": (1,),
        "cross_entropy": (np.zeros((2, 9, 8), np.int64),),
        "dropout": (0.5, False),
        "add": (x,),
        "index_select": (1, np.array([2, 0])),
    }
    arguments = next((arguments for part, arguments in rest.items() if part in name), ())
    parameters = list(inspect.signature(function).parameters)[1:]
    options = dict(zip(parameters, arguments, strict=False))
    expected = function(x, *arguments)
    same(function(input=x, **options), expected)
    same(function(x=x, **options), expected)
    with pytest.raises(TypeError, match="both x and input"):
        function(x=x, input=x, **options)
    with pytest.raises(TypeError, match="multiple values for argument 'x'"):
        function(x, input=x, **options)


# --- inplace, dim, dtype, reduction


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "layout", [lambda a: a, lambda a: a.T, lambda a: a[::-2]], ids=["whole", "transposed", "steps"]
)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("relu", ()),
        ("leaky_relu", (0.2,)),
        ("elu", (0.5,)),
        ("silu", ()),
        ("hardswish", ()),
        ("relu6", ()),
        ("selu", ()),
        ("celu", (0.7,)),
        ("mish", ()),
        ("hardsigmoid", ()),
        ("hardtanh", (-0.5, 0.5)),
        ("threshold", (0.1, 2.0)),
        ("rrelu", (0.1, 0.3, False)),
        ("dropout", (1.0, True)),
    ],
)
def test_inplace(name, arguments, layout, dtype):
    x = layout(RNG.standard_normal((6, 50)).astype(dtype))
    function = getattr(nn, name)
    expected = function(x.copy(), *arguments)
    assert function(x, *arguments, True) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax])
@pytest.mark.parametrize(("ndim", "axis"), [(1, 0), (2, 1), (3, 0), (4, 1)])
def test_softmax_without_an_axis_takes_that_of_torch(function, ndim, axis):
    x = RNG.standard_normal((2, 3, 4, 5)[:ndim])
    same(function(x), function(x, axis))
    same(function(x, None, 3, np.float32), function(x.astype(np.float32), axis))


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax])
@pytest.mark.parametrize("given", ["int8", "int64", "float16", "float32", "bool"])
@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_softmax_converts_first(function, given, dtype):
    x = np.arange(12).reshape(3, 4).astype(given)
    got = function(x, 1, dtype=dtype)
    assert got.dtype == dtype
    same(got, function(x.astype(dtype), 1))


@pytest.mark.parametrize(
    ("old", "reduction"),
    [
        ({"reduce": False}, "none"),
        ({"size_average": False}, "sum"),
        ({"size_average": True}, "mean"),
        ({"reduce": True}, "mean"),
        ({"size_average": False, "reduce": True}, "sum"),
        ({"size_average": True, "reduce": False}, "none"),
    ],
)
def test_reductions_of_old(old, reduction):
    x, target = RNG.standard_normal((5, 3)), [0, 2, 1, -100, 0]
    same(nn.cross_entropy(x, target, **old), nn.cross_entropy(x, target, reduction=reduction))


def test_arguments_of_the_loss_stand_in_torchs_order():
    x, target = RNG.standard_normal((5, 3)), [0, 2, 1, 2, 0]
    options = {"ignore_index": 2, "reduction": "sum", "label_smoothing": 0.1}
    same(nn.cross_entropy(x, target, None, None, 2, None, "sum", 0.1), nn.cross_entropy(x, target, **options))
