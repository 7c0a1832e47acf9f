"""PreparedConv gives the bits of conv2d, from a weight prepared once, for any image and from any thread."""

import copy
import gc
import multiprocessing
import os
import pickle
import threading
import weakref

import numpy as np
import pytest

import fastconv
from cases import CASES, DTYPES, OF_3X3, normals, window
from fastconv import GeometryError, PreparedConv, UnsupportedError, prepare_conv2d
from fastconv.engine.convolution import BY_NAME
from fastconv.nn import prepared

F4, F8 = np.float32, np.float64

PLANAR = {name: g for name, g in CASES.items() if g.ndim == 2}
EVERY = pytest.mark.parametrize("strategy", [strategy.name for strategy in OF_3X3])


def bits(array):
    return array.dtype.str, array.shape, array.tobytes()


def outcome(call, x):
    """The bits, or the error."""
    try:
        return bits(call(x))
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def problem(name="same", dtype="float32"):
    g = CASES[name]
    return *normals(g, dtype), np.linspace(-1, 1, g.oc).astype(dtype), window(g)


# Results


@EVERY
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_those_of_conv2d(strategy, dtype):
    able = [name for name, g in PLANAR.items() if BY_NAME[strategy].refuse(g, np.dtype(dtype)) is None]
    assert able
    for name in able:
        x, weight, bias, options = problem(name, dtype)
        options |= {"activation": ("leaky_relu", 0.25), "strategy": strategy}
        made = prepare_conv2d(weight, bias, **options)
        for image in (x, x, x[:, :, ::-1], np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)):
            assert bits(made(image)) == bits(fastconv.conv2d(image, weight, bias, **options)), name


@EVERY
def test_images_of_any_extent_in_any_order(strategy):
    _, weight, bias, options = problem("groups")
    made = prepare_conv2d(weight, bias, **options, strategy=strategy)
    rng = np.random.default_rng(0)
    images = [
        rng.standard_normal(s).astype(F4) for s in ((2, 4, 8, 9), (4, 8, 9), (1, 4, 1, 1), (4, 1, 70), (0, 4, 5, 5))
    ]
    for x in (*images, *reversed(images)):
        assert bits(made(x)) == bits(fastconv.conv2d(x, weight, bias, **options, strategy=strategy))


def test_auto_may_choose_another_strategy_for_every_image():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1, 1, 31, 31)).astype(F4)
    made = prepare_conv2d(weight, padding="same")
    chosen = {}
    for extent in (3, 256):
        x = rng.standard_normal((1, extent, extent)).astype(F4)
        chosen[extent] = made.plan(x.shape).strategy.name
        expected = fastconv.conv2d(x, weight, padding="same", strategy=chosen[extent])
        assert bits(made(x)) == bits(expected)
    assert len(set(chosen.values())) == 2
    assert all(f"float32 for {name}" in repr(made) for name in chosen.values())


@pytest.mark.parametrize("padding", ["same", "valid", 2, (2, 1), [[0, 2], [3, 1]]])
def test_padding_is_that_of_conv2d(padding):
    x, weight, bias, _ = problem()
    made = prepare_conv2d(weight, bias, padding=padding, dilation=2, strategy="implicit")
    expected = fastconv.conv2d(x, weight, bias, padding=padding, dilation=2, strategy="implicit")
    assert bits(made(x)) == bits(expected)


@pytest.mark.parametrize("weight_type", ["f4", "f8", ">f4", "f2", "i1", "i4"])
@pytest.mark.parametrize("bias_type", [None, "f4", "f8", ">f4"])
def test_promotion_is_that_of_conv2d(weight_type, bias_type):
    rng = np.random.default_rng(0)
    weight = rng.integers(-4, 5, (3, 2, 3, 3)).astype(weight_type)
    bias = None if bias_type is None else np.arange(3).astype(bias_type)
    made = prepare_conv2d(weight, bias, strategy="implicit")
    for x_type in ("f4", "f8", "f4", ">f4", ">f8", "u1"):
        x = rng.integers(0, 9, (1, 2, 6, 7)).astype(x_type)
        expected = outcome(lambda x: fastconv.conv2d(x, weight, bias, strategy="implicit"), x)
        assert outcome(made, x) == expected


def test_lists_and_subclasses_are_arrays():
    made = prepare_conv2d([[[[-1.0, 1.0]]]], [0.5])
    assert made([[[1.0, 2.0, 4.0]]]).tolist() == [[[1.5, 2.5]]]

    class Labelled(np.ndarray):
        pass

    assert type(made(np.ones((1, 1, 3)).view(Labelled))) is np.ndarray


