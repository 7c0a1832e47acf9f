"""Training: gradients of graphs, optimisers, schedules, checkpoints, and a network that learns."""

import re
import zipfile
from fractions import Fraction

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
    nn.relu6: [(4 * X, (), {})],
    nn.leaky_relu: [(X, (0.3,), {})],
    nn.elu: [(X, (0.5,), {})],
    nn.sigmoid: [(X, (), {})],
    nn.tanh: [(X, (), {})],
    nn.silu: [(X, (), {})],
    nn.gelu: [(X, (), {}), (X, ("tanh",), {})],
    nn.hardswish: [(2 * X, (), {})],
    nn.selu: [(X, (), {})],
    nn.celu: [(X, (0.7,), {})],
    nn.mish: [(X, (), {})],
    nn.softplus: [(X, (2.0, 3.0), {})],
    nn.softsign: [(X, (), {})],
    nn.logsigmoid: [(X, (), {})],
    nn.hardsigmoid: [(2 * X, (), {})],
    nn.hardtanh: [(2 * X, (-0.5, 1.5), {})],
    nn.threshold: [(X, (0.1, 2.0), {})],
    nn.hardshrink: [(X, (0.7,), {})],
    nn.softshrink: [(X, (0.7,), {})],
    nn.tanhshrink: [(X, (), {})],
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
    nn.layer_norm: [(X, (X.shape[2:],), {}), (X, (X.shape[-1], normals(X.shape[-1]), normals(X.shape[-1])), {})],
    nn.rms_norm: [(X, (X.shape[-1], normals(X.shape[-1])), {})],
    nn.group_norm: [(X, (2, normals(4), normals(4)), {})],
    nn.instance_norm: [
        (X, (None, None, normals(4), normals(4)), {}),
        (X, STATISTICS, {"use_input_stats": False}),
    ],
    nn.local_response_norm: [(X, (3, 0.5), {}), (X, (5,), {"alpha": 0.1, "k": 2.0, "rule": "sum"})],
    nn.add: [(X, (X[0],), {}), (X, (normals(3, 4, 7, 6),), {})],
    nn.index_select: [(X, (1, [0, 2, 2, 1]), {}), (X, (-1, np.array([5])), {})],
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
    assert CASES.keys() | {nn.cat, training.rules.weighted_sum, held, dotted} == RULES.keys()


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


def test_losses_of_several_outputs_count_by_their_shares():
    first, second, third = normals(5, 3), normals(4, 5), normals(4, 3)
    network = fastconv.Network()
    x = network.input()
    hidden = network.call(nn.linear, x, first, name="hidden")
    main = network.call(nn.softmax, network.call(nn.linear, hidden, second, name="main"), 1)
    side = network.call(nn.linear, x, third, name="side")
    network.output(main, network.call(nn.log_softmax, side, 1), hidden)
    x, target = normals(6, 3), np.array([0, 1, 2, 3, 3, 0])
    shares = (1, 0.3, 0.25)
    scored = training.with_loss(network, shares=shares)
    assert scored.outputs == ["loss", "main", "side", "hidden"]
    got = Trainable(scored, None).gradients(x, target)
    scores = [x @ first.T @ second.T, x @ third.T, x @ first.T]
    losses = [nn.cross_entropy(one, target) for one in scores]
    assert got.loss == pytest.approx(np.dot(shares, losses), rel=1e-12)
    by_scores = [s * fastconv.grad.cross_entropy(1.0, one, target) for s, one in zip(shares, scores, strict=True)]
    expected = {
        "hidden.weight": (by_scores[0] @ second + by_scores[2]).T @ x,
        "main.weight": by_scores[0].T @ scores[2],
        "side.weight": by_scores[1].T @ x,
    }
    assert got.by_parameter.keys() == expected.keys()
    for name, gradient in expected.items():
        np.testing.assert_allclose(got.by_parameter[name], gradient, rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match=r"expected as many outputs as shares=\(1.0,\)"):
        training.with_loss(network)


def test_auxiliary_classifiers_are_trained_and_left_out():
    """As in GoogLeNet: three losses while it learns, and one classifier in what it has learnt."""
    from fastconv.networks import build, weights

    trainable = Trainable(training.with_loss(build("googlenet_auxiliary"), shares=(1, 0.3, 0.3)), None)
    learnt = weights(trainable.network())
    assert {name.split(".")[0] for name in trainable.parameters} == learnt.keys()
    heads = [name for name in learnt if name.startswith("auxiliary")]
    assert len(heads) == 6
    kept = build("googlenet", given={name: learnt[name] for name in learnt if name not in heads})
    assert weights(kept).keys() == learnt.keys() - set(heads)


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


# --- optimisers


def fractions(values):
    return [Fraction(float(value)) for value in values]


SGD_OPTIONS = [
    {},
    {"momentum": 0.75},
    {"momentum": 0.75, "nesterov": True},
    {"momentum": 0.5, "weight_decay": 0.25},
    {"weight_decay": 0.125},
    {"momentum": 0.75, "nesterov": True, "weight_decay": 0.25},
]


