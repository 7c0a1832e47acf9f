"""Networks from ONNX models: ONNX's own test cases, its small models, and models that are broken."""

import pickle
import warnings
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fastconv
from fastconv import nn
from fastconv.onnx import arrays, load, quantised, save
from fastconv.onnx.backend import FastconvBackend

DATA = Path(onnx.__file__).parent / "backend/test/data"


def node_cases():
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow and divide by zero on purpose
        return [case for case in collect_testcases(None) if case.model is not None]


def arrays_of(values):
    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else np.asarray(v) for v in values]


def agree(results, expected, rtol, atol):
    """Narrow floats may differ by the rounding of steps in between, which the cases round, too."""
    assert len(results) == len(expected)
    for result, array in zip(results, expected, strict=True):
        assert (result.dtype, result.shape) == (array.dtype, array.shape)
        if array.dtype.itemsize == 2 and array.dtype.kind not in "iu":
            step = float(ml_dtypes.finfo(array.dtype).eps)
            result, array = result.astype(np.float32), array.astype(np.float32)
            atol = max(
                atol, 2 * step * np.abs(array, where=np.isfinite(array), out=np.zeros_like(array)).max(initial=0)
            )
        np.testing.assert_allclose(result, array, rtol=rtol, atol=atol)


@pytest.mark.slow
def test_node_cases():
    """Every case whose operators and types are supported, twice: node by node, and in one block of memory."""
    passed, failed = 0, []
    for case in node_cases():
        try:
            ready = FastconvBackend.prepare(case.model)
        except fastconv.UnsupportedError:
            continue
        for inputs, expected in case.data_sets:
            given = arrays_of(inputs)
            try:
                for _ in range(2):
                    agree(ready.run(given), arrays_of(expected), case.rtol, max(case.atol, 1e-6))
                passed += 1
            except fastconv.UnsupportedError:
                pass
            except Exception as reason:
                failed.append(f"{case.name}: {reason!r}")
    assert not failed, "\n".join(failed)
    assert passed > 1300


@pytest.mark.parametrize("kind", ["pytorch-converted", "pytorch-operator", "simple"])
def test_stored_cases(kind):
    def stored(path):
        return numpy_helper.to_array(onnx.load_tensor(path))

    passed = 0
    for folder in sorted((DATA / kind).iterdir()):
        try:
            ready = FastconvBackend.prepare(onnx.load(folder / "model.onnx"))
        except fastconv.UnsupportedError:
            continue
        for case in sorted(folder.glob("test_data_set_*")):
            inputs, outputs = (
                [stored(case / f"{what}_{at}.pb") for at in range(len(list(case.glob(f"{what}_*.pb"))))]
                for what in ("input", "output")
            )
            agree(ready.run(inputs), outputs, 1e-3, 1e-5)
            passed += 1
    assert passed >= {"pytorch-converted": 82, "pytorch-operator": 35, "simple": 7}[kind]


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1"])
def test_light_models(name):
    """Real graphs, with weights that are all alike; what they give is stored beside them."""
    network = load(DATA / f"light/light_{name}.onnx")
    expected = numpy_helper.to_array(onnx.load_tensor(DATA / f"light/light_{name}_output_0.pb"))
    image = np.zeros((1, 3, 224, 224), np.float32)
    program = network.prepare()
    for _ in range(2):
        np.testing.assert_allclose(program(image), expected, rtol=1e-3, atol=1e-7)


def model_of(*nodes, inputs=("x",), outputs=("y",), constants=(), opset=17, type_=TensorProto.FLOAT):
    values = [[helper.make_tensor_value_info(name, type_, None) for name in names] for names in (inputs, outputs)]
    tensors = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph(list(nodes), "made", *values, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def random_weights(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("source", ["bytes", "path", "model"])
def test_sources(source, tmp_path):
    model = model_of(helper.make_node("Relu", ["x"], ["y"]))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    given = {"bytes": model.SerializeToString(), "path": path, "model": model}[source]
    assert load(given)(np.array([-1, 1], np.float32)).tolist() == [0, 1]


def test_batches_and_extents_are_open():
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["y"])]
    weight, bias = random_weights(4, 3, 3, 3), random_weights(4)
    program = load(model_of(*nodes, constants={"w": weight, "b": bias}.items())).prepare()
    for shape in ((1, 3, 8, 8), (2, 3, 9, 5), (1, 3, 8, 8)):
        x = random_weights(*shape)
        expected = fastconv.conv2d(x, weight, bias, padding=1, activation="relu")
        np.testing.assert_allclose(program(x), expected, atol=1e-5)


