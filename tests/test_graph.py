"""Networks as graphs, their programs, and the memory that results share."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import nn
from fastconv.graph import program as program_module
from fastconv.graph.rewriting import rewritten
from fastconv.kernels.lifetimes import ALIGNMENT, Storage, offsets_in_block

F4 = np.float32
RNG = np.random.default_rng(7)


def weights(*shape, dtype=F4):
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(dtype)


def norm_of(channels, dtype=F4):
    mean, scale, shift = (RNG.standard_normal(channels).astype(dtype) for _ in range(3))
    return mean, RNG.random(channels).astype(dtype) + F4(0.5), scale, shift


def branching(dtype=F4):
    """Normalisation, activations, a concatenation, a residual sum, dropout, pools, a product and a softmax."""
    network = fastconv.Network("branching")
    x = network.input("image")
    x = network.call(nn.conv2d, x, weights(8, 3, 3, 3, dtype=dtype), padding=1)
    x = network.call(nn.batch_norm, x, *norm_of(8, dtype))
    x = network.call(nn.relu, x)
    one = network.call(nn.relu, network.call(nn.conv2d, x, weights(8, 8, 1, 1, dtype=dtype)))
    two = network.call(nn.leaky_relu, network.call(nn.conv2d, x, weights(8, 8, 3, 3, dtype=dtype), padding=1), 0.2)
    both = network.call(nn.cat, [one, two], dim=1)
    x = network.call(nn.conv2d, both, weights(16, 16, 3, 3, dtype=dtype), weights(16, dtype=dtype), padding=1)
    x = network.call(nn.relu, network.call(nn.add, x, both))
    x = network.call(nn.dropout, network.call(nn.max_pool2d, x, 2), training=False)
    x = network.call(nn.linear, network.call(nn.flatten, x, 1), weights(10, 16 * 6 * 6, dtype=dtype))
    network.output(network.call(nn.softmax, x, 1))
    return network


def images(*shape, dtype=F4):
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("batch", [1, 3])
def test_programs_compute_what_networks_do(dtype, batch):
    network = branching(dtype)
    program = network.prepare()
    close = {"rtol": 0, "atol": 20 * np.finfo(dtype).eps}
    for _ in range(5):  # node by node, within one block, and again
        x = images(batch, 3, 12, 12, dtype=dtype)
        np.testing.assert_allclose(program(x), network(x), **close)
        out = np.empty((batch, 10), dtype)
        assert program(x, out=out) is out
        np.testing.assert_allclose(out, network(x), **close)


def test_networks_compute_what_their_functions_do():
    network = fastconv.Network()
    x = network.input()
    kernel = weights(4, 3, 3, 3)
    network.output(network.call(nn.avg_pool2d, network.call(nn.tanh, network.call(nn.conv2d, x, kernel)), 2))
    image = images(2, 3, 10, 10)
    np.testing.assert_array_equal(network(image), nn.avg_pool2d(nn.tanh(nn.conv2d(image, kernel)), 2))


def test_fewer_nodes_are_left():
    network = branching()
    left = " ".join(node.name for node in rewritten(network.nodes, network.outputs).nodes)
    assert left == ("relu_1 relu_2 leaky_relu_1 cat_1 conv2d_4 relu_3 max_pool2d_1 flatten_1 linear_1 softmax_1")


def test_what_others_read_stays():
    """A convolution whose result is returned or read twice keeps its own node."""
    network = fastconv.Network()
    plain = network.call(nn.conv2d, network.input(), weights(4, 3, 3, 3))
    network.output(plain, network.call(nn.relu, plain))
    image = images(1, 3, 8, 8)
    program = network.prepare()
    for _ in range(3):
        linear, rectified = program(image)
        np.testing.assert_array_equal(rectified, np.maximum(linear, 0))
        assert linear.min() < 0


def test_arguments_have_torch_names_too():
    network = fastconv.Network()
    x = network.call(nn.conv2d, input=network.input(), weight=weights(4, 3, 3, 3))
    network.output(network.call(nn.relu, input=x, name="only"))
    program, image = network.prepare(), images(1, 3, 8, 8)
    assert [step.node.name for step in program.layout(image.shape).steps] == ["only"]
    np.testing.assert_allclose(program(image), network(image), atol=1e-6)


def test_training_is_not_folded():
    network = fastconv.Network()
    x = network.call(nn.conv2d, network.input(), weights(4, 3, 3, 3))
    network.output(network.call(nn.batch_norm, x, None, None, training=True))
    image = images(2, 3, 8, 8)
    np.testing.assert_allclose(network.prepare()(image), network(image), atol=1e-5)


def test_dropout_at_test_time_scales():
    network = fastconv.Network()
    network.output(network.call(nn.dropout, network.input(), 0.25, scale_at="test", name="dropped"))
    np.testing.assert_allclose(network.prepare()(np.ones(8, F4)), 0.75)


def test_concatenations_are_not_copied():
    layout = branching().prepare().layout((1, 3, 12, 12))
    assert [step.node.name for step in layout.steps if not step.calls] == ["cat_1"]
    assert not [step for step in branching().prepare().layout((2, 3, 12, 12)).steps if not step.calls]


def test_memory_is_shared():
    """A chain needs the memory of two neighbours, however long it is."""
    network = fastconv.Network()
    x, kernel = network.input(), weights(3, 3, 3, 3)
    for _ in range(10):
        x = network.call(nn.conv2d, x, kernel, padding=1)
    network.output(x)
    assert network.prepare().layout((1, 3, 16, 16)).nbytes == 2 * 3 * 16 * 16 * 4


def test_large_batches_are_computed_image_by_image(monkeypatch):
    """In the memory of one image, and to the same bits; what follows a product takes the batch as a whole."""
    network = branching()
    several = images(5, 3, 12, 12)
    expected = network.prepare()(several)
    monkeypatch.setattr(program_module, "_CACHED", 1)
    with fastconv.num_threads(1):
        program = network.prepare()
        head, tail = program._halves
        for _ in range(4):
            np.testing.assert_array_equal(program(several), expected)
            out = np.empty_like(expected)
            assert program(several, out=out) is out
            np.testing.assert_array_equal(out, expected)
        assert list(head._layouts) == [(((1, 3, 12, 12), np.dtype(F4)),)]
        assert list(tail._layouts) == [(((5, 16, 6, 6), np.dtype(F4)),)]
        assert program._calls.recordings == 2
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(program))(several), expected)


def test_small_programs_are_played_as_one_call():
    network = fastconv.Network()
    x = network.call(nn.conv2d, network.input(), weights(4, 3, 3, 3), strategy="implicit", activation="relu")
    x = network.call(nn.flatten, network.call(nn.max_pool2d, x, 2), 1)
    network.output(network.call(nn.linear, x, weights(5, 4 * 3 * 3)))
    program = network.prepare()
    for _ in range(4):
        image = images(1, 3, 8, 8)
        np.testing.assert_allclose(program(image), network(image), atol=1e-6)
    assert program._calls.recordings == 1


def test_functions_of_others_are_nodes_too():
    network = fastconv.Network()
    x = network.call(nn.relu, network.input())
    network.output(network.call(lambda x: x / max(x.max(), 1), x, name="scaled"))
    program = network.prepare()
    for largest in (4, 16, 2, 8):
        assert program(np.array([1, largest], F4)).tolist() == [1 / largest, 1]


def test_shapes_may_depend_on_values():
    network = fastconv.Network()
    x = network.call(lambda x: x[x > 0], network.input(), name="positive")
    network.output(network.call(nn.relu, network.call(nn.relu, x)))
    program = network.prepare()
    for image in ([1, -1, 2], [3, 1, 2], [1, 1, 1], [-1, -1, 5]):
        assert program(np.array(image, F4)).tolist() == [value for value in image if value > 0]


def test_results_are_new():
    network = fastconv.Network()
    x = network.input()
    network.output(network.call(nn.flatten, x))
    program, image = network.prepare(), images(2, 3)
    first = [program(image) for _ in range(4)]
    network = branching()
    program = network.prepare()
    first = [program(images(1, 3, 12, 12)) for _ in range(5)]
    assert not any(np.may_share_memory(one, other) for at, one in enumerate(first) for other in first[:at])


def test_pickles():
    program = branching().prepare()
    image = images(1, 3, 12, 12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(program))(image), program(image))


def test_threads_share_a_program():
    program = branching().prepare()
    several = [images(1, 3, 12, 12) for _ in range(8)] * 8
    expected = [program(image).tobytes() for image in several]
    with ThreadPoolExecutor(4) as pool:
        assert [result.tobytes() for result in pool.map(program, several)] == expected


def test_profiles():
    profile = branching().prepare().profile(images(1, 3, 12, 12))
    assert [row.name for row in profile.rows][-1] == "softmax_1"
    assert "winograd" in str(profile) or "indirect" in str(profile)
    assert all(row.seconds > 0 for row in profile.rows)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda n: n.call(3, n.input()), TypeError, "function=3"),
        (lambda n: n.call(nn.relu, fastconv.Network().input("y")), ValueError, "y"),
        (lambda n: [n.input("x"), n.input("x")], ValueError, "name='x'"),
        (lambda n: n.output(np.ones(3)), ValueError, "expected a value of this network"),
        (lambda n: n.prepare(), ValueError, "no outputs"),
        (lambda n: [n.output(n.input()), n()], TypeError, "0 images: expected 1: x"),
        (lambda n: [n.output(n.call(len, n.input())), n.prepare()(np.ones(3))], TypeError, "len_1 returned int"),
    ],
)
def test_errors(build, error, message):
    with pytest.raises(error, match=message):
        build(fastconv.Network())


def test_wrong_results_are_refused():
    program = branching().prepare()
    image = images(1, 3, 12, 12)
    for _ in range(3):
        with pytest.raises(fastconv.GeometryError, match="out of shape"):
            program(image, out=np.empty((1, 9), F4))
        with pytest.raises(TypeError, match="out of dtype"):
            program(image, out=np.empty((1, 10)))


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(0, 8)), max_size=30))
def test_storages_that_live_together_lie_apart(drawn):
    storages = {str(at): Storage(size, first, first + length) for at, (size, first, length) in enumerate(drawn)}
    offsets, nbytes = offsets_in_block(storages)
    for name, storage in storages.items():
        assert offsets[name] % ALIGNMENT == 0
        assert offsets[name] + storage.nbytes <= nbytes
        for other, of in storages.items():
            if other != name and storage.meets(of):
                assert offsets[name] + storage.nbytes <= offsets[other] or offsets[other] + of.nbytes <= offsets[name]


@pytest.mark.parametrize("activation", [None, "relu", ("leaky_relu", 0.1)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("over", [None, 0, 1])
def test_sums(activation, dtype, over):
    x, other = images(3, 5001, dtype=dtype), images(3, 5001, dtype=dtype)
    expected = x + other
    if activation is not None:
        slope = 0 if activation == "relu" else 0.1
        expected = np.where(expected < 0, expected * np.dtype(dtype).type(slope), expected)
    out = None if over is None else (x, other)[over]
    result = nn.add(x, other, activation=activation, out=out)
    assert out is None or result is out
    np.testing.assert_array_equal(result, expected)


def test_sums_of_what_is_not_contiguous():
    x, other = images(4, 6)[:, ::2], images(3, 4).T
    np.testing.assert_array_equal(nn.add(x, other), x + other)
    base = images(10)
    expected = base[:-1] + base[1:]
    np.testing.assert_array_equal(nn.add(base[:-1], base[1:], out=base[1:]), expected)
    with pytest.raises(fastconv.GeometryError, match=r"expected the same"):
        nn.add(x, other[:2])
    np.testing.assert_array_equal(nn.add(x, x[:1], activation="relu"), np.maximum(x + x[:1], 0))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_concatenations(dim):
    arrays = [images(2, 3), images(2, 3), images(2, 3)]
    np.testing.assert_array_equal(nn.cat(arrays, dim), np.concatenate(arrays, dim))
    whole = images(6, 9)
    out = whole[: 6 if dim == 0 else 2, : 3 if dim == 0 else 9]
    assert nn.cat(arrays, dim, out=out) is out
    np.testing.assert_array_equal(out, np.concatenate(arrays, dim))


def test_wrong_concatenations():
    with pytest.raises(fastconv.GeometryError, match=r"tensors\[1\] of shape \(3, 3\)"):
        nn.cat([np.ones((2, 3)), np.ones((3, 3))], 1)
    with pytest.raises(fastconv.GeometryError, match="at least one"):
        nn.cat([])
    with pytest.raises(fastconv.GeometryError, match="end_dim"):
        nn.flatten(np.ones((2, 3)), 1, 0)


POOLS = [
    (nn.max_pool2d, (2,)),
    (nn.avg_pool2d, (3, 1, 1)),
    (nn.adaptive_avg_pool2d, (3,)),
    (nn.adaptive_max_pool2d, (3,)),
    (nn.global_avg_pool2d, ()),
    (nn.global_max_pool2d, ()),
]


@pytest.mark.parametrize(("pool", "arguments"), POOLS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("channels_last", [False, True])
def test_pools_store_into_out(pool, arguments, channels_last):
    x = images(2, 4, 9, 9)
    if channels_last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    for _ in range(4):
        x += 1
        expected = pool(x, *arguments)
        out = np.full(expected.shape, np.nan, F4)
        assert pool(x, *arguments, out=out) is out
        np.testing.assert_array_equal(out, expected)
        wide = np.full((*expected.shape[:-1], 2 * expected.shape[-1]), np.nan, F4)
        assert pool(x, *arguments, out=wide[..., ::2]) is not None
        np.testing.assert_array_equal(wide[..., ::2], expected)
        assert np.isnan(wide[..., 1::2]).all()
    with pytest.raises(fastconv.GeometryError, match="out of shape"):
        pool(x, *arguments, out=np.empty((1, 1, 1, 1), F4))
