"""The classical networks, built of real layers."""

import numpy as np
import pytest
from scipy import stats

import fastconv
from fastconv import nn
from fastconv.networks import NETWORKS, VGG_START, averaged, build, crops, initial_weight, mirrored, weights

# Those that are small enough to run in a test, and between them have every kind of layer.
RUN = ("lenet5", "googlenet", "resnet18", "squeezenet", "mobilenet_v2")


def _image(name, batch=1, dtype=np.float32):
    layer = NETWORKS[name]().layers[0].geometry
    return np.random.default_rng(0).random((batch, layer.ic, *layer.extent)).astype(dtype)


def without_memory(monkeypatch):
    """Let weights have no size in memory, so that all networks can be built."""
    monkeypatch.setattr(
        fastconv.networks, "initial_weight", lambda shape, dtype, **options: np.broadcast_to(dtype.type(0), shape)
    )


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
    without_memory(monkeypatch)
    weights = {
        node.name: node.arguments[1].shape for node in build(name).nodes if node.function in (nn.conv2d, nn.linear)
    }
    described = {layer.name: layer.geometry for layer in NETWORKS[name]().layers if hasattr(layer.geometry, "ic")}
    assert weights.keys() == described.keys()
    for layer, shape in weights.items():
        assert np.prod(shape) == np.prod(described[layer].weight_shape)


def test_lenet5_of_the_paper():
    network, described = build("lenet5_partial"), NETWORKS["lenet5_partial"]()
    parameters = {layer.name: layer.parameters for layer in described.layers}
    # LeCun et al. 1998, II.B: 156, 1516, 48120 and 10164.
    parts = sum(parameters[f"conv2 part {number}"] for number in (1, 2, 3, 4))
    assert (parameters["conv1"], parts, parameters["conv3"], parameters["fc4"]) == (156, 1516, 48120, 10164)
    # Each map of C3 depends on those maps of S2 that table I lists, by columns 0 to 15.
    table = ("012", "123", "234", "345", "450", "501", "0123", "1234", "2345", "3450", "4501", "5012", "0134", "1245")
    table += ("0235", "012345")
    maps = np.random.default_rng(0).standard_normal((1, 6, 14, 14)).astype(np.float32)
    nodes = [node for node in network.nodes if node.name.startswith("conv2")]

    def c3(maps):
        arrays = {"pool1": maps}
        for node in nodes:
            arrays[node.name] = node.called(arrays)
        return arrays["conv2"]

    for channel in range(6):
        changed = maps.copy()
        changed[:, channel] += 1
        differs = (c3(changed) != c3(maps)).any((0, 2, 3))
        # A rectifier may hide what changes, but nothing else may change.
        reads = np.array([str(channel) in column for column in table])
        assert not differs[~reads].any()
        assert differs[reads].mean() > 0.8


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


def test_given_weights_make_the_same_network_with_and_without_dense():
    network, image = build("lenet5", rng=1), _image("lenet5", 3)
    same = build("lenet5", given=weights(network))
    np.testing.assert_array_equal(same(image), network(image))
    dense = build("lenet5", dense=True, given=weights(network))
    np.testing.assert_allclose(dense(image), network(image), rtol=1e-5)
    back = build("lenet5", given=weights(dense))
    np.testing.assert_array_equal(back(image), network(image))
    for arrays, originals in zip(weights(same).values(), weights(network).values(), strict=True):
        assert not any(np.shares_memory(*pair) for pair in zip(arrays, originals, strict=True))


def test_selections_are_no_weights():
    network = build("lenet5_partial", rng=1)
    taken = weights(network)
    assert [name for name in taken if name.startswith("conv2")] == [f"conv2 part {number}" for number in range(1, 5)]
    image = _image("lenet5", 3)
    np.testing.assert_array_equal(build("lenet5_partial", given=taken)(image), network(image))


def test_given_normalisations():
    network = build("resnet18", rng=1)
    rng, name = np.random.default_rng(0), "conv2_1 first norm"
    arrays = tuple(rng.random(64, np.float32) for _ in range(4))
    taken = weights(build("resnet18", given={name: arrays}))[name]
    np.testing.assert_array_equal(taken, arrays)
    assert taken[0].dtype == np.float32
    assert len(weights(network)) == 41  # 20 convolutions with a normalisation each, and the full connection