@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sgd_is_its_formula_in_rationals(options, dtype):
    rng = np.random.default_rng(0)
    # Few bits, so that no step rounds.
    start, gradients = rng.integers(-64, 64, 37) / 8, rng.integers(-8, 8, (3, 37)) / 4
    parameters = {"p": start.astype(dtype)}
    optimiser = training.SGD(parameters, 0.5, **options)
    momentum, decay = (Fraction(options.get(name, 0)) for name in ("momentum", "weight_decay"))
    expected, velocity = fractions(start), [Fraction(0)] * 37
    for gradient in gradients:
        optimiser.update({"p": gradient.astype(dtype)})
        for at, value in enumerate(fractions(gradient)):
            g = value + decay * expected[at]
            velocity[at] = momentum * velocity[at] + g
            expected[at] -= Fraction(1, 2) * (g + momentum * velocity[at] if options.get("nesterov") else velocity[at])
    assert fractions(parameters["p"]) == expected
    assert optimiser.steps == 3


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", [training.Adam, training.AdamW])
def test_adam_is_its_formula(kind, dtype):
    rng = np.random.default_rng(1)
    start, gradients = rng.standard_normal(40_000), rng.standard_normal((4, 40_000))
    parameters = {"p": start.astype(dtype)}
    optimiser = kind(parameters, lambda step: 0.1 / (1 + step), betas=(0.8, 0.95), eps=1e-4, weight_decay=0.05)
    expected = parameters["p"].astype(np.longdouble)
    mean = square = np.zeros_like(expected)
    for t, gradient in enumerate(gradients.astype(dtype), 1):
        optimiser.update({"p": gradient})
        rate, g = np.longdouble(0.1) / t, gradient.astype(np.longdouble)
        if kind is training.AdamW:
            expected *= 1 - rate * np.longdouble(0.05)
        else:
            g = g + np.longdouble(0.05) * expected
        mean, square = 0.8 * mean + (1 - 0.8) * g, 0.95 * square + (1 - 0.95) * g * g
        expected = expected - rate * (mean / (1 - 0.8**t)) / (np.sqrt(square / (1 - 0.95**t)) + 1e-4)
    # A step is at most 0.1 / (1 - 0.8), and errs by a few roundings; so do the four sums.
    np.testing.assert_allclose(parameters["p"], expected, rtol=0, atol=40 * np.finfo(dtype).eps)


def test_updates_are_the_same_for_any_number_of_threads():
    results = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            parameters = {"p": np.linspace(-1, 1, 2_000_001, dtype=np.float32)}
            gradients = {"p": np.cos(parameters["p"])}
            for optimiser in (training.SGD(parameters, 0.1, momentum=0.9), training.Adam(parameters, 0.1)):
                optimiser.update(gradients)
                optimiser.update(gradients)
        results.append(parameters["p"].tobytes())
    assert results[0] == results[1]


P = {"p": np.zeros(3)}


@pytest.mark.parametrize(
    ("call", "error", "fault"),
    [
        (lambda: training.SGD(P, -1), ValueError, "rate=-1: expected a finite number of at least 0"),
        (lambda: training.SGD(P, float("nan")), ValueError, "rate=nan"),
        (lambda: training.SGD(P, float("inf")), ValueError, "rate=inf"),
        (lambda: training.SGD(P, 1, momentum=1), ValueError, "momentum=1: .* less than 1"),
        (lambda: training.SGD(P, 1, nesterov=True), ValueError, "nesterov=True, momentum=0"),
        (lambda: training.SGD(P, 1, weight_decay="x"), ValueError, "weight_decay='x'"),
        (lambda: training.SGD({"p": np.zeros(3, int)}, 1), TypeError, "p of dtype int64"),
        (lambda: training.SGD({"p": np.zeros((3, 3))[:, 0]}, 1), TypeError, "contiguous"),
        (lambda: training.Adam(P, betas=(0.9,)), ValueError, "betas"),
        (lambda: training.Adam(P, betas=(0.9, 1)), ValueError, "betas=1"),
        (lambda: training.SGD(P, 1).update({}), ValueError, "expected p"),
        (lambda: training.SGD(P, 1).update({"p": np.zeros(4)}), GeometryError, r"gradient of p of shape \(4,\)"),
        (lambda: training.cosine(1, 0), GeometryError, "steps=0"),
        (lambda: training.cosine(1, 5, warm_up=5), GeometryError, "steps=5"),
        (lambda: training.stepped(1, 0), GeometryError, "every=0"),
    ],
)
def test_bad_optimisers_and_schedules(call, error, fault):
    with pytest.raises(error, match=fault):
        call()


def test_cosine_falls_evenly_in_angle():
    schedule = training.cosine(3.0, 12, last=1.0)
    np.testing.assert_allclose([schedule(step) for step in range(13)], 2 + np.cos(np.pi * np.arange(13) / 12))


# --- checkpoints, and the loop