def test_number_of_threads_is_the_callers_or_its_own():
    g = fastconv.plan_conv2d((1, 64, 112, 112), (64, 64, 3, 3)).geometry
    _, weight = normals(g, "float32")
    with fastconv.num_threads(3):
        assert prepare_conv2d(weight).plan(g.x_shape).threads == 3
        assert prepare_conv2d(weight, num_threads=2).plan(g.x_shape).threads == 2


def test_plans_leave_the_preparation_out():
    _, weight, _, options = problem()
    plan = prepare_conv2d(weight, **options).plan((3, 9, 11), F8)
    assert plan.prepared
    assert plan.dtype == "float64"


# out=


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: np.full(shape, np.nan, F4),
        lambda shape: np.full((*shape[:-1], 2 * shape[-1]), np.nan, F4)[..., ::2],
        lambda shape: np.full(shape, np.nan, F4, order="F"),
    ],
    ids=["plain", "columns", "fortran"],
)
def test_out_is_filled_and_returned(make):
    x, weight, bias, options = problem()
    made = prepare_conv2d(weight, bias, **options, strategy="implicit")
    expected = fastconv.conv2d(x, weight, bias, **options, strategy="implicit")
    for image, result in ((x, expected), (x[0], expected[0])):
        out = make(result.shape)
        assert made(image, out) is out
        assert made(image, out=out) is out
        np.testing.assert_array_equal(out, result)


@EVERY
def test_out_may_overlap_the_image(strategy):
    x, weight, _, options = problem("depthwise")
    expected = prepare_conv2d(weight, **options, strategy=strategy)(x)
    assert bits(prepare_conv2d(weight, **options, strategy=strategy)(x, out=x)) == bits(expected)


def test_out_that_cannot_take_the_result():
    x, weight, bias, options = problem()
    made = prepare_conv2d(weight, bias, **options)
    frozen = made(x)
    frozen.flags.writeable = False
    for out in (np.empty((4, 9, 11), F4), np.empty((1, 4, 9, 11), F8), frozen, [1.0]):
        with pytest.raises((TypeError, ValueError)) as expected:
            fastconv.conv2d(x, weight, bias, **options, out=out)
        with pytest.raises(expected.type) as caught:
            made(x, out)
        assert str(caught.value) == str(expected.value)


# The weight, and what is held of it


@EVERY
def test_arrays_of_the_caller_may_change_afterwards(strategy):
    x, weight, bias, options = problem()
    expected = bits(fastconv.conv2d(x, weight, bias, **options, strategy=strategy))
    early, late = (prepare_conv2d(weight, bias, **options, strategy=strategy) for _ in range(2))
    assert bits(early(x)) == expected
    weight[...] = bias[...] = np.nan
    assert bits(early(x)) == bits(late(x)) == expected


def test_window_of_the_caller_may_change_afterwards():
    x, weight, _, _ = problem()
    stride, padding, activation = [1, 2], [[1, 1], [0, 2]], ["elu", 2.0]
    made = prepare_conv2d(weight, stride=stride, padding=padding, activation=activation, strategy="direct")
    expected = fastconv.conv2d(
        x, weight, stride=(1, 2), padding=((1, 1), (0, 2)), activation=("elu", 2.0), strategy="direct"
    )
    stride[0], padding[0][0], activation[1] = 3, 0, 0.5
    assert bits(made(x)) == bits(expected)
    assert bits(pickle.loads(pickle.dumps(made))(x)) == bits(expected)


def test_it_is_immutable():
    made = prepare_conv2d(problem()[1])
    with pytest.raises(AttributeError):
        made.nbytes = 0
    with pytest.raises(AttributeError):
        made.stride = 2


def test_read_only_and_memory_mapped_weights(tmp_path):
    x, weight, _, options = problem()
    np.save(tmp_path / "weight.npy", weight)
    mapped = np.load(tmp_path / "weight.npy", mmap_mode="r")
    expected = fastconv.conv2d(x, weight, **options, strategy="direct")
    assert bits(prepare_conv2d(mapped, **options, strategy="direct")(x)) == bits(expected)


