"""Training: gradients of graphs, optimisers, schedules, checkpoints, and a network that learns."""

import numpy as np
import pytest

import fastconv
from fastconv import GeometryError, UnsupportedError, nn, training
from fastconv.training import RULES, Rule, Trainable

RNG = np.random.default_rng(11)


def normals(*shape):
    return RNG.standard_normal(shape)


def held(weight):
    """A node that is a parameter."""
    return weight


def dotted(x, by):
    """A loss whose gradient is known."""
    return np.sum(x * by)


@pytest.fixture(autouse=True)
def _more_rules(monkeypatch):
    monkeypatch.setitem(RULES, held, Rule(lambda call: (call(), lambda gradient, _: {"weight": gradient}), ("weight",)))
    monkeypatch.setitem(RULES, dotted, Rule(lambda call: (call(), lambda gradient, _: {"x": gradient * call.by})))


X, SIGNAL, VOLUME = normals(3, 4, 7, 6), normals(2, 3, 9), normals(1, 2, 5, 4, 5)
STATISTICS = normals(4), np.abs(normals(4)) + 0.5

# How each function is called behind its first argument, which is a parameter, too: (that argument, others, options).
CASES = {
    nn.conv1d: [(SIGNAL, (normals(5, 3, 3), normals(5)), {"stride": 2, "padding": 1})],
    nn.conv2d: [
        (X, (normals(6, 2, 3, 3), normals(6)), {"padding": 1, "groups": 2}),
        (X[0], (normals(5, 4, 3, 2), normals(5)), {"stride": (2, 1), "dilation": 2}),
        (X, (normals(5, 4, 1, 1),), {}),
    ],
    nn.conv3d: [(VOLUME, (normals(3, 2, 2, 3, 2), normals(3)), {"padding": 1})],
    nn.conv_transpose1d: [(SIGNAL, (normals(3, 2, 4), normals(2)), {"stride": 3, "output_padding": 2})],
    nn.conv_transpose2d: [
        (X, (normals(4, 3, 3, 3), normals(6)), {"stride": 2, "padding": 1, "groups": 2, "output_padding": (1, 0)}),
        (X[0], (normals(4, 2, 2, 2),), {"dilation": 2}),
    ],
    nn.conv_transpose3d: [(VOLUME, (normals(2, 2, 2, 2, 2), normals(2)), {"stride": 2})],
    nn.linear: [(normals(5, 7), (normals(3, 7), normals(3)), {}), (normals(2, 5, 7), (normals(3, 7),), {})],
    nn.max_pool1d: [(SIGNAL, (3, 2, 1), {})],
    nn.max_pool2d: [(X, (3, 2, 1), {"ceil_mode": True}), (X, (2,), {}), (X[0], (2, 1), {"dilation": 2})],
    nn.max_pool3d: [(VOLUME, (2, 1), {})],
    nn.adaptive_max_pool1d: [(SIGNAL, (4,), {})],
    nn.adaptive_max_pool2d: [(X, ((3, 4),), {})],
    nn.global_max_pool2d: [(X, (), {})],
    nn.avg_pool1d: [(SIGNAL, (3, 2, 1), {"count_include_pad": False})],
    nn.avg_pool2d: [(X, (3, 2, 1), {"ceil_mode": True}), (X[0], (2,), {"divisor_override": 3})],
    nn.avg_pool3d: [(VOLUME, (2, 1), {})],
    nn.adaptive_avg_pool1d: [(SIGNAL, (4,), {})],
    nn.adaptive_avg_pool2d: [(X, ((3, 4),), {})],
    nn.global_avg_pool2d: [(X, (), {})],
    nn.lp_pool2d: [(np.abs(X) + 0.1, (3, 2, 2), {})],
    nn.relu: [(X, (), {})],
    nn.leaky_relu: [(X, (0.3,), {})],
    nn.elu: [(X, (0.5,), {})],
    nn.sigmoid: [(X, (), {})],
    nn.tanh: [(X, (), {})],
    nn.silu: [(X, (), {})],
    nn.gelu: [(X, (), {}), (X, ("tanh",), {})],
    nn.hardswish: [(2 * X, (), {})],
    nn.prelu: [(X, (normals(4),), {}), (X, (normals(1),), {})],
    nn.rrelu: [(X, (), {}), (X, (), {"training": False})],
    nn.maxout: [(X, (2,), {})],
    nn.dropout: [(X, (0.4,), {}), (X, (0.4,), {"training": False, "scale_at": "test"})],
    nn.dropout2d: [(X, (0.4,), {})],
    nn.random_dropout: [(X, (0.8,), {})],
    nn.batch_norm: [
        (X, (*STATISTICS, normals(4), normals(4)), {}),
        (X, (None, None), {"training": True}),
        (X, (*STATISTICS, normals(4)), {"training": False}),
    ],
    nn.local_response_norm: [(X, (3, 0.5), {}), (X, (5,), {"alpha": 0.1, "k": 2.0, "rule": "sum"})],
    nn.add: [(X, (X[0],), {}), (X, (normals(3, 4, 7, 6),), {})],
    nn.flatten: [(X, (1,), {})],
    nn.softmax: [(X, (1,), {}), (SIGNAL, (), {})],
    nn.log_softmax: [(X, (-1,), {})],
    nn.cross_entropy: [
        (normals(5, 4), (np.array([0, 3, 1, 1, 2]),), {"label_smoothing": 0.2}),
        (normals(5, 4), (np.array([0, 3, 1, -100, 2]), np.arange(1.0, 5)), {"reduction": "sum"}),
    ],
}
FLAT = [(function, case) for function, cases in CASES.items() for case in cases]


