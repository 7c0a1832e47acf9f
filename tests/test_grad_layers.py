"""Derivatives of the other layers, against finite differences in double precision, and torch's where it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv import GeometryError, grad, nn

SHAPE = (3, 4, 5)


def normals(shape=SHAPE, seed=0, scale=1.0):
    return np.random.default_rng(seed).standard_normal(shape) * scale


def numeric(forward, x, grad_output, step=1e-5):
    """The gradient of ``sum(grad_output * forward(x))`` by `x`, by central differences."""
    out = np.empty(x.shape)
    for at in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[at] += sign * step
            ends.append(np.sum(grad_output * forward(moved)))
        out[at] = (ends[0] - ends[1]) / (2 * step)
    return out


def assert_gradient(got, forward, x, grad_output):
    assert got.dtype == np.float64
    # Truncation is of order step²; the differences lose half of the digits.
    np.testing.assert_allclose(got, numeric(forward, x, grad_output), rtol=1e-6, atol=1e-7)


WEIGHT, SLOPES = np.array([0.5, -1.0, 0.0, 2.0]), np.abs(normals(seed=5))
STATISTICS = (normals(4, 6), np.abs(normals(4, 7)) + 0.1)

# Layers that have no parameters to learn: how they, and their derivatives, are called with x.
PLAIN = {
    "relu": ((), {}),
    "leaky_relu": ((0.2,), {}),
    "elu": ((0.7,), {}),
    "sigmoid": ((), {}),
    "tanh": ((), {}),
    "silu": ((), {}),
    "gelu": ((), {}),
    "gelu tanh": (("tanh",), {}),
    "hardswish": ((), {}),
    "relu6": ((), {}),
    "softsign": ((), {}),
    "selu": ((), {}),
    "celu": ((0.7,), {}),
    "mish": ((), {}),
    "hardsigmoid": ((), {}),
    "hardshrink": ((0.2,), {}),
    "softshrink": ((0.2,), {}),
    "tanhshrink": ((), {}),
    "logsigmoid": ((), {}),
    "softplus": ((2.0, 3.0), {}),
    "hardtanh": ((-0.5, 2.0), {}),
    "threshold": ((0.1, 0.1), {}),
    "maxout": ((2,), {}),
    "maxout last": ((5, -1), {}),
    "softmax": ((1,), {}),
    "log_softmax": ((-1,), {}),
    "local_response_norm": ((3, 0.5, 0.75, 1.0), {}),
    "local_response_norm even": ((2, 0.5, 0.3, 2.0), {"rule": "sum"}),
    "local_response_norm wide": ((99, 0.5), {}),
}


def pair(name):
    return getattr(nn, name.split()[0]), getattr(grad, name.split()[0])


@pytest.mark.parametrize("name", PLAIN)
def test_plain_layers(name):
    (forward, backward), (arguments, options) = pair(name), PLAIN[name]
    x = normals(scale=2)
    grad_output = normals(forward(x, *arguments, **options).shape, 1)
    got = backward(grad_output, x, *arguments, **options)
    assert_gradient(got, lambda moved: forward(moved, *arguments, **options), x, grad_output)
    single = backward(grad_output.astype(np.float32), x.astype(np.float32), *arguments, **options)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, got, rtol=2e-5, atol=1e-5)


@given(
    st.tuples(st.integers(1, 3), st.sampled_from([2, 4, 6]), st.sampled_from([5, 10])), st.sampled_from(sorted(PLAIN))
)
def test_a_small_step_changes_the_loss_by_the_gradient(shape, name):
    (forward, backward), (arguments, options) = pair(name), PLAIN[name]
    x, direction = normals(shape, scale=2), normals(shape, 1)
    # Apart from one another, and from 0 and 3: no step leads over a kink.
    x = x.round(2) + 0.0025 + np.linspace(-0.002, 0.002, x.size).reshape(shape)
    grad_output = normals(forward(x, *arguments, **options).shape, 2)
    step = 1e-6
    ends = [np.sum(grad_output * forward(x + s * direction, *arguments, **options)) for s in (step, -step)]
    slope = np.sum(direction * backward(grad_output, x, *arguments, **options))
    assert abs((ends[0] - ends[1]) / (2 * step) - slope) <= 1e-8 * (1 + np.abs(grad_output).sum())


@pytest.mark.parametrize(
    "name", [name for name in PLAIN if name.split()[0] not in ("maxout", "softmax", "log_softmax")]
)
def test_extremes(name):
    _, backward = pair(name)
    arguments, options = PLAIN[name]
    largest = np.finfo(np.float32).max
    x = np.float32([largest, -largest, 1e4, -1e4, 1e-45, 0.0, -0.0, 5.0]).reshape(1, -1)
    got = backward(np.ones_like(x), x, *arguments, **options)
    assert np.isfinite(got).all()
    backward(np.ones((1, 3)), np.array([[np.inf, -np.inf, np.nan]]), *arguments, **options)


NAN, INF = np.nan, np.inf

# What torch 2.13 gives where x is at a kink, infinite or NaN, for a gradient of 4 by the output.
AT_THE_EDGES = {
    "relu": [(0.0, 0), (-0.0, 0), (INF, 4), (-INF, 0), (NAN, 4)],
    "leaky_relu": [(0.0, 0.8), (-0.0, 0.8), (INF, 4), (-INF, 0.8), (NAN, 0.8)],
    "elu": [(0.0, 2.8), (-0.0, 2.8), (INF, 4), (-INF, 0), (NAN, NAN)],
    "sigmoid": [(0.0, 1), (INF, 0), (-INF, 0), (NAN, NAN)],
    "tanh": [(0.0, 4), (INF, 0), (-INF, 0), (NAN, NAN)],
    "silu": [(0.0, 2), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "gelu": [(0.0, 2), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "relu6": [(0.0, 0), (6.0, 0), (3.0, 4), (INF, 0), (-INF, 0), (NAN, 4)],
    "softsign": [(0.0, 4), (NAN, NAN)],
    "selu": [(0.0, 7.03239736), (INF, 4.20280395), (-INF, 0)],
    "celu": [(0.0, 4), (INF, 4), (-INF, 0)],
    "mish": [(0.0, 2.4), (NAN, NAN)],
    "hardsigmoid": [(-3.0, 0), (3.0, 0), (0.0, 2 / 3), (INF, 0), (-INF, 0), (NAN, 0)],
    "hardshrink": [(0.2, 0), (-0.2, 0), (0.0, 0), (INF, 4), (-INF, 4), (NAN, 0)],
    "softshrink": [(0.2, 0), (-0.2, 0), (0.0, 0), (INF, 4), (-INF, 4), (NAN, 0)],
    "tanhshrink": [(0.0, 0), (INF, 4), (-INF, 4), (NAN, NAN)],
    "logsigmoid": [(0.0, 2), (INF, 0), (-INF, 4), (NAN, NAN)],
    "softplus": [(0.0, 2), (2.0, 4), (INF, 4), (-INF, 0), (NAN, NAN)],
    "hardtanh": [(-0.5, 0), (2.0, 0), (1.0, 4), (INF, 0), (-INF, 0), (NAN, 0)],
    "threshold": [(0.0, 0), (1.0, 4), (INF, 4), (-INF, 0), (NAN, 4)],
    "hardswish": [(-3.0, 0), (3.0, 4), (INF, 4), (-INF, 0), (NAN, NAN), (0.0, 2)],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", AT_THE_EDGES)
def test_at_the_edges(name, dtype):
    _, backward = pair(name)
    x, expected = np.array(AT_THE_EDGES[name], dtype).T
    np.testing.assert_allclose(backward(np.full_like(x, 4), x, *PLAIN[name][0]), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("slope", [0.25, 0.0, -2.0])
def test_slopes_at_the_edges(slope, dtype):
    x = np.array([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0], dtype)
    grad_output, slopes = np.full_like(x, 4), np.full_like(x, slope)
    expected = np.where(x > 0, 4, 4 * slope)
    np.testing.assert_array_equal(grad.leaky_relu(grad_output, x, slope), expected)
    np.testing.assert_array_equal(grad.rrelu(grad_output, x, slopes), expected)
    by_x, by_slope = grad.prelu(grad_output[:, None], x[:, None], slopes[:1])
    np.testing.assert_array_equal(by_x[:, 0], expected)
    assert np.isnan(by_slope).all()  # NaN and minus infinity had a part in it


@pytest.mark.parametrize("name", ["relu", "relu6", "hardswish"])
@pytest.mark.parametrize("flowing", [INF, -INF, NAN])
def test_nothing_flows_where_a_layer_is_flat(name, flowing):
    _, backward = pair(name)
    x = np.array([-3.0, -5.0, -1e300, -INF])
    np.testing.assert_array_equal(backward(np.full_like(x, flowing), x), np.zeros(4))


@pytest.mark.parametrize("weight", [WEIGHT, WEIGHT[:1]])
def test_prelu(weight):
    x, grad_output = normals(), normals(seed=1)
    by_x, by_weight = grad.prelu(grad_output, x, weight)
    assert_gradient(by_x, lambda moved: nn.prelu(moved, weight), x, grad_output)
    assert_gradient(by_weight, lambda moved: nn.prelu(x, moved), weight, grad_output)


def test_drawn_slopes_and_masks():
    x, grad_output = normals(), normals(seed=1)
    _, slopes = nn.rrelu(x, training=True, rng=0, return_slopes=True)
    got = grad.rrelu(grad_output, x, slopes)
    assert_gradient(got, lambda moved: nn.rrelu(moved, training=True, rng=0), x, grad_output)
    for layer in (nn.dropout, nn.random_dropout):
        _, mask = layer(x, rng=0, return_mask=True)
        got = grad.dropout(grad_output, mask)
        assert_gradient(got, lambda moved, layer=layer: layer(moved, rng=0), x, grad_output)
    np.testing.assert_array_equal(grad.dropout([np.inf, np.nan], [0.0, 0.0]), [0, 0])


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_linear(shape):
    x, weight, bias = normals(shape), normals((4, 5), 1), normals(4, 2)
    grad_output = normals((*shape[:-1], 4), 3)
    by_x, by_weight, by_bias = grad.linear(grad_output, x, weight)
    assert_gradient(by_x, lambda moved: nn.linear(moved, weight, bias), x, grad_output)
    assert_gradient(by_weight, lambda moved: nn.linear(x, moved, bias), weight, grad_output)
    assert_gradient(by_bias, lambda moved: nn.linear(x, weight, moved), bias, grad_output)


def test_linear_of_nothing():
    by_x, by_weight, by_bias = grad.linear(np.zeros((0, 4)), np.zeros((0, 5)), np.ones((4, 5)))
    assert by_x.shape == (0, 5)
    np.testing.assert_array_equal(by_weight, np.zeros((4, 5)))
    np.testing.assert_array_equal(by_bias, np.zeros(4))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), SHAPE])
def test_batch_norm(shape, training):
    x, grad_output, weight, bias = normals(shape, scale=3), normals(shape, 1), WEIGHT, normals(4, 2)

    def forward(x=x, weight=weight, bias=bias):
        copies = (statistic.copy() for statistic in STATISTICS)
        return nn.batch_norm(x, *copies, weight, bias, training, eps=1e-3)

    by_x, by_weight, by_bias = grad.batch_norm(grad_output, x, *STATISTICS, weight, training, 1e-3)
    assert_gradient(by_x, forward, x, grad_output)
    assert_gradient(by_weight, lambda moved: forward(weight=moved), weight, grad_output)
    assert_gradient(by_bias, lambda moved: forward(bias=moved), bias, grad_output)
    default = grad.batch_norm(grad_output, x, *STATISTICS, training=training)
    ones = grad.batch_norm(grad_output, x, *STATISTICS, np.ones(4), training)
    np.testing.assert_array_equal(default[0], ones[0])


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        *[("layer_norm", ((4, 5),), 20), ("layer_norm", (5,), 5), ("rms_norm", (5,), 5), ("group_norm", (2,), 4)],
        *[("instance_norm", (None, None), 4), ("instance_norm", (*STATISTICS,), 4)],
    ],
)
def test_norms_of_samples(name, arguments, count):
    x, grad_output = normals(scale=3), normals(seed=1)
    weight = normals((4, 5) if count == 20 else count, 2)
    options = {"eps": 1e-3} | ({"use_input_stats": arguments[0] is None} if name == "instance_norm" else {})

    def forward(x=x, weight=weight, **more):
        return getattr(nn, name)(x, *arguments, weight=weight, **more, **options)

    by_x, by_weight, *by_bias = getattr(grad, name)(grad_output, x, *arguments, weight=weight, **options)
    assert_gradient(by_x, forward, x, grad_output)
    assert_gradient(by_weight, lambda moved: forward(weight=moved), weight, grad_output)
    if by_bias:
        bias = np.zeros_like(weight)
        assert_gradient(by_bias[0], lambda moved: forward(bias=moved), bias, grad_output)
    default = getattr(grad, name)(grad_output, x, *arguments, **options)
    ones = getattr(grad, name)(grad_output, x, *arguments, weight=np.ones_like(weight), **options)
    np.testing.assert_array_equal(default[0], ones[0])


@pytest.mark.parametrize("shape", [SHAPE, (5,), (4, 1), (1, 4, 1), (1,)])
def test_add(shape):
    x, other = normals(), normals(shape, 1)
    grad_output = normals(SHAPE, 2)
    by_x, by_other = grad.add(grad_output, x.shape, shape)
    np.testing.assert_array_equal(by_x, grad_output)
    assert_gradient(by_other, lambda moved: nn.add(x, moved), other, grad_output)
    assert grad.add(grad_output.astype("f4"), x.shape, shape)[1].dtype == np.float32


def test_cat():
    parts = [normals((3, channels, 5), channels) for channels in (1, 4, 2)]
    grad_output = normals((3, 7, 5), 9)
    for number, got in enumerate(grad.cat(grad_output, [part.shape for part in parts], 1)):
        assert_gradient(
            got,
            lambda moved, number=number: nn.cat([*parts[:number], moved, *parts[number + 1 :]], 1),
            parts[number],
            grad_output,
        )


def test_index_select():
    x, index = normals(), [3, 0, 3, 1]
    grad_output = normals((3, 4, 5), 1)
    got = grad.index_select(grad_output, x.shape, 1, index)
    assert_gradient(got, lambda moved: nn.index_select(moved, 1, index), x, grad_output)


def test_masks_of_channels():
    x, grad_output = normals((2, 3, 4, 5)), normals((2, 3, 4, 5), 1)
    _, mask = nn.dropout2d(x, rng=0, return_mask=True)
    assert_gradient(grad.dropout(grad_output, mask), lambda moved: nn.dropout2d(moved, rng=0), x, grad_output)


CLASSES = np.array([[0, 3, 1, 1, 2], [3, 3, 0, 2, -100], [1, 0, 0, 2, 1]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("target", [CLASSES, nn.softmax(normals(seed=3), 1)], ids=["classes", "probabilities"])
@pytest.mark.parametrize("options", [{}, {"weight": np.abs(WEIGHT), "label_smoothing": 0.25, "ignore_index": 2}])
def test_cross_entropy(target, reduction, options):
    if "ignore_index" in options and target is CLASSES:
        target = np.abs(CLASSES) % 4
    x = normals(scale=2)
    grad_output = normals((3, 5), 1) if reduction == "none" else np.array(1.5)
    got = grad.cross_entropy(grad_output, x, target, reduction=reduction, **options)
    assert_gradient(got, lambda moved: nn.cross_entropy(moved, target, reduction=reduction, **options), x, grad_output)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0, 3.0]])
def test_samples_that_count_nothing(weight, smoothing, reduction):
    options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
    x = normals((3, 4))
    for scores in (x, np.full_like(x, NAN), np.full_like(x, INF)):
        got = grad.cross_entropy(1.0, scores, [-100] * 3, **options)
        np.testing.assert_array_equal(got, np.zeros_like(x))
    # A padded sample, whatever its scores, leaves the gradient of the others alone.
    padded = np.vstack([x, np.full((1, 4), NAN)])
    got = grad.cross_entropy(1.0, padded, [0, 3, 1, -100], **options)
    np.testing.assert_array_equal(got[:3], grad.cross_entropy(1.0, x, [0, 3, 1], **options))
    np.testing.assert_array_equal(got[3], np.zeros(4))


@pytest.mark.parametrize("target", [[1], [[0.0, 1.0]]])
def test_samples_of_weight_0(target):
    np.testing.assert_array_equal(grad.cross_entropy(1.0, [[1.0, 2.0]], target, [3.0, 0.0]), [[0, 0]])


@pytest.mark.parametrize(
    ("call", "error", "fault"),
    [
        (lambda: grad.relu(np.ones(3), np.ones(4)), GeometryError, r"grad_output of shape \(3,\).*\(4,\)"),
        (lambda: grad.relu([1, 2], [1, 2]), TypeError, "grad_output int64, x int64"),
        (lambda: grad.maxout(np.ones((1, 4)), np.ones((1, 4)), 2), GeometryError, r"\(1, 2\)"),
        (lambda: grad.rrelu(np.ones(3), np.ones(3), np.ones(4)), GeometryError, r"\(4,\)"),
        (lambda: grad.linear(np.ones((2, 3)), np.ones((2, 5)), np.ones((4, 5))), GeometryError, r"\(2, 4\)"),
        (lambda: grad.softmax(np.ones(3), np.ones(3), 1), GeometryError, "dim=1"),
        (lambda: grad.add(np.ones((2, 3)), (2, 3), (4,)), GeometryError, r"other_size=\(4,\): cannot be broadcast"),
        (lambda: grad.add(np.ones((2, 3)), (1, 3), (3,)), GeometryError, r"grad_output of shape \(2, 3\)"),
        (lambda: grad.cat(np.ones((2, 3)), [(2, 1), (2, 1)], 1), GeometryError, r"grad_output of shape \(2, 3\)"),
        (lambda: grad.cat(np.ones((2, 3)), [(2, 3), (3,)], 1), GeometryError, r"\[\(2, 3\), \(3,\)\]"),
        (lambda: grad.index_select(np.ones((2, 3)), (2, 2), 1, [0]), GeometryError, r"grad_output of shape \(2, 3\)"),
        (lambda: grad.dropout(np.ones((2, 3)), np.ones((2, 1))), GeometryError, r"\(2, 1\)"),
        (lambda: grad.gelu(np.ones(3), np.ones(3), "erf"), ValueError, "approximate='erf'"),
        (lambda: grad.local_response_norm(np.ones(3), np.ones(3), 3), GeometryError, "at least 2 axes"),
        (lambda: grad.batch_norm(np.ones((2, 3)), np.ones((2, 3)), None, None), ValueError, "running_mean"),
        (lambda: grad.cross_entropy(np.ones(2), np.ones((2, 3)), [0, 1]), GeometryError, r"expected .*\(\)"),
    ],
)
def test_refusals(call, error, fault):
    with pytest.raises(error, match=fault):
        call()


def test_against_torch():
    torch = pytest.importorskip("torch", reason="torch is an optional peer")

    def check(name, *arguments, trainable=(0,), **options):
        """Gradients by those of the forward pass' arguments that are `trainable`."""
        tensors = [torch.from_numpy(a.copy()) if isinstance(a, np.ndarray) else a for a in arguments]
        for i in trainable:
            tensors[i].requires_grad_()
        loss = getattr(torch.nn.functional, name)(*tensors, **options)
        grad_output = normals(tuple(loss.shape), 9)
        loss.backward(torch.from_numpy(np.asarray(grad_output)))
        return grad_output, [tensors[i].grad.numpy() for i in trainable]

    x = normals((3, 8, 5, 6), scale=3)
    channel = [np.abs(normals(8, seed)) for seed in range(4)]
    for name, *arguments in (
        ("relu",),
        ("leaky_relu", 0.2),
        ("elu", 0.7),
        ("sigmoid",),
        ("tanh",),
        ("silu",),
        ("gelu",),
        ("hardswish",),
        ("relu6",),
        *[(name,) for name in ("softsign", "selu", "mish", "tanhshrink", "logsigmoid")],
        *[(name, 0.5) for name in ("celu", "hardshrink", "softshrink")],
        *[("softplus", 2.0, 3.0), ("hardtanh", -0.5, 2.0), ("threshold", 0.1, 2.0)],
        ("softmax", 1),
        ("log_softmax", 2),
        ("local_response_norm", 4, 0.5, 0.6, 2.0),
        ("cross_entropy", CLASSES[[0, 1, 2]][:, :1, None].repeat(5, 1).repeat(6, 2)),
    ):
        grad_output, (expected,) = check(name, x, *arguments)
        np.testing.assert_allclose(
            getattr(grad, name)(grad_output, x, *arguments), expected, rtol=1e-9, atol=1e-12, err_msg=name
        )
    grad_output, expected = check("prelu", x, channel[0], trainable=(0, 1))
    for got, theirs in zip(grad.prelu(grad_output, x, channel[0]), expected, strict=True):
        np.testing.assert_allclose(got, theirs, rtol=1e-9)
    weight, bias = normals((4, 6), 1), normals(4, 2)
    grad_output, expected = check("linear", x, weight, bias, trainable=(0, 1, 2))
    for got, theirs in zip(grad.linear(grad_output, x, weight), expected, strict=True):
        np.testing.assert_allclose(got, theirs, rtol=1e-9, atol=1e-12)
    for training in (False, True):
        grad_output, expected = check("batch_norm", x, *channel, training, trainable=(0, 3, 4))
        got = grad.batch_norm(grad_output, x, *channel[:3], training)
        for mine, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)
