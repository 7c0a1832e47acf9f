"""The classical networks, built of real layers."""

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.networks import NETWORKS, build

# Those that are small enough to run in a test, and between them have every kind of layer.
RUN = ("lenet5", "googlenet", "resnet18")


def _image(name, batch=1, dtype=np.float32):
    layer = NETWORKS[name]().layers[0].geometry
    return np.random.default_rng(0).random((batch, layer.ic, *layer.extent)).astype(dtype)


@pytest.mark.parametrize("name", RUN)
def test_programs_agree_with_float64(name):
    network, exact = build(name), build(name, dtype=np.float64, rng=0)
    for node, of in zip(exact.nodes, network.nodes, strict=True):
        for argument, given in zip(node.arguments, of.arguments, strict=True):
            if isinstance(argument, np.ndarray):
                argument[...] = given  # the same weights
    program, image = network.prepare(), _image(name)
    expected = exact.prepare()(image.astype(np.float64))
    for _ in range(3):
        np.testing.assert_allclose(program(image), expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_described_layers_are_the_built_ones(name, monkeypatch):
    """Weights of no size in memory, so that all can be built."""
    from fastconv.networks.writing import Building

    monkeypatch.setattr(Building, "_weight", lambda self, *shape: np.broadcast_to(self._dtype.type(0), shape))
    weights = {
        node.name: node.arguments[1].shape for node in build(name).nodes if node.function in (nn.conv2d, nn.linear)
    }
    described = {layer.name: layer.geometry for layer in NETWORKS[name]().layers if hasattr(layer.geometry, "ic")}
    assert weights.keys() == described.keys()
    for layer, shape in weights.items():
        assert np.prod(shape) == np.prod(described[layer].weight_shape)


def test_dense_evaluation_averages_classes():
    network, dense = build("lenet5"), build("lenet5", dense=True)
    image = _image("lenet5", 2)
    np.testing.assert_allclose(dense(image), network(image), rtol=1e-5)
    larger = np.random.default_rng(1).random((1, 1, 44, 52)).astype(np.float32)
    arrays = {"image": larger}
    for node in dense.nodes:
        arrays[node.name] = node.called(arrays)
    assert arrays["fc5"].shape == (1, 10, 5, 7)
    expected = nn.softmax(arrays["fc5"].mean((2, 3)), 1)
    np.testing.assert_allclose(dense.prepare()(larger), expected, rtol=1e-5)


def test_seeds():
    image = _image("lenet5")
    np.testing.assert_array_equal(build("lenet5", rng=3)(image), build("lenet5", rng=3)(image))
    assert (build("lenet5", rng=3)(image) != build("lenet5", rng=4)(image)).any()


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="name='vgg': expected one of lenet5"):
        fastconv.networks.build("vgg")