def test_programs_of_models_are_pickled():
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["m"]),
        helper.make_node("ReduceLogSumExp", ["m"], ["r"], axes=[1]),
        helper.make_node("Hardmax", ["r"], ["h"], axis=1),
        helper.make_node("MatMul", ["h", "x"], ["y"]),
    ]
    program = load(model_of(*nodes, constants={"w": random_weights(4)}.items(), opset=11)).prepare()
    x = random_weights(3, 4, 4)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(program))(x), program(x))


def test_external_data_stays_in_the_folder(tmp_path):
    secret, folder = tmp_path / "secret", tmp_path / "models"
    folder.mkdir()
    secret.write_bytes(bytes(16))
    model = model_of(helper.make_node("Add", ["x", "w"], ["y"]), constants={"w": random_weights(4)}.items())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match=r"secret|directory|location"):
        load(folder / "model.onnx")


def test_unsupported_operators_are_all_listed():
    nodes = [
        helper.make_node("Loop", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
        helper.make_node("Own", ["b"], ["y"], name="third", domain="com.example"),
    ]
    with pytest.raises(fastconv.UnsupportedError, match=r"Loop \(first\); com.example.Own \(third\)"):
        load(model_of(*nodes))


RELU = helper.make_node("Relu", ["x"], ["y"], name="last")


def with_tensor(change):
    model = model_of(helper.make_node("Add", ["x", "w"], ["y"]), constants={"w": random_weights(4)}.items())
    change(model.graph.initializer[0])
    return model


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (model_of(helper.make_node("Relu", ["z"], ["y"], name="n")), ValueError, "Relu 'n' reads 'z'"),
        (
            model_of(helper.make_node("Relu", ["b"], ["y"], name="n"), helper.make_node("Relu", ["y"], ["b"])),
            ValueError,
            "reads 'b'",
        ),
        (model_of(RELU, outputs=("q",)), ValueError, "output 'q'"),
        (model_of(RELU, opset=3), fastconv.UnsupportedError, "version 3"),
        (model_of(RELU, opset=99), fastconv.UnsupportedError, "version 99"),
        (model_of(RELU, type_=TensorProto.STRING), fastconv.UnsupportedError, "input 'x'"),
        (b"no model", ValueError, "expected an ONNX model"),
        (with_tensor(lambda tensor: tensor.dims.append(1 << 40)), ValueError, "'w' of shape"),
        (with_tensor(lambda tensor: tensor.dims.append(-1)), ValueError, "negative"),
        (with_tensor(lambda tensor: tensor.ClearField("raw_data")), ValueError, "'w' of shape"),
        (
            model_of(
                helper.make_node("ConstantOfShape", ["s"], ["c"]),
                helper.make_node("Add", ["x", "c"], ["y"]),
                constants={"s": np.array([1 << 20, 1 << 20])}.items(),
            ),
            fastconv.GeometryError,
            "at most",
        ),
    ],
    ids=str,
)
def test_broken_models(model, error, message):
    with pytest.raises(error, match=message):
        load(model)


def test_long_models_are_read_in_linear_time():
    """Quadratic time would exceed the limit of a test."""
    names = ["x", *(f"v{at}" for at in range(10_000)), "y"]
    nodes = [helper.make_node("Tanh", [one], [other]) for one, other in pairwise(names)]
    assert len(load(model_of(*nodes)).nodes) == 10_001


@pytest.mark.parametrize("name", ["lenet5", "googlenet", "resnet18"])
def test_saved_networks_are_read_again(name, tmp_path):
    network = fastconv.networks.build(name)
    extent, channels = (28, 1) if name == "lenet5" else (224, 3)
    model = save(network, tmp_path / "model.onnx", shape=("batch", channels, extent, extent))
    onnx.checker.check_model(model)
    image = random_weights(1, channels, extent, extent)
    expected = network.prepare()(image)
    np.testing.assert_allclose(load(tmp_path / "model.onnx").prepare()(image), expected, rtol=1e-4, atol=1e-7)