def test_nbytes_counts_what_is_held():
    x, weight, bias, options = problem("plain")
    given = weight.nbytes + bias.nbytes
    direct = prepare_conv2d(weight, bias, **options, strategy="direct")
    assert direct.nbytes == given
    direct(x)
    assert direct.nbytes == given  # it reads the weight itself
    direct(x.astype(F8))
    assert direct.nbytes == 3 * given  # and copies of twice the width
    implicit = prepare_conv2d(weight, bias, **options, strategy="implicit")
    assert implicit.nbytes == given
    implicit(x)
    packed = implicit.nbytes - given
    assert packed >= weight.nbytes  # filters are padded to whole panels
    implicit(x[0])
    implicit(np.zeros((2, 3, 30, 40), F4))
    assert implicit.nbytes == given + packed
    implicit(x.astype(F8))
    assert implicit.nbytes == given + packed + 2 * packed + 2 * bias.nbytes


def test_memory_is_released_without_the_collector():
    x, weight, _, options = problem()
    made = prepare_conv2d(weight, **options)
    made(x)
    gc.disable()
    try:
        gone = weakref.ref(made._weight)
        del made
        assert gone() is None
    finally:
        gc.enable()


def test_ever_new_shapes_take_no_ever_new_memory(monkeypatch):
    monkeypatch.setattr(prepared, "_MOST_KNOWN", 4)
    _, weight, _, _ = problem()
    made = prepare_conv2d(weight, strategy="reference")
    for height in (*range(3, 12), *range(3, 6)):
        x = np.ones((3, height, 5), F4)
        np.testing.assert_array_equal(made(x), fastconv.conv2d(x, weight, strategy="reference"))
        assert len(made._known) <= 4


def test_repr_says_what_it_is():
    x, weight, bias, _ = problem()
    made = prepare_conv2d(weight, bias, padding=1, activation="relu", strategy="implicit", num_threads=2)
    for fact in ("ic3 oc4 kh3 kw3 s1 p1", "float32", "bias", "activation='relu'", "num_threads=2", "not yet called"):
        assert fact in repr(made)
    made(x)
    assert "float32 for implicit" in repr(made)
    assert "not yet called" not in repr(made)


# Threads and processes


@EVERY
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_share_one_and_race_for_the_first_use(strategy, dtype, monkeypatch):
    x, weight, bias, options = problem("groups", dtype)
    expected = bits(fastconv.conv2d(x, weight, bias, **options, strategy=strategy))
    prepare, calls = BY_NAME[strategy].prepare, []
    monkeypatch.setattr(BY_NAME[strategy], "prepare", lambda *a: calls.append(a) or prepare(*a))
    made = prepare_conv2d(weight, bias, **options, strategy=strategy)
    start, results = threading.Barrier(8), []

    def work():
        start.wait()
        results.extend(bits(made(x)) for _ in range(5))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [expected] * 40
    assert len(calls) == 1


def test_pickles_hold_the_weight_as_it_was_given():
    x, weight, bias, _ = problem("groups")
    options = {"stride": 2, "padding": "valid", "groups": 2, "activation": ("elu", 2.0), "strategy": "implicit"}
    made = prepare_conv2d(weight, bias, **options, tolerance=1e-4, num_threads=1)
    fresh = pickle.dumps(made)
    expected = bits(made(x))
    made(x.astype(F8))
    assert len(pickle.dumps(made)) == len(fresh) < weight.nbytes + 2000
    for twin in (pickle.loads(fresh), copy.copy(made), copy.deepcopy(made)):
        assert twin.nbytes == weight.nbytes + bias.nbytes
        assert bits(twin(x)) == expected
        assert repr(twin).split(";")[0] == repr(made).split(";")[0]


def call(made, x):
    """What a spawned process runs."""
    return made(x)