def numeric(trainable, name, arrays=(), step=1e-6):
    """Central differences of the loss by a parameter, along some random directions; and these directions."""
    parameter, rng = trainable.parameters[name], np.random.default_rng(3)
    start, slopes, directions = parameter.copy(), [], rng.choice([-1.0, 1.0], (8, *parameter.shape))
    for direction in directions:
        losses = []
        for sign in (1, -1):
            parameter[...] = start + sign * step * direction
            trainable.steps = 0  # the same random numbers
            losses.append(trainable.gradients(*arrays).loss)
        slopes.append((losses[0] - losses[1]) / (2 * step))
    parameter[...] = start
    return np.array(slopes), directions


def check(trainable, arrays=(), step=1e-6):
    trainable.steps = 0
    loss, _, gradients = trainable.gradients(*arrays)
    assert gradients.keys() == trainable.parameters.keys()
    for name, gradient in gradients.items():
        assert gradient.shape == trainable.parameters[name].shape
        assert gradient.dtype == trainable.parameters[name].dtype
        slopes, directions = numeric(trainable, name, arrays, step)
        got = (directions * gradient).reshape(len(directions), -1).sum(1)
        # Of a difference, rounding leaves some 1e-16 of the loss by the step, and truncation the step squared.
        np.testing.assert_allclose(got, slopes, rtol=1e-6, atol=1e-8 * (1 + abs(loss)) + 1e-7 * np.abs(gradient).sum())


@pytest.mark.parametrize(("function", "case"), FLAT, ids=lambda of: getattr(of, "__name__", ""))
def test_every_function_in_the_table(function, case):
    first, others, options = case
    network = fastconv.Network()
    value = network.call(function, network.call(held, first, name="first"), *others, **options, name="f")
    by = normals(*np.shape(function(first, *others, **options)))
    network.output(network.call(dotted, value, by))
    trainable = Trainable(network, None)
    learnt = {f"f.{name}" for name in RULES[function].learnt if name in training.reverse.arguments_of(network.nodes[1])}
    assert trainable.parameters.keys() == {"first.weight"} | learnt
    check(trainable)


def test_all_functions_are_tested():
    assert CASES.keys() | {nn.cat, held, dotted} == RULES.keys()