def test_saved_networks_by_the_reference():
    """ONNX's own evaluator is the oracle."""
    network = fastconv.Network("all kinds")
    x = network.input()
    y = network.call(nn.conv2d, x, random_weights(4, 1, 3, 2), random_weights(4), (2, 1), ((1, 0), (0, 1)), groups=2)
    y = network.call(nn.batch_norm, y, random_weights(4), random_weights(4) ** 2, None, random_weights(4))
    y = network.call(nn.elu, network.call(nn.local_response_norm, y, 3, 0.5, rule="sum"), 0.7)
    z = network.call(nn.avg_pool2d, y, 3, 1, 1, count_include_pad=False)
    y = network.call(nn.cat, (network.call(nn.max_pool2d, y, 3, 1, 1), network.call(nn.add, y, z)), 1)
    y = network.call(nn.flatten, network.call(nn.dropout, y), 1)
    y = network.call(nn.linear, y, random_weights(5, 8 * 4 * 8) / 50)
    network.output(network.call(nn.log_softmax, y, 1))
    image = random_weights(4, 2, 8, 8)  # the evaluator's LRN takes the batch for the channels
    from onnx.reference import ReferenceEvaluator

    (expected,) = ReferenceEvaluator(save(network)).run(None, {"x": image})
    np.testing.assert_allclose(network.prepare()(image), expected, rtol=1e-4, atol=1e-5)


def test_what_onnx_cannot_say_is_named():
    network = fastconv.Network()
    network.output(network.call(np.fft.fft, network.input(), name="transform"))
    with pytest.raises(fastconv.UnsupportedError, match="transform: fft"):
        save(network)