def test_pickles_reach_a_spawned_process():
    x, weight, bias, options = problem("groups")
    made = prepare_conv2d(weight, bias, **options, strategy="implicit")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert bits(pool.apply_async(call, (made, x)).get(60)) == bits(made(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_wait_for_its_parents_threads():
    x, weight, _, options = problem()
    made = prepare_conv2d(weight, **options, strategy="implicit")
    held, forked = threading.Event(), threading.Event()

    def hold():
        with prepared._preparing:
            held.set()
            forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(target=made, args=(x,))
    child.start()
    forked.set()
    child.join(20)
    finished = child.exitcode
    child.kill()
    holder.join()
    assert finished == 0


# Errors


@pytest.mark.parametrize(
    ("arguments", "error", "fault"),
    [
        ({"weight": np.ones((4, 3, 3), F4)}, GeometryError, "expected 4 axes"),
        ({"weight": np.ones((0, 3, 3, 3), F4)}, GeometryError, r"\(0, 3, 3, 3\): may not be empty"),
        ({"weight": np.ones((4, 3, 0, 3), F4)}, GeometryError, "empty"),
        ({"weight": np.broadcast_to(F4(1), (2**15,) * 4)}, GeometryError, "addresses"),
        ({"weight": np.ones((4, 3, 3, 3), "c8")}, TypeError, "weight complex64"),
        ({"weight": [["a"]]}, TypeError, "expected float32 or float64"),
        ({"weight": np.ma.ones((4, 3, 3, 3))}, TypeError, "weight is a masked array"),
        ({"bias": np.ones(3, F4)}, GeometryError, r"bias of shape \(3,\): expected \(4,\)"),
        ({"bias": np.ones(4, "c8")}, TypeError, "bias complex64"),
        ({"bias": np.ma.ones(4)}, TypeError, "bias is a masked array"),
        ({"groups": 3}, GeometryError, "groups=3: does not divide 4 output"),
        ({"groups": 0}, GeometryError, "groups=0"),
        ({"groups": 2**70}, GeometryError, "groups"),
        ({"stride": 0}, GeometryError, "stride=0"),
        ({"stride": 1.5}, GeometryError, "stride=1.5"),
        ({"stride": (1, 1, 1)}, GeometryError, "stride="),
        ({"dilation": 2**62}, GeometryError, "addresses"),
        ({"padding": -1}, GeometryError, "padding=-1"),
        ({"padding": 2**63}, GeometryError, "addresses"),
        ({"padding": "full"}, GeometryError, "padding='full'"),
        ({"padding": "same", "stride": 2}, GeometryError, "stride 1"),
        ({"activation": "magic"}, ValueError, "activation='magic'"),
        ({"strategy": "magic"}, ValueError, "strategy='magic'"),
        ({"strategy": []}, ValueError, r"strategy=\[\]"),
        ({"tolerance": -1}, ValueError, "tolerance=-1"),
        ({"tolerance": "tight"}, ValueError, "tolerance='tight'"),
        ({"num_threads": 0}, ValueError, "num_threads=0"),
        ({"num_threads": True}, ValueError, "num_threads=True"),
    ],
)
def test_errors_come_before_the_first_call(arguments, error, fault):
    with pytest.raises(error, match=fault):
        prepare_conv2d(**{"weight": np.ones((4, 3, 3, 3), F4), **arguments})


@pytest.mark.parametrize(
    "x",
    [
        np.ones((1, 4, 9, 9), F4),
        np.ones((1, 3, 9), F4),
        np.ones((3, 9), F4),
        np.ones((1, 1, 3, 9, 9), F4),
        np.ones((1, 3, 0, 9), F4),
        np.ones((1, 3, 2, 9), F4),
        np.ones((1, 3, 9, 9), "c8"),
        np.ones((1, 3, 9, 9), object),
        np.ma.ones((1, 3, 9, 9), F4),
        [[1.0], [1.0, 2.0]],
        "image",
        None,
    ],
    ids=lambda x: f"{getattr(x, 'dtype', '')}{getattr(x, 'shape', x)}",
)
def test_errors_of_calls_are_those_of_conv2d(x):
    weight = np.ones((4, 3, 3, 3), F4)
    made = prepare_conv2d(weight)
    expected = outcome(lambda x: fastconv.conv2d(x, weight), x)
    assert issubclass(expected[0], Exception)
    assert outcome(made, x) == outcome(made, x) == expected


def test_a_named_strategy_refuses_at_the_call_that_it_cannot_do():
    made = prepare_conv2d(np.ones((4, 3, 3, 3), F4), padding=1, strategy="toeplitz")
    assert made(np.ones((3, 5, 5), F4)).shape == (4, 5, 5)
    with pytest.raises(UnsupportedError, match="workspace"):
        made(np.ones((3, 1200, 1200), F4))


def test_the_class_is_what_the_function_makes():
    assert isinstance(prepare_conv2d(np.ones((1, 1, 1, 1))), PreparedConv)


@pytest.mark.parametrize("copy", [False, True])
def test_weights_are_copied_unless_told_otherwise(copy):
    weight, bias = np.ones((4, 3, 3, 3), np.float32), np.zeros(4, np.float32)
    layer = fastconv.prepare_conv2d(weight, bias, copy=copy)
    assert np.may_share_memory(layer._weight, weight) is not copy
    assert not layer._weight.flags.writeable
    assert weight.flags.writeable