@pytest.mark.parametrize("name", ["vgg13", "vgg16_c", "vgg16", "vgg19"])
def test_deeper_vggs_begin_as_a(name, monkeypatch):
    without_memory(monkeypatch)
    a = {layer: list(arrays) for layer, arrays in weights(build("vgg11"), VGG_START).items()}
    for number, layer in enumerate(VGG_START[:4], 1):
        a[layer][0] = np.full(a[layer][0].shape, number, np.float32)
    for layer in VGG_START[4:]:
        a[layer] = [np.zeros(2, np.float32)]  # refused, so taken
        with pytest.raises(fastconv.GeometryError, match=rf"given\['{layer}'\]: arrays \(2,\), expected \(\d+, \d+\)"):
            build(name, given=a)
        del a[layer]
    built = weights(build(name, given=a))
    same = [layer for layer, arrays in built.items() if arrays[0].any()]
    assert same == list(VGG_START[:4])
    assert [built[layer][0].flat[0] for layer in same] == [1, 2, 3, 4]


def test_wrong_given_weights_are_refused():
    with pytest.raises(ValueError, match="given: LeNet-5 has no layer 'conv9'"):
        build("lenet5", given={"conv9": ()})
    with pytest.raises(fastconv.GeometryError, match=r"given\['conv1'\]: arrays \(6, 1, 5, 5\), expected .*, \(6,\)"):
        build("lenet5", given={"conv1": (np.zeros((6, 1, 5, 5)),)})
    with pytest.raises(fastconv.GeometryError, match=r"given\['conv1'\]: arrays \(6, 1, 5, 5\), \(\), expected"):
        build("lenet5", given={"conv1": (np.zeros((6, 1, 5, 5)), 1.0)})
    with pytest.raises(ValueError, match="layers: 'pool1' is no layer of 'LeNet-5' that has arrays"):
        weights(build("lenet5"), ["pool1"])


def test_auxiliary_classifiers():
    network = build("googlenet_auxiliary", rng=0)
    image = _image("googlenet_auxiliary")
    main, first, second = network.prepare()(image)
    plain = build("googlenet", given={k: v for k, v in weights(network).items() if not k.startswith("auxiliary")})
    np.testing.assert_allclose(main, plain.prepare()(image), rtol=1e-5)
    for probabilities in (first, second):
        assert probabilities.shape == (1, 1000)
        assert probabilities.sum() == pytest.approx(1, rel=1e-5)
    # Szegedy et al.: mean of 5×5 at stride 3, 128 filters of 1×1, 1024 units, 1000 classes, on 4a (512) and 4d (528).
    heads = sum((channels + 1) * 128 + (4 * 4 * 128 + 1) * 1024 + 1025 * 1000 for channels in (512, 528))
    assert NETWORKS["googlenet_auxiliary"]().parameters == NETWORKS["googlenet"]().parameters + heads
    rates = [node.arguments[1] for node in network.nodes if node.function is nn.dropout]
    assert rates == [0.7, 0.7, 0.4]
    dense = build("googlenet_auxiliary", dense=True, given=weights(network)).prepare()
    for ours, theirs in zip(dense(image), (main, first, second), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("initialiser", "distribution"),
    [
        ("he", stats.norm(scale=(2 / (32 * 9)) ** 0.5)),
        ("normal", stats.norm(scale=0.01)),
        ("lecun", stats.uniform(-2.4 / (32 * 9), 2 * 2.4 / (32 * 9))),
        ("glorot", stats.uniform(-((6 / (48 * 9)) ** 0.5), 2 * (6 / (48 * 9)) ** 0.5)),  # 32 inputs, 64 / 4 outputs
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_initial_weights_are_drawn_as_the_papers_say(initialiser, distribution, dtype):
    weight = initial_weight((64, 32, 3, 3), initialiser, groups=4, rng=7, dtype=dtype)
    assert weight.dtype == dtype
    # A fixed seed: the statistic of 18,432 right values exceeds 0.015 once in 2,000 seeds, wrong scales by far.
    assert stats.kstest(weight.ravel(), distribution.cdf).statistic < 0.015
    np.testing.assert_array_equal(weight, initial_weight((64, 32, 3, 3), initialiser, groups=4, rng=7, dtype=dtype))
    layer = weights(build("lenet5", rng=7, initialiser=initialiser, dtype=dtype))["conv1"][0]
    np.testing.assert_array_equal(layer, initial_weight((6, 1, 5, 5), initialiser, rng=7, dtype=dtype))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((4, 4), "xavier"), ValueError, "initialiser='xavier': expected one of he, glorot, lecun, normal"),
        (((4,),), ValueError, r"shape=\(4,\): expected \(filters, channels, ...\)"),
        (((4, 0),), ValueError, r"shape=\(4, 0\): expected"),
        (((4.5, 1),), ValueError, r"shape=\(4.5, 1\): expected a sequence of ints"),
    ],
)
def test_wrong_initial_weights_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        initial_weight(*arguments)
    with pytest.raises(fastconv.GeometryError, match="in 3 groups"):
        initial_weight((4, 4), groups=3)
    with pytest.raises(fastconv.GeometryError, match=r"groups=1\.5: expected an int of at least 1"):
        initial_weight((4, 4), groups=1.5)
    with pytest.raises(TypeError, match="expected float32 or float64"):
        initial_weight((4, 4), dtype=np.int32)