def branching(dtype="f8"):
    """Values that several nodes read, a concatenation, a residual sum, normalisation, both dropouts, shared weights."""
    network = fastconv.Network("branching")
    x = network.input("image")
    x = network.call(nn.conv2d, x, normals(4, 2, 3, 3).astype(dtype), None, padding=1, name="stem")
    mean, var, scale, shift = (array.astype(dtype) for array in (*STATISTICS, normals(4), normals(4)))
    x = network.call(nn.batch_norm, x, mean, var, scale, shift, name="norm")
    shared = normals(4, 4, 3, 3).astype(dtype)
    one = network.call(nn.relu, network.call(nn.conv2d, x, shared, padding=1, name="one"))
    two = network.call(nn.tanh, network.call(nn.conv2d, x, shared, padding=1, name="two"))
    x = network.call(nn.add, network.call(nn.dropout2d, one, 0.25), two)
    x = network.call(nn.cat, [x, one, np.ones((3, 1, 6, 6), dtype)], dim=1)
    x = network.call(nn.local_response_norm, network.call(nn.avg_pool2d, x, 2), 3, 0.5)
    x = network.call(nn.dropout, network.call(nn.flatten, x, 1), 0.25)
    x = network.call(nn.linear, x, normals(5, 81).astype(dtype) / 9, normals(5).astype(dtype), name="full")
    network.output(network.call(nn.softmax, x, 1))
    return network


IMAGES, LABELS = normals(3, 2, 6, 6), np.array([0, 4, 2])


def test_whole_graphs():
    trainable = Trainable(branching())
    assert list(trainable.parameters) == [
        *("stem.weight", "norm.weight", "norm.bias", "one.weight", "full.weight", "full.bias")
    ]
    assert list(trainable.statistics) == ["norm.running_mean", "norm.running_var"]
    check(trainable, (IMAGES, LABELS))


def test_classical_networks():
    network = fastconv.networks.build("lenet5", dtype=np.float64)
    check(Trainable(network), (normals(2, 1, 28, 28), np.array([3, 9])), step=1e-7)


def test_single_precision_follows_double():
    single, double = Trainable(branching("f4")), Trainable(branching())
    for arrays, of in ((double.parameters, single.parameters), (double.statistics, single.statistics)):
        for name, array in arrays.items():
            array[...] = of[name]
    got = single.gradients(IMAGES.astype("f4"), LABELS)
    expected = double.gradients(IMAGES.astype("f4").astype("f8"), LABELS)
    assert abs(got.loss - expected.loss) < 1e-5
    np.testing.assert_allclose(got.outputs[0], expected.outputs[0], atol=1e-5)
    for name, gradient in got.by_parameter.items():
        assert gradient.dtype == np.float32
        reference = expected.by_parameter[name]
        np.testing.assert_allclose(gradient, reference, rtol=0, atol=1e-5 * np.abs(reference).max())


def test_the_network_stays_and_what_was_learnt_comes_back():
    network = branching()
    before = [
        np.array(argument) for node in network.nodes for argument in node.arguments if type(argument) is np.ndarray
    ]
    trainable = Trainable(network)
    for parameter in trainable.parameters.values():
        parameter *= 0.5
    trainable.gradients(IMAGES, LABELS)
    after = [
        np.array(argument) for node in network.nodes for argument in node.arguments if type(argument) is np.ndarray
    ]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    learnt = trainable.network()
    assert [node.name for node in learnt.nodes] == [node.name for node in network.nodes]
    arguments = {node.name: node.arguments for node in learnt.nodes}
    assert arguments["one"][1] is arguments["two"][1]
    np.testing.assert_array_equal(arguments["one"][1], trainable.parameters["one.weight"])
    np.testing.assert_array_equal(arguments["norm"][1], trainable.statistics["norm.running_mean"])
    assert (arguments["norm"][1] != STATISTICS[0]).any()
    trainable.parameters["one.weight"][...] = 0  # they are copies
    assert arguments["one"][1].any()