SPELLINGS = {
    "hardswish by clip": (("Add", "x", 3.0), ("Clip", 0, 0.0, 6.0), ("Mul", "x", 1), ("Div", 2, 6.0)),
    "hardswish, divided first": (("Add", 3.0, "x"), ("Clip", 0, 0.0, 6.0), ("Div", 1, 6.0), ("Mul", 2, "x")),
    "silu": (("Sigmoid", "x"), ("Mul", 0, "x")),
    "silu by exp": (("Neg", "x"), ("Exp", 0), ("Add", 1, 1.0), ("Div", "x", 2)),
    "gelu": (("Div", "x", 2**0.5), ("Erf", 0), ("Add", 1, 1.0), ("Mul", "x", 2), ("Mul", 3, 0.5)),
    "gelu, halved first": (("Mul", "x", 0.5), ("Mul", "x", 0.5**0.5), ("Erf", 1), ("Add", 2, 1.0), ("Mul", 0, 3)),
    "relu": (("Max", "x", 0.0),),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_activations_are_recognised(spelling):
    """Whatever other names and orders their steps have; nodes that others read stay."""
    nodes, constants = [helper.make_node("Tanh", ["x"], ["before"])], {}
    names = []
    for kind, *terms in SPELLINGS[spelling]:
        inputs = []
        for term in terms:
            if isinstance(term, float):
                inputs.append(f"constant{len(constants)}")
                constants[inputs[-1]] = np.array(term, np.float32)
            else:
                inputs.append("before" if term == "x" else names[term])
        names.append(f"step{len(names)}")
        nodes.append(helper.make_node(kind, inputs, names[-1:]))
    nodes[-1].output[0] = "y"
    network = load(model_of(*nodes, constants=constants.items()))
    assert [node.function for node in network.nodes] == [nn.tanh, getattr(nn, spelling.split()[0].rstrip(","))]


def test_other_formulas_are_left_alone():
    """The bound is 5.9 instead of 6."""
    constants = {"three": 3.0, "zero": 0.0, "bound": 5.9, "six": 6.0}
    nodes = [
        helper.make_node("Add", ["x", "three"], ["a"]),
        helper.make_node("Clip", ["a", "zero", "bound"], ["b"]),
        helper.make_node("Mul", ["x", "b"], ["c"]),
        helper.make_node("Div", ["c", "six"], ["y"]),
    ]
    network = load(model_of(*nodes, constants={name: np.float32(value) for name, value in constants.items()}.items()))
    assert len(network.nodes) == 4
    x = np.array([-4, -1, 0, 2, 4], np.float32)
    np.testing.assert_allclose(network(x), x * np.clip(x + 3, 0, 5.9) / 6, rtol=1e-6)


def layer_and(kind, shape, rng):
    """A model of a convolution followed by an operator with a constant, and that constant."""
    weight, constant = (rng.standard_normal(of, np.float32) for of in ((4, 2, 3, 3), shape))
    nodes = helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node(kind, ["c", "t"], ["y"])
    return model_of(*nodes, constants={"w": weight, "t": constant}.items()), weight, constant


BY_KIND = {"Add": np.add, "Mul": np.multiply, "Div": np.divide}


@pytest.mark.parametrize("kind", BY_KIND)
@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1), (1, 4, 1, 1), (1, 1, 1, 1)], ids=str)
def test_constants_per_channel_go_into_weights(kind, shape):
    rng = np.random.default_rng(5)
    model, weight, constant = layer_and(kind, shape, rng)
    (node,) = load(model).nodes
    assert node.function is nn.conv2d
    x = rng.standard_normal((1, 2, 6, 7), np.float32)
    expected = BY_KIND[kind](nn.conv2d(x, weight), constant)
    np.testing.assert_allclose(node.called({"x": x}), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", BY_KIND)
@pytest.mark.parametrize("shape", [(4,), (1, 1, 4), (2, 4, 1, 1), (4, 4, 4)], ids=str)
def test_other_constants_do_not(kind, shape):
    rng = np.random.default_rng(6)
    model, weight, constant = layer_and(kind, shape, rng)
    network = load(model)
    assert len(network.nodes) == 2
    x = rng.standard_normal((1, 2, 6, 6), np.float32)
    expected = BY_KIND[kind](nn.conv2d(x, weight), constant)
    np.testing.assert_allclose(network(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["Mul", "Div"])
def test_constants_that_are_not_finite_do_not(kind):
    model, _, constant = layer_and(kind, (), np.random.default_rng(7))
    value = np.full_like(constant, 0 if kind == "Div" else np.inf)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(value, "t"))
    assert len(load(model).nodes) == 2


def test_what_depends_on_shapes_is_computed_once_per_shape():
    """A flattened tail: Shape, Gather, Concat and Reshape; only the last is left to run."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["r", "wanted"], ["y"]),
    ]
    constants = {"zero": np.array([0]), "rest": np.array([-1])}
    program = load(model_of(*nodes, constants=constants.items())).prepare()
    for shape in ((2, 3, 4), (5, 6), (2, 3, 4), (4, 1, 1, 2)):
        x = np.random.default_rng(7).standard_normal(shape, np.float32)
        for _ in range(2):
            np.testing.assert_array_equal(program(x), np.maximum(x, 0).reshape(len(x), -1))
        assert [step.node.name for step in program.layout(shape).steps] == ["r", "y"]
        assert str(program.profile(x)).count("\n") == 3
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(program))(x), program(x))


def one_node(kind, inputs, types, attributes=None, outputs=("y",)):
    """A model of one node: names of its inputs with their shapes, as ONNX's types, and constants."""
    graph = helper.make_graph(
        [helper.make_node(kind, list(inputs), list(outputs), **(attributes or {}))],
        kind,
        [helper.make_tensor_value_info(name, *types[name]) for name, value in inputs.items() if value is None],
        [helper.make_tensor_value_info(name, *types[name]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in inputs.items() if value is not None],
    )
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def integer_sums(x, weight, stride):
    """The convolution of whole numbers, term by term."""
    _, _, kh, kw = weight.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,mcij->nmhw", windows.astype(np.int64), weight.astype(np.int64))


@pytest.mark.parametrize("channels", [3, 700])  # whose sums are exact in float32, and beyond that
@pytest.mark.parametrize(("x_type", "weight_type"), [("u1", "u1"), ("u1", "i1"), ("i1", "i1")])
def test_convolutions_of_integers_are_exact(channels, x_type, weight_type):
    rng = np.random.default_rng(channels)
    limits = [np.iinfo(of) for of in (x_type, weight_type)]
    x = rng.integers(limits[0].min, limits[0].max + 1, (2, channels, 7, 6)).astype(x_type)
    weight = rng.integers(limits[1].min, limits[1].max + 1, (4, channels, 3, 2)).astype(weight_type)
    x[0], weight[0] = limits[0].max, limits[1].max  # the largest sums
    zeros = [np.array(limits[0].min + 1, x_type), np.array(limits[1].min + 2, weight_type)]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(x_type))
    expected = integer_sums(x.astype(int) - int(zeros[0]), weight.astype(int) - int(zeros[1]), 2)
    network = one_node(
        "ConvInteger",
        {"x": None, "w": weight, "x zero": zeros[0], "w zero": zeros[1]},
        {"x": (element, x.shape), "y": (TensorProto.INT32, None)},
        {"strides": [2, 2]},
    )
    for _ in range(2):
        result = network.prepare()(x)
        assert result.dtype == np.int32
        np.testing.assert_array_equal(result, expected)
    scales = [np.float32(0.02), np.linspace(0.01, 0.03, 4, dtype=np.float32), np.float32(expected.std() * 4e-4 / 50)]
    bias = rng.integers(-1000, 1000, 4).astype(np.int32)
    inputs = {"x": None, "x scale": np.array(scales[0]), "x zero": zeros[0], "w": weight, "w scale": scales[1]}
    inputs |= {"w zero": zeros[1], "scale": np.array(scales[2]), "zero": np.array(3, x_type), "bias": bias}
    network = one_node("QLinearConv", inputs, {"x": (element, x.shape), "y": (element, None)}, {"strides": [2, 2]})
    real = (expected + bias[:, None, None]) * (np.float64(scales[0]) * scales[1][:, None, None]) / np.float64(scales[2])
    wanted = np.clip(np.rint(real) + 3, limits[0].min, limits[0].max)
    np.testing.assert_array_equal(network.prepare()(x), wanted.astype(x_type))


@pytest.mark.parametrize("element", [TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT4])
def test_quantised_values_are_within_half_a_step(element):
    x = np.random.default_rng(1).uniform(-2, 2, (3, 5)).astype(np.float32)
    scale, zero = np.array([0.5, 0.25, 0.75], np.float32), np.array([4, 5, 3])
    network = fastconv.Network()
    options = {"number": element, "axis": 0, "block": 0, "saturate": True}
    stored = network.call(quantised.quantised, network.input(), scale, zero, **options)
    network.output(stored, network.call(quantised.dequantised, stored, scale, zero.astype("u1"), axis=0, block=0))
    integers, again = network(x)
    low, high = (-8, 7) if element == TensorProto.INT4 else (np.iinfo(integers.dtype).min, np.iinfo(integers.dtype).max)
    assert low <= integers.min()
    assert integers.max() <= high
    inside = (integers > low) & (integers < high)
    assert (np.abs(again - x) <= scale[:, None] / 2 + 1e-6)[inside].all()


def test_half_precision_is_computed_in_float32():
    rng = np.random.default_rng(2)
    x, weight = rng.standard_normal((2, 8, 9, 9)).astype("f2"), rng.standard_normal((4, 8, 3, 3)).astype("f2")
    network = one_node(
        "Conv", {"x": None, "w": weight}, {"x": (TensorProto.FLOAT16, x.shape), "y": (TensorProto.FLOAT16, None)}
    )
    program = network.prepare()
    for _ in range(3):
        result = program(x)
        assert result.dtype == np.float16
        expected = fastconv.conv2d(x.astype("f8"), weight.astype("f8"))
        np.testing.assert_allclose(result.astype("f8"), expected, rtol=2**-11, atol=1e-5)


@pytest.mark.parametrize("k", [0, 1, 4])
@pytest.mark.parametrize("largest", [0, 1])
def test_the_first_of_equals_are_the_top(k, largest):
    x = np.random.default_rng(3).integers(0, 3, (2, 4, 3)).astype(np.float32)
    found = arrays.top_places(x, k, 1, largest)
    expected = sorted(range(4), key=lambda at: ((-1) ** largest * x[1, at, 2], at))[:k]
    assert found[1, :, 2].tolist() == expected
    with pytest.raises(fastconv.GeometryError, match="k=5"):
        arrays.top_places(x, 5, 1, largest)