def test_ten_crops():
    images = np.random.default_rng(0).random((2, 3, 7, 9))
    corners = [
        (slice(0, 4), slice(0, 4)),
        (slice(0, 4), slice(5, 9)),
        (slice(3, 7), slice(0, 4)),
        (slice(3, 7), slice(5, 9)),
    ]
    expected = [images[:, :, rows, columns] for rows, columns in [*corners, (slice(1, 5), slice(2, 6))]]
    found = crops(images, 4)
    assert found.shape == (2, 10, 3, 4, 4)
    for view, part in enumerate(expected):
        np.testing.assert_array_equal(found[:, view], part)
        np.testing.assert_array_equal(found[:, view + 5], np.flip(part, 3))


def test_grids_of_crops():
    images = np.arange(256 * 300.0).reshape(1, 1, 256, 300)
    found = crops(images, 224, grid=5)
    assert found.shape == (1, 50, 1, 224, 224)
    starts = [row * 300 + column for row in (0, 8, 16, 24, 32) for column in (0, 19, 38, 57, 76)]
    np.testing.assert_array_equal(found[0, :25, 0, 0, 0], starts)
    np.testing.assert_array_equal(found[0, 25:, 0, 0, -1], starts)
    assert crops(images, (200, 300), grid=(3, 1)).shape == (1, 6, 1, 200, 300)
    np.testing.assert_array_equal(mirrored(images)[:, 1], np.fliplr(images[0, 0])[None, None])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda images: crops(images[0], 2), r"images: an array of shape \(1, 4, 4\), expected \(N, C, H, W\)"),
        (lambda images: crops(images, 5), "a window of 5: expected at most 4, the extent of the image"),
        (lambda images: crops(images, 0), "size=0: expected every value to be at least 1"),
        (lambda images: crops(images, 2, grid=0), "grid=0: expected every value to be at least 1"),
        (
            lambda images: crops(images, 2, grid=10**9),
            "grid=1000000000: expected at most the 3×3 places of parts of 2×2",
        ),
        (lambda images: crops(images, (4, 5), grid=1), "a window of 5: expected at most 4"),
        (lambda images: averaged([], images), "0 networks and 1 arrays of views"),
        (lambda images: averaged(np.sum, []), "1 networks and 0 arrays of views"),
        (lambda images: averaged(np.sum, images[0]), r"views: an array of shape \(1, 4, 4\)"),
        (lambda images: averaged(np.sum, [images, images[:1]]), "views of 2, 1 images: expected as many in each"),
        (lambda images: averaged([lambda x: x[:, 0, 0], lambda x: x[:, 0, :2, 0]], images), "results of shapes"),
    ],
)
def test_wrong_views_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((2, 1, 4, 4)))


def test_probabilities_are_averaged_over_views_scales_and_networks():
    """Every scale and every network counts as much as another, however many views there are of it."""
    rng = np.random.default_rng(0)
    networks = [build("lenet5", rng=seed, dense=True) for seed in range(2)]
    scales = [crops(rng.random((2, 1, 36, 40), np.float32), 32), rng.random((2, 1, 48, 48), np.float32)]
    ten = [[network(scales[0][:, view]) for view in range(10)] for network in networks]
    one = [network(scales[1]) for network in networks]
    expected = (np.mean(ten, (0, 1), np.float64) + np.mean(one, 0, np.float64)) / 2
    found = averaged(networks, scales)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(averaged([network.prepare() for network in networks], scales), expected, rtol=1e-5)
    # Averages of scores before the softmax are something else.
    np.testing.assert_allclose(averaged(networks[0], scales[1]), one[0], rtol=1e-12)


def test_only_the_first_output_is_averaged():
    result = averaged(lambda x: (x[:, 0, 0], x[:, 0, 1]), np.arange(4.0).reshape(1, 1, 2, 2))
    np.testing.assert_array_equal(result, [[0, 1]])