def test_frozen_parameters_and_layers():
    network = fastconv.Network()
    x = network.call(nn.conv2d, network.input(), normals(4, 2, 3, 3), name="stem")
    x = network.call(nn.batch_norm, x, *STATISTICS, training=False, name="norm")
    x = network.call(nn.linear, network.call(nn.flatten, x, 1), normals(5, 64), name="full")
    network.output(x)
    all_of_it = Trainable(network)
    trainable = Trainable(network, frozen=["stem.weight"])
    assert list(trainable.parameters) == ["full.weight"]
    got = trainable.gradients(IMAGES, LABELS)
    expected = all_of_it.gradients(IMAGES, LABELS)
    np.testing.assert_array_equal(got.by_parameter["full.weight"], expected.by_parameter["full.weight"])
    np.testing.assert_array_equal(trainable.statistics["norm.running_mean"], STATISTICS[0])


def test_other_losses_and_several_outputs():
    network = fastconv.Network()
    x = network.call(nn.linear, network.input(), normals(5, 3), name="full")
    network.output(network.call(nn.cross_entropy, x, network.input("target"), reduction="sum"), x)
    x, target = normals(4, 3), np.array([0, 1, 2, 4])
    got = Trainable(network, None).gradients(x, target)
    mean = fastconv.Network()
    mean.output(mean.call(nn.linear, mean.input(), network.nodes[0].arguments[1], name="full"))
    expected = Trainable(mean).gradients(x, target)
    assert got.loss == pytest.approx(4 * expected.loss)
    np.testing.assert_allclose(got.by_parameter["full.weight"], 4 * expected.by_parameter["full.weight"])
    np.testing.assert_array_equal(got.outputs[0], expected.outputs[0])


def test_what_needs_no_gradient_needs_no_rule():
    network = fastconv.Network()
    x = network.call(np.tanh, network.input())
    x = network.call(nn.linear, x, normals(5, 3), name="full")
    network.output(x)
    trainable = Trainable(network)
    assert trainable.gradients(normals(4, 3), np.zeros(4, int)).loss > 0


def test_all_that_is_unsupported_is_listed():
    network = fastconv.Network()
    x = network.call(nn.conv2d, network.input(), normals(4, 2, 3, 3), activation="relu", name="fused")
    x = network.call(np.sin, x, name="wave")
    x = network.call(nn.max_pool2d, x, 2, layout="NHWC", name="turned")
    network.output(network.call(nn.flatten, x, 1))
    fault = r"fused: activation='relu', expected None; wave: sin; turned: layout='NHWC', expected 'NCHW'"
    with pytest.raises(UnsupportedError, match=fault):
        Trainable(network)


def one_layer(loss=nn.cross_entropy, **options):
    network = fastconv.Network()
    network.output(network.call(nn.linear, network.input(), normals(5, 3), name="full"))
    return Trainable(network, loss, **options)


@pytest.mark.parametrize(
    ("call", "error", "fault"),
    [
        (lambda: Trainable(fastconv.Network()), ValueError, "no outputs"),
        (lambda: one_layer(frozen=["full.bias"]), ValueError, r"frozen=\['full.bias'\]: expected some of full.weight"),
        (lambda: one_layer(frozen=["full.weight"]), ValueError, "nothing to learn"),
        (lambda: one_layer(None).gradients(normals(4, 3)), GeometryError, r"linear|full of shape \(4, 5\)"),
        (lambda: one_layer().gradients(normals(4, 3)), TypeError, "1 images: expected 2"),
        (lambda: one_layer().gradients(normals(4, 2), [0] * 4), GeometryError, r"\(4, 2\)"),
        (lambda: one_layer().gradients(normals(4, 3), [9] * 4), ValueError, "target=9"),
    ],
)
def test_bad_calls(call, error, fault):
    with pytest.raises(error, match=fault):
        call()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_bits_are_the_same_for_any_number_of_threads(dtype):
    network, images = branching(dtype), IMAGES.astype(dtype)
    results = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            trainable = Trainable(network, seed=5)
            results.append([trainable.gradients(images, LABELS) for _ in range(3)])
    for one, two in zip(*results, strict=True):
        assert one.loss == two.loss
        for name, gradient in one.by_parameter.items():
            assert gradient.tobytes() == two.by_parameter[name].tobytes()
    assert results[0][0].loss != results[0][1].loss  # other values are dropped
