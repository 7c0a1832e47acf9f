"""The other layers, against definitions in extended precision, naive loops, scipy.special, and torch where it is."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastconv
from fastconv import GeometryError, nn
from fastconv.engine import epilogue

L = np.longdouble
DTYPES = ("float32", "float64")


def wide_erf(x):
    return np.array([math.erf(v) for v in x.ravel().astype(float)]).reshape(x.shape).astype(L)


# name: (arguments, definition in extended precision). Each has a relative condition of order 1 + |x| at most.
ACTIVATIONS = {
    "relu": ((), lambda x: np.maximum(x, 0)),
    "leaky_relu": ((0.125,), lambda x: np.where(x < 0, x / 8, x)),
    "elu": ((0.5,), lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)) / 2, x)),
    "sigmoid": ((), lambda x: 1 / (1 + np.exp(-x))),
    "tanh": ((), np.tanh),
    "silu": ((), lambda x: x / (1 + np.exp(-x))),
    "gelu": ((), lambda x: x * (1 + wide_erf(x / np.sqrt(L(2)))) / 2),
    "gelu_tanh": (("tanh",), lambda x: x * (1 + np.tanh(np.sqrt(2 / L(np.pi)) * (x + L("0.044715") * x**3))) / 2),
    "hardswish": ((), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "relu6": ((), lambda x: np.clip(x, 0, 6)),
    "softsign": ((), lambda x: x / (1 + np.abs(x))),
    "selu": ((), lambda x: L("1.0507009873554804934") * np.where(x < 0, L("1.6732632423543772848") * np.expm1(x), x)),
    "celu": ((0.7,), lambda x: np.where(x < 0, 0.7 * np.expm1(np.minimum(x, 0) / 0.7), x)),
    "mish": ((), lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "hardsigmoid": ((), lambda x: np.clip(x + 3, 0, 6) / 6),
    "hardshrink": ((0.75,), lambda x: np.where(np.abs(x) > 0.75, x, 0)),
    "softshrink": ((0.75,), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.75, 0)),
    "tanhshrink": ((), lambda x: x - np.tanh(x)),
    "logsigmoid": ((), lambda x: -np.log1p(np.exp(-x))),
    "softplus": ((2.0, 9.0), lambda x: np.where(2 * x > 9, x, np.log1p(np.exp(2 * x)) / 2)),
    "hardtanh": ((-0.75, 2.5), lambda x: np.clip(x, -0.75, 2.5)),
    "threshold": ((0.5, -2.0), lambda x: np.where(x > 0.5, x, -2)),
}


def function(name):
    return getattr(nn, name.removesuffix("_tanh"))


def normals(shape, dtype="float64", seed=0, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_definition(name, dtype):
    arguments, definition = ACTIVATIONS[name]
    x = np.concatenate([normals(5000, dtype, scale=3), np.linspace(-12, 12, 97, dtype=dtype), [0, -0.0]]).astype(dtype)
    got = function(name)(x, *arguments)
    assert got.dtype == dtype
    # A few roundings of quantities that are at most max(1, |x|), and an argument whose rounding exp scales by |x|.
    bound = 6 * np.finfo(dtype).eps * np.maximum(1, np.abs(x))
    assert np.all(np.abs(got - definition(x.astype(L))) <= bound)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", epilogue.ACTIVATIONS)
def test_activation_alone_and_inside_a_convolution_are_the_same_bits(name, dtype):
    arguments, _ = ACTIVATIONS[name]
    parameters = () if name == "gelu_tanh" else arguments
    x, eye = normals((2, 3, 9, 7), dtype, scale=4), np.eye(3, dtype=dtype).reshape(3, 3, 1, 1)
    for strategy in ("implicit", "im2col"):
        fused = fastconv.conv2d(x, eye, activation=(name, *parameters), strategy=strategy)
        np.testing.assert_array_equal(fused, function(name)(fastconv.conv2d(x, eye, strategy=strategy), *arguments))


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 70000])
def test_every_value_of_any_size_is_reached_on_any_number_of_threads(size):
    x = normals(size, "float32")
    for threads in (1, 3):
        fastconv.set_num_threads(threads)
        np.testing.assert_array_equal(nn.relu(x), np.maximum(x, 0))
        np.testing.assert_array_equal(nn.sigmoid(x)[size // 3 :], nn.sigmoid(x[size // 3 :]))


# --- all functions of one array, by how they are called on (N, C, W)

CHANNELS = 4
UNARY = {name: (function(name), arguments) for name, (arguments, _) in ACTIVATIONS.items()} | {
    "prelu": (nn.prelu, (np.float32([0.5, -1, 0, 1]),)),
    "rrelu": (nn.rrelu, ()),
    "softmax": (nn.softmax, (1,)),
    "log_softmax": (nn.log_softmax, (-1,)),
    "dropout": (lambda x, **options: nn.dropout(x, 0.5, rng=0, **options), ()),
    "random_dropout": (lambda x, **options: nn.random_dropout(x, 0.5, rng=0, **options), ()),
    "batch_norm": (lambda x, **options: nn.batch_norm(x, None, None, training=True, **options), ()),
    "local_response_norm": (nn.local_response_norm, (3,)),
    "group_norm": (nn.group_norm, (2,)),
    "instance_norm": (nn.instance_norm, ()),
}
NORMS = ("batch_norm", "group_norm", "instance_norm")
X = normals((2, CHANNELS, 6))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_types_layouts_and_out(name, dtype):
    call, arguments = UNARY[name]
    x = X.astype(dtype)
    before = x.copy()
    expected = call(x, *arguments)
    np.testing.assert_array_equal(x, before)
    assert expected.dtype == dtype
    assert expected.flags.c_contiguous
    # What NumPy sums depends on the layout; all else is exact.
    close = {"rtol": 16 * np.finfo(dtype).eps, "atol": 16 * np.finfo(dtype).eps}
    backwards = np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1]
    for same in (np.asfortranarray(x), backwards, x.astype(x.dtype.newbyteorder())):
        np.testing.assert_allclose(call(same, *arguments), expected, **close)
    out = np.empty_like(x)
    assert call(x, *arguments, out=out) is out
    np.testing.assert_array_equal(out, expected)
    strided = np.zeros((*x.shape, 2), dtype)[..., 0]
    assert call(x, *arguments, out=strided) is strided
    np.testing.assert_array_equal(strided, expected)
    assert call(x, *arguments, out=x) is x
    np.testing.assert_array_equal(x, expected)
    memory = np.zeros((3, *before.shape[1:]), dtype)
    memory[:2] = before
    np.testing.assert_array_equal(call(memory[:2], *arguments, out=memory[1:]), expected)


@pytest.mark.parametrize("name", UNARY)
def test_refused_arrays(name):
    call, arguments = UNARY[name]
    # With a float weight integers have a type in common, as they have in a convolution.
    for dtype in ("complex64", "O") if name == "prelu" else ("int64", "uint8", "bool", "float16", "complex64", "O"):
        with pytest.raises(TypeError, match=r"expected float32 or float64, got x "):
            call(np.zeros((2, CHANNELS, 6), dtype), *arguments)
    with pytest.raises(TypeError, match="masked"):
        call(np.ma.masked_array(X, X > 0), *arguments)
    with pytest.raises(TypeError, match="out of dtype float32"):
        call(X, *arguments, out=np.empty(X.shape, np.float32))
    with pytest.raises(GeometryError, match="out of shape"):
        call(X, *arguments, out=np.empty((3, CHANNELS, 6)))
    with pytest.raises(ValueError, match="x cannot be converted to an array"):
        call([[1.0], [1.0, 2.0]], *arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_extremes_neither_warn_nor_lose_finite_values(name, dtype):
    call, arguments = UNARY[name]
    limits = np.finfo(dtype)
    values = [limits.max, -limits.max, limits.max / 8, -1e4, 1e4, limits.smallest_subnormal, -0.0, 0.0]
    x = np.array(values * CHANNELS, dtype).reshape(1, CHANNELS, -1)
    finite = call(x, *arguments)
    if name not in (*NORMS, "log_softmax", "dropout", "random_dropout", "selu"):  # whose results need not fit
        assert np.isfinite(finite).all()
    call(np.array([np.inf, -np.inf, np.nan, 1] * CHANNELS, dtype).reshape(1, CHANNELS, 4), *arguments)
    if name not in (*NORMS, "softmax", "log_softmax", "dropout", "random_dropout"):
        got = call(np.array([np.nan, 1] * CHANNELS, dtype).reshape(1, CHANNELS, 2), *arguments)
        assert np.isnan(got[..., 0]).all()
        assert np.isfinite(got[..., 1]).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_numbers_and_lists(name):
    arguments, definition = ACTIVATIONS[name]
    got = function(name)(0.5, *arguments)
    assert (type(got), got.shape, got.dtype) == (np.ndarray, (), np.float64)
    np.testing.assert_allclose(got, float(definition(np.array(0.5, L))), rtol=1e-14)
    assert function(name)([[0.5, 1.5]], *arguments).shape == (1, 2)
    assert function(name)(np.zeros((0, 3), np.float32), *arguments).shape == (0, 3)


def test_large_arrays_that_are_views():
    with pytest.raises(MemoryError):
        nn.relu(np.broadcast_to(1.0, (2**50,)))


# --- slopes that are learnt or drawn


def test_prelu():
    np.testing.assert_array_equal(nn.prelu(X, [0.25]), np.where(X < 0, X / 4, X))
    slopes = np.arange(4.0)
    np.testing.assert_array_equal(nn.prelu(X, slopes), np.where(X < 0, X * slopes[:, None], X))
    np.testing.assert_array_equal(nn.prelu(X[0, :, 0], slopes), nn.prelu(X, slopes)[0, :, 0])
    assert nn.prelu(X.astype(np.float32), slopes).dtype == np.float64
    np.testing.assert_array_equal(nn.prelu([[1.0, -1.0]], [np.inf, np.inf]), [[1, -np.inf]])
    with pytest.raises(GeometryError, match=r"weight of shape \(3,\).*each of 4"):
        nn.prelu(X, slopes[:3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_rrelu(dtype):
    x = normals(4000, dtype)
    out, slopes = nn.rrelu(x, 0.25, 0.5, training=True, rng=3, return_slopes=True)
    assert out.dtype == slopes.dtype == dtype
    np.testing.assert_array_equal(out, np.where(x < 0, x * slopes, x))
    assert 0.25 <= slopes.min() < 0.26
    assert 0.49 < slopes.max() <= 0.5
    assert abs(slopes.mean() - 0.375) < 6 * 0.25 / math.sqrt(12 * 4000)
    np.testing.assert_array_equal(nn.rrelu(x, 0.25, 0.5, training=True, rng=3), out)
    np.testing.assert_array_equal(nn.rrelu(x, 0.25, 0.5), nn.leaky_relu(x, 0.375))


def threefry(key, counter):
    """Threefry-4x32 with 20 rounds, as its paper gives it: four words of a key of 128 bits and a counter."""
    turns = (10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20)
    pairs = ((0, 1), (2, 3)), ((0, 3), (2, 1))
    keys = [*key, 0x1BD11BDA ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    words = [(c + k) % 2**32 for c, k in zip(counter, key, strict=True)]
    for number in range(20):
        for (to, other), turn in zip(pairs[number % 2], turns[number % 8], strict=True):
            words[to] = (words[to] + words[other]) % 2**32
            words[other] = (words[other] << turn | words[other] >> 32 - turn) % 2**32 ^ words[to]
        if number % 4 == 3:
            step = number // 4 + 1
            words = [(word + keys[(step + i) % 5] + step * (i == 3)) % 2**32 for i, word in enumerate(words)]
    return words


def random_words(rng, count):
    """The words of a key that a generator draws: of 16 blocks, first their first words, then their second ones, ..."""
    raw = [int(word) for word in rng.bit_generator.random_raw(2)]
    key = [word >> shift & 0xFFFFFFFF for word in raw for shift in (0, 32)]
    groups = [[threefry(key, [16 * group + block, 0, 0, 0]) for block in range(16)] for group in range(-(-count // 64))]
    return np.array(groups, np.uint64).swapaxes(1, 2).ravel()[:count]


def test_threefry_gives_its_published_words():
    """The known answers of Random123 1.14, kat_vectors."""
    ones, pi = [0xFFFFFFFF] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    assert threefry([0] * 4, [0] * 4) == [0x9C6CA96A, 0xE17EAE66, 0xFC10ECD4, 0x5256A7D8]
    assert threefry(ones, ones) == [0x2A881696, 0x57012287, 0xF6C7446E, 0xA16A6732]
    more = [0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89]
    assert threefry(more, pi) == [0x59CD1DBB, 0xB8879579, 0x86B5D00C, 0xAC8B6D84]


@pytest.mark.per_isa
@pytest.mark.parametrize("shape", [(1,), (5, 13), (129,), (3, 1700)])
def test_noise_is_threefry_s(shape):
    """In both types, on any number of threads, and where a tile or a block of words ends anywhere."""
    size = math.prod(shape)
    words = random_words(np.random.default_rng(7), -(-size // 64) * 128)
    dropped = (words[:size] < round(0.3 * 2**32)).reshape(shape)
    pairs = words.reshape(-1, 2, 64)
    numbers = {"float32": (words >> 8) / 2**24, "float64": ((pairs[:, 0] >> 5 << 26) + (pairs[:, 1] >> 6)) / 2**53}
    for dtype in DTYPES:
        x = -np.ones(shape, dtype)
        for threads in (1, 2):
            with fastconv.num_threads(threads):
                _, mask = nn.dropout(x, 0.3, rng=7, return_mask=True)
                np.testing.assert_array_equal(mask == 0, dropped)
                sloped = nn.rrelu(x, 0.0, 1.0, training=True, rng=7)
                np.testing.assert_array_equal(sloped, -numbers[dtype].ravel()[:size].reshape(shape))


@pytest.mark.parametrize("dim", [1, -2])
def test_maxout(dim):
    got = nn.maxout(X, 2, dim)
    np.testing.assert_array_equal(got, np.stack([X[:, :2].max(1), X[:, 2:].max(1)], 1))
    np.testing.assert_array_equal(nn.maxout(X, 1), X)
    out = np.empty((2, 1, 6))
    assert nn.maxout(X, 4, out=out) is out
    np.testing.assert_array_equal(out, X.max(1, keepdims=True))


# --- products


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize(("inputs", "outputs"), [(0, 3), (1, 1), (5, 9), (84, 10), (1024, 6), (2049, 131)])
def test_linear_of_integers_is_exact(inputs, outputs, samples, dtype):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.integers(-9, 9, shape) for shape in ((samples, inputs), (outputs, inputs), outputs))
    got = nn.linear(x.astype(dtype), weight.astype(dtype), bias.astype(dtype))
    np.testing.assert_array_equal(got, x @ weight.T + bias)
    np.testing.assert_array_equal(nn.linear(x.astype(dtype), weight.astype(dtype)), x @ weight.T)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("samples", "inputs", "outputs"), [(31, 16, 200), (50, 1300, 131), (67, 59, 53), (301, 1024, 40), (64, 1025, 64)]
)
def test_linear_of_many_rows_is_exact(samples, inputs, outputs, dtype):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.integers(-9, 9, shape) for shape in ((samples, inputs), (outputs, inputs), outputs))
    got = nn.linear(x.astype(dtype), weight.astype(dtype), bias.astype(dtype))
    np.testing.assert_array_equal(got, x @ weight.T + bias)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inputs", [40, 2500])
def test_linear_is_the_same_bits_for_any_batch_and_threads(inputs, dtype):
    """Few rows are read where they lie, and many are packed."""
    x, weight = normals((75, inputs), dtype), normals((301, inputs), dtype, 1)
    whole = nn.linear(x, weight)
    for threads in (1, 3):
        with fastconv.num_threads(threads):
            for samples in (1, 2, 4, 9, 40, 75):
                np.testing.assert_array_equal(nn.linear(x[:samples], weight), whole[:samples])
    # A block of 1024 steps in each lane, and three blocks: the running sum is no longer than that.
    deviation = np.abs(whole - (x.astype(L) @ weight.T.astype(L)))
    assert deviation.max() <= 1028 * np.finfo(dtype).eps / 2 * (np.abs(x).astype(L) @ np.abs(weight.T).astype(L)).max()


CHANNELS_LAST = {
    "relu": lambda x, out=None: nn.relu(x, out=out),
    "tanh": lambda x, out=None: nn.tanh(x, out=out),
    "softmax": lambda x, out=None: nn.softmax(x, 1, out=out),
    "log_softmax": lambda x, out=None: nn.log_softmax(x, -1, out=out),
    "batch_norm": lambda x, out=None: nn.batch_norm(x, *np.abs(normals((4, x.shape[1]))).astype(x.dtype), out=out),
    "batch_norm in training": lambda x, out=None: nn.batch_norm(x, None, None, training=True, out=out),
}


def channels_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.mark.parametrize("name", CHANNELS_LAST)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 300, 2, 2), (3, 17, 11), (2, 4, 3, 2, 5)])
def test_images_with_channels_last_are_computed_where_they_lie(name, shape, dtype):
    function, planes = CHANNELS_LAST[name], normals(shape, dtype)
    x, expected = channels_last(planes), function(planes)
    for _ in range(3):  # the third call is played
        result = function(x)
        assert result.strides == x.strides
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)
    for out in (np.empty(shape, dtype), channels_last(np.empty(shape, dtype)), x):
        assert function(x, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("probabilities", [False, True])
def test_cross_entropy_of_images_with_channels_last(probabilities, reduction):
    planes, rng = normals((3, 5, 4, 7)), np.random.default_rng(0)
    target = nn.softmax(rng.standard_normal(planes.shape), 1) if probabilities else rng.integers(0, 5, (3, 4, 7))
    options = {"reduction": reduction, "label_smoothing": 0.1}
    x, expected = channels_last(planes), nn.cross_entropy(planes, target, **options)
    for targets in (target, channels_last(target) if probabilities else np.asfortranarray(target)):
        for _ in range(3):
            np.testing.assert_allclose(nn.cross_entropy(x, targets, **options), expected, rtol=1e-12)


@pytest.mark.per_isa
@pytest.mark.parametrize("shape", [(3, 1, 2), (2, 70, 3), (1, 5, 200), (4, 65)])
def test_softmax_of_any_extents_and_threads(shape):
    x = normals(shape, scale=5)
    for axis in range(len(shape)):
        powers = np.exp(x.astype(L) - x.max(axis, keepdims=True))
        expected = (powers / powers.sum(axis, keepdims=True)).astype(float)
        for threads in (1, 3):
            with fastconv.num_threads(threads):
                np.testing.assert_allclose(nn.softmax(x, axis), expected, rtol=1e-14)
                np.testing.assert_allclose(np.exp(nn.log_softmax(x, axis)), expected, rtol=1e-13)


# --- softmax and the loss


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3), elements=st.floats(-1e4, 1e4)), st.data())
def test_softmax_against_scipy(x, data):
    from scipy import special

    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    np.testing.assert_allclose(nn.softmax(x, dim), special.softmax(x, dim), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(nn.log_softmax(x, dim), special.log_softmax(x, dim), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(nn.softmax(x, dim).sum(dim), 1, rtol=1e-14)
    single = nn.softmax(x.astype(np.float32), dim)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, special.softmax(x.astype(np.float32).astype(float), dim), rtol=2e-6, atol=1e-38)


def test_softmax_of_infinities():
    np.testing.assert_array_equal(nn.softmax([-np.inf, 0.0, 0.0], 0), [0, 0.5, 0.5])
    np.testing.assert_array_equal(nn.softmax([-np.inf, -np.inf], 0), [np.nan, np.nan])
    assert nn.softmax(np.zeros((0, 3)), 0).shape == (0, 3)


@pytest.mark.parametrize("shape", [(1, 1_000_000), (1, 300_000, 3)])
def test_softmax_of_many_classes_does_not_drift(shape):
    """Equal scores beside one that is larger: every power is the same number, of full precision."""
    x = np.full(shape, -0.3, np.float32)
    x[:, 5] = 0
    share = 1 / (1 + (shape[1] - 1) * np.exp(-np.float64(np.float32(0.3))))
    # Blocks of 64 additions, each of which rounds by half a unit at most; exp errs by some units.
    rtol = 64 * np.finfo(np.float32).eps
    np.testing.assert_allclose(nn.softmax(x, 1)[:, 5], share, rtol=rtol)
    np.testing.assert_allclose(nn.log_softmax(x, 1)[:, 5], np.log(share), rtol=rtol)
    target = np.full((1, *shape[2:]), 5)
    np.testing.assert_allclose(nn.cross_entropy(x, target), -np.log(share), rtol=rtol)


def naive_loss(x, target, weight, ignored, smoothing):
    """The loss of every sample, and what a mean divides by."""
    losses, total = [], 0.0
    for scores, wanted in zip(x, target, strict=True):
        logs = scores.astype(L) - np.log(np.exp(scores.astype(L)).sum())
        if np.ndim(wanted):
            share, counted = wanted * (1 - smoothing) + smoothing / len(scores), 1.0
        elif wanted == ignored:
            share, counted = np.zeros(len(scores)), 0.0
        else:
            share = np.full(len(scores), smoothing / len(scores))
            share[wanted] += 1 - smoothing
            counted = weight[wanted]
        losses.append(-(share * weight * logs).sum())
        total += counted
    return np.array(losses), total


@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 0.0, 1.0, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_cross_entropy(kind, smoothing, weight):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5)) * 4
    target = rng.integers(0, 5, 7) if kind == "classes" else rng.dirichlet(np.ones(5), 7)
    losses, total = naive_loss(x, target, np.ones(5) if weight is None else np.array(weight), 3, smoothing)
    options = {"weight": weight, "label_smoothing": smoothing, "ignore_index": 3}
    np.testing.assert_allclose(nn.cross_entropy(x, target, reduction="none", **options), losses.astype(float), 1e-13)
    np.testing.assert_allclose(nn.cross_entropy(x, target, reduction="sum", **options), float(losses.sum()), 1e-13)
    np.testing.assert_allclose(nn.cross_entropy(x, target, **options), float(losses.sum() / total), 1e-13)
    maps = np.moveaxis(x.reshape(1, 7, 5), -1, 1)
    target = target[None] if kind == "classes" else np.moveaxis(target[None], -1, 1)
    assert nn.cross_entropy(maps, target, reduction="none", **options).shape == (1, 7)
    np.testing.assert_allclose(nn.cross_entropy(maps, target, **options), float(losses.sum() / total), 1e-13)


def test_cross_entropy_at_the_edges():
    np.testing.assert_array_equal(nn.cross_entropy([0.0, -np.inf], 0), 0)
    np.testing.assert_array_equal(nn.cross_entropy([0.0, -np.inf], [1.0, 0.0]), 0)
    np.testing.assert_array_equal(nn.cross_entropy([0.0, -np.inf], 1), np.inf)
    assert np.isnan(nn.cross_entropy([[0.0, 1.0]], [-100]))
    assert nn.cross_entropy(np.zeros((3, 2), np.float32), [0, 1, 1]).dtype == np.float32


# --- dropout


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale_at", ["training", "test"])
@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_dropout(p, scale_at, dtype):
    x = normals(10_000, dtype)
    out, mask = nn.dropout(x, p, scale_at=scale_at, rng=1, return_mask=True)
    assert out.dtype == mask.dtype == dtype
    np.testing.assert_array_equal(out, x * mask)
    kept = np.dtype(dtype).type(1 / (1 - p) if p < 1 and scale_at == "training" else 1)
    assert set(np.unique(mask)) <= {0, kept}
    assert abs((mask == 0).mean() - p) <= 6 * math.sqrt(p * (1 - p) / x.size)
    np.testing.assert_array_equal(nn.dropout(x, p, scale_at=scale_at, rng=1), out)
    tested = nn.dropout(x, p, training=False, scale_at=scale_at)
    np.testing.assert_array_equal(tested, x * np.dtype(dtype).type(1 - p if scale_at == "test" else 1))


def test_dropout_draws_anew_and_drops_whatever_there_was():
    x = np.array([np.inf, -np.inf, np.nan, 1.0])
    np.testing.assert_array_equal(nn.dropout(x, 1.0), np.zeros(4))
    rng = np.random.default_rng(0)
    assert not np.array_equal(nn.dropout(np.ones(99), rng=rng), nn.dropout(np.ones(99), rng=rng))


def test_index_select_is_take():
    x = normals((3, 4, 5))
    for dim, index in ((0, [2, 0, 0]), (1, np.array([3], np.uint8)), (-1, np.zeros(0, int))):
        np.testing.assert_array_equal(nn.index_select(x, dim, index), np.take(x, index, dim))
    out = x.copy()
    assert nn.index_select(out, 1, [3, 2, 1, 0], out=out) is out
    np.testing.assert_array_equal(out, x[:, ::-1])


def test_dropout2d_drops_channels():
    x = normals((40, 50, 3, 4))
    x[0, 0, 0, 0] = np.nan
    out, mask = nn.dropout2d(x, 0.25, rng=3, return_mask=True)
    assert mask.shape == (40, 50, 1, 1)
    assert set(np.unique(mask)) == {0, 1 / 0.75}
    # Of 2000 draws: four standard deviations.
    assert abs((mask == 0).mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000)
    np.testing.assert_array_equal(out, np.where(mask == 0, 0, x * mask))
    np.testing.assert_array_equal(nn.dropout2d(x, 0.25, rng=3), out)
    np.testing.assert_array_equal(
        nn.dropout2d(x[0], 0.25, rng=3).any((1, 2)), nn.dropout2d(x[:1], 0.25, rng=3)[0].any((1, 2))
    )
    np.testing.assert_array_equal(nn.dropout2d(x[1], 0.25, training=False, scale_at="test"), 0.75 * x[1])
    same = x[1].copy()
    assert nn.dropout2d(same, 0.0, inplace=True) is same


def test_random_dropout_draws_its_rate():
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(300):
        _, mask = nn.random_dropout(np.ones(2000), 0.8, rng=rng, return_mask=True)
        rates.append((mask == 0).mean())
        kept = mask[mask > 0]
        assert np.ptp(kept) == 0
        assert abs(1 - 1 / kept[0] - rates[-1]) < 6 * math.sqrt(0.25 / 2000)
    assert abs(np.mean(rates) - 0.4) < 6 * 0.8 / math.sqrt(12 * 300)
    assert min(rates) < 0.05
    assert 0.75 < max(rates) < 0.85
    np.testing.assert_array_equal(nn.random_dropout(X, 0.5, training=False, scale_at="test"), 0.75 * X)
    np.testing.assert_array_equal(nn.random_dropout(X, 0.5, training=False), X)


# --- normalisation


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 7), (2, 3, 5, 6)])
def test_batch_norm(shape, dtype):
    x = (normals(shape, scale=2) + 1000).astype(dtype)
    spread = (-1, *(1,) * (len(shape) - 2))
    weight, bias = normals(3, seed=1), normals(3, seed=2)
    axes = (0, *range(2, len(shape)))
    exact = x.astype(L)
    mean, var, count = exact.mean(axes), exact.var(axes), x.size // 3
    expected = (exact - mean.reshape(spread)) / np.sqrt(var.reshape(spread) + L(1e-3)) * weight.reshape(spread)
    expected += bias.reshape(spread)
    running_mean, running_var = np.zeros(3, dtype), np.ones(3, dtype)
    arguments = (weight.astype(dtype), bias.astype(dtype), True, 0.25, 1e-3)
    got = nn.batch_norm(x, running_mean, running_var, *arguments)
    assert got.dtype == dtype
    # The mean is far larger than the deviation. Only sums in double precision and a corrected shift get here: what
    # remains is the rounding of a mean near 1000 in double precision.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, expected.astype(float), rtol=8 * eps, atol=16 * eps + 4000 * np.finfo(float).eps)
    np.testing.assert_allclose(running_mean, (mean / 4).astype(float), rtol=4 * np.finfo(dtype).eps)
    unbiased = 0.75 + 0.25 * var * count / (count - 1)
    np.testing.assert_allclose(running_var, unbiased.astype(float), rtol=1e-11 if dtype == "float64" else 1e-6)
    tested = nn.batch_norm(x, mean.astype(dtype), var.astype(dtype), weight.astype(dtype), bias.astype(dtype), eps=1e-3)
    np.testing.assert_allclose(tested, got, rtol=1e-3 if dtype == "float32" else 1e-11, atol=1e-3)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5000), (700, 2, 9), (3000, 70), (2, 130), (5, 1, 64, 65)])
def test_statistics_of_a_batch(shape, dtype):
    """Of blocks that end anywhere, of any size, with means far from 0, and on any number of threads."""
    centres = np.linspace(-1000, 3000, shape[1]).reshape(-1, *(1,) * (len(shape) - 2))
    x = (normals(shape, seed=3) + centres).astype(dtype)
    axes, count = (0, *range(2, len(shape))), x.size // shape[1]
    running = np.zeros((2, shape[1]))
    results = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            results.append(nn.batch_norm(x, *running, training=True, momentum=1.0))
        exact = x.astype(L)
        # Running sums in double precision; a mean's error counts squared in the variance.
        np.testing.assert_allclose(running[0], exact.mean(axes).astype(float), rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(running[1], (exact.var(axes) * count / (count - 1)).astype(float), rtol=1e-11)
    np.testing.assert_array_equal(*results)
    assert nn.batch_norm(x, None, None, training=True, out=x) is x
    np.testing.assert_array_equal(x, results[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("types", ["ff", "dd", "fd", ">f>f", "strided"])
def test_running_statistics_of_either_type(types, dtype):
    """Updated in double precision, and then rounded to their type."""
    x = normals((4, 3, 7), dtype, seed=5)
    if types == "strided":
        mean, var = np.zeros(6)[::2], np.ones(6)[::-2]
    else:
        half = len(types) // 2
        mean, var = np.zeros(3, types[:half]), np.ones(3, types[half:])
    exact = x.astype(L)
    for step in range(1, 5):
        nn.batch_norm(x, mean, var, training=True, momentum=0.5)
        rtol = 4 * step * max(np.finfo(mean.dtype).eps, np.finfo(var.dtype).eps, np.finfo(float).eps)
        left = 0.5**step
        unbiased = exact.var((0, 2)) * 28 / 27
        np.testing.assert_allclose(mean.astype(L), exact.mean((0, 2)) * (1 - left), rtol=rtol)
        np.testing.assert_allclose(var.astype(L), unbiased * (1 - left) + left, rtol=rtol)


def standardised(x, axes, eps, centred=True):
    """By the moments over these axes, in extended precision."""
    x = x.astype(L)
    x = x - x.mean(axes, keepdims=True) if centred else x
    return x / np.sqrt(np.square(x).mean(axes, keepdims=True) + L(eps))


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("extent", [(7,), (1, 5), (66, 67)])
def test_norms_of_samples(extent, dtype):
    """Slices within a block and beyond, with means far from 0, and outliers where sums begin."""
    x = (normals((3, 4, *extent), scale=2) + 1000).astype(dtype)
    x[1, 2].flat[0] = -1e6
    weight, bias = normals(4, dtype, 1), normals(4, dtype, 2)
    spread = (-1, *(1,) * len(extent))
    last = tuple(range(2, x.ndim))
    scales = normals(extent, dtype, 3), normals(extent, dtype, 4)
    halves = standardised(x.reshape(3, 2, 2, *extent), tuple(range(2, x.ndim + 1)), 1e-3).reshape(x.shape)
    own = standardised(x, last, 1e-3)
    cases = [
        (nn.layer_norm(x, extent, eps=1e-3), own),
        (nn.layer_norm(x, extent, *scales, 1e-3), own * scales[0] + scales[1]),
        (nn.layer_norm(x, extent, None, scales[1], 1e-3), own + scales[1]),
        (nn.rms_norm(x, extent, scales[0], 1e-3), standardised(x, last, 1e-3, False) * scales[0]),
        (nn.rms_norm(x, extent), standardised(x, last, np.finfo(dtype).eps, False)),
        (nn.group_norm(x, 2, weight, bias, 1e-3), halves * weight.reshape(spread) + bias.reshape(spread)),
        (nn.group_norm(x[..., :1], 2), nn.group_norm(np.ascontiguousarray(x[..., :1]), 2)),
        (nn.instance_norm(x, None, None, weight, eps=1e-3), own * weight.reshape(spread)),
    ]
    eps = np.finfo(dtype).eps
    for got, expected in cases:
        assert got.dtype == dtype
        # As test_batch_norm; the largest results are those of outliers, and of biases beside them.
        atol = eps * (16 + np.abs(expected).max()) + 4000 * np.finfo(float).eps
        np.testing.assert_allclose(got, expected.astype(float), rtol=8 * eps, atol=float(atol))


@pytest.mark.parametrize("dtype", DTYPES)
def test_running_statistics_of_instances(dtype):
    x = normals((5, 3, 4, 6), dtype, seed=5)
    mean, var = np.zeros(3, dtype), np.ones(3)
    for _ in range(4):
        nn.instance_norm(x, mean, var, momentum=0.5)
    exact = x.astype(L)
    np.testing.assert_allclose(mean, (exact.mean((0, 2, 3)) * 15 / 16).astype(float), rtol=8 * np.finfo(dtype).eps)
    unbiased = exact.var((2, 3)).mean(0) * 24 / 23
    np.testing.assert_allclose(var, (unbiased * 15 / 16 + L(1) / 16).astype(float), rtol=1e-12)
    got = nn.instance_norm(x, mean, var, use_input_stats=False)
    np.testing.assert_array_equal(got, nn.batch_norm(x, mean, var))


def test_norms_of_nothing():
    for shape in ((0, 4, 6), (2, 4, 0)):
        x = np.empty(shape, np.float32)
        for got in (nn.layer_norm(x, shape[1:]), nn.rms_norm(x, shape[2:]), nn.group_norm(x, 2), nn.instance_norm(x)):
            assert got.shape == shape


def test_batch_norm_in_training_is_played_while_its_weight_changes():
    x, weight = normals((2, 3, 8), "float32"), np.ones(3, "float32")
    for factor in range(1, 6):
        weight[:] = factor
        running = np.zeros(3), np.ones(3)
        got = nn.batch_norm(x, *running, weight, training=True, momentum=1.0, eps=0.0)
        np.testing.assert_allclose(got.std((0, 2)), factor, rtol=1e-5)
        np.testing.assert_allclose(running[0], x.astype(float).mean((0, 2)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (70, 14), (5, 256), (5, 257), (2, 5, 130), (1000, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_columns_give_the_same_softmax_and_loss(shape, dtype):
    """Short rows share a loop, long ones have their own, and columns are summed side by side."""
    x, classes = normals(shape, dtype, scale=5), shape[1]
    target = np.random.default_rng(1).integers(0, classes, (shape[0], *shape[2:]))
    weight, options = 1.0 + np.arange(classes) % 3, {"label_smoothing": 0.2, "reduction": "none"}
    bound = {"rtol": 40 * np.finfo(dtype).eps, "atol": 40 * np.finfo(dtype).eps}
    rows = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for function in (nn.softmax, nn.log_softmax):
        np.testing.assert_allclose(np.moveaxis(function(rows, -1), -1, 1), function(x, 1), **bound)
    flat = rows.reshape(-1, classes)
    got = nn.cross_entropy(x, target, weight, **options)
    shares = (0.8 * np.eye(classes)[target.ravel()] + 0.2 / classes) * weight
    wide = flat.astype(L)
    peaks = wide.max(1, keepdims=True)
    logs = wide - peaks - np.log(np.exp(wide - peaks).sum(1, keepdims=True))
    expected = -(shares * logs).sum(1).astype(float)
    np.testing.assert_allclose(got.ravel(), expected, **bound)
    np.testing.assert_allclose(nn.cross_entropy(flat, target.ravel(), weight, **options), expected, **bound)
    given_shares = nn.cross_entropy(flat, np.eye(classes)[target.ravel()], weight, **options)
    np.testing.assert_allclose(given_shares, expected, **bound)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_folded_convolution_is_the_convolution_and_its_normalisation(dtype):
    x, weight = normals((2, 3, 8, 9), dtype), normals((4, 3, 3, 3), dtype, 1)
    bias, mean, scale, shift = (normals(4, dtype, seed) for seed in (2, 3, 4, 5))
    var = np.abs(normals(4, dtype, 6))
    for terms in itertools.product((None, bias), (None, scale), (None, shift)):
        folded = nn.conv_bn_fold(weight, terms[0], mean, var, *terms[1:])
        assert {array.dtype for array in folded} == {np.dtype(dtype)}
        apart = nn.batch_norm(fastconv.conv2d(x, weight, terms[0], strategy="reference"), mean, var, *terms[1:])
        together = fastconv.conv2d(x, *folded, strategy="reference")
        np.testing.assert_allclose(together, apart, rtol=0, atol=64 * np.finfo(dtype).eps * np.abs(apart).max())


def naive_lrn(x, size, alpha, beta, k, rule):
    out = np.empty(x.shape, L)
    for c in range(x.shape[1]):
        total = sum(
            np.square(x[:, j].astype(L)) for j in range(c - size // 2, c + (size - 1) // 2 + 1) if 0 <= j < x.shape[1]
        )
        out[:, c] = x[:, c] / (k + L(alpha) * total / (size if rule == "mean" else 1)) ** L(beta)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["mean", "sum"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 100])
def test_local_response_norm(size, rule, dtype):
    x = normals((2, 6, 3, 2), dtype, scale=3)
    for constants in ((1e-4, 0.75, 2.0), (0.5, 0.75, 1.0), (1.0, 0.3, 0.5)):
        got = nn.local_response_norm(x, size, *constants, rule=rule)
        assert got.dtype == dtype
        expected = naive_lrn(x, size, *constants, rule).astype(float)
        np.testing.assert_allclose(got, expected, rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)])
def test_linear(shape, dtype):
    x, weight, bias = normals(shape, dtype), normals((4, 5), dtype, 1), normals(4, dtype, 2)
    expected = (x.astype(L)[..., None, :] * weight.astype(L)).sum(-1)
    np.testing.assert_allclose(nn.linear(x, weight), expected.astype(float), atol=16 * np.finfo(dtype).eps)
    got = nn.linear(x[..., ::-1], weight[:, ::-1], bias)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, (expected + bias).astype(float), atol=16 * np.finfo(dtype).eps)


def test_linear_into_its_own_operands():
    x, weight, bias = normals((4, 4)), normals((4, 4), seed=1), normals(4, seed=2)
    expected = nn.linear(x, weight, bias)
    np.testing.assert_array_equal(nn.linear(x, weight, bias, out=x), expected)
    memory = np.zeros((4, 4))
    memory[1] = bias
    np.testing.assert_array_equal(nn.linear(normals((4, 4)), weight, memory[1], out=memory), expected)


# --- what is refused

Y = np.zeros((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "error", "fault"),
    [
        (lambda: nn.leaky_relu(Y, "steep"), ValueError, "negative_slope='steep'"),
        (lambda: nn.elu(Y, None), ValueError, "alpha=None"),
        (lambda: nn.gelu(Y, "erf"), ValueError, "approximate='erf'.*'none' or 'tanh'"),
        (lambda: nn.gelu(Y, None), ValueError, "approximate=None"),
        (lambda: nn.rrelu(Y, 0.5, 0.25), ValueError, "lower=0.5, upper=0.25"),
        (lambda: nn.rrelu(Y, 0.5, float("nan")), ValueError, "upper=nan"),
        (lambda: nn.prelu(Y, [[1.0]]), GeometryError, r"weight of shape \(1, 1\)"),
        (lambda: nn.maxout(Y, 2), GeometryError, "pieces=2: does not divide 3"),
        (lambda: nn.maxout(Y, 0), GeometryError, "pieces=0"),
        (lambda: nn.maxout(Y, 1.0), GeometryError, "pieces=1.0"),
        (lambda: nn.maxout(Y, 3, 3), GeometryError, "dim=3"),
        (lambda: nn.softmax(Y, 3), GeometryError, "dim=3"),
        (lambda: nn.softmax(Y, -4), GeometryError, "dim=-4"),
        (lambda: nn.softmax(Y, "rows"), GeometryError, "dim='rows'"),
        (lambda: nn.softmax(Y, 0, dtype="int8"), TypeError, "int8"),
        (lambda: nn.softmax(Y * 1j, 0, dtype="float32"), TypeError, "x of dtype complex128"),
        (lambda: nn.relu(Y.tolist(), inplace=True), TypeError, "inplace=True, x=list"),
        (lambda: nn.elu(np.broadcast_to(Y, Y.shape), inplace=True), TypeError, "inplace=True, x=a read-only array"),
        (lambda: nn.dropout(Y, inplace=True, out=Y), ValueError, "inplace=True and out"),
        (lambda: nn.log_softmax(1.0, 0), GeometryError, "dim=0"),
        (lambda: nn.dropout(Y, 1.5), ValueError, "p=1.5.*probability"),
        (lambda: nn.dropout(Y, float("nan")), ValueError, "p=nan"),
        (lambda: nn.dropout(Y, scale_at="never"), ValueError, "scale_at='never'"),
        (lambda: nn.random_dropout(Y, -0.1), ValueError, "p=-0.1"),
        (lambda: nn.index_select(Y, 0, [0.0]), TypeError, "index of dtype float64: expected integers"),
        (lambda: nn.index_select(Y, 0, [[0]]), GeometryError, r"index of shape \(1, 1\)"),
        (lambda: nn.index_select(np.ones((2, 3)), 1, [0, 3]), GeometryError, "index contains 3: .* from 0 to 2"),
        (lambda: nn.index_select(np.ones((2, 3)), 1, [-1]), GeometryError, "index contains -1"),
        (lambda: nn.dropout2d(np.ones((2, 3))), GeometryError, r"x of shape \(2, 3\): expected \(N, C, H, W\)"),
        (lambda: nn.layer_norm(Y, 3), GeometryError, r"normalized_shape=3: expected the last extents of x of shape"),
        (lambda: nn.layer_norm(Y, ()), GeometryError, r"normalized_shape=\(\)"),
        (lambda: nn.layer_norm(Y, Y.shape[-1], [1.0]), GeometryError, r"weight of shape \(1,\): expected \("),
        (lambda: nn.rms_norm(Y, Y.shape[-1], eps=-1.0), ValueError, "eps=-1.0"),
        (lambda: nn.group_norm(Y, 2), GeometryError, "num_groups=2: does not divide 3 channels"),
        (lambda: nn.group_norm(Y, 0), GeometryError, "num_groups=0: expected an int of at least 1"),
        (lambda: nn.group_norm([[1.0]], 1), ValueError, "more than one value for each of 1 groups"),
        (lambda: nn.instance_norm(Y[..., :1, :1]), ValueError, "more than one value per channel of an image"),
        (lambda: nn.instance_norm(Y, [0.0] * 3), TypeError, "running_mean: expected a writeable"),
        (lambda: nn.instance_norm(Y, use_input_stats=False), ValueError, "are needed"),
        (lambda: nn.celu([1.0], 0), ValueError, "alpha=0: expected a number other than 0"),
        (lambda: nn.hardtanh([1.0], 2, 1), ValueError, "min_val=2, max_val=1: expected bounds in order"),
        (lambda: nn.softshrink([1.0], -1), ValueError, "lambd=-1: expected a number of at least 0"),
        (lambda: nn.batch_norm(Y, None, None), ValueError, "running_mean and running_var are needed"),
        (lambda: nn.batch_norm(Y[0, 0], None, None, training=True), GeometryError, "at least 2 axes"),
        (lambda: nn.batch_norm(Y[:1, :, 0], None, None, training=True), ValueError, "more than one value"),
        (lambda: nn.batch_norm(Y, np.zeros(2), np.ones(3)), GeometryError, r"running_mean of shape \(2,\)"),
        (lambda: nn.batch_norm(Y, [0.0] * 3, None, training=True), TypeError, "running_mean: expected a writeable"),
        (lambda: nn.batch_norm(Y, np.zeros(3), np.ones(3), [1.0]), GeometryError, r"weight of shape \(1,\)"),
        (lambda: nn.batch_norm(Y, np.zeros(3), np.ones(3), eps=-1.0), ValueError, "eps=-1.0"),
        (lambda: nn.conv_bn_fold(Y, None, np.zeros(3), np.ones(3)), GeometryError, "running_var of shape"),
        (lambda: nn.conv_bn_fold(1.0, None, [0.0], [1.0]), GeometryError, r"weight of shape \(\)"),
        (lambda: nn.local_response_norm(Y, 0), GeometryError, "size=0"),
        (lambda: nn.local_response_norm(Y, 2.5), GeometryError, "size=2.5"),
        (lambda: nn.local_response_norm(Y[0, 0], 3), GeometryError, "at least 2 axes"),
        (lambda: nn.local_response_norm(Y, 3, rule="max"), ValueError, "rule='max'"),
        (lambda: nn.local_response_norm(Y, 3, beta="b"), ValueError, "beta='b'"),
        (lambda: nn.linear(Y, np.zeros((2, 3))), GeometryError, r"weight of shape \(2, 3\)"),
        (lambda: nn.linear(1.0, np.zeros((2, 3))), GeometryError, r"x of shape \(\)"),
        (lambda: nn.linear(Y, np.zeros((2, 4)), np.zeros(3)), GeometryError, r"bias of shape \(3,\): expected \(2,\)"),
        (lambda: nn.linear(Y, np.zeros((2, 4), int).astype(complex)), TypeError, "weight complex128"),
        (lambda: nn.cross_entropy(Y[0], [0, 3, 3, 3]), GeometryError, r"target of shape \(4,\): expected \(3,\)"),
        (lambda: nn.cross_entropy(Y[0], [0, 4, 3]), ValueError, "target=4: expected a class from 0 to 3"),
        (lambda: nn.cross_entropy(Y[0], [0, -1, 3]), ValueError, "target=-1"),
        (lambda: nn.cross_entropy(Y[0], [0.0, 1.0, 2.0]), GeometryError, "probabilities of the shape"),
        (lambda: nn.cross_entropy(Y[0], ["a"] * 3), TypeError, "target of dtype <U1"),
        (lambda: nn.cross_entropy(Y[0], [0] * 3, [1.0]), GeometryError, r"weight of shape \(1,\)"),
        (lambda: nn.cross_entropy(Y[0], [0] * 3, reduction="max"), ValueError, "reduction='max'"),
        (lambda: nn.cross_entropy(Y[0], [0] * 3, label_smoothing=2), ValueError, "label_smoothing=2"),
        (lambda: nn.cross_entropy(Y[0], [0] * 3, ignore_index=0.5), GeometryError, "ignore_index=0.5"),
        (lambda: nn.cross_entropy(1.0, 0), GeometryError, r"x of shape \(\)"),
    ],
)
def test_refusals(call, error, fault):
    with pytest.raises(error, match=fault):
        call()


# --- torch


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_torch(dtype):
    torch = pytest.importorskip("torch", reason="torch is an optional peer")
    F = torch.nn.functional
    x = normals((3, 8, 5, 6), dtype, scale=3)
    channel = [np.abs(normals(8, dtype, seed)) for seed in range(4)]
    weight, bias = normals((4, 6), dtype, 1), normals(4, dtype, 2)
    classes = np.random.default_rng(0).integers(0, 8, (3, 5, 6))
    classes[0, 0, 0] = -100
    calls = [
        ("relu",),
        ("leaky_relu", 0.2),
        ("elu", 0.7),
        ("sigmoid",),
        ("tanh",),
        ("silu",),
        ("gelu",),
        ("gelu", {"approximate": "tanh"}),
        ("hardswish",),
        ("relu6",),
        ("softsign",),
        ("selu",),
        ("celu", 0.7),
        ("mish",),
        ("hardsigmoid",),
        ("hardshrink", 0.2),
        ("softshrink", 0.2),
        ("tanhshrink",),
        ("logsigmoid",),
        ("softplus",),
        ("softplus", 2.0, 3.0),
        ("hardtanh", -0.5, 2.0),
        ("threshold", 0.1, 2.0),
        ("prelu", channel[0]),
        ("prelu", channel[0][:1]),
        ("rrelu", 0.1, 0.3),
        ("softmax", 1),
        ("log_softmax", -2),
        ("linear", weight, bias),
        ("dropout", 0.3, False),
        ("dropout", 1.0, True),
        ("batch_norm", *channel),
        ("batch_norm", channel[0].copy(), channel[1].copy(), *channel[2:], True, 0.3, 1e-3),
        ("layer_norm", (5, 6), *(normals((5, 6), dtype, seed) for seed in (3, 4))),
        ("layer_norm", (6,)),
        ("rms_norm", (6,), normals(6, dtype, 5)),
        ("group_norm", 4, *channel[:2], 1e-3),
        ("instance_norm", None, None, *channel[:2]),
        ("instance_norm", *(value.copy() for value in channel), True, 0.3),
        ("instance_norm", *channel, False),
        ("local_response_norm", 5),
        ("local_response_norm", 4, 0.5, 0.6, 2.0),
        ("cross_entropy", classes),
        ("cross_entropy", classes, channel[0], {"label_smoothing": 0.1}),
        ("cross_entropy", np.abs(classes) % 8, {"ignore_index": 2, "reduction": "none"}),
        ("cross_entropy", nn.softmax(x, 1), channel[0], {"label_smoothing": 0.1}),
    ]
    for name, *arguments in calls:
        options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        theirs = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
        expected = getattr(F, name)(torch.from_numpy(x.copy()), *theirs, **options).numpy()
        got = getattr(nn, name)(x, *arguments, **options)
        assert got.dtype == expected.dtype
        tolerance = 64 * np.finfo(dtype).eps
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance, err_msg=name)
        if name in ("batch_norm", "instance_norm"):
            for mine, torchs in zip(arguments, theirs, strict=True):
                if isinstance(mine, np.ndarray):
                    np.testing.assert_allclose(mine, torchs.numpy(), rtol=tolerance, atol=tolerance)