def small(seed=0):
    network = fastconv.Network("small")
    x = network.call(nn.conv2d, network.input(), np.random.default_rng(1).standard_normal((4, 1, 3, 3)), name="conv")
    x = network.call(nn.batch_norm, x, np.zeros(4), np.ones(4), np.ones(4), np.zeros(4), name="norm")
    x = network.call(nn.dropout, network.call(nn.flatten, network.call(nn.relu, x), 1), 0.3)
    network.output(network.call(nn.linear, x, np.random.default_rng(2).standard_normal((3, 64)) / 8, name="full"))
    trainable = Trainable(network, seed=seed)
    return trainable, training.Adam(trainable.parameters, training.cosine(0.01, 50))


PICTURES, CLASSES = normals(50, 1, 6, 6), RNG.integers(0, 3, 50)


def trained(epochs, first=0, path=None, **options):
    trainable, optimiser = small()
    if path is not None:
        training.load(path, trainable, optimiser)
    options = {"epochs": epochs, "batch": 16, "first": first} | options
    return trainable, optimiser, list(training.fit(trainable, optimiser, PICTURES, CLASSES, **options))


def bits(trainable):
    return {name: array.tobytes() for name, array in (trainable.parameters | trainable.statistics).items()}


def test_interrupted_training_gives_the_same_bits(tmp_path):
    path = tmp_path / "checkpoint.npz"
    whole, _, epochs = trained(4)
    trainable, optimiser, begun = trained(1)
    training.save(path, trainable, optimiser)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.npz"]
    assert np.load(path, allow_pickle=False)["parameters/conv.weight"].shape == (4, 1, 3, 3)
    continued, _, rest = trained(3, 1, path)
    assert bits(continued) == bits(whole)
    assert [epoch.loss for epoch in begun + rest] == [epoch.loss for epoch in epochs]
    assert [epoch.number for epoch in begun + rest] == [1, 2, 3, 4]
    training.load(path, continued)  # without the optimiser
    assert bits(continued) == bits(trainable)


def test_training_is_the_same_for_any_number_of_threads():
    results = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            results.append(bits(trained(2)[0]))
    assert results[0] == results[1]


def test_progress_and_augmentation():
    lines, shapes = [], []

    def augment(images, generator):
        shapes.append(images.shape)
        return images + 0.01 * generator.standard_normal(images.shape)

    _, _, epochs = trained(
        2, augment=augment, held_out=(PICTURES, CLASSES), progress=lambda *of: lines.append(of), batch=20
    )
    assert shapes == [(20, 1, 6, 6), (20, 1, 6, 6), (10, 1, 6, 6)] * 2
    assert [of[:2] for of in lines] == [(done, 6) for done in range(1, 7)]
    assert re.fullmatch(r"epoch 2, loss \d+\.\d{4}, accuracy \d+\.\d%, 0:00 left", lines[-1][2])
    assert all(0 <= epoch.held_out <= 1 for epoch in epochs)


def rewritten(path, change):
    """The checkpoint with other arrays or bytes."""
    arrays = dict(np.load(path))
    change(arrays)
    np.savez(path, **arrays)


def bomb(path):
    """A header that promises much more than there is."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("parameters/conv.weight.npy", "w") as array,
    ):
        np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})


HOSTILE = {
    "text": (lambda path: path.write_text("weights"), "not a zip file"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-500]), "zip file"),
    "flipped": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"fortran_order", b"fortran_ordeR")),
        "parameters/conv.weight|CRC|keys",
    ),
    "missing": (lambda path: rewritten(path, lambda arrays: arrays.pop("statistics/norm.running_var")), "is missing"),
    "shape": (
        lambda path: rewritten(path, lambda arrays: arrays.update({"parameters/conv.weight": P["p"]})),
        r"\(3,\)",
    ),
    "dtype": (
        lambda path: rewritten(path, lambda arrays: arrays.update({"parameters/norm.bias": np.zeros(4, "f4")})),
        "float32: expected",
    ),
    "objects": (
        lambda path: rewritten(path, lambda arrays: arrays.update({"parameters/norm.bias": np.array([{}] * 4)})),
        "no plain numbers",
    ),
    "bomb": (bomb, "expected"),
    "steps": (lambda path: rewritten(path, lambda arrays: arrays.update({"steps": np.array(-1)})), "at least 0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_are_no_checkpoint(tmp_path, name):
    damage, fault = HOSTILE[name]
    path = tmp_path / "checkpoint.npz"
    trainable, optimiser = small()
    training.save(path, trainable, optimiser)
    damage(path)
    before = bits(trainable)
    with pytest.raises(ValueError, match=fault) as error:
        training.load(path, trainable, optimiser)
    assert str(path) in str(error.value)
    assert bits(trainable) == before


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 1, "batch": 0}, "batch=0"),
        ({"epochs": 1, "labels": [1]}, r"labels of shape \(1,\): expected \(50,\)"),
    ],
)
def test_bad_fits(options, fault):
    trainable, optimiser = small()
    labels = options.pop("labels", CLASSES)
    with pytest.raises(GeometryError, match=fault):
        training.fit(trainable, optimiser, PICTURES, labels, **options)
